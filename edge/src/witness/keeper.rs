//! The decisions of a witness, one at a time: what it holds is read, the request judged, the new state brought to disk, and only then does
//! a cosignature exist for anyone else. All of that happens under one lock, so that no two decisions meet.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use batchcortex_keys::{KeyFile, KeyFileError};
use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::cosignature::Cosigner;
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::note::{NoteSignature, SignedNote, VerifierKey};
use batchcortex_ledger::witness::{AddCheckpoint, Cosignable, Log, Refusal, Witness};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::settings::WitnessSettings;
use super::store::{Alarm, Decision, Evidence, Locked, State, Store, StoreError, now};

/// Who offers a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The log itself: whatever does not hold is its doing.
    Log,
    /// Someone: only what two notes of the log prove counts against the log.
    Anyone,
}

/// The witness with its keys and its memory.
#[derive(Debug)]
pub struct Keeper {
    cosigner: Cosigner,
    own_keys: Vec<VerifierKey>,
    log_keys: Vec<VerifierKey>,
    store: Store,
}

/// Why there is no witness, or no decision. A refusal is a decision.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The witness's keys.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// A log's key file.
    #[error(
        "{path} holds the key of a log: a witness needs one that `batchcortex-keys create witness` makes"
    )]
    NotAWitnessKey {
        /// The file.
        path: PathBuf,
    },
    /// What was kept does not verify: it was changed, or it is of another witness or log.
    #[error("what is kept of {log} does not verify: {what}; put the file back from a copy")]
    State {
        /// Name of the log.
        log: String,
        /// What is wrong with it.
        what: String,
    },
    /// A person wants to end an alarm where none stands.
    #[error("no alarm stands about {log}: there is nothing to accept")]
    NoAlarm {
        /// Name of the log.
        log: String,
    },
}

/// What a request came to.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was cosigned, and that is on disk.
    Cosigned(NoteSignature),
    /// It was not, and why.
    Refused(Refusal),
    /// It was not, and a person must see why: the refusal is the answer to the request, the alarm says what it has shown.
    Raised(Refusal, Alarm),
    /// An alarm stands about this log: nothing of it is cosigned.
    Alarmed(Alarm),
}

/// How a checkpoint that the log shows stands to the one held.
#[derive(Debug, Clone)]
pub enum Position {
    /// It is the one held; the cosignature of it.
    Held(NoteSignature),
    /// It may follow the one held, of this size; a proof will tell.
    Ahead(u64),
    /// It does not; see the outcome.
    Not(Outcome),
}

/// What a witness holds of a log.
#[derive(Debug, Clone, Serialize)]
pub struct Holding {
    /// Name of the log.
    pub log: String,
    /// Its origin now.
    pub origin: Option<String>,
    /// The size that was cosigned last.
    pub size: u64,
    /// The note, cosignature included.
    pub note: Option<String>,
    /// When its size was cosigned first, RFC 3339 UTC.
    pub grown_at: Option<String>,
    /// The alarm that stands.
    pub alarm: Option<Alarm>,
}

impl Holding {
    /// Whether nothing newer has come for longer than that.
    pub fn is_stale(&self, limit: Duration) -> bool {
        let grown = self.grown_at.as_deref().map(DateTime::parse_from_rfc3339);
        let age = match grown {
            Some(Ok(grown)) => Utc::now().signed_duration_since(grown).to_std(),
            _ => return false,
        };
        // A time to come is this machine's clock, not the log.
        age.is_ok_and(|age| age >= limit)
    }
}

