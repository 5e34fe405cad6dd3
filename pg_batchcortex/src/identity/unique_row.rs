//! One row by the key of a unique index, without a plan. Every request passes here: planning, locking and starting a query over SPI cost
//! several times the read itself, and SPI's own way of saying that it may write would give each request a transaction id.
//!
//! Neither privileges nor row security are asked, so each caller looks up by a secret's hash, or by what it got that way.

use crate::row::{uuid_bytes, with_varlena};
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::CStr;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

/// Moves on whenever PostgreSQL says that a table changed: what is known by name then is looked up anew.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// A table of schema batchcortex with a unique index over `KEYS` columns, and the columns that are wanted.
pub struct UniqueIndex<const KEYS: usize, const COLUMNS: usize> {
    /// Name of the table.
    pub table: &'static CStr,
    /// Name of the index.
    pub index: &'static CStr,
    /// Its columns, with their types.
    pub keys: [(&'static CStr, Key); KEYS],
    /// Columns to read.
    pub columns: [&'static CStr; COLUMNS],
    /// Where they are.
    pub known: Cell<Option<Known<KEYS, COLUMNS>>>,
}

/// Types of key columns.
#[derive(Clone, Copy)]
pub enum Key {
    Uuid,
    Bytea,
}

/// Oids and column numbers behind the names.
#[derive(Clone, Copy)]
pub struct Known<const KEYS: usize, const COLUMNS: usize> {
    changes: u64,
    table: pg_sys::Oid,
    index: pg_sys::Oid,
    keys: [pg_sys::AttrNumber; KEYS],
    columns: [pg_sys::AttrNumber; COLUMNS],
}

/// The columns of the row that was found; none for null.
pub struct Found<const COLUMNS: usize>([Option<pg_sys::Datum>; COLUMNS]);

impl<const COLUMNS: usize> Found<COLUMNS> {
    /// Whether a column is null.
    pub fn is_null(&self, column: usize) -> bool {
        self.0[column].is_none()
    }
    /// A uuid column.
    pub fn uuid(&self, column: usize) -> Option<[u8; 16]> {
        // SAFETY: callers name a uuid column; the datum points into the row.
        self.0[column].map(|datum| unsafe { uuid_bytes(datum) })
    }
    /// A text column.
    pub fn text(&self, column: usize) -> Option<String> {
        // SAFETY: callers name a text column; the datum points into the row.
        self.0[column]
            .map(|datum| unsafe { with_varlena(datum, |text| String::from_utf8_lossy(text).into_owned()) })
    }
    /// A timestamptz column: microseconds since 2000-01-01.
    pub fn time(&self, column: usize) -> Option<i64> {
        self.0[column].map(|datum| datum.value() as i64)
    }
    /// An integer column.
    pub fn integer(&self, column: usize) -> Option<i32> {
        self.0[column].map(|datum| datum.value() as i32)
    }
    /// A column as it is.
    pub fn datum(&self, column: usize) -> Option<pg_sys::Datum> {
        self.0[column]
    }
}

impl<const KEYS: usize, const COLUMNS: usize> UniqueIndex<KEYS, COLUMNS> {
    /// Calls `body` with the row of this key that the statement's snapshot shows; none when there is no such row.
    pub fn find<T>(
        &self,
        key: [pg_sys::Datum; KEYS],
        body: impl FnOnce(&Found<COLUMNS>) -> Option<T>,
    ) -> Option<T> {
        // SAFETY: the relation stays open and locked while the row is read; the scan is ended before it is closed, and an error ends
        // both with the transaction. The scan keys are of the columns' types.
        unsafe {
            let (relation, known) = self.open();
            let mut scan_keys: [pg_sys::ScanKeyData; KEYS] = std::array::from_fn(|_| Default::default());
            for (i, scan_key) in scan_keys.iter_mut().enumerate() {
                let equal = match self.keys[i].1 {
                    Key::Uuid => pg_sys::F_UUID_EQ,
                    Key::Bytea => pg_sys::F_BYTEAEQ,
                };
                pg_sys::ScanKeyInit(
                    scan_key,
                    known.keys[i],
                    pg_sys::BTEqualStrategyNumber as u16,
                    equal.into(),
                    key[i],
                );
            }
            let scan = pg_sys::systable_beginscan(
                relation,
                known.index,
                true,
                pg_sys::GetActiveSnapshot(),
                KEYS as i32,
                scan_keys.as_mut_ptr(),
            );
            let tuple = pg_sys::systable_getnext(scan);
            let found = if tuple.is_null() {
                None
            } else {
                let row = Found(known.columns.map(|column| {
                    let mut null = false;
                    let datum = pg_sys::heap_getattr(tuple, i32::from(column), (*relation).rd_att, &mut null);
                    (!null).then_some(datum)
                }));
                body(&row)
            };
            pg_sys::systable_endscan(scan);
            pg_sys::table_close(relation, pg_sys::NoLock as i32);
            found
        }
    }

    unsafe fn open(&self) -> (pg_sys::Relation, Known<KEYS, COLUMNS>) {
        // SAFETY: opens a table by oid, as its caller promises to close it.
        unsafe {
            loop {
                let known = self.known();
                let relation = pg_sys::table_open(known.table, pg_sys::AccessShareLock as i32);
                // The lock brings news: the table may be another one since.
                if CHANGES.load(Ordering::Relaxed) == known.changes {
                    return (relation, known);
                }
                pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
            }
        }
    }

    fn known(&self) -> Known<KEYS, COLUMNS> {
        watch();
        let changes = CHANGES.load(Ordering::Relaxed);
        if let Some(known) = self.known.get().filter(|known| known.changes == changes) {
            return known;
        }
        // SAFETY: catalog look-ups with NUL-terminated names; none of them keeps anything.
        let known = unsafe {
            let schema = pg_sys::get_namespace_oid(c"batchcortex".as_ptr(), false);
            let relation = |name: &CStr| {
                let oid = pg_sys::get_relname_relid(name.as_ptr(), schema);
                if oid == pg_sys::InvalidOid {
                    pgrx::error!(
                        "batchcortex.{} does not exist: run CALL batchcortex.migrate()",
                        name.to_string_lossy()
                    );
                }
                oid
            };
            let table = relation(self.table);
            let column = |name: &CStr| {
                let number = pg_sys::get_attnum(table, name.as_ptr());
                if number == pg_sys::InvalidAttrNumber as pg_sys::AttrNumber {
                    pgrx::error!(
                        "batchcortex.{} has no column {}",
                        self.table.to_string_lossy(),
                        name.to_string_lossy()
                    );
                }
                number
            };
            Known {
                changes,
                table,
                index: relation(self.index),
                keys: self.keys.map(|(name, _)| column(name)),
                columns: self.columns.map(column),
            }
        };
        self.known.set(Some(known));
        known
    }
}

/// Hears of changed tables from now on.
fn watch() {
    static WATCHING: Once = Once::new();
    // SAFETY: the callback only counts.
    WATCHING.call_once(|| unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(changed), pg_sys::Datum::from(0usize));
    });
}

unsafe extern "C-unwind" fn changed(_argument: pg_sys::Datum, _relation: pg_sys::Oid) {
    CHANGES.fetch_add(1, Ordering::Relaxed);
}
