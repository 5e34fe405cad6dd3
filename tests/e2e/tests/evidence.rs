//! Evidence leaves the server, and `bcverify` judges it alone: what holds, what was altered, and a history that was rewritten whole.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::http::Caller;
use batchcortex_e2e::line::findings;
use batchcortex_e2e::program::Api;
use batchcortex_e2e::root;
use batchcortex_e2e::site::Site;
use batchcortex_ledger::hash::{Hash, leaf_hash};
use batchcortex_ledger::merkle::CompactRange;
use batchcortex_ledger::note::{PrivateKey, SignedNote, Signer};
use batchcortex_ledger::tile;
use serde_json::json;
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

const GLOBAL: Uuid = Uuid::max();

/// An auditor's desk: a directory, the key of the log, and the program.
struct Desk {
    directory: PathBuf,
    key: String,
}

impl Desk {
    async fn new(cluster: &Cluster, database: &Client) -> Result<Desk> {
        let directory = cluster.run().join("desk");
        std::fs::create_dir_all(&directory)?;
        let key = database
            .query_one("select batchcortex.checkpoint_keys()", &[])
            .await?
            .get(0);
        Ok(Desk { directory, key })
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.directory.join(name);
        std::fs::write(&path, content)?;
        Ok(path)
    }

    /// Exit code and what was printed.
    fn verify(&self, file: &Path, more: &[&str]) -> Result<(i32, String)> {
        let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root().join("target"), PathBuf::from);
        let output = Command::new(target.join("release/bcverify"))
            .arg(file)
            .args(["--log-key", &self.key])
            .args(more)
            .env_clear()
            .output()
            .context("bcverify: run scripts/build")?;
        let text = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
        Ok((output.status.code().context("a code")?, text))
    }
}

/// What SQL exports.
async fn exported(database: &Client, arguments: &str) -> Result<String> {
    let rows = database
        .query(&format!("select batchcortex.export_evidence({arguments})"), &[])
        .await?;
    Ok(rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect())
}

async fn download(caller: &Caller, query: &str) -> Result<String> {
    let answer = caller.get(&format!("/v1/evidence{query}")).await?;
    ensure!(answer.media_type == "application/jsonl", "{answer:?}");
    Ok(answer.ok()?.as_str().context("lines")?.to_owned())
}

/// An organisation with a batch: samples of a device, and `notes` events.
async fn plant(cluster: &Cluster, api: &Api, name: &str, notes: usize) -> Result<(Site, Uuid)> {
    let site = Site::found(cluster, &api.url(), name).await?;
    let batch = site.batch("LOT-1").await?;
    site.tag("pH", "Double", "pH").await?;
    let device = site.device("edge", &api.url()).await?;
    device
        .send_samples("LOT-1", "pH", &[json!(6.6), json!(6.7), json!(6.8)])
        .await?;
    for number in 0..notes {
        let batch = (number % 2 == 0).then_some(batch);
        let event = json!({"action": "app.note", "record_type": "note", "record_id": number.to_string(), "reason": "as planned", "batch_id": batch});
        site.operator.post("/v1/events", &event).await?.ok()?;
    }
    Ok((site, batch))
}

async fn id(database: &Client, query: &str) -> Result<Uuid> {
    Ok(database
        .query_opt(query, &[])
        .await?
        .context("no such record")?
        .get(0))
}

fn note(number: u32) -> String {
    format!(
        "select event_id from batchcortex.events_log where action = 'app.note' and record_id = '{number}'"
    )
}

async fn triggers_off(change: &Transaction<'_>) -> Result<()> {
    for table in ["events_log", "ledger_tile", "ledger_tree", "ledger_checkpoint"] {
        // A partition has its triggers of its own.
        let relations = change
            .query(
                "select relid::regclass::text from pg_partition_tree($1::text::regclass) union select $1::text",
                &[&format!("batchcortex.{table}")],
            )
            .await?;
        for relation in relations {
            let relation: String = relation.get(0);
            change
                .batch_execute(&format!("alter table {relation} disable trigger all"))
                .await?;
        }
    }
    Ok(())
}

