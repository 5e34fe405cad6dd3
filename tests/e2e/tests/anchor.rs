//! What stands outside of the database: checkpoints in a directory that a thief of backups cannot take back, and time stamps of an
//! authority. An older state that is put back is found by them, and nothing is signed twice.

use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::until;
use batchcortex_e2e::works::verify;
use tokio_postgres::Client;

/// A directory that is removed when this value is dropped.
struct Outside(PathBuf);

impl Outside {
    /// One of the server's user beside the data directory.
    fn of(cluster: &Cluster, name: &str) -> Result<Outside> {
        let data = cluster.data()?;
        let directory = data.parent().context("data lies in a directory")?.join(name);
        if directory.exists() {
            std::fs::remove_dir_all(&directory)?;
        }
        std::fs::create_dir_all(&directory)?;
        let owner = std::fs::metadata(&data)?;
        chown(&directory, Some(owner.uid()), Some(owner.gid()))?;
        Ok(Outside(directory))
    }

    /// Origin, size and whole text of each checkpoint.
    fn checkpoints(&self) -> Result<Vec<(String, u64, String)>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let text = std::fs::read_to_string(entry?.path())?;
            let mut lines = text.lines();
            let origin = lines.next().context("origin")?.to_owned();
            let size = lines.next().context("size")?.parse()?;
            all.push((origin, size, text));
        }
        all.sort();
        Ok(all)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn write(database: &Client, count: i64) -> Result<i64> {
    database
        .execute(
            "select count(batchcortex.log_event('app.note', 'note', i::text, org_id => '00000000-0000-0000-0000-000000000000')) from generate_series(1, $1::bigint) i",
            &[&count],
        )
        .await?;
    database.execute("select batchcortex.seal()", &[]).await?;
    size(database).await
}

async fn size(database: &Client) -> Result<i64> {
    let query =
        "select size from batchcortex.ledger_tree where org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff'";
    Ok(database.query_one(query, &[]).await?.get(0))
}

async fn one(database: &Client, query: &str) -> Result<String> {
    Ok(database.query_one(query, &[]).await?.get(0))
}

/// Until the newest checkpoint is a file.
async fn kept(database: &Client, outside: &Outside) -> Result<()> {
    until("the checkpoint is a file", Duration::from_secs(20), || async {
        let size = size(database).await? as u64;
        let newest: String = one(
            database,
            "select origin from batchcortex.ledger_incarnation order by incarnation desc limit 1",
        )
        .await?;
        let there = outside.checkpoints()?;
        Ok(there
            .iter()
            .any(|(origin, s, _)| *s == size && *origin == newest)
            .then_some(()))
    })
    .await
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cp -a {} {}", from.display(), to.display());
    Ok(())
}

