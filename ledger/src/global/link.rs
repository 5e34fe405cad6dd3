//! The first leaf of an incarnation of the global log: what it continues.

use super::text::{parse_time, time};
use crate::checkpoint::parse_decimal;
use crate::hash::Hash;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use std::fmt;
use std::str::FromStr;

const HEADER: &str = "batchcortex/incarnation/v1";

/// Why a text is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a link has six lines: {HEADER}, origin, previous origin or -, size, base64 of the root, time")]
pub struct LinkError;

/// An incarnation and what went before it. It reads from and displays as its text, which is the preimage of a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The global log's origin from now on.
    pub origin: String,
    /// Its origin until then; none for the first incarnation.
    pub previous: Option<String>,
    /// The size of the global tree that it continues, without this leaf.
    pub size: u64,
    /// The root of that tree.
    pub root: Hash,
    /// When the incarnation began, microseconds since 1970-01-01 UTC, before the year 10000.
    pub began_at: i64,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{HEADER}\n{}\n{}\n{}\n{}\n{}",
            self.origin,
            self.previous.as_deref().unwrap_or("-"),
            self.size,
            BASE64_STANDARD.encode(self.root),
            time(self.began_at).ok_or(fmt::Error)?
        )
    }
}

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let read = || {
            let lines: Vec<&str> = text.strip_suffix('\n')?.split('\n').collect();
            let [HEADER, origin, previous, size, root, began] = lines[..] else {
                return None;
            };
            Some(Link {
                origin: origin.to_owned(),
                previous: (previous != "-").then(|| previous.to_owned()),
                size: parse_decimal(size)?,
                root: BASE64_STANDARD.decode(root).ok()?.try_into().ok()?,
                began_at: parse_time(began)?,
            })
        };
        read().ok_or(LinkError)
    }
}
