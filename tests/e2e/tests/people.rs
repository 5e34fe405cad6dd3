//! People over HTTP, from invitation to leaving: agreements, signing in, second factors, elevation, sessions, cookies, keys.

use anyhow::{Context, Result, ensure};
use batchcortex_e2e::authenticator::Authenticator;
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::http::{Answer, Caller};
use batchcortex_e2e::line::findings;
use batchcortex_e2e::program::Api;
use batchcortex_e2e::site::{PASSWORD, Site, sign_in, text};
use serde_json::{Value, json};

fn expect(case: &str, answer: &Answer, status: u16, code: &str) -> Result<()> {
    let found = answer.problem()?;
    ensure!(
        found == (status, code.to_owned()),
        "{case}: {found:?} instead of {status} {code}: {}",
        answer.body
    );
    Ok(())
}

/// What a client can tell a refusal by: all of the document but the id of the request.
fn told(answer: &Answer) -> Value {
    let mut document = answer.body.clone();
    if let Some(members) = document.as_object_mut() {
        members.remove("instance");
    }
    document
}

fn list<'a>(answer: &'a Value, member: &str) -> Result<&'a Vec<Value>> {
    answer[member]
        .as_array()
        .with_context(|| format!("no {member} in {answer}"))
}

async fn id_of(caller: &Caller) -> Result<String> {
    let me = caller.get("/v1/whoami").await?.ok()?;
    Ok(text(&me, "user_id")?.to_owned())
}

fn credentials(username: &str, password: &str) -> Value {
    json!({"username": username, "password": password})
}

