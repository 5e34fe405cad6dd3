//! Which leaves are wanted.

use super::{Row, WIDTH};
use batchcortex_ledger::evidence::instant;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

use crate::ledger::incarnation::EPOCH;

/// The leaves that a file shows. A record that does not hash to its leaf any more, and one that is gone, is shown wherever the search
/// meets it: what a row says of itself cannot keep it out.
pub enum Selection {
    /// All of them.
    All,
    /// One.
    Leaf(u64),
    /// Those of a batch, recorded from and to.
    Batch([u8; 16], Option<i64>, Option<i64>),
    /// Those recorded from a time on and before another.
    Time(Option<i64>, Option<i64>),
}

impl Selection {
    /// Times are microseconds since 2000-01-01 UTC.
    pub fn of(leaf: Option<i64>, batch: Option<Uuid>, from: Option<i64>, to: Option<i64>) -> Self {
        match (leaf, batch) {
            (Some(leaf), _) => Selection::Leaf(leaf.max(0) as u64),
            (None, Some(batch)) => Selection::Batch(*batch.as_bytes(), from, to),
            (None, None) if from.is_some() || to.is_some() => Selection::Time(from, to),
            (None, None) => Selection::All,
        }
    }

    /// The tiles of level 0 in which they can be, from the left.
    pub fn tiles(&self, org: Uuid, size: u64) -> Vec<u64> {
        let (from, to) = match self {
            Selection::All => return (0..size.div_ceil(WIDTH)).collect(),
            Selection::Leaf(leaf) => return vec![leaf / WIDTH],
            Selection::Batch(_, None, None) => return Vec::new(),
            Selection::Batch(_, from, to) | Selection::Time(from, to) => (from, to),
        };
        let time = |time: &Option<i64>, open: &str| {
            time.and_then(|time| instant(time + EPOCH))
                .unwrap_or_else(|| open.to_owned())
        };
        let query = "select tile_index from batchcortex.ledger_tile
                      where org_id = $1 and level = 0 and recorded_to >= $2::timestamptz and recorded_from <= $3::timestamptz and tile_index < $4
                      order by tile_index";
        let arguments = [
            org.into(),
            time(from, "-infinity").into(),
            time(to, "infinity").into(),
            (size.div_ceil(WIDTH) as i64).into(),
        ];
        Spi::connect(|client| {
            let rows = client.select(query, None, &arguments).unwrap_or_report();
            rows.filter_map(|row| row.get::<i64>(1).unwrap_or_report())
                .map(|index| index as u64)
                .collect()
        })
    }

    /// Whether a leaf is looked at.
    pub fn may_want(&self, leaf: u64) -> bool {
        !matches!(self, Selection::Leaf(one) if *one != leaf)
    }

    /// Whether a record is shown. Rows of tables of others carry no time: those that were sealed with records of the time are shown.
    pub fn wants(&self, row: &Row) -> bool {
        match self {
            Selection::All | Selection::Leaf(_) => true,
            Selection::Batch(batch, ..) => row.batch.as_ref() == Some(batch),
            Selection::Time(from, to) => row
                .recorded_at
                .is_none_or(|time| from.is_none_or(|from| from <= time) && to.is_none_or(|to| time < to)),
        }
    }
}
