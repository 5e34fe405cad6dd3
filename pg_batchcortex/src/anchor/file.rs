//! A checkpoint as a file: never overwritten, and read with suspicion.

use crate::checkpoint_key;
use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::global::{CheckpointFile, Origin};
use batchcortex_ledger::note::{NoteError, SignedNote};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Longest file that is read: a note has some 300 bytes.
const LONGEST: u64 = 64 * 1024;

/// Writes the file of a checkpoint, and sees it and its name on the disk. A file that is there already stays as it is: whole or
/// interrupted it is the same checkpoint, else an error.
pub fn write(directory: &Path, name: CheckpointFile, note: &str) -> io::Result<()> {
    let path = directory.join(name.to_string());
    // O_EXCL does not follow a link either: nobody can have the note written over a file elsewhere.
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o440)
        .open(&path);
    let mut file = match made {
        Ok(file) => file,
        Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => {
            let there = read(directory, name)?;
            return if note.as_bytes().starts_with(&there) {
                Ok(())
            } else {
                Err(fault)
            };
        }
        Err(fault) => return Err(fault),
    };
    // Auditors of the server's group may read it, whatever the server's umask; some network storage has modes of its own.
    let _ = file.set_permissions(Permissions::from_mode(0o440));
    let written = file.write_all(note.as_bytes()).and_then(|()| file.sync_all());
    if let Err(fault) = written {
        // Half a file would be in the way of the whole one, once there is room. Where nothing can be deleted it stays.
        let _ = std::fs::remove_file(&path);
        return Err(fault);
    }
    File::open(directory)?.sync_all()
}

/// The bytes of a file of the directory.
pub fn read(directory: &Path, name: CheckpointFile) -> io::Result<Vec<u8>> {
    let path = directory.join(name.to_string());
    if !std::fs::symlink_metadata(&path)?.is_file() {
        return Err(io::Error::other("it is no ordinary file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("it is too long for a checkpoint"));
    }
    Ok(bytes)
}

/// What a file says.
pub struct Stated {
    /// Origin, size and root.
    pub checkpoint: Checkpoint,
    /// Whether a key of this server has signed it. A server that was put back with its older key file does not know the newest key.
    pub signed: bool,
}

/// Why a file says nothing.
pub enum Unusable {
    /// It cannot be read, or is not the checkpoint that its name says.
    Unreadable(String),
    /// Its signature by a key of this server does not hold.
    BadSignature(String),
}

/// The checkpoint in the bytes of a file.
pub fn parse(name: CheckpointFile, bytes: &[u8]) -> Result<Stated, Unusable> {
    let unreadable =
        |fault: &dyn std::fmt::Display| Unusable::Unreadable(format!("it cannot be read: {fault}"));
    let note = SignedNote::parse(bytes).map_err(|e| unreadable(&e))?;
    let checkpoint: Checkpoint = note.text().parse().map_err(|e| unreadable(&e))?;
    let origin = checkpoint
        .origin()
        .parse::<Origin>()
        .map_err(|e| unreadable(&e))?;
    if origin.organisation().is_some()
        || origin.incarnation() != name.incarnation
        || checkpoint.size() != name.size
    {
        return Err(Unusable::Unreadable(format!(
            "it holds the checkpoint of {} leaves of {origin}",
            checkpoint.size()
        )));
    }
    let signed = match note.verify(checkpoint_key::verifiers()) {
        Ok(_) => true,
        Err(NoteError::NoKnownKey) => false,
        Err(fault) => return Err(Unusable::BadSignature(fault.to_string())),
    };
    Ok(Stated { checkpoint, signed })
}
