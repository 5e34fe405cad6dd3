//! Who may do what, over HTTP: every role, every permission, every team level, both ways, at two API processes.
//!
//! What is right comes from the tables of the database (role_permission, permission), not from a copy here. Here stands only how
//! each permission is asked for.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::http::{Answer, Caller};
use batchcortex_e2e::line::findings;
use batchcortex_e2e::program::Api;
use batchcortex_e2e::site::{Site, text};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

const ROLES: [&str; 4] = ["operator", "qa", "qp", "admin"];
const LEVELS: [&str; 3] = ["view_only", "can_edit", "full_access"];

/// A request that takes one permission, and the status that it is answered with by someone who holds it. Where what is asked
/// for does not exist, that is 404: the permission is looked at first.
struct Probe {
    permission: &'static str,
    method: &'static str,
    path: String,
    body: Value,
    granted: u16,
}

/// What the requests name.
struct World {
    equipment: Uuid,
    batch: Uuid,
}

fn probe(permission: &'static str, method: &'static str, path: &str, body: Value, granted: u16) -> Probe {
    Probe {
        permission,
        method,
        path: path.to_owned(),
        body,
        granted,
    }
}

/// All routes that take a permission. `n` makes names that were not used before.
fn probes(world: &World, n: usize) -> Vec<Probe> {
    let nobody = Uuid::nil();
    let name = format!("probe-{n}");
    let why = json!({"reason": "probe"});
    let World { equipment, batch } = world;
    let policy = json!({"password_profile": "nist", "password_days": 90, "password_history": 5, "second_factor": "optional"});
    let key = json!({"name": name, "role_name": "qa", "scopes": ["batch.read"], "expires_at": "2001-01-01T00:00:00Z"});
    let event = json!({"action": "app.probe", "record_type": "probe", "record_id": name});
    let tag = json!({"equipment_id": equipment, "name": name, "node_id": format!("nsu=urn:x;s={name}"), "data_type": "Double", "unit": "1"});
    let member = |path: &str| format!("/v1/members/{nobody}/{path}");
    vec![
        probe("batch.read", "GET", "/v1/batches", Value::Null, 200),
        probe(
            "batch.read",
            "GET",
            &format!("/v1/batches/{batch}"),
            Value::Null,
            200,
        ),
        probe("batch.read", "GET", "/v1/equipment", Value::Null, 200),
        probe("batch.read", "GET", "/v1/tags", Value::Null, 200),
        probe(
            "batch.read",
            "GET",
            &format!("/v1/batches/{batch}/samples?tag=pH"),
            Value::Null,
            200,
        ),
        probe(
            "batch.run",
            "POST",
            "/v1/batches",
            json!({"number": name, "product": "x"}),
            201,
        ),
        probe("event.read", "GET", "/v1/events", Value::Null, 200),
        probe(
            "event.read",
            "GET",
            &format!("/v1/batches/{batch}/events"),
            Value::Null,
            200,
        ),
        probe("event.append", "POST", "/v1/events", event, 201),
        probe("ledger.verify", "GET", "/v1/verify", Value::Null, 200),
        probe("ledger.verify", "GET", "/v1/evidence", Value::Null, 200),
        probe(
            "equipment.configure",
            "POST",
            "/v1/equipment",
            json!({"name": name}),
            201,
        ),
        probe("equipment.configure", "POST", "/v1/tags", tag, 201),
        probe(
            "device.enrol",
            "POST",
            "/v1/devices",
            json!({"name": name, "equipment_id": equipment}),
            201,
        ),
        probe("member.invite", "GET", "/v1/invitations", Value::Null, 200),
        probe(
            "member.invite",
            "POST",
            "/v1/invitations",
            json!({"username": name, "role_name": "qa"}),
            201,
        ),
        probe(
            "member.invite",
            "POST",
            &format!("/v1/invitations/{nobody}/revoke"),
            why.clone(),
            404,
        ),
        probe(
            "member.configure",
            "PUT",
            &member("team-level"),
            json!({"team_level": "view_only", "reason": "x"}),
            404,
        ),
        probe(
            "member.configure",
            "PUT",
            &member("role"),
            json!({"role_name": "qa", "reason": "x"}),
            404,
        ),
        probe("member.manage", "GET", "/v1/members", Value::Null, 200),
        probe("member.manage", "GET", "/v1/login-attempts", Value::Null, 200),
        probe(
            "member.manage",
            "GET",
            &format!("/v1/sessions?user_id={nobody}"),
            Value::Null,
            200,
        ),
        probe("member.manage", "POST", &member("unlock"), why.clone(), 404),
        probe("member.manage", "POST", &member("end"), why.clone(), 404),
        probe("policy.configure", "PUT", "/v1/policy", policy, 204),
        probe(
            "policy.configure",
            "POST",
            "/v1/agreements",
            json!({"kind": "none", "version": "1", "content": "x"}),
            422,
        ),
        probe("api_key.manage", "GET", "/v1/api-keys", Value::Null, 200),
        probe("api_key.manage", "POST", "/v1/api-keys", key, 422),
        probe(
            "api_key.manage",
            "POST",
            &format!("/v1/api-keys/{nobody}/revoke"),
            why,
            404,
        ),
        probe(
            "personal_data.read",
            "GET",
            &format!("/v1/personal-data?commitment=sha256:{}", "0".repeat(64)),
            Value::Null,
            404,
        ),
        probe(
            "personal_data.erase",
            "POST",
            "/v1/personal-data/erasures",
            json!({"commitment": "sha256:0", "reason": "x"}),
            404,
        ),
        probe("access.read", "GET", "/v1/access/register", Value::Null, 200),
        probe(
            "access.review",
            "POST",
            "/v1/access/reviews",
            json!({"decision": "confirmed", "rationale": "probe"}),
            201,
        ),
        // A record of another's: who can edit may change what is their own.
        probe(
            "batch.run, another's",
            "POST",
            &format!("/v1/batches/{batch}/start"),
            Value::Null,
            409,
        ),
    ]
}

