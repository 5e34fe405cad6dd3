//! Files that are either the old or the new content, whenever the power fails.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

fn temporary(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    Ok(path.with_file_name(hidden))
}

/// Replaces `path` in one step: a reader sees the old content or the new, never a part. Not synced.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = temporary(path)?;
    fs::write(&new, content)?;
    fs::rename(&new, path)
}

/// Replaces `path` in one step and returns when content and name have reached the disk.
pub(crate) fn replace_synced(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let new = temporary(path)?;
    let mut file = File::create(&new)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_directory(path)
}

/// Makes the creation, renaming or removal of `path` itself durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
