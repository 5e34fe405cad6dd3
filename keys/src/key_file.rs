//! The keys of a log or of a witness: the private one that signs now, and the public halves of older ones.
//!
//! ```text
//! PRIVATE+KEY+batches.example.com+5b8a8f0a+AQ…      what signs: exactly one, the first line
//! batches.example.com+b3c2f6d1+AX…                  older ones, newest first, for what they have signed
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use batchcortex_ledger::cosignature::Cosigner;
use batchcortex_ledger::note::{NoteError, PrivateKey, SignatureType, Signer, VerifierKey};
use zeroize::Zeroizing;

use crate::private_file::{self, PrivateFileError};

/// The keys of a log or of a witness.
#[derive(Debug)]
pub struct KeyFile {
    signs: PrivateKey,
    verifiers: Vec<VerifierKey>,
}

/// Why a file of keys cannot be used. No variant repeats what the file holds.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is not a private file.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// It is, and holds something else than keys.
    #[error("{path}: {what}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: KeyTextError,
    },
}

/// Why a text is not one of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyTextError {
    /// A line is no key, or no key of a kind that is known.
    #[error("line {line}: {source}")]
    Key {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        source: NoteError,
    },
    /// Nothing would sign, or nobody could say what does.
    #[error(
        "exactly one private key is expected, as the first of the keys; {0} are there or it is not the first"
    )]
    PrivateKeys(usize),
    /// A log's key among a witness's, or the reverse.
    #[error(
        "line {line}: the key is of another kind than the private key: a log's (type 1) or a witness's (type 4)"
    )]
    Kind {
        /// Number of the line, from 1.
        line: usize,
    },
    /// The same key twice.
    #[error("line {line}: the key stands there already")]
    Repeated {
        /// Number of the line, from 1.
        line: usize,
    },
    /// There are no random bytes.
    #[error("the system gave no random bytes for a key")]
    NoRandom,
}

impl KeyFile {
    /// Reads a file of keys, which must belong to the process's user with permissions 0600 or less.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        KeyFile::parse(&private_file::read(path)?).map_err(|what| content(path, what))
    }

    /// Makes a new key and a file of it.
    ///
    /// # Errors
    /// When the name is no name of a key, or the file exists or cannot be made.
    pub fn create(path: &Path, name: &str, kind: SignatureType) -> Result<Self, KeyFileError> {
        let keys = KeyFile {
            signs: new_key(name, kind).map_err(|what| content(path, what))?,
            verifiers: Vec::new(),
        }
        .ready();
        private_file::create(path, &keys.to_text())?;
        Ok(keys)
    }

    /// Makes a new key of the same name; the one that signed until now stays as its public half.
    ///
    /// # Errors
    /// [`KeyFileError`]; the file is then as it was.
    pub fn rotate(path: &Path) -> Result<Self, KeyFileError> {
        private_file::replace(path, |text| {
            let old = KeyFile::parse(text).map_err(|what| content(path, what))?;
            let current = old.signs.verifier();
            let signs =
                new_key(current.name(), current.signature_type()).map_err(|what| content(path, what))?;
            let keys = KeyFile {
                signs,
                verifiers: old.verifiers,
            }
            .ready();
            Ok((keys.to_text(), keys))
        })
    }

    /// Reads the text of a file of keys.
    ///
    /// # Errors
    /// [`KeyTextError`].
    pub fn parse(text: &str) -> Result<Self, KeyTextError> {
        let mut signs = None;
        let mut verifiers: Vec<VerifierKey> = Vec::new();
        let lines = || {
            (1..)
                .zip(text.lines().map(str::trim))
                .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        };
        let private = lines().filter(|(_, line)| PrivateKey::is_claimed(line)).count();
        if private != 1
            || !lines()
                .next()
                .is_some_and(|(_, line)| PrivateKey::is_claimed(line))
        {
            return Err(KeyTextError::PrivateKeys(private));
        }
        for (line, key) in lines() {
            let wrong = |source| KeyTextError::Key { line, source };
            let verifier: VerifierKey = if PrivateKey::is_claimed(key) {
                let key: PrivateKey = key.parse().map_err(wrong)?;
                signs.insert(key).verifier().clone()
            } else {
                key.parse().map_err(wrong)?
            };
            if verifiers
                .first()
                .is_some_and(|first| first.signature_type() != verifier.signature_type())
            {
                return Err(KeyTextError::Kind { line });
            }
            if verifiers.contains(&verifier) {
                return Err(KeyTextError::Repeated { line });
            }
            verifiers.push(verifier);
        }
        match signs {
            Some(signs) => Ok(KeyFile { signs, verifiers }),
            None => Err(KeyTextError::PrivateKeys(0)),
        }
    }

    /// The log's signing key; none in a witness's file.
    pub fn signer(&self) -> Option<Signer> {
        self.signs.signer()
    }

    /// The witness's signing key; none in a log's file.
    pub fn cosigner(&self) -> Option<Cosigner> {
        self.signs.cosigner()
    }

    /// Name of the log or of the witness.
    pub fn name(&self) -> &str {
        self.signs.verifier().name()
    }

    /// The public halves of all keys, that of the current one first.
    pub fn verifiers(&self) -> &[VerifierKey] {
        &self.verifiers
    }

    /// With the current key at the head of the public halves.
    fn ready(mut self) -> Self {
        self.verifiers.insert(0, self.signs.verifier().clone());
        self
    }

    /// The content of the file.
    fn to_text(&self) -> Zeroizing<String> {
        let key = self.signs.to_text();
        let older: String = self.verifiers[1..]
            .iter()
            .map(|verifier| format!("{verifier}\n"))
            .collect();
        let mut text = Zeroizing::new(String::with_capacity(key.len() + 1 + older.len()));
        text.push_str(&key);
        text.push('\n');
        text.push_str(&older);
        text
    }
}

impl fmt::Display for KeyFile {
    /// The public halves, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verifiers.iter().try_for_each(|key| writeln!(f, "{key}"))
    }
}

fn new_key(name: &str, kind: SignatureType) -> Result<PrivateKey, KeyTextError> {
    let mut secret = Zeroizing::new([0u8; 32]);
    getrandom::fill(secret.as_mut_slice()).map_err(|_| KeyTextError::NoRandom)?;
    PrivateKey::new(name, kind, &secret).map_err(|source| KeyTextError::Key { line: 1, source })
}

fn content(path: &Path, what: KeyTextError) -> KeyFileError {
    KeyFileError::Content {
        path: path.to_owned(),
        what,
    }
}
