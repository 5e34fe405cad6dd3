//! Erasure: somebody who was invited and never came is forgotten. The record, its leaf and every root stay what they are, and whoever
//! kept evidence with the value can still show it.

use anyhow::{Context, Result, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::program::Api;
use batchcortex_e2e::site::Site;
use batchcortex_e2e::works::verify;
use batchcortex_ledger::evidence::{Report, Trust, Verifier};
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

const NAME: &str = "ivo.invited@example.org";

/// Evidence of one event as it is exported, with the value that it commits to where that is to be shown.
async fn evidence(database: &Client, org: Uuid, event: Uuid, opened: Option<&str>) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let export = "select line from batchcortex.export_evidence($1, record => $2) line";
    for row in database.query(export, &[&org, &event]).await? {
        let line: String = row.get(0);
        let leaf = line.starts_with(r#"{"leaf":"#);
        lines.push(line);
        if let Some(commitment) = opened.filter(|_| leaf) {
            for field in ["after.nope", "action", "after", "username"] {
                let opening = "select batchcortex.evidence_opening($1, $3, $2)";
                let refused = database.query_one(opening, &[&event, &commitment, &field]).await;
                ensure!(refused.is_err_and(|error| error.code().is_some_and(|code| code.code() == "BC422")));
            }
            let opening = "select batchcortex.evidence_opening($1, 'after.username', $2)";
            lines.push(database.query_one(opening, &[&event, &commitment]).await?.get(0));
        }
    }
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
    let commitment = event["after"]["username"]
        .as_str()
        .context("a commitment")?
        .to_owned();
    let id: Uuid = event["event_id"].as_str().context("an id")?.parse()?;
    ensure!(
        commitment.len() == 71 && !events.to_string().contains(NAME),
        "{event}"
    );

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
    let kept = evidence(&database, site.org_id, id, Some(&commitment)).await?;
    let before = holds(&kept, &key)?;
    ensure!(
        before.openings == 1 && before.records == [("event".to_owned(), 1)],
        "{before:?}"
    );
    ensure!(
        cluster.call("pg_dump", &[])?.contains(NAME),
        "it is kept until it is erased"
    );

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
    let opening = "select batchcortex.evidence_opening($1, 'after.username', $2)";
    ensure!(
        database.query_one(opening, &[&id, &commitment]).await.is_err(),
        "an opening after erasure"
    );
    let after = holds(&evidence(&database, site.org_id, id, None).await?, &key)?;
    ensure!(after.openings == 0 && after.size > before.size);
    ensure!(
        holds(&kept, &key)?.openings == 1,
        "evidence that was kept still shows the value"
    );
    Ok(())
}
