//! Tables of others read in the name of their owners.
//!
//! To plan a query of a table is to run what its owner wrote into predicates of indexes. Whoever reads a table of somebody else's here, a
//! superuser above all, does it with the owner's rights: the code gains nothing by it.

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use std::panic::AssertUnwindSafe;

/// Runs `body` as `owner`, past row security, as PostgreSQL runs its own foreign-key checks. No setting that it changes, no temporary object
/// that it makes outlives it; an error of it is returned, and what it did is taken back.
pub fn lent<T>(owner: pg_sys::Oid, body: impl FnOnce() -> T) -> Result<T, Box<CaughtError>> {
    const SCOPE: u32 = pg_sys::SECURITY_LOCAL_USERID_CHANGE
        | pg_sys::SECURITY_NOFORCE_RLS
        | pg_sys::SECURITY_RESTRICTED_OPERATION;
    attempt(|| {
        let mut user = pg_sys::InvalidOid;
        let mut context = 0;
        // SAFETY: reads and sets the user of this backend; the pair is restored below or by the abort of the subtransaction, and so are settings.
        let level = unsafe {
            pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut context);
            pg_sys::SetUserIdAndSecContext(owner, context | SCOPE as i32);
            pg_sys::NewGUCNestLevel()
        };
        let result = body();
        // SAFETY: as above. False: what was set is taken back.
        unsafe {
            pg_sys::AtEOXact_GUC(false, level);
            pg_sys::SetUserIdAndSecContext(user, context);
        }
        result
    })
}

/// Runs `body` in a subtransaction, which an error of it ends.
pub fn attempt<R>(body: impl FnOnce() -> R) -> Result<R, Box<CaughtError>> {
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
        result
    }
}
