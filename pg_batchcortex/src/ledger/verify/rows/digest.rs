//! A row of the project's own tables, hashed as it stands.

use crate::ledger::leaf::is_of_time;
use crate::row::{Field, encode, fields, uuid_bytes, with_varlena};
use batchcortex_ledger::hash::Hash;
use pgrx::{PgTupleDesc, pg_sys};

/// Bytes of a packed digest: flags, leaf hash, key.
pub const LENGTH: usize = 1 + 32 + 16;
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
    /// Flags, leaf hash, key.
    pub fn pack(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = if self.agrees { AGREES } else { 0 } | if self.timely { TIMELY } else { 0 };
        bytes[1..33].copy_from_slice(&self.leaf);
        bytes[33..].copy_from_slice(&self.key);
        bytes
    }

    /// What [`Digest::pack`] wrote.
    pub fn unpack(bytes: &[u8; LENGTH]) -> Self {
        let (mut leaf, mut key) = (Hash::default(), [0; 16]);
        leaf.copy_from_slice(&bytes[1..33]);
        key.copy_from_slice(&bytes[33..]);
        Digest {
            key,
            leaf,
            agrees: bytes[0] & AGREES != 0,
            timely: bytes[0] & TIMELY != 0,
        }
    }
}

/// Hashes the rows of one table: what does not change from row to row is looked up once.
pub struct Digester {
    domain: String,
    fields: Vec<Field<String>>,
    key: usize,
    recorded_at: usize,
    leaf_hash: usize,
    preimage: Vec<u8>,
}

impl Digester {
    /// For rows that look so; none when a column that it needs is missing or of another type.
    pub fn new(desc: &PgTupleDesc<'_>, domain: &str, key_column: &str) -> Option<Self> {
        let position = |name: &str, kind: pg_sys::Oid| {
            fields(desc, None)
                .find(|field| field.name == name && field.kind == kind)
                .map(|field| field.position)
        };
        let leaf_hash = position("leaf_hash", pg_sys::BYTEAOID)?;
        Some(Digester {
            domain: domain.to_owned(),
            fields: fields(desc, Some(leaf_hash)).map(Field::owned).collect(),
            key: position(key_column, pg_sys::UUIDOID)?,
            recorded_at: position("recorded_at", pg_sys::TIMESTAMPTZOID)?,
            leaf_hash,
            preimage: Vec::with_capacity(4096),
        })
    }

    /// Hashes a row. One too large to encode cannot have been hashed when it was written: it agrees with no leaf.
    ///
    /// # Safety
    /// Values and null flags are those of a row as the digester was made for.
    pub unsafe fn digest(&mut self, values: &[pg_sys::Datum], nulls: &[bool]) -> Digest {
        let fields = self.fields.iter().map(Field::borrowed);
        let preimage = std::mem::take(&mut self.preimage);
        // SAFETY: as the caller promises.
        unsafe {
            let leaf = match encode(values, nulls, &self.domain, fields, preimage).leaf_hash() {
                Ok((leaf, preimage)) => {
                    self.preimage = preimage;
                    leaf
                }
                Err(_) => Hash::default(),
            };
            let get = |position: usize| (!nulls[position]).then(|| values[position]);
            let key = get(self.key).map(|datum| uuid_bytes(datum)).unwrap_or_default();
            Digest {
                timely: get(self.recorded_at).is_some_and(|time| is_of_time(&key, time.value() as i64)),
                agrees: get(self.leaf_hash).is_some_and(|datum| with_varlena(datum, |stored| stored == leaf)),
                key,
                leaf,
            }
        }
    }
}
