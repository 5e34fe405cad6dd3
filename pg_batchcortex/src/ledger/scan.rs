//! Rows in batches, as the caller may see them and under the caller's snapshot: one snapshot for a whole verification.

use crate::row::Row;
use pgrx::{PgTupleDesc, pg_sys};
use std::ffi::CString;

/// A query whose rows are read in batches. Lives inside one SPI connection.
pub struct Scan {
    portal: pg_sys::Portal,
    batch: i64,
    done: bool,
}

impl Scan {
    /// Opens `query`, read-only, with uuid parameters. Raises what the query raises.
    pub fn open(query: &str, uuids: &[[u8; 16]], batch: i64) -> Self {
        let values: Vec<_> = uuids
            .iter()
            .map(|uuid| (pg_sys::UUIDOID, crate::row::uuid_datum(uuid)))
            .collect();
        Self::open_typed(query, &values, batch)
    }

    /// As [`Scan::open`], with parameters of any types.
    pub fn open_typed(query: &str, parameters: &[(pg_sys::Oid, pg_sys::Datum)], batch: i64) -> Self {
        let query = CString::new(query).unwrap_or_default();
        let (mut types, mut values): (Vec<_>, Vec<_>) = parameters.iter().copied().unzip();
        // SAFETY: an SPI connection is open (verify opens it); arrays have one element a parameter; read_only makes
        // the query use the snapshot of the calling query.
        let portal = unsafe {
            pg_sys::SPI_cursor_open_with_args(
                std::ptr::null(),
                query.as_ptr(),
                types.len() as i32,
                types.as_mut_ptr(),
                values.as_mut_ptr(),
                std::ptr::null(),
                true,
                0,
            )
        };
        Scan {
            portal,
            batch,
            done: false,
        }
    }

    /// Calls `body` for each row of the next batch; false when there is none.
    pub fn next(&mut self, mut body: impl FnMut(&Row<'_>)) -> bool {
        if self.done {
            return false;
        }
        // SAFETY: SPI_tuptable holds the fetched rows until it is freed below; rows do not leave `body`.
        unsafe {
            pg_sys::SPI_cursor_fetch(self.portal, true, self.batch as _);
            let table = pg_sys::SPI_tuptable;
            let count = pg_sys::SPI_processed as usize;
            let desc = PgTupleDesc::from_pg_unchecked((*table).tupdesc);
            let (mut values, mut nulls) = (Vec::new(), Vec::new());
            for i in 0..count {
                let row = Row::reusing(&desc, *(*table).vals.add(i), values, nulls);
                body(&row);
                (values, nulls) = (row.values, row.nulls);
            }
            pg_sys::SPI_freetuptable(table);
            self.done = count < self.batch as usize;
            count > 0
        }
    }

    /// Ends the query.
    pub fn close(self) {
        // SAFETY: the portal was opened by this scan and is closed once.
        unsafe { pg_sys::SPI_cursor_close(self.portal) };
    }
}
