//! Parts of the line are killed while a batch plays, and started again. What was acknowledged is there afterwards, exactly
//! once; where the agent itself lived on, so is everything that the plant emitted.
//!
//! One round each in `make test`; `make torture` does a hundred.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use batchcortex_e2e::line::Line;
use batchcortex_e2e::program::Play;
use batchcortex_e2e::{rounds, until};

const INTERVAL: Duration = Duration::from_millis(15);

/// Everything that the relay saw acknowledged is stored as it was sent, and no sample is there twice.
async fn acknowledged_is_kept(line: &Line) -> Result<()> {
    let rows = line
        .cluster
        .superuser()
        .await?
        .query(
            "select tag, sample, source_ticks, value from batchcortex.samples where batch_id = $1",
            &[&line.batch],
        )
        .await?;
    let mut stored: HashMap<(String, i64), (i64, Option<u64>)> = HashMap::new();
    let mut times: HashMap<(String, i64), i64> = HashMap::new();
    for row in &rows {
        let (tag, sample, ticks): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let value: Option<f64> = row.get(3);
        assert!(
            stored
                .insert((tag.clone(), sample), (ticks, value.map(f64::to_bits)))
                .is_none(),
            "{tag} {sample} is there twice"
        );
        if let Some(other) = times.insert((tag.clone(), ticks), sample) {
            panic!("{tag}: samples {other} and {sample} have one source time");
        }
    }
    let acknowledged = line.relay.acknowledged();
    assert!(!acknowledged.is_empty(), "nothing was acknowledged");
    for message in acknowledged {
        for segment in &message.segments {
            for (at, (ticks, value)) in segment.source_ticks.iter().zip(&segment.values).enumerate() {
                let key = (segment.tag.clone(), segment.first_sample + i64::try_from(at)?);
                let found = stored
                    .get(&key)
                    .with_context(|| format!("message {}: {key:?} is lost", message.sequence))?;
                assert_eq!(
                    *found,
                    (*ticks, value.map(f64::to_bits)),
                    "message {}: {key:?}",
                    message.sequence
                );
            }
        }
    }
    Ok(())
}

// control: A7, A12
#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_killed() -> Result<()> {
    for round in 0..rounds() {
        let mut line = Line::start("api-killed", &Play::Model, INTERVAL).await?;
        for row in [100, 300] {
            line.plant.row(row + round as u64).await?;
            line.crash_api(Duration::from_millis(700)).await?;
        }
        line.complete().await?;
        acknowledged_is_kept(&line).await?;
        assert_eq!(line.findings().await?, Vec::<String>::new());
    }
    Ok(())
}

// control: A12, B18, B32
#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_killed() -> Result<()> {
    for round in 0..rounds() {
        let line = Line::start("postgresql-killed", &Play::Model, INTERVAL).await?;
        for (row, signal) in [(100, "QUIT"), (300, "KILL")] {
            line.plant.row(row + round as u64).await?;
            line.cluster.signal(signal).await?;
            line.cluster.resume()?;
            // The API that ran through it answers again without having been touched.
            until("the API answers again", Duration::from_secs(30), || async {
                Ok(line
                    .site
                    .operator
                    .get("/v1/whoami")
                    .await?
                    .status
                    .is_success()
                    .then_some(()))
            })
            .await?;
        }
        line.complete().await?;
        acknowledged_is_kept(&line).await?;
        assert_eq!(line.findings().await?, Vec::<String>::new());
    }
    Ok(())
}

// control: A12, A13
#[tokio::test(flavor = "multi_thread")]
async fn the_edge_agent_is_killed() -> Result<()> {
    for round in 0..rounds() {
        let mut line = Line::start("edge-killed", &Play::Model, INTERVAL).await?;
        for row in [100, 300] {
            line.plant.row(row + round as u64).await?;
            line.kill_agent()?;
            // Equipment goes on while the agent is away.
            let before = line.plant.status()?.row;
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(line.plant.status()?.row > before, "the plant stood still");
            line.start_agent()?;
        }
        let status = line.plant.row(u64::MAX).await?;
        // The agent that came back sends what it had kept and what it captures from then on, up to the last row.
        let last = status.last_source_ticks;
        until("the last row is stored", Duration::from_secs(60), || async {
            let database = line.cluster.superuser().await?;
            let query = "select count(distinct tag_id) from batchcortex.sample_segment where batch_id = $1 and $2 = any (source_ticks)";
            let tags: i64 = database.query_one(query, &[&line.batch, &last]).await?.get(0);
            Ok((tags == i64::try_from(status.tags)?).then_some(()))
        })
        .await?;
        acknowledged_is_kept(&line).await?;
        assert_eq!(line.findings().await?, Vec::<String>::new());
    }
    Ok(())
}
