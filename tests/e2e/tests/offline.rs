//! Attacks beneath the guard: on the files of a stopped server, by a server without the library, by the apply worker of a
//! subscription. What is not refused is found.

use anyhow::{Context, Result, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::line::findings_of;
use batchcortex_e2e::until;
use batchcortex_e2e::works::{Works, extends, heads, refuses_changes, verify};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::Client;

const BLOCK: u64 = 8192;

/// The file of the first segment of a table, written out.
async fn file_of(works: &Works, database: &Client, table: &str) -> Result<PathBuf> {
    database.batch_execute("checkpoint").await?;
    let path: String = database
        .query_one("select pg_relation_filepath($1::text::regclass)", &[&table])
        .await?
        .get(0);
    Ok(works.cluster.data()?.join(path))
}

/// What verification says, an error that stops it included: a page that PostgreSQL itself cannot read.
async fn found(database: &Client) -> Vec<String> {
    match verify(database).await {
        Ok(found) => found,
        Err(error) => vec![format!("{error:?}")],
    }
}

fn replace(file: &Path, old: &[u8], new: &[u8]) -> Result<()> {
    let mut bytes = std::fs::read(file)?;
    let at = bytes
        .windows(old.len())
        .position(|window| window == old)
        .context("the bytes are not in the file")?;
    bytes[at..at + new.len()].copy_from_slice(new);
    Ok(std::fs::write(file, bytes)?)
}

// control: A17, A19, A22
#[tokio::test(flavor = "multi_thread")]
async fn files_changed_while_the_server_is_stopped_are_found() -> Result<()> {
    let works = Works::found(Cluster::without_checksums("stopped")?).await?;
    let database = works.cluster.superuser().await?;
    let row = database
        .query_one(
            "select event_id::text, tableoid::regclass::text from batchcortex.events_log where reason = 'as planned 17'",
            &[],
        )
        .await?;
    let (event, partition): (String, String) = (row.get(0), row.get(1));
    let events = file_of(&works, &database, &partition).await?;
    let weighings = file_of(&works, &database, "public.weighing").await?;
    let last: String = database
        .query_one("select max(ctid)::text from public.weighing", &[])
        .await?
        .get(0);
    ensure!(!last.starts_with("(0,"), "the table has one page only: {last}");

    // The whole directory as it is now, to be put back later.
    drop(database);
    works.cluster.stop()?;
    let data = works.cluster.data()?;
    let older = data.with_file_name("older");
    let copy = |from: &Path, to: &Path| -> Result<()> {
        let status = std::process::Command::new("cp")
            .args(["-a", "--"])
            .arg(from)
            .arg(to)
            .status()?;
        ensure!(status.success(), "cp");
        Ok(())
    };
    if older.exists() {
        std::fs::remove_dir_all(&older)?;
    }
    copy(&data, &older)?;

    // One byte of one record.
    replace(&events, b"as planned 17", b"as planneb 17")?;
    works.cluster.serve()?;
    let database = works.cluster.superuser().await?;
    let named = found(&database).await;
    ensure!(
        !named.is_empty()
            && named
                .iter()
                .all(|line| line.starts_with(&format!("wrong_leaf batchcortex.events_log {event}"))),
        "{named:?}"
    );
    drop(database);
    works.cluster.stop()?;
    replace(&events, b"as planneb 17", b"as planned 17")?;

    // The end of a segment cut off.
    let length = std::fs::metadata(&weighings)?.len();
    std::fs::File::options()
        .write(true)
        .open(&weighings)?
        .set_len(length - BLOCK)?;
    works.cluster.serve()?;
    let database = works.cluster.superuser().await?;
    let named = found(&database).await;
    ensure!(
        !named.is_empty()
            && named
                .iter()
                .all(|line| line.starts_with("missing_row public.weighing")),
        "{named:?}"
    );
    drop(database);
    works.cluster.stop()?;

    // The same of the events, where indexes point past the end: the damage is named, and the records that went with it.
    let length = std::fs::metadata(&events)?.len();
    std::fs::File::options()
        .write(true)
        .open(&events)?
        .set_len(length - BLOCK)?;
    works.cluster.serve()?;
    let database = works.cluster.superuser().await?;
    let named = verify(&database).await?;
    ensure!(
        named.iter().any(|line| line.starts_with("unreadable "))
            && named
                .iter()
                .any(|line| line.starts_with("missing_row batchcortex.events_log"))
            && named.iter().all(|line| {
                ["unreadable ", "missing_row ", "session_without_event "]
                    .iter()
                    .any(|code| line.starts_with(code))
            }),
        "{named:?}"
    );
    drop(database);
    works.cluster.stop()?;

    // The older directory, whole, with records written meanwhile gone: an auditor has kept size and root of the tree.
    std::fs::remove_dir_all(&data)?;
    copy(&older, &data)?;
    works.cluster.serve()?;
    let database = works.cluster.superuser().await?;
    ensure!(
        findings_of(&database).await?.is_empty(),
        "the copy is sound by itself"
    );
    works.write_more(&database).await?;
    database.batch_execute("select batchcortex.seal()").await?;
    let kept = heads(&database)
        .await?
        .into_iter()
        .find(|(org_id, ..)| *org_id == works.org_id)
        .context("the organisation has a tree")?;
    ensure!(
        extends(&database, kept.clone()).await?,
        "the tree does not extend itself"
    );
    drop(database);
    works.cluster.stop()?;
    std::fs::remove_dir_all(&data)?;
    std::fs::rename(&older, &data)?;
    works.cluster.serve()?;
    let database = works.cluster.superuser().await?;
    ensure!(verify(&database).await?.is_empty(), "the copy is sound by itself");
    ensure!(
        !extends(&database, kept.clone()).await?,
        "a shorter tree passes for the one that was kept"
    );
    for _ in 0..2 {
        works.write_more(&database).await?;
    }
    database.batch_execute("select batchcortex.seal()").await?;
    let now = heads(&database).await?;
    ensure!(
        now.iter()
            .any(|(org_id, size, _)| *org_id == kept.0 && *size > kept.1),
        "{now:?}"
    );
    ensure!(
        !extends(&database, kept).await?,
        "another history of that length passes for the one that was kept"
    );
    Ok(())
}

// control: A17, A19
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_while_the_library_was_unloaded_is_found() -> Result<()> {
    let works = Works::found(Cluster::start("unloaded")?).await?;
    let database = works.cluster.superuser().await?;
    let row = database
        .query_one(
            "select event_id::text, tableoid::regclass::text, ctid::text from batchcortex.events_log where reason = 'as planned 17'",
            &[],
        )
        .await?;
    let (killed, partition, place): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    let surgery = format!("select heap_force_kill('{partition}'::regclass, array['{place}'::tid])");
    let refused = database
        .batch_execute("create extension pg_surgery")
        .await
        .err()
        .context("pg_surgery is not refused")?;
    ensure!(
        refused.code().is_some_and(|code| code.code() == "BC001"),
        "{refused:?}"
    );
    let changed: String = database
        .query_one(
            "select event_id::text from batchcortex.events_log where reason = 'as planned 500'",
            &[],
        )
        .await?
        .get(0);

    // The list of libraries is the server's, and a superuser's to change.
    database
        .batch_execute("alter system set shared_preload_libraries = 'auto_explain'")
        .await?;
    drop(database);
    works.cluster.stop()?;
    works.cluster.serve()?;
    let database = works.cluster.superuser().await?;
    let named = found(&database).await;
    ensure!(
        named.iter().any(|line| line.contains("shared_preload_libraries")),
        "that the library is missing is not said: {named:?}"
    );
    // The triggers stand without the library: they must be taken away first.
    let refused = database
        .batch_execute("update batchcortex.events_log set reason = 'x'")
        .await
        .err()
        .context("the triggers do not refuse")?;
    ensure!(
        refused.code().is_some_and(|code| code.code() == "BC001"),
        "{refused:?}"
    );
    database.batch_execute("create extension pg_surgery").await?;
    database.batch_execute(&surgery).await?;
    database
        .batch_execute(&format!(
            "alter table {partition} disable trigger all;
             update {partition} set reason = 'not as planned' where event_id = '{changed}';
             alter table {partition} enable always trigger append_only, enable always trigger append_only_truncate,
                 enable always trigger leaf_stamp, enable always trigger leaf_enqueue"
        ))
        .await?;
    database
        .batch_execute("alter system reset shared_preload_libraries")
        .await?;
    drop(database);
    works.cluster.stop()?;
    works.cluster.serve()?;
    let database = works.cluster.superuser().await?;
    let named = found(&database).await;
    let expected = [
        format!("missing_row batchcortex.events_log {killed}"),
        format!("wrong_leaf batchcortex.events_log {changed}"),
        "weakened_protection heap_force_kill function pg_surgery".to_owned(),
        "weakened_protection heap_force_freeze function pg_surgery".to_owned(),
    ];
    ensure!(
        expected
            .iter()
            .all(|what| named.iter().any(|line| line.starts_with(what)))
            && named
                .iter()
                .all(|line| expected.iter().any(|what| line.starts_with(what))),
        "{named:?} instead of {expected:?}"
    );
    refuses_changes(&database).await
}

/// A table of the publisher, the change that it makes, and what the apply worker's change would have done.
const REPLICATED: [(&str, &str); 5] = [
    ("public.weighing", "update public.weighing set note = 'forged'"),
    ("public.weighing", "delete from public.weighing"),
    ("public.weighing", "truncate public.weighing"),
    (
        "batchcortex.ledger_tree",
        "update batchcortex.ledger_tree set size = 1",
    ),
    ("batchcortex.ledger_tree", "delete from batchcortex.ledger_tree"),
];

// control: A17
#[tokio::test(flavor = "multi_thread")]
async fn logical_replication_cannot_change_what_is_protected() -> Result<()> {
    let works = Works::found(Cluster::start("subscriber")?).await?;
    let database = works.cluster.superuser().await?;
    database
        .batch_execute("alter system set wal_level = logical")
        .await?;
    drop(database);
    works.cluster.stop()?;
    works.cluster.serve()?;
    let database = works.cluster.superuser().await?;
    let (weighed, before): (i64, _) = (count(&database).await?, heads(&database).await?);

    // Another database of the same server publishes rows of the same names and keys.
    works.cluster.call("createdb", &["publisher"])?;
    let publisher = works.cluster.superuser_of("publisher").await?;
    publisher
        .batch_execute(&format!(
            "create table public.weighing (lot text, number integer, note text, primary key (lot, number));
             create schema batchcortex;
             create table batchcortex.ledger_tree (org_id uuid primary key, size bigint, root bytea, sealed_at timestamptz default now());
             create publication all_of_it for all tables;
             insert into public.weighing values ('LOT', 1, 'weighed 1');
             insert into batchcortex.ledger_tree (org_id, size, root) values ('{}', 5, sha256(''))",
            works.org_id
        ))
        .await?;
    let connection: String = database
        .query_one(
            "select format('host=%s port=%s user=postgres dbname=publisher', current_setting('unix_socket_directories'), current_setting('port'))",
            &[],
        )
        .await?
        .get(0);
    for (number, (table, change)) in REPLICATED.iter().enumerate() {
        // Within one server the slot must be there before: CREATE SUBSCRIPTION would wait for its own transaction.
        let name = format!("attack_{number}");
        publisher
            .execute(
                "select pg_create_logical_replication_slot($1::text::name, 'pgoutput')",
                &[&name],
            )
            .await?;
        database
            .batch_execute(&format!(
                "create subscription {name} connection '{connection}' publication all_of_it with (create_slot = false, copy_data = false)"
            ))
            .await?;
        // What the publisher truncated must be there again to be changed next time.
        publisher.batch_execute(change).await?;
        until(
            &format!("{change} is refused"),
            Duration::from_secs(60),
            || async {
                let errors: i64 = database
                .query_one(
                    "select apply_error_count from pg_stat_subscription_stats where subname = $1::text::name",
                    &[&name],
                )
                .await?
                .get(0);
                Ok((errors > 0).then_some(()))
            },
        )
        .await?;
        database
            .batch_execute(&format!(
                "alter subscription {name} disable; alter subscription {name} set (slot_name = none); drop subscription {name}"
            ))
            .await?;
        until("the slot is free", Duration::from_secs(30), || async {
            publisher
                .execute("select pg_drop_replication_slot($1::text::name)", &[&name])
                .await?;
            Ok(Some(()))
        })
        .await?;
        if *table == "public.weighing" {
            publisher
                .batch_execute(
                    "insert into public.weighing values ('LOT', 1, 'weighed 1') on conflict do nothing",
                )
                .await?;
        }
    }
    ensure!(heads(&database).await? == before);
    // A table that is tracked may be written: what is applied is captured, in the name of the server.
    let note = "create table public.applied (id integer primary key, note text)";
    database.batch_execute(note).await?;
    database
        .batch_execute("select batchcortex.track('public.applied')")
        .await?;
    publisher.batch_execute(note).await?;
    publisher
        .batch_execute("select pg_create_logical_replication_slot('applied', 'pgoutput')")
        .await?;
    database
        .batch_execute(&format!(
            "create subscription applied connection '{connection}' publication all_of_it with (create_slot = false, copy_data = false)"
        ))
        .await?;
    publisher
        .batch_execute(
            "insert into public.applied values (1, 'one'); update public.applied set note = 'two'; delete from public.applied",
        )
        .await?;
    let told = until("what is applied is captured", Duration::from_secs(60), || async {
        let rows = database
            .query(
                "select concat_ws(' ', action, actor_kind, before ->> 'note', after ->> 'note') from batchcortex.events_log
                  where record_type = 'public.applied' order by recorded_at, event_id",
                &[],
            )
            .await?;
        Ok((rows.len() >= 3).then_some(rows))
    })
    .await?;
    let told: Vec<String> = told.iter().map(|row| row.get(0)).collect();
    ensure!(
        told == [
            "row.inserted system one",
            "row.updated system one two",
            "row.deleted system two"
        ],
        "{told:?}"
    );
    database
        .batch_execute("alter subscription applied disable; alter subscription applied set (slot_name = none); drop subscription applied")
        .await?;
    ensure!(count(&database).await? == weighed);
    ensure!(findings_of(&database).await?.is_empty());
    refuses_changes(&database).await
}

async fn count(database: &Client) -> Result<i64> {
    Ok(database
        .query_one(
            "select count(*) from public.weighing where note like 'weighed %' or note = 'more'",
            &[],
        )
        .await?
        .get(0))
}
