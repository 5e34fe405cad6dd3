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
