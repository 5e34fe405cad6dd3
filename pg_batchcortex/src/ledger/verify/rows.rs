//! The rows that leaves stand for.

pub mod columns; // rows of other people's tables, in the order in which they lie
mod digest; // a row of the project's own tables, hashed
mod helpers; // parallel workers
pub mod own; // rows of the project's own tables
mod whole_query; // a query run to its end
pub mod work; // what is to be read, in tasks

use super::Finding;
use super::sources::Source;
use super::told::BY_TABLE;
use crate::assign;
use crate::ledger::key::Key;
use crate::ledger::scan::Scan;
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

/// Rows that stand in a table of the project's own and are found along none of the ways that the verification took: it reads a log's rows along
/// indexes, and somebody may have left a row out of them. `read`: the rows of all logs. Inside an SPI connection.
pub fn outside(sources: &[Source], read: u64) -> Option<Finding> {
    let mut stored = 0;
    for source in sources.iter().filter(|source| source.hashed && source.readable) {
        assign::during(&BY_TABLE, || {
            let mut scan = Scan::open(&format!("select count(*) from {}", source.relation), &[], 1);
            scan.next(|row| stored += row.get(0).map_or(0, |count| count.value() as u64));
            scan.close();
        });
    }
    (stored != read).then(|| Finding {
        log: "installation".to_owned(),
        code: "weakened_protection",
        relation: "batchcortex".to_owned(),
        record: "indexes".to_owned(),
        detail: format!(
            "{stored} records are stored, and {read} are found along the indexes of their tables: make the indexes anew with REINDEX and verify again"
        ),
    })
}
