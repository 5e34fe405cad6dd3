//! Where a verification begins: at the first leaf, or at a size whose root is known from outside.

use super::log::{Map, Record};
use crate::ledger::key::Key;
use crate::ledger::proof::{is_tile_of, stored_range};
use crate::ledger::records;
use crate::ledger::scan::Scan;
use crate::retention::leaves;
use crate::row::{Row, with_varlena};
use batchcortex_ledger::global::GLOBAL;
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::merkle::{CompactRange, root_of};
use batchcortex_ledger::tile::{self, TILE_WIDTH};
use pgrx::datum::Uuid;
use std::collections::HashSet;

/// The leaves that are left out, as far as the rest needs them.
#[derive(Default)]
pub struct Beginning {
    /// Leaves left out, whole tiles.
    pub size: u64,
    /// Their compact range.
    pub range: CompactRange,
    /// Rows recorded before it, microseconds since 2000-01-01 UTC, are left out; none when none is.
    pub recorded_from: Option<i64>,
    /// Leaves that are left out of rows that are not.
    pub earlier: Map<Record, (u64, Hash)>,
    /// Tiles that were left out and are not those of the range any more; none of their leaves is taken.
    pub wrong_tiles: Vec<u64>,
}

impl Beginning {
    /// The tile that holds the last of `size` leaves, and everything after it, of the global log; none when the log is smaller or its tiles
    /// are damaged.
    pub fn of_global(size: u64) -> Option<Self> {
        Self::at(
            Uuid::from_bytes(GLOBAL),
            size.saturating_sub(1) / u64::from(TILE_WIDTH),
        )
    }

    /// The same of an organisation's log, or an earlier tile: the newest that a record of the project's own tables, `own`, has a leaf in. The
    /// times of keys, which are those of rows, say from when on rows are read.
    pub fn of_log(org_id: Uuid, size: u64, own: &HashSet<u32>) -> Option<Self> {
        let last = size.saturating_sub(1) / u64::from(TILE_WIDTH);
        let query = format!(
            "select tile_index, records from batchcortex.ledger_tile where org_id = $1 and level = 0 and tile_index <= {last} order by tile_index desc"
        );
        let mut first = None;
        let mut scan = Scan::open(&query, &[*org_id.as_bytes()], 1);
        while first.is_none()
            && scan.next(|row| {
                first = row
                    .get(0)
                    .filter(|_| earliest(&list(row, 1), own).is_some())
                    .map(|datum| datum.value() as u64);
            })
        {}
        scan.close();
        let mut beginning = Self::at(org_id, first?)?;
        if beginning.size > 0 {
            beginning.recorded_from = beginning.earliest(org_id, own);
            let from = beginning.recorded_from?;
            beginning.read_earlier(org_id, from, own);
        }
        Some(beginning)
    }

    fn at(org_id: Uuid, first_tile: u64) -> Option<Self> {
        let size = first_tile * u64::from(TILE_WIDTH);
        if size == 0 {
            return Some(Beginning::default());
        }
        Some(Beginning {
            size,
            range: stored_range(org_id, size)?,
            ..Beginning::default()
        })
    }

    /// The tile that it begins with.
    pub fn first_tile(&self) -> u64 {
        self.size / u64::from(TILE_WIDTH)
    }

    /// The earliest time of the leaves that are not left out, at a whole millisecond, as their keys tell it: the times of tiles are under no
    /// hash, and a key that somebody changed is one without a row.
    fn earliest(&self, org_id: Uuid, own: &HashSet<u32>) -> Option<i64> {
        let query = format!(
            "select records from batchcortex.ledger_tile where org_id = $1 and level = 0 and tile_index >= {}",
            self.first_tile()
        );
        let mut first: Option<u64> = None;
        let mut scan = Scan::open(&query, &[*org_id.as_bytes()], 64);
        while scan.next(|row| first = first.into_iter().chain(earliest(&list(row, 0), own)).min()) {}
        scan.close();
        first.map(leaves::microseconds)
    }

    fn read_earlier(&mut self, org_id: Uuid, from: i64, own: &HashSet<u32>) {
        let query = format!(
            "select tile_index, hashes, records from batchcortex.ledger_tile
              where org_id = $1 and level = 0 and tile_index < {} and recorded_to >= '2000-01-01 00:00:00+00'::timestamptz + '{from} microseconds'::interval",
            self.first_tile()
        );
        let mut scan = Scan::open(&query, &[*org_id.as_bytes()], 64);
        let (earlier, wrong_tiles) = (&mut self.earlier, &mut self.wrong_tiles);
        let (tiles, whole) = (self.size / u64::from(TILE_WIDTH), self.range.root());
        while scan.next(|row| {
            let bytes = |i: usize| {
                row.get(i)
                    // SAFETY: bytea columns.
                    .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) })
                    .unwrap_or_default()
            };
            let tile = row.get(0).map_or(0, |datum| datum.value() as u64);
            let first = tile * u64::from(TILE_WIDTH);
            let (hashes, list) = (bytes(1), bytes(2));
            let root = root_of(tile::hashes_of(&hashes).unwrap_or_default());
            if !is_tile_of(org_id, tile, tiles, &root, &whole) {
                return wrong_tiles.push(tile);
            }
            let listed = records::parse(&list).unwrap_or_default();
            let leaves = (first..)
                .zip(tile::hashes_of(&hashes).unwrap_or_default())
                .zip(listed);
            for ((index, hash), (relation, key)) in leaves {
                // Of rows that are read: those of the project's own tables from that time on.
                if own.contains(&relation)
                    && leaves::time_of(key).is_some_and(|time| time >= leaves::milliseconds(from))
                {
                    earlier.insert((relation, Key::of(key)), (index, *hash));
                }
            }
        }) {}
        scan.close();
    }
}

/// The list of a tile's records.
fn list(row: &Row<'_>, position: usize) -> Vec<u8> {
    row.get(position)
        // SAFETY: a bytea column.
        .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) })
        .unwrap_or_default()
}

/// The earliest time of the records of own tables, in milliseconds since 1970-01-01 UTC.
fn earliest(list: &[u8], own: &HashSet<u32>) -> Option<u64> {
    records::parse(list)?
        .into_iter()
        .filter(|(relation, _)| own.contains(relation))
        .filter_map(|(_, key)| leaves::time_of(key))
        .min()
}