// control: A17, N3
#[tokio::test(flavor = "multi_thread")]
async fn an_older_data_directory_that_is_put_back_is_found_and_nothing_is_signed_twice() -> Result<()> {
    let cluster = Cluster::start("put-back")?;
    let data = cluster.data()?;
    let outside = Outside::of(&cluster, "put-back-checkpoints")?;
    cluster.configure(&format!(
        "batchcortex.checkpoint_directory = '{}'\nbatchcortex.checkpoint_interval = 0\n",
        outside.0.display()
    ))?;
    cluster.stop()?;
    cluster.serve()?;
    let database = cluster.superuser().await?;
    write(&database, 3).await?;
    kept(&database, &outside).await?;
    ensure!(verify(&database).await?.is_empty());
    for entry in std::fs::read_dir(&outside.0)? {
        let mode = entry?.metadata()?.permissions().mode() & 0o777;
        ensure!(mode == 0o440, "{mode:o}");
    }
    drop(database);

    // An older state: a copy of everything, key file included.
    cluster.stop()?;
    let aside = data.with_file_name("pgdata.older");
    copy(&data, &aside)?;
    cluster.serve()?;
    let database = cluster.superuser().await?;
    for _ in 0..3 {
        write(&database, 2).await?;
        kept(&database, &outside).await?;
    }
    let lost = size(&database).await?;
    drop(database);
    cluster.stop()?;
    std::fs::remove_dir_all(&data)?;
    std::fs::rename(&aside, &data)?;
    cluster.serve()?;

    let database = cluster.superuser().await?;
    // The same number of leaves as before, of other records.
    for _ in 0..3 {
        write(&database, 2).await?;
        kept(&database, &outside).await?;
    }
    let found = verify(&database).await?;
    let expected = format!("rolled_back batchcortex.checkpoint_directory {lost}");
    ensure!(
        found.len() == 1 && found[0].starts_with(&expected),
        "{found:?} instead of {expected}"
    );
    let incarnations: i64 = database
        .query_one("select count(*) from batchcortex.ledger_incarnation", &[])
        .await?
        .get(0);
    ensure!(incarnations == 2, "{incarnations} incarnations");
    let event = one(
        &database,
        "select (before ->> 'size') || ' ' || (before::jsonb ->> 'size' > after::jsonb ->> 'size')::text
           from batchcortex.events_log where action = 'ledger.rolled_back' and org_id = '00000000-0000-0000-0000-000000000000'",
    )
    .await?;
    ensure!(event.starts_with(&lost.to_string()), "{event}");
    let mut signed: HashMap<(String, u64), String> = HashMap::new();
    for (origin, size, text) in outside.checkpoints()? {
        if let Some(other) = signed.insert((origin.clone(), size), text.clone()) {
            ensure!(other == text, "{origin} was signed twice with {size} leaves");
        }
    }
    let log = std::fs::read_to_string(data.join("server.log"))?;
    ensure!(log.contains("an older or another state of the database was put back"));

    // A further start goes on under the new origin.
    drop(database);
    cluster.stop()?;
    cluster.serve()?;
    let database = cluster.superuser().await?;
    write(&database, 1).await?;
    let incarnations: i64 = database
        .query_one("select count(*) from batchcortex.ledger_incarnation", &[])
        .await?
        .get(0);
    ensure!(
        incarnations == 2,
        "{incarnations} incarnations after another start"
    );

    // A file with one byte changed says nothing, and is named.
    let (origin, size, text) = outside
        .checkpoints()?
        .into_iter()
        .rfind(|(origin, ..)| origin.contains("/2-"))
        .context("a file of the second incarnation")?;
    let name = outside.0.join(format!(
        "{}-{size:020}.checkpoint",
        origin.rsplit('/').next().context("incarnation")?
    ));
    std::fs::remove_file(&name)?;
    std::fs::write(&name, text.replace("sealed 2", "sealed 3"))?;
    let found = verify(&database).await?;
    ensure!(
        found
            .iter()
            .any(|finding| finding.starts_with("bad_signature batchcortex.checkpoint_directory 2-")),
        "{found:?}"
    );
    Ok(())
}

// control: A17
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_fails_is_told_and_stops_no_sealing() -> Result<()> {
    let cluster = Cluster::start("no-directory")?;
    let outside = Outside::of(&cluster, "no-directory-checkpoints")?;
    let directory = outside.0.join("later");
    cluster.configure(&format!(
        "batchcortex.checkpoint_directory = '{}'\nbatchcortex.checkpoint_interval = 0\n",
        directory.display()
    ))?;
    cluster.stop()?;
    cluster.serve()?;
    let database = cluster.superuser().await?;
    let health =
        "select status || ' ' || detail from batchcortex.health() where component = 'checkpoint directory'";
    let before = size(&database).await?;
    ensure!(write(&database, 2).await? > before, "nothing was sealed");
    until("health tells it", Duration::from_secs(10), || async {
        let told = one(&database, health).await?;
        Ok((told.starts_with("down") && told.contains("No such file")).then_some(()))
    })
    .await?;
    let problem = one(
        &database,
        "select batchcortex.verify_report()::jsonb #>> '{checkpoint_directory,problem}'",
    )
    .await?;
    ensure!(problem.contains("No such file"), "{problem}");

    // It comes, read-only at first.
    std::fs::create_dir(&directory)?;
    let owner = std::fs::metadata(cluster.data()?)?;
    chown(&directory, Some(owner.uid()), Some(owner.gid()))?;
    if owner.uid() != 0 {
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o500))?;
        write(&database, 1).await?;
        until("health tells it", Duration::from_secs(10), || async {
            Ok(one(&database, health)
                .await?
                .contains("Permission denied")
                .then_some(()))
        })
        .await?;
    }
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700))?;
    let there = Outside(directory);
    write(&database, 1).await?;
    kept(&database, &there).await?;
    until("health is up", Duration::from_secs(10), || async {
        Ok(one(&database, health).await?.starts_with("up").then_some(()))
    })
    .await?;
    ensure!(verify(&database).await?.is_empty());
    Ok(())
}

const AUTHORITY: &str = "[tsa]
default_tsa = authority
[authority]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
clock_precision_digits = 3
ess_cert_id_alg = sha256
";

