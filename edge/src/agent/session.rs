//! A session with the OPC UA server. It reads, browses and subscribes; nothing here can write.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opcua::client::{Client, ClientBuilder, IdentityToken, Password, Session};
use opcua::crypto::SecurityPolicy;
use opcua::types::{EndpointDescription, Error, MessageSecurityMode, StatusCode, UserTokenPolicy};
use tokio::task::JoinHandle;

use super::config::{Account, ConfigError};

/// An open session; its event loop reconnects by itself and keeps the session alive.
pub struct Connection {
    session: Arc<Session>,
    event_loop: JoinHandle<StatusCode>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server is not reached, or offers no endpoint that fits.
    #[error("no session with {endpoint}: {source}")]
    Server {
        /// URL asked for.
        endpoint: String,
        /// What the library says.
        source: Error,
    },
    /// The password file is not usable.
    #[error(transparent)]
    Password(#[from] ConfigError),
    /// The library refused its settings.
    #[error("the OPC UA client cannot be set up: {0}")]
    Setup(String),
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection of which nothing was heard for three of these is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Longest array that is accepted: a Publish response has at most [`super::subscription::MAX_NOTIFICATIONS`].
const MAX_ARRAY: usize = 100_000;

impl Connection {
    /// Opens a session at an endpoint without message security. Returns once the server has shown its
    /// endpoints; [`Connection::ready`] waits for the session.
    ///
    /// # Errors
    /// When the server is not reached or has no such endpoint.
    pub async fn open(
        endpoint: &str,
        account: Option<&Account>,
        application_uri: &str,
        pki_directory: &Path,
    ) -> Result<Connection, ConnectError> {
        let mut client = client(application_uri, pki_directory)?;
        let identity = match account {
            None => IdentityToken::Anonymous,
            Some(account) => {
                IdentityToken::UserName(account.user.clone(), Password::new(account.password()?.as_str()))
            }
        };
        let wanted: EndpointDescription = (
            endpoint,
            SecurityPolicy::None.to_str(),
            MessageSecurityMode::None,
            UserTokenPolicy::anonymous(),
        )
            .into();
        let failed = |source| ConnectError::Server {
            endpoint: endpoint.to_owned(),
            source,
        };
        let (session, event_loop) = client
            .connect_to_matching_endpoint(wanted, identity)
            .await
            .map_err(failed)?;
        Ok(Connection {
            session,
            event_loop: event_loop.spawn(),
        })
    }

    /// Waits until the session is active; `false` when it never will be.
    pub async fn ready(&mut self) -> bool {
        tokio::select! {
            connected = self.session.wait_for_connection() => connected,
            _ = &mut self.event_loop => false,
        }
    }

    /// Whether the session is over for good.
    pub fn has_ended(&self) -> bool {
        self.event_loop.is_finished()
    }

    /// The session to send requests on.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Ends the session and leaves its subscriptions to the server, so that a restarted agent finds them.
    pub async fn close(self) {
        let closing = self.session.disconnect_without_delete_subscriptions();
        if tokio::time::timeout(Duration::from_secs(2), closing)
            .await
            .is_err()
        {
            tracing::debug!("the server did not confirm the end of the session");
        }
        self.event_loop.abort();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.event_loop.abort();
    }
}

fn client(application_uri: &str, pki_directory: &Path) -> Result<Client, ConnectError> {
    ClientBuilder::new()
        .application_name("BatchCortex edge")
        .application_uri(application_uri)
        .product_uri("urn:batchcortex:edge")
        .session_name("batchcortex-edge")
        // A session that outlives its connection is taken up again with its subscription.
        .session_timeout(3_600_000)
        .create_sample_keypair(false)
        .pki_dir(pki_directory)
        .trust_server_certs(false)
        .verify_server_certs(true)
        // The agent has a publish loop of its own: the library's loses notifications over a reconnect.
        .recreate_subscriptions(false)
        // Despite its name this setting shifts every received time stamp by the difference of the clocks.
        .ignore_clock_skew(false)
        .session_retry_limit(-1)
        .session_retry_initial(Duration::from_millis(250))
        .session_retry_max(Duration::from_secs(10))
        .keep_alive_interval(KEEP_ALIVE)
        .max_failed_keep_alive_count(2)
        .request_timeout(REQUEST_TIMEOUT)
        .max_array_length(MAX_ARRAY)
        .max_message_size(64 * 1024 * 1024)
        .max_chunk_count(2_000)
        .client()
        .map_err(|problems| ConnectError::Setup(problems.join(", ")))
}
