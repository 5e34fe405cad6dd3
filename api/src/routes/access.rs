//! Who may do what: permissions, the access register, its review.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{all_rows, from_row};
use crate::body::Json;
use crate::database::{Call, Database, only};
use crate::openapi::{ReadProblems, WriteProblems};
use crate::problem::Problem;
use crate::request::Caller;
use crate::wire::{OpenTimestamp, Timestamp};

pub(crate) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(permissions))
        .routes(routes!(access_register))
        .routes(routes!(record_access_review))
}

/// A permission.
#[derive(Serialize, ToSchema)]
struct Permission {
    permission: String,
    /// What it is for.
    about: String,
    /// Roles that hold it.
    roles: Vec<String>,
    /// The least team level that it takes: view_only, can_edit (records of one's own) or full_access.
    least_level: String,
    /// Whether it is a meaning that a person answers for under GMP.
    gmp: bool,
    /// Whether the caller holds it, for what is their own.
    held: bool,
}

from_row!(Permission {
    permission,
    about,
    roles,
    least_level,
    gmp,
    held
});

/// Permissions by name.
#[derive(Serialize, ToSchema)]
struct Permissions {
    permissions: Vec<Permission>,
}

/// List the permissions
#[utoipa::path(
    get, path = "/v1/permissions", operation_id = "permissions", tag = "access",
    responses((status = 200, description = "Every permission, who holds it, and whether the caller does", body = Permissions), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn permissions(State(database): State<Database>, caller: Caller) -> Result<Json<Permissions>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.permissions()",
        parameters: &[],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(Permissions {
        permissions: all_rows(rows)?,
    }))
}

/// An access that was granted.
#[derive(Serialize, ToSchema)]
struct Access {
    /// member, invitation, device, api_key or auditor.
    kind: String,
    /// Whose it is.
    subject: String,
    subject_id: String,
    /// What it reaches.
    access: String,
    granted_at: Timestamp,
    /// Absent when it was granted before that was kept.
    granted_by: Option<String>,
    valid_until: Option<Timestamp>,
    /// When it ended early; `infinity` for a deactivated account that is still a member.
    ended_at: Option<OpenTimestamp>,
}

from_row!(Access {
    kind,
    subject,
    subject_id,
    access,
    granted_at,
    granted_by,
    valid_until,
    ended_at
});

/// The access register.
#[derive(Serialize, ToSchema)]
struct Register {
    register: Vec<Access>,
}

/// Read the access register
///
/// Members with role and team level, open invitations, devices, API keys, auditors: by whom granted, when, until when.
#[utoipa::path(
    get, path = "/v1/access/register", operation_id = "access_register", tag = "access",
    responses((status = 200, description = "Who was granted access", body = Register), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn access_register(
    State(database): State<Database>,
    caller: Caller,
) -> Result<Json<Register>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.access_register()",
        parameters: &[],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(Register {
        register: all_rows(rows)?,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Review {
    /// confirmed or changes_required.
    decision: String,
    /// Why.
    rationale: String,
}

/// A review that was recorded.
#[derive(Serialize, ToSchema)]
struct Reviewed {
    event_id: Uuid,
}

/// Record a review of the access register
///
/// The register as it stands is part of the record.
#[utoipa::path(
    post, path = "/v1/access/reviews", operation_id = "record_access_review", tag = "access", request_body = Review,
    responses((status = 201, description = "The review is recorded", body = Reviewed), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn record_access_review(
    State(database): State<Database>,
    caller: Caller,
    Json(review): Json<Review>,
) -> Result<(StatusCode, Json<Reviewed>), Problem> {
    let call = Call {
        sql: "select batchcortex_api.record_access_review($1, $2)",
        parameters: &[(&review.decision, Type::TEXT), (&review.rationale, Type::TEXT)],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok((
        StatusCode::CREATED,
        Json(Reviewed {
            event_id: only(rows)?.try_get(0)?,
        }),
    ))
}
