//! Members of the organisation: who they are, their roles and levels, their locks, their leaving.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::{Reason, all_rows, from_row, hundred};
use crate::body::{Id, Json, Query};
use crate::database::{Call, Database};
use crate::openapi::{ReadProblems, WriteProblems};
use crate::problem::Problem;
use crate::request::Caller;
use crate::wire::{OpenTimestamp, Timestamp};

pub(super) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(members))
        .routes(routes!(set_role))
        .routes(routes!(set_team_level))
        .routes(routes!(unlock_user))
        .routes(routes!(end_membership))
        .routes(routes!(login_attempts))
}

/// A member, or who was one.
#[derive(Serialize, ToSchema)]
struct Member {
    user_id: Uuid,
    username: String,
    full_name: String,
    /// operator, qa, qp or admin.
    role_name: String,
    joined_at: Timestamp,
    /// When they left the organisation.
    ended_at: Option<Timestamp>,
    /// active or deactivated: of the account, in all organisations.
    state: String,
    /// Until when the account is locked; `infinity` until an administrator unlocks it.
    locked_until: Option<OpenTimestamp>,
}

from_row!(Member {
    user_id,
    username,
    full_name,
    role_name,
    joined_at,
    ended_at,
    state,
    locked_until
});

/// Members by name.
#[derive(Serialize, ToSchema)]
struct Members {
    members: Vec<Member>,
}

/// List members
#[utoipa::path(
    get, path = "/v1/members", operation_id = "members", tag = "identity",
    responses((status = 200, description = "Members by name, those who left included", body = Members), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn members(State(database): State<Database>, caller: Caller) -> Result<Json<Members>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.members()",
        parameters: &[],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(Members {
        members: all_rows(rows)?,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRole {
    /// operator, qa, qp or admin.
    role_name: String,
    /// Why.
    reason: String,
}

/// Set a member's role
///
/// From the member's next request on. Nobody sets their own.
#[utoipa::path(
    put, path = "/v1/members/{user_id}/role", operation_id = "set_role", tag = "identity",
    params(("user_id" = Uuid, Path, description = "Id of the member")), request_body = NewRole,
    responses((status = 204, description = "The role is set"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn set_role(
    State(database): State<Database>,
    caller: Caller,
    Id(user_id): Id,
    Json(new): Json<NewRole>,
) -> Result<StatusCode, Problem> {
    let call = Call {
        sql: "select from batchcortex_api.set_role($1, $2, $3)",
        parameters: &[
            (&user_id, Type::UUID),
            (&new.role_name, Type::TEXT),
            (&new.reason, Type::TEXT),
        ],
    };
    database.request(&caller, [call]).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewLevel {
    /// view_only, can_edit or full_access.
    team_level: String,
    /// Why.
    reason: String,
}

/// Set a member's team level
///
/// From the member's next request on. Nobody sets their own.
#[utoipa::path(
    put, path = "/v1/members/{user_id}/team-level", operation_id = "set_team_level", tag = "identity",
    params(("user_id" = Uuid, Path, description = "Id of the member")), request_body = NewLevel,
    responses((status = 204, description = "The level is set"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn set_team_level(
    State(database): State<Database>,
    caller: Caller,
    Id(user_id): Id,
    Json(new): Json<NewLevel>,
) -> Result<StatusCode, Problem> {
    let call = Call {
        sql: "select from batchcortex_api.set_team_level($1, $2, $3)",
        parameters: &[
            (&user_id, Type::UUID),
            (&new.team_level, Type::TEXT),
            (&new.reason, Type::TEXT),
        ],
    };
    database.request(&caller, [call]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unlock a member's account
///
/// Before the lock that failed attempts brought has run out.
#[utoipa::path(
    post, path = "/v1/members/{user_id}/unlock", operation_id = "unlock_user", tag = "identity",
    params(("user_id" = Uuid, Path, description = "Id of the member")), request_body = Reason,
    responses((status = 204, description = "The account is unlocked"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn unlock_user(
    State(database): State<Database>,
    caller: Caller,
    Id(user_id): Id,
    Json(why): Json<Reason>,
) -> Result<StatusCode, Problem> {
    let call = Call {
        sql: "select from batchcortex_api.unlock_user($1, $2)",
        parameters: &[(&user_id, Type::UUID), (&why.reason, Type::TEXT)],
    };
    database.request(&caller, [call]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End a membership
///
/// And the person's sessions in the organisation, at once. A new invitation brings them back. The account itself, which other
/// organisations may rely on, is deactivated by the administrator of the database.
#[utoipa::path(
    post, path = "/v1/members/{user_id}/end", operation_id = "end_membership", tag = "identity",
    params(("user_id" = Uuid, Path, description = "Id of the member")), request_body = Reason,
    responses((status = 204, description = "The membership has ended"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn end_membership(
    State(database): State<Database>,
    caller: Caller,
    Id(user_id): Id,
    Json(why): Json<Reason>,
) -> Result<StatusCode, Problem> {
    let call = Call {
        sql: "select from batchcortex_api.end_membership($1, $2)",
        parameters: &[(&user_id, Type::UUID), (&why.reason, Type::TEXT)],
    };
    database.request(&caller, [call]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An attempt to prove who one is.
#[derive(Serialize, ToSchema)]
struct Attempt {
    attempted_at: Timestamp,
    user_id: Option<Uuid>,
    /// login, elevation, password, invitation, second_factor.
    purpose: String,
    /// granted, refused, locked (refused because of a lock), or what was needed beside the password.
    result: String,
    /// Whether it made the failures of its address a burst.
    burst: bool,
    #[schema(value_type = Option<String>)]
    client_ip: Option<IpAddr>,
    user_agent: Option<String>,
}

from_row!(Attempt {
    attempted_at,
    user_id,
    purpose,
    result,
    burst,
    client_ip,
    user_agent
});

/// Attempts, newest first.
#[derive(Serialize, ToSchema)]
struct Attempts {
    login_attempts: Vec<Attempt>,
}

/// A page of the list, which goes from the newest to the oldest.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Only what is older than this time; attempted_at of the last row leads to the next page.
    before: Option<Timestamp>,
    /// Rows at most, 1 to 1,000.
    #[serde(default = "hundred")]
    #[param(default = 100, minimum = 1, maximum = 1000)]
    max_rows: i32,
}

/// List attempts to sign in
///
/// Of the organisation's people, whether they held or not; what was typed is kept nowhere.
#[utoipa::path(
    get, path = "/v1/login-attempts", operation_id = "login_attempts", tag = "identity", params(Page),
    responses((status = 200, description = "Attempts, newest first", body = Attempts), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn login_attempts(
    State(database): State<Database>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Json<Attempts>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.login_attempts($1, $2)",
        parameters: &[(&page.before, Type::TIMESTAMPTZ), (&page.max_rows, Type::INT4)],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(Attempts {
        login_attempts: all_rows(rows)?,
    }))
}
