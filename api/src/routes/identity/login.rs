//! Signing in. Nothing is kept between two calls: what is missing is asked for, and the whole offer is sent again.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::from_row;
use super::cookie::{Delivery, HoldsToken, deliver};
use super::outcome::{sign_in_refused, unmet};
use super::second_factor::Enrolment;
use crate::body::Json;
use crate::database::{Call, Database, only};
use crate::openapi::EntryProblems;
use crate::problem::Problem;
use crate::request::Origin;
use crate::wire::{Secret, Timestamp};

pub(super) fn proofs() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(accept_agreements))
        .routes(routes!(replace_password))
        .routes(routes!(enrol_second_factor_at_login))
}

/// A session.
#[derive(Serialize, ToSchema)]
struct Session {
    /// The session token, shown this once; absent with delivery `cookie`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "bcs_…")]
    token: Option<String>,
    session_id: Uuid,
    user_id: Uuid,
    org_id: Uuid,
    /// operator, qa, qp or admin.
    role_name: String,
    full_name: String,
    expires_at: Timestamp,
}

from_row!(Session {
    token,
    session_id,
    user_id,
    org_id,
    role_name,
    full_name,
    expires_at
});

impl HoldsToken for Session {
    fn token(&mut self) -> &mut Option<String> {
        &mut self.token
    }
}

/// The session that an answer grants, or why there is none.
fn opened(rows: Vec<Row>, delivery: Delivery) -> Result<Response, Problem> {
    let row = only(rows)?;
    match row.try_get("outcome")? {
        "granted" => deliver(Session::try_from(row)?, delivery),
        _ => Err(unmet(&row, sign_in_refused())?),
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    username: String,
    password: Secret,
    /// A code of the authenticator program, or a recovery code; where a second factor is enrolled.
    second_factor: Option<Secret>,
    /// The organisation to work for; needed by members of several.
    org_id: Option<Uuid>,
    #[serde(default)]
    delivery: Delivery,
}

/// Sign in
///
/// Checks a password, and the second factor where one is enrolled, and opens a session. Unknown user, wrong password, wrong
/// code, locked and deactivated account get one and the same 401, after about the same time. To someone who has shown the
/// password, 403 says what else is needed: BC441 a code, BC442 to enrol a second factor, BC443 to accept agreements, BC444 a
/// new password, BC445 which organisation. With `"delivery": "cookie"` the header `X-BatchCortex-CSRF: 1` is demanded, so
/// that no other site can sign a browser in.
#[utoipa::path(
    post, path = "/v1/login", operation_id = "login", tag = "identity", request_body = Login,
    responses(
        (status = 200, description = "A session is open", body = Session,
            headers(("Set-Cookie" = String, description = "__Host-bc_session, with delivery `cookie`"))),
        EntryProblems
    )
)]
async fn login(
    State(database): State<Database>,
    origin: Origin,
    headers: HeaderMap,
    Json(login): Json<Login>,
) -> Result<Response, Problem> {
    login.delivery.demand_csrf_header(&headers)?;
    let password = login.password.reveal();
    let second_factor = login.second_factor.as_ref().map(Secret::reveal);
    let call = Call {
        sql: "select * from batchcortex_api.login($1, $2, $3, $4, $5, $6, $7)",
        parameters: &[
            (&login.username, Type::TEXT),
            (&password, Type::TEXT),
            (&origin.client_ip, Type::INET),
            (&origin.user_agent, Type::TEXT),
            (&origin.request_id, Type::TEXT),
            (&login.org_id, Type::UUID),
            (&second_factor, Type::TEXT),
        ],
    };
    opened(database.prove(None, call).await?, login.delivery)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Acceptance {
    username: String,
    password: Secret,
    second_factor: Option<Secret>,
    org_id: Option<Uuid>,
    /// Version of the terms that is accepted.
    accepted_terms: Option<String>,
    /// Version of the privacy notice that is accepted.
    accepted_privacy: Option<String>,
    /// Version of the accountability statement that is accepted.
    accepted_accountability: Option<String>,
    #[serde(default)]
    delivery: Delivery,
}

/// Sign in and accept agreements
///
/// After signing in was answered with BC443, whose `agreements` hold kind, version and text of what is missing.
#[utoipa::path(
    post, path = "/v1/login/agreements", operation_id = "accept_agreements", tag = "identity", request_body = Acceptance,
    responses(
        (status = 200, description = "The agreements are accepted and a session is open", body = Session,
            headers(("Set-Cookie" = String, description = "__Host-bc_session, with delivery `cookie`"))),
        EntryProblems
    )
)]
async fn accept_agreements(
    State(database): State<Database>,
    origin: Origin,
    headers: HeaderMap,
    Json(acceptance): Json<Acceptance>,
) -> Result<Response, Problem> {
    acceptance.delivery.demand_csrf_header(&headers)?;
    let password = acceptance.password.reveal();
    let second_factor = acceptance.second_factor.as_ref().map(Secret::reveal);
    let call = Call {
        sql: "select * from batchcortex_api.accept_agreements($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        parameters: &[
            (&acceptance.username, Type::TEXT),
            (&password, Type::TEXT),
            (&acceptance.accepted_terms, Type::TEXT),
            (&acceptance.accepted_privacy, Type::TEXT),
            (&acceptance.accepted_accountability, Type::TEXT),
            (&origin.client_ip, Type::INET),
            (&origin.user_agent, Type::TEXT),
            (&origin.request_id, Type::TEXT),
            (&acceptance.org_id, Type::UUID),
            (&second_factor, Type::TEXT),
        ],
    };
    opened(database.prove(None, call).await?, acceptance.delivery)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Replacement {
    username: String,
    /// The present password.
    password: Secret,
    new_password: Secret,
    second_factor: Option<Secret>,
    org_id: Option<Uuid>,
    /// Version of the terms that is accepted, where it is missing too.
    accepted_terms: Option<String>,
    /// Version of the privacy notice that is accepted, where it is missing too.
    accepted_privacy: Option<String>,
    /// Version of the accountability statement that is accepted, where it is missing too.
    accepted_accountability: Option<String>,
    #[serde(default)]
    delivery: Delivery,
}

