//! Rows of protected tables, hashed from their columns by name.

use super::Hashed;
use crate::ledger::foreign::{self, INSTALLATION};
use crate::ledger::key::Key;
use crate::ledger::scan::Scan;
use crate::ledger::verify::sources::Source;
use pgrx::PgMemoryContexts;
use pgrx::datum::Uuid;
use pgrx::prelude::*;

/// Rows fetched at once.
const BATCH: i64 = 2000;

/// The rows of one table in one log, in the order in which they lie.
pub struct Columns<'a> {
    source: &'a Source,
    scan: Scan,
    key: Option<Vec<usize>>,
    scratch: PgMemoryContexts,
}

impl<'a> Columns<'a> {
    /// Opens them; none when the table is the project's own, has nothing in this log or cannot be read.
    pub fn open(source: &'a Source, org_id: Uuid) -> Option<Self> {
        if source.hashed || !source.readable {
            return None;
        }
        let mut query = format!("select * from {}", source.relation);
        let scan = match &source.org_column {
            None if *org_id.as_bytes() == INSTALLATION => Scan::open(&query, &[], BATCH),
            None => return None,
            Some(column) => {
                let column = pgrx::spi::quote_identifier(column);
                query += &format!(" where {column} operator(pg_catalog.=) $1");
                if *org_id.as_bytes() == INSTALLATION {
                    query += &format!(" or {column} is null");
                }
                Scan::open(&query, &[*org_id.as_bytes()], BATCH)
            }
        };
        Some(Columns {
            source,
            scan,
            key: None,
            scratch: PgMemoryContexts::new("row of a protected table"),
        })
    }

    /// Hashes the next rows; false when there are none.
    pub fn next(&mut self, mut body: impl FnMut(Hashed)) -> bool {
        let (source, key, scratch) = (self.source, &mut self.key, &mut self.scratch);
        self.scan.next(|row| {
            let key = key.get_or_insert_with(|| {
                let find = |name: &String| {
                    row.position(name)
                        .unwrap_or_else(|| error!("{} has no column {name}", source.relation))
                };
                source.key_columns.iter().map(find).collect()
            });
            // What output functions allocate, such as a large value read from where it is stored aside, lives for a row.
            // SAFETY: nothing of the row before is left, and nothing that is allocated leaves this call.
            let hashed = unsafe {
                scratch.reset();
                scratch.switch_to(|_| Hashed {
                    key: Key::of(&foreign::key(row, key)),
                    leaf: row.leaf_by_name(&source.domain).unwrap_or_default(),
                    agrees: true,
                    timely: true,
                })
            };
            body(hashed);
        })
    }

    /// Ends the scan.
    pub fn close(self) {
        self.scan.close();
    }
}
