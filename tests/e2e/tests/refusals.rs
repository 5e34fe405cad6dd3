//! What must not be stored is not, and the answer says why, with a code of its own.

use anyhow::{Result, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::device::{Device, now_seconds, now_ticks};
use batchcortex_e2e::http::{Answer, Caller};
use batchcortex_e2e::line::findings;
use batchcortex_e2e::program::Api;
use batchcortex_e2e::site::Site;
use serde_json::{Value, json};

/// Samples stored in the whole cluster.
async fn samples(cluster: &Cluster) -> Result<i64> {
    let database = cluster.superuser().await?;
    Ok(database
        .query_one(
            "select coalesce(sum(sample_count), 0)::bigint from batchcortex.sample_segment",
            &[],
        )
        .await?
        .get(0))
}

/// Events that record a refusal.
async fn refusals(cluster: &Cluster) -> Result<i64> {
    let database = cluster.superuser().await?;
    Ok(database
        .query_one(
            "select count(*) from batchcortex.events_log where action like '%refused'",
            &[],
        )
        .await?
        .get(0))
}

fn expect(case: &str, answer: &Answer, status: u16, code: &str) -> Result<()> {
    let found = answer.problem()?;
    ensure!(
        found == (status, code.to_owned()),
        "{case}: {found:?} instead of {status} {code}: {}",
        answer.body
    );
    Ok(())
}

/// A message that would be stored if nothing were wrong with it.
fn good(device: &Device) -> Value {
    device.message(2, Some("LOT-1"), "pH", 2, now_ticks() - 1_000, json!(6.5))
}

fn with(mut message: Value, pointer: &str, value: Value) -> Value {
    if let Some(place) = message.pointer_mut(pointer) {
        *place = value;
    }
    message
}

// control: A15, A21, B10
#[tokio::test(flavor = "multi_thread")]
async fn wrong_messages_of_a_device() -> Result<()> {
    let cluster = Cluster::start("refusals")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "ours").await?;
    let neighbour = Site::found(&cluster, &api.url(), "theirs").await?;
    site.batch("LOT-1").await?;
    neighbour.batch("LOT-THEIRS").await?;
    site.tag("pH", "Double", "pH").await?;
    neighbour.tag("theirs", "Double", "pH").await?;
    let device = site.device("edge", &api.url()).await?;
    let first = device.message(1, Some("LOT-1"), "pH", 1, now_ticks() - 2_000, json!(6.4));
    assert_eq!(device.send(&first).await?.ok()?["duplicate"], false);
    assert_eq!(samples(&cluster).await?, 1);

    let message = good(&device);
    let text = message.to_string();
    let bytes = text.as_bytes();
    let future = now_ticks() + 3_600 * 10_000_000;
    let segment = "/segments/0";

    // Rightly signed, wrong inside.
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("malformed JSON", b"{\"device_id\": ".to_vec(), 400, "BC400"),
        (
            "NaN as a number",
            text.replace("6.5", "NaN").into_bytes(),
            400,
            "BC400",
        ),
        ("empty body", Vec::new(), 400, "BC400"),
        ("another shape", b"[]".to_vec(), 400, "BC400"),
        (
            "no segment",
            with(message.clone(), "/segments", json!([]))
                .to_string()
                .into_bytes(),
            422,
            "BC422",
        ),
        (
            "NaN as text",
            with(message.clone(), "/segments/0/values/0", json!("NaN"))
                .to_string()
                .into_bytes(),
            422,
            "BC424",
        ),
        (
            "infinite",
            text.replace("6.5", "1e999").into_bytes(),
            422,
            "BC424",
        ),
        (
            "unknown tag",
            with(message.clone(), "/segments/0/tag", json!("nowhere"))
                .to_string()
                .into_bytes(),
            422,
            "BC423",
        ),
        (
            "another organisation's tag",
            with(message.clone(), "/segments/0/tag", json!("theirs"))
                .to_string()
                .into_bytes(),
            422,
            "BC423",
        ),
        (
            "unknown batch",
            with(message.clone(), "/batch", json!("LOT-9"))
                .to_string()
                .into_bytes(),
            422,
            "BC426",
        ),
        (
            "another organisation's batch",
            with(message.clone(), "/batch", json!("LOT-THEIRS"))
                .to_string()
                .into_bytes(),
            422,
            "BC426",
        ),
        (
            "time in the future",
            with(message.clone(), "/segments/0/source_ticks/0", json!(future))
                .to_string()
                .into_bytes(),
            422,
            "BC425",
        ),
        (
            "another type",
            with(message.clone(), &format!("{segment}/data_type"), json!("Boolean"))
                .to_string()
                .into_bytes(),
            422,
            "BC427",
        ),
        (
            "a sequence ahead",
            with(message.clone(), "/sequence", json!(9))
                .to_string()
                .into_bytes(),
            409,
            "BC410",
        ),
        (
            "a sequence with another body",
            with(message.clone(), "/sequence", json!(1))
                .to_string()
                .into_bytes(),
            409,
            "BC409",
        ),
        (
            "another device's id",
            with(message.clone(), "/device_id", json!(uuid::Uuid::new_v4()))
                .to_string()
                .into_bytes(),
            422,
            "BC422",
        ),
        ("oversized", oversized(&message), 413, "BC413"),
    ];
    for (case, body, status, code) in cases {
        expect(case, &device.send_bytes(&body).await?, status, code)?;
    }
    assert_eq!(samples(&cluster).await?, 1, "a refused message was stored");

    // Right inside, wrongly signed: refused, and the attempt is on record.
    let before = refusals(&cluster).await?;
    let now = now_seconds();
    expect("unsigned", &device.deliver(bytes, None).await?, 401, "BC430")?;
    let altered = with(message.clone(), "/segments/0/values/0", json!(9.9)).to_string();
    expect(
        "altered",
        &device
            .deliver(altered.as_bytes(), Some(device.sign(bytes, now)?))
            .await?,
        401,
        "BC430",
    )?;
    let mut impostor = device.clone();
    impostor.secret[0] ^= 1;
    expect("wrong key", &impostor.send(&message).await?, 401, "BC430")?;
    expect(
        "stale",
        &device
            .deliver(bytes, Some(device.sign(bytes, now - 3_600)?))
            .await?,
        401,
        "BC431",
    )?;
    expect(
        "ahead of time",
        &device
            .deliver(bytes, Some(device.sign(bytes, now + 3_600)?))
            .await?,
        401,
        "BC431",
    )?;
    let mut stranger = device.clone();
    stranger.key_id = "bcd_00000000000000000000000000000000".to_owned();
    expect("unknown key", &stranger.send(&message).await?, 401, "BC432")?;
    assert!(
        refusals(&cluster).await? >= before + 6,
        "refused attempts are not on record"
    );
    assert_eq!(samples(&cluster).await?, 1, "a refused message was stored");

    // After all that the device goes on where it was; a repetition is no second copy.
    assert_eq!(device.send(&message).await?.ok()?["duplicate"], false);
    assert_eq!(device.send(&message).await?.ok()?["duplicate"], true);
    assert_eq!(samples(&cluster).await?, 2);
    assert_eq!(findings(&cluster).await?, Vec::<String>::new());
    Ok(())
}

