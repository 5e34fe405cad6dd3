//! A relay between edge agent and API that keeps every message that the API acknowledged: what was promised to the agent,
//! known without asking the database.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::http::client;

/// A message of a device as it was sent (docs/format.md).
#[derive(Debug, Clone, Deserialize)]
pub struct Message {
    /// Number of the message, from 1.
    pub sequence: i64,
    /// Runs of samples, one a tag.
    pub segments: Vec<Segment>,
}

/// Samples of one tag.
#[derive(Debug, Clone, Deserialize)]
pub struct Segment {
    /// Name of the tag.
    pub tag: String,
    /// Number of the first sample, counted a tag and device, from 1.
    pub first_sample: i64,
    /// 100 ns since 1601-01-01 UTC.
    pub source_ticks: Vec<i64>,
    /// Values; the plant has numbers only.
    pub values: Vec<Option<f64>>,
}

#[derive(Debug, Clone)]
struct Upstream {
    client: reqwest::Client,
    url: String,
    acknowledged: Arc<Mutex<Vec<Message>>>,
}

/// The running relay.
#[derive(Debug)]
pub struct Relay {
    url: String,
    acknowledged: Arc<Mutex<Vec<Message>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// Starts a relay to the API at `upstream`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(upstream: &str) -> Result<Relay> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let state = Upstream {
            client: client(),
            url: upstream.to_owned(),
            acknowledged: acknowledged.clone(),
        };
        let router = Router::new().fallback(pass_on).with_state(state);
        let server = tokio::spawn(async move {
            // Ends with the runtime of the test.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Relay {
            url,
            acknowledged,
            server,
        })
    }

    /// Its address, for the agent's configuration.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The messages acknowledged so far, in the order of their acknowledgement.
    pub fn acknowledged(&self) -> Vec<Message> {
        self.acknowledged
            .lock()
            .map(|messages| messages.clone())
            .unwrap_or_default()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass_on(State(upstream): State<Upstream>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, 64 * 1024 * 1024).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    match forward(&upstream, parts.method, &path, &parts.headers, body).await {
        Ok(response) => response,
        // What an agent sees when the API is away.
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn forward(
    upstream: &Upstream,
    method: Method,
    path: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response> {
    // The Host header goes on as the agent sent it: its signature covers it.
    let hop_by_hop = |name: &HeaderName| {
        matches!(
            name.as_str(),
            "connection" | "content-length" | "transfer-encoding"
        )
    };
    let mut onward = upstream
        .client
        .request(method.clone(), format!("{}{path}", upstream.url));
    for (name, value) in headers.iter().filter(|(name, _)| !hop_by_hop(name)) {
        onward = onward.header(name, value);
    }
    let answer = onward.body(body.clone()).send().await?;
    let status = answer.status();
    let media_type = answer.headers().get("content-type").cloned();
    let content = answer.bytes().await?;
    if status == StatusCode::OK && method == Method::POST && path == "/v1/ingest" {
        let message: Message = serde_json::from_slice(&body)?;
        if let Ok(mut messages) = upstream.acknowledged.lock() {
            messages.push(message);
        }
    }
    let mut response = (status, content).into_response();
    if let Some(media_type) = media_type {
        response.headers_mut().insert("content-type", media_type);
    }
    Ok(response)
}
