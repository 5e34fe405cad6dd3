//! Private keys as text, in the form of Go's `sumdb/note`:
//! `PRIVATE+KEY+<name>+<id in hex>+<base64 of type and secret>`.

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::key::{parse_id, parse_type};
use super::{NoteError, SignatureType, Signer, VerifierKey};
use crate::cosignature::Cosigner;

const PREFIX: &str = "PRIVATE+KEY+";

/// A private key with its name and type, as kept in a file. Its secret is wiped when it is dropped; displaying it or an error about
/// it never shows the secret: the text comes from [`to_text`](Self::to_text) alone.
pub struct PrivateKey {
    secret: Zeroizing<[u8; 32]>,
    verifier: VerifierKey,
}

impl PrivateKey {
    /// A key by its name, type and the 32 secret bytes of RFC 8032 §5.1.5.
    ///
    /// # Errors
    /// [`NoteError::Name`].
    pub fn new(name: &str, signature_type: SignatureType, secret: &[u8; 32]) -> Result<Self, NoteError> {
        let public = SigningKey::from_bytes(secret).verifying_key();
        Ok(PrivateKey {
            secret: Zeroizing::new(*secret),
            verifier: VerifierKey::new(name, signature_type, public.as_bytes())?,
        })
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// What signs notes; none for the key of a witness.
    pub fn signer(&self) -> Option<Signer> {
        match self.verifier.signature_type() {
            SignatureType::Ed25519 => Signer::new(self.verifier.name(), &self.secret).ok(),
            SignatureType::CosignatureV1 => None,
        }
    }

    /// What cosigns checkpoints; none for the key of a log.
    pub fn cosigner(&self) -> Option<Cosigner> {
        match self.verifier.signature_type() {
            SignatureType::CosignatureV1 => Cosigner::new(self.verifier.name(), &self.secret).ok(),
            SignatureType::Ed25519 => None,
        }
    }

    /// Whether a text claims to be a private key, well formed or not: such a text is never repeated in an error.
    pub fn is_claimed(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// The key as text, the secret included: for the file alone.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0u8; 33]);
        bytes[0] = self.verifier.signature_type() as u8;
        bytes[1..].copy_from_slice(self.secret.as_slice());
        // 33 bytes are 44 characters of base64. The capacity is enough, so that no copy stays behind in memory.
        let mut text = Zeroizing::new(String::with_capacity(
            PREFIX.len() + self.verifier.name().len() + 54,
        ));
        text.push_str(PREFIX);
        text.push_str(self.verifier.name());
        text.push('+');
        text.push_str(&self.verifier.id().to_string());
        text.push('+');
        BASE64_STANDARD.encode_string(bytes.as_slice(), &mut text);
        text
    }
}

impl FromStr for PrivateKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let rest = text.strip_prefix(PREFIX).ok_or(NoteError::PrivateKey)?;
        // Neither name nor id has a plus; base64 may.
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::PrivateKey);
        };
        let found = parse_id(id).ok_or(NoteError::PrivateKey)?;
        let mut bytes = Zeroizing::new([0u8; 33]);
        let length = BASE64_STANDARD
            .decode_slice(encoded, bytes.as_mut_slice())
            .map_err(|_| NoteError::PrivateKey)?;
        let (signature_type, secret) = bytes.split_first().ok_or(NoteError::PrivateKey)?;
        let secret: &[u8; 32] = secret.try_into().map_err(|_| NoteError::PrivateKey)?;
        if length != bytes.len() {
            return Err(NoteError::PrivateKey);
        }
        let key = PrivateKey::new(name, parse_type(*signature_type)?, secret)?;
        if key.verifier.id() != found {
            return Err(NoteError::KeyId {
                expected: key.verifier.id(),
                found,
            });
        }
        Ok(key)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}
