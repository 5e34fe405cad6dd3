//! Ends of incarnations that somebody asked for, against the events that tell of them: the sealer carries out what stands there.

use super::Finding;
use crate::identity::unscoped::unscoped;
use crate::ledger::scan::Scan;

const QUERY: &str = "
    select r.origin from batchcortex.ledger_incarnation_request r
     where not exists (select from batchcortex.events_log e
                        where e.org_id = '00000000-0000-0000-0000-000000000000' and e.action = 'ledger.incarnation_requested'
                          and e.record_type = 'ledger' and e.record_id = r.origin and e.reason = r.reason)
     order by 1";

/// Requests without an event. Inside an SPI connection.
pub fn check() -> Vec<Finding> {
    let mut findings = Vec::new();
    // An auditor does not read the installation's log, which tells of the log's origins and no organisation's data.
    unscoped(|| {
        let mut scan = Scan::open(QUERY, &[], 1000);
        while scan.next(|row| {
            findings.push(Finding {
                log: "installation".to_owned(),
                code: "weakened_protection",
                relation: "batchcortex.ledger_incarnation_request".to_owned(),
                record: String::from_utf8_lossy(&row.bytes(0)).into_owned(),
                detail: "no event tells that somebody asked for the end of this incarnation".to_owned(),
            });
        }) {}
        scan.close();
    });
    findings
}
