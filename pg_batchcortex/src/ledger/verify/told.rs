//! The index by which verification finds the events that tell what must be protected and who signed in, compared with the events
//! themselves: an entry that somebody took out of its file would hide an event from every other check.

use super::Finding;
use crate::assign;
use crate::ledger::scan::Scan;
use crate::row::uuid_bytes;
use std::collections::HashSet;
use std::ffi::CStr;

/// As in sql/migrations/0015_told.sql.
const EVENTS: &str = "
    select e.event_id from batchcortex.events_log e
     where e.action in ('schema.structure', 'table.protected', 'table.tracked', 'table.untracked', 'table.altered', 'table.soft_deletable',
                        'witness.added', 'witness.retired', 'session.opened', 'session.rotated', 'session.elevated')";

const BY_INDEX: [(&CStr, &CStr); 2] = [(c"enable_seqscan", c"off"), (c"enable_bitmapscan", c"off")];
const BY_TABLE: [(&CStr, &CStr); 4] = [
    (c"enable_seqscan", c"on"),
    (c"enable_indexscan", c"off"),
    (c"enable_indexonlyscan", c"off"),
    (c"enable_bitmapscan", c"off"),
];

/// Where they differ: reads every event, so it belongs to a verification of everything. Inside an SPI connection.
pub fn check() -> Vec<Finding> {
    let (found, held) = (events(&BY_INDEX), events(&BY_TABLE));
    if found == held {
        return Vec::new();
    }
    vec![Finding {
        log: "installation".to_owned(),
        code: "weakened_protection",
        relation: "batchcortex.events_log".to_owned(),
        record: "events_log_told".to_owned(),
        detail: format!(
            "the index leaves out {} events, and finds {} that are not such: make it anew with REINDEX INDEX and verify again",
            held.difference(&found).count(),
            found.difference(&held).count()
        ),
    }]
}

fn events(settings: &[(&CStr, &CStr)]) -> HashSet<[u8; 16]> {
    let mut events = HashSet::new();
    assign::during(settings, || {
        let mut scan = Scan::open(EVENTS, &[], 10_000);
        while scan.next(|row| {
            // SAFETY: the column is of type uuid.
            events.extend(row.get(0).map(|id| unsafe { uuid_bytes(id) }));
        }) {}
        scan.close();
    });
    events
}
