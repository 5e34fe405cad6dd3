//! An ingest endpoint over real HTTP. It checks every signature with the ledger crate, keeps the rules of
//! numbering, and can be told to be in trouble.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use batchcortex_ledger::request_signature;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub const KEY_ID: &str = "bcd_test";

/// A stored sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub source_ticks: i64,
    pub value: f64,
    pub status: u32,
}

#[derive(Default)]
struct Store {
    bodies: Vec<Vec<u8>>,
    samples: BTreeMap<String, Vec<Sample>>,
    nonces: BTreeSet<String>,
    refusal: Option<(u16, &'static str)>,
    refused: usize,
    unsigned: usize,
    /// Requests stored and then not answered.
    swallow: usize,
    repeated: usize,
}

struct Shared {
    device_id: Uuid,
    secret: [u8; 32],
    store: Mutex<Store>,
}

/// A running endpoint.
pub struct Api {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Deserialize)]
struct Message<'a> {
    device_id: Uuid,
    sequence: usize,
    batch: String,
    #[serde(borrow)]
    segments: Vec<Segment<'a>>,
}

#[derive(Deserialize)]
struct Segment<'a> {
    tag: String,
    data_type: String,
    first_sample: usize,
    source_ticks: Vec<i64>,
    #[serde(borrow)]
    values: Vec<&'a RawValue>,
    status: Vec<u32>,
}

impl Api {
    pub async fn start() -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            device_id: Uuid::new_v4(),
            secret: rand::random(),
            store: Mutex::new(Store::default()),
        });
        let router = Router::new()
            .route("/v1/ingest", post(ingest))
            .route("/v1/ingest/position", get(position))
            .layer(axum::extract::DefaultBodyLimit::max(16 << 20))
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Api {
            address,
            shared,
            serving,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn device_id(&self) -> Uuid {
        self.shared.device_id
    }

    pub fn secret(&self) -> [u8; 32] {
        self.shared.secret
    }

    /// Answers every request with this status and code from now on; `None` serves again.
    pub fn refuse(&self, with: Option<(u16, &'static str)>) {
        self.shared.store().refusal = with;
    }

    /// Stores the next messages without answering that it did.
    pub fn swallow_answers(&self, count: usize) {
        self.shared.store().swallow = count;
    }

    /// Requests that were turned away as told.
    pub fn refused(&self) -> usize {
        self.shared.store().refused
    }

    /// Requests whose signature did not hold.
    pub fn unsigned(&self) -> usize {
        self.shared.store().unsigned
    }

    /// Messages that came again with the same bytes.
    pub fn repeated(&self) -> usize {
        self.shared.store().repeated
    }

    /// The stored samples of each tag.
    pub fn samples(&self) -> BTreeMap<String, Vec<Sample>> {
        self.shared.store().samples.clone()
    }

    /// How many samples are stored.
    pub fn count(&self) -> usize {
        self.shared.store().samples.values().map(Vec::len).sum()
    }

    /// How many messages are stored.
    pub fn messages(&self) -> usize {
        self.shared.store().bodies.len()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// The answer to a request that is not to be served.
    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Option<Response> {
        let mut store = self.store();
        if let Some((status, code)) = store.refusal {
            store.refused += 1;
            return Some(problem(status, code, json!({})));
        }
        let header = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("")
        };
        let verified = request_signature::verify(
            &self.secret,
            method.as_str(),
            header("host"),
            uri.path(),
            body,
            header("content-digest"),
            header("signature-input"),
            header("signature"),
        )
        .ok()
        .filter(|parameters| {
            let age = chrono::Utc::now().timestamp() - parameters.created;
            parameters.keyid == KEY_ID && age.abs() <= 300 && store.nonces.insert(parameters.nonce.to_owned())
        });
        if verified.is_none() {
            store.unsigned += 1;
            return Some(problem(401, "BC430", json!({})));
        }
        None
    }
}

fn problem(status: u16, code: &str, more: serde_json::Value) -> Response {
    let mut document = json!({ "title": "refused", "status": status, "code": code });
    document
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    (StatusCode::from_u16(status).unwrap(), Json(document)).into_response()
}

async fn ingest(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(refused) = shared.check(&method, &uri, &headers, &body) {
        return refused;
    }
    let mut store = shared.store();
    let message: Message<'_> = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (message.device_id, message.batch.as_str()),
        (shared.device_id, "B-1")
    );
    let next = store.bodies.len() + 1;
    let samples: usize = message.segments.iter().map(|segment| segment.values.len()).sum();
    let receipt = |duplicate: bool| {
        Json(json!({
            "device_id": shared.device_id, "sequence": message.sequence, "samples": samples,
            "duplicate": duplicate, "recorded_at": "2026-01-01T00:00:00Z"
        }))
        .into_response()
    };
    if message.sequence != next {
        if message
            .sequence
            .checked_sub(1)
            .and_then(|index| store.bodies.get(index))
            .is_some_and(|b| *b == body)
        {
            store.repeated += 1;
            return receipt(true);
        }
        return problem(409, "BC410", json!({ "next_sequence": next }));
    }
    for segment in &message.segments {
        assert_eq!(segment.data_type, "Double");
        let stored = store.samples.entry(segment.tag.clone()).or_default();
        assert_eq!(
            segment.first_sample,
            stored.len() + 1,
            "samples of {} are numbered without gap",
            segment.tag
        );
        assert_eq!(segment.values.len(), segment.source_ticks.len());
        assert_eq!(segment.values.len(), segment.status.len());
        for ((value, ticks), status) in segment
            .values
            .iter()
            .zip(&segment.source_ticks)
            .zip(&segment.status)
        {
            // The text of the number decides, not a parser's approximation of it.
            let value = value.get().parse().unwrap();
            stored.push(Sample {
                source_ticks: *ticks,
                value,
                status: *status,
            });
        }
    }
    store.bodies.push(body.to_vec());
    if store.swallow > 0 {
        store.swallow -= 1;
        return problem(502, "BC500", json!({}));
    }
    receipt(false)
}

async fn position(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = shared.check(&method, &uri, &headers, b"") {
        return refused;
    }
    let store = shared.store();
    let tags: Vec<_> = store
        .samples
        .iter()
        .map(|(tag, samples)| json!({ "tag": tag, "next_sample": samples.len() + 1 }))
        .collect();
    let next = store.bodies.len() + 1;
    Json(json!({ "device_id": shared.device_id, "next_sequence": next, "tags": tags })).into_response()
}
