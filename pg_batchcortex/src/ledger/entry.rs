//! A waiting leaf, packed in one value: writers append nothing else and nothing wider.

use batchcortex_ledger::hash::Hash;

const HEAD: usize = 16 + 4 + 8 + 32;

/// One row of batchcortex.ledger_queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Organisation.
    pub org_id: [u8; 16],
    /// ledger_relation.relation_id.
    pub relation_id: u32,
    /// Time of the record, microseconds since 2000-01-01 UTC.
    pub recorded_at: i64,
    /// Leaf hash.
    pub hash: Hash,
    /// Key of the record.
    pub key: Vec<u8>,
}

impl Entry {
    /// org_id, relation_id, recorded_at, hash, key; numbers big-endian.
    pub fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.key.len());
        bytes.extend_from_slice(&self.org_id);
        bytes.extend_from_slice(&self.relation_id.to_be_bytes());
        bytes.extend_from_slice(&self.recorded_at.to_be_bytes());
        bytes.extend_from_slice(&self.hash);
        bytes.extend_from_slice(&self.key);
        bytes
    }

    /// The entry in `bytes`, none when they are not one.
    pub fn unpack(bytes: &[u8]) -> Option<Self> {
        Some(Entry {
            org_id: bytes.get(..16)?.try_into().ok()?,
            relation_id: u32::from_be_bytes(bytes.get(16..20)?.try_into().ok()?),
            recorded_at: i64::from_be_bytes(bytes.get(20..28)?.try_into().ok()?),
            hash: bytes.get(28..HEAD)?.try_into().ok()?,
            key: bytes.get(HEAD..)?.to_vec(),
        })
    }
}
