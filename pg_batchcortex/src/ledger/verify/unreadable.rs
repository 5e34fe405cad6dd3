//! Pages that PostgreSQL itself cannot read: an index that points past the end of a table's file, a file that is gone. They are found
//! like any other damage, and what can still be read is verified.

use super::{Finding, Verification};
use crate::assign;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use std::ffi::CStr;
use std::panic::AssertUnwindSafe;

/// Settings under which rows are read in the order in which they lie, by one process.
const NO_INDEX: [(&CStr, &CStr); 5] = [
    (c"enable_seqscan", c"on"),
    (c"enable_indexscan", c"off"),
    (c"enable_indexonlyscan", c"off"),
    (c"enable_bitmapscan", c"off"),
    (c"max_parallel_workers_per_gather", c"0"),
];

/// What PostgreSQL says of a page or a file that it cannot read.
const UNREADABLE: [PgSqlErrorCode; 4] = [
    PgSqlErrorCode::ERRCODE_IO_ERROR,
    PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
    PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED,
    PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
];

/// Runs `check`; when it meets what cannot be read, runs it once more without indexes and says so. What cannot be read then either is an
/// error. An SPI connection is open.
pub fn or_without_indexes(mut check: impl FnMut() -> Verification) -> Verification {
    let damage = match attempt(&mut check) {
        Ok(done) => return done,
        Err(damage) => damage,
    };
    let mut done = assign::during(&NO_INDEX, check);
    done.findings.push(Finding {
        log: "installation".to_owned(),
        code: "unreadable",
        relation: "server files".to_owned(),
        record: String::new(),
        detail: format!("{damage}; everything was read without indexes instead"),
    });
    done
}

/// Runs `body` in a subtransaction; what PostgreSQL says of a page or a file that it cannot read, if that stopped it.
fn attempt<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    // SAFETY: what a subtransaction changes is put back at both of its ends, as PL/pgSQL does around a block with handlers.
    unsafe {
        let (context, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let result = PgTryBuilder::new(AssertUnwindSafe(|| Ok(body())))
            .catch_others(|error| Err(Box::new(error)))
            .execute();
        // Whatever it was: an error that left with the subtransaction open would abort that alone.
        match result {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        result.map_err(|error| match *error {
            CaughtError::PostgresError(report) | CaughtError::ErrorReport(report)
                if UNREADABLE.contains(&report.sql_error_code()) =>
            {
                report.message().to_owned()
            }
            error => error.rethrow(),
        })
    }
}
