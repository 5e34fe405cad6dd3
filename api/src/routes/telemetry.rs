//! Equipment, tags, devices, and the samples that devices send.

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::from_fn_with_state;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;
use uuid::Uuid;

use super::{all_rows, from_row};
use crate::body::{self, BODY_LIMIT, Id, Json, Query};
use crate::database::{Call, Database, only};
use crate::layers::{Admission, admit};
use crate::openapi::{DeviceProblems, ReadProblems, WriteProblems};
use crate::problem::{self, Problem};
use crate::request::{Caller, Origin};
use crate::wire::{RawJson, Timestamp};

/// Largest body of an ingest request in bytes.
pub const INGEST_BODY_LIMIT: usize = 8 * 1024 * 1024;

pub(crate) fn routes(ingests: Admission) -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(equipment, create_equipment))
        .routes(routes!(tags, create_tag))
        .routes(routes!(enrol_device))
        .routes(routes!(samples))
        .routes(routes!(ingest).layer(from_fn_with_state(ingests, admit)))
        .routes(routes!(ingest_position))
}

/// A piece of equipment.
#[derive(Serialize, ToSchema)]
struct Equipment {
    equipment_id: Uuid,
    name: String,
    created_at: Timestamp,
}

from_row!(Equipment {
    equipment_id,
    name,
    created_at
});

/// Equipment by name.
#[derive(Serialize, ToSchema)]
struct EquipmentList {
    equipment: Vec<Equipment>,
}

