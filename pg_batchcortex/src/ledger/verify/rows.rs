//! The rows that leaves stand for.

use crate::ledger::scan::Scan;
use crate::row::{Row, uuid_bytes, with_varlena};
use batchcortex_ledger::hash::Hash;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// A table whose rows are leaves.
pub struct Source {
    /// ledger_relation.relation_id.
    pub id: u32,
    /// Qualified and quoted.
    pub relation: String,
    /// Domain of its preimages.
    pub domain: String,
    /// Column that names a record.
    pub key_column: String,
}

/// A row, hashed as it stands.
pub struct Hashed {
    /// Key of the record.
    pub key: [u8; 16],
    /// What its bytes hash to now.
    pub leaf: Hash,
    /// Whether its own leaf_hash column says the same.
    pub agrees: bool,
}

/// The registered tables.
pub fn sources() -> Vec<Source> {
    let query = "select r.relation_id, format('%I.%I', n.nspname, c.relname), r.domain, r.key_column::text
                   from batchcortex.ledger_relation r
                   join pg_class c on c.oid = r.relation join pg_namespace n on n.oid = c.relnamespace order by 1";
    Spi::connect(|client| {
        client
            .select(query, None, &[])
            .unwrap_or_report()
            .filter_map(|row| {
                Some(Source {
                    id: row.get::<i32>(1).unwrap_or_report()? as u32,
                    relation: row.get(2).unwrap_or_report()?,
                    domain: row.get(3).unwrap_or_report()?,
                    key_column: row.get(4).unwrap_or_report()?,
                })
            })
            .collect()
    })
}

/// The rows of one table and organisation, in the order in which they were recorded.
pub struct Rows<'a> {
    source: &'a Source,
    scan: Scan,
    columns: Option<(usize, usize)>,
}

/// Rows fetched at once.
const BATCH: i64 = 2000;

impl<'a> Rows<'a> {
    /// Opens them.
    pub fn open(source: &'a Source, org_id: Uuid) -> Self {
        let key = pgrx::spi::quote_identifier(&source.key_column);
        let query = format!(
            "select * from {} where org_id = $1 order by recorded_at, {key}",
            source.relation
        );
        Rows {
            source,
            scan: Scan::open(&query, &[*org_id.as_bytes()], BATCH),
            columns: None,
        }
    }

    /// Hashes the next rows; false when there are none.
    pub fn next(&mut self, mut body: impl FnMut(Hashed)) -> bool {
        let (source, columns) = (self.source, &mut self.columns);
        self.scan.next(|row| {
            let find = |name: &str| {
                row.position(name)
                    .unwrap_or_else(|| error!("{} has no column {name}", source.relation))
            };
            let (key, leaf_hash) =
                *columns.get_or_insert_with(|| (find(&source.key_column), find("leaf_hash")));
            body(hash(source, row, key, leaf_hash));
        })
    }

    /// Ends the scan.
    pub fn close(self) {
        self.scan.close();
    }
}

fn hash(source: &Source, row: &Row<'_>, key: usize, leaf_hash: usize) -> Hashed {
    // A row too large to encode cannot have been hashed when it was written: it agrees with no leaf.
    let leaf = row.leaf(&source.domain, Some(leaf_hash)).unwrap_or_default();
    // SAFETY: the key is a uuid column, leaf_hash a bytea column.
    unsafe {
        Hashed {
            key: row.get(key).map(|datum| uuid_bytes(datum)).unwrap_or_default(),
            leaf,
            agrees: row
                .get(leaf_hash)
                .is_some_and(|datum| with_varlena(datum, |stored| stored == leaf)),
        }
    }
}
