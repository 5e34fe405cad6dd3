//! The lines of an evidence file and their one spelling.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use super::hex;
use super::text::{Scope, is_instant};
use crate::checkpoint::parse_decimal;
use crate::commitment::SALT;
use crate::hash::Hash;

/// The longest line in bytes: what PostgreSQL can hold in one text value.
pub const MAX_LINE: usize = 1 << 30;

/// The most hashes that a proof has: two for each level of a tree of 2^63 leaves.
const MAX_PATH: usize = 128;

/// The name of the format.
const VERSION: &str = "batchcortex/v1";

/// Why bytes are no line of an evidence file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line has more than [`MAX_LINE`] bytes.
    #[error("the line is longer than {MAX_LINE} bytes")]
    TooLong,
    /// Not one of the line types, or not spelled as the writer spells it.
    #[error("not a line of evidence in its one spelling")]
    Syntax,
    /// The first line is of another format or version.
    #[error("the first line must be a header of evidence {VERSION}")]
    Header,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    evidence: String,
    /// The origin of the organisation's log.
    pub origin: String,
    /// What the exporter was asked for ([`Scope`]). Nothing vouches for it.
    pub scope: String,
    /// When it was exported, RFC 3339 in UTC with microseconds. Nothing vouches for it.
    pub exported_at: String,
}

impl Header {
    /// A header of this version.
    pub fn new(origin: &str, scope: &Scope, exported_at: &str) -> Self {
        Header {
            evidence: VERSION.to_owned(),
            origin: origin.to_owned(),
            scope: scope.to_string(),
            exported_at: exported_at.to_owned(),
        }
    }

    /// Reads the first line, without its newline.
    ///
    /// # Errors
    /// [`LineError::Header`].
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        let header: Header = canonical(line).ok_or(LineError::Header)?;
        let known = header.evidence == VERSION
            && Scope::parse(&header.scope).is_some()
            && is_instant(&header.exported_at);
        known.then_some(header).ok_or(LineError::Header)
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&json(self)?)
    }
}

/// A line after the first. Displays as its one spelling, without a newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// 2^level leaves that are not shown, by the root of their subtree.
    Subtree {
        /// Index of the first leaf, a multiple of 2^level.
        first: u64,
        /// The level, 0 for one leaf.
        level: u8,
        /// RFC 6962 root of these leaves.
        hash: Hash,
    },
    /// A record and its leaf.
    Leaf {
        /// Index of the leaf, from 0.
        index: u64,
        /// The leaf hash as the log has it. It must be SHA-256(0x00 ‖ preimage): that it stands here as
        /// well says which record was altered, where the root alone would say that some record was.
        hash: Hash,
        /// The record's preimage, as the hexadecimal digits of the line: not decoded, not checked.
        preimage: &'a [u8],
    },
    /// A value that the record before it names by a commitment. Right after its leaf.
    Opening {
        /// Index of the leaf, from 0.
        index: u64,
        /// Column of the record, after a dot the member of its JSON object: `after.username`.
        field: String,
        /// The salt.
        salt: [u8; SALT],
        /// The value.
        value: String,
    },
    /// A leaf whose record the exporting database did not have any more. Always a finding.
    Missing {
        /// Index of the leaf, from 0.
        index: u64,
        /// The leaf hash as the log has it.
        hash: Hash,
        /// Kind and key of the record, as the exporter says.
        record: String,
    },
    /// Text of the organisation's checkpoint; its size ends the walk.
    Checkpoint(String),
    /// Proof that the checkpoint's text is a leaf of the global log.
    Inclusion {
        /// Index in the global log, from 0.
        index: u64,
        /// From the leaf's sibling up (RFC 6962 §2.1.1).
        path: Vec<Hash>,
    },
    /// Proof that the global log of `size` leaves is the beginning of this one.
    Consistency {
        /// The size of the earlier log.
        size: u64,
        /// RFC 6962 §2.1.2.
        path: Vec<Hash>,
    },
    /// The signed note of the global log's checkpoint, cosignatures included.
    Global(String),
}

