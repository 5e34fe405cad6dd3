//! Backends and the postmaster are killed while rows of tracked tables change. Afterwards every change has its record and every
//! record its change, and what was acknowledged is there.
//!
//! One round of each kind in `make test`; `make torture` does a hundred.

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::{rounds, until};
use tokio_postgres::Client;

const WRITERS: i32 = 6;
const TABLES: [&str; 2] = ["crash.plain", "crash.parted"];

/// Every row carries the number of its changes, so that a change without a record, or a record without a change, breaks the chain.
const SETUP: &str = "
    create schema crash;
    create table crash.plain (id integer primary key, version integer not null, note text);
    create table crash.parted (id integer not null, version integer not null, note text, primary key (id)) partition by hash (id);
    create table crash.parted_0 partition of crash.parted for values with (modulus 2, remainder 0);
    create table crash.parted_1 partition of crash.parted for values with (modulus 2, remainder 1);
    select batchcortex.track('crash.plain'), batchcortex.track('crash.parted')";

/// Records that do not continue what the record before them says; rows and last records that differ.
const BROKEN: &str = "
    with event as (
        select record_type, record_id, action, before::text as before, after::text as after,
               lag(after::text) over w as last, lead(event_id) over w is null as newest
          from batchcortex.events_log where record_type in ('crash.plain', 'crash.parted') and action like 'row.%'
        window w as (partition by record_type, record_id order by recorded_at, event_id)
    ), stored as (
        select 'crash.plain' as record_type, id::text as record_id, version, note from crash.plain
        union all
        select 'crash.parted', id::text, version, note from crash.parted
    ), newest as (
        select record_type, record_id, (after::json ->> 'version')::integer as version, after::json ->> 'note' as note
          from event where newest and after is not null
    )
    select format('%s %s: %s does not continue %s', record_type, record_id, action, last) from event where before is distinct from last
    union all
    select format('stored without its record: %s', s) from (table stored except table newest) s
    union all
    select format('recorded without its row: %s', n) from (table newest except table stored) n";

type Acknowledged = Arc<Mutex<HashMap<(usize, i32), i32>>>;

/// Changes rows of its own until it is told to stop or the server is gone; notes what was acknowledged.
async fn write(
    mut client: Client,
    writer: i32,
    stop: Arc<AtomicBool>,
    acknowledged: Acknowledged,
) -> Result<(), tokio_postgres::Error> {
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        for (at, table) in TABLES.iter().enumerate() {
            // Rows of this writer: no other changes them, so that the last acknowledged version is the stored one or one behind.
            let id = writer * 1000 + turn % 50;
            let upsert = format!(
                "insert into {table} as t values ($1, 1, repeat('x', $1)) on conflict (id) do update set version = t.version + 1 returning version"
            );
            let transaction = client.transaction().await?;
            let version: i32 = transaction.query_one(&upsert, &[&id]).await?.get(0);
            // Many rows at once, gathered by the statement.
            let many = format!(
                "update {table} set version = version + 1, note = note || '.' where id between $1 and $2"
            );
            let others = writer * 1000 + 500;
            if turn % 7 == 0 {
                let fill = format!(
                    "insert into {table} as t select i, 1, 'many' from generate_series($1::integer, $2::integer) i on conflict (id) do update set version = t.version + 1"
                );
                transaction.execute(&fill, &[&others, &(others + 99)]).await?;
                transaction.execute(&many, &[&others, &(others + 99)]).await?;
            }
            if turn % 5 == 0 {
                // Taken back: neither row nor record.
                transaction.batch_execute("savepoint s").await?;
                transaction.execute(&many, &[&id, &id]).await?;
                transaction.batch_execute("rollback to s").await?;
            }
            if turn % 11 == 0 {
                transaction.rollback().await?;
                continue;
            }
            transaction.commit().await?;
            acknowledged
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .insert((at, id), version);
        }
    }
    Ok(())
}

