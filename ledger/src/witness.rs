//! What a witness decides: C2SP tlog-witness, without network, clock or disk.
//!
//! A witness remembers, for each log, the newest checkpoint that it has cosigned, and cosigns a newer one only with a proof that the
//! remembered tree is its beginning. [`AddCheckpoint`] is the request, [`Witness::judge`] the decision, [`Refusal`] a refusal with its
//! HTTP status; [`Witness::denial`] is what a note proves against its log, whatever the request around it. The caller judges, cosigns, makes the new state durable, calls [`Witness::advance`], and only then lets the
//! cosignature out; from judging to advancing nothing else may judge.
//!
//! A log here is what bears one name over all its incarnations (see [`global`](crate::global)): a server that was restored or
//! promoted goes on under a new origin, and the witness follows when nothing that it has cosigned was lost. A log of another kind has one
//! origin, which is its name.

mod refusal;
mod request;
mod submission;

pub use refusal::Refusal;
pub use request::{AddCheckpoint, MAX_PROOF, RequestError};
pub use submission::{Submission, parse_signatures, render_signatures};

use crate::checkpoint::Checkpoint;
use crate::global::{Origin, continues, sealed_at};
use crate::merkle;
use crate::note::{SignatureType, SignedNote, VerifierKey};

/// A log that a witness follows.
#[derive(Clone, Debug)]
pub struct Log {
    name: String,
    keys: Vec<VerifierKey>,
    held: Option<Checkpoint>,
    past: Vec<String>,
}

/// What a witness knows: the logs that it follows and where each of them stood.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    logs: Vec<Log>,
}

/// A checkpoint that may be cosigned now.
#[derive(Clone, Debug)]
pub struct Cosignable {
    log: usize,
    /// What the log has signed.
    pub checkpoint: Checkpoint,
    /// Its note, with the signatures of trusted keys of the log and no others.
    pub note: SignedNote,
}

