//! Beside pgaudit, loaded before and after: attacks are refused, pgaudit writes its log, and tables can be made although its event
//! triggers look on.

use anyhow::{Context, Result, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::line::findings_of;
use batchcortex_e2e::works::{Works, refuses_changes};

/// The statement's text as pgaudit logs it.
fn audited(log: &str, class: &str, text: &str) -> bool {
    log.lines()
        .any(|line| line.contains("AUDIT: SESSION") && line.contains(class) && line.contains(text))
}

// control: A17
#[tokio::test(flavor = "multi_thread")]
async fn both_hold_in_either_order() -> Result<()> {
    let cluster = Cluster::start("pgaudit")?;
    let available: bool = cluster
        .superuser()
        .await?
        .query_one(
            "select exists (select from pg_available_extensions where name = 'pgaudit')",
            &[],
        )
        .await?
        .get(0);
    if !available {
        eprintln!(
            "skipped: pgaudit is not installed (Debian's postgresql-15-pgaudit), and scripts/ensure-tools --lint could not install it"
        );
        return Ok(());
    }
    let works = Works::found(cluster).await?;
    for (number, order) in ["pgaudit, pg_batchcortex", "pg_batchcortex, pgaudit"]
        .into_iter()
        .enumerate()
    {
        works.cluster.configure(&format!(
            "shared_preload_libraries = '{order}'\npgaudit.log = 'all'\npgaudit.log_catalog = off\n"
        ))?;
        works.cluster.stop()?;
        works.cluster.serve()?;
        let database = works.cluster.superuser().await?;
        let loaded: String = database
            .query_one("show shared_preload_libraries", &[])
            .await?
            .get(0);
        ensure!(loaded == order, "{loaded}");
        database
            .batch_execute("create extension if not exists pgaudit")
            .await?;
        refuses_changes(&database)
            .await
            .with_context(|| order.to_owned())?;
        works.write_more(&database).await?;
        database
            .batch_execute(&format!(
                "create table public.later_{number} (id integer primary key)"
            ))
            .await?;
        database
            .execute(
                "select batchcortex.protect($1::text::regclass)",
                &[&format!("public.later_{number}")],
            )
            .await?;
        let made: i32 = database
            .query_one(
                &format!("select batchcortex.make_partitions({})", 13 + number),
                &[],
            )
            .await?
            .get(0);
        ensure!(made > 0, "no partition was made");
        // A migration from nothing, with pgaudit's event triggers in place before it.
        let name = format!("beside_{number}");
        works
            .cluster
            .call("createdb", &["-T", "template0", "-E", "UTF8", &name])?;
        let fresh = works.cluster.superuser_of(&name).await?;
        for statement in [
            "create extension pgaudit",
            "create extension pg_batchcortex",
            "call batchcortex.migrate()",
            "call batchcortex.migrate()",
        ] {
            fresh
                .batch_execute(statement)
                .await
                .with_context(|| format!("{order}: {statement}"))?;
        }
        for database in [&database, &fresh] {
            let found = findings_of(database).await?;
            ensure!(found.is_empty(), "{order}: {found:?}");
        }
        let log = std::fs::read_to_string(works.cluster.data()?.join("server.log"))?;
        let later = format!("public.later_{number}");
        ensure!(
            audited(&log, "DDL", &format!("create table {later}")),
            "{order}: pgaudit did not log the table"
        );
        ensure!(
            audited(&log, "READ", &format!("make_partitions({})", 13 + number)),
            "{order}: pgaudit did not log the call"
        );
        // What was refused is in the server's log with its text.
        ensure!(
            log.contains("STATEMENT:  update public.weighing set note = 'x'"),
            "{order}: the refused statement is not in the log"
        );
    }
    Ok(())
}
