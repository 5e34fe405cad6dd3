//! The customer's own machine as a witness, against a real server: what it cosigns, what it refuses, and what it remembers whatever
//! becomes of either of them.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::http::{Caller, client};
use batchcortex_e2e::line::findings;
use batchcortex_e2e::program::Api;
use batchcortex_e2e::site::{PASSWORD, Site, text};
use batchcortex_e2e::witness::{Witness, log_key};
use batchcortex_e2e::{rounds, until};
use batchcortex_keys::KeyFile;
use batchcortex_ledger::checkpoint::{self, Checkpoint};
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::merkle::{root_of, verify_consistency};
use batchcortex_ledger::note::{NoteSignature, SignedNote, VerifierKey};
use batchcortex_ledger::tile::{self, TileId};
use batchcortex_ledger::witness::{AddCheckpoint, Submission};
use tokio_postgres::Client;
use uuid::Uuid;

const GLOBAL: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";

async fn register(database: &Client, witness: &Witness) -> Result<()> {
    database
        .execute("select batchcortex.add_witness($1, 'a test')", &[&witness.key])
        .await?;
    Ok(())
}

/// Records an event and returns its id.
async fn record(database: &Client, id: &str) -> Result<Uuid> {
    let row = database
        .query_one("select batchcortex.log_event('app.note', 'note', $1)", &[&id])
        .await?;
    Ok(row.get(0))
}

/// Waits until so many witnesses have cosigned what covers a record; the size.
async fn witnessed(database: &Client, record: Uuid, seconds: i32, quorum: i32) -> Result<i64> {
    let row = database
        .query_one(
            "select batchcortex.wait_witnessed($1, make_interval(secs => $2), $3)",
            &[&record, &f64::from(seconds), &quorum],
        )
        .await?;
    Ok(row.get(0))
}

async fn get(url: &str) -> Result<reqwest::Response> {
    Ok(client().get(url).send().await?)
}

async fn post(url: &str, body: String) -> Result<(u16, String)> {
    let response = client().post(url).body(body).send().await?;
    Ok((response.status().as_u16(), response.text().await?))
}

async fn newest(api: &str) -> Result<SignedNote> {
    let body = get(&format!("{api}/v1/ledger/global/checkpoint"))
        .await?
        .bytes()
        .await?;
    Ok(SignedNote::parse(&body)?)
}

fn keys(text: &[&str]) -> Result<Vec<VerifierKey>> {
    Ok(text.iter().map(|key| key.parse()).collect::<Result<_, _>>()?)
}

// control: N3, A18, A19
#[tokio::test(flavor = "multi_thread")]
async fn the_customers_machine_cosigns_and_so_does_another_witness() -> Result<()> {
    let cluster = Cluster::start("witness")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "witnessed").await?;
    let database = cluster.superuser().await?;
    let log = log_key(&cluster).await?;
    // The other one follows no log by itself: nothing listens where it would ask. It cosigns what it is brought.
    let mut other = Witness::prepare(&cluster, "other", "http://127.0.0.1:9", &log, "")?;
    let feed = format!("[[witness.feed]]\nurl = {:?}\nkey = {:?}", other.url, other.key);
    let mut own = Witness::prepare(&cluster, "own", &api.url(), &log, &feed)?;
    other.start()?;
    own.start()?;
    let first = record(&database, "1").await?;
    // It keeps its state and says what is to be done about its cosignature.
    until("it is not registered", Duration::from_secs(20), || async {
        let log = std::fs::read_to_string(own.directory().join("witness.log"))?;
        let statement = format!("select batchcortex.add_witness('{}', 'why')", own.key);
        Ok(
            (log.contains("403: no registered witness has signed this") && log.contains(&statement))
                .then_some(()),
        )
    })
    .await?;
    register(&database, &own).await?;
    register(&database, &other).await?;

    let size = witnessed(&database, first, 20, 2).await?;
    let text: String = database
        .query_one("select batchcortex.latest_checkpoint($1::text::uuid)", &[&GLOBAL])
        .await?
        .get(0);
    let origin = text.lines().next().context("no origin")?.to_owned();
    let cosigned = until(
        "the newest has both cosignatures",
        Duration::from_secs(20),
        || async {
            let note = newest(&api.url()).await?;
            let opened = checkpoint::open(
                note.to_string().as_bytes(),
                &origin,
                &keys(&[&log])?,
                &keys(&[&own.key, &other.key])?,
            )?;
            Ok((opened.witnesses() == 2).then_some(opened))
        },
    )
    .await?;
    ensure!(cosigned.checkpoint.size() >= u64::try_from(size)?);
    let (well, report) = own.status()?;
    ensure!(well && report["state"] == "in order", "{report}");
    ensure!(findings(&cluster).await?.is_empty());

    the_log_is_served(&api, &cosigned.checkpoint, &own, &other, &site).await?;
    others_are_answered(&api, &own).await?;
    it_is_killed_and_goes_on(&database, &mut own).await?;
    ensure!(
        findings(&cluster).await?.is_empty(),
        "{:?}",
        findings(&cluster).await?
    );

    // Without a witness the wait has an end.
    own.kill()?;
    let lost = record(&database, "lost").await?;
    let refused = witnessed(&database, lost, 1, 1).await.unwrap_err();
    let state = refused
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(|error| error.code().map(|code| code.code().to_owned()));
    ensure!(state.as_deref() == Some("BC504"), "{refused:?}");
    own.start()?;
    witnessed(&database, lost, 20, 1).await?;
    Ok(())
}

