//! Leaves that are not sealed: what the sealer has not seen may still be taken away without a trace.

use super::Finding;
use crate::identity::unscoped::unscoped;
use crate::ledger::entry::Entry;
use crate::ledger::scan::Scan;
use crate::ledger::worker;
use crate::settings::SEAL_OVERDUE;
use pgrx::datum::Uuid;
use pgrx::prelude::*;
use std::collections::BTreeMap;

/// Processes that are missing, and logs whose oldest waiting leaf has waited too long. `of`: the logs that are told of; none for all. Inside
/// an SPI connection.
pub fn check(of: Option<&[Uuid]>) -> Vec<Finding> {
    let mut findings = missing_workers();
    let now = now();
    let mut waiting: BTreeMap<[u8; 16], (i64, u64)> = BTreeMap::new();
    unscoped(|| {
        let mut scan = Scan::open("select q.entry from batchcortex.ledger_queue q", &[], 1000);
        while scan.next(|row| {
            if let Some(entry) = Entry::unpack(&row.bytes(0)) {
                let log = waiting.entry(entry.org_id).or_insert((entry.recorded_at, 0));
                *log = (log.0.min(entry.recorded_at), log.1 + 1);
            }
        }) {}
        scan.close();
    });
    for (log, (oldest, count)) in waiting {
        let seconds = (now - oldest) / 1_000_000;
        let log = Uuid::from_bytes(log);
        if seconds > i64::from(SEAL_OVERDUE.get()) && of.is_none_or(|of| of.contains(&log)) {
            findings.push(Finding {
                log: log.to_string(),
                code: "sealing_overdue",
                relation: "batchcortex.ledger_queue".to_owned(),
                record: count.to_string(),
                detail: format!(
                    "the oldest of the leaves that wait for sealing has waited for {seconds} seconds"
                ),
            });
        }
    }
    findings
}

/// When what this transaction sees was so, microseconds since 2000-01-01 UTC: later sealings are not seen, and its own records cannot be sealed.
fn now() -> i64 {
    // SAFETY: reads what the transaction knows of itself.
    unsafe {
        let own = pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId;
        if own || pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 {
            pg_sys::GetCurrentTransactionStartTimestamp()
        } else {
            pg_sys::GetCurrentStatementStartTimestamp()
        }
    }
}

fn missing_workers() -> Vec<Finding> {
    // Nothing is sealed on a standby; that the library is missing is said elsewhere.
    // SAFETY: reads shared memory and a plain global.
    if !worker::available() || unsafe { pg_sys::RecoveryInProgress() || pg_sys::IsBinaryUpgrade } {
        return Vec::new();
    }
    let (launcher, sealer) = worker::workers();
    [("batchcortex launcher", launcher), ("batchcortex sealer", sealer)]
        .into_iter()
        .filter(|(_, runs)| !runs)
        .map(|(name, _)| Finding {
            log: "installation".to_owned(),
            code: "weakened_protection",
            relation: "server".to_owned(),
            record: name.to_owned(),
            detail: "the process does not run: nothing is sealed".to_owned(),
        })
        .collect()
}