fn and(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

// control: A14, B28, A20
#[tokio::test(flavor = "multi_thread")]
async fn joining_takes_an_invitation_and_the_agreements() -> Result<()> {
    let cluster = Cluster::start("joining")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "joining").await?;
    let nobody = Caller::nobody(&api.url());
    for kind in ["terms", "privacy", "accountability"] {
        let body = json!({"kind": kind, "version": "1", "content": format!("the {kind}")});
        site.admin.post("/v1/agreements", &body).await?.ok()?;
    }
    let again = json!({"kind": "terms", "version": "1", "content": "other"});
    expect(
        "a version twice",
        &site.admin.post("/v1/agreements", &again).await?,
        409,
        "BC409",
    )?;

    let invite = json!({"username": "joining-nina", "role_name": "qa"});
    let made = site.admin.post("/v1/invitations", &invite).await?.ok()?;
    let token = text(&made, "invitation")?;
    let holder = json!({"invitation": token});
    let shown = nobody.post("/v1/invitations/agreements", &holder).await?.ok()?;
    ensure!(list(&shown, "agreements")?.len() == 3, "{shown}");

    let join = |more: Value| {
        let mut body = json!({"invitation": token, "full_name": "Nina New", "password": PASSWORD});
        if let (Some(all), Some(more)) = (body.as_object_mut(), more.as_object()) {
            all.extend(more.clone());
        }
        body
    };
    let agreed = json!({"accepted_terms": "1", "accepted_privacy": "1", "accepted_accountability": "1"});
    let accept = "/v1/invitations/accept";
    for (case, body) in [
        ("no agreement", join(json!({}))),
        (
            "one is missing",
            join(json!({"accepted_terms": "1", "accepted_privacy": "1"})),
        ),
        (
            "another version",
            join(and(agreed.clone(), "accepted_terms", json!("2"))),
        ),
        (
            "a short password",
            and(join(agreed.clone()), "password", json!("short")),
        ),
        (
            "a common password",
            and(join(agreed.clone()), "password", json!("password1234")),
        ),
        ("no name", and(join(agreed.clone()), "full_name", json!(" "))),
    ] {
        expect(case, &nobody.post(accept, &body).await?, 422, "BC422")?;
    }
    let forged = and(
        join(agreed.clone()),
        "invitation",
        json!(format!("bci_{}", "0".repeat(64))),
    );
    expect(
        "a forged invitation",
        &nobody.post(accept, &forged).await?,
        403,
        "BC403",
    )?;
    nobody.post(accept, &join(agreed.clone())).await?.ok()?;
    expect(
        "a second use",
        &nobody.post(accept, &join(agreed.clone())).await?,
        403,
        "BC403",
    )?;
    let shown = nobody.post("/v1/invitations/agreements", &holder).await?.ok()?;
    ensure!(
        list(&shown, "agreements")?.is_empty(),
        "a used invitation shows {shown}"
    );

    // An invitation that is taken back is none.
    let made = site
        .admin
        .post(
            "/v1/invitations",
            &json!({"username": "joining-x", "role_name": "qa"}),
        )
        .await?
        .ok()?;
    let open = site.admin.get("/v1/invitations").await?.ok()?;
    ensure!(!open.to_string().contains("bci_"), "{open}");
    let open = list(&open, "invitations")?;
    ensure!(
        open.len() == 1 && open[0]["username"] == "joining-x" && open[0]["invited_by"] == "Ada Admin",
        "{open:?}"
    );
    let revoke = format!("/v1/invitations/{}/revoke", text(&open[0], "invitation_id")?);
    expect(
        "no reason",
        &site.admin.post(&revoke, &json!({"reason": ""})).await?,
        422,
        "BC422",
    )?;
    site.admin
        .post(&revoke, &json!({"reason": "not coming"}))
        .await?
        .ok()?;
    expect(
        "taken back twice",
        &site.admin.post(&revoke, &json!({"reason": "x"})).await?,
        404,
        "BC404",
    )?;
    let late = and(join(agreed), "invitation", made["invitation"].clone());
    expect("taken back", &nobody.post(accept, &late).await?, 403, "BC403")?;

    // A new version: no session before it is accepted, and nobody is told who has not shown the password.
    let nina = sign_in(&nobody, "joining-nina").await?;
    let publish = json!({"kind": "terms", "version": "2", "content": "the new terms", "end_sessions": true});
    site.admin.post("/v1/agreements", &publish).await?.ok()?;
    expect("sessions end", &nina.get("/v1/whoami").await?, 401, "BC401")?;
    let login = credentials("joining-nina", PASSWORD);
    let asked = nobody.post("/v1/login", &login).await?;
    expect("the new terms", &asked, 403, "BC443")?;
    ensure!(
        asked.body["agreements"] == json!([{"kind": "terms", "version": "2", "content": "the new terms"}]),
        "{}",
        asked.body
    );
    let wrong = credentials("joining-nina", "not her password at all");
    expect(
        "a wrong password",
        &nobody.post("/v1/login", &wrong).await?,
        401,
        "BC401",
    )?;
    let path = "/v1/login/agreements";
    expect("not accepted", &nobody.post(path, &login).await?, 403, "BC443")?;
    let wrong = and(wrong, "accepted_terms", json!("2"));
    expect(
        "accepted by a stranger",
        &nobody.post(path, &wrong).await?,
        401,
        "BC401",
    )?;
    let accepted = and(login.clone(), "accepted_terms", json!("2"));
    let session = nobody.post(path, &accepted).await?.ok()?;
    let nina = nobody.with_token(text(&session, "token")?);
    let present = nina.get("/v1/agreements").await?.ok()?;
    for agreement in list(&present, "agreements")? {
        ensure!(agreement["accepted_at"].is_string(), "{agreement}");
    }
    nobody.post("/v1/login", &login).await?.ok()?;
    assert_eq!(findings(&cluster).await?, Vec::<String>::new());
    Ok(())
}