// control: A18, A19, N1
#[tokio::test(flavor = "multi_thread")]
async fn evidence_verifies_offline_and_names_what_was_altered() -> Result<()> {
    let cluster = Cluster::start("evidence")?;
    let api = Api::start(&cluster).await?;
    let (site, batch) = plant(&cluster, &api, "evident", 600).await?;
    let other = Site::found(&cluster, &api.url(), "elsewhere").await?;
    let mut database = cluster.superuser().await?;
    database.execute("select batchcortex.seal()", &[]).await?;
    let desk = Desk::new(&cluster, &database).await?;
    let org = site.org_id;
    let one = id(&database, &note(100)).await?;
    let gone = id(&database, &note(301)).await?;

    // Everything, over SQL and over HTTP.
    let all = exported(&database, &format!("'{org}'")).await?;
    let (code, text) = desk.verify(&desk.put("all.jsonl", &all)?, &[])?;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains(" sample_segment") && text.contains("  as hashes 0\n"),
        "{text}"
    );
    assert_eq!(
        desk.verify(&desk.put("http.jsonl", download(&site.operator, "").await?)?, &[])?
            .0,
        0
    );

    // A record, a batch, a time.
    let record = download(&site.operator, &format!("?record={one}")).await?;
    let file = desk.put("record.jsonl", &record)?;
    let (code, text) = desk.verify(&file, &["--list"])?;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains(&format!("\"event_id\":\"{one}\"")) && text.contains("records:    1 (1 event)"),
        "{text}"
    );
    assert!(record.len() < 8192, "{} bytes for one record", record.len());
    let (code, text) = desk.verify(
        &desk.put(
            "batch.jsonl",
            download(&site.operator, &format!("?batch={batch}")).await?,
        )?,
        &[],
    )?;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("3 sample_segment") && text.contains("LOT-1 (as the exporter says)"),
        "{text}"
    );
    let (code, text) = desk.verify(
        &desk.put(
            "time.jsonl",
            exported(
                &database,
                &format!("'{org}', from_time => 'today', until_time => 'tomorrow'"),
            )
            .await?,
        )?,
        &[],
    )?;
    assert_eq!(code, 0, "{text}");

    // What the API refuses.
    let refused =
        async |caller: &Caller, query: &str| caller.get(&format!("/v1/evidence{query}")).await?.problem();
    assert_eq!(
        refused(&site.operator, &format!("?record={}", Uuid::nil())).await?,
        (404, "BC404".to_owned())
    );
    assert_eq!(
        refused(&other.operator, &format!("?record={one}")).await?,
        (404, "BC404".to_owned())
    );
    assert_eq!(
        refused(&other.operator, &format!("?batch={batch}")).await?,
        (404, "BC404".to_owned())
    );
    assert_eq!(
        refused(&site.operator, &format!("?record={one}&batch={batch}")).await?,
        (422, "BC422".to_owned())
    );
    assert_eq!(
        refused(&site.operator, "?since=0").await?,
        (422, "BC422".to_owned())
    );
    assert_eq!(refused(&Caller::nobody(&api.url()), "").await?.0, 401);
    let told = database
        .query_one(
            "select count(*) from batchcortex.events_log where org_id = $1 and action = 'ledger.exported'",
            &[&org],
        )
        .await?;
    assert_eq!(told.get::<_, i64>(0), 3, "an event an export, none for a refusal");

    // A file that was cut, and one with another bit in it.
    let cut = desk.put("cut.jsonl", &all[..all.len() / 2])?;
    assert_eq!(desk.verify(&cut, &[])?.0, 2);
    let mut bit = all.clone().into_bytes();
    // The last digit of the first record's last value.
    let at = all.find("\"}}\n").context("a leaf")? - 1;
    bit[at] = if bit[at] == b'0' { b'1' } else { b'0' };
    let (code, text) = desk.verify(&desk.put("bit.jsonl", bit)?, &[])?;
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("wrong_leaf: line 2, leaf 0, "), "{text}");
    assert_eq!(findings(&cluster).await?, Vec::<String>::new());

    // A superuser behind broken glass: one byte, one row, and a row that leaves its batch and its day.
    drop(api);
    cluster.break_glass("to see what the file shows").await?;
    database = cluster.superuser().await?;
    database.execute("select batchcortex.seal()", &[]).await?;
    let moved = id(&database, &note(400)).await?;
    let change = database.transaction().await?;
    triggers_off(&change).await?;
    for (statement, record) in [
        (
            "update batchcortex.events_log set reason = 'as plannee' where event_id = $1",
            one,
        ),
        ("delete from batchcortex.events_log where event_id = $1", gone),
        (
            "update batchcortex.events_log set batch_id = null, recorded_at = recorded_at - interval '1 hour' where event_id = $1",
            moved,
        ),
    ] {
        assert_eq!(change.execute(statement, &[&record]).await?, 1);
    }
    change.commit().await?;
    for scope in [
        String::new(),
        format!(", batch => '{batch}'"),
        ", from_time => 'yesterday'".to_owned(),
    ] {
        let file = desk.put(
            "altered.jsonl",
            exported(&database, &format!("'{org}'{scope}")).await?,
        )?;
        let (code, text) = desk.verify(&file, &[])?;
        assert_eq!(code, 1, "{text}");
        let found: Vec<&str> = text
            .lines()
            .take_while(|line| !line.starts_with("scope:"))
            .collect();
        assert_eq!(found.len(), 3, "{text}");
        for (line, expected) in found.iter().zip([
            ("wrong_leaf", one),
            ("missing_record", gone),
            ("wrong_leaf", moved),
        ]) {
            assert!(
                line.starts_with(expected.0) && line.contains(&format!(", event {}:", expected.1)),
                "{line}"
            );
        }
    }
    let file = desk.put(
        "one.jsonl",
        exported(&database, &format!("'{org}', record => '{one}'")).await?,
    )?;
    assert_eq!(desk.verify(&file, &[])?.0, 1);
    Ok(())
}

