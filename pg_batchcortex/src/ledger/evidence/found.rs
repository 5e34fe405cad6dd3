//! The rows behind the leaves of a tile.

use super::{Row, Stored};
use crate::ledger::foreign;
use crate::ledger::incarnation::EPOCH;
use crate::ledger::scan::Scan;
use crate::ledger::verify::sources::Source;
use crate::row::{self, datum_of, uuid_bytes};
use batchcortex_ledger::evidence::instant;
use batchcortex_ledger::hash::leaf_hash;
use pgrx::datum::Uuid;
use pgrx::pg_sys;
use std::collections::{BTreeMap, HashMap};

/// What the table has for a leaf.
pub enum Found {
    /// The row.
    Row(Row),
    /// The caller may not read the table.
    Hidden,
}

/// The rows of the wanted places of a tile, by place; none where there is no row.
pub fn rows(org: Uuid, sources: &[Source], tile: &Stored, wanted: &[usize]) -> HashMap<usize, Found> {
    let mut found = HashMap::with_capacity(wanted.len());
    let mut by_relation: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for place in wanted {
        by_relation
            .entry(tile.records[*place].0)
            .or_default()
            .push(*place);
    }
    for (relation, places) in by_relation {
        // A table that is not registered any more has no rows: its leaves are missing their records.
        let Some(source) = sources.iter().find(|source| source.id == relation) else {
            continue;
        };
        if !(source.readable && source.named) {
            found.extend(places.into_iter().map(|place| (place, Found::Hidden)));
        } else if source.hashed {
            own(org, source, tile, &places, &mut found);
        } else {
            for place in places {
                if let Some(row) = other(source, &tile.records[place].1) {
                    found.insert(place, Found::Row(row));
                }
            }
        }
    }
    found
}

/// Rows of one of the project's own tables: at the time of the tile, and, for those that are not there any more, at any time.
fn own(org: Uuid, source: &Source, tile: &Stored, places: &[usize], found: &mut HashMap<usize, Found>) {
    let (from, to) = (instant(tile.recorded.0 + EPOCH), instant(tile.recorded.1 + EPOCH));
    let bounds = from.zip(to).map(|(from, to)| {
        format!(
            " and recorded_at between timestamptz {} and timestamptz {}",
            pgrx::spi::quote_literal(from),
            pgrx::spi::quote_literal(to)
        )
    });
    for bounds in [bounds.as_deref(), Some("")].into_iter().flatten() {
        let missing: HashMap<[u8; 16], usize> = places
            .iter()
            .filter(|place| !found.contains_key(place))
            .filter_map(|place| Some((tile.records[*place].1.as_slice().try_into().ok()?, *place)))
            .collect();
        if missing.is_empty() {
            return;
        }
        let keys: Vec<String> = missing.keys().map(hex::encode).collect();
        let key = pgrx::spi::quote_identifier(&source.key_columns[0]);
        let query = format!(
            "select * from {} where org_id = $1 and {key} = any ('{{{}}}'::uuid[]){bounds}",
            source.relation,
            keys.join(",")
        );
        let mut scan = Scan::open(&query, &[*org.as_bytes()], super::WIDTH as i64);
        while scan.next(|row| {
            let column = |name: &str| row.position(name).and_then(|position| row.get(position));
            // SAFETY: sources::read has made sure of the key's type.
            let key = column(&source.key_columns[0]).map(|datum| unsafe { uuid_bytes(datum) });
            let Some(place) = key.and_then(|key| missing.get(&key)) else {
                return;
            };
            let preimage = row.preimage(&source.domain, row.position("leaf_hash"));
            let row = record(row, preimage.unwrap_or_default());
            found.insert(*place, Found::Row(row));
        }) {}
        scan.close();
    }
}

/// A row of a protected table of somebody else's, by its packed key.
fn other(source: &Source, key: &[u8]) -> Option<Row> {
    let mut rest = key;
    let (mut conditions, mut values) = (Vec::new(), Vec::new());
    for (name, kind) in source.key_columns.iter().zip(&source.key_kinds) {
        let (length, after) = rest.split_first_chunk()?;
        let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        values.push((*kind, datum_of(*kind, value)));
        conditions.push(format!(
            "{} operator(pg_catalog.=) ${}",
            pgrx::spi::quote_identifier(name),
            values.len()
        ));
    }
    let query = format!(
        "select * from {} where {}",
        source.relation,
        conditions.join(" and ")
    );
    let mut found = None;
    let mut scan = source.read_as_caller(|| Scan::open_typed(&query, &values, 2));
    while scan.next(|row| {
        let positions = foreign::positions(row, &source.key_columns);
        // An operator may call more equal than the bytes are.
        if positions.is_ok_and(|positions| foreign::key(row, &positions) == key) {
            let preimage = row.preimage_by_name(&source.domain);
            found = Some(record(row, preimage.unwrap_or_default()));
        }
    }) {}
    scan.close();
    found
}

fn record(row: &row::Row<'_>, preimage: Vec<u8>) -> Row {
    let of_type = |name: &str, kind: pg_sys::Oid| {
        let position = row.position(name)?;
        let known = row
            .desc
            .get(position)
            .is_some_and(|attribute| attribute.atttypid == kind);
        row.get(position).filter(|_| known)
    };
    let own = row.position("leaf_hash").is_some();
    Row {
        hash: leaf_hash(&preimage),
        preimage,
        // SAFETY: the column's type was compared.
        batch: of_type("batch_id", pg_sys::UUIDOID).map(|datum| unsafe { uuid_bytes(datum) }),
        recorded_at: of_type("recorded_at", pg_sys::TIMESTAMPTZOID)
            .filter(|_| own)
            .map(|datum| datum.value() as i64),
    }
}