// control: R3, A14, B1
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_sign_in_tells_nothing() -> Result<()> {
    let cluster = Cluster::start("refused")?;
    let api = Api::start(&cluster).await?;
    let second = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "refused").await?;
    let nobody = Caller::nobody(&api.url());
    let wrong = "a wrong guess, and a long one";

    let unknown = nobody
        .post("/v1/login", &credentials("no-such-person", wrong))
        .await?;
    expect("unknown user", &unknown, 401, "BC401")?;
    // Five failures in a row lock the account, whichever process they came to.
    for n in 0..5 {
        let there = if n % 2 == 0 {
            nobody.clone()
        } else {
            nobody.at(&second.url())
        };
        let answer = there
            .post("/v1/login", &credentials("refused-operator", wrong))
            .await?;
        ensure!(told(&answer) == told(&unknown), "wrong password: {}", answer.body);
    }
    let locked = nobody
        .post("/v1/login", &credentials("refused-operator", PASSWORD))
        .await?;
    ensure!(told(&locked) == told(&unknown), "locked account: {}", locked.body);
    for path in ["/v1/login/agreements", "/v1/login/second-factor"] {
        let answer = nobody
            .post(path, &credentials("refused-operator", PASSWORD))
            .await?;
        ensure!(told(&answer) == told(&unknown), "{path}: {}", answer.body);
    }
    let replace = and(
        credentials("refused-operator", PASSWORD),
        "new_password",
        json!("a quite different sentence"),
    );
    let answer = nobody.post("/v1/login/password", &replace).await?;
    ensure!(
        told(&answer) == told(&unknown),
        "replace_password: {}",
        answer.body
    );

    // The session that was open goes on; an administrator sees the lock and ends it, with a reason.
    let operator = id_of(&site.operator).await?;
    let members = site.admin.get("/v1/members").await?.ok()?;
    let member = list(&members, "members")?
        .iter()
        .find(|m| m["user_id"] == operator.as_str())
        .context("no member")?;
    ensure!(member["locked_until"].is_string(), "{member}");
    let attempts = site.admin.get("/v1/login-attempts?max_rows=20").await?.ok()?;
    let attempts = list(&attempts, "login_attempts")?;
    let of_operator = |result: &str| {
        attempts
            .iter()
            .filter(|a| a["user_id"] == operator.as_str() && a["result"] == result)
            .count()
    };
    ensure!(
        of_operator("refused") == 5 && of_operator("locked") == 4,
        "{attempts:?}"
    );
    ensure!(
        !Value::from(attempts.clone())
            .to_string()
            .contains("no-such-person"),
        "a typed name is kept"
    );
    let unlock = format!("/v1/members/{operator}/unlock");
    expect(
        "an operator unlocks",
        &site.operator.post(&unlock, &json!({"reason": "me"})).await?,
        403,
        "BC403",
    )?;
    expect(
        "no reason",
        &site.admin.post(&unlock, &json!({"reason": " "})).await?,
        422,
        "BC422",
    )?;
    site.admin
        .post(&unlock, &json!({"reason": "called in"}))
        .await?
        .ok()?;
    expect(
        "not locked",
        &site.admin.post(&unlock, &json!({"reason": "x"})).await?,
        404,
        "BC404",
    )?;
    sign_in(&nobody, "refused-operator").await?;

    // A deactivated account is the same again, and its sessions are dead at both processes.
    let database = cluster.superuser().await?;
    database
        .execute(
            "select batchcortex.deactivate_user('refused-operator', 'left')",
            &[],
        )
        .await?;
    let answer = nobody
        .post("/v1/login", &credentials("refused-operator", PASSWORD))
        .await?;
    ensure!(
        told(&answer) == told(&unknown),
        "deactivated account: {}",
        answer.body
    );
    for url in [api.url(), second.url()] {
        expect(
            "a dead session",
            &site.operator.at(&url).get("/v1/whoami").await?,
            401,
            "BC401",
        )?;
    }
    let register = site.admin.get("/v1/access/register").await?.ok()?;
    let ended = list(&register, "register")?
        .iter()
        .find(|row| row["subject_id"] == operator.as_str())
        .context("no row")?;
    ensure!(ended["ended_at"] == "infinity", "{ended}");
    let burst = database
        .query(
            "select from batchcortex.events_log where action = 'login.burst'",
            &[],
        )
        .await?;
    ensure!(burst.len() == 1, "{} bursts", burst.len());
    assert_eq!(findings(&cluster).await?, Vec::<String>::new());
    Ok(())
}

