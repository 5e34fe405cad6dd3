//! The rows that leaves stand for.

pub mod columns; // rows of other people's tables, in the order in which they lie
mod digest; // a row of the project's own tables, hashed
mod helpers; // parallel workers
pub mod own; // rows of the project's own tables
mod whole_query; // a query run to its end
pub mod work; // what is to be read, in tasks

use crate::ledger::key::Key;
use batchcortex_ledger::hash::Hash;

/// A row, hashed as it stands.
pub struct Hashed {
    /// Key of the record.
    pub key: Key,
    /// What its bytes hash to now.
    pub leaf: Hash,
    /// Whether its own leaf_hash column says the same.
    pub agrees: bool,
    /// Whether the key was made when the row says that it was recorded; always so for tables of others.
    pub timely: bool,
}
