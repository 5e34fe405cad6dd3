//! Cosignatures on their way: from a witness to whoever asked, and to the log.
//!
//! A witness answers with signature lines alone. Posted to the log they follow the size of the tree that they are over, since the log
//! has many checkpoints:
//!
//! ```text
//! size 20852163
//!
//! — witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH…
//! ```

use std::fmt;

use super::request::RequestError;
use crate::checkpoint::parse_decimal;
use crate::note::{MAX_SIGNATURES, NoteError, NoteSignature};

/// Cosignatures of one checkpoint. It displays as its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The size of the checkpoint's tree.
    pub size: u64,
    /// The cosignatures, none of them checked.
    pub signatures: Vec<NoteSignature>,
}

impl Submission {
    /// Reads a body.
    ///
    /// # Errors
    /// [`RequestError`]; only what [`Display`](fmt::Display) writes is a submission.
    pub fn parse(body: &str) -> Result<Self, RequestError> {
        let (head, lines) = body.split_once("\n\n").ok_or(RequestError::BlankLine)?;
        let size = head
            .strip_prefix("size ")
            .filter(|digits| !digits.is_empty())
            .and_then(parse_decimal)
            .ok_or(RequestError::OldSize)?;
        Ok(Submission {
            size,
            signatures: parse_signatures(lines).map_err(RequestError::Note)?,
        })
    }
}

impl fmt::Display for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "size {}\n\n{}", self.size, render_signatures(&self.signatures))
    }
}

/// Reads one signature line or more, each ended by a newline: what a witness answers.
///
/// # Errors
/// [`NoteError`].
pub fn parse_signatures(lines: &str) -> Result<Vec<NoteSignature>, NoteError> {
    let lines = lines.strip_suffix('\n').ok_or(NoteError::SignatureLine)?;
    lines
        .split('\n')
        .enumerate()
        .map(|(number, line)| match number {
            MAX_SIGNATURES.. => Err(NoteError::TooManySignatures),
            _ => NoteSignature::parse(line),
        })
        .collect()
}

/// Writes signature lines.
pub fn render_signatures(signatures: &[NoteSignature]) -> String {
    signatures
        .iter()
        .map(|signature| format!("{signature}\n"))
        .collect()
}