// control: B4, B3, R2
#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_from_enrolment_to_removal() -> Result<()> {
    let cluster = Cluster::start("second_factor")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "factor").await?;
    let nobody = Caller::nobody(&api.url());
    let caller = &site.operator;
    let password = |password: &str| json!({"password": password});
    let with_code = |code: &str| json!({"password": PASSWORD, "second_factor": code});
    let login = |code: &str| {
        and(
            credentials("factor-operator", PASSWORD),
            "second_factor",
            json!(code),
        )
    };

    ensure!(caller.get("/v1/second-factor").await?.ok()? == json!({"enrolled": false}));
    let wrong = caller
        .post("/v1/second-factor/enrol", &password("not the password"))
        .await?;
    expect("enrolling without the password", &wrong, 403, "BC440")?;
    let shown = caller
        .post("/v1/second-factor/enrol", &password(PASSWORD))
        .await?
        .ok()?;
    let telephone = Authenticator::typed(text(&shown, "secret")?)?;
    let recovery: Vec<&str> = list(&shown, "recovery_codes")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    ensure!(
        recovery.len() == 10 && text(&shown, "otpauth_uri")?.starts_with("otpauth://totp/"),
        "{recovery:?}"
    );
    sign_in(&nobody, "factor-operator").await?; // it is not in force yet

    Authenticator::fresh_step().await?;
    let confirm = |code: &str| json!({"code": code});
    let path = "/v1/second-factor/confirm";
    expect(
        "a wrong code",
        &caller.post(path, &confirm("000000")).await?,
        403,
        "BC440",
    )?;
    caller.post(path, &confirm(&telephone.code(-1)?)).await?.ok()?;
    ensure!(
        caller.get("/v1/second-factor").await?.ok()? == json!({"enrolled": true, "recovery_codes_left": 10})
    );
    let twice = caller
        .post("/v1/second-factor/enrol", &password(PASSWORD))
        .await?;
    expect("a second one", &twice, 409, "BC409")?;

    // Signing in: asked for, wrong, right, replayed.
    expect(
        "no code",
        &nobody
            .post("/v1/login", &credentials("factor-operator", PASSWORD))
            .await?,
        403,
        "BC441",
    )?;
    expect(
        "a wrong password and no code",
        &nobody
            .post("/v1/login", &credentials("factor-operator", "x"))
            .await?,
        401,
        "BC401",
    )?;
    expect(
        "the code of the confirmation",
        &nobody.post("/v1/login", &login(&telephone.code(-1)?)).await?,
        401,
        "BC401",
    )?;
    let now = telephone.code(0)?;
    let session = nobody.post("/v1/login", &login(&now)).await?.ok()?;
    expect(
        "a replay",
        &nobody.post("/v1/login", &login(&now)).await?,
        401,
        "BC401",
    )?;

    // Elevation: a fresh proof, a new token, the earlier one dead.
    let signed_in = nobody.with_token(text(&session, "token")?);
    let elevate = "/v1/session/elevate";
    expect(
        "no code",
        &signed_in.post(elevate, &password(PASSWORD)).await?,
        403,
        "BC441",
    )?;
    expect(
        "a wrong password",
        &signed_in
            .post(elevate, &and(with_code(recovery[0]), "password", json!("x")))
            .await?,
        403,
        "BC440",
    )?;
    let raised = signed_in.post(elevate, &with_code(recovery[0])).await?.ok()?;
    expect(
        "the earlier token",
        &signed_in.get("/v1/whoami").await?,
        401,
        "BC401",
    )?;
    let raised = nobody.with_token(text(&raised, "token")?);
    let sessions = raised.get("/v1/sessions").await?.ok()?;
    let this = list(&sessions, "sessions")?
        .iter()
        .find(|s| s["this_one"] == true)
        .context("not listed")?;
    ensure!(
        this["elevated_at"].is_string() && this["session_id"] == session["session_id"],
        "{this}"
    );
    expect(
        "a recovery code twice",
        &raised.post(elevate, &with_code(recovery[0])).await?,
        403,
        "BC440",
    )?;
    let rotated = raised.post("/v1/session/rotate", &json!({})).await?.ok()?;
    expect(
        "the earlier token",
        &raised.get("/v1/whoami").await?,
        401,
        "BC401",
    )?;
    let caller = nobody.with_token(text(&rotated, "token")?);
    ensure!(caller.get("/v1/second-factor").await?.ok()?["recovery_codes_left"] == 9);

    // Removal, against a last code.
    let remove = "/v1/second-factor/remove";
    expect(
        "a wrong code",
        &caller.post(remove, &with_code("000000")).await?,
        403,
        "BC440",
    )?;
    caller.post(remove, &with_code(recovery[1])).await?.ok()?;
    sign_in(&nobody, "factor-operator").await?;

    // The organisation requires one: the first sign-in enrols it, and the password alone never replaces it.
    let policy = json!({"password_profile": "nist", "password_days": 90, "password_history": 5, "second_factor": "required"});
    site.admin.put("/v1/policy", &policy).await?.ok()?;
    ensure!(caller.get("/v1/policy").await?.ok()?["second_factor"] == "required");
    let plain = credentials("factor-operator", PASSWORD);
    expect(
        "enrolment is required",
        &nobody.post("/v1/login", &plain).await?,
        403,
        "BC442",
    )?;
    let path = "/v1/login/second-factor";
    expect(
        "by a stranger",
        &nobody.post(path, &credentials("factor-operator", "x")).await?,
        401,
        "BC401",
    )?;
    let shown = nobody.post(path, &plain).await?.ok()?;
    let telephone = Authenticator::typed(text(&shown, "secret")?)?;
    nobody
        .post("/v1/login", &login(&telephone.code(0)?))
        .await?
        .ok()?;
    expect("once more", &nobody.post(path, &plain).await?, 401, "BC401")?;
    assert_eq!(findings(&cluster).await?, Vec::<String>::new());
    Ok(())
}

