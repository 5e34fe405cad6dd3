//! Who may reach what: the budgets of requests, and the organisations that an auditor's login may read. What roles may do is in
//! SQL (batchcortex.has_permission).

pub mod actor; // who acts, by name
pub mod auditor; // organisations granted to a database login
mod budget_table; // a bounded table of budgets
mod gcra; // the arithmetic of a rate
pub mod rate_limit; // budgets in shared memory
