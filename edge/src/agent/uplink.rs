//! The way up: signed requests to the API, repeated until they are acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use batchcortex_ledger::request_signature;
use chrono::Utc;
use rand::RngExt;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::Deserialize;
use uuid::Uuid;

use super::config::{Config, ConfigError, Secret};
use super::message::Position;
use super::spool::{Spool, SpoolError, Stored};
use super::status::Status;
use crate::{explain, http};

const INGEST: &str = "/v1/ingest";
const POSITION: &str = "/v1/ingest/position";

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// The API as seen from one device.
pub struct Uplink {
    client: Client,
    api_url: Url,
    authority: String,
    device_id: Uuid,
    key_id: String,
    secret: Secret,
}

/// Why a request was not answered as hoped. No variant carries a secret.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// It may succeed later: no connection, an answer of a server in trouble, too many requests.
    #[error("{reason}")]
    Later {
        /// What happened.
        reason: String,
        /// Time that the server asked to wait.
        after: Option<Duration>,
    },
    /// It will never succeed as it is.
    #[error("the API refused the request with {status}: {reason}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Title, detail and code of the problem document.
        reason: String,
    },
    /// The message does not follow the last one that the API has.
    #[error("the API expects message {next_sequence} of this device: {reason}")]
    OutOfSequence {
        /// Number that it expects.
        next_sequence: u64,
        /// Title, detail and code of the problem document.
        reason: String,
    },
}

/// Why delivery ended; the messages are still in the spool.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// A message that the API will never take.
    #[error("message {sequence} was not accepted and stays in the spool: {source}")]
    Refused {
        /// The message.
        sequence: u64,
        /// The answer.
        source: UplinkError,
    },
    /// Numbering that does not meet the API's.
    #[error("message {sequence} is the oldest in the spool, but the API expects {expected}: {explanation}")]
    Numbering {
        /// The message.
        sequence: u64,
        /// What the API expects.
        expected: u64,
        /// How that can come about.
        explanation: &'static str,
    },
    /// The spool failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Why there is no uplink.
#[derive(Debug, thiserror::Error)]
pub enum UplinkSetupError {
    /// No secret.
    #[error(transparent)]
    Secret(#[from] ConfigError),
    /// The HTTP client cannot be built, for example because the system has no trusted certificates.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// A problem document (RFC 9457).
#[derive(Deserialize, Default)]
#[serde(default)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    code: Option<String>,
    next_sequence: Option<u64>,
}

#[derive(Deserialize)]
struct PositionAnswer {
    device_id: Uuid,
    next_sequence: u64,
    tags: Vec<TagPosition>,
}

#[derive(Deserialize)]
struct TagPosition {
    tag: String,
    next_sample: u64,
}

#[derive(Deserialize)]
struct Receipt {
    device_id: Uuid,
    sequence: u64,
    samples: usize,
    duplicate: bool,
}

impl Uplink {
    /// Reads the secret and prepares the client. It connects with the first request.
    ///
    /// # Errors
    /// When the secret is not usable or the client cannot be built.
    pub fn new(config: &Config) -> Result<Uplink, UplinkSetupError> {
        let host = config.api_url.host_str().unwrap_or_default();
        let authority = match config.api_url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Uplink {
            client: http::client(&config.api_url).map_err(UplinkSetupError::Client)?,
            api_url: config.api_url.clone(),
            authority,
            device_id: config.device_id,
            key_id: config.key_id.clone(),
            secret: config.secret()?,
        })
    }

    /// Asks where the API stands with this device.
    ///
    /// # Errors
    /// When there is no answer now, or never will be.
    pub async fn position(&self) -> Result<Position, UplinkError> {
        let mut url = self.url(POSITION);
        url.query_pairs_mut()
            .append_pair("device_id", &self.device_id.to_string());
        let response = self.send(Method::GET, url, Vec::new()).await?;
        let answer: PositionAnswer = read_json(response).await?;
        if answer.device_id != self.device_id {
            return Err(unexpected(format!(
                "the API answered for device {}",
                answer.device_id
            )));
        }
        let next_samples: BTreeMap<String, u64> = answer
            .tags
            .into_iter()
            .map(|tag| (tag.tag, tag.next_sample))
            .collect();
        Ok(Position {
            next_sequence: answer.next_sequence,
            next_samples,
            ..Position::default()
        })
    }

    /// Posts a message once.
    ///
    /// # Errors
    /// When it was not acknowledged.
    pub async fn post(&self, message: &Stored) -> Result<bool, UplinkError> {
        let response = self
            .send(Method::POST, self.url(INGEST), message.body.clone())
            .await?;
        let receipt: Receipt = read_json(response).await?;
        // Only the API's own receipt for this message lets the agent forget it: a proxy may say 200 too.
        let ours = receipt.device_id == self.device_id
            && receipt.sequence == message.sequence
            && receipt.samples == message.samples;
        if !ours {
            return Err(unexpected(format!(
                "the receipt is for message {} with {} samples of device {}",
                receipt.sequence, receipt.samples, receipt.device_id
            )));
        }
        Ok(receipt.duplicate)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.api_url.clone();
        url.set_path(path);
        url
    }

