//! A superuser behind broken glass, with the triggers off, changes records that are sealed. Each change is named.
//!
//! Every case is tried twice: plainly, and with the row's own hash made to fit, as someone does who has read docs/format.md.

use anyhow::{Context, Result};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::line::findings;
use batchcortex_e2e::program::Api;
use batchcortex_e2e::site::Site;
use serde_json::json;
use tokio_postgres::Client;

const REHASH_EVENTS: &str = r"update batchcortex.events_log e set leaf_hash = sha256('\x00'::bytea || batchcortex.event_preimage(e)) where event_id = any ($ids)";
const REHASH_SEGMENTS: &str = r"update batchcortex.sample_segment s set leaf_hash = sha256('\x00'::bytea || batchcortex.segment_preimage(s)) where segment_id = any ($ids)";

/// What it is, the statements, the records that they change, the records that must be named.
type Case<'a> = (&'a str, Vec<&'a str>, &'a [String], &'a [String]);

/// Records that `verify` names after a change that is rolled back again. `$ids` in the statements stands for the records.
async fn named_after(database: &mut Client, statements: &[&str], ids: &[String]) -> Result<Vec<String>> {
    let list = ids
        .iter()
        .map(|id| format!("'{id}'"))
        .collect::<Vec<_>>()
        .join(", ");
    let change = database.transaction().await?;
    for table in ["events_log", "sample_segment"] {
        // A partition has its triggers of its own.
        let partitions = change
            .query(
                "select relid::regclass::text from pg_partition_tree($1::text::regclass)",
                &[&format!("batchcortex.{table}")],
            )
            .await?;
        for partition in partitions {
            change
                .batch_execute(&format!(
                    "alter table {} disable trigger all",
                    partition.get::<_, String>(0)
                ))
                .await?;
        }
    }
    for statement in statements {
        let changed = change
            .execute(&statement.replace("$ids", &format!("array[{list}]::uuid[]")), &[])
            .await?;
        assert!(changed > 0, "{statement} changed nothing");
    }
    let rows = change
        .query("select code, record from batchcortex.verify()", &[])
        .await?;
    change.rollback().await?;
    let (weakened, found): (Vec<_>, Vec<_>) = rows
        .iter()
        .map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)))
        .partition(|(code, _)| code == "weakened_protection");
    assert!(!weakened.is_empty(), "the triggers that are off are not named");
    Ok(found.into_iter().map(|(_, record)| record).collect())
}

async fn id(database: &Client, query: &str) -> Result<String> {
    Ok(database
        .query_opt(query, &[])
        .await?
        .context("no such record")?
        .get(0))
}