impl<'a> Line<'a> {
    /// Reads a line after the first, without its newline.
    ///
    /// # Errors
    /// [`LineError`] unless the line is spelled exactly as this crate spells it.
    pub fn parse(line: &'a [u8]) -> Result<Self, LineError> {
        if line.len() > MAX_LINE {
            return Err(LineError::TooLong);
        }
        // The two kinds that a long file consists of are read by hand, which leaves no second spelling.
        if let Some(rest) = line.strip_prefix(br#"{"leaf":{"index":"#) {
            return leaf(rest).ok_or(LineError::Syntax);
        }
        if let Some(rest) = line.strip_prefix(br#"{"subtree":{"first":"#) {
            return subtree(rest).ok_or(LineError::Syntax);
        }
        let spelled: Spelled = canonical(line).ok_or(LineError::Syntax)?;
        spelled.line().ok_or(LineError::Syntax)
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = String::new();
        match self {
            Line::Subtree { first, level, hash } => {
                hex::encode(hash, &mut digits);
                write!(
                    f,
                    r#"{{"subtree":{{"first":{first},"level":{level},"hash":"{digits}"}}}}"#
                )
            }
            Line::Leaf {
                index,
                hash,
                preimage,
            } => {
                hex::encode(hash, &mut digits);
                write!(f, r#"{{"leaf":{{"index":{index},"hash":"{digits}","preimage":""#)?;
                f.write_str(std::str::from_utf8(preimage).map_err(|_| fmt::Error)?)?;
                f.write_str(r#""}}"#)
            }
            other => f.write_str(&json(&Spelled::of(other).ok_or(fmt::Error)?)?),
        }
    }
}

/// The line of a record from its preimage: what a writer needs, in one allocation.
pub fn leaf_line(index: u64, hash: &Hash, preimage: &[u8]) -> String {
    let mut line = String::with_capacity(2 * preimage.len() + 128);
    // Writing to a String cannot fail.
    let _ = write!(line, r#"{{"leaf":{{"index":{index},"hash":""#);
    hex::encode(hash, &mut line);
    line.push_str(r#"","preimage":""#);
    hex::encode(preimage, &mut line);
    line.push_str(r#""}}"#);
    line
}

fn leaf(rest: &[u8]) -> Option<Line<'_>> {
    let (index, rest) = number(rest)?;
    let rest = rest.strip_prefix(br#","hash":""#)?;
    let (hash, rest) = hash(rest)?;
    let preimage = rest.strip_prefix(br#"","preimage":""#)?.strip_suffix(br#""}}"#)?;
    Some(Line::Leaf {
        index,
        hash,
        preimage,
    })
}

fn subtree(rest: &[u8]) -> Option<Line<'static>> {
    let (first, rest) = number(rest)?;
    let rest = rest.strip_prefix(br#","level":"#)?;
    let (level, rest) = number(rest)?;
    let rest = rest.strip_prefix(br#","hash":""#)?;
    let (hash, rest) = hash(rest)?;
    let level = u8::try_from(level).ok()?;
    (rest == br#""}}"#).then_some(Line::Subtree { first, level, hash })
}

/// A decimal number in its one spelling, and what follows.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take(20).take_while(|c| c.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(digits);
    let number = std::str::from_utf8(digits)
        .ok()
        .filter(|digits| !digits.is_empty())?;
    Some((parse_decimal(number)?, rest))
}

fn hash(text: &[u8]) -> Option<(Hash, &[u8])> {
    let (digits, rest) = text.split_at_checked(64)?;
    let mut hash = [0; 32];
    hex::decode_to(digits, &mut hash).then_some((hash, rest))
}

/// What serde reads and writes: the lines that a file has few of.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Spelled {
    Opening {
        index: u64,
        field: String,
        salt: String,
        value: String,
    },
    Missing {
        index: u64,
        hash: String,
        record: String,
    },
    Checkpoint(String),
    Inclusion {
        index: u64,
        path: Vec<String>,
    },
    Consistency {
        size: u64,
        path: Vec<String>,
    },
    Global(String),
}

impl Spelled {
    fn line(self) -> Option<Line<'static>> {
        let whole = |text: String| match hash(text.as_bytes()) {
            Some((hash, [])) => Some(hash),
            _ => None,
        };
        let hashes = |path: Vec<String>| -> Option<Vec<Hash>> {
            (path.len() <= MAX_PATH).then_some(())?;
            path.into_iter().map(whole).collect()
        };
        Some(match self {
            Spelled::Opening {
                index,
                field,
                salt,
                value,
            } => Line::Opening {
                index,
                field,
                salt: whole(salt)?,
                value,
            },
            Spelled::Missing { index, hash, record } => Line::Missing {
                index,
                hash: whole(hash)?,
                record,
            },
            Spelled::Checkpoint(text) => Line::Checkpoint(text),
            Spelled::Inclusion { index, path } => Line::Inclusion {
                index,
                path: hashes(path)?,
            },
            Spelled::Consistency { size, path } => Line::Consistency {
                size,
                path: hashes(path)?,
            },
            Spelled::Global(note) => Line::Global(note),
        })
    }

    fn of(line: &Line<'_>) -> Option<Self> {
        let digits = |hash: &Hash| {
            let mut digits = String::new();
            hex::encode(hash, &mut digits);
            digits
        };
        Some(match line {
            Line::Opening {
                index,
                field,
                salt,
                value,
            } => Spelled::Opening {
                index: *index,
                field: field.clone(),
                salt: digits(salt),
                value: value.clone(),
            },
            Line::Missing { index, hash, record } => Spelled::Missing {
                index: *index,
                hash: digits(hash),
                record: record.clone(),
            },
            Line::Checkpoint(text) => Spelled::Checkpoint(text.clone()),
            Line::Inclusion { index, path } => Spelled::Inclusion {
                index: *index,
                path: path.iter().map(digits).collect(),
            },
            Line::Consistency { size, path } => Spelled::Consistency {
                size: *size,
                path: path.iter().map(digits).collect(),
            },
            Line::Global(note) => Spelled::Global(note.clone()),
            Line::Leaf { .. } | Line::Subtree { .. } => return None,
        })
    }
}

fn json<T: Serialize>(value: &T) -> Result<String, fmt::Error> {
    serde_json::to_string(value).map_err(|_| fmt::Error)
}

/// What `line` says, unless it is another spelling of that: a space more, members in another order, an
/// escape that was not needed.
fn canonical<T: Serialize + for<'de> Deserialize<'de>>(line: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(line).ok()?;
    (serde_json::to_vec(&value).ok()? == line).then_some(value)
}
