//! Keys of programs.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::{Reason, all_rows, from_row};
use crate::body::{Id, Json};
use crate::database::{Call, Database, only};
use crate::openapi::{ReadProblems, WriteProblems};
use crate::problem::Problem;
use crate::request::Caller;
use crate::wire::Timestamp;

pub(super) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(api_keys, create_api_key))
        .routes(routes!(revoke_api_key))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewApiKey {
    /// Its name, unique in the organisation and shown as the actor of its records.
    name: String,
    /// operator, qa, qp or admin.
    role_name: String,
    /// Permissions that the key is confined to; its role must hold each.
    #[schema(example = json!(["batch.read", "event.append"]))]
    scopes: Vec<String>,
    /// Within a year.
    expires_at: Timestamp,
}

/// An API key that was made.
#[derive(Serialize, ToSchema)]
struct MadeApiKey {
    key_id: Uuid,
    /// The key, shown this once.
    #[schema(example = "bck_…")]
    api_key: String,
    /// How lists show it.
    shown_as: String,
}

from_row!(MadeApiKey {
    key_id,
    api_key,
    shown_as
});

/// Make an API key
#[utoipa::path(
    post, path = "/v1/api-keys", operation_id = "create_api_key", tag = "identity", request_body = NewApiKey,
    responses((status = 201, description = "The key, shown this once", body = MadeApiKey), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn create_api_key(
    State(database): State<Database>,
    caller: Caller,
    Json(new): Json<NewApiKey>,
) -> Result<(StatusCode, Json<MadeApiKey>), Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.create_api_key($1, $2, $3, $4)",
        parameters: &[
            (&new.name, Type::TEXT),
            (&new.role_name, Type::TEXT),
            (&new.scopes, Type::TEXT_ARRAY),
            (&new.expires_at, Type::TIMESTAMPTZ),
        ],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok((StatusCode::CREATED, Json(only(rows)?.try_into()?)))
}

/// An API key, without the key itself.
#[derive(Serialize, ToSchema)]
struct ApiKey {
    key_id: Uuid,
    name: String,
    /// Prefix and last four characters.
    shown_as: String,
    role_name: String,
    scopes: Vec<String>,
    created_by: Uuid,
    created_at: Timestamp,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
    /// To the minute.
    last_used_at: Option<Timestamp>,
}

from_row!(ApiKey {
    key_id,
    name,
    shown_as,
    role_name,
    scopes,
    created_by,
    created_at,
    expires_at,
    revoked_at,
    last_used_at
});

/// API keys, oldest first.
#[derive(Serialize, ToSchema)]
struct ApiKeys {
    api_keys: Vec<ApiKey>,
}

/// List API keys
#[utoipa::path(
    get, path = "/v1/api-keys", operation_id = "api_keys", tag = "identity",
    responses((status = 200, description = "Keys of the organisation, those that ended included", body = ApiKeys), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn api_keys(State(database): State<Database>, caller: Caller) -> Result<Json<ApiKeys>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.api_keys()",
        parameters: &[],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(ApiKeys {
        api_keys: all_rows(rows)?,
    }))
}

/// End an API key
#[utoipa::path(
    post, path = "/v1/api-keys/{key_id}/revoke", operation_id = "revoke_api_key", tag = "identity",
    params(("key_id" = Uuid, Path, description = "Id of the key")), request_body = Reason,
    responses((status = 204, description = "The key has ended"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn revoke_api_key(
    State(database): State<Database>,
    caller: Caller,
    Id(key_id): Id,
    Json(why): Json<Reason>,
) -> Result<StatusCode, Problem> {
    let call = Call {
        sql: "select from batchcortex_api.revoke_api_key($1, $2)",
        parameters: &[(&key_id, Type::UUID), (&why.reason, Type::TEXT)],
    };
    database.request(&caller, [call]).await?;
    Ok(StatusCode::NO_CONTENT)
}
