//! A whole shift signs in at once: everybody is answered, the others too, and memory stays within what was set.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::http::Caller;
use batchcortex_e2e::program::Api;
use batchcortex_e2e::site::{PASSWORD, Site};
use serde_json::json;
use tokio_postgres::Client;

const PEOPLE: usize = 200;

/// Accounts with the operator's password, made by the DBA: joining would take as long as what is measured.
async fn shift(database: &Client, site: &Site) -> Result<()> {
    database
        .execute(
            "with p as (
                 insert into batchcortex.user_account (username, full_name, password_hash)
                 select 'shift-' || n, 'Person ' || n, u.password_hash
                   from batchcortex.user_account u, generate_series(1, $2::int) n where u.username = 'logins-operator'
                 returning user_id)
             insert into batchcortex.membership (org_id, user_id, role_name) select $1, user_id, 'operator' from p",
            &[&site.org_id, &i32::try_from(PEOPLE)?],
        )
        .await?;
    Ok(())
}

// control: B3, R3
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_sign_in_and_the_others_are_answered() -> Result<()> {
    let cluster = Cluster::start("logins")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "logins").await?;
    shift(&cluster.superuser().await?, &site).await?;
    let nobody = Caller::nobody(&api.url());

    let begun = Instant::now();
    nobody
        .post("/v1/login", &json!({"username": "shift-1", "password": PASSWORD}))
        .await?
        .ok()?;
    let alone = begun.elapsed();

    let done = Arc::new(AtomicBool::new(false));
    let others = {
        let (done, operator) = (Arc::clone(&done), site.operator.clone());
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let begun = Instant::now();
                operator.get("/v1/batches").await?.ok()?;
                latencies.push(begun.elapsed());
            }
            anyhow::Ok(latencies)
        })
    };
    let begun = Instant::now();
    let logins: Vec<_> = (1..=PEOPLE)
        .map(|n| {
            let nobody = nobody.clone();
            let body = json!({"username": format!("shift-{n}"), "password": PASSWORD});
            tokio::spawn(async move { nobody.post("/v1/login", &body).await })
        })
        .collect();
    let (mut granted, mut busy) = (0, 0);
    for login in logins {
        let answer = login.await??;
        match answer.status.as_u16() {
            200 => granted += 1,
            // Its turn did not come within 20 s: said as such, with the time to wait.
            503 if answer.retry_after()? > 0 => busy += 1,
            _ => anyhow::bail!("{answer:?}"),
        }
    }
    let took = begun.elapsed();
    done.store(true, Ordering::Relaxed);
    let mut latencies = others.await??;
    latencies.sort();
    println!(
        "one login alone {alone:?}; {PEOPLE} at once {took:?}, {granted} granted, {busy} told to come back; meanwhile {} other requests, median {:?}, worst {:?}",
        latencies.len(),
        latencies[latencies.len() / 2],
        latencies.last().context("none")?
    );
    ensure!(granted + busy == PEOPLE && granted > 0);
    Ok(())
}

/// KiB of memory that these processes have for themselves.
fn own_memory(pids: &[i32]) -> u64 {
    pids.iter()
        .filter_map(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        })
        .sum()
}

/// The API's own queue is no protection from whoever has its database login: the bound is the database's.
// control: B3
#[tokio::test(flavor = "multi_thread")]
async fn passwords_take_no_more_memory_than_is_set() -> Result<()> {
    const CONNECTIONS: usize = 60;
    let cluster = Cluster::start("memory")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "logins").await?;
    let database = cluster.superuser().await?;
    shift(&database, &site).await?;
    let row = database
        .query_one(
            "select current_setting('batchcortex.max_password_checks')::bigint, pg_size_bytes(current_setting('batchcortex.argon2_memory')) / 1024",
            &[],
        )
        .await?;
    let (checks, each) = (row.get::<_, i64>(0), row.get::<_, i64>(1));
    let (checks, each) = (u64::try_from(checks)?, u64::try_from(each)?);
    ensure!(
        CONNECTIONS as u64 >= 8 * checks,
        "too few connections to show a bound"
    );

    let mut clients = Vec::new();
    for n in 0..CONNECTIONS {
        let client = cluster.service().await?;
        // Plans and catalogs are read before anything is measured; the name is nobody's, the check is as for everyone.
        sign_in(&client, &format!("nobody-{n}")).await?;
        clients.push(client);
    }
    let (quiet, most, after) = watch(&clients).await?;
    println!(
        "{CONNECTIONS} connections: {quiet} KiB before, {most} KiB at most, {after} KiB after; one check {each} KiB, {checks} at once"
    );
    // Each connection may grow a little; one that keeps the memory of a check is seen.
    let little = CONNECTIONS as u64 * each / 16;
    ensure!(most <= quiet + checks * each + little, "{most} KiB at most");
    ensure!(after <= quiet + little, "{after} KiB are kept");

    // The measurement can fail: it sees what is taken when more may run at once.
    set(&database, "max_password_checks = 32").await?;
    let (quiet, most, _) = watch(&clients).await?;
    println!("32 at once: {quiet} KiB before, {most} KiB at most");
    ensure!(
        most > quiet + checks * each + little,
        "{most} KiB at most: nothing is seen"
    );
    Ok(())
}