// control: R4, B3
#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_sessions_end_as_the_organisation_decides() -> Result<()> {
    let cluster = Cluster::start("passwords")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "pass").await?;
    let nobody = Caller::nobody(&api.url());
    let other = sign_in(&nobody, "pass-operator").await?;
    let change = |old: &str, new: &str| json!({"old_password": old, "new_password": new});
    let second = "another horse, another staple 8";

    let path = "/v1/password";
    expect(
        "a wrong password",
        &site.operator.post(path, &change("x", second)).await?,
        403,
        "BC440",
    )?;
    for (case, new) in [
        ("short", "short"),
        ("common", "qwertyuiop12"),
        ("the present one", PASSWORD),
        ("the name", "pass-operator-1"),
    ] {
        expect(
            case,
            &site.operator.post(path, &change(PASSWORD, new)).await?,
            422,
            "BC422",
        )?;
    }
    site.operator.post(path, &change(PASSWORD, second)).await?.ok()?;
    site.operator.get("/v1/whoami").await?.ok()?;
    expect("the other session", &other.get("/v1/whoami").await?, 401, "BC401")?;
    expect(
        "the earlier password",
        &nobody
            .post("/v1/login", &credentials("pass-operator", PASSWORD))
            .await?,
        401,
        "BC401",
    )?;

    // The profile that ages: an old password must be changed, and none of the last may come again.
    let ageing = json!({"session_idle_minutes": 20, "session_life_minutes": 60, "password_profile": "ageing", "password_days": 30,
                        "password_history": 3, "second_factor": "optional", "reason": "procedure 12"});
    expect(
        "an operator decides",
        &site.operator.put("/v1/policy", &ageing).await?,
        403,
        "BC403",
    )?;
    for (member, value) in [
        ("password_profile", json!("none")),
        ("session_idle_minutes", json!(0)),
        ("password_days", json!(-1)),
        ("second_factor", json!("perhaps")),
    ] {
        expect(
            member,
            &site
                .admin
                .put("/v1/policy", &and(ageing.clone(), member, value))
                .await?,
            422,
            "BC422",
        )?;
    }
    site.admin.put("/v1/policy", &ageing).await?.ok()?;
    let database = cluster.superuser().await?;
    let old = "update batchcortex.user_account set password_changed_at = clock_timestamp() - interval '31 days' where username = 'pass-operator'";
    database.execute(old, &[]).await?;
    let login = credentials("pass-operator", second);
    expect(
        "an old password",
        &nobody.post("/v1/login", &login).await?,
        403,
        "BC444",
    )?;
    let replace = "/v1/login/password";
    for (case, new) in [("the present one", second), ("a short one", "short")] {
        let body = and(login.clone(), "new_password", json!(new));
        expect(case, &nobody.post(replace, &body).await?, 422, "BC422")?;
    }
    let body = and(
        login.clone(),
        "new_password",
        json!("a third sentence to remember"),
    );
    let session = nobody.post(replace, &body).await?.ok()?;
    let caller = nobody.with_token(text(&session, "token")?);
    expect(
        "the earlier session",
        &site.operator.get("/v1/whoami").await?,
        401,
        "BC401",
    )?;
    let back = change("a third sentence to remember", second);
    expect(
        "one of the last three",
        &caller.post(path, &back).await?,
        422,
        "BC422",
    )?;

    // The organisation's limits hold for sessions: the absolute end, and idleness.
    let sessions = caller.get("/v1/sessions").await?.ok()?;
    let row = database
        .query_one(
            "select expires_at - created_at between interval '59 minutes' and interval '60 minutes' and idle_minutes = 20 from batchcortex.session order by created_at desc limit 1",
            &[],
        )
        .await?;
    ensure!(row.get::<_, bool>(0), "{sessions}");
    let idle = "update batchcortex.session set last_seen_at = clock_timestamp() - interval '21 minutes' where revoked_at is null and user_id = $1::text::uuid";
    database.execute(idle, &[&text(&session, "user_id")?]).await?;
    expect("an idle session", &caller.get("/v1/whoami").await?, 401, "BC401")?;

    // Sessions: one's own and, for an administrator, another's; a stranger's session is unknown.
    let login = credentials("pass-operator", "a third sentence to remember");
    let one = nobody.post("/v1/login", &login).await?.ok()?;
    let two = nobody.post("/v1/login", &login).await?.ok()?;
    let (first, second) = (
        nobody.with_token(text(&one, "token")?),
        nobody.with_token(text(&two, "token")?),
    );
    let path =
        |session: &Value| -> Result<String> { Ok(format!("/v1/sessions/{}", text(session, "session_id")?)) };
    let mine = site.admin.get("/v1/sessions").await?.ok()?;
    expect(
        "the administrator's",
        &first.delete(&path(&list(&mine, "sessions")?[0])?).await?,
        404,
        "BC404",
    )?;
    first.delete(&path(&two)?).await?.ok()?;
    expect("ended", &second.get("/v1/whoami").await?, 401, "BC401")?;
    let theirs = format!("/v1/sessions?user_id={}", text(&one, "user_id")?);
    ensure!(list(&site.admin.get(&theirs).await?.ok()?, "sessions")?.len() >= 1);
    site.admin.delete(&path(&one)?).await?.ok()?;
    expect("ended", &first.get("/v1/whoami").await?, 401, "BC401")?;
    assert_eq!(findings(&cluster).await?, Vec::<String>::new());
    Ok(())
}

