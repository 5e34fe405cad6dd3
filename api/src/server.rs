//! Accepting connections, and stopping without losing what is in progress.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::request::Peer;
use crate::settings::Settings;

/// Time that the head of a request may take to arrive; a connection that stays idle for longer is closed.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);

/// Largest head of a request, and read buffer of a connection, in bytes.
const HEAD_LIMIT: usize = 64 * 1024;

/// Pause after an error of accept(), such as a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Completes at SIGTERM or SIGINT.
///
/// # Errors
///
/// When the handlers cannot be installed.
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Serves until `stop` completes, then refuses new connections and lets requests in progress finish.
///
/// # Errors
///
/// When the address cannot be listened on.
pub async fn run(router: Router, settings: &Settings, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}; is another process there?", settings.listen))?;
    tracing::info!(address = %listener.local_addr()?, "listening");

    let places = Arc::new(Semaphore::new(settings.max_connections.into()));
    let draining = GracefulShutdown::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_LIMIT);

    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::error!(kind = ?error.kind(), "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let router = router.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let router = router.clone();
            async move {
                // A task of its own: a client that leaves does not cut its request off halfway. The request runs to its
                // end and into the log, and until then holds its place and its connection to the database.
                let answer = match tokio::spawn(router.oneshot(request)).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(never)) => match never {},
                    Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                };
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = draining.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A connection that breaks concerns its client alone; what it was doing is in the log of requests.
            let _ = connection.await;
            drop(place);
        });
    }

    drop(listener);
    tracing::info!("draining");
    match tokio::time::timeout(settings.drain(), draining.shutdown()).await {
        Ok(()) => tracing::info!("stopped"),
        Err(_) => tracing::error!("stopped before all requests had finished"),
    }
    Ok(())
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(
    tokio::net::TcpStream,
    std::net::SocketAddr,
    tokio::sync::OwnedSemaphorePermit,
)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}
