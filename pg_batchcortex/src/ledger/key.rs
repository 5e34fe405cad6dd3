//! The name of a record: a uuid for the project's own tables, the primary key's columns for those of others.

use pgrx::pg_sys;

/// Name of a record within its table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A record of the project's own tables.
    Uuid([u8; 16]),
    /// Key columns as [`super::foreign::key`] packs them.
    Columns(Box<[u8]>),
}

impl Key {
    /// From the list of a tile.
    pub fn of(bytes: &[u8]) -> Self {
        match bytes.try_into() {
            Ok(uuid) => Key::Uuid(uuid),
            Err(_) => Key::Columns(bytes.into()),
        }
    }

    /// For people: the uuid, or the columns with commas between them.
    pub fn text(&self, kinds: &[pg_sys::Oid]) -> String {
        let bytes: &[u8] = match self {
            Key::Uuid(uuid) => uuid,
            Key::Columns(bytes) => bytes,
        };
        match (self, kinds) {
            (Key::Uuid(uuid), [] | [pg_sys::UUIDOID]) => pgrx::datum::Uuid::from_bytes(*uuid).to_string(),
            _ => {
                let mut rest = bytes;
                let mut parts = Vec::new();
                while let Some((length, after)) = rest.split_at_checked(2) {
                    let length = usize::from(length[0]) << 8 | usize::from(length[1]);
                    let Some((value, after)) = after.split_at_checked(length) else {
                        break;
                    };
                    let kind = kinds.get(parts.len()).copied().unwrap_or(pg_sys::InvalidOid);
                    parts.push(column_text(kind, value));
                    rest = after;
                }
                parts.join(", ")
            }
        }
    }
}

/// A column of a key as text, in hexadecimal where the type has no plain one. Never fails: the bytes may have been tampered with.
fn column_text(kind: pg_sys::Oid, value: &[u8]) -> String {
    let number = match (kind, value.len()) {
        (pg_sys::INT2OID, 2) | (pg_sys::INT4OID, 4) | (pg_sys::INT8OID, 8) => {
            let negative = value[0] & 0x80 != 0;
            let start: i64 = if negative { -1 } else { 0 };
            Some(value.iter().fold(start, |sum, byte| sum << 8 | i64::from(*byte)))
        }
        _ => None,
    };
    match (kind, number, <[u8; 16]>::try_from(value)) {
        (_, Some(number), _) => number.to_string(),
        (pg_sys::UUIDOID, _, Ok(uuid)) => pgrx::datum::Uuid::from_bytes(uuid).to_string(),
        (pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID | pg_sys::NAMEOID, ..) => {
            String::from_utf8_lossy(value).into_owned()
        }
        _ => format!("\\x{}", hex::encode(value)),
    }
}
