//! The life of an agent: where it goes on, its two halves, and an orderly end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::capture::{Capture, CaptureError, told};
use super::config::Config;
use super::message::Position;
use super::spool::{Resume, Spool, SpoolError};
use super::status::Status;
use crate::witness::{self, WitnessError};

use super::uplink::{Backoff, DeliveryError, Uplink, UplinkError, UplinkSetupError, blocking, deliver};

/// Time that the API has to take what waits when the agent is told to stop; the rest stays on disk.
const FAREWELL: Duration = Duration::from_secs(10);

/// Why the agent ended by itself. Whatever was captured is in the spool.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The spool is not usable.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The secret or the HTTP client is not usable.
    #[error(transparent)]
    Uplink(#[from] UplinkSetupError),
    /// The API refuses the device.
    #[error("the API does not tell where this device stands: {0}")]
    Position(UplinkError),
    /// What waits on disk does not meet what the API has.
    #[error(
        "the spool holds messages {oldest} to {newest}, but the API expects {expected}: {explanation}; \
         move the spool aside and start again"
    )]
    Numbering {
        /// Oldest waiting message.
        oldest: u64,
        /// Newest waiting message.
        newest: u64,
        /// What the API expects.
        expected: u64,
        /// How that can come about.
        explanation: &'static str,
    },
    /// The tags cannot be captured.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A message cannot be delivered.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// The witness cannot begin.
    #[error(transparent)]
    Witness(#[from] WitnessError),
}

/// Runs an agent until `stop` is true, then lets it empty its buffer and its spool as far as the API takes it.
///
/// # Errors
/// When it cannot go on without a person; see [`RunError`].
pub async fn run(
    config: Config,
    status_file: Option<&Path>,
    stop: watch::Receiver<bool>,
) -> Result<(), RunError> {
    let status = Arc::new(Status::default());
    let result = {
        let life = live(config, Arc::clone(&status), stop);
        tokio::pin!(life);
        match status_file {
            None => life.await,
            Some(path) => tokio::select! {
                result = &mut life => result,
                () = status.keep_written(path) => Ok(()),
            },
        }
    };
    if let Err(error) = &result {
        status.failed(&error.to_string());
    }
    if let Some(path) = status_file {
        status.write(path);
    }
    result
}

/// Captures, and witnesses beside it: an alarm of the witness is no reason to lose samples.
async fn live(config: Config, status: Arc<Status>, stop: watch::Receiver<bool>) -> Result<(), RunError> {
    let Some(settings) = config.witness.clone() else {
        return capture(config, status, stop).await;
    };
    let witness = witness::run(settings, stop.clone());
    let capture = capture(config, status, stop);
    tokio::pin!(witness, capture);
    tokio::select! {
        captured = &mut capture => captured,
        witnessed = &mut witness => {
            // Either it was told to stop, and so was the capture, or it could not begin.
            witnessed?;
            capture.await
        }
    }
}

async fn capture(
    config: Config,
    status: Arc<Status>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), RunError> {
    let directory = config.spool_dir.clone();
    let spool = Arc::new(blocking(move || Spool::open(&directory)).await?);
    status.found_in_spool(spool.depth().borrow().samples);
    let uplink = Uplink::new(&config)?;
    let Some(resume) = whereabouts(&uplink, &spool, &status, &mut stop).await? else {
        return Ok(());
    };
    tracing::info!(
        next_sequence = resume.position.next_sequence,
        waiting = spool.depth().borrow().messages,
        "the agent begins"
    );

    let capture = Capture::new(
        config,
        Arc::clone(&spool),
        Arc::clone(&status),
        resume.position,
        resume.cursor,
    );
    let (halt, halted) = watch::channel(false);
    let (drain, draining) = watch::channel(false);
    let capture = capture.run(halted);
    let delivery = deliver(&uplink, &spool, &status, draining);
    tokio::pin!(capture, delivery);
    tokio::select! {
        captured = &mut capture => captured?,
        delivered = &mut delivery => {
            // It cannot go on. What is in memory still goes to the disk.
            halt.send_replace(true);
            capture.await?;
            return Ok(delivered?);
        }
        () = told(&mut stop) => {
            halt.send_replace(true);
            capture.await?;
        }
    }
    drain.send_replace(true);
    if let Ok(delivered) = tokio::time::timeout(FAREWELL, &mut delivery).await {
        delivered?;
    }
    let left = *spool.depth().borrow();
    if left.messages > 0 {
        tracing::warn!(
            messages = left.messages,
            samples = left.samples,
            "stay in the spool for the next start"
        );
    }
    Ok(())
}