    /// Sends a request, signed anew: time and nonce belong to the attempt, the body to the message.
    async fn send(&self, method: Method, url: Url, body: Vec<u8>) -> Result<Response, UplinkError> {
        let nonce = BASE64URL.encode(rand::rng().random::<[u8; 16]>());
        let headers = request_signature::sign(
            self.secret.as_slice(),
            method.as_str(),
            &self.authority,
            url.path(),
            &body,
            Utc::now().timestamp(),
            &nonce,
            &self.key_id,
        )
        .map_err(|error| UplinkError::Refused {
            status: 0,
            reason: error.to_string(),
        })?;
        let mut request = self
            .client
            .request(method, url)
            .header("Content-Digest", headers.content_digest)
            .header("Signature-Input", headers.signature_input)
            .header("Signature", headers.signature);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| UplinkError::Later {
            reason: format!("no answer from the API: {}", explain(&error)),
            after: None,
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(judge(response).await)
    }
}

/// Sorts an answer that is no success by what to do about it.
async fn judge(response: Response) -> UplinkError {
    let status = response.status();
    let after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let problem: Problem = match response.bytes().await {
        Ok(body) => serde_json::from_slice(&body).unwrap_or_default(),
        Err(_) => Problem::default(),
    };
    let parts = [problem.code, problem.title, problem.detail];
    let mut reason = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if reason.is_empty() {
        reason = status.canonical_reason().unwrap_or("no reason given").to_owned();
    }
    match (status, problem.next_sequence) {
        (StatusCode::CONFLICT, Some(next_sequence)) => UplinkError::OutOfSequence {
            next_sequence,
            reason,
        },
        (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS, _) => {
            UplinkError::Later {
                reason: format!("the API answered {status}: {reason}"),
                after,
            }
        }
        _ if status.is_client_error() => UplinkError::Refused {
            status: status.as_u16(),
            reason,
        },
        _ => UplinkError::Later {
            reason: format!("the API answered {status}: {reason}"),
            after,
        },
    }
}

async fn read_json<T: for<'a> Deserialize<'a>>(response: Response) -> Result<T, UplinkError> {
    let body = response.bytes().await.map_err(|error| UplinkError::Later {
        reason: format!("the answer of the API broke off: {}", explain(&error)),
        after: None,
    })?;
    serde_json::from_slice(&body)
        .map_err(|error| unexpected(format!("the answer is not that of the API: {error}")))
}

fn unexpected(reason: String) -> UplinkError {
    UplinkError::Later { reason, after: None }
}

/// Exponential back-off with jitter: agents that lost the same API do not come back in step.
#[derive(Debug, Default)]
pub struct Backoff(u32);

impl Backoff {
    /// The next time to wait: from half to the whole of 0.2 s, 0.4 s, … 10 s.
    pub fn delay(&mut self) -> Duration {
        let whole = LONGEST_DELAY.min(FIRST_DELAY * 2u32.saturating_pow(self.0.min(16)));
        self.0 = self.0.saturating_add(1);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.0 = 0;
    }
}

/// Posts what the spool holds, oldest first, one at a time and each until it is acknowledged. Returns only when
/// delivery cannot go on, or with `Ok` once `draining` is true and the spool is empty.
///
/// # Errors
/// When the API will never take the oldest message, or when the spool fails.
pub async fn deliver(
    uplink: &Uplink,
    spool: &Arc<Spool>,
    status: &Status,
    mut draining: tokio::sync::watch::Receiver<bool>,
) -> Result<(), DeliveryError> {
    let mut depth = spool.depth();
    let mut backoff = Backoff::default();
    loop {
        let reader = Arc::clone(spool);
        let oldest = blocking(move || reader.oldest()).await?;
        let Some(message) = oldest else {
            if *draining.borrow() {
                return Ok(());
            }
            let arrived = async { depth.wait_for(|depth| depth.messages > 0).await.is_ok() };
            let drained = async { draining.wait_for(|drain| *drain).await.is_ok() };
            tokio::select! {
                _ = arrived => {}
                _ = drained => {}
            }
            continue;
        };
        match uplink.post(&message).await {
            Ok(duplicate) => {
                if duplicate {
                    tracing::info!(sequence = message.sequence, "the API had this message already");
                }
                backoff.reset();
                let (remover, sequence) = (Arc::clone(spool), message.sequence);
                blocking(move || remover.remove(sequence)).await?;
                status.acknowledged(message.sequence, message.samples);
            }
            Err(UplinkError::Later { reason, after }) => {
                let delay = backoff
                    .delay()
                    .max(after.unwrap_or_default().min(Duration::from_secs(300)));
                tracing::warn!(
                    sequence = message.sequence,
                    ?delay,
                    "{reason}; the message is sent again"
                );
                status.failed(&reason);
                tokio::time::sleep(delay).await;
            }
            Err(UplinkError::OutOfSequence { next_sequence, .. }) => {
                return Err(numbering(message.sequence, next_sequence));
            }
            Err(source) => {
                return Err(DeliveryError::Refused {
                    sequence: message.sequence,
                    source,
                });
            }
        }
    }
}

/// The oldest message is neither the next one nor one that the API has with these bytes.
fn numbering(sequence: u64, expected: u64) -> DeliveryError {
    let explanation = if expected > sequence {
        "it has other content under this number, so another agent used this device or the spool is an old copy; \
         move the spool aside and start again"
    } else {
        "it lacks messages that it had acknowledged, so its database was set back; record the loss, then \
         move the spool aside and start again"
    };
    DeliveryError::Numbering {
        sequence,
        expected,
        explanation,
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_grows_to_a_limit_and_is_never_the_same_for_all() {
        let mut backoff = Backoff::default();
        let delays: Vec<Duration> = (0..40).map(|_| backoff.delay()).collect();
        assert!(delays[0] >= FIRST_DELAY / 2 && delays[0] <= FIRST_DELAY);
        assert!(
            delays[10..]
                .iter()
                .all(|delay| *delay >= LONGEST_DELAY / 2 && *delay <= LONGEST_DELAY)
        );
        assert!(delays[10..].windows(2).any(|pair| pair[0] != pair[1]));
        backoff.reset();
        assert!(backoff.delay() <= FIRST_DELAY);
    }
}
