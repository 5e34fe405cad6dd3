//! Events that tell what must be protected and who signed in. What one says is data: whatever stands in it, reading it raises nothing, or
//! one event written by hand would end every verification.

use super::Finding;
use crate::assign;
use crate::ledger::scan::Scan;
use crate::row::uuid_bytes;
use chrono::DateTime;
use pgrx::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;

/// As in sql/migrations/0015_told.sql.
const ACTIONS: &str = "'schema.structure', 'table.protected', 'table.tracked', 'table.untracked', 'table.altered', 'table.soft_deletable',
    'witness.added', 'witness.retired', 'session.opened', 'session.rotated', 'session.elevated', 'ledger.incarnation_requested'";

const BY_INDEX: [(&CStr, &CStr); 2] = [(c"enable_seqscan", c"off"), (c"enable_bitmapscan", c"off")];
/// Rows in the order in which they lie.
pub const BY_TABLE: [(&CStr, &CStr); 4] = [
    (c"enable_seqscan", c"on"),
    (c"enable_indexscan", c"off"),
    (c"enable_indexonlyscan", c"off"),
    (c"enable_bitmapscan", c"off"),
];

type Events = BTreeSet<[u8; 16]>;

/// The index by which verification finds these events, compared with the events themselves: an entry that somebody took out of its file or
/// altered would hide an event from every other check. Each is looked up as the other checks do. Reads every event, so it belongs to a
/// verification of everything. Inside an SPI connection.
pub fn check() -> Vec<Finding> {
    let mut held: BTreeMap<([u8; 16], String), Events> = BTreeMap::new();
    let all = format!(
        "select e.event_id, e.org_id, e.action from batchcortex.events_log e where e.action in ({ACTIONS})"
    );
    each(&BY_TABLE, &all, &[], |id, row| {
        let action = String::from_utf8_lossy(&row.bytes(2)).into_owned();
        // SAFETY: a uuid column.
        let org = row
            .get(1)
            .map(|org| unsafe { uuid_bytes(org) })
            .unwrap_or_default();
        held.entry((org, action)).or_default().insert(id);
    });
    let (mut left_out, mut others) = (0, 0);
    for ((org, action), held) in &held {
        let mut found = Events::new();
        let action = pgrx::spi::quote_literal(action);
        let lookup = format!(
            "select e.event_id from batchcortex.events_log e where e.org_id = $1 and e.action = {action}"
        );
        each(&BY_INDEX, &lookup, &[*org], |id, _| {
            found.insert(id);
        });
        left_out += held.difference(&found).count();
        others += found.difference(held).count();
    }
    if left_out + others == 0 {
        return Vec::new();
    }
    vec![Finding {
        log: "installation".to_owned(),
        code: "weakened_protection",
        relation: "batchcortex.events_log".to_owned(),
        record: "events_log_told".to_owned(),
        detail: format!(
            "the index leaves out {left_out} events, and finds {others} that are not such: make it anew with REINDEX INDEX and verify again"
        ),
    }]
}

fn each(
    settings: &[(&CStr, &CStr)],
    query: &str,
    orgs: &[[u8; 16]],
    mut body: impl FnMut([u8; 16], &crate::row::Row<'_>),
) {
    assign::during(settings, || {
        let mut scan = Scan::open(query, orgs, 10_000);
        while scan.next(|row| {
            if let Some(id) = row.get(0) {
                // SAFETY: the first column is of type uuid.
                body(unsafe { uuid_bytes(id) }, row);
            }
        }) {}
        scan.close();
    });
}

/// What an event says under a name: a text as it is, any other value as compact JSON. Null when it says nothing, or is no JSON object.
#[pg_extern(immutable, strict, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
pub fn event_member(event: &str, member: &str) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(event).ok()?;
    match event.get(member)? {
        serde_json::Value::Null => None,
        // PostgreSQL has no such text.
        serde_json::Value::String(text) if text.contains('\0') => None,
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The time that an event says under a name (RFC 3339), microseconds since 2000-01-01 UTC; null as `event_member`, or when it is no time.
#[pg_extern(immutable, strict, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
pub fn event_time(event: &str, member: &str) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(&event_member(event, member)?).ok()?;
    time.timestamp_micros()
        .checked_sub(crate::ledger::incarnation::EPOCH)
}
