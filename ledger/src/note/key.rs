//! Names, ids and verifier keys: C2SP signed-note, "Signatures" and "Verifier keys".

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256};

use super::NoteError;

/// The short id of a key: the first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key). It finds
/// a key and proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// What a key signs. Ids differ between types, so that a signature of one is none of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SignatureType {
    /// Ed25519 over the text (C2SP signed-note).
    Ed25519 = 0x01,
    /// Ed25519 over the text and a time (C2SP tlog-cosignature).
    CosignatureV1 = 0x04,
}

/// A public key that verifies signatures on notes. It reads and displays as
/// `<name>+<id in hex>+<base64 of type and key>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    signature_type: SignatureType,
    public: VerifyingKey,
}

impl VerifierKey {
    /// A key by its name, type and 32 bytes (RFC 8032 §5.1.2).
    ///
    /// # Errors
    /// [`NoteError::Name`], [`NoteError::PublicKey`].
    pub fn new(name: &str, signature_type: SignatureType, public: &[u8; 32]) -> Result<Self, NoteError> {
        let public = VerifyingKey::from_bytes(public).map_err(|_| NoteError::PublicKey)?;
        check_name(name)?;
        if public.is_weak() {
            return Err(NoteError::PublicKey);
        }
        let hash = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', signature_type as u8])
            .chain_update(public.as_bytes())
            .finalize();
        Ok(VerifierKey {
            name: name.to_owned(),
            id: KeyId([hash[0], hash[1], hash[2], hash[3]]),
            signature_type,
            public,
        })
    }

    /// The key's name, for instance the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What the key signs.
    pub fn signature_type(&self) -> SignatureType {
        self.signature_type
    }

    /// The public key itself.
    pub(super) fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// The 32 bytes of the public key.
    pub fn public_bytes(&self) -> &[u8; 32] {
        self.public.as_bytes()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.signature_type as u8], &self.public.as_bytes()[..]].concat();
        write!(f, "{}+{}+{}", self.name, self.id, BASE64_STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        // Neither name nor id has a plus; base64 may.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::VerifierKey);
        };
        let found = parse_id(id).ok_or(NoteError::VerifierKey)?;
        let decoded = BASE64_STANDARD
            .decode(encoded)
            .map_err(|_| NoteError::VerifierKey)?;
        let (signature_type, public) = decoded.split_first().ok_or(NoteError::VerifierKey)?;
        let signature_type = parse_type(*signature_type)?;
        let public = public.try_into().map_err(|_| NoteError::VerifierKey)?;
        let key = VerifierKey::new(name, signature_type, public)?;
        if key.id != found {
            return Err(NoteError::KeyId {
                expected: key.id,
                found,
            });
        }
        Ok(key)
    }
}

/// The type of a key by its byte.
pub(super) fn parse_type(byte: u8) -> Result<SignatureType, NoteError> {
    match byte {
        0x01 => Ok(SignatureType::Ed25519),
        0x04 => Ok(SignatureType::CosignatureV1),
        other => Err(NoteError::SignatureType(other)),
    }
}

/// Eight lower-case hex digits.
pub(super) fn parse_id(text: &str) -> Option<KeyId> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 8 || !text.bytes().all(digit) {
        return None;
    }
    u32::from_str_radix(text, 16)
        .ok()
        .map(|id| KeyId(id.to_be_bytes()))
}

pub(super) fn check_name(name: &str) -> Result<(), NoteError> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.contains(forbidden) {
        Err(NoteError::Name)
    } else {
        Ok(())
    }
}
