//! Batches: what samples and events belong to.

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{all_rows, from_row, hundred};
use crate::body::{Id, Json, Query};
use crate::database::{Call, Database, only};
use crate::openapi::{ReadProblems, WriteProblems};
use crate::problem::Problem;
use crate::request::Caller;
use crate::wire::Timestamp;

pub(crate) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(batches, create_batch))
        .routes(routes!(batch))
        .routes(routes!(start_batch))
        .routes(routes!(end_batch))
}

/// A batch.
#[derive(Serialize, ToSchema)]
struct Batch {
    batch_id: Uuid,
    /// Its number, unique in the organisation.
    number: String,
    product: String,
    /// planned, running or ended.
    state: String,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    /// How many samples it has.
    samples: i64,
    /// How many events it has.
    events: i64,
}

from_row!(Batch {
    batch_id,
    number,
    product,
    state,
    created_at,
    started_at,
    ended_at,
    samples,
    events
});

/// Batches, newest first.
#[derive(Serialize, ToSchema)]
struct Batches {
    batches: Vec<Batch>,
}

/// A page of the list, which goes from the newest to the oldest.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Only what is older than this time; created_at of the last row leads to the next page.
    before: Option<Timestamp>,
    /// With `before`: batch_id of the last row, so that none of the same time is skipped.
    before_batch: Option<Uuid>,
    /// Rows at most, 1 to 1,000.
    #[serde(default = "hundred")]
    #[param(default = 100, minimum = 1, maximum = 1000)]
    max_rows: i32,
}

/// List batches
#[utoipa::path(
    get, path = "/v1/batches", operation_id = "batches", tag = "batch", params(Page),
    responses((status = 200, description = "Batches, newest first", body = Batches), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn batches(
    State(database): State<Database>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Json<Batches>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.batches($1, $2, $3)",
        parameters: &[
            (&page.before, Type::TIMESTAMPTZ),
            (&page.max_rows, Type::INT4),
            (&page.before_batch, Type::UUID),
        ],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(Batches {
        batches: all_rows(rows)?,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBatch {
    /// Its number, unique in the organisation.
    number: String,
    product: String,
}

/// A batch that was planned.
#[derive(Serialize, ToSchema)]
struct Planned {
    batch_id: Uuid,
}

/// Plan a batch
#[utoipa::path(
    post, path = "/v1/batches", operation_id = "create_batch", tag = "batch", request_body = NewBatch,
    responses(
        (status = 201, description = "The batch is planned", body = Planned, headers(("Location" = String, description = "Path of the batch"))),
        WriteProblems
    ),
    security(("bearer" = []), ("cookie" = []))
)]
async fn create_batch(
    State(database): State<Database>,
    caller: Caller,
    Json(batch): Json<NewBatch>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Planned>), Problem> {
    let call = Call {
        sql: "select batchcortex_api.create_batch($1, $2)",
        parameters: &[(&batch.number, Type::TEXT), (&batch.product, Type::TEXT)],
    };
    let [rows] = database.request(&caller, [call]).await?;
    let batch_id: Uuid = only(rows)?.try_get(0)?;
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, format!("/v1/batches/{batch_id}"))],
        Json(Planned { batch_id }),
    ))
}

/// Read a batch
#[utoipa::path(
    get, path = "/v1/batches/{batch_id}", operation_id = "batch", tag = "batch",
    params(("batch_id" = Uuid, Path, description = "Id of the batch")),
    responses((status = 200, description = "The batch", body = Batch), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn batch(
    State(database): State<Database>,
    caller: Caller,
    Id(batch_id): Id,
) -> Result<Json<Batch>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.batch($1)",
        parameters: &[(&batch_id, Type::UUID)],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(only(rows)?.try_into()?))
}

/// Start a batch
///
/// At the server's time. The batch must be planned.
#[utoipa::path(
    post, path = "/v1/batches/{batch_id}/start", operation_id = "start_batch", tag = "batch",
    params(("batch_id" = Uuid, Path, description = "Id of the batch")),
    responses((status = 204, description = "The batch is running"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn start_batch(
    State(database): State<Database>,
    caller: Caller,
    Id(batch_id): Id,
) -> Result<StatusCode, Problem> {
    let call = Call {
        sql: "select from batchcortex_api.start_batch($1)",
        parameters: &[(&batch_id, Type::UUID)],
    };
    database.request(&caller, [call]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End a batch
///
/// At the server's time. The batch must be running; samples that were captured before and arrive late are still taken.
#[utoipa::path(
    post, path = "/v1/batches/{batch_id}/end", operation_id = "end_batch", tag = "batch",
    params(("batch_id" = Uuid, Path, description = "Id of the batch")),
    responses((status = 204, description = "The batch has ended"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn end_batch(
    State(database): State<Database>,
    caller: Caller,
    Id(batch_id): Id,
) -> Result<StatusCode, Problem> {
    let call = Call {
        sql: "select from batchcortex_api.end_batch($1)",
        parameters: &[(&batch_id, Type::UUID)],
    };
    database.request(&caller, [call]).await?;
    Ok(StatusCode::NO_CONTENT)
}
