//! The loop: newest checkpoint, proof, decision, cosignature. Whatever the network does, it goes on; what the log does wrong stops the
//! cosigning, and not the looking.

use std::sync::Arc;
use std::time::Duration;

use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::note::{NoteSignature, SignedNote};
use batchcortex_ledger::witness::{AddCheckpoint, Submission};
use tokio::sync::watch;
use tokio::time::Instant;

use super::alarm::{self, Message};
use super::doubt::{Doubt, Strays, unproven};
use super::keeper::{Keeper, KeeperError, Outcome, Position, Source};
use super::log_client::{LogClient, LogError};
use super::settings::WitnessSettings;
use super::status::WitnessStatus;
use crate::explain;

/// Follows the log at the API.
pub(super) struct Follower {
    pub settings: Arc<WitnessSettings>,
    pub keeper: Arc<Keeper>,
    pub client: LogClient,
    pub status: Arc<WitnessStatus>,
    /// The newest checkpoint that was cosigned, for the other witnesses.
    pub newest: watch::Sender<Option<SignedNote>>,
    /// What is not right and may right itself.
    pub doubt: Option<Doubt>,
    /// Answers in a row that the log has nothing to do with.
    pub strays: Strays,
    /// When a checkpoint was verified last, and whether its absence was told.
    pub heard: Instant,
    pub silence_told: bool,
    /// Whether it was told that the log does not grow.
    pub stale_told: bool,
    /// The posting of this size failed and has been logged.
    pub unposted: Option<u64>,
}

/// Why a round ended early.
pub(super) enum Hitch {
    Log(LogError),
    Keeper(KeeperError),
}

impl From<LogError> for Hitch {
    fn from(error: LogError) -> Self {
        Hitch::Log(error)
    }
}

impl From<KeeperError> for Hitch {
    fn from(error: KeeperError) -> Self {
        Hitch::Keeper(error)
    }
}

impl Follower {
    /// Goes on until the future is dropped.
    pub(super) async fn run(mut self) {
        // An alarm that stands is told again by a witness that starts: whoever started it may not know.
        match self.keeper.holdings() {
            Ok(holdings) => {
                for standing in holdings.iter().filter_map(|holding| holding.alarm.as_ref()) {
                    self.tell(standing.into()).await;
                }
            }
            Err(error) => tracing::error!("{}", explain(&error)),
        }
        loop {
            let mut pause = self.settings.interval;
            match self.round().await {
                Ok(()) => {}
                Err(Hitch::Log(error)) => {
                    if let LogError::Later {
                        after: Some(after), ..
                    } = &error
                    {
                        pause = pause.max((*after).min(Duration::from_secs(300)));
                    }
                    let reason = explain(&error);
                    if self.status.last().last_error.as_ref() != Some(&reason) {
                        tracing::warn!("witness: {reason}");
                    }
                    self.status.failed(&reason);
                }
                Err(Hitch::Keeper(error)) => {
                    let reason = explain(&error);
                    tracing::error!("witness: {reason}");
                    self.status.failed(&reason);
                }
            }
            self.mind_silence().await;
            self.mind_staleness().await;
            self.status.write(&self.settings);
            tokio::time::sleep(pause.max(self.strays.pause())).await;
        }
    }

    async fn round(&mut self) -> Result<(), Hitch> {
        let note = self.client.checkpoint().await?;
        let log = self.settings.log_name().to_owned();
        let position = {
            let (log, note) = (log.clone(), note.clone());
            self.blocking(move |keeper| keeper.examine(&log, &note)).await?
        };
        if let Position::Not(Outcome::Refused(refusal)) = &position
            && refusal.is_stray()
        {
            return self.stray(&log, refusal.clone(), &note).await;
        }
        self.strays.end();
        let old = match position {
            Position::Held(signature) => {
                self.verified();
                let settled = self.settle(&log).await;
                return self.post(&note, signature).await.and(settled);
            }
            Position::Ahead(old) => old,
            Position::Not(Outcome::Refused(refusal)) => return self.doubt(&log, refusal, &note).await,
            Position::Not(outcome) => return self.conclude(outcome, &note).await,
        };
        let size = note
            .text()
            .parse::<Checkpoint>()
            .map_or(0, |checkpoint| checkpoint.size());
        let proof = match self.client.consistency(old, size).await {
            Ok(proof) => proof,
            // It has signed a tree of that size and does not show that what it had signed before is in it.
            Err(LogError::NotThere(_) | LogError::Refused { .. }) => {
                return self.doubt(&log, unproven(old, size), &note).await;
            }
            Err(error) => {
                self.remember(unproven(old, size), &note);
                return Err(error.into());
            }
        };
        let request = AddCheckpoint {
            old_size: old,
            proof,
            note: note.clone(),
        };
        let outcome = self
            .blocking(move |keeper| keeper.decide(&request, Source::Log))
            .await?;
        let cosigned = matches!(outcome, Outcome::Cosigned(_));
        let settled = match cosigned {
            true => self.settle(&log).await,
            false => Ok(()),
        };
        self.conclude(outcome, &note).await.and(settled)
    }

