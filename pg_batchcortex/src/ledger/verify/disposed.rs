//! Leaves whose records were disposed of. A row of partition_disposal covers them when its table, range, count and hash are those of the
//! log, and when their time had come by the library's own reckoning: nothing else makes a leaf without a row pass.

use super::Finding;
use super::sources::Source;
use crate::ledger::key::Key;
use crate::ledger::scan::Scan;
use crate::retention::class;
use crate::retention::leaves::{self, Start, Total};
use crate::row::{Row, with_varlena};
use pgrx::datum::Uuid;
use std::collections::BTreeMap;

/// What the disposals of one log cover.
#[derive(Default)]
pub struct Disposed {
    /// Ends of the spans that hold, by table and beginning.
    spans: BTreeMap<Start, u64>,
}

struct Told {
    id: String,
    relation: String,
    start: Start,
    end: u64,
    leaves: u64,
    sha256: Vec<u8>,
    early: bool,
}

impl Disposed {
    /// Reads the disposals of a log and compares them with its leaves; what does not agree is found, and covers nothing.
    pub fn read(org_id: Uuid, sources: &[Source], findings: &mut Vec<Finding>) -> Self {
        let told = told(org_id);
        if told.is_empty() {
            return Disposed::default();
        }
        let mut totals: BTreeMap<Start, Total> = told
            .iter()
            .map(|told| (told.start, Total::until(told.end)))
            .collect();
        leaves::total(org_id, &mut totals);
        let mut spans: BTreeMap<Start, u64> = BTreeMap::new();
        for told in told {
            let total = totals.get(&told.start).cloned().unwrap_or_default();
            let own = sources.iter().any(|source| {
                source.id == told.start.0 && source.relation == format!("batchcortex.{}", told.relation)
            });
            let wrong = if !own {
                Some("the table and its number do not belong together".to_owned())
            } else if told.early {
                Some("the records were disposed of before their time had come".to_owned())
            } else if spans
                .range((told.start.0, 0)..(told.start.0, told.end))
                .any(|(start, end)| *end > told.start.1 && start.1 < told.end)
            {
                Some("two disposals cover the same time".to_owned())
            } else if total.end != told.end || total.leaves != told.leaves || total.sha256() != told.sha256 {
                Some(format!(
                    "it tells of {} leaves with SHA-256 {}, the log has {} with {}",
                    told.leaves,
                    hex::encode(&told.sha256),
                    total.leaves,
                    hex::encode(total.sha256())
                ))
            } else {
                None
            };
            match wrong {
                None => {
                    spans.insert(told.start, told.end);
                }
                Some(detail) => findings.push(Finding {
                    log: org_id.to_string(),
                    code: "wrong_disposal",
                    relation: "batchcortex.partition_disposal".to_owned(),
                    record: told.id,
                    detail,
                }),
            }
        }
        Disposed { spans }
    }

    /// Whether a record was disposed of.
    pub fn covers(&self, relation: u32, key: &Key) -> bool {
        let Key::Uuid(key) = key else { return false };
        !self.spans.is_empty()
            && leaves::span_of(&self.spans, relation, key)
                .is_some_and(|(_, end)| leaves::time_of(key).is_some_and(|time| time < *end))
    }
}

fn told(org_id: Uuid) -> Vec<Told> {
    // Whether the time had come is reckoned here: an operator that somebody has made decides nothing.
    let query = "
        select d.disposal_id::text, d.relation, d.relation_id, d.recorded_from, d.recorded_to, d.leaves, d.leaves_sha256, d.recorded_at
          from batchcortex.partition_disposal d
         where d.org_id = $1 and d.relation_id is not null order by d.recorded_at, d.disposal_id";
    let mut all = Vec::new();
    let mut scan = Scan::open(query, &[*org_id.as_bytes()], 1000);
    while scan.next(|row| {
        let number = |i: usize| row.get(i).map_or(0, |datum| datum.value() as i64);
        let relation = String::from_utf8_lossy(&bytes(row, 1)).into_owned();
        all.push(Told {
            id: String::from_utf8_lossy(&bytes(row, 0)).into_owned(),
            start: (number(2) as i32 as u32, leaves::milliseconds(number(3))),
            end: leaves::milliseconds(number(4)),
            leaves: number(5) as u64,
            sha256: bytes(row, 6),
            early: class::kept_until(&relation, number(4)).is_none_or(|until| number(7) < until),
            relation,
        });
    }) {}
    scan.close();
    all
}

fn bytes(row: &Row<'_>, i: usize) -> Vec<u8> {
    // SAFETY: the columns read so are text and bytea.
    row.get(i)
        .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) })
        .unwrap_or_default()
}
