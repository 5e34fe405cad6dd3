//! The audit trail: who did what, when, why and from where.

pub mod append; // log_event: one event, straight into its month
pub mod bulk; // the events of one statement, all at once
pub mod month; // days and months in UTC
pub mod stamp; // what the server sets, for every way in
mod target; // a table opened for rows without a plan
