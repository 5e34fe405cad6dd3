//! Statements that the sealer plans once: for a few rows by their key, parsing and planning cost more than reading them, and a pass runs
//! several for each organisation.
//!
//! For the sealer alone, which is always the same superuser: a kept plan has its row security built in, and PostgreSQL does not plan anew
//! when that was left out for a look-up across organisations.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use pgrx::spi::{OwnedPreparedStatement, PreparedStatement, SpiClient, SpiTupleTable};
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
    let plan = kept(query, || {
        let types: Vec<PgOid> = arguments.iter().map(|argument| argument.oid().into()).collect();
        client.prepare_mut(query, &types).unwrap_or_report()
    });
    client.update(plan, None, arguments).unwrap_or_report()
}

/// As `client.select`, without arguments: takes no transaction id.
pub fn select<'c>(client: &SpiClient<'c>, query: &'static str) -> SpiTupleTable<'c> {
    let plan = kept(query, || client.prepare(query, &[]).unwrap_or_report());
    client.select(plan, None, &[]).unwrap_or_report()
}

fn kept<'c>(
    query: &'static str,
    prepare: impl FnOnce() -> PreparedStatement<'c>,
) -> &'static OwnedPreparedStatement {
    PLANS
        .with_borrow(|plans| plans.get(query).copied())
        .unwrap_or_else(|| {
            let plan = &*Box::leak(Box::new(prepare().keep()));
            PLANS.with_borrow_mut(|plans| plans.insert(query, plan));
            plan
        })
}