async fn send(caller: &Caller, probe: &Probe) -> Result<Answer> {
    match probe.method {
        "GET" => caller.get(&probe.path).await,
        "PUT" => caller.put(&probe.path, &probe.body).await,
        _ => caller.post(&probe.path, &probe.body).await,
    }
}

/// What the tables say: permission, roles that hold it, least level.
async fn table(database: &Client) -> Result<BTreeMap<String, (BTreeSet<String>, String)>> {
    let rows = database
        .query(
            "select p.permission, array(select r.role_name from batchcortex.role_permission r where r.permission = p.permission), p.least_level
               from batchcortex.permission p",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let roles: Vec<String> = row.get(1);
            (row.get(0), (roles.into_iter().collect(), row.get(2)))
        })
        .collect())
}

fn rank(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| *known == level)
}

// control: A23, B1, B5, B25
#[tokio::test(flavor = "multi_thread")]
async fn every_role_permission_and_level() -> Result<()> {
    let cluster = Cluster::start("permissions")?;
    let first = Api::start(&cluster).await?;
    let second = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &first.url(), "matrix").await?;
    site.tag("pH", "Double", "pH").await?;
    let batch = site.batch("LOT-1").await?;
    let world = World {
        equipment: site.equipment,
        batch,
    };
    let database = cluster.superuser().await?;
    // Evidence is of what is sealed.
    database.batch_execute("select batchcortex.seal()").await?;
    let table = table(&database).await?;
    ensure!(table.len() >= 18, "{} permissions", table.len());

    // A permission that a function of the API asks for has a probe: one that is added later is missed here.
    let probed: BTreeSet<&str> = probes(&world, 0).iter().map(|probe| probe.permission).collect();
    let asked = database
        .query(
            "select distinct m[1] from pg_proc, regexp_matches(prosrc, '(?:require|has)_permission\\(''([a-z_.]+)''', 'g') m
              where pronamespace in ('batchcortex_api'::regnamespace, 'batchcortex'::regnamespace)",
            &[],
        )
        .await?;
    ensure!(asked.len() >= 14, "{} permissions are asked for", asked.len());
    for row in &asked {
        let permission: &str = row.get(0);
        ensure!(
            table.contains_key(permission),
            "{permission} is asked for and not in the table"
        );
        ensure!(probed.contains(permission), "{permission} has no probe");
    }

    let mut cells = 0;
    let (mut granted, mut denied) = (0, 0);
    for role in ROLES {
        let caller = site.member(&format!("second-{role}"), role).await?;
        let me = caller.get("/v1/whoami").await?.ok()?;
        let level_path = format!("/v1/members/{}/team-level", text(&me, "user_id")?);
        for level in LEVELS {
            let body = json!({"team_level": level, "reason": "matrix"});
            site.admin.put(&level_path, &body).await?.ok()?;
            let held = caller.at(&second.url()).get("/v1/permissions").await?.ok()?;
            let held: BTreeMap<&str, bool> = held["permissions"]
                .as_array()
                .context("no permissions")?
                .iter()
                .filter_map(|row| Some((row["permission"].as_str()?, row["held"].as_bool()?)))
                .collect();
            ensure!(
                held.len() == table.len(),
                "{} of {} permissions",
                held.len(),
                table.len()
            );
            for (permission, (roles, least)) in &table {
                let right = roles.contains(role) && rank(level) >= rank(least);
                ensure!(
                    held[permission.as_str()] == right,
                    "{role} {level} {permission}: {}",
                    !right
                );
                cells += 1;
            }
            for (at, url) in [first.url(), second.url()].iter().enumerate() {
                let n = cells * 2 + at;
                for probe in probes(&world, n) {
                    let right = match probe.permission.strip_suffix(", another's") {
                        Some(permission) => table[permission].0.contains(role) && level == "full_access",
                        None => held[probe.permission],
                    };
                    let answer = send(&caller.at(url), &probe).await?;
                    let case = format!("{role} {level} {} {}", probe.method, probe.path);
                    if right {
                        ensure!(
                            answer.status == probe.granted,
                            "{case}: {} {}",
                            answer.status,
                            answer.body
                        );
                        granted += 1;
                    } else {
                        ensure!(
                            answer.problem()? == (403, "BC403".to_owned()),
                            "{case}: {}",
                            answer.body
                        );
                        denied += 1;
                    }
                }
            }
        }
        // Nobody widens what they may do by themselves.
        let own = [
            (
                level_path.clone(),
                json!({"team_level": "full_access", "reason": "x"}),
            ),
            (
                level_path.replace("team-level", "role"),
                json!({"role_name": "admin", "reason": "x"}),
            ),
        ];
        for (path, body) in own {
            ensure!(
                caller.put(&path, &body).await?.problem()?.0 == 403,
                "{role} sets their own {path}"
            );
        }
    }
    ensure!(cells == table.len() * ROLES.len() * LEVELS.len(), "{cells} cells");
    ensure!(
        granted > 100 && denied > 100,
        "{granted} granted, {denied} denied"
    );
    println!("{cells} cells, {granted} requests granted, {denied} denied");
    assert_eq!(findings(&cluster).await?, Vec::<String>::new());
    Ok(())
}

