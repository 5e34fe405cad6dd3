//! The audit trail.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{all_rows, hundred};
use crate::body::{Id, Json, Query};
use crate::database::{Call, Database, only};
use crate::openapi::{ReadProblems, WriteProblems};
use crate::problem::Problem;
use crate::request::Caller;
use crate::wire::{RawJson, Timestamp};

pub(crate) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(events, log_event))
        .routes(routes!(batch_events))
}

/// An event of the audit trail.
#[derive(Serialize, ToSchema)]
struct Event {
    event_id: Uuid,
    /// The server's time.
    recorded_at: Timestamp,
    /// What kind of actor: a person, a device, the system.
    actor_kind: String,
    actor_id: Option<Uuid>,
    /// Full name at that moment.
    actor_name: Option<String>,
    /// Role at that moment.
    actor_role: Option<String>,
    action: String,
    record_type: String,
    record_id: String,
    /// The record before, byte for byte as captured.
    before: Option<RawJson>,
    /// The record after, byte for byte as captured.
    after: Option<RawJson>,
    /// Why.
    reason: Option<String>,
    batch_id: Option<Uuid>,
    /// The client's own time, kept as data.
    client_time: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    client_ip: Option<IpAddr>,
    user_agent: Option<String>,
    request_id: Option<String>,
    /// SHA-256 of the leaf, in hex.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    leaf_hash: String,
}

impl TryFrom<Row> for Event {
    type Error = tokio_postgres::Error;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        Ok(Self {
            event_id: row.try_get("event_id")?,
            recorded_at: row.try_get("recorded_at")?,
            actor_kind: row.try_get("actor_kind")?,
            actor_id: row.try_get("actor_id")?,
            actor_name: row.try_get("actor_name")?,
            actor_role: row.try_get("actor_role")?,
            action: row.try_get("action")?,
            record_type: row.try_get("record_type")?,
            record_id: row.try_get("record_id")?,
            before: row.try_get("before")?,
            after: row.try_get("after")?,
            reason: row.try_get("reason")?,
            batch_id: row.try_get("batch_id")?,
            client_time: row.try_get("client_time")?,
            client_ip: row.try_get("client_ip")?,
            user_agent: row.try_get("user_agent")?,
            request_id: row.try_get("request_id")?,
            leaf_hash: hex::encode(row.try_get::<_, &[u8]>("leaf_hash")?),
        })
    }
}

/// Events, newest first.
#[derive(Serialize, ToSchema)]
struct Events {
    events: Vec<Event>,
}

/// A page of the list, which goes from the newest to the oldest.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Only what is older than this time; recorded_at of the last row leads to the next page.
    before: Option<Timestamp>,
    /// With `before`: event_id of the last row, so that none of the same time is skipped.
    before_event: Option<Uuid>,
    /// Rows at most, 1 to 1,000.
    #[serde(default = "hundred")]
    #[param(default = 100, minimum = 1, maximum = 1000)]
    max_rows: i32,
}

async fn list(
    database: &Database,
    caller: &Caller,
    batch_id: Option<Uuid>,
    page: &Page,
) -> Result<Json<Events>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.events($1, $2, $3, $4)",
        parameters: &[
            (&batch_id, Type::UUID),
            (&page.before, Type::TIMESTAMPTZ),
            (&page.max_rows, Type::INT4),
            (&page.before_event, Type::UUID),
        ],
    };
    let [rows] = database.request(caller, [call]).await?;
    Ok(Json(Events {
        events: all_rows(rows)?,
    }))
}

/// List events
#[utoipa::path(
    get, path = "/v1/events", operation_id = "events", tag = "event", params(Page),
    responses((status = 200, description = "Events, newest first", body = Events), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn events(
    State(database): State<Database>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Json<Events>, Problem> {
    list(&database, &caller, None, &page).await
}

/// List the events of a batch
#[utoipa::path(
    get, path = "/v1/batches/{batch_id}/events", operation_id = "batch_events", tag = "event",
    params(("batch_id" = Uuid, Path, description = "Id of the batch"), Page),
    responses((status = 200, description = "Events of the batch, newest first", body = Events), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn batch_events(
    State(database): State<Database>,
    caller: Caller,
    Id(batch_id): Id,
    Query(page): Query<Page>,
) -> Result<Json<Events>, Problem> {
    list(&database, &caller, Some(batch_id), &page).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewEvent {
    /// What happened; names of applications start with `app.`
    #[schema(example = "app.label_printed")]
    action: String,
    #[schema(example = "label")]
    record_type: String,
    #[schema(example = "L-0017")]
    record_id: String,
    /// The record before; kept byte for byte.
    before: Option<RawJson>,
    /// The record after; kept byte for byte.
    after: Option<RawJson>,
    /// Why.
    reason: Option<String>,
    batch_id: Option<Uuid>,
    /// The client's own time, kept as data; the time of the record is the server's.
    client_time: Option<Timestamp>,
}

/// An event that was recorded.
#[derive(Serialize, ToSchema)]
struct Recorded {
    event_id: Uuid,
}

/// Record an event
///
/// Actor, time, address and request id are the server's to set.
#[utoipa::path(
    post, path = "/v1/events", operation_id = "log_event", tag = "event", request_body = NewEvent,
    responses((status = 201, description = "The event is recorded", body = Recorded), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn log_event(
    State(database): State<Database>,
    caller: Caller,
    Json(event): Json<NewEvent>,
) -> Result<(StatusCode, Json<Recorded>), Problem> {
    let call = Call {
        sql: "select batchcortex_api.log_event($1, $2, $3, $4, $5, $6, $7, $8)",
        parameters: &[
            (&event.action, Type::TEXT),
            (&event.record_type, Type::TEXT),
            (&event.record_id, Type::TEXT),
            (&event.before, Type::JSON),
            (&event.after, Type::JSON),
            (&event.reason, Type::TEXT),
            (&event.batch_id, Type::UUID),
            (&event.client_time, Type::TIMESTAMPTZ),
        ],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok((
        StatusCode::CREATED,
        Json(Recorded {
            event_id: only(rows)?.try_get(0)?,
        }),
    ))
}
