//! Verification of the ledger, evidence that verifies without it, and the logs themselves.

mod global;
mod organisation;
mod tiled;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{all_rows, from_row};
use crate::body::{Json, Query};
use crate::database::{Call, Database, only};
use crate::openapi::{ExportProblems, ReadProblems};
use crate::problem::Problem;
use crate::request::Caller;
use crate::wire::{RawJson, Timestamp};

/// Findings in one answer; a log with more is broken beyond the use of a list.
const FINDINGS_LIMIT: usize = 1000;

pub(crate) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(verify))
        .routes(routes!(evidence))
        .merge(global::routes())
        .merge(organisation::routes())
}

/// What verification found.
#[derive(Serialize, ToSchema)]
struct Verification {
    /// Whether nothing was found.
    intact: bool,
    /// What was found: none when intact, the first 1,000 at most.
    findings: Vec<Finding>,
    /// Whether there were more than 1,000.
    truncated: bool,
    /// Counts, tree size, root, checkpoint, seconds.
    report: RawJson,
}

/// A finding.
#[derive(Serialize, ToSchema)]
struct Finding {
    /// The log that it concerns.
    log: Option<String>,
    /// What kind of finding.
    code: String,
    /// The relation that it concerns.
    relation: Option<String>,
    /// The record that it concerns.
    record: Option<String>,
    detail: Option<String>,
}

from_row!(Finding {
    log,
    code,
    relation,
    record,
    detail
});

/// Verify the ledger
///
/// Recomputes every leaf, tree and checkpoint of the caller's organisation. A log too large to be verified within the
/// statement timeout of this service is verified in SQL, with `batchcortex.verify()`.
#[utoipa::path(
    get, path = "/v1/verify", operation_id = "verify", tag = "ledger",
    responses((status = 200, description = "Verification has run; `intact` tells the result", body = Verification), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn verify(State(database): State<Database>, caller: Caller) -> Result<Json<Verification>, Problem> {
    let findings = Call {
        sql: "select * from batchcortex_api.verify() limit 1001",
        parameters: &[],
    };
    let report = Call {
        sql: "select batchcortex_api.verify_report()",
        parameters: &[],
    };
    let [findings, report] = database.request(&caller, [findings, report]).await?;
    let mut findings: Vec<Finding> = all_rows(findings)?;
    let truncated = findings.len() > FINDINGS_LIMIT;
    findings.truncate(FINDINGS_LIMIT);
    Ok(Json(Verification {
        intact: findings.is_empty(),
        findings,
        truncated,
        report: only(report)?.try_get(0)?,
    }))
}

/// What the evidence is of: one of a record, a batch, a time, or everything.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Scope {
    /// Id of a record, for instance an event.
    record: Option<Uuid>,
    /// Id of a batch.
    batch: Option<Uuid>,
    /// Records from this time on.
    from_time: Option<Timestamp>,
    /// Records before this time.
    until_time: Option<Timestamp>,
    /// Size of a checkpoint of the global log that you kept: the evidence then proves that it continues that log.
    #[param(minimum = 1)]
    since: Option<i64>,
}

/// Export evidence
///
/// Records with everything that proves them, as JSON Lines, of any length: `bcverify` checks the file without this server. A file
/// without its last line was broken off and proves nothing. The export is an event of the audit trail.
#[utoipa::path(
    get, path = "/v1/evidence", operation_id = "evidence", tag = "ledger", params(Scope),
    responses(
        (status = 200, description = "Evidence, one JSON object a line (docs/format.md)", body = String, content_type = "application/jsonl"),
        ExportProblems
    ),
    security(("bearer" = []), ("cookie" = []))
)]
async fn evidence(
    State(database): State<Database>,
    caller: Caller,
    Query(scope): Query<Scope>,
) -> Result<Response, Problem> {
    let call = Call {
        sql: "select batchcortex_api.export_evidence($1, $2, $3, $4, $5)",
        parameters: &[
            (&scope.record, Type::UUID),
            (&scope.batch, Type::UUID),
            (&scope.from_time, Type::TIMESTAMPTZ),
            (&scope.until_time, Type::TIMESTAMPTZ),
            (&scope.since, Type::INT8),
        ],
    };
    let lines = database.lines(&caller, call).await?;
    Ok(([(header::CONTENT_TYPE, "application/jsonl")], lines).into_response())
}