// control: A23, R5
#[tokio::test(flavor = "multi_thread")]
async fn a_role_holds_from_the_next_request_on() -> Result<()> {
    let cluster = Cluster::start("roles")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "roles").await?;
    let me = site.operator.get("/v1/whoami").await?.ok()?;
    let path = format!("/v1/members/{}/role", text(&me, "user_id")?);
    ensure!(site.operator.get("/v1/access/register").await?.problem()?.0 == 403);

    let set = |role: &str, reason: &str| json!({"role_name": role, "reason": reason});
    ensure!(site.admin.put(&path, &set("chief", "x")).await?.problem()?.0 == 422);
    ensure!(site.admin.put(&path, &set("qa", " ")).await?.problem()?.0 == 422);
    site.admin.put(&path, &set("qa", "promoted")).await?.ok()?;
    let register = site.operator.get("/v1/access/register").await?.ok()?;
    let rows = register["register"].as_array().context("no register")?;
    ensure!(
        rows.iter().any(|row| row["kind"] == "member"
            && row["access"] == "qa, full_access"
            && row["granted_by"] == "Ada Admin"),
        "{register}"
    );

    let review = json!({"decision": "changes_required", "rationale": "one operator too many"});
    let event = site.operator.post("/v1/access/reviews", &review).await?.ok()?;
    let events = site.admin.get("/v1/events?max_rows=5").await?.ok()?;
    let events = events["events"].as_array().context("no events")?;
    let kept = events
        .iter()
        .find(|e| e["event_id"] == event["event_id"])
        .context("no event")?;
    ensure!(
        kept["reason"] == "one operator too many" && kept["after"]["entries"] == rows.len(),
        "{kept}"
    );
    let set = events
        .iter()
        .find(|e| e["action"] == "member.role_set")
        .context("no event of the role")?;
    ensure!(
        set["before"]["role_name"] == "operator" && set["after"]["role_name"] == "qa",
        "{set}"
    );

    // Page by page and one by one, no event is skipped and none comes twice.
    let all = site.admin.get("/v1/events?max_rows=1000").await?.ok()?;
    let all: Vec<&str> = all["events"]
        .as_array()
        .context("no events")?
        .iter()
        .filter_map(|e| e["event_id"].as_str())
        .collect();
    let mut walked: Vec<String> = Vec::new();
    let mut path = "/v1/events?max_rows=1".to_owned();
    loop {
        let page = site.admin.get(&path).await?.ok()?;
        let Some(last) = page["events"].as_array().and_then(|rows| rows.last()).cloned() else {
            break;
        };
        walked.push(text(&last, "event_id")?.to_owned());
        path = format!(
            "/v1/events?max_rows=1&before={}&before_event={}",
            text(&last, "recorded_at")?,
            text(&last, "event_id")?
        );
    }
    ensure!(
        walked == all,
        "{} events by pages, {} at once",
        walked.len(),
        all.len()
    );
    Ok(())
}
