//! Keys are changed for new ones while devices and witnesses know the old ones.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::device::now_ticks;
use batchcortex_e2e::line::findings;
use batchcortex_e2e::program::Api;
use batchcortex_e2e::site::Site;
use batchcortex_e2e::until;
use batchcortex_e2e::witness::{Witness, log_key};
use serde_json::json;

/// Runs `batchcortex-keys` as the server's user; what it printed.
fn keys(cluster: &Cluster, arguments: &[&str], file: &str) -> Result<String> {
    let data = cluster.data()?;
    let owner = std::fs::metadata(&data)?;
    // The server's user may not be able to enter the checkout: the private installation has a copy.
    let program = cluster.programs()?.join("batchcortex-keys");
    let output = Command::new(program)
        .args(arguments)
        .arg(data.join(file))
        .uid(owner.uid())
        .gid(owner.gid())
        .current_dir("/")
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

// control: N3, A19
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_and_nothing_that_the_old_ones_made_is_lost() -> Result<()> {
    let cluster = Cluster::start("rotation")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "rotated").await?;
    site.tag("pH", "Double", "pH").await?;
    site.tag("T", "Double", "Cel").await?;
    let device = site.device("edge", &api.url()).await?;
    let send =
        |sequence: u64| device.message(sequence, None, "pH", sequence, now_ticks() - 1_000, json!(6.5));
    device.send(&send(1)).await?.ok()?;
    let old = log_key(&cluster).await?;
    let database = cluster.superuser().await?;
    database.query_one("select batchcortex.seal()", &[]).await?;
    drop(database);

    let port = api.port();
    let ring = keys(&cluster, &["ring", "rotate"], "pg_batchcortex.keys")?;
    ensure!(ring == "k2\nk1\n", "{ring}");
    let printed = keys(&cluster, &["rotate"], "pg_batchcortex.checkpoint_keys")?;
    let [new, before] = printed.lines().collect::<Vec<_>>()[..] else {
        anyhow::bail!("two keys are expected: {printed}");
    };
    ensure!(before == old && new != old);
    api.kill()?;
    cluster.stop()?;
    cluster.serve()?;
    let api = Api::start_on(&cluster, port).await?;

    // A device from before, and one from after.
    device.send(&send(2)).await?.ok()?;
    let later = site.device("edge after the rotation", &api.url()).await?;
    let message = later.message(1, None, "T", 1, now_ticks() - 1_000, json!(36.6));
    later.send(&message).await?.ok()?;

    // What the old key has signed verifies, what is signed now is signed by the new one, and a witness that knows both goes on.
    ensure!(log_key(&cluster).await? == new);
    ensure!(
        findings(&cluster).await?.is_empty(),
        "{:?}",
        findings(&cluster).await?
    );
    let mut witness = Witness::prepare(&cluster, "both", &api.url(), new, "")?;
    witness.start()?;
    until("the witness has verified it", Duration::from_secs(20), || async {
        Ok(witness.status()?.0.then_some(()))
    })
    .await?;
    let mut stale = Witness::prepare(&cluster, "stale", &api.url(), &old, "")?;
    stale.start()?;
    let (code, evidence) = stale.alarm().await?;
    ensure!(
        code == "signature" && evidence["held"].is_null(),
        "{code} {evidence}"
    );
    let offered = evidence["offered"].as_str().context("no note")?;
    ensure!(offered.starts_with("batchcortex.test/"), "{offered}");
    Ok(())
}

async fn sealing(database: &tokio_postgres::Client) -> Result<(i64, String)> {
    let sealed = database.query_one("select batchcortex.seal()", &[]).await?.get(0);
    let health = "select status from batchcortex.health() where component = 'sealer'";
    Ok((sealed, database.query_one(health, &[]).await?.get(0)))
}

const RECORD: &str =
    "select batchcortex.log_event('app.note', 'note', '1', org_id => '00000000-0000-0000-0000-000000000000')";

