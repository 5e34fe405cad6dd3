//! Checkpoints, the signed state of a log: C2SP tlog-checkpoint.
//!
//! ```text
//! example.com/behind-the-sofa
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```

mod open;

pub use open::{Cosigned, open};

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::hash::{Hash, empty_root};
use crate::note::NoteError;

/// Why a checkpoint cannot be read or believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text has fewer than three lines, an empty line or no newline at its end.
    #[error("a checkpoint has three lines or more, none of them empty, each ended by a newline")]
    Lines,
    /// The origin or an extension line is empty or has control characters.
    #[error("an origin or extension line must not be empty and must have no control characters")]
    Line,
    /// The second line is no decimal number of 64 bits without leading zeros.
    #[error("the second line must be the tree size in decimal, without leading zeros")]
    Size,
    /// The third line is not the base64 of 32 bytes.
    #[error("the third line must be the base64 of a root of 32 bytes")]
    Root,
    /// The tree is empty, and the root is not that of the empty tree.
    #[error("the root of an empty tree must be the hash of nothing")]
    EmptyTree,
    /// The checkpoint is of another log.
    #[error("the checkpoint is of another log than {expected}")]
    Origin {
        /// The origin that was expected.
        expected: String,
    },
    /// A cosignature's time is later than 2^63 - 1 seconds since 1970.
    #[error("a cosignature's time must be below 2^63 seconds since 1970-01-01 UTC")]
    Time,
    /// None of the log's keys has signed.
    #[error("no key of the log has signed the checkpoint")]
    NotSigned,
    /// The note cannot be read, or a known key's signature does not hold.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// The size and root of a log. It reads from and displays as the text of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// The checkpoint of a log named `origin`.
    ///
    /// # Errors
    /// [`CheckpointError::Line`] for an origin that is no line; [`CheckpointError::EmptyTree`].
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        check_line(origin)?;
        if size == 0 && root != empty_root() {
            return Err(CheckpointError::EmptyTree);
        }
        Ok(Checkpoint {
            origin: origin.to_owned(),
            size,
            root,
            extensions: Vec::new(),
        })
    }

    /// Adds an extension line. Witnesses sign it and vouch for nothing in it.
    ///
    /// # Errors
    /// [`CheckpointError::Line`] when it is empty or has control characters.
    pub fn with_extension(mut self, line: &str) -> Result<Self, CheckpointError> {
        check_line(line)?;
        self.extensions.push(line.to_owned());
        Ok(self)
    }

    /// Which log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree of that size (RFC 6962 §2.1).
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// The extension lines.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}\n{}\n{}",
            self.origin,
            self.size,
            BASE64_STANDARD.encode(self.root)
        )?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    /// Reads the text of a checkpoint's note; only what [`Display`](fmt::Display) writes is one.
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Lines);
        };
        let size = parse_decimal(size).ok_or(CheckpointError::Size)?;
        let root = BASE64_STANDARD
            .decode(root)
            .ok()
            .and_then(|root| root.try_into().ok());
        let checkpoint = Checkpoint::new(origin, size, root.ok_or(CheckpointError::Root)?)?;
        lines.try_fold(checkpoint, Checkpoint::with_extension)
    }
}

/// A decimal number of 64 bits in its one spelling.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    (digits && !leading_zero).then(|| text.parse().ok()).flatten()
}

fn check_line(line: &str) -> Result<(), CheckpointError> {
    let control = line.bytes().any(|byte| byte < 0x20);
    if line.is_empty() || control {
        Err(CheckpointError::Line)
    } else {
        Ok(())
    }
}