// control: A24, B3, A9
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_a_cookie_that_no_script_and_no_other_site_can_use() -> Result<()> {
    let cluster = Cluster::start("cookies")?;
    let api = Api::start(&cluster).await?;
    Site::found(&cluster, &api.url(), "cookie").await?;
    let page = Caller::nobody(&api.url());
    let ours = page.with_header("x-batchcortex-csrf", "1")?;
    let login = and(
        credentials("cookie-operator", PASSWORD),
        "delivery",
        json!("cookie"),
    );

    expect(
        "a forged sign-in",
        &page.post("/v1/login", &login).await?,
        403,
        "BC403",
    )?;
    let elsewhere = ours.with_header("sec-fetch-site", "cross-site")?;
    expect(
        "another site's sign-in",
        &elsewhere.post("/v1/login", &login).await?,
        403,
        "BC403",
    )?;
    let answer = ours.post("/v1/login", &login).await?;
    let cookie = taken(&answer)?;
    ensure!(
        !answer.ok()?.to_string().contains("bcs_"),
        "the token is in the body"
    );

    let browser = page.with_header("cookie", &cookie)?;
    browser.get("/v1/whoami").await?.ok()?;
    let event = json!({"action": "app.note", "record_type": "note", "record_id": "1"});
    expect(
        "a forged form",
        &browser.post("/v1/events", &event).await?,
        403,
        "BC403",
    )?;
    expect(
        "a forged sign-out",
        &browser.post("/v1/logout", &json!({})).await?,
        403,
        "BC403",
    )?;
    let ours = browser.with_header("x-batchcortex-csrf", "1")?;
    for site in ["cross-site", "same-site"] {
        let elsewhere = ours.with_header("sec-fetch-site", site)?;
        expect(site, &elsewhere.post("/v1/events", &event).await?, 403, "BC403")?;
    }
    ours.with_header("sec-fetch-site", "same-origin")?
        .post("/v1/events", &event)
        .await?
        .ok()?;

    // Elevation replaces the cookie, and the earlier one is dead.
    let answer = ours
        .post("/v1/session/elevate", &json!({"password": PASSWORD}))
        .await?;
    let raised = taken(&answer)?;
    ensure!(raised != cookie && !answer.ok()?.to_string().contains("bcs_"));
    expect(
        "the earlier cookie",
        &browser.get("/v1/whoami").await?,
        401,
        "BC401",
    )?;
    let browser = ours.with_header("cookie", &raised)?;
    let ended = browser.post("/v1/logout", &json!({})).await?;
    ensure!(
        set_cookie(&ended)?.contains("__Host-bc_session=; ") && set_cookie(&ended)?.ends_with("; Max-Age=0")
    );
    expect(
        "after signing out",
        &browser.get("/v1/whoami").await?,
        401,
        "BC401",
    )?;
    Ok(())
}

fn set_cookie(answer: &Answer) -> Result<&str> {
    ensure!(
        answer.headers.get_all("set-cookie").iter().count() == 1,
        "{answer:?}"
    );
    Ok(answer.headers["set-cookie"].to_str()?)
}

