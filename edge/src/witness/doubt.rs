//! What is not right and may right itself: it is watched until it does, or becomes an alarm.
//!
//! | what | is settled by | is an alarm |
//! | --- | --- | --- |
//! | an answer older than what was cosigned | an answer that is not | when one comes after `patience_s` |
//! | a signed tree without its proof | the proof, whatever else the log shows meanwhile | when it is missing after `patience_s` |
//! | nothing that the log has signed ([`Strays`]) | an answer that the log has signed | the third in a row, after `patience_s` |

use std::time::Duration;

use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::merkle::{ProofError, verify_consistency};
use batchcortex_ledger::note::SignedNote;
use batchcortex_ledger::witness::{AddCheckpoint, Refusal};
use tokio::time::Instant;

use super::follow::{Follower, Hitch};
use super::keeper::Source;
use super::log_client::LogError;

/// Strays in a row that are an alarm.
pub(super) const STRAYS: u32 = 3;

/// Longest pause between two looks at a log that answers with strays.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Something that the log has signed and that does not fit yet.
#[derive(Debug)]
pub(super) struct Doubt {
    refusal: Refusal,
    note: SignedNote,
    since: Instant,
}

impl Doubt {
    /// Whether it is a tree that the log has signed and not proven: no other answer takes that back.
    fn is_unproven(&self) -> bool {
        matches!(self.refusal, Refusal::Proof(_))
    }
}

/// Answers in a row that nobody has signed whose word counts.
#[derive(Debug, Default)]
pub(super) struct Strays(Option<(u32, Instant)>);

impl Strays {
    /// Another one. Whether they are an alarm now.
    fn add(&mut self, patience: Duration) -> bool {
        let (count, since) = self.0.get_or_insert_with(|| (0, Instant::now()));
        *count += 1;
        *count >= STRAYS && since.elapsed() >= patience
    }

    /// The log has spoken.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// How long to wait at least before the log is asked again: 1 s, 2 s, 4 s … 10 s.
    pub(super) fn pause(&self) -> Duration {
        self.0.map_or(Duration::ZERO, |(count, _)| {
            LONGEST_PAUSE.min(Duration::from_secs(1) * 2u32.saturating_pow(count.saturating_sub(1).min(8)))
        })
    }
}

impl Follower {
    /// A proxy that mixes up two servers for a moment is no reason to stop; a log that is not there any more is.
    pub(super) async fn stray(
        &mut self,
        log: &str,
        refusal: Refusal,
        note: &SignedNote,
    ) -> Result<(), Hitch> {
        self.status.strayed(&refusal.to_string());
        tracing::warn!(
            log,
            code = refusal.code(),
            "witness: an answer that is not the log's: {refusal}"
        );
        if self.strays.add(self.settings.patience) {
            self.strays.end();
            self.lose_patience(log, refusal, note).await?;
        }
        Ok(())
    }

    /// What may right itself, such as the answer of a copy that lags behind, is an alarm when it does not.
    pub(super) async fn doubt(
        &mut self,
        log: &str,
        refusal: Refusal,
        note: &SignedNote,
    ) -> Result<(), Hitch> {
        self.status.failed(&refusal.to_string());
        self.remember(refusal.clone(), note);
        let since = self.doubt.as_ref().map_or_else(Instant::now, |doubt| doubt.since);
        if since.elapsed() < self.settings.patience {
            tracing::warn!(patience = ?self.settings.patience, "witness: {refusal}");
            return Ok(());
        }
        self.lose_patience(log, refusal, note).await
    }

    /// A tree that the log has signed and whose proof may come later.
    pub(super) fn remember(&mut self, refusal: Refusal, note: &SignedNote) {
        // The first one counts, and an unproven tree more than an old answer.
        let unproven = matches!(refusal, Refusal::Proof(_));
        if self
            .doubt
            .as_ref()
            .is_none_or(|doubt| unproven && !doubt.is_unproven())
        {
            self.doubt = Some(Doubt {
                refusal,
                note: note.clone(),
                since: Instant::now(),
            });
        }
    }

    /// After an answer that holds: whether what was in doubt is settled by it. That the log shows again what was cosigned says nothing
    /// about a larger tree that it has signed as well.
    pub(super) async fn settle(&mut self, log: &str) -> Result<(), Hitch> {
        let Some(doubt) = self.doubt.take().filter(Doubt::is_unproven) else {
            return Ok(());
        };
        let (name, note) = (log.to_owned(), doubt.note.clone());
        let compared = self.blocking(move |keeper| keeper.compare(&name, &note)).await?;
        // Another incarnation may have been taken since, by a proof of its own.
        let Some((held, doubted)) = compared.filter(|(held, doubted)| held.origin() == doubted.origin())
        else {
            return Ok(());
        };
        let refusal = match self.prove(&held, &doubted, &doubt.note).await {
            Ok(None) => return Ok(()),
            Ok(Some(refusal)) => refusal,
            // It answers one question and not the other.
            Err(Hitch::Log(error))
                if doubt.since.elapsed() >= self.settings.patience.max(self.settings.silence) =>
            {
                tracing::error!("witness: no proof: {error}");
                doubt.refusal.clone()
            }
            Err(hitch) => {
                self.doubt = Some(doubt);
                return Err(hitch);
            }
        };
        self.status.failed(&refusal.to_string());
        if refusal.convicts() || doubt.since.elapsed() >= self.settings.patience {
            return self.lose_patience(log, refusal, &doubt.note).await;
        }
        self.doubt = Some(doubt);
        Ok(())
    }

    /// Whether two trees of one origin are one history, by a proof in whichever direction it goes; none when they are.
    async fn prove(
        &mut self,
        held: &Checkpoint,
        doubted: &Checkpoint,
        note: &SignedNote,
    ) -> Result<Option<Refusal>, Hitch> {
        if held.size() == doubted.size() {
            let same = held.root() == doubted.root();
            return Ok((!same).then_some(Refusal::Fork { size: held.size() }));
        }
        let (old, new) = if held.size() < doubted.size() {
            (held, doubted)
        } else {
            (doubted, held)
        };
        let proof = match self.client.consistency(old.size(), new.size()).await {
            Ok(proof) => proof,
            Err(LogError::NotThere(_) | LogError::Refused { .. }) => {
                return Ok(Some(unproven(old.size(), new.size())));
            }
            Err(error) => return Err(error.into()),
        };
        if let Err(error) = verify_consistency(old.size(), new.size(), old.root(), new.root(), &proof) {
            return Ok(Some(Refusal::Proof(error)));
        }
        if held.size() < doubted.size() {
            // Late, and still to be remembered: from now on an answer without it is one that lags.
            let request = AddCheckpoint {
                old_size: held.size(),
                proof,
                note: note.clone(),
            };
            let outcome = self
                .blocking(move |keeper| keeper.decide(&request, Source::Log))
                .await?;
            self.conclude(outcome, note).await?;
        }
        Ok(None)
    }

    async fn lose_patience(&mut self, log: &str, refusal: Refusal, note: &SignedNote) -> Result<(), Hitch> {
        self.doubt = None;
        let (name, note) = (log.to_owned(), note.clone());
        let alarm = self
            .blocking(move |keeper| keeper.lose_patience(&name, &refusal, &note))
            .await?;
        self.tell((&alarm).into()).await;
        Ok(())
    }
}

/// The log has signed both trees and does not show that one is the beginning of the other.
pub(super) fn unproven(old: u64, new: u64) -> Refusal {
    Refusal::Proof(ProofError::SizesReversed {
        size1: old,
        size2: new,
    })
}
