//! A server that seals nothing says so, and so does one that sealed late: what has no leaf in the tree yet may still go without a trace.

use anyhow::{Result, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::works::verify;
use std::time::Duration;

// control: A17, A19
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_sealer_and_leaves_that_wait_are_named() -> Result<()> {
    let cluster = Cluster::start("unsealed")?;
    let database = cluster.superuser().await?;
    // One that was ended comes again, and is no finding.
    for kind in ["launcher", "sealer"] {
        database
            .execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'batchcortex ' || $1",
                &[&kind],
            )
            .await?;
        let found = verify(&database).await?;
        ensure!(found.is_empty(), "after the end of the {kind}: {found:?}");
    }
    // The places for workers are taken by the launchers, PostgreSQL's own and that of the sealers.
    database
        .batch_execute("alter system set max_worker_processes = 2")
        .await?;
    database
        .batch_execute("alter system set batchcortex.seal_overdue = '1s'")
        .await?;
    drop(database);
    cluster.stop()?;
    cluster.serve()?;
    let database = cluster.superuser().await?;
    database
        .batch_execute("select batchcortex.log_event('app.note', 'note', 'waits')")
        .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let found = verify(&database).await?;
    for expected in ["weakened_protection server batchcortex sealer", "sealing_overdue"] {
        ensure!(
            found.iter().any(|line| line.starts_with(expected)),
            "{expected} is not among {found:?}"
        );
    }
    ensure!(found.len() == 2, "{found:?}");

    database
        .batch_execute("alter system reset max_worker_processes")
        .await?;
    drop(database);
    cluster.stop()?;
    cluster.serve()?;
    let database = cluster.superuser().await?;
    database.batch_execute("select batchcortex.seal()").await?;
    let found = verify(&database).await?;
    ensure!(found.is_empty(), "{found:?}");
    let late: i64 = database
        .query_one(
            "select count(*) from json_array_elements(batchcortex.verify_report() -> 'logs') log, json_array_elements(log -> 'late') l
              where (l ->> 'leaves')::integer > 0 and (l ->> 'longest_seconds')::integer >= 3",
            &[],
        )
        .await?
        .get(0);
    ensure!(late > 0, "that a leaf was sealed late is not reported");
    Ok(())
}