/// The cookie as a browser would send it back, once it says what it must.
fn taken(answer: &Answer) -> Result<String> {
    let mut parts = set_cookie(answer)?.split("; ");
    let pair = parts.next().context("no cookie")?;
    ensure!(pair.starts_with("__Host-bc_session=bcs_"), "{pair}");
    let attributes: Vec<&str> = parts.collect();
    // With __Host- a browser takes it only with Secure, Path=/ and without Domain.
    ensure!(
        attributes == ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"],
        "{attributes:?}"
    );
    ensure!(answer.headers["cache-control"] == "no-store");
    Ok(pair.to_owned())
}

// control: B2, B1, A8, A20
#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_does_what_its_scopes_name_until_it_is_revoked() -> Result<()> {
    let cluster = Cluster::start("keys")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "keys").await?;
    let neighbour = Site::found(&cluster, &api.url(), "neighbour").await?;
    let database = cluster.superuser().await?;
    let time = |days: i32| {
        let database = &database;
        async move {
            let query = "select to_char((clock_timestamp() + make_interval(days => $1)) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
            Ok::<String, anyhow::Error>(database.query_one(query, &[&days]).await?.get(0))
        }
    };
    let new = json!({"name": "historian", "role_name": "operator", "scopes": ["batch.read", "event.append"], "expires_at": time(30).await?});
    let path = "/v1/api-keys";
    for (case, body) in [
        (
            "a scope beyond the role",
            and(new.clone(), "scopes", json!(["device.enrol"])),
        ),
        ("no scope", and(new.clone(), "scopes", json!([]))),
        ("an unknown role", and(new.clone(), "role_name", json!("root"))),
        (
            "for ever",
            and(new.clone(), "expires_at", json!(time(400).await?)),
        ),
        (
            "in the past",
            and(new.clone(), "expires_at", json!(time(-1).await?)),
        ),
    ] {
        expect(case, &site.admin.post(path, &body).await?, 422, "BC422")?;
    }
    expect(
        "an operator makes one",
        &site.operator.post(path, &new).await?,
        403,
        "BC403",
    )?;
    let made = site.admin.post(path, &new).await?.ok()?;
    expect(
        "the name twice",
        &site.admin.post(path, &new).await?,
        409,
        "BC409",
    )?;
    let token = text(&made, "api_key")?;
    let shown = format!("bck_…{}", &token[token.len() - 4..]);
    ensure!(
        token.starts_with("bck_") && token.len() == 68 && made["shown_as"] == shown.as_str(),
        "{shown}"
    );

    // Shown once; afterwards neither lists, nor events, nor tables hold it.
    let keys = site.admin.get(path).await?.ok()?;
    ensure!(
        keys["api_keys"][0]["shown_as"] == shown.as_str() && !keys.to_string().contains(token),
        "{keys}"
    );
    let events = site.admin.get("/v1/events?max_rows=1000").await?.ok()?;
    ensure!(!events.to_string().contains(token), "an event holds the key");
    let stored = database
        .query_one("select count(*) filter (where k::text like '%' || $1 || '%'), bool_and(k.token_sha256 = sha256($1::text::bytea)) from batchcortex.api_key k", &[&token])
        .await?;
    ensure!(
        stored.get::<_, i64>(0) == 0 && stored.get::<_, bool>(1),
        "the table holds the key"
    );

    // Scopes confine the key; what is a person's own it has not; another organisation's it does not see.
    let key = Caller::nobody(&api.url()).with_token(token);
    key.get("/v1/batches").await?.ok()?;
    expect(
        "beyond its scopes",
        &key.post("/v1/batches", &json!({"number": "1", "product": "x"}))
            .await?,
        403,
        "BC403",
    )?;
    expect("beyond its scopes", &key.get("/v1/events").await?, 403, "BC403")?;
    expect("keys", &key.get(path).await?, 403, "BC403")?;
    for own in [
        "/v1/whoami",
        "/v1/sessions",
        "/v1/second-factor",
        "/v1/policy",
        "/v1/agreements",
    ] {
        expect(own, &key.get(own).await?, 401, "BC401")?;
    }
    for own in ["/v1/logout", "/v1/session/rotate"] {
        expect(own, &key.post(own, &json!({})).await?, 401, "BC401")?;
    }
    expect(
        "elevation",
        &key.post("/v1/session/elevate", &json!({"password": PASSWORD}))
            .await?,
        401,
        "BC401",
    )?;
    let theirs = neighbour.batch("LOT-1").await?;
    expect(
        "another organisation's batch",
        &key.get(&format!("/v1/batches/{theirs}")).await?,
        404,
        "BC404",
    )?;
    let event = json!({"action": "app.note", "record_type": "note", "record_id": "1"});
    key.post("/v1/events", &event).await?.ok()?;
    let events = site.admin.get("/v1/events?max_rows=1").await?.ok()?;
    ensure!(
        events["events"][0]["actor_name"] == "historian" && events["events"][0]["actor_kind"] == "api_key",
        "{events}"
    );
    let held = key.get("/v1/permissions").await?.ok()?;
    let held: Vec<&str> = list(&held, "permissions")?
        .iter()
        .filter(|p| p["held"] == true)
        .filter_map(|p| p["permission"].as_str())
        .collect();
    ensure!(held == ["batch.read", "event.append"], "{held:?}");
    let forged = format!("{}{}", &token[..67], if token.ends_with('0') { '1' } else { '0' });
    expect(
        "a forged key",
        &key.with_token(&forged).get("/v1/batches").await?,
        401,
        "BC401",
    )?;

    let revoke = format!("/v1/api-keys/{}/revoke", text(&made, "key_id")?);
    expect(
        "by a neighbour",
        &neighbour.admin.post(&revoke, &json!({"reason": "x"})).await?,
        404,
        "BC404",
    )?;
    expect(
        "no reason",
        &site.admin.post(&revoke, &json!({"reason": ""})).await?,
        422,
        "BC422",
    )?;
    let keys = site.admin.get(path).await?.ok()?;
    ensure!(keys["api_keys"][0]["last_used_at"].is_string(), "{keys}");
    site.admin
        .post(&revoke, &json!({"reason": "replaced"}))
        .await?
        .ok()?;
    expect("revoked", &key.get("/v1/batches").await?, 401, "BC401")?;
    expect(
        "revoked twice",
        &site.admin.post(&revoke, &json!({"reason": "x"})).await?,
        404,
        "BC404",
    )?;
    assert_eq!(findings(&cluster).await?, Vec::<String>::new());
    Ok(())
}

