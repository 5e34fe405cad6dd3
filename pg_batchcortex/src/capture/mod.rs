//! Change capture: before and after of every change to a tracked table, as events of the same transaction.
//!
//! Row triggers see each change wherever it comes from: DML on the table, on the partitioned table above it, COPY, cascades and
//! logical replication. Statement triggers around them gather what one statement changes, so that it is stored at once. Without
//! them, for instance on a partition that is written by its own name, each row is stored when its trigger fires.

mod batch; // what one statement has changed so far
mod plan; // what is captured of a table, and how
pub mod reason; // why: said once a transaction
pub mod register; // which tables
mod settings; // text forms must not follow the session's settings
mod text; // values as text
mod trigger; // the trigger functions
mod truncate; // rows that go without a row trigger

/// At library load.
pub fn install() {
    truncate::install();
}
