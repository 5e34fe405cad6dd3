//! Where a verification begins: at the first leaf, or at a size whose root is known from outside.

use super::log::{Map, Record};
use crate::ledger::key::Key;
use crate::ledger::proof::{is_tile_of, stored_range};
use crate::ledger::records;
use crate::ledger::scan::Scan;
use crate::retention::leaves;
use crate::row::with_varlena;
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::merkle::{CompactRange, root_of};
use batchcortex_ledger::tile::{self, TILE_WIDTH};
use pgrx::datum::Uuid;

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
    /// The tile that holds leaf `size` of a log, and everything after it; none when the log is smaller or its tiles are damaged.
    pub fn at(org_id: Uuid, size: u64) -> Option<Self> {
        // Always with a tile to read: the times of its keys, which are those of rows, say from when on rows are read.
        let size = size.saturating_sub(1);
        let size = size - size % u64::from(TILE_WIDTH);
        if size == 0 {
            return Some(Beginning::default());
        }
        let mut beginning = Beginning {
            size,
            range: stored_range(org_id, size)?,
            ..Beginning::default()
        };
        beginning.recorded_from = beginning.earliest(org_id);
        if let Some(from) = beginning.recorded_from {
            beginning.read_earlier(org_id, from);
        }
        Some(beginning)
    }

    /// The tile that it begins with.
    pub fn first_tile(&self) -> u64 {
        self.size / u64::from(TILE_WIDTH)
    }

    /// The earliest time of the leaves that are not left out, at a whole millisecond, as their keys tell it: the times of tiles are under no
    /// hash, and a key that somebody changed is one without a row.
    fn earliest(&self, org_id: Uuid) -> Option<i64> {
        let query = format!(
            "select records from batchcortex.ledger_tile where org_id = $1 and level = 0 and tile_index >= {}",
            self.first_tile()
        );
        let mut earliest: Option<u64> = None;
        let mut scan = Scan::open(&query, &[*org_id.as_bytes()], 64);
        while scan.next(|row| {
            // SAFETY: a bytea column.
            let list = row
                .get(0)
                .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) })
                .unwrap_or_default();
            let times = records::parse(&list)
                .unwrap_or_default()
                .into_iter()
                .filter_map(|(_, key)| leaves::time_of(key));
            earliest = earliest.into_iter().chain(times).min();
        }) {}
        scan.close();
        earliest.map(leaves::microseconds)
    }

    fn read_earlier(&mut self, org_id: Uuid, from: i64) {
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
                if leaves::time_of(key).is_some_and(|time| time >= leaves::milliseconds(from)) {
                    earlier.insert((relation, Key::of(key)), (index, *hash));
                }
            }
        }) {}
        scan.close();
    }
}
