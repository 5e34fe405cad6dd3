//! The server's ring of HMAC keys (`batchcortex.key_file`): a line a key, `<id> <64 hex digits>`, the newest first.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::private_file::{self, PrivateFileError};

/// Why a key ring cannot be used. No variant repeats what the file holds.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// It is not a private file.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// It is, and holds something else than keys.
    #[error("{path}: line {line} is no key: an id, a space and 64 hex digits, no id twice")]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
    /// No key is in it.
    #[error("{path} has no key in it")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// There are no random bytes.
    #[error("the system gave no random bytes for a key")]
    NoRandom,
}

/// Makes a ring of one key and returns the key's id.
///
/// # Errors
/// [`RingError`].
pub fn create(path: &Path) -> Result<String, RingError> {
    private_file::create(path, &new_line("k1")?)?;
    Ok("k1".to_owned())
}

/// Puts a new key at the head of a ring and returns its id. What older keys have sealed stays readable.
///
/// # Errors
/// [`RingError`]; the file is then as it was.
pub fn rotate(path: &Path) -> Result<String, RingError> {
    private_file::replace(path, |text| {
        let ids = ids(path, text)?;
        let id = (ids.len() + 1..)
            .map(|number| format!("k{number}"))
            .find(|id| !ids.contains(&id.as_str()))
            .unwrap_or_default();
        let line = new_line(&id)?;
        let mut new = Zeroizing::new(String::with_capacity(line.len() + text.len() + 1));
        new.push_str(&line);
        new.push_str(text);
        Ok((new, id))
    })
}

/// The ids of a ring's keys, the newest first.
///
/// # Errors
/// [`RingError`].
pub fn read_ids(path: &Path) -> Result<Vec<String>, RingError> {
    let text = private_file::read(path)?;
    Ok(ids(path, &text)?.into_iter().map(str::to_owned).collect())
}

fn ids<'a>(path: &Path, text: &'a str) -> Result<Vec<&'a str>, RingError> {
    let mut ids = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() {
            continue;
        }
        let mut key = Zeroizing::new([0u8; 32]);
        match line.split_once(' ') {
            Some((id, digits))
                if !ids.contains(&id) && hex::decode_to_slice(digits.trim(), key.as_mut_slice()).is_ok() =>
            {
                ids.push(id);
            }
            _ => {
                return Err(RingError::Line {
                    path: path.to_owned(),
                    line: number,
                });
            }
        }
    }
    if ids.is_empty() {
        return Err(RingError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(ids)
}

fn new_line(id: &str) -> Result<Zeroizing<String>, RingError> {
    let mut key = Zeroizing::new([0u8; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(|_| RingError::NoRandom)?;
    let digits = Zeroizing::new(hex::encode(key.as_slice()));
    let mut line = Zeroizing::new(String::with_capacity(id.len() + digits.len() + 2));
    line.push_str(id);
    line.push(' ');
    line.push_str(&digits);
    line.push('\n');
    Ok(line)
}
