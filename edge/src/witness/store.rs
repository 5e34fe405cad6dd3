//! What a witness must not forget, in one directory. Every change is on disk before anything follows from it.
//!
//! | file | holds |
//! | --- | --- |
//! | `lock` | nothing; whoever changes the others holds it |
//! | `<log>.state` | the checkpoint that was cosigned last, as signed by the log and by this witness, and the origins before it |
//! | `<log>.alarm` | the alarm that stands |
//! | `evidence/` | a file for each alarm: both notes, the proof, the time |
//! | `decisions.jsonl` | what persons decided about alarms, a line each |
//!
//! `<log>` is the SHA-256 of the log's name in hex, since a name may hold slashes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use batchcortex_ledger::note::SignedNote;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::durable_file;

/// The directory of a witness.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
}

/// The directory while nobody else changes it.
#[derive(Debug)]
pub struct Locked<'a> {
    store: &'a Store,
    _lock: File,
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{path}: {source}")]
    System {
        /// File or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what this program writes. A witness that has forgotten must not go on as if it had seen nothing.
    #[error(
        "{path} is damaged: {what}; put the file back from a copy, or ask the log's other witnesses before removing it"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// Where a log stood when it was cosigned last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Name of the log.
    pub log: String,
    /// Origins that were cosigned before the one of the note.
    pub past: Vec<String>,
    /// The checkpoint with the log's signature and this witness's own.
    pub note: String,
    /// When its size was cosigned first, RFC 3339 UTC. Signing it anew, after a rotation, does not make it younger.
    #[serde(default)]
    pub grown_at: Option<String>,
}

/// An alarm that stands: the witness cosigns nothing of this log until a person has decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// Name of the log.
    pub log: String,
    /// What kind of refusal.
    pub code: String,
    /// The same in words.
    pub explanation: String,
    /// When it was raised, RFC 3339 UTC.
    pub since: String,
    /// The file with both notes and the proof.
    pub evidence: PathBuf,
}

/// What an alarm rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Name of the log.
    pub log: String,
    /// What kind of refusal.
    pub code: String,
    /// The same in words.
    pub explanation: String,
    /// When it was found, RFC 3339 UTC.
    pub found_at: String,
    /// Who offered it: the log itself, or someone by `add-checkpoint`.
    pub offered_by: String,
    /// The checkpoint that was cosigned last, as signed.
    pub held: Option<String>,
    /// The one offered now, as it came.
    pub offered: String,
    /// The consistency proof that came with it, hashes in base64.
    pub proof: Vec<String>,
}

/// What a person decided about an alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// When, RFC 3339 UTC.
    pub at: String,
    /// User id of the process that decided, and the names that its environment gives.
    pub by: String,
    /// Why.
    pub reason: String,
    /// `accepted`: another incarnation is taken as it is; `resolved`: the log is again what it was.
    pub outcome: String,
    /// The alarm that it ends.
    pub alarm: Alarm,
    /// The checkpoint that was held.
    pub held: Option<String>,
    /// The one held from now on.
    pub accepted: String,
}

/// Now, RFC 3339 in UTC with microseconds.
pub fn now() -> String {
    written(Utc::now())
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

impl Store {
    /// Opens the directory, and makes it if it is missing.
    ///
    /// # Errors
    /// [`StoreError::System`].
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory.join("evidence"))
            .map_err(|source| system(directory, source))?;
        Ok(Store {
            directory: directory.to_owned(),
        })
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Takes the directory for one decision; others, of other processes too, wait.
    ///
    /// # Errors
    /// [`StoreError::System`].
    pub fn lock(&self) -> Result<Locked<'_>, StoreError> {
        let path = self.directory.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| system(&path, source))?;
        lock.lock().map_err(|source| system(&path, source))?;
        Ok(Locked {
            store: self,
            _lock: lock,
        })
    }

    fn file(&self, log: &str, kind: &str) -> PathBuf {
        self.directory
            .join(format!("{}.{kind}", hex::encode(Sha256::digest(log))))
    }
}

impl Locked<'_> {
    /// Where a log stood; none before its first checkpoint.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn state(&self, log: &str) -> Result<Option<State>, StoreError> {
        let path = self.store.file(log, "state");
        let state: Option<State> = read(&path)?;
        match &state {
            Some(state) if state.log != log => Err(StoreError::Damaged {
                path,
                what: format!("it is the state of {:?}", state.log),
            }),
            _ => Ok(state),
        }
    }

    /// Keeps where a log stands. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::System`]; then the old state or the new one is there.
    pub fn keep_state(&self, state: &State) -> Result<(), StoreError> {
        write(&self.store.file(&state.log, "state"), state)
    }

    /// The alarm that stands about a log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn alarm(&self, log: &str) -> Result<Option<Alarm>, StoreError> {
        read(&self.store.file(log, "alarm"))
    }

    /// Keeps evidence, then the alarm that rests on it. Both are on the disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::System`].
    pub fn raise(&self, evidence: &Evidence) -> Result<Alarm, StoreError> {
        // Of the time, digits alone: the name shall be easy to type.
        let time: String = evidence.found_at.chars().filter(char::is_ascii_digit).collect();
        let path = self
            .store
            .directory
            .join("evidence")
            .join(format!("{time}-{}.json", evidence.code));
        write(&path, evidence)?;
        let alarm = Alarm {
            log: evidence.log.clone(),
            code: evidence.code.clone(),
            explanation: evidence.explanation.clone(),
            since: evidence.found_at.clone(),
            evidence: path,
        };
        write(&self.store.file(&evidence.log, "alarm"), &alarm)?;
        Ok(alarm)
    }

    /// Records a decision and ends the alarm that it is about.
    ///
    /// # Errors
    /// [`StoreError::System`].
    pub fn decide(&self, decision: &Decision) -> Result<(), StoreError> {
        let path = self.store.directory.join("decisions.jsonl");
        let failed = |source| system(&path, source);
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let mut line = serde_json::to_vec(decision).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        file.write_all(&line)
            .and_then(|()| file.sync_all())
            .and_then(|()| durable_file::sync_directory(&path))
            .map_err(failed)?;
        let alarm = self.store.file(&decision.alarm.log, "alarm");
        fs::remove_file(&alarm)
            .and_then(|()| durable_file::sync_directory(&alarm))
            .map_err(|source| system(&alarm, source))
    }
}

impl State {
    /// The note as parsed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parsed(&self) -> Result<SignedNote, batchcortex_ledger::note::NoteError> {
        SignedNote::parse(self.note.as_bytes())
    }
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(system(path, source)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| StoreError::Damaged {
            path: path.to_owned(),
            what: error.to_string(),
        })
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), StoreError> {
    let mut json = serde_json::to_vec_pretty(value).map_err(|error| system(path, error.into()))?;
    json.push(b'\n');
    durable_file::replace_synced(path, &[&json]).map_err(|source| system(path, source))
}

fn system(path: &Path, source: io::Error) -> StoreError {
    StoreError::System {
        path: path.to_owned(),
        source,
    }
}