/// Sign in and change the password
///
/// After signing in was answered with BC444. Every earlier session of the person ends.
#[utoipa::path(
    post, path = "/v1/login/password", operation_id = "replace_password", tag = "identity", request_body = Replacement,
    responses(
        (status = 200, description = "The password is changed and a session is open", body = Session,
            headers(("Set-Cookie" = String, description = "__Host-bc_session, with delivery `cookie`"))),
        EntryProblems
    )
)]
async fn replace_password(
    State(database): State<Database>,
    origin: Origin,
    headers: HeaderMap,
    Json(replacement): Json<Replacement>,
) -> Result<Response, Problem> {
    replacement.delivery.demand_csrf_header(&headers)?;
    let password = replacement.password.reveal();
    let new_password = replacement.new_password.reveal();
    let second_factor = replacement.second_factor.as_ref().map(Secret::reveal);
    let call = Call {
        sql: "select * from batchcortex_api.replace_password($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        parameters: &[
            (&replacement.username, Type::TEXT),
            (&password, Type::TEXT),
            (&new_password, Type::TEXT),
            (&origin.client_ip, Type::INET),
            (&origin.user_agent, Type::TEXT),
            (&origin.request_id, Type::TEXT),
            (&replacement.org_id, Type::UUID),
            (&second_factor, Type::TEXT),
            (&replacement.accepted_terms, Type::TEXT),
            (&replacement.accepted_privacy, Type::TEXT),
            (&replacement.accepted_accountability, Type::TEXT),
        ],
    };
    opened(database.prove(None, call).await?, replacement.delivery)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Entrant {
    username: String,
    password: Secret,
    org_id: Option<Uuid>,
}

/// Enrol a second factor before signing in
///
/// After signing in was answered with BC442. The first code at signing in confirms it. An account that has a second factor
/// is refused: the password alone does not replace one.
#[utoipa::path(
    post, path = "/v1/login/second-factor", operation_id = "enrol_second_factor_at_login", tag = "identity",
    request_body = Entrant,
    responses((status = 201, description = "Secret and recovery codes, shown this once", body = Enrolment), EntryProblems)
)]
async fn enrol_second_factor_at_login(
    State(database): State<Database>,
    origin: Origin,
    Json(entrant): Json<Entrant>,
) -> Result<(StatusCode, Json<Enrolment>), Problem> {
    let password = entrant.password.reveal();
    let call = Call {
        sql: "select * from batchcortex_api.enrol_second_factor_at_login($1, $2, $3, $4, $5, $6)",
        parameters: &[
            (&entrant.username, Type::TEXT),
            (&password, Type::TEXT),
            (&origin.client_ip, Type::INET),
            (&origin.user_agent, Type::TEXT),
            (&origin.request_id, Type::TEXT),
            (&entrant.org_id, Type::UUID),
        ],
    };
    let row = only(database.prove(None, call).await?)?;
    match row.try_get("outcome")? {
        "enrolled" => Ok((StatusCode::CREATED, Json(row.try_into()?))),
        _ => Err(unmet(&row, sign_in_refused())?),
    }
}
