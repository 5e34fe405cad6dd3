//! Which known keys have signed a note.

use std::borrow::Cow;

use ed25519_dalek::Signature;

use super::{KeyId, NoteError, NoteSignature, SignatureType, SignedNote, VerifierKey};
use crate::cosignature;

/// A known key's signature that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub key_id: KeyId,
    /// When a cosigner says that it signed, in seconds since 1970-01-01 UTC; none for other types.
    pub time: Option<u64>,
}

impl SignedNote {
    /// The known keys that have signed, each once, in the order of their first signature. Signatures
    /// of other keys are ignored, as the specification demands.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] when a signature by a known key does not hold: the whole note is
    /// refused. [`NoteError::NoKnownKey`] when there is no signature by a known key.
    pub fn verify(&self, known: &[VerifierKey]) -> Result<Vec<Verified>, NoteError> {
        let mut verified: Vec<Verified> = Vec::new();
        for signature in self.signatures() {
            // Ids are short: two known keys may share name and id, and then either may have signed.
            let mut keys = known
                .iter()
                .filter(|key| key.id() == signature.key_id && key.name() == signature.name);
            let Some(first) = keys.next() else { continue };
            let time = std::iter::once(first)
                .chain(keys)
                .find_map(|key| check(key, self.text(), signature))
                .ok_or_else(|| NoteError::BadSignature {
                    name: signature.name.clone(),
                    key_id: signature.key_id,
                })?;
            match verified
                .iter_mut()
                .find(|old| old.key_id == signature.key_id && old.name == signature.name)
            {
                // The later of two cosignatures counts.
                Some(old) => old.time = old.time.max(time),
                None => verified.push(Verified {
                    name: signature.name.clone(),
                    key_id: signature.key_id,
                    time,
                }),
            }
        }
        if verified.is_empty() {
            Err(NoteError::NoKnownKey)
        } else {
            Ok(verified)
        }
    }
}

/// Some, with the time of a cosignature, when the signature is the key's over the text.
fn check(key: &VerifierKey, text: &str, signature: &NoteSignature) -> Option<Option<u64>> {
    let (time, message, signature) = match key.signature_type() {
        SignatureType::Ed25519 => (None, Cow::Borrowed(text), signature.signature.as_slice()),
        SignatureType::CosignatureV1 => {
            let (time, signature) = cosignature::split(&signature.signature)?;
            (
                Some(time),
                Cow::Owned(cosignature::message(time, text)),
                signature,
            )
        }
    };
    let signature = Signature::from_slice(signature).ok()?;
    // Strict: no small-order points, one encoding for each signature (RFC 8032 §5.1.7).
    key.public()
        .verify_strict(message.as_bytes(), &signature)
        .ok()
        .map(|()| time)
}
