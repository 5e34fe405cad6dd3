//! What a verifier is told beforehand, and believing the global log's checkpoint.

use std::collections::BTreeSet;

use super::text::instant;
use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::global::{self, Origin};
use crate::hash::Hash;
use crate::note::{NoteError, SignatureType, SignedNote, Verified, VerifierKey};

/// Why keys or an old checkpoint cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// No key of the log: nothing could be believed.
    #[error("at least one key of the log is needed")]
    NoLogKey,
    /// A log signs with keys of type 0x01.
    #[error("{name}+{id} is no key of a log (type 0x01)", name = .0.name(), id = .0.id())]
    NotALogKey(Box<VerifierKey>),
    /// A witness cosigns with keys of type 0x04.
    #[error("{name}+{id} is no key of a witness (cosignature/v1, type 0x04)", name = .0.name(), id = .0.id())]
    NotAWitnessKey(Box<VerifierKey>),
    /// More witnesses are asked for than are known.
    #[error("a quorum of {quorum} needs as many witnesses; keys of {known} were given")]
    Quorum {
        /// The number asked for.
        quorum: usize,
        /// The number of names among the keys.
        known: usize,
    },
    /// The checkpoint cannot be read, or no known key of its log has signed it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The note is a checkpoint, but not one of a global log.
    #[error("the checkpoint is not one of a global log: {0}")]
    NotGlobal(&'static str),
}

/// Keys, quorum, and checkpoints that were kept from earlier.
#[derive(Clone, Debug)]
pub struct Trust {
    pub(super) log: Vec<VerifierKey>,
    pub(super) witnesses: Vec<VerifierKey>,
    pub(super) quorum: usize,
    pub(super) old: Vec<OldCheckpoint>,
}

impl Trust {
    /// Trust in these keys of the log, older ones included, and in these witnesses, of whom `quorum`
    /// must have cosigned: without a number all of them. Keys of one name are one witness.
    ///
    /// # Errors
    /// [`TrustError`] for no key of a log, keys of the wrong type, and a quorum that cannot be reached.
    pub fn new(
        log: Vec<VerifierKey>,
        witnesses: Vec<VerifierKey>,
        quorum: Option<usize>,
    ) -> Result<Self, TrustError> {
        if log.is_empty() {
            return Err(TrustError::NoLogKey);
        }
        let not = |keys: &[VerifierKey], wanted| {
            let wrong = keys.iter().find(|key| key.signature_type() != wanted);
            wrong.cloned().map(Box::new)
        };
        if let Some(key) = not(&log, SignatureType::Ed25519) {
            return Err(TrustError::NotALogKey(key));
        }
        if let Some(key) = not(&witnesses, SignatureType::CosignatureV1) {
            return Err(TrustError::NotAWitnessKey(key));
        }
        let known = witnesses
            .iter()
            .map(VerifierKey::name)
            .collect::<BTreeSet<_>>()
            .len();
        let quorum = quorum.unwrap_or(known);
        if quorum > known {
            return Err(TrustError::Quorum { quorum, known });
        }
        Ok(Trust {
            log,
            witnesses,
            quorum,
            old: Vec::new(),
        })
    }

    /// The keys of the log.
    pub fn log_keys(&self) -> &[VerifierKey] {
        &self.log
    }

    /// The keys of witnesses.
    pub fn witness_keys(&self) -> &[VerifierKey] {
        &self.witnesses
    }

    /// How many witnesses must have cosigned.
    pub fn quorum(&self) -> usize {
        self.quorum
    }

    /// The checkpoints that were kept.
    pub fn old_checkpoints(&self) -> &[OldCheckpoint] {
        &self.old
    }

    /// Demands that the evidence be consistent with a checkpoint of the global log that was kept from
    /// earlier, whose name for people is `name`.
    ///
    /// # Errors
    /// [`TrustError`] unless the note is a checkpoint of a global log that a known key has signed.
    pub fn remember(&mut self, name: &str, note: &[u8]) -> Result<(), TrustError> {
        self.old.push(OldCheckpoint {
            name: name.to_owned(),
            checkpoint: GlobalCheckpoint::open(note, &self.log, &self.witnesses)?,
        });
        Ok(())
    }
}

/// A checkpoint of the global log that was kept from earlier.
#[derive(Clone, Debug)]
pub struct OldCheckpoint {
    /// What it is called, for instance its file.
    pub name: String,
    /// The checkpoint.
    pub checkpoint: GlobalCheckpoint,
}

/// A checkpoint of the global log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalCheckpoint {
    /// Which log.
    pub origin: Origin,
    /// The number of leaves.
    pub size: u64,
    /// The root of the tree of that size.
    pub root: Hash,
    /// When it was sealed, RFC 3339 in UTC.
    pub sealed_at: String,
    /// From the second incarnation on: the size at which it began, and the origin that it continues.
    pub continues: Option<(u64, String)>,
    /// Keys of the log that have signed it.
    pub signatures: Vec<Verified>,
    /// Witnesses that have cosigned it.
    pub cosignatures: Vec<Verified>,
}

impl GlobalCheckpoint {
    /// Reads a signed checkpoint of a global log and checks the signatures by known keys. A key signs
    /// for logs of its own name only.
    ///
    /// # Errors
    /// [`TrustError`] unless one of `log` has signed it, and no signature by a known key fails.
    pub fn open(note: &[u8], log: &[VerifierKey], witnesses: &[VerifierKey]) -> Result<Self, TrustError> {
        let unsigned = Self::unsigned(note)?;
        let of_its_name: Vec<VerifierKey> = log
            .iter()
            .filter(|key| key.name() == unsigned.origin.log_name())
            .cloned()
            .collect();
        let opened = checkpoint::open(note, &unsigned.origin.to_string(), &of_its_name, witnesses)?;
        Ok(GlobalCheckpoint {
            signatures: opened.signatures,
            cosignatures: opened.cosignatures,
            ..unsigned
        })
    }

    /// Reads it and believes nothing.
    pub(super) fn unsigned(note: &[u8]) -> Result<Self, TrustError> {
        let note = SignedNote::parse(note).map_err(CheckpointError::from)?;
        let checkpoint: Checkpoint = note.text().parse()?;
        let origin: Origin = checkpoint
            .origin()
            .parse()
            .ok()
            .filter(|origin: &Origin| origin.organisation().is_none())
            .ok_or(TrustError::NotGlobal(
                "its origin must be <log name>/<16 hex digits>/<incarnation>",
            ))?;
        let sealed_at = global::sealed_at(&checkpoint)
            .and_then(instant)
            .ok_or(TrustError::NotGlobal(
                "its fourth line must be: sealed <time in UTC>",
            ))?;
        let continues = global::continues(&checkpoint).map(|(size, origin)| (size, origin.to_owned()));
        Ok(GlobalCheckpoint {
            origin,
            size: checkpoint.size(),
            root: *checkpoint.root(),
            sealed_at,
            continues,
            signatures: Vec::new(),
            cosignatures: Vec::new(),
        })
    }
}

/// Whether an error says that nobody whom we know vouches, and not that bytes cannot be read.
pub(super) fn is_doubt(error: &TrustError) -> bool {
    matches!(
        error,
        TrustError::Checkpoint(
            CheckpointError::NotSigned
                | CheckpointError::Note(NoteError::BadSignature { .. } | NoteError::NoKnownKey)
        )
    )
}
