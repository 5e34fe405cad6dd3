//! A record's proof in one text: C2SP tlog-proof.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64>                        (optional; nothing vouches for it)
//! index <leaf index>
//! <base64 of a hash>                    (as many as the inclusion proof has)
//!
//! <the signed checkpoint>
//! ```

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::checkpoint::{self, CheckpointError, Cosigned, parse_decimal};
use crate::hash::Hash;
use crate::merkle::{ProofError, verify_inclusion};
use crate::note::VerifierKey;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The most hashes that an inclusion proof has: one for each level of a tree of 2^64 - 1 leaves.
const MAX_PATH: usize = 64;

/// Why a proof cannot be read or proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// The text is not a tlog-proof of version 1.
    #[error("expected {expected} in line {line} of the proof")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// The checkpoint cannot be believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The leaf is not in the tree of the checkpoint.
    #[error(transparent)]
    Inclusion(#[from] ProofError),
}

/// The proof that a log contains a leaf. It displays as its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Bytes of the application; nothing vouches for them.
    pub extra: Option<Vec<u8>>,
    /// The index of the leaf, from 0.
    pub index: u64,
    /// The audit path from the leaf's sibling up (RFC 6962 §2.1.1).
    pub path: Vec<Hash>,
    /// The signed checkpoint, byte for byte.
    pub checkpoint: String,
}

impl TlogProof {
    /// Reads a proof and believes nothing of it.
    ///
    /// # Errors
    /// [`TlogProofError::Syntax`], naming the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        let syntax = |line, expected| TlogProofError::Syntax { line, expected };
        let text = std::str::from_utf8(bytes).map_err(|_| syntax(1, "UTF-8"))?;
        // The checkpoint has a blank line of its own; the first one ends the proof's lines.
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or(syntax(1, "a blank line before the checkpoint"))?;
        let mut lines = head.split('\n').zip(1..).peekable();
        if lines.next().is_none_or(|(line, _)| line != HEADER) {
            return Err(syntax(1, HEADER));
        }
        let extra = lines
            .next_if(|(line, _)| line.starts_with("extra "))
            .map(|(line, number)| decode(&line["extra ".len()..]).ok_or(syntax(number, "extra <base64>")))
            .transpose()?;
        let expected = syntax(2 + usize::from(extra.is_some()), "index <number>");
        let index = lines
            .next()
            .and_then(|(line, _)| line.strip_prefix("index "))
            .and_then(parse_decimal);
        let index = index.ok_or(expected)?;
        let path = lines
            .map(|(line, number)| {
                let hash = decode(line).and_then(|hash| hash.try_into().ok());
                hash.filter(|_| number <= MAX_PATH + 3)
                    .ok_or(syntax(number, "a hash of the path in base64"))
            })
            .collect::<Result<_, _>>()?;
        Ok(TlogProof {
            extra,
            index,
            path,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// Checks the checkpoint (as [`checkpoint::open`] does) and that `leaf` is its leaf `index`. The
    /// caller computes the leaf hash from the record, and says how many witnesses are enough.
    ///
    /// # Errors
    /// [`TlogProofError`] when anything does not hold.
    pub fn verify(
        &self,
        leaf: &Hash,
        origin: &str,
        log: &[VerifierKey],
        witnesses: &[VerifierKey],
    ) -> Result<Cosigned, TlogProofError> {
        let cosigned = checkpoint::open(self.checkpoint.as_bytes(), origin, log, witnesses)?;
        verify_inclusion(
            self.index,
            cosigned.checkpoint.size(),
            leaf,
            &self.path,
            cosigned.checkpoint.root(),
        )?;
        Ok(cosigned)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64_STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path
            .iter()
            .try_for_each(|hash| writeln!(f, "{}", BASE64_STANDARD.encode(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok()
}
