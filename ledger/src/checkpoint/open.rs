//! Believing a checkpoint: the log's own signature, and the witnesses'.

use std::collections::BTreeSet;

use super::{Checkpoint, CheckpointError};
use crate::note::{SignatureType, SignedNote, Verified, VerifierKey};

/// A checkpoint that its log has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// What the log has signed.
    pub checkpoint: Checkpoint,
    /// The log's own signatures by known keys, one a key: at least one.
    pub signatures: Vec<Verified>,
    /// The known witnesses' cosignatures that hold, one a key.
    pub cosignatures: Vec<Verified>,
}

impl Cosigned {
    /// How many known witnesses have cosigned. Keys of one name are one witness, so that a witness
    /// that has changed its key counts once.
    pub fn witnesses(&self) -> usize {
        self.cosignatures
            .iter()
            .map(|cosignature| cosignature.name.as_str())
            .collect::<BTreeSet<_>>()
            .len()
    }
}

/// Reads a signed checkpoint and checks every signature by a known key. Keys of the log are those of
/// type Ed25519, old ones included; witnesses those of type cosignature/v1; the rest of both lists is
/// not looked at. How many witnesses are enough is for the caller to say.
///
/// # Errors
/// [`CheckpointError`] unless the note is a checkpoint of the log `origin` that a key of the log has
/// signed, and no signature by a known key fails.
pub fn open(
    note: &[u8],
    origin: &str,
    log: &[VerifierKey],
    witnesses: &[VerifierKey],
) -> Result<Cosigned, CheckpointError> {
    let note = SignedNote::parse(note)?;
    let checkpoint: Checkpoint = note.text().parse()?;
    if checkpoint.origin() != origin {
        return Err(CheckpointError::Origin {
            expected: origin.to_owned(),
        });
    }
    let of_type = |keys: &[VerifierKey], wanted| {
        keys.iter()
            .filter(|key| key.signature_type() == wanted)
            .cloned()
            .collect::<Vec<_>>()
    };
    let mut known = of_type(log, SignatureType::Ed25519);
    known.extend(of_type(witnesses, SignatureType::CosignatureV1));

    // A cosignature carries a time, a signature of the log does not.
    let (cosignatures, signatures): (Vec<_>, Vec<_>) = note
        .verify(&known)?
        .into_iter()
        .partition(|verified| verified.time.is_some());
    if signatures.is_empty() {
        return Err(CheckpointError::NotSigned);
    }
    Ok(Cosigned {
        checkpoint,
        signatures,
        cosignatures,
    })
}
