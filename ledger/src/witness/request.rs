//! The request `add-checkpoint`: C2SP tlog-witness.
//!
//! ```text
//! old 20852014
//! PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
//! …
//!
//! example.com/behind-the-sofa
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — example.com/behind-the-sofa Az3grlgtzPICa5OS8…
//! ```

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::checkpoint::{CheckpointError, parse_decimal};
use crate::hash::Hash;
use crate::note::{NoteError, SignedNote};

/// The most hashes that a proof may have: one a level of a tree of 64 bits.
pub const MAX_PROOF: usize = 63;

/// Why a request cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The first line.
    #[error(
        "the first line must be `old` (of a submission: `size`), a space and a size in decimal without leading zeros"
    )]
    OldSize,
    /// There is no blank line before the checkpoint.
    #[error("a blank line must stand between the proof and the checkpoint")]
    BlankLine,
    /// A line of the proof.
    #[error("line {0} must be the base64 of a hash of 32 bytes")]
    Hash(usize),
    /// More lines than a proof can have.
    #[error("a proof has at most {MAX_PROOF} hashes")]
    ProofLength,
    /// The note.
    #[error(transparent)]
    Note(NoteError),
    /// The note is no checkpoint.
    #[error(transparent)]
    Checkpoint(CheckpointError),
}

/// A request to cosign. It displays as its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the proof begins at: what the witness has cosigned last.
    pub old_size: u64,
    /// The proof that the tree of that size is the beginning of the checkpoint's (RFC 6962 §2.1.2).
    pub proof: Vec<Hash>,
    /// The checkpoint as the log has signed it; other signatures may be there.
    pub note: SignedNote,
}

impl AddCheckpoint {
    /// Reads a body. A note without a signature line is read too: whether its log is unknown or has not signed it is for
    /// [`Witness::judge`](super::Witness::judge) to say.
    ///
    /// # Errors
    /// [`RequestError`]; only what [`Display`](fmt::Display) writes is a request, up to the blank line after a note that nobody has signed.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        // A note may have blank lines of its own: the first one ends the proof.
        let end = body
            .windows(2)
            .position(|pair| pair == b"\n\n")
            .ok_or(RequestError::BlankLine)?;
        let head = std::str::from_utf8(&body[..end]).map_err(|_| RequestError::OldSize)?;
        let mut lines = head.split('\n');
        let old_size = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .filter(|digits| !digits.is_empty())
            .and_then(parse_decimal)
            .ok_or(RequestError::OldSize)?;
        let mut proof = Vec::new();
        for (number, line) in (2..).zip(lines) {
            if proof.len() == MAX_PROOF {
                return Err(RequestError::ProofLength);
            }
            proof.push(parse_hash(line).ok_or(RequestError::Hash(number))?);
        }
        Ok(AddCheckpoint {
            old_size,
            proof,
            note: read_note(&body[end + 2..]).map_err(RequestError::Note)?,
        })
    }
}

/// A note, of which signatures may be missing: the text alone, or with the blank line that would come before them.
fn read_note(bytes: &[u8]) -> Result<SignedNote, NoteError> {
    match SignedNote::parse(bytes) {
        Err(NoteError::NoSignatures) => {
            let text = std::str::from_utf8(bytes).map_err(|_| NoteError::NotUtf8)?;
            let ends_blank = text.ends_with("\n\n");
            SignedNote::new(if ends_blank { &text[..text.len() - 1] } else { text })
        }
        read => read,
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        for hash in &self.proof {
            writeln!(f, "{}", BASE64_STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.note)
    }
}

fn parse_hash(line: &str) -> Option<Hash> {
    BASE64_STANDARD.decode(line).ok()?.try_into().ok()
}
