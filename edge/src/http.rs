//! The HTTP client of everything that goes out from here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::{Client, Url, redirect};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A client for one server. It connects with the first request.
///
/// # Errors
/// For example when the system has no trusted certificates.
pub(crate) fn client(url: &Url) -> reqwest::Result<Client> {
    // One provider of cryptography in the process; it is no error that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("batchcortex-edge/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        // A redirect would carry signed data to where nobody decided to send it.
        .redirect(redirect::Policy::none());
    if is_loopback(url) {
        // The name counts as loopback, so it must not lead elsewhere.
        builder = builder
            .no_proxy()
            .resolve("localhost", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    }
    if url.scheme() == "https" {
        builder = builder.https_only(true);
    } else {
        // Without TLS no certificate is needed, and a machine that has none is no obstacle.
        builder = builder.tls_certs_only([]);
    }
    builder.build()
}

/// Whether the host is this machine. `localhost` counts: the client resolves it to loopback itself.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("");
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || literal
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
