//! What stands between a row and its change, compared with what this library knows it should be: triggers, policies, privileges,
//! functions, roles, and the library itself.

mod functions; // their text is that of this library
mod grants; // who may do what: policies, privileges, roles
mod libraries; // code of the server, and what stands among PostgreSQL's own
pub mod structure; // the project's tables as the migrations make them
mod triggers; // triggers, rules and row security of guarded tables

use super::Finding;
use crate::ledger::worker;
use crate::protection::break_glass;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// Findings about the installation as a whole.
pub fn check() -> Vec<Finding> {
    let mut findings = triggers::check();
    findings.extend(grants::check());
    findings.extend(functions::check());
    findings.extend(libraries::check());
    findings.extend(structure::check());
    if !worker::available() {
        findings.push(weakened(
            "server",
            "shared_preload_libraries",
            "pg_batchcortex is not preloaded: superusers are not held, and nothing is sealed",
        ));
    }
    if let Some(reason) = break_glass::reason() {
        findings.push(weakened(
            "server",
            "batchcortex.break_glass",
            &format!("append-only is not enforced: {reason}"),
        ));
    }
    findings
}

fn weakened(relation: &str, record: &str, detail: &str) -> Finding {
    Finding {
        log: "installation".to_owned(),
        code: "weakened_protection",
        relation: relation.to_owned(),
        record: record.to_owned(),
        detail: detail.to_owned(),
    }
}

/// One finding for each row of a query that gives relation, record and detail.
fn ask(query: &str) -> Vec<Finding> {
    Spi::connect(|client| {
        client
            .select(query, None, &[])
            .unwrap_or_report()
            .map(|row| {
                let text = |i| row.get::<String>(i).unwrap_or_report().unwrap_or_default();
                weakened(&text(1), &text(2), &text(3))
            })
            .collect()
    })
}
