//! What every request passes on its way in and every answer on its way out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use tokio::sync::Semaphore;

use crate::database::Database;
use crate::problem::{self, Problem};
use crate::request::{self, TrustedProxies};
use crate::routes;

/// How many requests may be in progress, which bounds the memory that a burst can take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests of all kinds but liveness, and as many again that carry a password, at up to [`BODY_LIMIT`](crate::body::BODY_LIMIT) of body each.
    pub requests: usize,
    /// Ingest requests among them, at up to [`INGEST_BODY_LIMIT`](routes::telemetry::INGEST_BODY_LIMIT) of body each.
    pub ingests: usize,
}

/// The whole service: routes and layers.
///
/// The peer of the connection must be in the extensions of each request as [`request::Peer`].
pub fn service(database: Database, proxies: TrustedProxies, limits: Limits) -> Router {
    let (busy, _) = routes::all(Admission::new(limits.ingests)).split_for_parts();
    let busy = busy.layer(from_fn_with_state(Admission::new(limits.requests), admit));
    // Requests that wait for their turn to have a password checked take nobody else's place.
    let (proofs, _) = routes::proofs().split_for_parts();
    let proofs = proofs.layer(from_fn_with_state(Admission::new(limits.requests), admit));
    let (live, _) = routes::health::live_routes().split_for_parts();
    // From the inside out; the last one is the first that a request meets.
    busy.merge(proofs)
        .merge(live)
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(database)
        .layer(from_fn(catch_panic))
        .layer(from_fn(answer_headers))
        .layer(from_fn_with_state(proxies, request::attend))
}

/// Places for requests in progress.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Semaphore>);

impl Admission {
    /// So many places.
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }
}

/// Takes a place, or answers 503 at once: a queue would only move the burst into memory.
pub async fn admit(State(Admission(places)): State<Admission>, request: Request, next: Next) -> Response {
    let Ok(_place) = places.try_acquire() else {
        return Problem::new(
            problem::UNAVAILABLE,
            "Too many requests are in progress; try again.",
        )
        .because("no place for another request")
        .into_response();
    };
    next.run(request).await
}

/// Turns a panic of a handler into a problem; the process and its other requests go on.
async fn catch_panic(request: Request, next: Next) -> Response {
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answered.unwrap_or_else(|_| Problem::internal("panic").into_response())
}

/// Headers of every answer. Nothing here is a page: no browser may sniff, frame or execute it, or store it, unless the route says that it may.
async fn answer_headers(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 7] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        if name == header::CACHE_CONTROL && response.headers().contains_key(&name) {
            continue;
        }
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn unknown_route(_: Uri) -> Problem {
    Problem::new(
        problem::NOT_FOUND,
        "No such route; GET /v1/openapi.json lists them.",
    )
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        problem::METHOD_NOT_ALLOWED,
        "This route does not take this method; the header Allow lists those that it takes.",
    )
}
