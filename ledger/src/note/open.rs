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

    /// Whether [`verify`](Self::verify) accepts each of many notes, three times as fast as one by one
    /// when there are hundreds. False when it refuses one, or when known keys share name and id: ask
    /// one by one then, which also says why. Forms of a signature that `verify` refuses and that only
    /// the key's holder can make may pass here.
    pub fn all_verify(notes: &[Self], known: &[VerifierKey]) -> bool {
        let (mut messages, mut signatures, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for note in notes {
            let before = keys.len();
            for signature in note.signatures() {
                let mut named = known
                    .iter()
                    .filter(|key| key.id() == signature.key_id && key.name() == signature.name);
                let Some(key) = named.next() else { continue };
                let Some((_, message, signature)) = signed(key, note.text(), signature) else {
                    return false;
                };
                if named.next().is_some() {
                    return false;
                }
                messages.push(message);
                signatures.push(signature);
                keys.push(*key.public());
            }
            if keys.len() == before {
                return false;
            }
        }
        let messages: Vec<&[u8]> = messages.iter().map(|message| message.as_bytes()).collect();
        ed25519_dalek::verify_batch(&messages, &signatures, &keys).is_ok()
    }
}

/// Some, with the time of a cosignature, when the signature is the key's over the text.
fn check(key: &VerifierKey, text: &str, signature: &NoteSignature) -> Option<Option<u64>> {
    let (time, message, signature) = signed(key, text, signature)?;
    // Strict: no small-order points, one encoding for each signature (RFC 8032 §5.1.7).
    key.public()
        .verify_strict(message.as_bytes(), &signature)
        .ok()
        .map(|()| time)
}

/// The time of a cosignature, what the key signs of the text, and the signature over it; none when it is not of the key's type.
fn signed<'a>(
    key: &VerifierKey,
    text: &'a str,
    signature: &NoteSignature,
) -> Option<(Option<u64>, Cow<'a, str>, Signature)> {
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
    Some((time, message, Signature::from_slice(signature).ok()?))
}
