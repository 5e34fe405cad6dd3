//! Sessions: whose this is, which others there are, renewing, elevating and ending them.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::{all_rows, from_row};
use super::cookie::{self, Delivery, HoldsToken, deliver};
use super::outcome::{proof_refused, unmet};
use crate::body::{Id, Json, Query};
use crate::database::{Call, Database, only};
use crate::openapi::{ReadProblems, WriteProblems};
use crate::problem::Problem;
use crate::request::Caller;
use crate::wire::{Secret, Timestamp};

pub(super) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(whoami))
        .routes(routes!(logout))
        .routes(routes!(rotate_session))
        .routes(routes!(sessions))
        .routes(routes!(revoke_session))
}

pub(super) fn proofs() -> OpenApiRouter<Database> {
    OpenApiRouter::new().routes(routes!(elevate))
}

/// The person, organisation, role and session that a credential stands for.
#[derive(Serialize, ToSchema)]
struct Identity {
    user_id: Uuid,
    username: String,
    full_name: String,
    org_id: Uuid,
    organisation: String,
    /// operator, qa, qp or admin.
    role_name: String,
    session_id: Uuid,
    expires_at: Timestamp,
}

from_row!(Identity {
    user_id,
    username,
    full_name,
    org_id,
    organisation,
    role_name,
    session_id,
    expires_at
});

/// Who is calling?
#[utoipa::path(
    get, path = "/v1/whoami", operation_id = "whoami", tag = "identity",
    responses((status = 200, description = "The caller", body = Identity), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn whoami(State(database): State<Database>, caller: Caller) -> Result<Json<Identity>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.whoami()",
        parameters: &[],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(only(rows)?.try_into()?))
}

/// Sign out
///
/// Ends the session of this request at once.
#[utoipa::path(
    post, path = "/v1/logout", operation_id = "logout", tag = "identity",
    responses((status = 204, description = "The session has ended"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn logout(State(database): State<Database>, caller: Caller) -> Result<Response, Problem> {
    let call = Call {
        sql: "select from batchcortex_api.logout()",
        parameters: &[],
    };
    database.request(&caller, [call]).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if caller.by_cookie {
        response
            .headers_mut()
            .insert(header::SET_COOKIE, cookie::ended()?);
    }
    Ok(response)
}

/// A session that got a new token; the earlier one is dead.
#[derive(Serialize, ToSchema)]
struct Renewed {
    /// The new session token, shown this once; absent when the earlier one came as the cookie, which is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "bcs_…")]
    token: Option<String>,
    expires_at: Timestamp,
}

from_row!(Renewed { token, expires_at });

impl HoldsToken for Renewed {
    fn token(&mut self) -> &mut Option<String> {
        &mut self.token
    }
}

/// Replace the session token
///
/// The earlier token is dead at once.
#[utoipa::path(
    post, path = "/v1/session/rotate", operation_id = "rotate_session", tag = "identity",
    responses(
        (status = 200, description = "The session has a new token", body = Renewed,
            headers(("Set-Cookie" = String, description = "__Host-bc_session, when the earlier token came so"))),
        WriteProblems
    ),
    security(("bearer" = []), ("cookie" = []))
)]
async fn rotate_session(State(database): State<Database>, caller: Caller) -> Result<Response, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.rotate_session()",
        parameters: &[],
    };
    let [rows] = database.request(&caller, [call]).await?;
    deliver(Renewed::try_from(only(rows)?)?, Delivery::of(&caller))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Elevation {
    password: Secret,
    /// A code of the authenticator program, or a recovery code; where a second factor is enrolled.
    second_factor: Option<Secret>,
}

/// Elevate the session
///
/// A fresh proof of the person: the session keeps when it was, and gets a new token. A wrong password or code is answered
/// with BC440 and counts towards the lockout; BC441 asks for the second factor.
#[utoipa::path(
    post, path = "/v1/session/elevate", operation_id = "elevate", tag = "identity", request_body = Elevation,
    responses(
        (status = 200, description = "The session is elevated and has a new token", body = Renewed,
            headers(("Set-Cookie" = String, description = "__Host-bc_session, when the earlier token came so"))),
        WriteProblems
    ),
    security(("bearer" = []), ("cookie" = []))
)]
async fn elevate(
    State(database): State<Database>,
    caller: Caller,
    Json(elevation): Json<Elevation>,
) -> Result<Response, Problem> {
    let password = elevation.password.reveal();
    let second_factor = elevation.second_factor.as_ref().map(Secret::reveal);
    let call = Call {
        sql: "select * from batchcortex_api.elevate($1, $2)",
        parameters: &[(&password, Type::TEXT), (&second_factor, Type::TEXT)],
    };
    let row = only(database.prove(Some(&caller), call).await?)?;
    match row.try_get("outcome")? {
        "granted" => deliver(Renewed::try_from(row)?, Delivery::of(&caller)),
        _ => Err(unmet(&row, proof_refused())?),
    }
}

/// A live session.
#[derive(Serialize, ToSchema)]
struct Listed {
    session_id: Uuid,
    user_id: Uuid,
    full_name: String,
    created_at: Timestamp,
    last_seen_at: Timestamp,
    expires_at: Timestamp,
    /// When the person last proved themselves anew in it.
    elevated_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    client_ip: Option<IpAddr>,
    user_agent: Option<String>,
    /// Whether it is the session of this request.
    this_one: bool,
}

from_row!(Listed {
    session_id,
    user_id,
    full_name,
    created_at,
    last_seen_at,
    expires_at,
    elevated_at,
    client_ip,
    user_agent,
    this_one
});

/// Live sessions, oldest first.
#[derive(Serialize, ToSchema)]
struct Sessions {
    sessions: Vec<Listed>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Whose {
    /// The person; the caller by default. Another's take the permission member.manage.
    user_id: Option<Uuid>,
}

/// List sessions
#[utoipa::path(
    get, path = "/v1/sessions", operation_id = "sessions", tag = "identity", params(Whose),
    responses((status = 200, description = "Live sessions in this organisation, oldest first", body = Sessions), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn sessions(
    State(database): State<Database>,
    caller: Caller,
    Query(whose): Query<Whose>,
) -> Result<Json<Sessions>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.sessions($1)",
        parameters: &[(&whose.user_id, Type::UUID)],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(Sessions {
        sessions: all_rows(rows)?,
    }))
}

/// End a session
///
/// One's own, or with the permission member.manage anybody's in the organisation.
#[utoipa::path(
    delete, path = "/v1/sessions/{session_id}", operation_id = "revoke_session", tag = "identity",
    params(("session_id" = Uuid, Path, description = "Id of the session")),
    responses((status = 204, description = "The session has ended"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn revoke_session(
    State(database): State<Database>,
    caller: Caller,
    Id(session_id): Id,
) -> Result<StatusCode, Problem> {
    let call = Call {
        sql: "select from batchcortex_api.revoke_session($1)",
        parameters: &[(&session_id, Type::UUID)],
    };
    database.request(&caller, [call]).await?;
    Ok(StatusCode::NO_CONTENT)
}