/// Starts the writers, kills what `kill` kills in the middle of their work, and waits until their connections are gone.
async fn interrupted<F>(
    cluster: &Cluster,
    acknowledged: &Acknowledged,
    after: Duration,
    kill: F,
) -> Result<()>
where
    F: AsyncFnOnce(&Cluster) -> Result<()>,
{
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let client = cluster.superuser().await?;
        client.batch_execute("set application_name = 'writer'").await?;
        writers.push(tokio::spawn(write(
            client,
            writer,
            stop.clone(),
            acknowledged.clone(),
        )));
    }
    tokio::time::sleep(after).await;
    kill(cluster).await?;
    stop.store(true, Ordering::Relaxed);
    let mut cut_off = 0;
    for writer in writers {
        if writer.await?.is_err() {
            cut_off += 1;
        }
    }
    assert!(cut_off > 0, "no writer noticed the crash");
    Ok(())
}

async fn both_or_neither(cluster: &Cluster, acknowledged: &Acknowledged) -> Result<()> {
    // After the crash of a backend the postmaster recovers by itself.
    let client = until("the server works again", Duration::from_secs(60), || async {
        let client = cluster.superuser().await?;
        client.batch_execute("select 1").await?;
        Ok(Some(client))
    })
    .await?;
    let broken: Vec<String> = client
        .query(BROKEN, &[])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(broken, Vec::<String>::new());
    let lost = acknowledged
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone();
    for (at, table) in TABLES.iter().enumerate() {
        let stored: HashMap<i32, i32> = client
            .query(&format!("select id, version from {table}"), &[])
            .await?
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect();
        for ((_, id), version) in lost.iter().filter(|((of, _), _)| *of == at) {
            let found = stored.get(id).with_context(|| format!("{table} {id} is lost"))?;
            assert!(
                found >= version,
                "{table} {id}: version {version} was acknowledged, {found} is stored"
            );
        }
    }
    client.batch_execute("select batchcortex.seal()").await?;
    let findings: Vec<String> = client
        .query(
            "select concat_ws(' ', code, relation, record, detail) from batchcortex.verify()",
            &[],
        )
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(findings, Vec::<String>::new());
    let sound: bool = client
        .query_one(
            "select bool_and((log ->> 'rows')::bigint = (log ->> 'leaves')::bigint)
               from batchcortex.verify_report() r, json_array_elements(r -> 'logs') log
              where (log ->> 'waiting')::bigint = 0 and log ->> 'log' <> 'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            &[],
        )
        .await?
        .get(0);
    assert!(sound, "a record has no leaf of its own, or a leaf no record");
    Ok(())
}

async fn kill_a_backend(cluster: &Cluster) -> Result<()> {
    let client = cluster.superuser().await?;
    let pid: i32 = client
        .query_one(
            "select pid from pg_stat_activity where application_name = 'writer' and state = 'active' order by random() limit 1",
            &[],
        )
        .await
        .or(client
            .query_one("select pid from pg_stat_activity where application_name = 'writer' order by random() limit 1", &[])
            .await)?
        .get(0);
    if !Command::new("kill")
        .args(["-s", "KILL", &pid.to_string()])
        .status()?
        .success()
    {
        bail!("cannot kill backend {pid}");
    }
    Ok(())
}

// control: B32, B11
#[tokio::test(flavor = "multi_thread")]
async fn row_and_record_survive_a_crash_together() -> Result<()> {
    let cluster = Cluster::start("capture-crash")?;
    cluster.superuser().await?.batch_execute(SETUP).await?;
    let acknowledged = Acknowledged::default();
    for round in 0..rounds() {
        // Another moment each time.
        let after = Duration::from_millis(150 + (round as u64 * 37) % 400);
        interrupted(&cluster, &acknowledged, after, kill_a_backend).await?;
        both_or_neither(&cluster, &acknowledged).await?;
        interrupted(&cluster, &acknowledged, after, async |cluster: &Cluster| {
            cluster.signal("KILL").await
        })
        .await?;
        cluster.resume()?;
        both_or_neither(&cluster, &acknowledged).await?;
    }
    Ok(())
}
