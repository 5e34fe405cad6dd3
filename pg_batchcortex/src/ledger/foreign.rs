//! Tables of others whose rows are leaves: hashed from all their columns in the order of their names, with nothing added.

use super::entry::Entry;
use super::{leaf, worker};
use crate::error::{self, Refusal};
use crate::row::{Row, uuid_bytes};
use batchcortex_ledger::global::GLOBAL;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// The log of the installation itself, for rows that belong to no organisation.
pub const INSTALLATION: [u8; 16] = [0; 16];

/// A protected table, as the register or its trigger describes it.
pub struct Foreign {
    /// ledger_relation.relation_id.
    pub id: u32,
    /// Qualified and quoted; empty when it came from a trigger.
    pub relation: String,
    /// Owner; none when it came from a trigger.
    pub owner: pg_sys::Oid,
    /// Domain of its preimages.
    pub domain: String,
    /// Column that names the organisation.
    pub org_column: Option<String>,
    /// Columns of the primary key, in its order.
    pub key_columns: Vec<String>,
}

impl Foreign {
    /// From the arguments of the trigger: relation id, domain, organisation column or empty, key columns.
    pub fn from_arguments(arguments: &[&str]) -> Option<Self> {
        let [id, domain, org_column, key_columns @ ..] = arguments else {
            return None;
        };
        Some(Foreign {
            id: id.parse().ok()?,
            relation: String::new(),
            owner: pg_sys::InvalidOid,
            domain: (*domain).to_owned(),
            org_column: (!org_column.is_empty()).then(|| (*org_column).to_owned()),
            key_columns: key_columns.iter().map(|name| (*name).to_owned()).collect(),
        })
    }

    /// From the register.
    pub fn registered(id: i32) -> Self {
        let query = "select format('%I.%I', n.nspname, c.relname), r.domain, r.org_column::text, r.key_columns::text[], c.relowner
                       from batchcortex.ledger_relation r join pg_class c on c.oid = r.relation join pg_namespace n on n.oid = c.relnamespace
                      where r.relation_id = $1";
        Spi::connect(|client| {
            let row = client
                .select(query, None, &[id.into()])
                .unwrap_or_report()
                .next()
                .unwrap_or_else(|| error!("no protected table has the relation id {id}"));
            Foreign {
                id: id as u32,
                relation: row.get(1).unwrap_or_report().unwrap_or_default(),
                owner: row.get(5).unwrap_or_report().unwrap_or(pg_sys::InvalidOid),
                domain: row.get(2).unwrap_or_report().unwrap_or_default(),
                org_column: row.get(3).unwrap_or_report(),
                key_columns: row.get(4).unwrap_or_report().unwrap_or_default(),
            }
        })
    }

    /// Queues the leaf of a stored row.
    ///
    /// # Safety
    /// The row must be one of the table, or of one of its partitions.
    pub unsafe fn enqueue(&self, row: &Row<'_>) -> Result<(), Refusal> {
        let org_id = match &self.org_column {
            None => INSTALLATION,
            // SAFETY: protect() takes a uuid column only.
            Some(name) => row
                .get(leaf::position(row, name)?)
                .map_or(INSTALLATION, |org_id| unsafe { uuid_bytes(org_id) }),
        };
        if org_id == GLOBAL {
            return Err(Refusal::new(
                error::UNACCEPTABLE,
                "ffffffff-ffff-ffff-ffff-ffffffffffff is the global log, of which no record is a leaf",
            ));
        }
        let entry = Entry {
            org_id,
            relation_id: self.id,
            // SAFETY: reads the clock.
            recorded_at: unsafe { pg_sys::GetCurrentTimestamp() },
            hash: row
                .leaf_by_name(&self.domain)
                .map_err(|e| Refusal::new(error::TOO_LARGE, e))?,
            key: key(row, &positions(row, &self.key_columns)?),
        };
        leaf::append_to_queue(&entry);
        worker::want();
        Ok(())
    }
}

/// Positions of columns by name.
pub fn positions(row: &Row<'_>, names: &[String]) -> Result<Vec<usize>, Refusal> {
    names.iter().map(|name| leaf::position(row, name)).collect()
}

/// The key of a row: per key column its length in two bytes, big-endian, and its bytes as in a preimage.
pub fn key(row: &Row<'_>, columns: &[usize]) -> Vec<u8> {
    let mut key = Vec::new();
    for column in columns {
        let bytes = row.bytes(*column);
        // An index entry is far shorter than this.
        key.extend_from_slice(&(bytes.len().min(usize::from(u16::MAX)) as u16).to_be_bytes());
        key.extend_from_slice(&bytes[..bytes.len().min(usize::from(u16::MAX))]);
    }
    key
}
