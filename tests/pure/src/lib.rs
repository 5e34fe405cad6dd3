//! What of the extension needs no PostgreSQL, compiled by itself from the extension's sources, so that it can be tested without a
//! server: the extension as a whole links only inside one.

#[path = "../../../pg_batchcortex/src/access/budget_table.rs"]
pub mod budget_table; // a bounded table of budgets
#[path = "../../../pg_batchcortex/src/access/gcra.rs"]
pub mod gcra; // the arithmetic of a rate
