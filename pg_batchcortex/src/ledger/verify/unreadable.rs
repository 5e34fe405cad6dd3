//! Pages that PostgreSQL itself cannot read: an index that points past the end of a table's file, a file that is gone. They are found
//! like any other damage, and what can still be read is verified.

use super::{Finding, Verification};
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use std::panic::AssertUnwindSafe;

/// Settings under which rows are read in the order in which they lie, by one process.
const NO_INDEX: [(&std::ffi::CStr, &std::ffi::CStr); 4] = [
    (c"enable_indexscan", c"off"),
    (c"enable_indexonlyscan", c"off"),
    (c"enable_bitmapscan", c"off"),
    (c"max_parallel_workers_per_gather", c"0"),
];

/// Runs `check`; when it meets what cannot be read, runs it once more without indexes and says so. What cannot be read then either is an
/// error. An SPI connection is open.
pub fn or_without_indexes(mut check: impl FnMut() -> Verification) -> Verification {
    let damage = match attempt(&mut check) {
        Ok(done) => return done,
        Err(damage) => damage,
    };
    // SAFETY: settings of this function alone; an error takes them back with its transaction.
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        for (name, setting) in NO_INDEX {
            pg_sys::set_config_option(
                name.as_ptr(),
                setting.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
        let mut done = check();
        pg_sys::AtEOXact_GUC(true, level);
        done.findings.push(Finding {
            log: "installation".to_owned(),
            code: "unreadable",
            relation: "server files".to_owned(),
            record: String::new(),
            detail: format!("{damage}; everything was read without indexes instead"),
        });
        done
    }
}

/// Runs `body` in a subtransaction; what PostgreSQL says of a page or a file that it cannot read, if that stopped it.
fn attempt<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    // SAFETY: what a subtransaction changes is put back at both of its ends, as PL/pgSQL does around a block with handlers.
    unsafe {
        let (context, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let result = PgTryBuilder::new(AssertUnwindSafe(|| Ok(body())))
            .catch_others(|error| match error {
                CaughtError::PostgresError(report) | CaughtError::ErrorReport(report)
                    if [
                        PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
                        PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED,
                        PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
                    ]
                    .contains(&report.sql_error_code()) =>
                {
                    Err(report.message().to_owned())
                }
                error => error.rethrow(),
            })
            .execute();
        match result {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        result
    }
}
