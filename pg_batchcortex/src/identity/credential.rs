//! Opaque credentials: a kind's prefix and 32 random bytes in hex. Only their SHA-256 is stored.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A signed-in person.
    Session,
    /// A person who may join.
    Invitation,
    /// A program.
    ApiKey,
}

impl Kind {
    /// The first characters of the credential.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Session => "bcs_",
            Kind::Invitation => "bci_",
            Kind::ApiKey => "bck_",
        }
    }
}

/// A new credential, to be shown once.
pub fn generate(kind: Kind) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    random(bytes.as_mut());
    Zeroizing::new(format!("{}{}", kind.prefix(), hex::encode(bytes.as_ref())))
}

/// What is stored and looked up: SHA-256 of the whole text. None unless the text has the form of its kind, so that
/// anything else never reaches a query.
pub fn digest(kind: Kind, presented: &str) -> Option<[u8; 32]> {
    let body = presented.strip_prefix(kind.prefix())?;
    (body.len() == 64 && body.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| Sha256::digest(presented.as_bytes()).into())
}

/// Fills `bytes` from the operating system's generator; raises when it has none to give.
pub fn random(bytes: &mut [u8]) {
    if getrandom::fill(bytes).is_err() {
        pgrx::error!("the operating system gave no random bytes");
    }
}
