//! A row as verification needs it, in one value that parallel workers can hand to their leader.

use super::leaf::is_of_time;
use crate::row::{Row, uuid_bytes, with_varlena};
use batchcortex_ledger::hash::Hash;

/// Bytes of a packed digest: flags, leaf hash, key.
const LENGTH: usize = 1 + 32 + 16;
const AGREES: u8 = 1;
const TIMELY: u8 = 2;

/// What a row of the project's own tables hashes to now, and whether it fits itself.
pub struct Digest {
    /// Its key.
    pub key: [u8; 16],
    /// What its bytes hash to.
    pub leaf: Hash,
    /// Whether its leaf_hash column says the same.
    pub agrees: bool,
    /// Whether its key was made when it says that it was recorded.
    pub timely: bool,
}

impl Digest {
    /// Hashes a row; none when a column that this needs is missing. A row too large to encode cannot have been hashed when it was written:
    /// it agrees with no leaf.
    pub fn of(row: &Row<'_>, domain: &str, key_column: &str) -> Option<Self> {
        let (leaf_hash, recorded_at) = (row.position("leaf_hash")?, row.position("recorded_at")?);
        let leaf = row.leaf(domain, Some(leaf_hash)).unwrap_or_default();
        // SAFETY: the key is a uuid column, leaf_hash a bytea column, recorded_at a timestamptz column.
        unsafe {
            let key = row
                .get(row.position(key_column)?)
                .map(|datum| uuid_bytes(datum))
                .unwrap_or_default();
            Some(Digest {
                timely: row
                    .get(recorded_at)
                    .is_some_and(|time| is_of_time(&key, time.value() as i64)),
                agrees: row
                    .get(leaf_hash)
                    .is_some_and(|datum| with_varlena(datum, |stored| stored == leaf)),
                key,
                leaf,
            })
        }
    }

    /// Flags, leaf hash, key.
    pub fn pack(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = if self.agrees { AGREES } else { 0 } | if self.timely { TIMELY } else { 0 };
        bytes[1..33].copy_from_slice(&self.leaf);
        bytes[33..].copy_from_slice(&self.key);
        bytes
    }

    /// What [`Digest::pack`] wrote.
    pub fn unpack(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        Some(Digest {
            key: bytes[33..].try_into().ok()?,
            leaf: bytes[1..33].try_into().ok()?,
            agrees: bytes[0] & AGREES != 0,
            timely: bytes[0] & TIMELY != 0,
        })
    }
}
