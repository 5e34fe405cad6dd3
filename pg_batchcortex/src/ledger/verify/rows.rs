//! The rows that leaves stand for.

use super::sources::Source;
use crate::ledger::foreign::{self, INSTALLATION};
use crate::ledger::key::Key;
use crate::ledger::leaf::is_of_time;
use crate::ledger::scan::Scan;
use crate::row::{Row, uuid_bytes, with_varlena};
use batchcortex_ledger::hash::Hash;
use pgrx::datum::Uuid;
use pgrx::prelude::*;

/// A row, hashed as it stands.
pub struct Hashed {
    /// Key of the record.
    pub key: Key,
    /// What its bytes hash to now.
    pub leaf: Hash,
    /// Whether its own leaf_hash column says the same.
    pub agrees: bool,
    /// Whether the key was made when the row says that it was recorded; always so for tables of others.
    pub timely: bool,
}

/// The rows of one table in one log: in the order in which they were recorded, or in which they lie.
pub struct Rows<'a> {
    source: &'a Source,
    scan: Scan,
    columns: Option<Columns>,
}

struct Columns {
    key: Vec<usize>,
    /// Positions of leaf_hash and recorded_at, of the project's own tables.
    own: Option<(usize, usize)>,
}

/// Rows fetched at once.
const BATCH: i64 = 2000;

impl<'a> Rows<'a> {
    /// Opens them; none when the table has nothing in this log or cannot be read.
    pub fn open(source: &'a Source, org_id: Uuid) -> Option<Self> {
        if !source.readable {
            return None;
        }
        let quote = |name: &String| pgrx::spi::quote_identifier(name);
        let mut query = format!("select * from {}", source.relation);
        let scan = match &source.org_column {
            None if *org_id.as_bytes() == INSTALLATION => Scan::open(&query, &[], BATCH),
            None => return None,
            Some(column) => {
                query += &format!(" where {} operator(pg_catalog.=) $1", quote(column));
                if source.hashed {
                    query += &format!(" order by recorded_at, {}", quote(&source.key_columns[0]));
                } else if *org_id.as_bytes() == INSTALLATION {
                    query += &format!(" or {} is null", quote(column));
                }
                Scan::open(&query, &[*org_id.as_bytes()], BATCH)
            }
        };
        Some(Rows {
            source,
            scan,
            columns: None,
        })
    }

    /// Hashes the next rows; false when there are none.
    pub fn next(&mut self, mut body: impl FnMut(Hashed)) -> bool {
        let (source, columns) = (self.source, &mut self.columns);
        self.scan.next(|row| {
            let columns = columns.get_or_insert_with(|| {
                let find = |name: &str| {
                    row.position(name)
                        .unwrap_or_else(|| error!("{} has no column {name}", source.relation))
                };
                Columns {
                    key: source.key_columns.iter().map(|name| find(name)).collect(),
                    own: source.hashed.then(|| (find("leaf_hash"), find("recorded_at"))),
                }
            });
            body(hash(source, row, columns));
        })
    }

    /// Ends the scan.
    pub fn close(self) {
        self.scan.close();
    }
}

fn hash(source: &Source, row: &Row<'_>, columns: &Columns) -> Hashed {
    let Some((leaf_hash, recorded_at)) = columns.own else {
        return Hashed {
            key: Key::of(&foreign::key(row, &columns.key)),
            leaf: row.leaf_by_name(&source.domain).unwrap_or_default(),
            agrees: true,
            timely: true,
        };
    };
    // A row too large to encode cannot have been hashed when it was written: it agrees with no leaf.
    let leaf = row.leaf(&source.domain, Some(leaf_hash)).unwrap_or_default();
    // SAFETY: the key is a uuid column, leaf_hash a bytea column, recorded_at a timestamptz column.
    unsafe {
        let key = columns
            .key
            .first()
            .and_then(|key| row.get(*key))
            .map(|datum| uuid_bytes(datum))
            .unwrap_or_default();
        Hashed {
            timely: row
                .get(recorded_at)
                .is_some_and(|time| is_of_time(&key, time.value() as i64)),
            key: Key::Uuid(key),
            leaf,
            agrees: row
                .get(leaf_hash)
                .is_some_and(|datum| with_varlena(datum, |stored| stored == leaf)),
        }
    }
}
