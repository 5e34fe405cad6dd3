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
    let parsed = SignedNote::parse(note.as_bytes())
        .map_err(|e| Fault::Wrong(format!("the signed note cannot be read: {e}")))?;
    if parsed.text() != checkpoint.to_string() {
        return Err(Fault::Wrong(
            "what was signed is not what the checkpoint says".to_owned(),
        ));
    }
    match parsed.verify(checkpoint_key::verifiers()) {
        Ok(_) => Ok(()),
        Err(NoteError::NoKnownKey) => {
            let key = parsed.signatures().first();
            Err(Fault::UnknownKey(key.map_or_else(String::new, |key| {
                format!("{} {}", key.name, key.key_id)
            })))
        }
        Err(fault) => Err(Fault::Wrong(fault.to_string())),
    }
}
