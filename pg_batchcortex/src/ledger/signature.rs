//! The server's signature on a stored checkpoint.

use crate::checkpoint_key;
use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::note::{NoteError, SignedNote};

/// Why a signed note does not hold.
pub enum Fault {
    /// No known key has signed it; the name and id of one that has.
    UnknownKey(String),
    /// Anything else.
    Wrong(String),
}

/// Whether a stored note is this checkpoint, signed by a key of this server.
pub fn signed(note: &str, checkpoint: &Checkpoint) -> Result<(), Fault> {
    verify(&read(note, checkpoint)?)
}

/// How many notes are checked at once: more take longer each, for they leave a processor's cache.
const MANY: usize = 1024;

/// Stored notes whose signatures are checked many at a time, with what names each.
#[derive(Default)]
pub struct Signatures {
    names: Vec<i64>,
    notes: Vec<SignedNote>,
}

impl Signatures {
    /// Takes a note that should be this checkpoint. Returns the faults of notes that were taken before, when there are many.
    ///
    /// # Errors
    /// What is wrong with this note beside its signature.
    pub fn add(
        &mut self,
        name: i64,
        note: &str,
        checkpoint: &Checkpoint,
    ) -> Result<Vec<(i64, Fault)>, Fault> {
        self.notes.push(read(note, checkpoint)?);
        self.names.push(name);
        Ok(if self.notes.len() < MANY {
            Vec::new()
        } else {
            self.check()
        })
    }

    /// Checks those that were taken and not checked.
    pub fn check(&mut self) -> Vec<(i64, Fault)> {
        let (names, notes) = (std::mem::take(&mut self.names), std::mem::take(&mut self.notes));
        if SignedNote::all_verify(&notes, checkpoint_key::verifiers()) {
            return Vec::new();
        }
        let each = names.into_iter().zip(&notes);
        each.filter_map(|(name, note)| Some((name, verify(note).err()?)))
            .collect()
    }
}

fn read(note: &str, checkpoint: &Checkpoint) -> Result<SignedNote, Fault> {
    let parsed = SignedNote::parse(note.as_bytes())
        .map_err(|e| Fault::Wrong(format!("the signed note cannot be read: {e}")))?;
    if parsed.text() == checkpoint.to_string() {
        Ok(parsed)
    } else {
        Err(Fault::Wrong(
            "what was signed is not what the checkpoint says".to_owned(),
        ))
    }
}

fn verify(note: &SignedNote) -> Result<(), Fault> {
    match note.verify(checkpoint_key::verifiers()) {
        Ok(_) => Ok(()),
        Err(NoteError::NoKnownKey) => {
            let key = note.signatures().first();
            Err(Fault::UnknownKey(key.map_or_else(String::new, |key| {
                format!("{} {}", key.name, key.key_id)
            })))
        }
        Err(fault) => Err(Fault::Wrong(fault.to_string())),
    }
}