/// A log as it lies in the database.
async fn leaves(change: &Transaction<'_>, org: Uuid) -> Result<Vec<Hash>> {
    let rows = change
        .query(
            "select hashes from batchcortex.ledger_tile where org_id = $1 and level = 0 order by tile_index",
            &[&org],
        )
        .await?;
    let mut leaves = Vec::new();
    for row in rows {
        leaves.extend_from_slice(tile::hashes_of(row.get(0)).context("a tile")?);
    }
    Ok(leaves)
}

/// Writes every tile of a log anew, its head, and the root of each of its checkpoints.
async fn rebuild(change: &Transaction<'_>, org: Uuid, leaves: &[Hash]) -> Result<()> {
    let grown = tile::append(0, &[], leaves)?;
    for tile in &grown.tiles {
        let changed = change
            .execute(
                "update batchcortex.ledger_tile set hashes = $4 where org_id = $1 and level = $2 and tile_index = $3",
                &[&org, &i16::from(tile.level), &(tile.index as i64), &tile.bytes()],
            )
            .await?;
        ensure!(changed == 1, "tile {} of level {}", tile.index, tile.level);
    }
    let mut range = CompactRange::new();
    let mut roots = HashMap::new();
    for leaf in leaves {
        range.append(*leaf);
        roots.insert(range.size() as i64, range.root());
    }
    let sizes = change
        .query(
            "select tree_size from batchcortex.ledger_checkpoint where org_id = $1",
            &[&org],
        )
        .await?;
    for size in sizes {
        let size: i64 = size.get(0);
        change
            .execute(
                "update batchcortex.ledger_checkpoint set root = $3 where org_id = $1 and tree_size = $2",
                &[&org, &size, &&roots[&size][..]],
            )
            .await?;
    }
    change
        .execute(
            "update batchcortex.ledger_tree set root = $2 where org_id = $1",
            &[&org, &&grown.root[..]],
        )
        .await?;
    Ok(())
}

/// Signs the checkpoints of a log with the stolen key.
async fn sign(change: &Transaction<'_>, org: Uuid, key: &Signer) -> Result<()> {
    let rows = change
        .query(
            "select tree_size, batchcortex.checkpoint_text(org_id, tree_size) from batchcortex.ledger_checkpoint where org_id = $1 order by tree_size",
            &[&org],
        )
        .await?;
    for row in rows {
        let mut note = SignedNote::new(row.get::<_, String>(1))?;
        note.add(key.sign(&note));
        let note = note.to_string();
        if org == GLOBAL {
            let statement =
                "update batchcortex.ledger_checkpoint set note = $3 where org_id = $1 and tree_size = $2";
            change
                .execute(statement, &[&org, &row.get::<_, i64>(0), &note])
                .await?;
        }
        let statement = "update batchcortex.ledger_tree set note = $3 where org_id = $1 and size = $2";
        change
            .execute(statement, &[&org, &row.get::<_, i64>(0), &note])
            .await?;
    }
    Ok(())
}

