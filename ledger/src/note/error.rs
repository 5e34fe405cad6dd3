//! Why a note cannot be read or believed.

use super::KeyId;

/// Why a note or a key cannot be read, or a note not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The bytes are not UTF-8.
    #[error("a note must be UTF-8")]
    NotUtf8,
    /// The text does not end in a newline, or has another control character.
    #[error("a note's text must end in a newline and have no other control characters")]
    Text,
    /// No blank line with signatures after it.
    #[error("the note has no signatures")]
    NoSignatures,
    /// There are more than [`MAX_SIGNATURES`](super::MAX_SIGNATURES).
    #[error("a note has at most {} signatures", super::MAX_SIGNATURES)]
    TooManySignatures,
    /// A line after the blank line is no signature.
    #[error("a signature line must be: em dash, space, key name, space, base64, newline")]
    SignatureLine,
    /// A key's name is empty, or has a space, a control character or a plus.
    #[error("a key name must not be empty and must have no spaces, control characters or plus signs")]
    Name,
    /// A verifier key is not `name+hash+base64`.
    #[error("a verifier key must be <name>+<8 hex digits>+<base64 of the type and 32 bytes>")]
    VerifierKey,
    /// A private key is not `PRIVATE+KEY+name+hash+base64`. What it holds is not repeated.
    #[error("a private key must be PRIVATE+KEY+<name>+<8 hex digits>+<base64 of the type and 32 bytes>")]
    PrivateKey,
    /// A key's hash is not that of its name, type and key.
    #[error("the key says id {found}, its name, type and bytes have {expected}")]
    KeyId {
        /// The id computed from the name, type and key.
        expected: KeyId,
        /// The id that is written in the key.
        found: KeyId,
    },
    /// The signature type is neither Ed25519 (0x01) nor an Ed25519 cosignature (0x04).
    #[error("signature type {0:#04x} is not supported: expected 0x01 or 0x04")]
    SignatureType(u8),
    /// The 32 bytes are no Ed25519 public key, or a weak one that fits any message.
    #[error("not an Ed25519 public key")]
    PublicKey,
    /// A known key's signature is not one over this text.
    #[error("the signature of {name} ({key_id}) is not valid")]
    BadSignature {
        /// The key's name.
        name: String,
        /// The key's id.
        key_id: KeyId,
    },
    /// None of the signatures is by a known key.
    #[error("no known key has signed the note")]
    NoKnownKey,
}
