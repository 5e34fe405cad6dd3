//! The life of a witness.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::doubt::Strays;
use super::feed::Feeder;
use super::follow::Follower;
use super::keeper::{Keeper, KeeperError};
use super::log_client::LogClient;
use super::serve::{Server, router};
use super::settings::{WitnessSettings, WitnessSettingsError};
use super::status::WitnessStatus;

/// Why there is no witness. Once it runs, it goes on.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The alarm command would fail when it is needed.
    #[error(transparent)]
    Settings(#[from] WitnessSettingsError),
    /// Keys or state.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The HTTP client cannot be built, for example because the system has no trusted certificates.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    /// The address cannot be listened on.
    #[error("witness.listen {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs a witness until `stop` is true. It can be ended at any moment: nothing leaves it before it is on disk.
///
/// # Errors
/// When it cannot begin; see [`WitnessError`].
pub async fn run(settings: WitnessSettings, mut stop: watch::Receiver<bool>) -> Result<(), WitnessError> {
    settings.check_alarm()?;
    let settings = Arc::new(settings);
    let keeper = Arc::new(Keeper::open(&settings)?);
    let status = Arc::new(WitnessStatus::default());
    let client = LogClient::new(&settings.api_url).map_err(WitnessError::Client)?;
    let (newest, watched) = watch::channel(None);
    // Ends its tasks when it is dropped.
    let mut tasks = JoinSet::new();
    for feed in &settings.feeds {
        let feeder = Feeder::new(feed.clone(), client.clone(), settings.log_keys.clone())
            .map_err(WitnessError::Client)?;
        tasks.spawn(feeder.run(watched.clone()));
    }
    if let Some(address) = settings.listen {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| WitnessError::Listen { address, source })?;
        let server = router(Server {
            settings: Arc::clone(&settings),
            keeper: Arc::clone(&keeper),
            status: Arc::clone(&status),
        });
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, server).await {
                tracing::error!("witness: {address} is not served any more: {error}");
            }
        });
    }
    tracing::info!(
        witness = keeper.verifier().name(),
        key = %keeper.verifier(),
        log = settings.log_name(),
        "the witness begins"
    );
    let follower = Follower {
        settings,
        keeper,
        client,
        status,
        newest,
        doubt: None,
        strays: Strays::default(),
        heard: Instant::now(),
        silence_told: false,
        stale_told: false,
        unposted: None,
    };
    tasks.spawn(follower.run());
    let _ = stop.wait_for(|stop| *stop).await;
    Ok(())
}
