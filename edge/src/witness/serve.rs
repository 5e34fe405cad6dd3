//! Answers to others: C2SP tlog-witness, and how this witness stands.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /add-checkpoint` | signature lines, or 400, 403, 404, 409 with the size held, 422 |
//! | `GET /<SHA-256 of the origin, hex>/checkpoint` | the checkpoint that was cosigned last |
//! | `GET /status` | [`Report`] as JSON: 200 in order, 503 when a person is needed |

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use batchcortex_ledger::witness::{AddCheckpoint, Refusal, render_signatures};
use sha2::{Digest, Sha256};

use super::alarm;
use super::keeper::{Keeper, KeeperError, Outcome, Source};
use super::settings::WitnessSettings;
use super::status::{Report, WitnessStatus};
use crate::explain;

/// More than a request needs: 63 hashes and a note of 100 signatures.
const BODY_LIMIT: usize = 64 * 1024;

/// What answers.
#[derive(Clone)]
pub(super) struct Server {
    pub settings: Arc<WitnessSettings>,
    pub keeper: Arc<Keeper>,
    pub status: Arc<WitnessStatus>,
}

pub(super) fn router(server: Server) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(checkpoint))
        .route("/status", get(status))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(server)
}

async fn add_checkpoint(State(server): State<Server>, body: Bytes) -> Response {
    let request = match AddCheckpoint::parse(&body) {
        Ok(request) => request,
        Err(error) => return refuse(&Refusal::Malformed(error)),
    };
    match server
        .blocking(move |server| server.keeper.decide(&request, Source::Anyone))
        .await
    {
        Ok(Outcome::Cosigned(signature)) => text(StatusCode::OK, render_signatures(&[signature])),
        Ok(Outcome::Refused(refusal)) => refuse(&refusal),
        Ok(Outcome::Raised(refusal, raised)) => {
            // The alarm is on disk; the command may take its time.
            let command = server.settings.alarm.clone();
            tokio::spawn(async move { alarm::tell(command.as_deref(), (&raised).into()).await });
            refuse(&refusal)
        }
        Ok(Outcome::Alarmed(_)) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "this witness cosigns nothing of the log until a person has looked at an alarm about it\n"
                .to_owned(),
        ),
        Err(error) => failed(&error),
    }
}

async fn checkpoint(State(server): State<Server>, Path(origin): Path<String>) -> Response {
    match server.blocking(|server| server.keeper.holdings()).await {
        Ok(holdings) => holdings
            .into_iter()
            .find(|holding| {
                holding
                    .origin
                    .as_ref()
                    .is_some_and(|held| hex::encode(Sha256::digest(held)) == origin)
            })
            .and_then(|holding| holding.note)
            .map_or_else(
                || {
                    text(
                        StatusCode::NOT_FOUND,
                        "no checkpoint of this log was cosigned\n".to_owned(),
                    )
                },
                |note| text(StatusCode::OK, note),
            ),
        Err(error) => failed(&error),
    }
}

async fn status(State(server): State<Server>) -> Response {
    let report = server
        .blocking(|server| Report::of(&server.keeper, &server.settings, server.status.last()))
        .await;
    match report {
        Ok(report) => {
            let status = if report.is_in_order() {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            (status, axum::Json(report)).into_response()
        }
        Err(error) => failed(&error),
    }
}

impl Server {
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Server) -> Result<T, KeeperError> + Send + 'static,
    ) -> Result<T, KeeperError> {
        let server = self.clone();
        match tokio::task::spawn_blocking(move || work(&server)).await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

fn refuse(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
    match refusal {
        Refusal::Conflict { held } => (
            status,
            [(header::CONTENT_TYPE, "text/x.tlog.size")],
            format!("{held}\n"),
        )
            .into_response(),
        _ => text(status, format!("{refusal}\n")),
    }
}

/// What went wrong here is for this machine's log.
fn failed(error: &KeeperError) -> Response {
    tracing::error!("witness: {}", explain(error));
    text(
        StatusCode::INTERNAL_SERVER_ERROR,
        "this witness cannot decide at the moment\n".to_owned(),
    )
}

fn text(status: StatusCode, text: String) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        text,
    )
        .into_response()
}