// control: A14, B3, R5
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_out_at_once() -> Result<()> {
    let cluster = Cluster::start("leaving")?;
    let first = Api::start(&cluster).await?;
    let second = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &first.url(), "leaving").await?;
    let nobody = Caller::nobody(&first.url());
    let more = sign_in(&nobody.at(&second.url()), "leaving-operator").await?;
    let id = id_of(&site.operator).await?;
    let end = format!("/v1/members/{id}/end");
    let own = format!("/v1/members/{}/end", id_of(&site.admin).await?);
    expect(
        "one's own",
        &site.admin.post(&own, &json!({"reason": "x"})).await?,
        409,
        "BC409",
    )?;
    expect(
        "no reason",
        &site.admin.post(&end, &json!({"reason": ""})).await?,
        422,
        "BC422",
    )?;
    site.admin.post(&end, &json!({"reason": "left"})).await?.ok()?;
    for session in [&site.operator, &more] {
        for url in [first.url(), second.url()] {
            expect(
                "a session",
                &session.at(&url).get("/v1/whoami").await?,
                401,
                "BC401",
            )?;
        }
    }
    expect(
        "signing in",
        &nobody
            .post("/v1/login", &credentials("leaving-operator", PASSWORD))
            .await?,
        401,
        "BC401",
    )?;
    expect(
        "left already",
        &site.admin.post(&end, &json!({"reason": "x"})).await?,
        404,
        "BC404",
    )?;
    let register = site.admin.get("/v1/access/register").await?.ok()?;
    let row = list(&register, "register")?
        .iter()
        .find(|row| row["subject_id"] == id.as_str())
        .context("no row")?;
    ensure!(
        row["ended_at"].is_string() && row["ended_at"] != "infinity",
        "{row}"
    );

    // An invitation brings them back, with the account and the password that they have.
    let back = site.member("leaving-operator", "qa").await?;
    ensure!(back.get("/v1/whoami").await?.ok()?["role_name"] == "qa" && id_of(&back).await? == id);
    back.post("/v1/logout", &json!({})).await?.ok()?;
    expect("signed out", &back.get("/v1/whoami").await?, 401, "BC401")?;
    assert_eq!(findings(&cluster).await?, Vec::<String>::new());
    Ok(())
}