// control: A17, A19, A22
#[tokio::test(flavor = "multi_thread")]
async fn every_change_behind_the_triggers_is_named() -> Result<()> {
    let cluster = Cluster::start("tampering")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "tampered").await?;
    site.batch("LOT-1").await?;
    site.tag("pH", "Double", "pH").await?;
    let device = site.device("edge", &api.url()).await?;
    device
        .send_samples("LOT-1", "pH", &[json!(6.6), json!(6.7), json!(6.8)])
        .await?;
    for number in 0..600 {
        let event = json!({"action": "app.note", "record_type": "note", "record_id": number.to_string(), "reason": "as planned"});
        site.operator.post("/v1/events", &event).await?.ok()?;
    }
    assert_eq!(findings(&cluster).await?, Vec::<String>::new());

    drop(api);
    cluster.break_glass("to see what is named").await?;
    let mut database = cluster.superuser().await?;
    let note = |number: u32| {
        format!(
            "select event_id::text from batchcortex.events_log where action = 'app.note' and record_id = '{number}'"
        )
    };
    let one = id(&database, &note(100)).await?;
    let other = id(&database, &note(500)).await?;
    let segment = id(
        &database,
        "select segment_id::text from batchcortex.sample_segment where first_sample = 2",
    )
    .await?;

    let swap = "update batchcortex.events_log e set record_id = o.record_id from batchcortex.events_log o
                 where e.event_id = any ($ids) and o.event_id = any ($ids) and o.event_id <> e.event_id";
    // Two rows whose whole content changes places: each keeps its own id and time only.
    let swap_hash = "update batchcortex.events_log e set record_id = o.record_id, leaf_hash = o.leaf_hash from batchcortex.events_log o
                      where e.event_id = any ($ids) and o.event_id = any ($ids) and o.event_id <> e.event_id";
    let insert = r#"insert into batchcortex.events_log
                    select (jsonb_populate_record(e, '{"event_id": "018f0000-0000-7000-8000-00000000000f"}')).*
                      from batchcortex.events_log e where event_id = any ($ids)"#;
    let inserted = ["018f0000-0000-7000-8000-00000000000f".to_owned()];
    let rehash_inserted = REHASH_EVENTS.replace("$ids", &format!("array['{}']::uuid[]", inserted[0]));

    let both = [one.clone(), other.clone()];
    let events = std::slice::from_ref(&one);
    let segments = std::slice::from_ref(&segment);
    let byte = "update batchcortex.events_log set reason = 'as plannee' where event_id = any ($ids)";
    let delete = "delete from batchcortex.events_log where event_id = any ($ids)";
    let sample =
        "update batchcortex.sample_segment set numbers[1] = numbers[1] + 1e-12 where segment_id = any ($ids)";
    let bit = "update batchcortex.sample_segment set source_ticks[1] = source_ticks[1] + 1 where segment_id = any ($ids)";
    let erase = "delete from batchcortex.sample_segment where segment_id = any ($ids)";

    let cases: [Case<'_>; 13] = [
        ("one byte changed", vec![byte], events, events),
        (
            "one byte changed, hash made to fit",
            vec![byte, REHASH_EVENTS],
            events,
            events,
        ),
        ("deleted", vec![delete], events, events),
        ("inserted", vec![insert], events, &inserted),
        (
            "inserted, hash made to fit",
            vec![insert, &rehash_inserted],
            events,
            &inserted,
        ),
        ("two swapped", vec![swap], &both, &both),
        ("two swapped with their hashes", vec![swap_hash], &both, &both),
        (
            "two swapped, hashes made to fit",
            vec![swap, REHASH_EVENTS],
            &both,
            &both,
        ),
        ("a sample changed", vec![sample], segments, segments),
        (
            "a sample changed, hash made to fit",
            vec![sample, REHASH_SEGMENTS],
            segments,
            segments,
        ),
        ("a time changed", vec![bit], segments, segments),
        (
            "a time changed, hash made to fit",
            vec![bit, REHASH_SEGMENTS],
            segments,
            segments,
        ),
        ("a segment deleted", vec![erase], segments, segments),
    ];
    for (case, statements, ids, expected) in cases {
        let mut named = named_after(&mut database, &statements, ids)
            .await
            .with_context(|| case.to_owned())?;
        named.sort();
        named.dedup();
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(named, expected, "{case}");
    }
    let told: i64 = database
        .query_one(
            "select count(*) from batchcortex.organisation o where not exists (
                 select from batchcortex.events_log e where e.org_id = o.org_id and e.action = 'server.break_glass' and e.reason = 'to see what is named')",
            &[],
        )
        .await?
        .get(0);
    assert_eq!(told, 0, "an organisation's log does not tell of the broken glass");
    drop(database);
    cluster.signal("INT").await?;
    cluster.resume()?;
    assert_eq!(
        findings(&cluster).await?,
        Vec::<String>::new(),
        "after all is rolled back and the glass is whole"
    );
    Ok(())
}

// control: A17
#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_is_refused_while_the_triggers_are_on() -> Result<()> {
    let cluster = Cluster::start("refused")?;
    let api = Api::start(&cluster).await?;
    Site::found(&cluster, &api.url(), "refused").await?;
    let database = cluster.superuser().await?;
    for statement in [
        "update batchcortex.events_log set reason = 'x'",
        "delete from batchcortex.events_log",
        "truncate batchcortex.events_log",
        "set session_replication_role = replica; delete from batchcortex.events_log",
        "truncate batchcortex.sample_segment",
    ] {
        let error = database
            .batch_execute(statement)
            .await
            .err()
            .with_context(|| format!("{statement} is not refused"))?;
        assert_eq!(
            error.code().map(|code| code.code().to_owned()),
            Some("BC001".to_owned()),
            "{statement}: {error}"
        );
        database.batch_execute("reset session_replication_role").await?;
    }
    assert_eq!(findings(&cluster).await?, Vec::<String>::new());
    Ok(())
}