/// Where the agent goes on. The API is asked; while it cannot be reached, an agent that has been here before
/// goes on by its own account, so that capture does not wait for the API. `None` when it is stopped first.
async fn whereabouts(
    uplink: &Uplink,
    spool: &Arc<Spool>,
    status: &Status,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<Resume>, RunError> {
    let mut backoff = Backoff::default();
    loop {
        let asked = tokio::select! {
            asked = uplink.position() => asked,
            () = told(stop) => return Ok(None),
        };
        match (asked, spool.resume()) {
            (Ok(known), own) => {
                let resume = meet(known, own.as_ref(), spool.waiting())?;
                if spool.waiting().is_none() {
                    let (keeper, kept) = (Arc::clone(spool), resume.clone());
                    blocking(move || keeper.keep_position(kept)).await?;
                }
                return Ok(Some(resume));
            }
            (Err(UplinkError::Later { reason, .. }), Some(own)) => {
                tracing::warn!("{reason}; the agent goes on where it stood itself");
                status.failed(&reason);
                return Ok(Some(own));
            }
            (Err(UplinkError::Later { reason, after }), None) => {
                let delay = backoff.delay().max(after.unwrap_or_default());
                tracing::warn!(?delay, "{reason}; a new agent needs the API to begin");
                status.failed(&reason);
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = told(stop) => return Ok(None),
                }
            }
            (Err(error), _) => return Err(RunError::Position(error)),
        }
    }
}

/// Brings together what the API has, what the agent remembers and what waits on disk.
fn meet(known: Position, own: Option<&Resume>, waiting: Option<(u64, u64)>) -> Result<Resume, RunError> {
    let Some(own) = own else {
        return Ok(Resume {
            position: known,
            cursor: None,
        });
    };
    let expected = known.next_sequence;
    if let Some((oldest, newest)) = waiting {
        let explanation = if expected < oldest {
            "it lacks messages that it had acknowledged, so its database was set back"
        } else if expected > newest + 1 {
            "another agent has posted for this device, or the spool is an old copy"
        } else {
            // From the oldest to just after the newest: at most an acknowledgement was lost.
            return Ok(own.clone());
        };
        return Err(RunError::Numbering {
            oldest,
            newest,
            expected,
            explanation,
        });
    }
    let mut position = own.position.clone();
    if position.next_sequence != expected {
        tracing::error!(
            own = position.next_sequence,
            api = expected,
            "the API stands elsewhere than this agent did: its database was set back, or another agent posted for \
             this device; the agent goes on where the API stands"
        );
        position.next_samples.clear();
    }
    position.next_sequence = expected;
    position.next_samples.extend(known.next_samples);
    Ok(Resume {
        position,
        cursor: own.cursor.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::spool::Cursor;

    fn position(next_sequence: u64, next_sample: u64) -> Position {
        Position {
            next_sequence,
            next_samples: [("S".to_owned(), next_sample)].into(),
            ..Position::default()
        }
    }

    fn own(next_sequence: u64, next_sample: u64) -> Resume {
        let cursor = Cursor {
            subscription_id: 1,
            notification: 2,
            layout: "tags".into(),
        };
        Resume {
            position: position(next_sequence, next_sample),
            cursor: Some(cursor),
        }
    }

    #[test]
    fn a_new_agent_begins_where_the_api_stands() {
        assert_eq!(
            meet(position(8, 70), None, None).unwrap().position,
            position(8, 70)
        );
    }

    #[test]
    fn a_lost_acknowledgement_is_no_conflict() {
        for expected in 5..=8 {
            let resume = meet(position(expected, 1), Some(&own(8, 70)), Some((5, 7))).unwrap();
            assert_eq!(resume, own(8, 70));
        }
    }

    #[test]
    fn missing_or_foreign_messages_need_a_person() {
        for expected in [4, 9] {
            let met = meet(position(expected, 1), Some(&own(8, 70)), Some((5, 7)));
            assert!(matches!(met, Err(RunError::Numbering { .. })), "{met:?}");
        }
    }

    #[test]
    fn with_an_empty_spool_the_api_decides() {
        assert_eq!(
            meet(position(8, 70), Some(&own(8, 70)), None).unwrap(),
            own(8, 70)
        );
        let set_back = meet(position(6, 50), Some(&own(8, 70)), None).unwrap();
        assert_eq!(set_back.position, position(6, 50));
        assert_eq!(set_back.cursor, own(8, 70).cursor);
    }
}
