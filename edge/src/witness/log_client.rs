//! The log as the API shows it: newest checkpoint, consistency proofs, and where cosignatures go. No credential is needed for any of
//! them, so that a witness depends on nothing that the server could take away but its answers.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::note::SignedNote;
use batchcortex_ledger::witness::Submission;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

use crate::{explain, http};

/// More than any answer needs: a note of 100 signatures, or a proof of 63 hashes.
const MOST_BYTES: usize = 64 * 1024;

/// The log at an API.
#[derive(Debug, Clone)]
pub struct LogClient {
    client: Client,
    api_url: Url,
}

/// Why there is no answer. Nothing here convicts the log: what it signs does.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// It may come later.
    #[error("{reason}")]
    Later {
        /// What happened.
        reason: String,
        /// Time that the server asked to wait.
        after: Option<Duration>,
    },
    /// The log says that there is no such thing.
    #[error("the log has nothing of that kind: {0}")]
    NotThere(String),
    /// The log does not take it.
    #[error("the API refused with {status}: {reason}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Detail of the problem document.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Consistency {
    path: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

impl LogClient {
    /// Prepares the client. It connects with the first request.
    ///
    /// # Errors
    /// For example when the system has no trusted certificates.
    pub fn new(api_url: &Url) -> reqwest::Result<Self> {
        Ok(LogClient {
            client: http::client(api_url)?,
            api_url: api_url.clone(),
        })
    }

    /// The newest checkpoint of the global log, not checked.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn checkpoint(&self) -> Result<SignedNote, LogError> {
        let body = self.get("/v1/ledger/global/checkpoint", &[]).await?;
        SignedNote::parse(&body).map_err(|error| later(format!("the answer is no checkpoint: {error}")))
    }

    /// The proof that the tree of `from` leaves is the beginning of that of `to`; not checked.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>, LogError> {
        if from == 0 || from == to {
            return Ok(Vec::new());
        }
        let query = [("from", from.to_string()), ("to", to.to_string())];
        let body = self.get("/v1/ledger/global/consistency", &query).await?;
        let answer: Consistency = serde_json::from_slice(&body)
            .map_err(|error| later(format!("the answer is no proof: {error}")))?;
        let hash = |text: &String| BASE64_STANDARD.decode(text).ok()?.try_into().ok();
        answer
            .path
            .iter()
            .map(hash)
            .collect::<Option<_>>()
            .ok_or_else(|| later("the answer is no proof: a hash is not the base64 of 32 bytes".to_owned()))
    }

    /// Posts cosignatures.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn submit(&self, submission: &Submission) -> Result<(), LogError> {
        let sent = self
            .client
            .post(self.url("/v1/ledger/global/cosignatures"))
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(submission.to_string());
        read(sent.send().await).await.map(drop)
    }

    async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<u8>, LogError> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        read(self.client.get(url).send().await).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.api_url.clone();
        url.set_path(path);
        url
    }
}

async fn read(sent: reqwest::Result<Response>) -> Result<Vec<u8>, LogError> {
    let response = sent.map_err(|error| later(format!("no answer from the API: {}", explain(&error))))?;
    let status = response.status();
    let after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let body = limited(response).await?;
    if status.is_success() {
        return Ok(body);
    }
    let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
    let reason = problem
        .detail
        .or(problem.title)
        .unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given").to_owned());
    Err(match status {
        StatusCode::NOT_FOUND => LogError::NotThere(reason),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => LogError::Later {
            reason: format!("the API answered {status}: {reason}"),
            after,
        },
        _ if status.is_client_error() => LogError::Refused {
            status: status.as_u16(),
            reason,
        },
        _ => LogError::Later {
            reason: format!("the API answered {status}: {reason}"),
            after,
        },
    })
}

/// The body, unless it is longer than any answer may be: a server gone wrong must not fill this machine's memory.
pub(super) async fn limited(mut response: Response) -> Result<Vec<u8>, LogError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MOST_BYTES => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(later(format!("the answer is longer than {MOST_BYTES} bytes"))),
            Ok(None) => return Ok(body),
            Err(error) => return Err(later(format!("the answer broke off: {}", explain(&error)))),
        }
    }
}

fn later(reason: String) -> LogError {
    LogError::Later { reason, after: None }
}
