//! Other witnesses: each is asked to cosign what this one has cosigned (C2SP tlog-witness), and its cosignatures are posted to the log.

use std::time::Duration;

use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::note::{NoteSignature, SignedNote, VerifierKey};
use batchcortex_ledger::witness::{AddCheckpoint, Submission, parse_signatures};
use reqwest::{Client, StatusCode};
use tokio::sync::watch;

use super::log_client::{LogClient, LogError, limited};
use super::settings::Feed;
use crate::agent::uplink::Backoff;
use crate::{explain, http};

/// Times that a witness may correct the size it is asked from before that is given up until the next checkpoint.
const CORRECTIONS: usize = 3;

/// One other witness.
pub(super) struct Feeder {
    feed: Feed,
    client: Client,
    log: LogClient,
    /// Keys of the log: only their signatures are passed on.
    log_keys: Vec<VerifierKey>,
    /// The size that it has cosigned last, as far as is known.
    held: u64,
}

/// Why it did not cosign, or the log did not take it.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("no answer: {0}")]
    NoAnswer(String),
    #[error("it answered {status}: {reason}")]
    Refused { status: StatusCode, reason: String },
    #[error("its answer is no cosignature of the checkpoint by its key")]
    NoCosignature,
    #[error("it names another size each time that it is asked")]
    Restless,
    #[error("of the log: {0}")]
    Log(#[from] LogError),
}

impl Feeder {
    pub(super) fn new(feed: Feed, log: LogClient, log_keys: Vec<VerifierKey>) -> reqwest::Result<Self> {
        Ok(Feeder {
            client: http::client(&feed.url)?,
            feed,
            log,
            log_keys,
            held: 0,
        })
    }

    /// Has the newest checkpoints cosigned until the future is dropped.
    pub(super) async fn run(mut self, mut newest: watch::Receiver<Option<SignedNote>>) {
        let mut backoff = Backoff::default();
        loop {
            let note = newest.borrow_and_update().clone();
            let Some(note) = note else {
                if newest.changed().await.is_err() {
                    return;
                }
                continue;
            };
            match self.have_cosigned(&note).await {
                Ok(()) => {
                    backoff.reset();
                    if newest.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let delay = backoff.delay().max(Duration::from_secs(1));
                    tracing::warn!(
                        witness = self.feed.key.name(),
                        ?delay,
                        "feed: {}",
                        explain(&error)
                    );
                    // By then there may be a newer one.
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    async fn have_cosigned(&mut self, note: &SignedNote) -> Result<(), FeedError> {
        let size = note
            .text()
            .parse::<Checkpoint>()
            .map_or(0, |checkpoint| checkpoint.size());
        let own = self.of_log(note);
        for _ in 0..CORRECTIONS {
            let old = self.held.min(size);
            let request = AddCheckpoint {
                old_size: old,
                proof: self.log.consistency(old, size).await?,
                note: own.clone(),
            };
            match self.ask(&request).await? {
                Ok(lines) => {
                    let signatures = self.verified(&own, &lines)?;
                    self.held = size;
                    let submission = Submission { size, signatures };
                    return Ok(self.log.submit(&submission).await?);
                }
                // It has seen more than this checkpoint: the next one will do.
                Err(held) if held > size => {
                    self.held = held;
                    return Ok(());
                }
                Err(held) => self.held = held,
            }
        }
        Err(FeedError::Restless)
    }

    /// Signature lines, or on a conflict the size that the witness holds.
    async fn ask(&self, request: &AddCheckpoint) -> Result<Result<String, u64>, FeedError> {
        let url = self
            .feed
            .url
            .join("add-checkpoint")
            .map_err(|error| FeedError::NoAnswer(error.to_string()))?;
        let response = self
            .client
            .post(url)
            .body(request.to_string())
            .send()
            .await
            .map_err(|error| FeedError::NoAnswer(explain(&error)))?;
        let status = response.status();
        let body = String::from_utf8_lossy(&limited(response).await?).into_owned();
        match status {
            StatusCode::OK => Ok(Ok(body)),
            StatusCode::CONFLICT => {
                let held = body.strip_suffix('\n').and_then(|digits| digits.parse().ok());
                held.map(Err).ok_or(FeedError::Refused {
                    status,
                    reason: "without the size that it holds".to_owned(),
                })
            }
            _ => Err(FeedError::Refused {
                status,
                // A stranger's text, into the log: one short line of it.
                reason: body
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take(200)
                    .collect(),
            }),
        }
    }

    /// The log's own signatures of a note.
    fn of_log(&self, note: &SignedNote) -> SignedNote {
        let Ok(mut own) = SignedNote::new(note.text()) else {
            return note.clone();
        };
        for signature in note.signatures() {
            if self
                .log_keys
                .iter()
                .any(|key| key.name() == signature.name && key.id() == signature.key_id)
            {
                own.add(signature.clone());
            }
        }
        own
    }

    /// Its cosignatures that hold; those of keys that are not known are left out.
    fn verified(&self, note: &SignedNote, lines: &str) -> Result<Vec<NoteSignature>, FeedError> {
        let key = &self.feed.key;
        let signatures: Vec<NoteSignature> = parse_signatures(lines)
            .map_err(|_| FeedError::NoCosignature)?
            .into_iter()
            .filter(|signature| signature.name == key.name() && signature.key_id == key.id())
            .collect();
        let mut cosigned = note.clone();
        for signature in &signatures {
            cosigned.add(signature.clone());
        }
        cosigned
            .verify(std::slice::from_ref(key))
            .map_err(|_| FeedError::NoCosignature)?;
        Ok(signatures)
    }
}