/// List equipment
#[utoipa::path(
    get, path = "/v1/equipment", operation_id = "equipment", tag = "telemetry",
    responses((status = 200, description = "Equipment by name", body = EquipmentList), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn equipment(State(database): State<Database>, caller: Caller) -> Result<Json<EquipmentList>, Problem> {
    let [rows] = database
        .request(
            &caller,
            [Call {
                sql: "select * from batchcortex_api.equipment()",
                parameters: &[],
            }],
        )
        .await?;
    Ok(Json(EquipmentList {
        equipment: all_rows(rows)?,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewEquipment {
    /// Its name, unique in the organisation.
    name: String,
}

/// Equipment that was registered.
#[derive(Serialize, ToSchema)]
struct EquipmentCreated {
    equipment_id: Uuid,
}

/// Register equipment
///
/// For administrators.
#[utoipa::path(
    post, path = "/v1/equipment", operation_id = "create_equipment", tag = "telemetry", request_body = NewEquipment,
    responses((status = 201, description = "The equipment is registered", body = EquipmentCreated), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn create_equipment(
    State(database): State<Database>,
    caller: Caller,
    Json(new): Json<NewEquipment>,
) -> Result<(StatusCode, Json<EquipmentCreated>), Problem> {
    let call = Call {
        sql: "select batchcortex_api.create_equipment($1)",
        parameters: &[(&new.name, Type::TEXT)],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok((
        StatusCode::CREATED,
        Json(EquipmentCreated {
            equipment_id: only(rows)?.try_get(0)?,
        }),
    ))
}

/// A tag: one measured variable of a piece of equipment.
#[derive(Serialize, ToSchema)]
struct Tag {
    tag_id: Uuid,
    equipment_id: Uuid,
    /// Name of the equipment.
    equipment: String,
    name: String,
    /// OPC UA node id with its namespace URI.
    #[schema(example = "nsu=urn:batchcortex:plant;s=pH")]
    node_id: String,
    /// Name of the OPC UA built-in type.
    #[schema(example = "Double")]
    data_type: String,
    /// Unit as the equipment states it.
    unit: Option<String>,
}

from_row!(Tag {
    tag_id,
    equipment_id,
    equipment,
    name,
    node_id,
    data_type,
    unit
});

/// Tags by equipment and name.
#[derive(Serialize, ToSchema)]
struct Tags {
    tags: Vec<Tag>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TagFilter {
    /// Only tags of this equipment.
    equipment_id: Option<Uuid>,
}

/// List tags
#[utoipa::path(
    get, path = "/v1/tags", operation_id = "tags", tag = "telemetry", params(TagFilter),
    responses((status = 200, description = "Tags by equipment and name", body = Tags), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn tags(
    State(database): State<Database>,
    caller: Caller,
    Query(filter): Query<TagFilter>,
) -> Result<Json<Tags>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.tags($1)",
        parameters: &[(&filter.equipment_id, Type::UUID)],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(Tags {
        tags: all_rows(rows)?,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTag {
    equipment_id: Uuid,
    /// Its name, unique on the equipment.
    name: String,
    /// OPC UA node id with its namespace URI, never a namespace index.
    #[schema(example = "nsu=urn:batchcortex:plant;s=pH")]
    node_id: String,
    /// Name of the OPC UA built-in type.
    #[schema(example = "Double")]
    data_type: String,
    /// Unit as the equipment states it.
    unit: Option<String>,
}

/// A tag that was registered.
#[derive(Serialize, ToSchema)]
struct TagCreated {
    tag_id: Uuid,
}

/// Register a tag
///
/// For administrators.
#[utoipa::path(
    post, path = "/v1/tags", operation_id = "create_tag", tag = "telemetry", request_body = NewTag,
    responses((status = 201, description = "The tag is registered", body = TagCreated), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn create_tag(
    State(database): State<Database>,
    caller: Caller,
    Json(new): Json<NewTag>,
) -> Result<(StatusCode, Json<TagCreated>), Problem> {
    let call = Call {
        sql: "select batchcortex_api.create_tag($1, $2, $3, $4, $5)",
        parameters: &[
            (&new.equipment_id, Type::UUID),
            (&new.name, Type::TEXT),
            (&new.node_id, Type::TEXT),
            (&new.data_type, Type::TEXT),
            (&new.unit, Type::TEXT),
        ],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok((
        StatusCode::CREATED,
        Json(TagCreated {
            tag_id: only(rows)?.try_get(0)?,
        }),
    ))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDevice {
    /// Its name, unique in the organisation.
    name: String,
    /// The equipment that it reads.
    equipment_id: Uuid,
}

/// A device and the key that it signs with.
#[derive(Serialize, ToSchema)]
struct Device {
    device_id: Uuid,
    /// Names the key in signatures; no secret.
    #[schema(example = "bcd_…")]
    key_id: String,
    /// The key, 32 bytes in hex, shown this once.
    secret: String,
}

from_row!(Device {
    device_id,
    key_id,
    secret
});

/// Enrol a device
///
/// For administrators.
#[utoipa::path(
    post, path = "/v1/devices", operation_id = "enrol_device", tag = "telemetry", request_body = NewDevice,
    responses((status = 201, description = "The device and its key", body = Device), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn enrol_device(
    State(database): State<Database>,
    caller: Caller,
    Json(new): Json<NewDevice>,
) -> Result<(StatusCode, Json<Device>), Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.enrol_device($1, $2)",
        parameters: &[(&new.name, Type::TEXT), (&new.equipment_id, Type::UUID)],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok((StatusCode::CREATED, Json(only(rows)?.try_into()?)))
}

/// A sample.
#[derive(Serialize, ToSchema)]
struct Sample {
    /// Time of the source, cut to microseconds.
    source_time: Timestamp,
    /// Time of the source as captured: 100 ns since 1601-01-01 UTC (OPC UA DateTime), beyond the integers that a double holds.
    source_ticks: i64,
    /// Number, integer or boolean (0 and 1); null without a value and for other types.
    value: Option<f64>,
    /// The exact value of every type, as text.
    value_text: Option<String>,
    /// Raw OPC UA StatusCode, 32 bits.
    status: i64,
    /// Unit of the tag.
    unit: Option<String>,
    /// Number of the sample among those of the device and tag.
    sample: i64,
    /// The segment that holds it.
    segment_id: Uuid,
    /// The server's time.
    recorded_at: Timestamp,
}

from_row!(Sample {
    source_time,
    source_ticks,
    value,
    value_text,
    status,
    unit,
    sample,
    segment_id,
    recorded_at
});

/// Samples of one tag in the order of their source time.
#[derive(Serialize, ToSchema)]
struct Samples {
    samples: Vec<Sample>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SamplePage {
    /// Name of the tag.
    tag: String,
    /// Only what is later than this source time; source_time of the last row leads to the next page.
    after: Option<Timestamp>,
    /// With `after`: sample of the last row, so that none of the same time is skipped.
    after_sample: Option<i64>,
    /// Rows at most, 1 to 100,000.
    #[serde(default = "ten_thousand")]
    #[param(default = 10000, minimum = 1, maximum = 100_000)]
    max_rows: i32,
}

fn ten_thousand() -> i32 {
    10_000
}

/// List the samples of a batch
#[utoipa::path(
    get, path = "/v1/batches/{batch_id}/samples", operation_id = "samples", tag = "telemetry",
    params(("batch_id" = Uuid, Path, description = "Id of the batch"), SamplePage),
    responses((status = 200, description = "Samples in the order of their source time", body = Samples), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn samples(
    State(database): State<Database>,
    caller: Caller,
    Id(batch_id): Id,
    Query(page): Query<SamplePage>,
) -> Result<Json<Samples>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.samples($1, $2, $3, $4, $5)",
        parameters: &[
            (&batch_id, Type::UUID),
            (&page.tag, Type::TEXT),
            (&page.after, Type::TIMESTAMPTZ),
            (&page.max_rows, Type::INT4),
            (&page.after_sample, Type::INT8),
        ],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(Samples {
        samples: all_rows(rows)?,
    }))
}

/// What a device signed (RFC 9421), as received; the database checks it, and records what does not hold.
struct Signed {
    method: String,
    authority: Option<String>,
    path: String,
    content_digest: Option<String>,
    signature_input: Option<String>,
    signature: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let headers = &parts.headers;
        Ok(Self {
            method: parts.method.as_str().to_owned(),
            authority: field(headers, header::HOST),
            path: parts.uri.path().to_owned(),
            content_digest: field(headers, HeaderName::from_static("content-digest")),
            signature_input: field(headers, HeaderName::from_static("signature-input")),
            signature: field(headers, HeaderName::from_static("signature")),
        })
    }
}

/// A header field, its lines joined (RFC 9421 §2.1); none when a line is not text.
fn field(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let lines: Vec<&str> = headers
        .get_all(name)
        .iter()
        .map(|line| line.to_str().map(str::trim))
        .collect::<Result<_, _>>()
        .ok()?;
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// A message of a device, for the document: the database reads the body itself.
#[derive(ToSchema)]
#[allow(dead_code)]
struct Message {
    device_id: Uuid,
    /// Number of the message, from 1, without gaps.
    #[schema(minimum = 1)]
    sequence: i64,
    /// Number of a running batch; absent for samples of none.
    batch: Option<String>,
    segments: Vec<Segment>,
}

/// Consecutive samples of one tag.
#[derive(ToSchema)]
#[allow(dead_code)]
struct Segment {
    /// Name of the tag.
    tag: String,
    /// Name of the OPC UA built-in type.
    #[schema(example = "Double")]
    data_type: String,
    /// Number of the first sample among those of the device and tag, from 1, without gaps.
    #[schema(minimum = 1)]
    first_sample: i64,
    /// Times of the source: 100 ns since 1601-01-01 UTC (OPC UA DateTime).
    source_ticks: Vec<i64>,
    /// Values: numbers, booleans, or text; null for none.
    values: Vec<serde_json::Value>,
    /// Raw OPC UA StatusCodes, 32 bits.
    status: Vec<u32>,
}

/// A message that was stored.
#[derive(Serialize, ToSchema)]
struct Stored {
    device_id: Uuid,
    sequence: i64,
    /// Samples in it.
    samples: i32,
    /// Whether it had been stored before; then nothing changed.
    duplicate: bool,
    /// The server's time at which it was stored.
    recorded_at: Timestamp,
}

from_row!(Stored {
    device_id,
    sequence,
    samples,
    duplicate,
    recorded_at
});

/// Send samples
///
/// Stores one message of a device exactly once: the same body again is answered 200 with `duplicate`. A sequence number that
/// is not the device's next one is refused with 409 and `next_sequence`. Up to 8 MiB.
#[utoipa::path(
    post, path = "/v1/ingest", operation_id = "ingest", tag = "telemetry",
    request_body(content = Message, content_type = "application/json"),
    params(
        ("Content-Digest" = String, Header, description = "RFC 9530, `sha-256=:…:`"),
        ("Signature-Input" = String, Header, description = r#"RFC 9421, `device=("@method" "@authority" "@path" "content-digest");created=…;nonce="…";keyid="…";alg="hmac-sha256"`"#),
        ("Signature" = String, Header, description = "RFC 9421, `device=:…:`"),
    ),
    responses((status = 200, description = "The message is stored", body = Stored), DeviceProblems),
    security(("device" = []))
)]
async fn ingest(
    State(database): State<Database>,
    origin: Origin,
    signed: Signed,
    request: Request,
) -> Result<Json<Stored>, Problem> {
    let body: Bytes = body::bytes(request, INGEST_BODY_LIMIT).await?;
    let body = body.as_ref();
    let rows = database
        .call(Call {
            sql: "select * from batchcortex_api.ingest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            parameters: &[
                (&signed.method, Type::TEXT),
                (&signed.authority, Type::TEXT),
                (&signed.path, Type::TEXT),
                (&signed.content_digest, Type::TEXT),
                (&signed.signature_input, Type::TEXT),
                (&signed.signature, Type::TEXT),
                (&body, Type::BYTEA),
                (&origin.client_ip, Type::INET),
                (&origin.user_agent, Type::TEXT),
                (&origin.request_id, Type::TEXT),
            ],
        })
        .await?;
    let row = only(rows)?;
    match row.try_get("outcome")? {
        "stored" => Ok(Json(row.try_into()?)),
        _ => Err(refusal(&row)?),
    }
}

/// The problem of a refused message: its SQLSTATE counts as if it had been raised.
fn refusal(row: &Row) -> Result<Problem, Problem> {
    let state: Option<&str> = row.try_get("sqlstate")?;
    let detail: Option<&str> = row.try_get("detail")?;
    let next: Option<i64> = row.try_get("next_sequence")?;
    Ok(Problem::of_state(
        state.unwrap_or_default(),
        detail.unwrap_or_default(),
        detail,
        None,
    )
    .next_sequence(next))
}

/// Where the server stands with a device.
#[derive(Serialize, ToSchema)]
struct Position {
    device_id: Uuid,
    /// Number that its next message must have.
    next_sequence: i64,
    /// For each tag, the number that its next sample must have.
    #[schema(value_type = Vec<TagPosition>)]
    tags: RawJson,
}

from_row!(Position {
    device_id,
    next_sequence,
    tags
});

/// Where the server stands with a tag.
#[derive(ToSchema)]
#[allow(dead_code)]
struct TagPosition {
    tag: String,
    next_sample: i64,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PositionFilter {
    /// The device that signs; may be left out, because the key names it.
    device_id: Option<Uuid>,
}

/// Ask for the position of a device
///
/// Signed as for `ingest`, with an empty body.
#[utoipa::path(
    get, path = "/v1/ingest/position", operation_id = "ingest_position", tag = "telemetry",
    params(
        PositionFilter,
        ("Content-Digest" = String, Header, description = "RFC 9530, of the empty body"),
        ("Signature-Input" = String, Header, description = "RFC 9421, as for `ingest`"),
        ("Signature" = String, Header, description = "RFC 9421, `device=:…:`"),
    ),
    responses((status = 200, description = "The position", body = Position), DeviceProblems),
    security(("device" = []))
)]
async fn ingest_position(
    State(database): State<Database>,
    signed: Signed,
    Query(filter): Query<PositionFilter>,
    request: Request,
) -> Result<Json<Position>, Problem> {
    let body: Bytes = body::bytes(request, BODY_LIMIT).await?;
    let body = body.as_ref();
    let rows = database
        .call(Call {
            sql: "select * from batchcortex_api.ingest_position($1, $2, $3, $4, $5, $6, $7)",
            parameters: &[
                (&signed.method, Type::TEXT),
                (&signed.authority, Type::TEXT),
                (&signed.path, Type::TEXT),
                (&signed.content_digest, Type::TEXT),
                (&signed.signature_input, Type::TEXT),
                (&signed.signature, Type::TEXT),
                (&body, Type::BYTEA),
            ],
        })
        .await?;
    let row = only(rows)?;
    if row.try_get::<_, Option<&str>>("sqlstate")?.is_some() {
        return Err(refusal(&row)?);
    }
    let position = Position::try_from(row)?;
    // The query string is not signed: a device may ask about itself only.
    if filter.device_id.is_some_and(|asked| asked != position.device_id) {
        return Err(Problem::new(
            problem::FORBIDDEN,
            "The key of the signature belongs to another device than device_id.",
        ));
    }
    Ok(Json(position))
}