/// A throw-away authority: a CA, and a signer that it has certified for time stamps.
fn authority(directory: &Path) -> Result<()> {
    std::fs::write(directory.join("tsa.cnf"), AUTHORITY)?;
    std::fs::write(directory.join("serial"), "01\n")?;
    std::fs::write(
        directory.join("extensions"),
        "extendedKeyUsage = critical, timeStamping\n",
    )?;
    for command in [
        "ecparam -genkey -name prime256v1 -noout -out ca.key",
        "ecparam -genkey -name prime256v1 -noout -out tsa.key",
        "req -new -x509 -key ca.key -subj /CN=Throw-away -days 2 -out ca.crt",
        "req -new -key tsa.key -subj /CN=Authority -out tsa.csr",
        "x509 -req -in tsa.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out tsa.crt",
    ] {
        openssl(directory, command)?;
    }
    Ok(())
}

fn openssl(directory: &Path, command: &str) -> Result<String> {
    let output = Command::new("openssl")
        .args(command.split(' '))
        .current_dir(directory)
        .output()
        .context("openssl")?;
    if !output.status.success() {
        bail!("openssl {command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn add(database: &Client, size: i64, response: &[u8]) -> std::result::Result<(), String> {
    let done = database
        .execute("select batchcortex.add_timestamp($1, $2)", &[&size, &response])
        .await;
    done.map(|_| ())
        .map_err(|e| e.code().map(|code| code.code().to_owned()).unwrap_or_default())
}

// control: A4, A17
#[tokio::test(flavor = "multi_thread")]
async fn a_time_stamp_is_asked_for_checked_kept_and_verified_by_openssl() -> Result<()> {
    let cluster = Cluster::start("time-stamped")?;
    let database = cluster.superuser().await?;
    let files = Outside(cluster.run().join("authority"));
    let directory = files.0.as_path();
    std::fs::create_dir_all(directory)?;
    authority(directory)?;
    let size = write(&database, 3).await?;

    let row = database
        .query_one(
            "select batchcortex.timestamp_query($1), batchcortex.signed_checkpoint($1)",
            &[&size],
        )
        .await?;
    std::fs::write(directory.join("query.tsq"), row.get::<_, Vec<u8>>(0))?;
    std::fs::write(directory.join("note"), row.get::<_, String>(1))?;
    let shown = openssl(directory, "ts -query -in query.tsq -text")?;
    for part in ["Hash Algorithm: sha256", "Nonce: 0x", "Certificate required: yes"] {
        ensure!(shown.contains(part), "{shown}");
    }
    let reply =
        "ts -reply -config tsa.cnf -queryfile query.tsq -signer tsa.crt -inkey tsa.key -out response.tsr";
    openssl(directory, reply)?;
    let response = std::fs::read(directory.join("response.tsr"))?;
    ensure!(add(&database, size, &response).await == Ok(()));
    ensure!(add(&database, size, &response).await == Ok(()), "the same again");
    let kept = database
        .query("select response, abs(extract(epoch from clock_timestamp() - generated_at)) < 60, policy from batchcortex.timestamps($1)", &[&size])
        .await?;
    ensure!(kept.len() == 1 && kept[0].get::<_, Vec<u8>>(0) == response);
    ensure!(kept[0].get::<_, bool>(1) && kept[0].get::<_, String>(2) == "1.2.3.4.1");
    let check = "ts -verify -data note -in response.tsr -CAfile ca.crt -untrusted tsa.crt";
    openssl(directory, check)?;

    // The authority refuses, another checkpoint, another query, bytes that are none, a size that is not there.
    let later = write(&database, 1).await?;
    ensure!(
        add(&database, later, &response).await == Err("BC422".to_owned()),
        "another checkpoint"
    );
    openssl(directory, "ts -query -data note -sha256 -cert -out other.tsq")?;
    openssl(
        directory,
        &reply
            .replace("query.tsq", "other.tsq")
            .replace("response.tsr", "other.tsr"),
    )?;
    let other = std::fs::read(directory.join("other.tsr"))?;
    ensure!(
        add(&database, size, &other).await == Err("BC422".to_owned()),
        "another nonce"
    );
    openssl(
        directory,
        "ts -query -data note -sha256 -cert -no_nonce -out bare.tsq",
    )?;
    openssl(
        directory,
        &reply
            .replace("query.tsq", "bare.tsq")
            .replace("response.tsr", "bare.tsr"),
    )?;
    let bare = std::fs::read(directory.join("bare.tsr"))?;
    ensure!(add(&database, size, &bare).await == Ok(()), "no nonce");
    std::fs::write(
        directory.join("tsa.cnf"),
        AUTHORITY.replace("digests = sha256", "digests = sha512"),
    )?;
    openssl(directory, &reply.replace("response.tsr", "refused.tsr"))?;
    let refused = std::fs::read(directory.join("refused.tsr"))?;
    ensure!(
        add(&database, size, &refused).await == Err("BC422".to_owned()),
        "a refusal"
    );
    ensure!(add(&database, size, b"no DER").await == Err("BC400".to_owned()));
    ensure!(add(&database, size, &response[..response.len() - 1]).await == Err("BC400".to_owned()));
    ensure!(add(&database, size + 1_000_000, &response).await == Err("BC404".to_owned()));
    ensure!(verify(&database).await?.is_empty());

    // Tampered with: in transit, and in the table.
    let mut tampered = response.clone();
    let imprint = openssl_digest(directory)?;
    let at = tampered
        .windows(32)
        .position(|part| part == imprint)
        .context("the imprint stands in the response")?;
    tampered[at] ^= 1;
    std::fs::write(directory.join("response.tsr"), &tampered)?;
    ensure!(
        openssl(directory, check).is_err(),
        "openssl accepts a tampered response"
    );
    ensure!(add(&database, size, &tampered).await == Err("BC422".to_owned()));
    database
        .execute(
            "insert into batchcortex.ledger_timestamp (tree_size, generated_at, policy, serial, response, response_sha256)
             values ($1, clock_timestamp(), '1.2.3.4.1', '01', $2, sha256($2))",
            &[&size, &tampered],
        )
        .await?;
    let found = verify(&database).await?;
    ensure!(
        found.len() == 1
            && found[0].starts_with(&format!("wrong_timestamp batchcortex.ledger_timestamp {size}")),
        "{found:?}"
    );
    for statement in [
        "update batchcortex.ledger_timestamp set serial = '02'",
        "delete from batchcortex.ledger_timestamp",
        "truncate batchcortex.ledger_timestamp",
    ] {
        let refused = database.batch_execute(statement).await.err().context(statement)?;
        ensure!(
            refused.code().map(|code| code.code()) == Some("BC001"),
            "{statement}: {refused}"
        );
    }
    Ok(())
}

fn openssl_digest(directory: &Path) -> Result<Vec<u8>> {
    let output = Command::new("openssl")
        .args(["dgst", "-sha256", "-binary", "note"])
        .current_dir(directory)
        .output()?;
    Ok(output.stdout)
}

/// The script of docs/operations.md, as a file.
fn script(directory: &Path) -> Result<PathBuf> {
    let text = std::fs::read_to_string(batchcortex_e2e::root().join("docs/operations.md"))?;
    let (_, rest) = text
        .split_once("```sh\n#!/bin/sh -eu\n")
        .context("the script of docs/operations.md")?;
    let (script, _) = rest.split_once("```").context("the end of the script")?;
    let path = directory.join("time-stamp");
    std::fs::write(&path, format!("#!/bin/sh -eu\n{script}"))?;
    Ok(path)
}

/// An authority behind HTTP, as RFC 3161 §3.4 has it; returns its address.
async fn serve(directory: PathBuf) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let answer = move |query: axum::body::Bytes| async move {
        let reply =
            "ts -reply -config tsa.cnf -queryfile asked.tsq -signer tsa.crt -inkey tsa.key -out answer.tsr";
        std::fs::write(directory.join("asked.tsq"), &query)
            .map_err(anyhow::Error::from)
            .and_then(|()| openssl(&directory, reply))
            .and_then(|_| Ok(std::fs::read(directory.join("answer.tsr"))?))
            .map_err(|e| (axum::http::StatusCode::BAD_REQUEST, e.to_string()))
    };
    let routes = axum::Router::new().route("/", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(format!("http://{address}/"))
}

// control: A4
#[tokio::test(flavor = "multi_thread")]
async fn the_script_of_the_documentation_fetches_a_time_stamp() -> Result<()> {
    let cluster = Cluster::start("time-stamp-script")?;
    let database = cluster.superuser().await?;
    let files = Outside(cluster.run().join("authority"));
    std::fs::create_dir_all(&files.0)?;
    authority(&files.0)?;
    let url = serve(files.0.clone()).await?;
    let script = script(&files.0)?;
    let programs = cluster.programs()?;
    let env = std::fs::read_to_string(cluster.run().join("env"))?;
    let mut command = tokio::process::Command::new("sh");
    command
        .arg("-eu")
        .arg(&script)
        .arg(&url)
        .env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()),
        )
        .envs(env.lines().filter_map(|line| line.split_once('=')));
    let output = command.output().await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let kept: i64 = database
        .query_one("select count(*) from batchcortex.ledger_timestamp", &[])
        .await?
        .get(0);
    ensure!(kept == 1, "{kept} time stamps");
    ensure!(verify(&database).await?.is_empty());
    Ok(())
}
