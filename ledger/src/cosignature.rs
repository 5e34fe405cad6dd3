//! Cosignatures of witnesses: C2SP tlog-cosignature, Ed25519 (`cosignature/v1`).
//!
//! A cosignature says: at this time, this was the largest tree of this log that I have seen, and it
//! is consistent with every one before. [`checkpoint::open`](crate::checkpoint::open) lists who has
//! cosigned a checkpoint.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{NoteError, NoteSignature, SignatureType, SignedNote, VerifierKey};

/// The latest time that a cosignature may carry, in seconds since 1970-01-01 UTC.
pub const MAX_TIME: u64 = i64::MAX as u64;

/// The private key of a witness. Its secret is wiped when it is dropped and never displayed. A key
/// serves one witness only: the signed message does not name the cosigner.
pub struct Cosigner {
    key: SigningKey,
    verifier: VerifierKey,
}

impl Cosigner {
    /// A key by its name and the 32 secret bytes of RFC 8032 §5.1.5.
    ///
    /// # Errors
    /// [`NoteError::Name`].
    pub fn new(name: &str, secret: &[u8; 32]) -> Result<Self, NoteError> {
        let key = SigningKey::from_bytes(secret);
        let verifier = VerifierKey::new(name, SignatureType::CosignatureV1, key.verifying_key().as_bytes())?;
        Ok(Cosigner { key, verifier })
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The cosignature of a checkpoint, for [`SignedNote::add`]. `time` is now, in seconds since
    /// 1970-01-01 UTC. The caller has checked the log's signature and that the checkpoint is consistent
    /// with the last one that it cosigned; otherwise this states an untruth.
    ///
    /// # Errors
    /// [`CheckpointError`] when the note is no checkpoint; [`CheckpointError::Time`] past [`MAX_TIME`].
    pub fn cosign(&self, note: &SignedNote, time: u64) -> Result<NoteSignature, CheckpointError> {
        note.text().parse::<Checkpoint>()?;
        if time > MAX_TIME {
            return Err(CheckpointError::Time);
        }
        let signature = self.key.sign(message(time, note.text()).as_bytes()).to_bytes();
        Ok(NoteSignature {
            name: self.verifier.name().to_owned(),
            key_id: self.verifier.id(),
            // A timestamped_signature: 8 bytes big-endian, then the signature.
            signature: [&time.to_be_bytes()[..], &signature].concat(),
        })
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cosigner")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

/// What a cosigner signs: a header line, a line with the time in seconds since 1970-01-01 UTC, and the
/// note's text.
pub(crate) fn message(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// The time and the signature of a `timestamped_signature`; none when the time is missing or later
/// than the specification allows.
pub(crate) fn split(timestamped: &[u8]) -> Option<(u64, &[u8])> {
    let (time, signature) = timestamped.split_first_chunk()?;
    let time = u64::from_be_bytes(*time);
    (time <= MAX_TIME).then_some((time, signature))
}
