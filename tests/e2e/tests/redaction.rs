//! Erasure: somebody who was invited and never came is forgotten. The record, its leaf and every root stay what they are, and whoever
//! kept evidence with the value can still show it.

use anyhow::{Context, Result, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::program::Api;
use batchcortex_e2e::site::Site;
use batchcortex_e2e::works::verify;
use batchcortex_ledger::evidence::{Header, Line, Report, Scope, Trust, Verifier, leaf_line, subtrees};
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::merkle::root_of;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

const NAME: &str = "ivo.invited@example.org";

/// Evidence of one event of the organisation, with the value that it commits to where it can still be opened.
async fn evidence(database: &Client, org: Uuid, event: Uuid, opening: Option<(&[u8], &str)>) -> Result<Vec<String>> {
    let global = Uuid::from_bytes([0xff; 16]);
    let row = database
        .query_one(
            "select l.leaf_index, e.leaf_hash, batchcortex.event_preimage(e), t.size, batchcortex.checkpoint_text(e.org_id, t.size),
                    c.global_index, g.size, batchcortex.latest_checkpoint($2), split_part(batchcortex.checkpoint_text(e.org_id, t.size), E'\n', 1),
                    batchcortex.inclusion_proof($2, c.global_index, g.size)
               from batchcortex.events_log e cross join lateral batchcortex.leaf_of(e.event_id) l
               join batchcortex.ledger_tree t on t.org_id = e.org_id
               join batchcortex.ledger_checkpoint c on c.org_id = e.org_id and c.tree_size = t.size
               join batchcortex.ledger_tree g on g.org_id = $2
              where e.event_id = $1",
            &[&event, &global],
        )
        .await?;
    let index = row.get::<_, i64>(0) as u64;
    let leaf: Hash = row.get::<_, Vec<u8>>(1).try_into().ok().context("a leaf hash")?;
    let size = row.get::<_, i64>(3) as u64;
    let mut leaves: Vec<Hash> = Vec::new();
    let tiles = "select hashes from batchcortex.ledger_tile where org_id = $1 and level = 0 order by tile_index";
    for tile in database.query(tiles, &[&org]).await? {
        let hashes: Vec<u8> = tile.get(0);
        leaves.extend(hashes.chunks_exact(32).filter_map(|hash| Hash::try_from(hash).ok()));
    }
    let origin: String = row.get(8);
    let scope = Scope::parse(&format!("record {event}")).context("a scope")?;
    let mut lines = vec![Header::new(&origin, &scope, "2026-01-02T03:04:05.678901Z").to_string()];
    let hashed = |from: u64, to: u64| {
        let leaves = &leaves;
        subtrees(from, to).map(move |(first, level)| {
            let hash = root_of(&leaves[first as usize..first as usize + (1 << level)]);
            Line::Subtree { first, level, hash }.to_string()
        })
    };
    lines.extend(hashed(0, index));
    lines.push(leaf_line(index, &leaf, &row.get::<_, Vec<u8>>(2)));
    if let Some((salt, value)) = opening {
        let opening = Line::Opening {
            index,
            field: "after.username".to_owned(),
            salt: salt.try_into().context("a salt")?,
            value: value.to_owned(),
        };
        lines.push(opening.to_string());
    }
    lines.extend(hashed(index + 1, size));
    lines.push(Line::Checkpoint(row.get(4)).to_string());
    let path: Vec<Vec<u8>> = row.get(9);
    let inclusion = Line::Inclusion {
        index: row.get::<_, i64>(5) as u64,
        path: path.into_iter().filter_map(|hash| hash.try_into().ok()).collect(),
    };
    lines.push(inclusion.to_string());
    lines.push(Line::Global(row.get(7)).to_string());
    Ok(lines)
}

fn holds(lines: &[String], key: &str) -> Result<Report> {
    let trust = Trust::new(vec![key.parse()?], vec![], None)?;
    let mut verifier = Verifier::new(trust);
    for line in lines {
        verifier.line(line.as_bytes())?;
        let findings: Vec<_> = verifier.findings().collect();
        ensure!(findings.is_empty(), "{findings:?}");
    }
    Ok(verifier.finish()?)
}

// control: B29, N8
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_record_commits_to_is_erased_and_every_root_stays() -> Result<()> {
    let cluster = Cluster::start("erased")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "erased").await?;
    let database = cluster.superuser().await?;
    site.admin
        .post("/v1/invitations", &json!({"username": NAME, "role_name": "qa"}))
        .await?
        .ok()?;
    let events = site.admin.get("/v1/events?max_rows=10").await?.ok()?;
    let event = events["events"]
        .as_array()
        .and_then(|events| events.iter().find(|event| event["action"] == "member.invited"))
        .context("the event of the invitation")?;
    let commitment = event["after"]["username"].as_str().context("a commitment")?.to_owned();
    let id: Uuid = event["event_id"].as_str().context("an id")?.parse()?;
    ensure!(commitment.len() == 71 && !events.to_string().contains(NAME), "{event}");

    database.execute("select batchcortex.seal()", &[]).await?;
    ensure!(verify(&database).await?.is_empty());
    let seen = format!("/v1/personal-data?commitment={commitment}");
    let opened = site.admin.get(&seen).await?.ok()?;
    ensure!(opened["value"] == NAME, "{opened}");
    let salt = hex::decode(opened["salt"].as_str().context("a salt")?)?;
    let key: String = database
        .query_one("select batchcortex.checkpoint_keys() limit 1", &[])
        .await?
        .get(0);
    let kept = evidence(&database, site.org_id, id, Some((&salt, NAME))).await?;
    let before = holds(&kept, &key)?;
    ensure!(before.openings == 1 && before.records == [("event".to_owned(), 1)], "{before:?}");
    ensure!(cluster.call("pg_dump", &[])?.contains(NAME), "it is kept until it is erased");

    // Refused to who may not, without a reason, and in a reason that would keep the name.
    let erasures = "/v1/personal-data/erasures";
    let body = |reason: &str| json!({"commitment": commitment, "reason": reason});
    for (caller, reason, status) in [
        (&site.operator, "asked for", 403),
        (&site.admin, " ", 422),
        (&site.admin, NAME, 422),
    ] {
        let answer = caller.post(erasures, &body(reason)).await?;
        ensure!(answer.status == status, "{reason}: {answer:?}");
    }
    ensure!(site.operator.get(&seen).await?.status == 403);
    let answer = site.admin.post(erasures, &body("asked to be forgotten")).await?;
    ensure!(answer.status == 204, "{answer:?}");

    // Gone: through the API, in every table, in a dump. Not gone: the record, its leaf, the root, and what others have kept.
    ensure!(site.admin.get(&seen).await?.status == 404);
    let dump = cluster.call("pg_dump", &[])?;
    ensure!(!dump.contains(NAME) && dump.contains(&commitment));
    ensure!(!dump.contains(&hex::encode(&salt)), "the salt is still there");
    database.execute("select batchcortex.seal()", &[]).await?;
    ensure!(verify(&database).await?.is_empty());
    let root: Vec<u8> = database
        .query_one(
            "select root from batchcortex.ledger_checkpoint where org_id = $1 and tree_size = $2",
            &[&site.org_id, &(before.size as i64)],
        )
        .await?
        .get(0);
    ensure!(root == before.root, "the root has changed");
    let after = holds(&evidence(&database, site.org_id, id, None).await?, &key)?;
    ensure!(after.openings == 0 && after.size > before.size);
    ensure!(holds(&kept, &key)?.openings == 1, "evidence that was kept still shows the value");
    Ok(())
}