impl Log {
    /// A log by the keys that it signs with, which bear its name; keys of other names and types are left out.
    /// `held` is the checkpoint that this witness has cosigned last; without one, the first that is seen is believed. `past` are the
    /// origins under which it cosigned before.
    pub fn new(name: &str, keys: &[VerifierKey], held: Option<Checkpoint>, past: Vec<String>) -> Self {
        Log {
            name: name.to_owned(),
            keys: keys
                .iter()
                .filter(|key| key.name() == name && key.signature_type() == SignatureType::Ed25519)
                .cloned()
                .collect(),
            held,
            past,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The checkpoint that was cosigned last.
    pub fn held(&self) -> Option<&Checkpoint> {
        self.held.as_ref()
    }

    /// The size of the tree that was cosigned last; 0 before the first.
    pub fn held_size(&self) -> u64 {
        self.held.as_ref().map_or(0, Checkpoint::size)
    }

    /// The origins under which it was cosigned before the one held.
    pub fn past(&self) -> &[String] {
        &self.past
    }

    /// Whether an origin is this log's: its name, or that of the global log of one of its incarnations.
    fn owns(&self, origin: &str) -> bool {
        origin == self.name
            || origin
                .parse::<Origin>()
                .is_ok_and(|origin| origin.log_name() == self.name && origin.organisation().is_none())
    }

    /// Checks a note's signatures and leaves those of the log: what a witness does before anything else.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] when it is no checkpoint, [`Refusal::UnknownOrigin`] when it is another log's,
    /// [`Refusal::Signature`] when the log has not signed it.
    pub fn open(&self, note: &SignedNote) -> Result<(Checkpoint, SignedNote), Refusal> {
        let checkpoint: Checkpoint = note.text().parse()?;
        if !self.owns(checkpoint.origin()) {
            return Err(Refusal::UnknownOrigin);
        }
        let signed = note.verify(&self.keys).map_err(Refusal::Signature)?;
        let mut own = SignedNote::new(note.text()).map_err(Refusal::Signature)?;
        for signature in note.signatures() {
            if signed
                .iter()
                .any(|by| by.name == signature.name && by.key_id == signature.key_id)
            {
                own.add(signature.clone());
            }
        }
        Ok((checkpoint, own))
    }

    /// Whether a checkpoint of the log, signature checked, goes on from what is held: by incarnation and size, before any proof.
    ///
    /// # Errors
    /// [`Refusal::Fork`], [`Refusal::Rollback`], [`Refusal::Backdated`], [`Refusal::Incarnation`], [`Refusal::SetBack`]. These are statements about the log
    /// itself, which two signed notes prove: the one held and this one.
    pub fn follows(&self, next: &Checkpoint) -> Result<(), Refusal> {
        let Some(held) = &self.held else { return Ok(()) };
        if held.origin() == next.origin() {
            if next.size() == held.size() && next.root() != held.root() {
                return Err(Refusal::Fork { size: next.size() });
            }
            if next.size() < held.size() {
                return Err(Refusal::Rollback {
                    held: held.size(),
                    offered: next.size(),
                    // A copy that lags behind serves what was sealed before; a log that was set back goes on sealing.
                    later: sealed_at(next) > sealed_at(held),
                });
            }
            return not_before(held, next);
        }
        let number = |checkpoint: &Checkpoint| {
            let origin: Origin = checkpoint.origin().parse().ok()?;
            Some(origin.incarnation().number)
        };
        let incarnation = || Refusal::Incarnation {
            held: held.origin().to_owned(),
            offered: next.origin().to_owned(),
        };
        match (number(held), number(next), continues(next)) {
            // An earlier incarnation, or a second one of the same number: a copy of the server that goes on by itself.
            (Some(old), Some(new), _) if new <= old => Err(incarnation()),
            _ if self.past.iter().any(|past| past == next.origin()) => Err(incarnation()),
            (Some(_), Some(_), Some((begun, _))) if begun >= next.size() => Err(incarnation()),
            (Some(_), Some(_), Some((begun, _))) if begun < held.size() => Err(Refusal::SetBack {
                held: held.size(),
                begun,
            }),
            (Some(_), Some(_), Some(_)) => not_before(held, next),
            _ => Err(incarnation()),
        }
    }
}

/// The sealer never goes back in time, whatever its clock does, and a restored or promoted copy knows when the last sealing was that it
/// holds (`docs/format.md` §5): so there is no tolerance. A checkpoint that leaves the time out comes before all that have one.
fn not_before(held: &Checkpoint, next: &Checkpoint) -> Result<(), Refusal> {
    if sealed_at(next) < sealed_at(held) {
        return Err(Refusal::Backdated {
            held: held.size(),
            offered: next.size(),
        });
    }
    Ok(())
}

impl Witness {
    /// A witness of these logs.
    pub fn new(logs: Vec<Log>) -> Self {
        Witness { logs }
    }

    /// The logs that it follows.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The log that an origin belongs to.
    pub fn log(&self, origin: &str) -> Option<&Log> {
        self.logs.iter().find(|log| log.owns(origin))
    }

    /// Whether the checkpoint of a request may be cosigned, by the rules of C2SP tlog-witness and in their order.
    ///
    /// # Errors
    /// [`Refusal`], with the HTTP status of the answer.
    pub fn judge(&self, request: &AddCheckpoint) -> Result<Cosignable, Refusal> {
        let next: Checkpoint = request.note.text().parse()?;
        let log = self
            .logs
            .iter()
            .position(|log| log.owns(next.origin()))
            .ok_or(Refusal::UnknownOrigin)?;
        let (checkpoint, note) = self.logs[log].open(&request.note)?;
        if request.old_size > checkpoint.size() {
            return Err(Refusal::OldSize {
                old: request.old_size,
                size: checkpoint.size(),
            });
        }
        let held = self.logs[log].held_size();
        if request.old_size != held {
            return Err(Refusal::Conflict { held });
        }
        self.logs[log].follows(&checkpoint)?;
        match &self.logs[log].held {
            Some(held) if held.size() > 0 => merkle::verify_consistency(
                held.size(),
                checkpoint.size(),
                held.root(),
                checkpoint.root(),
                &request.proof,
            )
            .map_err(Refusal::Proof)?,
            // The empty tree is the beginning of every tree: there is nothing to prove.
            _ if request.proof.is_empty() => {}
            _ => return Err(Refusal::NoProofNeeded),
        }
        Ok(Cosignable {
            log,
            checkpoint,
            note,
        })
    }

    /// What a note proves against its log together with the one held: that the log denies what it had signed. The request that brings
    /// it may ask for something else, or from another size, and is answered by [`judge`](Self::judge); evidence it is all the same.
    pub fn denial(&self, note: &SignedNote) -> Option<Refusal> {
        let log = self.log(note.text().lines().next()?)?;
        let (checkpoint, _) = log.open(note).ok()?;
        log.follows(&checkpoint).err().filter(Refusal::convicts)
    }

    /// What was judged is now what is held. To be called when it is durable.
    pub fn advance(&mut self, cosigned: &Cosignable) {
        let Some(log) = self.logs.get_mut(cosigned.log) else {
            return;
        };
        if let Some(held) = log.held.replace(cosigned.checkpoint.clone())
            && held.origin() != cosigned.checkpoint.origin()
        {
            log.past.push(held.origin().to_owned());
        }
    }

    /// A person takes another incarnation of a log as it is, although history that this witness has cosigned is missing from it, or it
    /// does not come after the one held (a restore of a restored server's older backup).
    ///
    /// # Errors
    /// [`Refusal`] when the note is not the log's; [`Refusal::SameOrigin`] when something was cosigned under its origin already:
    /// under one origin a witness vouches for one history, whatever a person says.
    pub fn accept(&self, note: &SignedNote) -> Result<Cosignable, Refusal> {
        let next: Checkpoint = note.text().parse()?;
        let log = self
            .logs
            .iter()
            .position(|log| log.owns(next.origin()))
            .ok_or(Refusal::UnknownOrigin)?;
        let of = &self.logs[log];
        let (checkpoint, note) = of.open(note)?;
        let held = of.held.as_ref().map(Checkpoint::origin);
        if held.is_none()
            || held == Some(checkpoint.origin())
            || of.past.iter().any(|past| past == checkpoint.origin())
        {
            return Err(Refusal::SameOrigin);
        }
        Ok(Cosignable {
            log,
            checkpoint,
            note,
        })
    }
}
