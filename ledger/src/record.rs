//! The preimage of a record's leaf, format v1.
//!
//! ```text
//! preimage = "batchcortex/record/v1" 0x0A ‖ u8 length(domain) ‖ domain ‖ field*
//! field    = u8 length(name) ‖ name ‖ u32 length(value) ‖ value
//! leaf     = SHA-256(0x00 ‖ preimage)
//! ```
//!
//! Lengths are in bytes, integers big-endian, names UTF-8. Fields stand in the order of the table's
//! columns; a NULL column is left out, which differs from an empty value. Every part carries its
//! length, so that no two records share a preimage, and the domain keeps a record of one kind from
//! being passed off as another.

use crate::hash::{Hash, leaf_hash};

/// Domain, table and key column of BatchCortex's own tables whose rows are leaves (`docs/format.md` §1).
pub const OWN_RELATIONS: [(&str, &str, &str); 8] = [
    ("event", "batchcortex.events_log", "event_id"),
    ("sample_segment", "batchcortex.sample_segment", "segment_id"),
    ("retention_policy", "batchcortex.retention_policy", "policy_id"),
    ("batch_retention", "batchcortex.batch_retention", "retention_id"),
    ("legal_hold", "batchcortex.legal_hold", "hold_id"),
    (
        "legal_hold_release",
        "batchcortex.legal_hold_release",
        "release_id",
    ),
    (
        "disposal_proposal",
        "batchcortex.disposal_proposal",
        "proposal_id",
    ),
    (
        "partition_disposal",
        "batchcortex.partition_disposal",
        "disposal_id",
    ),
];

/// What every preimage of this format begins with.
pub const PREFIX: &[u8] = b"batchcortex/record/v1\n";

/// The most fields that a record can have: the most columns that a PostgreSQL table can have.
pub const MAX_FIELDS: usize = 1600;

/// Why a record cannot be encoded, or bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes do not begin with [`PREFIX`].
    #[error("not a record of format v1: expected the prefix \"batchcortex/record/v1\" and a newline")]
    Prefix,
    /// The domain or a field name has no bytes or more than 255.
    #[error("a domain or field name must have 1 to 255 bytes, found {0}")]
    NameLength(usize),
    /// A field's value has more bytes than 32 bits can count.
    #[error("a value must have fewer than 2^32 bytes, found {0}")]
    ValueLength(usize),
    /// There are more than [`MAX_FIELDS`] fields.
    #[error("a record has at most {MAX_FIELDS} fields")]
    TooManyFields,
    /// A length points past the end of the bytes.
    #[error("the record ends inside a field, at byte {0}")]
    Truncated(usize),
    /// The domain or a field name is not UTF-8.
    #[error("a domain or field name is not UTF-8, at byte {0}")]
    NotUtf8(usize),
    /// Two fields have the same name.
    #[error("two fields have the same name, the second at byte {0}")]
    DuplicateField(usize),
}

/// Writes the preimage of one record.
///
/// The first fault (a name or value too long, too many fields) is kept and comes out of
/// [`finish`](Self::finish) or [`leaf_hash`](Self::leaf_hash): nothing is ever truncated silently.
/// Names must differ; [`decode`] refuses a record in which they do not.
#[derive(Debug)]
pub struct RecordEncoder {
    buffer: Vec<u8>,
    fields: usize,
    fault: Option<RecordError>,
}

impl RecordEncoder {
    /// Begins a record of `domain`, for instance "event".
    pub fn new(domain: &str) -> Self {
        Self::with_buffer(domain, Vec::with_capacity(512))
    }

    /// Begins a record in `buffer`, whose content is dropped and whose allocation is kept, so that
    /// a trigger hashes row after row without allocating.
    pub fn with_buffer(domain: &str, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.extend_from_slice(PREFIX);
        let mut encoder = RecordEncoder {
            buffer,
            fields: 0,
            fault: None,
        };
        encoder.name(domain);
        encoder
    }

    /// Adds a field. Fields are added in the order of the table's columns; NULL is not added.
    pub fn field(&mut self, name: &str, value: &[u8]) -> &mut Self {
        let Ok(length) = u32::try_from(value.len()) else {
            self.fail(RecordError::ValueLength(value.len()));
            return self;
        };
        if self.fields == MAX_FIELDS {
            self.fail(RecordError::TooManyFields);
            return self;
        }
        self.fields += 1;
        self.buffer.reserve(1 + name.len() + 4 + value.len());
        self.name(name);
        self.buffer.extend_from_slice(&length.to_be_bytes());
        self.buffer.extend_from_slice(value);
        self
    }