/// Everyone signs in at once, some times: KiB of all connections before, at most and after.
async fn watch(clients: &[Client]) -> Result<(u64, u64, u64)> {
    const ROUNDS: usize = 2;
    let mut pids: Vec<i32> = Vec::new();
    for client in clients {
        pids.push(client.query_one("select pg_backend_pid()", &[]).await?.get(0));
    }
    let before = own_memory(&pids);
    let done = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (done, pids) = (Arc::clone(&done), pids.clone());
        std::thread::spawn(move || {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(own_memory(&pids));
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        })
    };
    let logins = clients.iter().enumerate().map(|(n, client)| async move {
        for _ in 0..ROUNDS {
            let outcome = sign_in(client, &format!("shift-{}", n + 1)).await?;
            // On a machine that is busy with other things a turn may not come in time.
            ensure!(outcome == "granted" || outcome == "53000", "{outcome}");
        }
        Ok(())
    });
    let ended = futures_util::future::try_join_all(logins).await;
    done.store(true, Ordering::Relaxed);
    let most = watcher.join().map_err(|_| anyhow::anyhow!("the watcher died"))?;
    ended?;
    Ok((before, most, own_memory(&pids)))
}

/// Sets something for the whole server.
async fn set(database: &Client, setting: &str) -> Result<()> {
    database
        .batch_execute(&format!("alter system set batchcortex.{setting}"))
        .await?;
    database.batch_execute("select pg_reload_conf()").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

// control: B3
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_too_long_to_be_checked_is_told_so() -> Result<()> {
    const CONNECTIONS: usize = 16;
    let cluster = Cluster::start("slots")?;
    let api = Api::start(&cluster).await?;
    Site::found(&cluster, &api.url(), "logins").await?;
    let database = cluster.superuser().await?;
    // Checks that take a second or more, one at a time: the last would wait for far more than ten.
    for setting in [
        "argon2_memory = '128MB'",
        "argon2_passes = 20",
        "max_password_checks = 1",
    ] {
        set(&database, setting).await?;
    }
    let logins = (0..CONNECTIONS).map(|n| {
        let cluster = &cluster;
        async move {
            let client = cluster.service().await?;
            sign_in(&client, &format!("nobody-{n}")).await
        }
    });
    let outcomes = futures_util::future::try_join_all(logins).await?;
    let (checked, refused) = outcomes
        .iter()
        .partition::<Vec<_>, _>(|outcome| *outcome == "refused");
    ensure!(!checked.is_empty() && !refused.is_empty(), "{outcomes:?}");
    ensure!(refused.iter().all(|outcome| *outcome == "53000"), "{outcomes:?}");
    // Nothing was compared, so nothing was tried; and the slots are free again.
    let attempts = database
        .query_one(
            "select count(*) from batchcortex.login_attempt where result = 'refused'",
            &[],
        )
        .await?;
    ensure!(
        usize::try_from(attempts.get::<_, i64>(0))? == checked.len(),
        "{outcomes:?}"
    );
    set(&database, "argon2_passes = 2").await?;
    ensure!(sign_in(&cluster.service().await?, "nobody").await? == "refused");
    Ok(())
}

/// A login as the API sends it; the outcome, or the SQLSTATE.
async fn sign_in(client: &Client, username: &str) -> Result<String> {
    match client
        .query_one(
            "select outcome from batchcortex_api.login($1, $2)",
            &[&username, &PASSWORD],
        )
        .await
    {
        Ok(row) => Ok(row.get(0)),
        Err(error) => Ok(error.code().context("no SQLSTATE")?.code().to_owned()),
    }
}