fn oversized(message: &Value) -> Vec<u8> {
    let mut text = message.to_string().into_bytes();
    text.resize(9 * 1024 * 1024, b' ');
    text
}

// control: A8, A14, A21, B1, B10
#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_of_people() -> Result<()> {
    let cluster = Cluster::start("people")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "ours").await?;
    let neighbour = Site::found(&cluster, &api.url(), "theirs").await?;
    let ours = site.batch("LOT-1").await?;
    let theirs = neighbour.batch("LOT-1").await?;
    let nobody = Caller::nobody(&api.url());

    let login = |username: &str, password: &str| json!({"username": username, "password": password});
    expect(
        "unknown user",
        &nobody.post("/v1/login", &login("nobody", "x")).await?,
        401,
        "BC401",
    )?;
    expect(
        "wrong password",
        &nobody.post("/v1/login", &login("ours-operator", "x")).await?,
        401,
        "BC401",
    )?;
    expect("no session", &nobody.get("/v1/batches").await?, 401, "BC401")?;
    let forged = nobody.with_token("bcs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    expect("forged session", &forged.get("/v1/batches").await?, 401, "BC401")?;

    for path in ["", "/events", "/samples?tag=pH"] {
        let answer = site.operator.get(&format!("/v1/batches/{theirs}{path}")).await?;
        expect("another organisation's batch", &answer, 404, "BC404")?;
    }
    let answer = site
        .operator
        .post(&format!("/v1/batches/{theirs}/end"), &json!({}))
        .await?;
    expect("another organisation's batch ended", &answer, 404, "BC404")?;

    let equipment = json!({"name": "Fermenter"});
    expect(
        "an operator configures",
        &site.operator.post("/v1/equipment", &equipment).await?,
        403,
        "BC403",
    )?;
    let invitation = json!({"username": "friend", "role_name": "admin"});
    expect(
        "an operator invites",
        &site.operator.post("/v1/invitations", &invitation).await?,
        403,
        "BC403",
    )?;

    let twice = json!({"number": "LOT-1", "product": "penicillin"});
    expect(
        "a number twice",
        &site.operator.post("/v1/batches", &twice).await?,
        409,
        "BC409",
    )?;
    let empty = json!({"number": "", "product": "penicillin"});
    expect(
        "an empty number",
        &site.operator.post("/v1/batches", &empty).await?,
        422,
        "BC422",
    )?;
    expect(
        "malformed",
        &site.operator.post_bytes("/v1/batches", b"{").await?,
        400,
        "BC400",
    )?;

    let big = "x".repeat(300 * 1024);
    let event = |extra: Value| {
        let mut event =
            json!({"action": "app.note", "record_type": "note", "record_id": "1", "batch_id": ours});
        if let (Some(all), Some(more)) = (event.as_object_mut(), extra.as_object()) {
            all.extend(more.clone());
        }
        event
    };
    let actor = event(json!({"actor_name": "somebody else"}));
    expect(
        "a forged actor",
        &site.operator.post("/v1/events", &actor).await?,
        422,
        "BC422",
    )?;
    let time = event(json!({"recorded_at": "2001-01-01T00:00:00Z"}));
    expect(
        "a forged time",
        &site.operator.post("/v1/events", &time).await?,
        422,
        "BC422",
    )?;
    let own = event(json!({"action": "batch.ended"}));
    expect(
        "an event of the server",
        &site.operator.post("/v1/events", &own).await?,
        422,
        "BC422",
    )?;
    let large = event(json!({"after": {"text": big}}));
    expect(
        "too large",
        &site.operator.post("/v1/events", &large).await?,
        413,
        "BC413",
    )?;
    let foreign = event(json!({"batch_id": theirs}));
    expect(
        "an event of another's batch",
        &site.operator.post("/v1/events", &foreign).await?,
        404,
        "BC404",
    )?;

    // A client's time is data: the record has the server's.
    let stamped = event(json!({"client_time": "2001-01-01T00:00:00Z"}));
    site.operator.post("/v1/events", &stamped).await?.ok()?;
    let database = cluster.superuser().await?;
    let query = "select clock_timestamp() - recorded_at < interval '1 minute' and client_time < '2002-01-01'
                   from batchcortex.events_log where action = 'app.note'";
    let rows = database.query(query, &[]).await?;
    assert_eq!(rows.len(), 1, "only the good event is stored");
    assert!(rows[0].get::<_, bool>(0));

    // Failed attempts to sign in are on record although the request failed.
    assert!(refusals(&cluster).await? >= 2);
    assert_eq!(findings(&cluster).await?, Vec::<String>::new());
    Ok(())
}