    /// The preimage. Give the vector to [`with_buffer`](Self::with_buffer) again to reuse it.
    ///
    /// # Errors
    /// The first fault met while encoding.
    pub fn finish(self) -> Result<Vec<u8>, RecordError> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.buffer),
        }
    }

    /// The record's leaf hash, SHA-256(0x00 ‖ preimage), and the buffer for the next record.
    ///
    /// # Errors
    /// The first fault met while encoding.
    pub fn leaf_hash(self) -> Result<(Hash, Vec<u8>), RecordError> {
        let preimage = self.finish()?;
        Ok((leaf_hash(&preimage), preimage))
    }

    fn name(&mut self, name: &str) {
        match u8::try_from(name.len()) {
            Ok(length) if length > 0 => {
                self.buffer.push(length);
                self.buffer.extend_from_slice(name.as_bytes());
            }
            _ => self.fail(RecordError::NameLength(name.len())),
        }
    }

    fn fail(&mut self, fault: RecordError) {
        self.fault.get_or_insert(fault);
    }
}

/// A decoded record, borrowing from its preimage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The kind of record, for instance "event".
    pub domain: &'a str,
    /// The fields in the order of the preimage.
    pub fields: Vec<Field<'a>>,
}

/// One field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The column's name.
    pub name: &'a str,
    /// The column's bytes.
    pub value: &'a [u8],
}

impl<'a> Record<'a> {
    /// The bytes of the field `name`; none when the column was NULL or does not exist.
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.fields
            .iter()
            .find(|field| field.name == name)
            .map(|field| field.value)
    }
}

/// Reads a preimage. Encoding what comes back gives the same bytes again.
///
/// # Errors
/// [`RecordError`] when the bytes are not exactly one record of format v1.
pub fn decode(preimage: &[u8]) -> Result<Record<'_>, RecordError> {
    let rest = preimage.strip_prefix(PREFIX).ok_or(RecordError::Prefix)?;
    let mut reader = Reader {
        rest,
        total: preimage.len(),
    };
    let domain = reader.name()?;
    let mut fields: Vec<Field<'_>> = Vec::with_capacity(24);
    while !reader.rest.is_empty() {
        let start = reader.position();
        if fields.len() == MAX_FIELDS {
            return Err(RecordError::TooManyFields);
        }
        let name = reader.name()?;
        if fields.iter().any(|field| field.name == name) {
            return Err(RecordError::DuplicateField(start));
        }
        let value = reader.value()?;
        fields.push(Field { name, value });
    }
    Ok(Record { domain, fields })
}

/// Whether bytes are exactly one record of format v1: what [`decode`] accepts, without keeping the
/// fields and mostly without allocating. Gives the domain.
///
/// # Errors
/// [`RecordError`], as [`decode`].
pub fn check(preimage: &[u8]) -> Result<&str, RecordError> {
    // Length and last bytes of the names so far: those that agree in them may be the same.
    let mut seen = [0u64; 32];
    let rest = preimage.strip_prefix(PREFIX).ok_or(RecordError::Prefix)?;
    let mut reader = Reader {
        rest,
        total: preimage.len(),
    };
    let domain = reader.name()?;
    let mut fields = 0;
    while let Some((&length, rest)) = reader.rest.split_first() {
        let name = rest.get(..usize::from(length)).unwrap_or_default();
        let mut mark = [length; 8];
        if let Some(end) = name.last_chunk::<7>() {
            mark[..7].copy_from_slice(end);
        } else {
            mark[..name.len()].copy_from_slice(name);
        }
        let mark = u64::from_le_bytes(mark);
        // Anything unusual is for the one that knows all the rules.
        if name.is_empty() || !name.is_ascii() || fields == seen.len() || seen[..fields].contains(&mark) {
            return decode(preimage).map(|record| record.domain);
        }
        seen[fields] = mark;
        fields += 1;
        reader.rest = &rest[usize::from(length)..];
        reader.value()?;
    }
    Ok(domain)
}

/// The bytes of a field of bytes that [`check`] accepts, without reading further than to it; none when there is no such field.
pub fn value<'a>(preimage: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let rest = preimage.strip_prefix(PREFIX)?;
    let mut reader = Reader {
        rest,
        total: preimage.len(),
    };
    reader.name().ok()?;
    while !reader.rest.is_empty() {
        let found = reader.name().ok()? == name;
        let value = reader.value().ok()?;
        if found {
            return Some(value);
        }
    }
    None
}

struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Reader<'a> {
    fn position(&self) -> usize {
        self.total - self.rest.len()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(RecordError::Truncated(self.total))?;
        self.rest = rest;
        Ok(taken)
    }

    fn name(&mut self) -> Result<&'a str, RecordError> {
        let start = self.position();
        let (&length, rest) = self
            .rest
            .split_first()
            .ok_or(RecordError::Truncated(self.total))?;
        self.rest = rest;
        if length == 0 {
            return Err(RecordError::NameLength(0));
        }
        let bytes = self.take(usize::from(length))?;
        std::str::from_utf8(bytes).map_err(|_| RecordError::NotUtf8(start + 1))
    }

    fn value(&mut self) -> Result<&'a [u8], RecordError> {
        let (&length, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(RecordError::Truncated(self.total))?;
        self.rest = rest;
        let length =
            usize::try_from(u32::from_be_bytes(length)).map_err(|_| RecordError::Truncated(self.total))?;
        self.take(length)
    }
}
