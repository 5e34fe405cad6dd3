//! Values that records name by a commitment. The salt is made here: SQL's own random numbers are for other things.

use batchcortex_ledger::commitment::{SALT, commit, text};
use pgrx::prelude::*;

/// Behind commit_personal_data: a salt of 32 random bytes and the commitment to the value, as a record writes it.
#[pg_extern(volatile, strict, parallel_safe)]
pub fn make_commitment(
    value: &str,
) -> TableIterator<'static, (name!(commitment, String), name!(salt, Vec<u8>))> {
    let mut salt = [0; SALT];
    if getrandom::fill(&mut salt).is_err() {
        error!("the operating system gives no random bytes");
    }
    TableIterator::once((text(&commit(&salt, value)), salt.to_vec()))
}
