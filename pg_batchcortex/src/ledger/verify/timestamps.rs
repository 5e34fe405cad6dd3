//! Time stamps against the checkpoints that they are over. That their authority has signed them takes its certificates: `openssl ts`.

use super::Finding;
use crate::ledger::incarnation::EPOCH;
use crate::ledger::scan::Scan;
use crate::row::with_varlena;
use batchcortex_ledger::global::GLOBAL;
use batchcortex_ledger::timestamp::read_over;
use pgrx::datum::Uuid;

const RELATION: &str = "batchcortex.ledger_timestamp";

/// Checks each; returns how many there are.
pub fn check(findings: &mut Vec<Finding>) -> u64 {
    let query = "select t.tree_size, t.response, t.generated_at, c.note
                   from batchcortex.ledger_timestamp t
                   left join batchcortex.ledger_checkpoint c on c.org_id = $1 and c.tree_size = t.tree_size
                  order by t.tree_size, t.generated_at";
    let mut count = 0;
    let mut scan = Scan::open(query, &[GLOBAL], 1000);
    while scan.next(|row| {
        count += 1;
        // SAFETY: a bytea and a text column.
        let bytes = |i: usize| {
            row.get(i)
                // SAFETY: a text or bytea column.
                .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) })
        };
        let size = row.get(0).map_or(0, |datum| datum.value() as i64);
        let time = row.get(2).map_or(0, |datum| datum.value() as i64);
        let problem = match bytes(3).and_then(|note| String::from_utf8(note).ok()) {
            None => Some("there is no signed checkpoint of this size".to_owned()),
            Some(note) => match read_over(&note, &bytes(1).unwrap_or_default()) {
                Err(fault) => Some(fault.to_string()),
                Ok(token) if token.time - EPOCH != time => {
                    Some("the token's time is not the one that stands beside it".to_owned())
                }
                Ok(_) => None,
            },
        };
        findings.extend(problem.map(|detail| Finding {
            log: Uuid::from_bytes(GLOBAL).to_string(),
            code: "wrong_timestamp",
            relation: RELATION.to_owned(),
            record: size.to_string(),
            detail,
        }));
    }) {}
    scan.close();
    count
}
