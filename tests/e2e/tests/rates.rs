//! Budgets of requests: one for all API processes, with the limits that an installation has when nobody sets others.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::http::{Answer, Caller};
use batchcortex_e2e::program::Api;
use batchcortex_e2e::site::{PASSWORD, Site, text};
use serde_json::json;

/// Sends requests to two processes in turn until one is refused: how many were answered, in what time, and the refusal.
async fn exhaust<F: Future<Output = Result<Answer>>>(
    processes: &[Caller; 2],
    request: impl Fn(Caller) -> F,
) -> Result<(u64, Duration, Answer)> {
    let begun = Instant::now();
    for sent in 0..400 {
        let answer = request(processes[usize::from(sent % 2 == 1)].clone()).await?;
        if answer.status == 429 {
            return Ok((sent, begun.elapsed(), answer));
        }
        ensure!(!answer.status.is_server_error(), "{answer:?}");
    }
    anyhow::bail!("400 requests and no refusal")
}

/// The budget was spent, not less, and no more than came back while it was: so much a minute.
fn spent(what: &str, per_minute: u64, (answered, took, refusal): &(u64, Duration, Answer)) -> Result<()> {
    let back = took.as_secs_f64() * per_minute as f64 / 60.0;
    println!("{what}: {answered} answered in {took:?}, then 429");
    ensure!(
        *answered >= per_minute && (*answered as f64) <= per_minute as f64 + back.ceil(),
        "{what}: {answered} answered in {took:?}"
    );
    ensure!(refusal.problem()? == (429, "BC429".to_owned()), "{refusal:?}");
    ensure!(refusal.retry_after()? <= 60, "{refusal:?}");
    Ok(())
}

// control: A10, B6
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_every_budget() -> Result<()> {
    let cluster = Cluster::start("rates")?;
    let first = Api::start(&cluster).await?;
    let second = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &first.url(), "rates").await?;
    let made = site
        .admin
        .post(
            "/v1/api-keys",
            &json!({"name": "historian", "role_name": "operator", "scopes": ["batch.read"],
                    "expires_at": in_a_month(&cluster).await?}),
        )
        .await?
        .ok()?;
    let key = site.admin.with_token(text(&made, "api_key")?);
    let nobody = Caller::nobody(&first.url());

    // The limits that an installation has.
    let database = cluster.superuser().await?;
    for statement in [
        "alter system reset batchcortex.rate_authentication",
        "alter system reset batchcortex.rate_general",
        "select pg_reload_conf()",
    ] {
        database.batch_execute(statement).await?;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let both = |caller: &Caller| [caller.clone(), caller.at(&second.url())];

    let list = |caller: Caller| async move { caller.get("/v1/batches?max_rows=1").await };
    spent(
        "requests of a person",
        100,
        &exhaust(&both(&site.operator), list).await?,
    )?;
    spent("requests of an API key", 60, &exhaust(&both(&key), list).await?)?;
    // A person's budget is their own: another one's is whole.
    site.admin.get("/v1/batches").await?.ok()?;

    let guess = json!({"username": "rates-operator", "password": "a wrong guess, and a long one"});
    let sign_in = |caller: Caller| {
        let guess = guess.clone();
        async move { caller.post("/v1/login", &guess).await }
    };
    let outcome = exhaust(&both(&nobody), sign_in).await?;
    spent("attempts to sign in", 10, &outcome)?;
    // The address has no attempt left, for any name and any way to prove who one is; the right password is not looked at.
    let right = json!({"username": "rates-admin", "password": PASSWORD});
    ensure!(
        nobody
            .at(&second.url())
            .post("/v1/login", &right)
            .await?
            .problem()?
            .0
            == 429
    );
    let joining =
        json!({"invitation": format!("bci_{}", "0".repeat(64)), "full_name": "N N", "password": PASSWORD});
    let refused = nobody.post("/v1/invitations/accept", &joining).await?;
    ensure!(
        refused.problem()? == (429, "BC429".to_owned()) && refused.retry_after()? > 0,
        "{refused:?}"
    );
    // Whoever got hold of a session has no second set of guesses.
    for (path, body) in [
        ("/v1/session/elevate", json!({"password": PASSWORD})),
        (
            "/v1/password",
            json!({"old_password": PASSWORD, "new_password": "a quite different sentence"}),
        ),
        ("/v1/second-factor/enrol", json!({"password": PASSWORD})),
        ("/v1/second-factor/confirm", json!({"code": "000000"})),
    ] {
        let refused = site.admin.at(&second.url()).post(path, &body).await?;
        ensure!(
            refused.problem()? == (429, "BC429".to_owned()) && refused.retry_after()? > 0,
            "{path}: {refused:?}"
        );
    }

    // After the time that the answer names, one more is admitted.
    let wait = outcome.2.retry_after()?;
    tokio::time::sleep(Duration::from_secs(wait)).await;
    nobody.post("/v1/login", &right).await?.ok()?;
    Ok(())
}

/// A time in a month, by the server's clock.
async fn in_a_month(cluster: &Cluster) -> Result<String> {
    let query = "select to_char((clock_timestamp() + interval '1 month') at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    let row = cluster.superuser().await?.query_one(query, &[]).await?;
    row.try_get(0).context("no time")
}
