//! One's own account: the password.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use tokio_postgres::types::Type;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::outcome::{proof_refused, unmet};
use crate::body::Json;
use crate::database::{Call, Database, only};
use crate::openapi::WriteProblems;
use crate::problem::Problem;
use crate::request::Caller;
use crate::wire::Secret;

pub(super) fn proofs() -> OpenApiRouter<Database> {
    OpenApiRouter::new().routes(routes!(change_password))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Change {
    old_password: Secret,
    new_password: Secret,
}

/// Change the password
///
/// Every other session of the person ends. A wrong old password is answered with BC440 and counts towards the lockout.
#[utoipa::path(
    post, path = "/v1/password", operation_id = "change_password", tag = "identity", request_body = Change,
    responses((status = 204, description = "The password is changed"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn change_password(
    State(database): State<Database>,
    caller: Caller,
    Json(change): Json<Change>,
) -> Result<StatusCode, Problem> {
    let old_password = change.old_password.reveal();
    let new_password = change.new_password.reveal();
    let call = Call {
        sql: "select outcome from batchcortex_api.change_password($1, $2) as outcome",
        parameters: &[(&old_password, Type::TEXT), (&new_password, Type::TEXT)],
    };
    let row = only(database.prove(Some(&caller), call).await?)?;
    match row.try_get("outcome")? {
        "changed" => Ok(StatusCode::NO_CONTENT),
        _ => Err(unmet(&row, proof_refused())?),
    }
}
