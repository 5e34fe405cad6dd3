//! A file that one user alone can read, replaced in one step.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// More than any file of keys needs.
const MOST_BYTES: u64 = 64 * 1024;

/// Why a private file cannot be used. No variant repeats what the file holds.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The system refused.
    #[error("{path}: {source}")]
    System {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A link could be pointed elsewhere by whoever owns its directory.
    #[error("{path} is a symbolic link: name the file itself")]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// A directory, a pipe or a device.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Others can read or write it.
    #[error("{path} has mode {mode:04o}, which lets others at the keys in it: run chmod 600 {path}")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is under another user's control.
    #[error("{path} belongs to user {owner}, but user {user} reads it: the keys must be the reader's own")]
    Owner {
        /// The file.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// It cannot be a file of keys.
    #[error("{path} is longer than {MOST_BYTES} bytes or not UTF-8: it is no file of keys")]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// Keys are never overwritten: what the old ones signed or sealed could not be checked or read any more.
    #[error("{path} exists: keys are never overwritten; move it away, or rotate the keys in it")]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a private file: a regular one, of this process's user, with permissions 0600 or less. They are those of the opened file, so
/// that it cannot be exchanged between the check and the reading.
///
/// # Errors
/// [`PrivateFileError`].
pub fn read(path: &Path) -> Result<Zeroizing<String>, PrivateFileError> {
    let owned = || path.to_owned();
    let system = |source| PrivateFileError::System {
        path: owned(),
        source,
    };
    // Without NONBLOCK a named pipe would hold the process up.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut options = OpenOptions::new();
    let file = match options.read(true).custom_flags(flags.bits() as i32).open(path) {
        Ok(file) => file,
        Err(_) if path.is_symlink() => return Err(PrivateFileError::Link { path: owned() }),
        Err(source) => return Err(system(source)),
    };
    let about = file.metadata().map_err(system)?;
    if !about.is_file() {
        return Err(PrivateFileError::NotAFile { path: owned() });
    }
    let mode = about.mode() & 0o7777;
    if mode & !0o600 != 0 {
        return Err(PrivateFileError::Mode { path: owned(), mode });
    }
    let user = rustix::process::geteuid().as_raw();
    if about.uid() != user {
        return Err(PrivateFileError::Owner {
            path: owned(),
            owner: about.uid(),
            user,
        });
    }
    if about.len() > MOST_BYTES {
        return Err(PrivateFileError::Content { path: owned() });
    }
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(MOST_BYTES as usize + 1));
    match file.take(MOST_BYTES + 1).read_to_string(&mut text) {
        Ok(read) if read as u64 <= MOST_BYTES => Ok(text),
        Err(error) if error.kind() != io::ErrorKind::InvalidData => Err(system(error)),
        Ok(_) | Err(_) => Err(PrivateFileError::Content { path: owned() }),
    }
}

/// Makes a private file that does not exist yet. It appears with all of its content, on the disk, or not at all.
///
/// # Errors
/// [`PrivateFileError::Exists`], [`PrivateFileError::System`].
pub fn create(path: &Path, content: &str) -> Result<(), PrivateFileError> {
    let new = Temporary::write(path, content)?;
    // A hard link never replaces what is there, as a renaming would.
    match fs::hard_link(&new.0, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(PrivateFileError::Exists {
                path: path.to_owned(),
            });
        }
        Err(source) => return Err(system(path, source)),
    }
    drop(new);
    sync_directory(path)
}

/// Replaces a private file by what `change` makes of its text, in one step. Two who do so at once do it one after the other.
///
/// # Errors
/// Those of [`read`]; those of `change`.
pub fn replace<T, E: From<PrivateFileError>>(
    path: &Path,
    change: impl FnOnce(&str) -> Result<(Zeroizing<String>, T), E>,
) -> Result<T, E> {
    let lock = File::open(directory(path)).map_err(|source| system(path, source))?;
    lock.lock().map_err(|source| system(path, source))?;
    let (content, outcome) = change(&read(path)?)?;
    let new = Temporary::write(path, &content)?;
    fs::rename(&new.0, path).map_err(|source| system(path, source))?;
    sync_directory(path)?;
    Ok(outcome)
}

/// A synced file of mode 0600 beside the one that it is to become. Whatever goes wrong, it does not stay behind.
struct Temporary(PathBuf);

impl Temporary {
    fn write(path: &Path, content: &str) -> Result<Self, PrivateFileError> {
        let failed = |source| system(path, source);
        let mut name = std::ffi::OsString::from(".");
        name.push(
            path.file_name()
                .ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?,
        );
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(|_| failed(io::Error::other("no random bytes")))?;
        name.push(format!(".{}", hex::encode(random)));
        let name = path.with_file_name(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&name)
            .map_err(failed)?;
        let new = Temporary(name);
        file.write_all(content.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        Ok(new)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a renaming there is nothing left to remove.
        let _ = fs::remove_file(&self.0);
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_directory(path: &Path) -> Result<(), PrivateFileError> {
    File::open(directory(path))
        .and_then(|directory| directory.sync_all())
        .map_err(|source| system(path, source))
}

fn system(path: &Path, source: io::Error) -> PrivateFileError {
    PrivateFileError::System {
        path: path.to_owned(),
        source,
    }
}
