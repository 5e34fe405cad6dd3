//! What an organisation decides about sessions, passwords and second factors.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::from_row;
use crate::body::Json;
use crate::database::{Call, Database, only};
use crate::openapi::{ReadProblems, WriteProblems};
use crate::problem::Problem;
use crate::request::Caller;

pub(super) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new().routes(routes!(policy, set_policy))
}

/// The organisation's policy.
#[derive(Serialize, ToSchema)]
struct Policy {
    /// How long a session may be idle; null: the installation's setting.
    session_idle_minutes: Option<i32>,
    /// How long a session lives at most; null: the installation's setting.
    session_life_minutes: Option<i32>,
    /// nist or ageing.
    password_profile: String,
    /// Profile ageing: days after which a password must be changed.
    password_days: i32,
    /// Profile ageing: how many passwords may not be chosen again.
    password_history: i32,
    /// optional or required.
    second_factor: String,
}

from_row!(Policy {
    session_idle_minutes,
    session_life_minutes,
    password_profile,
    password_days,
    password_history,
    second_factor
});

/// Read the policy
#[utoipa::path(
    get, path = "/v1/policy", operation_id = "policy", tag = "identity",
    responses((status = 200, description = "The organisation's policy", body = Policy), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn policy(State(database): State<Database>, caller: Caller) -> Result<Json<Policy>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.policy()",
        parameters: &[],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(only(rows)?.try_into()?))
}

/// The whole policy: what is not said is not kept from before.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPolicy {
    /// 1 to 10,080; absent or null: the installation's setting.
    session_idle_minutes: Option<i32>,
    /// 1 to 10,080; absent or null: the installation's setting.
    session_life_minutes: Option<i32>,
    /// nist or ageing.
    password_profile: String,
    /// 1 to 3,650.
    password_days: i32,
    /// 1 to 24.
    password_history: i32,
    /// optional or required.
    second_factor: String,
    /// Why.
    reason: Option<String>,
}

/// Set the policy
///
/// Shorter limits hold for the sessions that are open, too.
#[utoipa::path(
    put, path = "/v1/policy", operation_id = "set_policy", tag = "identity", request_body = NewPolicy,
    responses((status = 204, description = "The policy is in force"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn set_policy(
    State(database): State<Database>,
    caller: Caller,
    Json(new): Json<NewPolicy>,
) -> Result<StatusCode, Problem> {
    let call = Call {
        sql: "select from batchcortex_api.set_policy($1, $2, $3, $4, $5, $6, $7)",
        parameters: &[
            (&new.session_idle_minutes, Type::INT4),
            (&new.session_life_minutes, Type::INT4),
            (&new.password_profile, Type::TEXT),
            (&new.password_days, Type::INT4),
            (&new.password_history, Type::INT4),
            (&new.second_factor, Type::TEXT),
            (&new.reason, Type::TEXT),
        ],
    };
    database.request(&caller, [call]).await?;
    Ok(StatusCode::NO_CONTENT)
}
