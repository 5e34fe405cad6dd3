//! Signing notes.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};

use super::{NoteError, NoteSignature, SignatureType, SignedNote, VerifierKey};

/// A private Ed25519 key with its name, for instance that of a log. Its secret is wiped when it is
/// dropped and never displayed. Witnesses sign with a [`Cosigner`](crate::cosignature::Cosigner).
pub struct Signer {
    key: SigningKey,
    verifier: VerifierKey,
}

impl Signer {
    /// A key by its name and the 32 secret bytes of RFC 8032 §5.1.5.
    ///
    /// # Errors
    /// [`NoteError::Name`].
    pub fn new(name: &str, secret: &[u8; 32]) -> Result<Self, NoteError> {
        let key = SigningKey::from_bytes(secret);
        let verifier = VerifierKey::new(name, SignatureType::Ed25519, key.verifying_key().as_bytes())?;
        Ok(Signer { key, verifier })
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The signature over the note's text, for [`SignedNote::add`].
    pub fn sign(&self, note: &SignedNote) -> NoteSignature {
        NoteSignature {
            name: self.verifier.name().to_owned(),
            key_id: self.verifier.id(),
            signature: self.key.sign(note.text().as_bytes()).to_bytes().to_vec(),
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}
