//! Verification of the ledger, and the logs themselves.

mod global;
mod organisation;
mod tiled;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{all_rows, from_row};
use crate::body::Json;
use crate::database::{Call, Database, only};
use crate::openapi::ReadProblems;
use crate::problem::Problem;
use crate::request::Caller;
use crate::wire::RawJson;

/// Findings in one answer; a log with more is broken beyond the use of a list.
const FINDINGS_LIMIT: usize = 1000;

pub(crate) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(verify))
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
