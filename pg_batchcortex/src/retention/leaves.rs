//! The leaves of a log that stand for records of one table and one span of time, counted and hashed in the order of the log. The time is
//! that of the record's key (UUID version 7), which is all that is left of a record that was disposed of.

use crate::ledger::records;
use crate::ledger::scan::Scan;
use crate::row::with_varlena;
use batchcortex_ledger::tile;
use pgrx::datum::{TimestampWithTimeZone, Uuid};
use pgrx::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Milliseconds between 1970-01-01 and PostgreSQL's epoch, 2000-01-01.
const EPOCH: i64 = 946_684_800_000;

/// A table's relation id and the first millisecond of a span, since 1970-01-01 UTC.
pub type Start = (u32, u64);

/// What lies in a span.
#[derive(Clone, Default)]
pub struct Total {
    /// End of the span, milliseconds since 1970-01-01 UTC, not included.
    pub end: u64,
    /// How many leaves.
    pub leaves: u64,
    hash: Sha256,
}

impl Total {
    /// Nothing yet.
    pub fn until(end: u64) -> Self {
        Total {
            end,
            ..Total::default()
        }
    }

    /// SHA-256 over the leaf hashes, one after the other in the order of the log.
    pub fn sha256(&self) -> Vec<u8> {
        self.hash.clone().finalize().to_vec()
    }
}

/// Milliseconds since 1970-01-01 UTC of a time in microseconds since 2000-01-01 UTC.
pub fn milliseconds(time: i64) -> u64 {
    (time.div_euclid(1000) + EPOCH).max(0) as u64
}

/// What [`milliseconds`] is of, at a whole millisecond.
pub fn microseconds(milliseconds: u64) -> i64 {
    (milliseconds as i64 - EPOCH) * 1000
}

/// The milliseconds of a key; none for one that is no UUID version 7.
pub fn time_of(key: &[u8]) -> Option<u64> {
    (key.len() == 16 && key[6] >> 4 == 7)
        .then(|| key[..6].iter().fold(0, |time, byte| time << 8 | u64::from(*byte)))
}

/// The span that holds a record, of spans that do not overlap.
pub fn span_of<'a, T>(spans: &'a BTreeMap<Start, T>, relation: u32, key: &[u8]) -> Option<(Start, &'a T)> {
    let time = time_of(key)?;
    let (start, span) = spans.range((relation, 0)..=(relation, time)).next_back()?;
    Some((*start, span))
}

/// Reads the leaves of an organisation once and adds each to the span that it lies in. Inside an SPI connection.
pub fn total(org_id: Uuid, spans: &mut BTreeMap<Start, Total>) {
    let mut tiles = Scan::open(
        "select hashes, records from batchcortex.ledger_tile where org_id operator(pg_catalog.=) $1 and level operator(pg_catalog.=) 0 order by tile_index",
        &[*org_id.as_bytes()],
        64,
    );
    while tiles.next(|row| {
        let bytes = |i: usize| {
            // SAFETY: both are bytea columns.
            row.get(i)
                .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) })
                .unwrap_or_default()
        };
        let (hashes, list) = (bytes(0), bytes(1));
        let Some((hashes, listed)) = tile::hashes_of(&hashes).zip(records::parse(&list)) else {
            return;
        };
        for (hash, (relation, key)) in hashes.iter().zip(listed) {
            let Some((start, _)) = span_of(spans, relation, key) else {
                continue;
            };
            if let Some(total) = spans.get_mut(&start)
                && time_of(key).is_some_and(|time| time < total.end)
            {
                total.leaves += 1;
                total.hash.update(hash);
            }
        }
    }) {}
    tiles.close();
}

/// Leaves of a log that stand for records of a table made in [from, to): how many, and SHA-256 over their hashes in the order of the log.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn leaves_between(
    org: Uuid,
    relation_id: i32,
    recorded_from: TimestampWithTimeZone,
    recorded_to: TimestampWithTimeZone,
) -> TableIterator<'static, (name!(leaves, i64), name!(sha256, Vec<u8>))> {
    let start = (relation_id as u32, milliseconds(recorded_from.into_inner()));
    let mut spans = BTreeMap::from([(start, Total::until(milliseconds(recorded_to.into_inner())))]);
    // SAFETY: one SPI connection for the scan, closed below or by the abort of the transaction.
    unsafe { pg_sys::SPI_connect() };
    total(org, &mut spans);
    // SAFETY: as above.
    unsafe { pg_sys::SPI_finish() };
    let found = spans.remove(&start).unwrap_or_default();
    TableIterator::once((found.leaves as i64, found.sha256()))
}
