//! Signed notes: C2SP signed-note.
//!
//! ```text
//! This is an example message.
//!
//! — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
//! ```
//!
//! A note is text, a blank line and one signature line or more. [`SignedNote::parse`] reads the form
//! and believes nothing; [`SignedNote::verify`] says which of the known keys signed. Notes that
//! verify have one spelling: base64 is canonical and every byte belongs to the text or to a signature.

mod error;
mod key;
mod open;
mod secret;
mod sign;

pub use error::NoteError;
pub use key::{KeyId, SignatureType, VerifierKey};
pub use open::Verified;
pub use secret::PrivateKey;
pub use sign::Signer;

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};

/// The most signatures that a note may have; the specification asks for 16 at least.
pub const MAX_SIGNATURES: usize = 100;

/// What a signature line begins with: an em dash and a space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// A note as parsed: a text and signatures, none of them checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line, not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key.
    pub name: String,
    /// The id of the key.
    pub key_id: KeyId,
    /// The signature in the form of the key's type.
    pub signature: Vec<u8>,
}

impl SignedNote {
    /// A note over `text` that nobody has signed yet.
    ///
    /// # Errors
    /// [`NoteError::Text`] unless the text ends in a newline and has no other control character.
    pub fn new(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        if !text.ends_with('\n') || has_control(&text) {
            return Err(NoteError::Text);
        }
        Ok(SignedNote {
            text,
            signatures: Vec::new(),
        })
    }

    /// Reads a signed note.
    ///
    /// # Errors
    /// [`NoteError`] unless the bytes are a text, a blank line and 1 to [`MAX_SIGNATURES`] signature
    /// lines.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::NotUtf8)?;
        if has_control(note) {
            return Err(NoteError::Text);
        }
        // The last blank line ends the text, which may have blank lines of its own.
        let end = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, lines) = note.split_at(end + 1);
        let lines = lines.strip_prefix('\n').ok_or(NoteError::NoSignatures)?;
        if lines.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        let lines = lines.strip_suffix('\n').ok_or(NoteError::SignatureLine)?;
        let signatures = lines
            .split('\n')
            .enumerate()
            .map(|(number, line)| match number {
                MAX_SIGNATURES.. => Err(NoteError::TooManySignatures),
                _ => NoteSignature::parse(line),
            })
            .collect::<Result<_, _>>()?;
        Ok(SignedNote {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The text, its last newline included: what is signed. It means nothing before
    /// [`verify`](Self::verify) has succeeded.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures in the order of their lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature; one of the same key is replaced.
    pub fn add(&mut self, signature: NoteSignature) {
        self.signatures
            .retain(|old| (&old.name, old.key_id) != (&signature.name, signature.key_id));
        self.signatures.push(signature);
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl NoteSignature {
    /// Reads a signature line without its newline.
    ///
    /// # Errors
    /// [`NoteError::SignatureLine`] for anything else; [`NoteError::Name`].
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        let (name, encoded) = line
            .strip_prefix(SIGNATURE_PREFIX)
            .and_then(|rest| rest.split_once(' '))
            .ok_or(NoteError::SignatureLine)?;
        key::check_name(name)?;
        let decoded = BASE64_STANDARD
            .decode(encoded)
            .map_err(|_| NoteError::SignatureLine)?;
        match decoded.split_first_chunk() {
            Some((key_id, signature)) if !signature.is_empty() => Ok(NoteSignature {
                name: name.to_owned(),
                key_id: KeyId(*key_id),
                signature: signature.to_vec(),
            }),
            _ => Err(NoteError::SignatureLine),
        }
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = BASE64_STANDARD.encode([&self.key_id.0[..], &self.signature].concat());
        write!(f, "{SIGNATURE_PREFIX}{} {encoded}", self.name)
    }
}

/// Control characters below U+0020, the newline excepted, have no place in a note.
fn has_control(text: &str) -> bool {
    text.bytes().any(|byte| byte < 0x20 && byte != b'\n')
}
