//! A whole shift signs in at once: everybody is answered, the others too, and memory stays within what was set.

use std::collections::HashMap;
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

/// KiB of memory that each process has for itself.
fn own_memory(pids: &[i32]) -> HashMap<i32, u64> {
    pids.iter()
        .filter_map(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
            Some((*pid, line.trim().trim_end_matches(" kB").parse().ok()?))
        })
        .collect()
}

/// The API's own queue is no protection from whoever has its database login: the bound is the database's.
// control: B3
#[tokio::test(flavor = "multi_thread")]
async fn passwords_take_no_more_memory_than_is_set() -> Result<()> {
    const CONNECTIONS: usize = 60;
    const ROUNDS: usize = 3;
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
    let mut pids = Vec::new();
    for n in 0..CONNECTIONS {
        let client = cluster.service().await?;
        pids.push(client.query_one("select pg_backend_pid()", &[]).await?.get(0));
        // Plans and catalogs are read before anything is measured; the name is nobody's, the check is as for everyone.
        sign_in(&client, &format!("nobody-{n}")).await?;
        clients.push(client);
    }
    let total = |memory: &HashMap<i32, u64>| memory.values().sum::<u64>();
    let quiet = total(&own_memory(&pids));

    let done = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (done, pids) = (Arc::clone(&done), pids.clone());
        std::thread::spawn(move || {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(own_memory(&pids).values().sum::<u64>());
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        })
    };
    let begun = Instant::now();
    let logins: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(n, client)| {
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    let outcome = sign_in(&client, &format!("shift-{}", n + 1)).await?;
                    ensure!(outcome == "granted" || outcome == "53000", "{outcome}");
                }
                Ok(client)
            })
        })
        .collect();
    let mut kept = Vec::new();
    for login in logins {
        kept.push(login.await??);
    }
    done.store(true, Ordering::Relaxed);
    let most = watcher.join().map_err(|_| anyhow::anyhow!("the watcher died"))?;
    let after = total(&own_memory(&pids));
    println!(
        "{CONNECTIONS} connections, {ROUNDS} logins each in {:?}: {quiet} KiB before, {most} KiB at most, {after} KiB after; one check {each} KiB, {checks} at once",
        begun.elapsed()
    );
    // Each connection may have grown a little; one that holds the memory of a check between two is seen.
    let little = CONNECTIONS as u64 * each / 4;
    ensure!(most <= quiet + checks * each + little, "{most} KiB at most");
    ensure!(after <= quiet + little, "{after} KiB are kept");
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
