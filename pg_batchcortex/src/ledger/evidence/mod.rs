//! Evidence: records of an organisation with everything that proves them, written line by line (docs/format.md).
//!
//! One tile of 256 leaves is read at a time, whatever the log's size: the lines of a gigabyte of records pass through and stay nowhere.

mod found; // the rows behind the leaves of a tile
mod selection; // which leaves are wanted

use super::key::Key;
use super::proof::StoredTiles;
use super::records;
use super::verify::disposed::Disposed;
use super::verify::sources::{self, Source};
use batchcortex_ledger::evidence::{Header, Line, Scope, leaf_line, subtrees};
use batchcortex_ledger::global::GLOBAL;
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::merkle::{NodeSource, ProofError};
use batchcortex_ledger::tile::{self, Tiles};
use found::Found;
use pgrx::datum::{TimestampWithTimeZone, Uuid};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use selection::Selection;
use std::collections::VecDeque;

const WIDTH: u64 = tile::TILE_WIDTH as u64;

/// The lines of a file of evidence. size: leaves of the organisation's log at `checkpoint`, its text, which is leaf global_index of the
/// global log; note: the signed checkpoint of the global log at global_size. The leaves: one (leaf_index), those of a batch, those of a
/// time, or all; recorded_from and recorded_to narrow the search for a batch's. Called by batchcortex.export_evidence, which checks what
/// it passes.
#[pg_extern(stable, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments)]
pub fn write_evidence(
    org: Uuid,
    scope: &str,
    exported_at: &str,
    size: i64,
    checkpoint: &str,
    global_index: i64,
    global_size: i64,
    note: &str,
    since: Option<i64>,
    leaf_index: Option<i64>,
    batch: Option<Uuid>,
    recorded_from: Option<TimestampWithTimeZone>,
    recorded_to: Option<TimestampWithTimeZone>,
) -> SetOfIterator<'static, String> {
    let (Some(scope), Some(origin)) = (Scope::parse(scope), checkpoint.lines().next()) else {
        error!("write_evidence is called by batchcortex.export_evidence alone");
    };
    let time = |time: Option<TimestampWithTimeZone>| time.map(TimestampWithTimeZone::into_inner);
    let selection = Selection::of(leaf_index, batch, time(recorded_from), time(recorded_to));
    let size = size.max(0) as u64;
    SetOfIterator::new(Export {
        org,
        size,
        next: 0,
        lines: VecDeque::from([Header::new(origin, &scope, exported_at).to_string()]),
        tiles: selection.tiles(org, size).into(),
        selection,
        known: None,
        end: Some(End {
            checkpoint: checkpoint.to_owned(),
            index: global_index.max(0) as u64,
            size: global_size.max(0) as u64,
            note: note.to_owned(),
            since: since.map(|since| since.max(0) as u64),
        }),
    })
}

/// The walk over the organisation's tree, as far as it has come.
struct Export {
    org: Uuid,
    size: u64,
    /// Leaves and subtrees up to here are written.
    next: u64,
    lines: VecDeque<String>,
    tiles: VecDeque<u64>,
    selection: Selection,
    known: Option<Known>,
    end: Option<End>,
}

/// What is read once.
struct Known {
    sources: Vec<Source>,
    /// Disposals that hold, as verification takes them: one that does not agree with the log explains no record that is gone.
    disposed: Disposed,
}

/// The lines after the walk.
struct End {
    checkpoint: String,
    index: u64,
    size: u64,
    note: String,
    since: Option<u64>,
}

impl Iterator for Export {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            // Between two lines no SPI connection may stay open: each step has its own.
            match (self.tiles.pop_front(), self.end.is_some()) {
                (Some(index), _) => Spi::connect(|_| self.tile(index)),
                (None, true) => Spi::connect(|_| self.end()),
                (None, false) => return None,
            }
        }
    }
}

impl Export {
    fn tile(&mut self, index: u64) {
        let first = index * WIDTH;
        let width = self.size.saturating_sub(first).min(WIDTH) as usize;
        let Some(tile) = Stored::read(self.org, index, width) else {
            error!(
                "tile {index} of the organisation's tree is damaged, nothing can be exported from it: run batchcortex.verify"
            );
        };
        let known = self.known.take().unwrap_or_else(|| Known::read(self.org));
        let wanted: Vec<usize> = (0..width)
            .filter(|place| self.selection.may_want(first + *place as u64))
            .collect();
        let rows = found::rows(self.org, &known.sources, &tile, &wanted);
        let stored = StoredTiles::of(self.org);
        let tiles = Tiles::new(&stored, self.size);
        for place in wanted {
            let leaf = first + place as u64;
            let (relation, key) = &tile.records[place];
            let line = match rows.get(&place) {
                Some(Found::Row(row)) => (self.selection.wants(row) || row.hash != tile.hashes[place])
                    .then(|| leaf_line(leaf, &tile.hashes[place], &row.preimage)),
                // Hashes only: there is nothing to show.
                Some(Found::Hidden) => None,
                None if known.is_disposed(*relation, key) => None,
                None => Some(
                    Line::Missing {
                        index: leaf,
                        hash: tile.hashes[place],
                        record: known.name(*relation, key),
                    }
                    .to_string(),
                ),
            };
            if let Some(line) = line {
                self.fill(&tiles, leaf);
                self.lines.push_back(line);
                self.next = leaf + 1;
            }
        }
        self.known = Some(known);
    }

