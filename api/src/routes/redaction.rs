//! Personal data that records name by a commitment: seen, and erased.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::{Json, Query};
use crate::database::{Call, Database, only};
use crate::openapi::{ReadProblems, WriteProblems};
use crate::problem::Problem;
use crate::request::Caller;
use crate::wire::Timestamp;

pub(crate) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(open_personal_data))
        .routes(routes!(erase_personal_data))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Named {
    /// What the record says: `sha256:` and 64 hexadecimal digits.
    commitment: String,
}

/// A value that records commit to.
#[derive(Serialize, ToSchema)]
struct Opening {
    value: String,
    /// 32 bytes, hexadecimal: SHA-256 of `batchcortex/commitment/v1`, a line feed, these bytes and the value is the commitment.
    salt: String,
    committed_at: Timestamp,
}

impl TryFrom<Row> for Opening {
    type Error = tokio_postgres::Error;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        Ok(Opening {
            value: row.try_get("value")?,
            salt: hex::encode(row.try_get::<_, &[u8]>("salt")?),
            committed_at: row.try_get("committed_at")?,
        })
    }
}

/// See the value that a record commits to
#[utoipa::path(
    get, path = "/v1/personal-data", operation_id = "open_personal_data", tag = "redaction", params(Named),
    responses((status = 200, description = "The value and its salt; 404 when it was erased", body = Opening), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn open_personal_data(
    State(database): State<Database>,
    caller: Caller,
    Query(named): Query<Named>,
) -> Result<Json<Opening>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.open_personal_data($1)",
        parameters: &[(&named.commitment, Type::TEXT)],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(only(rows)?.try_into()?))
}

/// What is erased, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Erasure {
    /// What the record says: `sha256:` and 64 hexadecimal digits.
    commitment: String,
    /// Why; it stands in the audit trail, and must not name the value.
    reason: String,
}

/// Erase the value that a record commits to
///
/// Record, leaf and every proof stay valid. It cannot be taken back.
#[utoipa::path(
    post, path = "/v1/personal-data/erasures", operation_id = "erase_personal_data", tag = "redaction", request_body = Erasure,
    responses((status = 204, description = "Value and salt are erased"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn erase_personal_data(
    State(database): State<Database>,
    caller: Caller,
    Json(erasure): Json<Erasure>,
) -> Result<StatusCode, Problem> {
    let call = Call {
        sql: "select from batchcortex_api.erase_personal_data($1, $2)",
        parameters: &[(&erasure.commitment, Type::TEXT), (&erasure.reason, Type::TEXT)],
    };
    database.request(&caller, [call]).await?;
    Ok(StatusCode::NO_CONTENT)
}