impl Keeper {
    /// Reads the keys, opens the directory and checks what it holds.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub fn open(settings: &WitnessSettings) -> Result<Self, KeeperError> {
        let keys = KeyFile::read(&settings.key_file)?;
        let cosigner = keys.cosigner().ok_or_else(|| KeeperError::NotAWitnessKey {
            path: settings.key_file.clone(),
        })?;
        let keeper = Keeper {
            cosigner,
            own_keys: keys.verifiers().to_vec(),
            log_keys: settings.log_keys.clone(),
            store: Store::open(&settings.state_dir)?,
        };
        keeper.witness(&keeper.store.lock()?)?;
        Ok(keeper)
    }

    /// The witness's own public key.
    pub fn verifier(&self) -> &VerifierKey {
        self.cosigner.verifier()
    }

    /// What is held, of each log.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub fn holdings(&self) -> Result<Vec<Holding>, KeeperError> {
        let locked = self.store.lock()?;
        let witness = self.witness(&locked)?;
        witness
            .logs()
            .iter()
            .map(|log| {
                let state = locked.state(log.name())?;
                let (note, grown_at) = state.map(|state| (state.note, state.grown_at)).unzip();
                Ok(Holding {
                    log: log.name().to_owned(),
                    origin: log.held().map(|held| held.origin().to_owned()),
                    size: log.held_size(),
                    note,
                    grown_at: grown_at.flatten(),
                    alarm: locked.alarm(log.name())?,
                })
            })
            .collect()
    }

    /// How a checkpoint that the log itself shows stands to the one held. What convicts the log raises the alarm; a checkpoint that is merely
    /// old, or not the log's at all, does not.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub fn examine(&self, log: &str, note: &SignedNote) -> Result<Position, KeeperError> {
        let locked = self.store.lock()?;
        if let Some(alarm) = locked.alarm(log)? {
            return Ok(Position::Not(Outcome::Alarmed(alarm)));
        }
        let witness = self.witness(&locked)?;
        let examined = match named(&witness, log) {
            None => Err(Refusal::UnknownOrigin),
            Some(of) => of
                .open(note)
                .and_then(|(next, _)| of.follows(&next).map(|()| (of, next))),
        };
        match examined {
            Ok((of, next)) if same_tree(of.held(), &next) => {
                match self.own_signature(&locked, log, note)? {
                    Some(signature) => Ok(Position::Held(signature)),
                    // The same tree under another text, or cosigned with an earlier key: to be cosigned anew.
                    None => Ok(Position::Ahead(of.held_size())),
                }
            }
            Ok((of, _)) => Ok(Position::Ahead(of.held_size())),
            Err(refusal)
                if refusal.is_stray() || matches!(refusal, Refusal::Rollback { later: false, .. }) =>
            {
                Ok(Position::Not(Outcome::Refused(refusal)))
            }
            Err(refusal) => {
                let alarm = self.raise(&locked, log, &refusal, Source::Log, note, &[])?;
                Ok(Position::Not(Outcome::Raised(refusal, alarm)))
            }
        }
    }

    /// The checkpoint held of a log and another one that the log has signed; none when one of them is missing.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub fn compare(
        &self,
        log: &str,
        note: &SignedNote,
    ) -> Result<Option<(Checkpoint, Checkpoint)>, KeeperError> {
        let witness = self.witness(&self.store.lock()?)?;
        Ok(named(&witness, log).and_then(|of| {
            let (other, _) = of.open(note).ok()?;
            Some((of.held()?.clone(), other))
        }))
    }

    /// Decides about a request to cosign.
    ///
    /// # Errors
    /// [`KeeperError`]; then nothing was cosigned.
    pub fn decide(&self, request: &AddCheckpoint, source: Source) -> Result<Outcome, KeeperError> {
        let locked = self.store.lock()?;
        let mut witness = self.witness(&locked)?;
        let name = request
            .note
            .text()
            .lines()
            .next()
            .and_then(|origin| witness.log(origin))
            .map(|log| log.name().to_owned());
        if let Some(name) = &name
            && let Some(alarm) = locked.alarm(name)?
        {
            return Ok(Outcome::Alarmed(alarm));
        }
        let refusal = match witness.judge(request) {
            Ok(cosignable) => {
                return Ok(Outcome::Cosigned(self.cosign(
                    &locked,
                    &mut witness,
                    &cosignable,
                )?));
            }
            Err(refusal) => refusal,
        };
        // A note that convicts the log is kept, however little the request around it deserves: from a wrong size, or without a proof.
        let found = witness
            .denial(&request.note)
            .or_else(|| (source == Source::Log && refusal.status() == 422).then(|| refusal.clone()));
        match (found, name) {
            (Some(found), Some(name)) => {
                let alarm = self.raise(&locked, &name, &found, source, &request.note, &request.proof)?;
                Ok(Outcome::Raised(refusal, alarm))
            }
            _ => Ok(Outcome::Refused(refusal)),
        }
    }

    /// Raises an alarm about something that outlasted the witness's patience.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub fn lose_patience(
        &self,
        log: &str,
        refusal: &Refusal,
        note: &SignedNote,
    ) -> Result<Alarm, KeeperError> {
        let locked = self.store.lock()?;
        match locked.alarm(log)? {
            Some(alarm) => Ok(alarm),
            None => self.raise(&locked, log, refusal, Source::Log, note, &[]),
        }
    }

    /// A person ends the alarm about a log. Either the checkpoint shown now follows the one held, as `proof` shows: then the log is again what
    /// it was. Or it is of another incarnation: then it is taken as it is, and the missing history stays in the evidence.
    ///
    /// # Errors
    /// [`KeeperError`]. A refusal is an outcome.
    pub fn accept(
        &self,
        log: &str,
        note: &SignedNote,
        proof: Vec<Hash>,
        reason: &str,
        by: &str,
    ) -> Result<Result<Decision, Refusal>, KeeperError> {
        let locked = self.store.lock()?;
        let Some(alarm) = locked.alarm(log)? else {
            return Err(KeeperError::NoAlarm { log: log.to_owned() });
        };
        let mut witness = self.witness(&locked)?;
        let held = locked.state(log)?.map(|state| state.note);
        let request = AddCheckpoint {
            old_size: named(&witness, log).map_or(0, Log::held_size),
            proof,
            note: note.clone(),
        };
        let (outcome, cosignable) = match witness.judge(&request) {
            Ok(cosignable) => ("resolved", cosignable),
            Err(judged) => match witness.accept(note) {
                Ok(cosignable) => ("accepted", cosignable),
                // Under an origin that was cosigned: what is wrong with it is what a person needs to know.
                Err(Refusal::SameOrigin) => {
                    let followed = named(&witness, log)
                        .ok_or(Refusal::UnknownOrigin)
                        .and_then(|of| of.open(note).and_then(|(next, _)| of.follows(&next)));
                    return Ok(Err(followed.err().unwrap_or(judged)));
                }
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        self.cosign(&locked, &mut witness, &cosignable)?;
        let decision = Decision {
            at: now(),
            by: by.to_owned(),
            reason: reason.to_owned(),
            outcome: outcome.to_owned(),
            alarm,
            held,
            accepted: note.to_string(),
        };
        locked.decide(&decision)?;
        Ok(Ok(decision))
    }

    /// Signs, and brings the state with the signature to disk. The one place where cosignatures are made.
    fn cosign(
        &self,
        locked: &Locked<'_>,
        witness: &mut Witness,
        cosignable: &Cosignable,
    ) -> Result<NoteSignature, KeeperError> {
        let origin = cosignable.checkpoint.origin();
        let unusable = |what: String| KeeperError::State {
            log: origin.to_owned(),
            what,
        };
        let seconds = u64::try_from(Utc::now().timestamp()).unwrap_or_default();
        let signature = self
            .cosigner
            .cosign(&cosignable.note, seconds)
            .map_err(|error| unusable(error.to_string()))?;
        let before = witness.log(origin).and_then(Log::held).cloned();
        witness.advance(cosignable);
        let log = witness
            .log(origin)
            .ok_or_else(|| unusable("no such log".to_owned()))?;
        let grown_at = match same_tree(before.as_ref(), &cosignable.checkpoint) {
            true => locked.state(log.name())?.and_then(|state| state.grown_at),
            false => None,
        };
        let mut note = cosignable.note.clone();
        note.add(signature.clone());
        locked.keep_state(&State {
            log: log.name().to_owned(),
            past: log.past().to_vec(),
            note: note.to_string(),
            grown_at: Some(grown_at.unwrap_or_else(now)),
        })?;
        Ok(signature)
    }

    /// What is held, read anew each time: another process, a person's command, may have changed it. It is believed only as far as the log's
    /// signature and one of this witness's own go.
    fn witness(&self, locked: &Locked<'_>) -> Result<Witness, KeeperError> {
        let names: BTreeSet<&str> = self.log_keys.iter().map(VerifierKey::name).collect();
        names
            .into_iter()
            .map(|name| {
                let empty = Log::new(name, &self.log_keys, None, Vec::new());
                let Some(state) = locked.state(name)? else {
                    return Ok(empty);
                };
                let damaged = |what: String| KeeperError::State {
                    log: name.to_owned(),
                    what,
                };
                let note = state.parsed().map_err(|error| damaged(error.to_string()))?;
                let (held, _) = empty
                    .open(&note)
                    .map_err(|refusal| damaged(refusal.to_string()))?;
                note.verify(&self.own_keys)
                    .map_err(|error| damaged(format!("of this witness's own signature: {error}")))?;
                Ok(Log::new(name, &self.log_keys, Some(held), state.past))
            })
            .collect::<Result<_, _>>()
            .map(Witness::new)
    }

    /// This witness's signature of a note, from what was kept; none when another text was cosigned, or with another key.
    fn own_signature(
        &self,
        locked: &Locked<'_>,
        log: &str,
        note: &SignedNote,
    ) -> Result<Option<NoteSignature>, KeeperError> {
        let own = self.cosigner.verifier();
        let kept = locked.state(log)?.and_then(|state| state.parsed().ok());
        Ok(kept.filter(|kept| kept.text() == note.text()).and_then(|kept| {
            kept.signatures()
                .iter()
                .find(|signature| signature.name == own.name() && signature.key_id == own.id())
                .cloned()
        }))
    }

    fn raise(
        &self,
        locked: &Locked<'_>,
        log: &str,
        refusal: &Refusal,
        source: Source,
        note: &SignedNote,
        proof: &[Hash],
    ) -> Result<Alarm, KeeperError> {
        let evidence = Evidence {
            log: log.to_owned(),
            code: refusal.code().to_owned(),
            explanation: refusal.to_string(),
            found_at: now(),
            offered_by: match source {
                Source::Log => "the log".to_owned(),
                Source::Anyone => "add-checkpoint".to_owned(),
            },
            held: locked.state(log)?.map(|state| state.note),
            offered: note.to_string(),
            proof: proof.iter().map(|hash| BASE64_STANDARD.encode(hash)).collect(),
        };
        Ok(locked.raise(&evidence)?)
    }
}

fn named<'a>(witness: &'a Witness, name: &str) -> Option<&'a Log> {
    witness.logs().iter().find(|log| log.name() == name)
}

fn same_tree(held: Option<&Checkpoint>, next: &Checkpoint) -> bool {
    held.is_some_and(|held| held.origin() == next.origin() && held.size() == next.size())
}