    /// Subtrees in place of the leaves before `end` that are not written.
    fn fill(&mut self, tiles: &Tiles<'_, StoredTiles>, end: u64) {
        for (first, level) in subtrees(self.next, end) {
            let Some(hash) = tiles.node(level, first >> level) else {
                error!(
                    "the organisation's tree is damaged below leaf {end}, nothing can be exported from it: run batchcortex.verify"
                );
            };
            self.lines
                .push_back(Line::Subtree { first, level, hash }.to_string());
        }
        self.next = end;
    }

    fn end(&mut self) {
        let Some(end) = self.end.take() else { return };
        let stored = StoredTiles::of(self.org);
        self.fill(&Tiles::new(&stored, self.size), self.size);
        self.lines.push_back(Line::Checkpoint(end.checkpoint).to_string());
        let stored = StoredTiles::of(Uuid::from_bytes(GLOBAL));
        let global = Tiles::new(&stored, end.size);
        let proof = |path: Result<Vec<Hash>, ProofError>| {
            path.unwrap_or_else(|e| {
                error!("the global log is damaged, nothing can be proven: run batchcortex.verify ({e})")
            })
        };
        let path = proof(global.inclusion_proof(end.index));
        self.lines.push_back(
            Line::Inclusion {
                index: end.index,
                path,
            }
            .to_string(),
        );
        if let Some(size) = end.since {
            let path = proof(global.consistency_proof(size));
            self.lines.push_back(Line::Consistency { size, path }.to_string());
        }
        self.lines.push_back(Line::Global(end.note).to_string());
    }
}

/// A tile of leaves, as far as the checkpoint reaches.
struct Stored {
    hashes: Vec<Hash>,
    /// Relation and key of each leaf's record.
    records: Vec<(u32, Vec<u8>)>,
    /// When its records were made, microseconds since 2000-01-01 UTC.
    recorded: (i64, i64),
}

impl Stored {
    /// None when it is missing or not whole.
    fn read(org: Uuid, index: u64, width: usize) -> Option<Self> {
        let query = "select hashes, records, recorded_from, recorded_to from batchcortex.ledger_tile where org_id = $1 and level = 0 and tile_index = $2";
        Spi::connect(|client| {
            let arguments = [org.into(), i64::try_from(index).ok()?.into()];
            let mut rows = client.select(query, Some(1), &arguments).unwrap_or_report();
            let row = rows.next()?;
            let hashes = tile::hashes_of(row.get::<&[u8]>(1).unwrap_or_report()?)?;
            let list: &[u8] = row.get(2).unwrap_or_report()?;
            let time = |i| row.get::<TimestampWithTimeZone>(i).unwrap_or_report();
            let records = records::parse(list)?;
            let whole = hashes.len() >= width && records.len() >= width;
            whole.then_some(Stored {
                hashes: hashes[..width].to_vec(),
                records: records[..width]
                    .iter()
                    .map(|(relation, key)| (*relation, key.to_vec()))
                    .collect(),
                recorded: (time(3)?.into_inner(), time(4)?.into_inner()),
            })
        })
    }
}

impl Known {
    fn read(org: Uuid) -> Self {
        // What is wrong with the register is verify's to say; here it hides rows, which then stand as missing.
        let sources = sources::read(&mut Vec::new());
        let disposed = Spi::connect(|_| Disposed::read(org, &sources, &mut Vec::new()));
        Known { sources, disposed }
    }

    fn is_disposed(&self, relation: u32, key: &[u8]) -> bool {
        self.disposed.covers(relation, &Key::of(key))
    }

    /// Kind and key of a record that is not there.
    fn name(&self, relation: u32, key: &[u8]) -> String {
        let source = self.sources.iter().find(|source| source.id == relation);
        let kind = source.map_or_else(|| format!("relation {relation}"), |source| source.domain.clone());
        let kinds = source.map_or(&[][..], |source| &source.key_kinds);
        format!("{kind} {}", Key::of(key).text(kinds))
    }
}

/// A row as a record of evidence.
struct Row {
    preimage: Vec<u8>,
    hash: Hash,
    batch: Option<[u8; 16]>,
    /// Microseconds since 2000-01-01 UTC; none for tables of others, which have no such column.
    recorded_at: Option<i64>,
}
