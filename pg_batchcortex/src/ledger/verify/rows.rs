//! The rows that leaves stand for.

mod columns; // rows of other people's tables, in the order in which they lie
pub mod spans; // rows of the project's own tables, span of time by span

use super::sources::Source;
use crate::ledger::key::Key;
use batchcortex_ledger::hash::Hash;
use columns::Columns;
use pgrx::datum::Uuid;
use spans::{Bounds, Spans};

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

/// The rows of one table in one log.
pub enum Rows<'a> {
    /// Of a table of the project's own.
    Own(Spans<'a>),
    /// Of a protected table.
    Foreign(Columns<'a>),
}

impl<'a> Rows<'a> {
    /// Opens them; none when the table has nothing in this log or cannot be read. `bounds`: of the spans of time.
    pub fn open(source: &'a Source, org_id: Uuid, bounds: &'a Bounds) -> Option<Self> {
        if !source.readable {
            return None;
        }
        if source.hashed {
            return Some(Rows::Own(Spans::new(source, org_id, bounds)));
        }
        Columns::open(source, org_id).map(Rows::Foreign)
    }

    /// Hashes the next rows; false when there are none.
    pub fn next(&mut self, body: impl FnMut(Hashed)) -> bool {
        match self {
            Rows::Own(spans) => spans.next(body),
            Rows::Foreign(columns) => columns.next(body),
        }
    }

    /// Ends the scan.
    pub fn close(self) {
        if let Rows::Foreign(columns) = self {
            columns.close();
        }
    }
}