// control: A18, N1, N3
#[tokio::test(flavor = "multi_thread")]
async fn a_history_rewritten_with_the_stolen_key_is_caught_by_an_old_checkpoint() -> Result<()> {
    let cluster = Cluster::start("rewritten")?;
    let api = Api::start(&cluster).await?;
    let (site, _) = plant(&cluster, &api, "rewritten", 40).await?;
    let org = site.org_id;
    let mut database = cluster.superuser().await?;
    database.execute("select batchcortex.seal()", &[]).await?;
    let desk = Desk::new(&cluster, &database).await?;

    // What a customer keeps: a few lines of text.
    let kept: String = database
        .query_one("select batchcortex.latest_checkpoint($1)", &[&GLOBAL])
        .await?
        .get(0);
    let size: i64 = kept.lines().nth(1).context("a size")?.parse()?;
    let old = desk.put("kept.checkpoint", &kept)?;
    let with_old = ["--old-checkpoint", old.to_str().context("a path")?];
    // Life goes on.
    for number in 40..300 {
        let event = json!({"action": "app.note", "record_type": "note", "record_id": number.to_string()});
        site.operator.post("/v1/events", &event).await?.ok()?;
    }
    database.execute("select batchcortex.seal()", &[]).await?;
    for _ in 0..4 {
        let statement = "insert into batchcortex.events_log (org_id, action, record_type, record_id)
                         select $1, 'app.step', 'step', i::text from generate_series(1, 5000) i";
        database.execute(statement, &[&org]).await?;
        database.execute("select batchcortex.seal()", &[]).await?;
    }
    let honest = desk.put(
        "honest.jsonl",
        exported(&database, &format!("'{org}', since => {size}")).await?,
    )?;
    let (code, text) = desk.verify(&honest, &with_old)?;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("continues:  "), "{text}");

    drop(api);
    cluster.break_glass("to rewrite what happened").await?;
    database = cluster.superuser().await?;
    database.execute("select batchcortex.seal()", &[]).await?;
    let file = std::fs::read_to_string(cluster.data()?.join("pg_batchcortex.checkpoint_keys"))?;
    let private = file
        .lines()
        .find(|line| line.starts_with("PRIVATE+KEY+"))
        .context("a private key")?;
    let stolen = private
        .parse::<PrivateKey>()?
        .signer()
        .context("a key of a log")?;
    let change = database.transaction().await?;
    change
        .batch_execute("lock table batchcortex.ledger_tree, batchcortex.ledger_queue in exclusive mode")
        .await?;
    triggers_off(&change).await?;
    // Every event of the organisation, and the hash that it carries.
    change
        .execute(
            "create temporary table was as select event_id, leaf_hash from batchcortex.events_log where org_id = $1",
            &[&org],
        )
        .await?;
    change
        .execute(
            "update batchcortex.events_log set reason = 'within specification' where org_id = $1",
            &[&org],
        )
        .await?;
    let statement = r"update batchcortex.events_log e set leaf_hash = sha256('\x00'::bytea || batchcortex.event_preimage(e))
                        from was w where e.org_id = $1 and e.event_id = w.event_id returning w.leaf_hash, e.leaf_hash";
    let mut is: HashMap<Hash, Hash> = HashMap::new();
    for row in change.query(statement, &[&org]).await? {
        let hash = |i| row.get::<_, &[u8]>(i).try_into().context("a hash");
        is.insert(hash(0)?, hash(1)?);
    }
    // The organisation's log, in which nothing else stands but the samples.
    let mut own = leaves(&change, org).await?;
    let mut replaced = 0;
    for leaf in &mut own {
        if let Some(new) = is.get(leaf) {
            *leaf = *new;
            replaced += 1;
        }
    }
    ensure!(
        replaced == is.len() && replaced > 20_000,
        "{replaced} of {}",
        is.len()
    );
    rebuild(&change, org, &own).await?;
    sign(&change, org, &stolen).await?;
    // The global log, whose leaves are the checkpoints that are new now.
    let mut world = leaves(&change, GLOBAL).await?;
    let rows = change
        .query(
            "select global_index, batchcortex.checkpoint_text(org_id, tree_size) from batchcortex.ledger_checkpoint where org_id = $1",
            &[&org],
        )
        .await?;
    for row in rows {
        let index = usize::try_from(row.get::<_, i64>(0))?;
        world[index] = leaf_hash(row.get::<_, &str>(1).as_bytes());
    }
    rebuild(&change, GLOBAL, &world).await?;
    sign(&change, GLOBAL, &stolen).await?;
    change.commit().await?;

    // Inside the database nothing is left to be found but what was done to the triggers.
    let inside: Vec<String> = database
        .query(
            "select distinct code from batchcortex.verify() where code <> 'weakened_protection'",
            &[],
        )
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(inside, Vec::<String>::new());
    let rewritten = desk.put(
        "rewritten.jsonl",
        exported(&database, &format!("'{org}', since => {size}")).await?,
    )?;
    assert_eq!(
        desk.verify(&rewritten, &[])?.0,
        0,
        "by itself the file holds: its key was stolen"
    );
    let (code, text) = desk.verify(&rewritten, &with_old)?;
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("inconsistent: "), "{text}");
    // Leaving the proof out does not help.
    let silent = desk.put("silent.jsonl", exported(&database, &format!("'{org}'")).await?)?;
    assert_eq!(desk.verify(&silent, &with_old)?.0, 2);
    Ok(())
}
