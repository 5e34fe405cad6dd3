//! Statements that the sealer plans once: for a few rows by their key, parsing and planning cost more than reading them, and a pass runs
//! several for each organisation.
//!
//! For the sealer alone, which is always the same superuser: a kept plan has its row security built in, and PostgreSQL does not plan anew
//! when that was left out for a look-up across organisations.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use pgrx::spi::{OwnedPreparedStatement, SpiClient, SpiTupleTable};
use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    /// Kept until the process ends.
    static PLANS: RefCell<HashMap<&'static str, &'static OwnedPreparedStatement>> = RefCell::default();
}

/// As `client.update`.
pub fn update<'c>(
    client: &mut SpiClient<'c>,
    query: &'static str,
    arguments: &[DatumWithOid<'_>],
) -> SpiTupleTable<'c> {
    let kept = PLANS.with_borrow(|plans| plans.get(query).copied());
    let plan = kept.unwrap_or_else(|| {
        let types: Vec<PgOid> = arguments.iter().map(|argument| argument.oid().into()).collect();
        let statement = client.prepare_mut(query, &types).unwrap_or_report();
        let plan = &*Box::leak(Box::new(statement.keep()));
        PLANS.with_borrow_mut(|plans| plans.insert(query, plan));
        plan
    });
    client.update(plan, None, arguments).unwrap_or_report()
}
