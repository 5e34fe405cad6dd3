//! What the whole-system tests are made of: real processes, each started and ended by the test that needs it.
//!
//! - [`cluster`]: a private PostgreSQL with the extension, from `scripts/cluster`
//! - [`program`]: the built programs as child processes: API, plant, edge agent
//! - [`http`]: a caller of the API and its answers
//! - [`site`]: an organisation with people, equipment, tags and devices, made through the API
//! - [`authenticator`]: the program on a person's telephone that makes one-time passwords
//! - [`device`]: a device that signs and sends messages itself
//! - [`relay`]: what stands between edge agent and API and keeps what was acknowledged
//! - [`recording`]: recorded batches as the files hold them
//! - [`line`]: all of it together, from plant to database
//! - [`witness`]: a customer's machine that witnesses
//! - [`works`]: a database with records of every kind, and whether they are still the same after a journey

pub mod authenticator;
pub mod cluster;
pub mod device;
pub mod http;
pub mod line;
pub mod program;
pub mod recording;
pub mod relay;
pub mod site;
pub mod witness;
pub mod works;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Root of the checkout.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(PathBuf::from).unwrap_or(here)
}

/// A port of 127.0.0.1 that nothing listens on.
///
/// # Errors
/// When the system has none left.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}

/// Asks again and again until the answer is there, at most for `patience`.
///
/// # Errors
/// The last error, or that the time is up; an error of a try counts as "not yet".
pub async fn until<T, F>(what: &str, patience: Duration, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let begun = Instant::now();
    loop {
        let last = match attempt().await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => String::from("not yet"),
            Err(error) => format!("{error:#}"),
        };
        if begun.elapsed() > patience {
            bail!("{what}: not within {patience:?} ({last})");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How often the tests that kill something do it: once, unless BATCHCORTEX_ROUNDS says otherwise (`make torture`).
pub fn rounds() -> usize {
    std::env::var("BATCHCORTEX_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}