/// Checkpoint, tiles and proofs by the paths and headers of C2SP tlog-tiles; cosignatures taken and refused.
async fn the_log_is_served(
    api: &Api,
    checkpoint: &Checkpoint,
    own: &Witness,
    other: &Witness,
    site: &Site,
) -> Result<()> {
    let global = format!("{}/v1/ledger/global", api.url());
    let head = |response: &reqwest::Response, name: &str| -> String {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let answer = get(&format!("{global}/checkpoint")).await?;
    ensure!(head(&answer, "content-type") == "text/plain; charset=utf-8");
    ensure!(head(&answer, "cache-control") == "no-cache");

    // The root follows from the tiles.
    let size = checkpoint.size();
    let mut leaves: Vec<Hash> = Vec::new();
    for index in 0..size.div_ceil(256) {
        let tile = TileId {
            level: 0,
            index,
            width: u16::try_from((size - index * 256).min(256))?,
        };
        let answer = get(&format!("{global}/{tile}")).await?;
        ensure!(answer.status().is_success(), "{tile}: {}", answer.status());
        ensure!(head(&answer, "content-type") == "application/octet-stream");
        ensure!(head(&answer, "cache-control") == "public, max-age=31536000, immutable");
        ensure!(head(&answer, "vary").is_empty(), "it is the same for everyone");
        for hash in answer.bytes().await?.chunks(32) {
            leaves.push(hash.try_into()?);
        }
    }
    ensure!(
        root_of(&leaves) == *checkpoint.root(),
        "the tiles give another root"
    );
    let paths = [
        "tile/0/x000/000",
        "tile/0/0",
        "tile/0/000.p/256",
        "tile/0/999",
        "tile/9/000.p/1",
        "tile/entries/000",
        "tile/entries/000.p/1",
    ];
    for path in paths {
        let answer = get(&format!("{global}/{path}")).await?;
        ensure!(answer.status() == 404, "{path}: {}", answer.status());
        ensure!(head(&answer, "cache-control") == "no-store", "{path}");
    }
    let answer = get(&format!("{global}/consistency?from=1&to={size}"))
        .await?
        .bytes()
        .await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    let path: Vec<Hash> = answer["path"]
        .as_array()
        .context("no path")?
        .iter()
        .map(|hash| {
            Ok(BASE64_STANDARD
                .decode(hash.as_str().unwrap_or_default())?
                .as_slice()
                .try_into()?)
        })
        .collect::<Result<_>>()?;
    verify_consistency(1, size, &leaves[0], checkpoint.root(), &path)?;
    let absent = get(&format!("{global}/consistency?from=1&to=1000000")).await?;
    ensure!(absent.status() == 404);
    let absent = absent.text().await?;
    ensure!(
        absent.contains("no trees of 1 and of 1000000 leaves of the global log")
            && !absent.contains("organisation"),
        "{absent}"
    );

    let note = newest(&api.url()).await?;
    let size = note.text().parse::<Checkpoint>()?.size();
    let by = |witness: &Witness| -> Result<Option<NoteSignature>> {
        let key: VerifierKey = witness.key.parse()?;
        let signatures = note.signatures();
        Ok(signatures
            .iter()
            .find(|signature| signature.key_id == key.id())
            .cloned())
    };
    let url = format!("{global}/cosignatures");
    let submit = |size, signatures| post(&url, Submission { size, signatures }.to_string());
    if let (Some(mine), Some(theirs)) = (by(own)?, by(other)?) {
        ensure!(
            submit(size, vec![mine.clone(), theirs.clone()]).await?.0 == 200,
            "repeating is harmless"
        );
        ensure!(submit(size + 1_000_000, vec![mine.clone()]).await?.0 == 404);
        let mut altered = mine.clone();
        altered.signature[20] ^= 1;
        ensure!(submit(size, vec![altered]).await?.0 == 422);
        let stranger = NoteSignature {
            name: "stranger.example".to_owned(),
            ..mine
        };
        let (status, refused) = submit(size, vec![stranger.clone()]).await?;
        ensure!(
            status == 403 && refused.contains("batchcortex.add_witness"),
            "it says what to do: {refused}"
        );
        ensure!(
            submit(size, vec![stranger, theirs]).await?.0 == 200,
            "strangers are passed over"
        );
    }
    ensure!(post(&url, "nonsense".to_owned()).await?.0 == 400);
    ensure!(post(&url, "x".repeat(100_000)).await?.0 == 413);

    // An organisation's log is for whoever may verify it.
    let own_log = format!("{}/v1/ledger", api.url());
    for path in [
        "checkpoint",
        "tile/0/000.p/1",
        "inclusion?leaf=0&size=1",
        "consistency?from=1&to=1",
    ] {
        ensure!(get(&format!("{own_log}/{path}")).await?.status() == 401, "{path}");
    }
    ensure!(site.admin.get("/v1/ledger/consistency?from=1&to=2").await?.ok()?["path"].is_array());
    ensure!(site.admin.get("/v1/ledger/inclusion?leaf=0&size=2").await?.ok()?["path"].is_array());
    let absent = site.admin.get("/v1/ledger/inclusion?leaf=2&size=2").await?;
    ensure!(absent.problem()?.0 == 404);
    ensure!(
        text(&absent.body, "detail")?.contains("The leaf index counts from 0"),
        "it says what to do: {absent:?}"
    );
    // What a browser keeps for one member it shows to no other: the address is the same for all organisations.
    let login = serde_json::json!({"username": "witnessed-admin", "password": PASSWORD});
    let session = Caller::nobody(&api.url()).post("/v1/login", &login).await?.ok()?;
    let answer = client()
        .get(format!("{own_log}/tile/0/000.p/1"))
        .bearer_auth(text(&session, "token")?)
        .send()
        .await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    ensure!(head(&answer, "cache-control") == "private, max-age=31536000, immutable");
    ensure!(head(&answer, "vary") == "Authorization, Cookie");
    ensure!(answer.bytes().await?.len() == 32);
    Ok(())
}

/// The witness as a server: C2SP tlog-witness, by whoever asks.
async fn others_are_answered(api: &Api, own: &Witness) -> Result<()> {
    let note = newest(&api.url()).await?;
    let url = format!("{}/add-checkpoint", own.url);
    let ask = |old_size, note: &SignedNote| {
        let request = AddCheckpoint {
            old_size,
            proof: Vec::new(),
            note: note.clone(),
        };
        post(&url, request.to_string())
    };
    let (status, held) = ask(0, &note).await?;
    ensure!(
        status == 409 && held.trim_end().parse::<u64>()? > 0,
        "{status} {held}"
    );
    ensure!(post(&url, "nonsense".to_owned()).await?.0 == 400);
    let mut unsigned = SignedNote::new(note.text())?;
    unsigned.add(NoteSignature {
        name: "stranger.example".to_owned(),
        key_id: note.signatures()[0].key_id,
        signature: vec![0; 64],
    });
    ensure!(ask(0, &unsigned).await?.0 == 403);
    ensure!(post(&url, format!("old 0\n\n{}", note.text())).await?.0 == 403);
    let foreign = note
        .to_string()
        .replacen("batchcortex.test/", "elsewhere.example/", 1);
    ensure!(ask(0, &SignedNote::parse(foreign.as_bytes())?).await?.0 == 404);
    ensure!(get(&format!("{}/status", own.url)).await?.status() == 200);
    ensure!(
        own.alarms().is_empty(),
        "what strangers send is no alarm: {:?}",
        own.alarms()
    );
    Ok(())
}

/// Killed at any moment, it never cosigns two things of one size, and goes on where it stood.
async fn it_is_killed_and_goes_on(database: &Client, own: &mut Witness) -> Result<()> {
    for round in 0..3 * rounds() {
        let before = own.size()?;
        own.kill()?;
        own.start()?;
        for number in 0..5 {
            record(database, &format!("{round}-{number}")).await?;
            database.query_one("select batchcortex.seal()", &[]).await?;
        }
        tokio::time::sleep(Duration::from_millis(37 * (round as u64 % 20))).await;
        own.kill()?;
        ensure!(own.size()? >= before, "it has forgotten");
        own.start()?;
        let after = record(database, &format!("{round}-after")).await?;
        witnessed(database, after, 20, 1).await?;
    }
    ensure!(own.alarms().is_empty(), "{:?}", own.alarms());
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(copied.success(), "cp");
    Ok(())
}

fn exchange(data: &Path, with: &Path) -> Result<()> {
    let aside = data.with_extension("aside");
    std::fs::rename(data, &aside)?;
    std::fs::rename(with, data)?;
    Ok(std::fs::rename(aside, with)?)
}

// control: N3, A18
#[tokio::test(flavor = "multi_thread")]
async fn an_older_data_directory_is_refused_and_the_right_one_taken_back() -> Result<()> {
    let cluster = Cluster::start("witness-older")?;
    let api = Api::start(&cluster).await?;
    let mut own = Witness::prepare(&cluster, "own", &api.url(), &log_key(&cluster).await?, "")?;
    let database = cluster.superuser().await?;
    register(&database, &own).await?;
    own.start()?;
    let first = record(&database, "1").await?;
    witnessed(&database, first, 20, 1).await?;
    drop(database);

    let data = cluster.data()?;
    let older = data.with_extension("older");
    cluster.stop()?;
    copy(&data, &older)?;
    let api = restart(&cluster, api).await?;
    let database = cluster.superuser().await?;
    for number in 0..20 {
        record(&database, &number.to_string()).await?;
        database.query_one("select batchcortex.seal()", &[]).await?;
    }
    let last = record(&database, "last").await?;
    witnessed(&database, last, 20, 1).await?;
    let held = own.size()?;
    drop(database);

    // The older copy comes back, with the same identifier and on the same timeline: the server itself cannot know.
    cluster.stop()?;
    exchange(&data, &older)?;
    let api = restart(&cluster, api).await?;
    let database = cluster.superuser().await?;
    record(&database, "another history").await?;
    database.query_one("select batchcortex.seal()", &[]).await?;
    let (code, evidence) = own.alarm().await?;
    ensure!(
        ["rollback", "fork", "bad_proof"].contains(&code.as_str()),
        "{code}"
    );
    for note in ["held", "offered"] {
        let note = SignedNote::parse(evidence[note].as_str().context("no note")?.as_bytes())?;
        note.verify(&keys(&[&log_key(&cluster).await?])?)?;
    }
    ensure!(own.size()? == held, "it cosigned what it refused");
    let (well, report) = own.status()?;
    ensure!(!well && report["state"] == "alarm", "{report}");
    ensure!(get(&format!("{}/status", own.url)).await?.status() == 503);
    let other = record(&database, "not cosigned").await?;
    ensure!(witnessed(&database, other, 2, 1).await.is_err());
    // Nobody can have it take another history under the same origin.
    let accepted = own.command("accept", &["--reason", "the disk was replaced"])?;
    ensure!(!accepted.status.success(), "{accepted:?}");
    ensure!(own.alarms().len() == 1, "told once: {:?}", own.alarms());
    drop(database);

    // The right one comes back: a person says so, and it goes on.
    cluster.stop()?;
    exchange(&data, &older)?;
    let _api = restart(&cluster, api).await?;
    let database = cluster.superuser().await?;
    let accepted = own.command("accept", &["--reason", "the right disk is back"])?;
    ensure!(accepted.status.success(), "{accepted:?}");
    let decisions = std::fs::read_to_string(own.directory().join("state/decisions.jsonl"))?;
    ensure!(
        decisions.contains("the right disk is back") && decisions.contains("resolved"),
        "{decisions}"
    );
    let again = record(&database, "again").await?;
    witnessed(&database, again, 20, 1).await?;
    ensure!(own.status()?.0);
    std::fs::remove_dir_all(older)?;
    Ok(())
}

/// Starts server and API again; the API where it was.
async fn restart(cluster: &Cluster, api: Api) -> Result<Api> {
    let port = api.port();
    api.kill()?;
    cluster.serve()?;
    Api::start_on(cluster, port).await
}

// control: N3, A18
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_a_superuser_rewrites_with_the_stolen_key_is_refused() -> Result<()> {
    let cluster = Cluster::start("witness-forged")?;
    let api = Api::start(&cluster).await?;
    let log = log_key(&cluster).await?;
    let mut own = Witness::prepare(&cluster, "own", &api.url(), &log, "")?;
    let database = cluster.superuser().await?;
    register(&database, &own).await?;
    own.start()?;
    for number in 0..10 {
        let event = record(&database, &number.to_string()).await?;
        witnessed(&database, event, 20, 1).await?;
    }
    // More than one tile, so that there is one above them to be made to fit.
    for number in 0..260 {
        record(&database, &format!("more {number}")).await?;
        database.query_one("select batchcortex.seal()", &[]).await?;
    }
    let last = record(&database, "last").await?;
    witnessed(&database, last, 20, 1).await?;
    let held = own.size()?;
    ensure!(held > 256, "{held}");
    drop(database);
    let port = api.port();
    api.kill()?;
    cluster.break_glass("to rewrite what was recorded").await?;
    let database = cluster.superuser().await?;

    // Another leaf, and everything above it made to fit: tiles, root, every later checkpoint, each signed with the server's own key.
    database.query_one("select batchcortex.seal()", &[]).await?;
    let signer = KeyFile::parse(&std::fs::read_to_string(
        cluster.data()?.join("pg_batchcortex.checkpoint_keys"),
    )?)?
    .signer()
    .context("no signer")?;
    for table in ["ledger_tile", "ledger_tree", "ledger_checkpoint"] {
        database
            .batch_execute(&format!("alter table batchcortex.{table} disable trigger all"))
            .await?;
    }
    let stored = database
        .query(
            "select hashes from batchcortex.ledger_tile where org_id = $1::text::uuid and level = 0 order by tile_index",
            &[&GLOBAL],
        )
        .await?;
    let mut leaves: Vec<Hash> = Vec::new();
    for row in &stored {
        leaves.extend_from_slice(tile::hashes_of(row.get(0)).context("a tile")?);
    }
    leaves[1] = [7; 32];
    let mut rebuilt = 0;
    for tile in tile::append(0, &[], &leaves)?.tiles {
        rebuilt += database
            .execute(
                "update batchcortex.ledger_tile set hashes = $4
                  where org_id = $1::text::uuid and level = $2 and tile_index = $3 and hashes <> $4",
                &[
                    &GLOBAL,
                    &i16::from(tile.level),
                    &i64::try_from(tile.index)?,
                    &tile.bytes(),
                ],
            )
            .await?;
    }
    ensure!(rebuilt == 2, "the leaf's tile and the one above it: {rebuilt}");
    let checkpoints = database
        .query(
            "select tree_size, batchcortex.checkpoint_text(org_id, tree_size) from batchcortex.ledger_checkpoint
              where org_id = $1::text::uuid and tree_size > 1",
            &[&GLOBAL],
        )
        .await?;
    for row in checkpoints {
        let (size, text): (i64, String) = (row.get(0), row.get(1));
        let old: Checkpoint = text.parse()?;
        let root = root_of(&leaves[..usize::try_from(size)?]);
        let mut note = SignedNote::new(text.replacen(
            &BASE64_STANDARD.encode(old.root()),
            &BASE64_STANDARD.encode(root),
            1,
        ))?;
        note.add(signer.sign(&note));
        let (root, note) = (root.to_vec(), note.to_string());
        database
            .execute(
                "update batchcortex.ledger_checkpoint set root = $3, note = $4 where org_id = $1::text::uuid and tree_size = $2",
                &[&GLOBAL, &size, &root, &note],
            )
            .await?;
        database
            .execute(
                "update batchcortex.ledger_tree set root = $3, note = $4 where org_id = $1::text::uuid and size = $2",
                &[&GLOBAL, &size, &root, &note],
            )
            .await?;
    }
    for table in ["ledger_tile", "ledger_tree", "ledger_checkpoint"] {
        database
            .batch_execute(&format!("alter table batchcortex.{table} enable trigger all"))
            .await?;
    }
    // The server is at peace with itself and seals on top of it.
    record(&database, "on top").await?;
    database.query_one("select batchcortex.seal()", &[]).await?;
    let _api = Api::start_on(&cluster, port).await?;
    let (code, evidence) = own.alarm().await?;
    ensure!(["fork", "bad_proof"].contains(&code.as_str()), "{code}");
    for note in ["held", "offered"] {
        let note = SignedNote::parse(evidence[note].as_str().context("no note")?.as_bytes())?;
        note.verify(&keys(&[&log])?)?;
    }
    ensure!(own.size()? == held);
    ensure!(!own.command("accept", &["--reason", "please"])?.status.success());
    // And the cosignatures that the server holds are over another root than it has now.
    let found = findings(&cluster).await?;
    ensure!(
        found
            .iter()
            .any(|finding| finding.starts_with("wrong_cosignature")),
        "{found:?}"
    );
    Ok(())
}

// control: N3
#[tokio::test(flavor = "multi_thread")]
async fn a_new_incarnation_is_followed_unless_history_is_missing() -> Result<()> {
    let cluster = Cluster::start("witness-lives")?;
    let api = Api::start(&cluster).await?;
    let mut own = Witness::prepare(&cluster, "own", &api.url(), &log_key(&cluster).await?, "")?;
    let database = cluster.superuser().await?;
    register(&database, &own).await?;
    own.start()?;
    let first = record(&database, "1").await?;
    witnessed(&database, first, 20, 1).await?;
    // What someone will go back to.
    let old = Cluster::from_base_backup("witness-lives-old", &cluster, &["-X", "stream"])?;
    let replica = Cluster::from_base_backup("witness-lives-replica", &cluster, &["-X", "stream", "-R"])?;
    replica.serve()?;
    for number in 0..10 {
        record(&database, &number.to_string()).await?;
        database.query_one("select batchcortex.seal()", &[]).await?;
    }
    let last = record(&database, "last").await?;
    witnessed(&database, last, 20, 1).await?;
    let standby = replica.superuser().await?;
    let size = |database: Client| async move {
        let row = database
            .query_one(
                "select size from batchcortex.ledger_tree where org_id = $1::text::uuid",
                &[&GLOBAL],
            )
            .await?;
        Ok::<i64, anyhow::Error>(row.get(0))
    };
    until("the replica has caught up", Duration::from_secs(30), || async {
        let there = size(cluster.superuser().await?).await?;
        Ok((size(replica.superuser().await?).await? == there).then_some(()))
    })
    .await?;

    // A replica that had everything is promoted: another life, and nothing is missing.
    drop(database);
    let port = api.port();
    api.kill()?;
    cluster.stop()?;
    standby.batch_execute("select pg_promote()").await?;
    url_of(&replica, &cluster)?;
    let event = record(&standby, "promoted").await?;
    standby.query_one("select batchcortex.seal()", &[]).await?;
    let api = Api::start_on(&replica, port).await?;
    witnessed(&standby, event, 20, 1).await?;
    let (well, report) = own.status()?;
    let origin = report["logs"][0]["origin"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(well && origin.contains("/2-"), "{report}");
    drop(standby);

    // The base backup of the beginning goes on: cosigned history is missing from it.
    api.kill()?;
    replica.stop()?;
    old.configure(
        "restore_command = '/bin/false'\nrecovery_target = 'immediate'\nrecovery_target_action = 'promote'\n",
    )?;
    std::fs::write(old.data()?.join("recovery.signal"), "")?;
    old.serve()?;
    url_of(&old, &cluster)?;
    let back = old.superuser().await?;
    until("recovery ends", Duration::from_secs(30), || async {
        let recovering: bool = back.query_one("select pg_is_in_recovery()", &[]).await?.get(0);
        Ok((!recovering).then_some(()))
    })
    .await?;
    record(&back, "another second life").await?;
    back.query_one("select batchcortex.seal()", &[]).await?;
    let held = own.size()?;
    let _api = Api::start_on(&old, port).await?;
    let (code, _) = own.alarm().await?;
    ensure!(
        ["set_back", "other_incarnation"].contains(&code.as_str()),
        "{code}"
    );
    ensure!(own.size()? == held);
    ensure!(
        !own.command("accept", &["--reason", " "])?.status.success(),
        "without a reason"
    );
    let accepted = own.command("accept", &["--reason", "restored on purpose, deviation 17"])?;
    ensure!(accepted.status.success(), "{accepted:?}");
    let decisions = std::fs::read_to_string(own.directory().join("state/decisions.jsonl"))?;
    ensure!(
        decisions.contains("deviation 17") && decisions.contains("accepted"),
        "{decisions}"
    );
    let event = record(&back, "accepted").await?;
    witnessed(&back, event, 20, 1).await?;
    ensure!(own.status()?.0);
    Ok(())
}

/// Sizes and roots of the global log that a server has signed, with their origins.
async fn signed(database: &Client) -> Result<HashMap<(String, u64), Hash>> {
    let rows = database
        .query(
            "select note from batchcortex.ledger_checkpoint where org_id = $1::text::uuid and note is not null",
            &[&GLOBAL],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let note = SignedNote::parse(row.get::<_, &str>(0).as_bytes())?;
            let checkpoint: Checkpoint = note.text().parse()?;
            Ok((
                (checkpoint.origin().to_owned(), checkpoint.size()),
                *checkpoint.root(),
            ))
        })
        .collect()
}

// control: N3
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lagged_goes_on_under_another_origin_and_the_loss_is_told() -> Result<()> {
    let cluster = Cluster::start("witness-lag")?;
    let api = Api::start(&cluster).await?;
    let mut own = Witness::prepare(&cluster, "own", &api.url(), &log_key(&cluster).await?, "")?;
    let database = cluster.superuser().await?;
    register(&database, &own).await?;
    own.start()?;
    let first = record(&database, "1").await?;
    witnessed(&database, first, 20, 1).await?;
    let replica = Cluster::from_base_backup("witness-lag-replica", &cluster, &["-X", "stream", "-R"])?;
    replica.serve()?;
    let standby = replica.superuser().await?;
    until("it streams", Duration::from_secs(30), || async {
        let row = standby
            .query_one("select count(*) from pg_stat_wal_receiver", &[])
            .await?;
        Ok((row.get::<_, i64>(0) == 1).then_some(()))
    })
    .await?;

    // The line to it is cut, and nobody notices: the primary goes on, and the witness cosigns what it seals.
    standby
        .batch_execute("alter system set primary_conninfo = ''")
        .await?;
    standby.batch_execute("select pg_reload_conf()").await?;
    let left_at = until("it receives nothing any more", Duration::from_secs(30), || async {
        let row = standby
            .query_one(
                "select (select count(*) from pg_stat_wal_receiver) = 0 and pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn(),
                        (select size from batchcortex.ledger_tree where org_id = $1::text::uuid)",
                &[&GLOBAL],
            )
            .await?;
        Ok(row.get::<_, bool>(0).then(|| row.get::<_, i64>(1)))
    })
    .await?;
    for number in 0..10 {
        record(&database, &format!("lost {number}")).await?;
        database.query_one("select batchcortex.seal()", &[]).await?;
    }
    let lost = record(&database, "lost").await?;
    witnessed(&database, lost, 20, 1).await?;
    let held = own.size()?;
    let left_at = u64::try_from(left_at)?;
    ensure!(held > left_at + 10, "{held} after {left_at}");
    let by_primary = signed(&database).await?;
    drop(database);

    let port = api.port();
    api.kill()?;
    cluster.stop()?;
    standby.batch_execute("select pg_promote()").await?;
    url_of(&replica, &cluster)?;
    // Over each size that the witness has cosigned, so that all of them are signed again.
    for number in 0..20 {
        record(&standby, &format!("promoted {number}")).await?;
        standby.query_one("select batchcortex.seal()", &[]).await?;
    }
    let life = standby
        .query_one(
            "select origin, previous, begun_size from batchcortex.ledger_incarnation where incarnation = 2",
            &[],
        )
        .await?;
    let (origin, previous, begun): (String, String, i64) = (life.get(0), life.get(1), life.get(2));
    ensure!(u64::try_from(begun)? == left_at, "{begun} instead of {left_at}");
    let by_replica = signed(&standby).await?;
    ensure!(
        by_replica.keys().any(|(of, size)| *of == origin && *size > held),
        "{by_replica:?}"
    );
    let (mut same, mut again) = (0, 0);
    for ((of, size), root) in &by_replica {
        match by_primary.get(&(of.clone(), *size)) {
            Some(before) => ensure!(before == root, "{of} has two trees of size {size}"),
            None => ensure!(*of == origin && *size > left_at, "{of} has grown to {size}"),
        }
        same += u32::from(*of == previous);
        again += u32::from(*of == origin && by_primary.contains_key(&(previous.clone(), *size)));
    }
    ensure!(same > 0 && again > 0, "{same} {again}");

    // Who has seen more is told, and by how much.
    let _api = Api::start_on(&replica, port).await?;
    let (code, evidence) = own.alarm().await?;
    ensure!(code == "set_back", "{code}: {evidence}");
    let explained = text(&evidence, "explanation")?;
    ensure!(
        explained.contains(&format!(
            "begins at size {left_at}, after size {held} was cosigned: leaves are missing"
        )),
        "{explained}"
    );
    ensure!(text(&evidence, "held")?.starts_with(&format!("{previous}\n{held}\n")));
    let offered = text(&evidence, "offered")?;
    ensure!(
        offered.starts_with(&format!("{origin}\n"))
            && offered.contains(&format!("\ncontinues {left_at} {previous}\n")),
        "{offered}"
    );
    ensure!(own.size()? == held, "it cosigned what it refused");
    let (well, report) = own.status()?;
    ensure!(!well && report["state"] == "alarm", "{report}");
    let event = record(&standby, "not cosigned").await?;
    ensure!(witnessed(&standby, event, 2, 1).await.is_err());

    // A person has decided about the loss: from then on the new life is followed.
    let accepted = own.command("accept", &["--reason", "the replica lagged, deviation 18"])?;
    ensure!(accepted.status.success(), "{accepted:?}");
    witnessed(&standby, event, 20, 1).await?;
    let (well, report) = own.status()?;
    ensure!(well && report["logs"][0]["origin"] == origin, "{report}");
    ensure!(
        findings(&replica).await?.is_empty(),
        "{:?}",
        findings(&replica).await?
    );
    Ok(())
}

/// The API's login is the same in a copy of a server; its port is not.
fn url_of(copy: &Cluster, of: &Cluster) -> Result<()> {
    let port = |cluster: &Cluster| -> Result<String> {
        Ok(std::fs::read_to_string(cluster.run().join("port"))?
            .trim()
            .to_owned())
    };
    let url = std::fs::read_to_string(of.database_url_file())?;
    let url = url.replacen(&format!(":{}/", port(of)?), &format!(":{}/", port(copy)?), 1);
    let file = copy.database_url_file();
    std::fs::create_dir_all(file.parent().context("a file lies in a directory")?)?;
    Ok(std::fs::write(file, url)?)
}