// control: N3, A19
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_key_signs_or_waits_and_goes_on_from_what_it_signed() -> Result<()> {
    let cluster = Cluster::start("keys-missing")?;
    let file = cluster.data()?.join("pg_batchcortex.checkpoint_keys");
    let restart = || -> Result<()> {
        cluster.stop()?;
        cluster.serve()
    };
    let mut database = cluster.superuser().await?;
    database.query_one("select batchcortex.seal()", &[]).await?;

    // Rotated, and not restarted: a sealer that begins now cannot sign by the key that the server knows.
    keys(&cluster, &["rotate"], "pg_batchcortex.checkpoint_keys")?;
    database
        .execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'batchcortex sealer'",
            &[],
        )
        .await?;
    database.query_one(RECORD, &[]).await?;
    let (sealed, health) = sealing(&database).await?;
    ensure!(sealed == 0 && health == "down", "{sealed} {health}");
    drop(database);
    restart()?;
    database = cluster.superuser().await?;
    sealing(&database).await?;
    ensure!(findings(&cluster).await?.is_empty());

    // The public half of the key that signed last is missing.
    let whole = std::fs::read_to_string(&file)?;
    keys(&cluster, &["rotate"], "pg_batchcortex.checkpoint_keys")?;
    let rotated = std::fs::read_to_string(&file)?;
    let private: String = rotated
        .lines()
        .filter(|line| line.starts_with("PRIVATE+KEY+"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&file, private)?;
    drop(database);
    restart()?;
    database = cluster.superuser().await?;
    database.query_one(RECORD, &[]).await?;
    let (sealed, health) = sealing(&database).await?;
    ensure!(sealed == 0 && health == "down", "{sealed} {health}");
    drop(database);
    let log = std::fs::read_to_string(cluster.data()?.join("server.log"))?;
    let told = "its public half belongs into the file of the checkpoint key";
    ensure!(
        log.matches(told).count() == 1,
        "told {} times",
        log.matches(told).count()
    );
    std::fs::write(&file, &whole)?;
    restart()?;
    database = cluster.superuser().await?;
    sealing(&database).await?;
    ensure!(findings(&cluster).await?.is_empty());

    // A key that is gone stops the sealing of what it signed, until somebody wants to go on without one.
    drop(database);
    cluster.stop()?;
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside)?;
    cluster.serve()?;
    database = cluster.superuser().await?;
    database.query_one(RECORD, &[]).await?;
    let (sealed, health) = sealing(&database).await?;
    ensure!(sealed == 0 && health == "down", "{sealed} {health}");
    let report = "select batchcortex.verify_report()::jsonb -> 'signed' = 'false'";
    ensure!(database.query_one(report, &[]).await?.get::<_, bool>(0));
    let wanted = "select batchcortex.new_incarnation('the key is lost')";
    database.query_one(wanted, &[]).await?;
    // That time is found for good; with a key again, what was signed is the beginning of what is signed then.
    let (sealed, health) = sealing(&database).await?;
    ensure!(sealed > 0 && health == "up", "{sealed} {health}");
    drop(database);
    cluster.stop()?;
    std::fs::rename(&aside, &file)?;
    cluster.serve()?;
    database = cluster.superuser().await?;
    database.query_one(RECORD, &[]).await?;
    let (sealed, health) = sealing(&database).await?;
    ensure!(sealed > 0 && health == "up", "{sealed} {health}");
    let lives: String = database
        .query_one(
            "select string_agg(split_part(origin, '/', 1), ' ' order by incarnation) from batchcortex.ledger_incarnation",
            &[],
        )
        .await?
        .get(0);
    ensure!(
        lives == "batchcortex.test batchcortex batchcortex.test",
        "{lives}"
    );
    let found = findings(&cluster).await?;
    ensure!(
        !found.is_empty() && found.iter().all(|finding| finding.starts_with("bad_signature")),
        "{found:?}"
    );
    Ok(())
}

/// A file that is named and cannot be reached is no server without a key.
// control: N3
#[test]
fn a_key_file_that_is_named_and_missing_stops_the_start() -> Result<()> {
    let cluster = Cluster::start("keys-named")?;
    cluster.stop()?;
    cluster.configure("batchcortex.checkpoint_key_file = '/nonexistent/checkpoint.keys'\n")?;
    ensure!(cluster.serve().is_err());
    let log = std::fs::read_to_string(cluster.data()?.join("server.log"))?;
    ensure!(log.contains("the checkpoint key file cannot be used"), "{log}");
    cluster.configure("batchcortex.checkpoint_key_file = ''\n")?;
    cluster.serve()
}
