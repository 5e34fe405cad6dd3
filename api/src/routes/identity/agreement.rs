//! Terms, privacy notice and accountability statement of the organisation. They are accepted at joining and at signing in.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::{all_rows, from_row};
use crate::body::Json;
use crate::database::{Call, Database};
use crate::openapi::{ReadProblems, WriteProblems};
use crate::problem::Problem;
use crate::request::Caller;
use crate::wire::Timestamp;

pub(super) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new().routes(routes!(agreements, publish_agreement))
}

/// An agreement that someone is asked to accept.
#[derive(Serialize, ToSchema)]
pub struct Agreement {
    /// terms, privacy or accountability.
    kind: String,
    version: String,
    /// Its text.
    content: String,
}

from_row!(Agreement {
    kind,
    version,
    content
});

/// The present version of an agreement.
#[derive(Serialize, ToSchema)]
struct Present {
    /// terms, privacy or accountability.
    kind: String,
    version: String,
    /// Its text.
    content: String,
    published_at: Timestamp,
    /// When the caller accepted it.
    accepted_at: Option<Timestamp>,
}

from_row!(Present {
    kind,
    version,
    content,
    published_at,
    accepted_at
});

/// The present version of each agreement.
#[derive(Serialize, ToSchema)]
struct PresentAgreements {
    agreements: Vec<Present>,
}

/// List the agreements
#[utoipa::path(
    get, path = "/v1/agreements", operation_id = "agreements", tag = "identity",
    responses((status = 200, description = "The present version of each, and when the caller accepted it", body = PresentAgreements), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn agreements(
    State(database): State<Database>,
    caller: Caller,
) -> Result<Json<PresentAgreements>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.agreements()",
        parameters: &[],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(PresentAgreements {
        agreements: all_rows(rows)?,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Publication {
    /// terms, privacy or accountability.
    kind: String,
    version: String,
    /// Its text; the whole body takes 256 KiB.
    content: String,
    /// Whether the open sessions of the others end.
    #[serde(default)]
    end_sessions: bool,
}

/// Publish a version of an agreement
///
/// From now on nobody signs in without accepting it.
#[utoipa::path(
    post, path = "/v1/agreements", operation_id = "publish_agreement", tag = "identity", request_body = Publication,
    responses((status = 201, description = "The version is in force"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn publish_agreement(
    State(database): State<Database>,
    caller: Caller,
    Json(publication): Json<Publication>,
) -> Result<StatusCode, Problem> {
    let call = Call {
        sql: "select from batchcortex_api.publish_agreement($1, $2, $3, $4)",
        parameters: &[
            (&publication.kind, Type::TEXT),
            (&publication.version, Type::TEXT),
            (&publication.content, Type::TEXT),
            (&publication.end_sessions, Type::BOOL),
        ],
    };
    database.request(&caller, [call]).await?;
    Ok(StatusCode::CREATED)
}
