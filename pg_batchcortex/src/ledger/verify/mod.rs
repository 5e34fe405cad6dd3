//! Verification: every row recomputed and compared with its leaf, every leaf with its tile, every tile with the root, every
//! checkpoint with the leaves up to its size. One pass over rows and leaves, one snapshot, memory for what is out of step only.

mod capture; // triggers of tracked tables as they should be
mod checkpoints; // what checkpoints say, and who signed it
mod cosignatures; // what witnesses have signed
mod disposed; // leaves whose records were disposed of
mod global; // the global log's leaves against the checkpoints that they are
mod log; // one organisation's log
mod protection; // triggers and row security as they should be
mod rows; // rows of the source tables, as leaves
mod sessions; // sessions against their events
mod sources; // which tables these are

use crate::checkpoint_key;
use crate::ledger::incarnation::Lives;
use crate::ledger::worker;
use crate::settings::WITNESS_QUORUM;
use batchcortex_ledger::global::GLOBAL;
use global::Statements;
use log::Summary;
use pgrx::datum::{Json, Uuid};
use pgrx::prelude::*;
use std::time::Instant;

/// Something that is not as it was recorded.
pub struct Finding {
    /// Organisation whose log it concerns, text form; `installation` for the server as a whole.
    pub log: String,
    /// Kind of finding.
    pub code: &'static str,
    /// Table concerned.
    pub relation: String,
    /// Key of the record, leaf index or tree size concerned.
    pub record: String,
    /// What was expected and what was found.
    pub detail: String,
}

struct Verification {
    findings: Vec<Finding>,
    logs: Vec<Summary>,
    seconds: f64,
}

fn run(org: Option<Uuid>) -> Verification {
    let started = Instant::now();
    let mut findings = protection::check();
    findings.extend(sessions::check(org));
    findings.extend(capture::check());
    let mut logs = Vec::new();
    // SAFETY: one SPI connection for all cursors; closed below, or by the abort of the transaction.
    unsafe { pg_sys::SPI_connect() };
    let sources = sources::read(&mut findings);
    sources::compare_with_log(&mut findings);
    let lives = Lives::read();
    for org_id in log::all(org, &sources) {
        logs.push(log::check(org_id, &sources, &lives, None, &mut findings));
    }
    let statements = Statements::open(org, &lives);
    logs.push(log::check(
        Uuid::from_bytes(GLOBAL),
        &sources,
        &lives,
        Some(statements),
        &mut findings,
    ));
    cosignatures::check(&lives, &mut findings);
    // SAFETY: as above.
    unsafe { pg_sys::SPI_finish() };
    Verification {
        findings,
        logs,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// Checks the logs that the caller may see, or one of them, in one snapshot. One row a finding, none when all is intact.
/// code: wrong_leaf, missing_row, row_without_leaf, wrong_time, wrong_tile, wrong_root, inconsistent_checkpoint, bad_signature, wrong_cosignature,
/// weakened_protection, wrong_disposal, session_without_event, changed_session.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
pub fn verify(
    org: default!(Option<Uuid>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(log, String),
        name!(code, String),
        name!(relation, String),
        name!(record, String),
        name!(detail, String),
    ),
> {
    TableIterator::new(
        run(org)
            .findings
            .into_iter()
            .map(|f| (f.log, f.code.to_owned(), f.relation, f.record, f.detail)),
    )
}

/// The same check as one JSON document: per log the counts of rows, leaves and waiting leaves, tree size, root and checkpoints;
/// findings by code; seconds and rows a second.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn verify_report(org: default!(Option<Uuid>, "NULL")) -> Json {
    let done = run(org);
    let rows: u64 = done.logs.iter().map(|log| log.rows).sum();
    let mut by_code = serde_json::Map::new();
    for finding in &done.findings {
        let count = by_code.entry(finding.code).or_insert(0.into());
        *count = (count.as_u64().unwrap_or(0) + 1).into();
    }
    Json(serde_json::json!({
        "intact": done.findings.is_empty(),
        "findings": by_code,
        "rows": rows,
        "logs": done.logs,
        "signed": done.logs.last().is_some_and(|global| global.signed()),
        "keys": checkpoint_key::verifiers().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "witnesses": cosignatures::witnesses(),
        "witness_quorum": WITNESS_QUORUM.get(),
        "sealer": worker::sealer().is_some(),
        "seconds": done.seconds,
        "rows_per_second": if done.seconds > 0.0 { rows as f64 / done.seconds } else { 0.0 },
    }))
}
