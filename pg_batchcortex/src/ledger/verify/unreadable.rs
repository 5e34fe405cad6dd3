//! Pages that PostgreSQL itself cannot read: an index that points past the end of a table's file, a file that is gone. They are found
//! like any other damage, and what can still be read is verified.

use super::{Finding, Verification};
use crate::assign;
use crate::identity::lent::attempt;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use std::ffi::CStr;

/// Settings under which rows are read in the order in which they lie, by one process.
const NO_INDEX: [(&CStr, &CStr); 5] = [
    (c"enable_seqscan", c"on"),
    (c"enable_indexscan", c"off"),
    (c"enable_indexonlyscan", c"off"),
    (c"enable_bitmapscan", c"off"),
    (c"max_parallel_workers_per_gather", c"0"),
];

/// What PostgreSQL says of a page or a file that it cannot read.
const DAMAGE: [PgSqlErrorCode; 4] = [
    PgSqlErrorCode::ERRCODE_IO_ERROR,
    PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
    PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED,
    PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
];

/// What ends a statement whoever caught it. No other: code of a table's owner chooses what its errors say of themselves.
pub const ENDS: [PgSqlErrorCode; 3] = [
    PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
    PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN,
    PgSqlErrorCode::ERRCODE_CRASH_SHUTDOWN,
];

/// Runs `check`; when it meets what cannot be read, runs it once more without indexes and says so. What cannot be read then either is an
/// error. An SPI connection is open.
pub fn or_without_indexes(mut check: impl FnMut(Indexes) -> Verification) -> Verification {
    let damage = match attempt(|| check(Indexes::Used)) {
        Ok(done) => return done,
        Err(error) => match *error {
            CaughtError::PostgresError(report) | CaughtError::ErrorReport(report)
                if DAMAGE.contains(&report.sql_error_code()) =>
            {
                report.message().to_owned()
            }
            error => error.rethrow(),
        },
    };
    let mut done = assign::during(&NO_INDEX, || check(Indexes::Avoided));
    done.findings.push(Finding {
        log: "installation".to_owned(),
        code: "unreadable",
        relation: "server files".to_owned(),
        record: String::new(),
        detail: format!("{damage}; everything was read without indexes instead"),
    });
    done
}

/// Whether rows are looked up along indexes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Indexes {
    Used,
    Avoided,
}