    /// Does what follows from a decision about a checkpoint that the log shows.
    pub(super) async fn conclude(&mut self, outcome: Outcome, note: &SignedNote) -> Result<(), Hitch> {
        match outcome {
            Outcome::Cosigned(signature) => {
                self.verified();
                self.post(note, signature).await
            }
            // Someone else advanced the state meanwhile: the next round knows.
            Outcome::Refused(refusal) => {
                tracing::info!("witness: {refusal}");
                Ok(())
            }
            Outcome::Raised(_, alarm) => {
                self.doubt = None;
                self.status.failed(&alarm.explanation);
                self.tell((&alarm).into()).await;
                Ok(())
            }
            Outcome::Alarmed(alarm) => {
                // The log answers; that it is not believed is the alarm's matter.
                self.heard = Instant::now();
                self.doubt = None;
                self.status.failed(&alarm.explanation);
                Ok(())
            }
        }
    }

    fn verified(&mut self) {
        self.status.verified();
        self.heard = Instant::now();
        self.silence_told = false;
    }

    /// Posts a cosignature, unless the log has it already.
    async fn post(&mut self, note: &SignedNote, signature: NoteSignature) -> Result<(), Hitch> {
        let mut cosigned = note.clone();
        cosigned.add(signature.clone());
        self.newest.send_if_modified(|newest| {
            let changed = newest.as_ref().map(SignedNote::text) != Some(cosigned.text());
            if changed {
                *newest = Some(cosigned.clone());
            }
            changed
        });
        if note.signatures().contains(&signature) {
            self.status.posted();
            return Ok(());
        }
        let size = note
            .text()
            .parse::<Checkpoint>()
            .map_or(0, |checkpoint| checkpoint.size());
        let submission = Submission {
            size,
            signatures: vec![signature],
        };
        match self.client.submit(&submission).await {
            Ok(()) => {
                self.unposted = None;
                self.status.posted();
                tracing::debug!(size, "witness: cosigned");
                Ok(())
            }
            Err(error @ (LogError::NotThere(_) | LogError::Refused { .. })) => {
                // The state is kept and the alarm works all the same; what is missing is that others see it.
                if self.unposted.is_none() {
                    let what_to_do = match &error {
                        LogError::Refused { status: 403, .. } => format!(
                            " (for the server's DBA: select batchcortex.add_witness('{}', 'why'))",
                            self.keeper.verifier()
                        ),
                        _ => String::new(),
                    };
                    tracing::error!(
                        size,
                        "witness: the log does not take the cosignature: {error}{what_to_do}"
                    );
                }
                self.unposted = Some(size);
                self.status.failed(&error.to_string());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A server that wants something unseen may simply say nothing.
    async fn mind_silence(&mut self) {
        if self.silence_told || self.heard.elapsed() < self.settings.silence {
            return;
        }
        self.silence_told = true;
        let text = format!(
            "no checkpoint of the log could be verified for {} s",
            self.settings.silence.as_secs()
        );
        self.tell(Message {
            log: self.settings.log_name(),
            code: "silent",
            text: &text,
            evidence: None,
        })
        .await;
    }

    /// A server may go on showing what was cosigned, and something else to others.
    async fn mind_staleness(&mut self) {
        let Some(limit) = self.settings.stale_after else {
            return;
        };
        let holdings = match self.blocking(Keeper::holdings).await {
            Ok(holdings) => holdings,
            Err(error) => return tracing::error!("witness: {}", explain(&error)),
        };
        let log = self.settings.log_name();
        let Some(holding) = holdings.iter().find(|holding| holding.log == log) else {
            return;
        };
        let stale = holding.is_stale(limit);
        if stale && !self.stale_told && holding.alarm.is_none() {
            let text = format!(
                "no checkpoint after that of size {}, first seen {}, was shown for {} s: the log stands still, or its server shows this witness nothing new",
                holding.size,
                holding.grown_at.as_deref().unwrap_or_default(),
                limit.as_secs()
            );
            let message = Message {
                log,
                code: "stale",
                text: &text,
                evidence: None,
            };
            self.tell(message).await;
            self.stale_told = true;
        } else if !stale && self.stale_told {
            tracing::info!(log, size = holding.size, "witness: the log grows again");
            self.stale_told = false;
        }
    }

    pub(super) async fn tell(&self, message: Message<'_>) {
        alarm::tell(self.settings.alarm.as_deref(), message).await;
    }

    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Keeper) -> Result<T, KeeperError> + Send + 'static,
    ) -> Result<T, KeeperError> {
        let keeper = Arc::clone(&self.keeper);
        match tokio::task::spawn_blocking(move || work(&keeper)).await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}
