//! From the equipment to the verified ledger: what was played is what is stored, bit for bit.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use batchcortex_e2e::line::Line;
use batchcortex_e2e::program::Play;
use batchcortex_e2e::recording;

/// Every sample of the batch: values in the order of their numbers, one list a tag.
async fn stored_values(line: &Line) -> Result<HashMap<String, Vec<f64>>> {
    let rows = line
        .cluster
        .superuser()
        .await?
        .query(
            "select t.name, s.first_sample, s.last_sample, s.numbers, s.status
               from batchcortex.sample_segment s join batchcortex.tag t using (org_id, tag_id)
              where s.batch_id = $1 order by t.name, s.first_sample",
            &[&line.batch],
        )
        .await?;
    let mut values: HashMap<String, Vec<f64>> = HashMap::new();
    for row in rows {
        let tag: String = row.get(0);
        let (first, last): (i64, i64) = (row.get(1), row.get(2));
        let numbers: Vec<Option<f64>> = row.get(3);
        let status: Vec<i64> = row.get(4);
        let so_far = values.entry(tag.clone()).or_default();
        ensure!(
            i64::try_from(so_far.len())? + 1 == first,
            "{tag}: sample {first} follows {}",
            so_far.len()
        );
        ensure!(
            status.iter().all(|&code| code == 0),
            "{tag}: a status other than Good in {first} to {last}"
        );
        for number in numbers {
            so_far.push(number.with_context(|| format!("{tag}: no value in {first} to {last}"))?);
        }
        ensure!(
            i64::try_from(so_far.len())? == last,
            "{tag}: {first} to {last} holds {} values",
            so_far.len()
        );
    }
    Ok(values)
}

/// Rows whose leaf is not PostgreSQL's own SHA-256 of the preimage, and how many rows there are.
async fn wrong_leaves(line: &Line) -> Result<(i64, i64)> {
    let row = line
        .cluster
        .superuser()
        .await?
        .query_one(
            r"select count(*) filter (where leaf_hash is distinct from expected), count(*) from (
                  select leaf_hash, sha256('\x00'::bytea || batchcortex.event_preimage(e)) as expected from batchcortex.events_log e
                  union all
                  select leaf_hash, sha256('\x00'::bytea || batchcortex.segment_preimage(s)) from batchcortex.sample_segment s) as leaf",
            &[],
        )
        .await?;
    Ok((row.get(0), row.get(1)))
}

// control: A12, A20
#[tokio::test(flavor = "multi_thread")]
async fn a_modelled_batch_arrives_whole() -> Result<()> {
    let line = Line::start("modelled", &Play::Model, Duration::from_millis(5)).await?;
    let status = line.complete().await?;
    assert!(status.tags >= 10 && status.rows >= 500, "{status:?}");
    assert_eq!(status.samples_emitted, status.tags * status.rows);
    for (tag, values) in stored_values(&line).await? {
        assert_eq!(values.len() as u64, status.rows, "{tag}");
    }
    assert_eq!(line.findings().await?, Vec::<String>::new());

    // What a person sees over HTTP agrees with what the database holds.
    let path = format!("/v1/batches/{}", line.batch);
    let batch = line.site.operator.get(&path).await?.ok()?;
    assert_eq!(batch["samples"], status.samples_emitted);
    let verification = line.site.operator.get("/v1/verify").await?.ok()?;
    assert_eq!(verification["intact"], true, "{verification}");

    let nobody: i64 = line
        .cluster
        .superuser()
        .await?
        .query_one(
            "select count(*) from batchcortex.events_log
              where actor_name = '' or (actor_kind in ('user', 'device', 'api_key') and actor_id is null)",
            &[],
        )
        .await?
        .get(0);
    assert_eq!(nobody, 0, "events without an actor");
    Ok(())
}

// control: A19, A22
#[tokio::test(flavor = "multi_thread")]
async fn recorded_batches_arrive_bit_for_bit() -> Result<()> {
    for (number, file) in recording::files().iter().enumerate() {
        let line = Line::start(
            &format!("recorded-{number}"),
            &Play::Recording(file.clone()),
            Duration::from_millis(10),
        )
        .await?;
        let status = line.complete().await?;
        let expected = recording::columns(file)?;
        assert_eq!(status.tags, expected.len() as u64, "{}", file.display());

        let stored = stored_values(&line).await?;
        assert_eq!(stored.len(), expected.len(), "{}", file.display());
        for column in expected {
            let values = stored
                .get(&column.tag)
                .with_context(|| format!("{} is missing", column.tag))?;
            assert_eq!(values.len(), column.values.len(), "{}", column.tag);
            for (row, (value, expected)) in values.iter().zip(&column.values).enumerate() {
                assert_eq!(
                    value.to_bits(),
                    expected.to_bits(),
                    "{} row {}: {value} for {expected}",
                    column.tag,
                    row + 1
                );
            }
        }
        assert_eq!(line.findings().await?, Vec::<String>::new());
        let (wrong, rows) = wrong_leaves(&line).await?;
        assert!(rows > 0);
        assert_eq!(wrong, 0, "of {rows} leaves");
    }
    Ok(())
}
