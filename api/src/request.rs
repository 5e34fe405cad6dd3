//! What is known of a request before any handler sees it: its id, where it comes from, whose credential it carries.
//!
//! One structured line a request goes to the log. Its fields are listed in [`record`], and that list is the whole of it: no
//! header, no path as sent, no query string, no body. The route is logged as its pattern.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;
use uuid::Uuid;

use crate::problem::{self, Problem};
use crate::wire::Secret;

/// Request id, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header that an unsafe request with a cookie must carry. A page of another origin cannot set it without a CORS
/// preflight, and this service grants none.
pub const CSRF: HeaderName = HeaderName::from_static("x-batchcortex-csrf");

/// What a browser says about the page that caused a request (Fetch Metadata): no script can set it.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Name of the session cookie. A browser takes a cookie with this prefix only with Secure, for the path `/` and without a
/// domain, so that no sibling domain and no page without TLS can plant one.
pub const SESSION_COOKIE: &str = "__Host-bc_session";

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Longest request id that is taken over.
const REQUEST_ID_LIMIT: usize = 128;

/// Longest credential that is handed to the database; real ones are well below 100.
const CREDENTIAL_LIMIT: usize = 256;

/// Bytes of the user agent that are kept.
const USER_AGENT_LIMIT: usize = 512;

/// Address of the peer of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Networks of the reverse proxies whose X-Forwarded-For is believed; empty: nobody's is.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// Trusts the proxies of these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into())
    }

    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address: the peer's, unless the peer is a trusted proxy; then the nearest address of X-Forwarded-For,
    /// read from its end, that is no trusted proxy itself.
    ///
    /// What stands before that address was written by the client and proves nothing. An entry that is no address ends the
    /// walk at the last one that was.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        for entry in lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b',')) {
            if !self.contain(client) {
                break;
            }
            let Some(address) = std::str::from_utf8(entry)
                .ok()
                .and_then(|text| address(text.trim()))
            else {
                break;
            };
            client = address.to_canonical();
        }
        client
    }
}

/// An entry of X-Forwarded-For: an address, with a port or brackets or without.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

/// Where a request comes from: what the database records with every event.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Id of the request, the client's own when it is sane.
    pub request_id: String,
    /// Address of the client.
    pub client_ip: IpAddr,
    /// User-Agent as sent, cut to a sane length.
    pub user_agent: Option<String>,
}

impl Origin {
    fn of(peer: IpAddr, headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        Self {
            request_id: request_id(headers),
            client_ip: proxies.client(peer, headers),
            user_agent: headers
                .get(header::USER_AGENT)
                .and_then(|value| value.to_str().ok())
                .map(|text| {
                    text[..text.len().min(USER_AGENT_LIMIT)].to_owned() // to_str() yields ASCII only
                }),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::internal("request without origin"))
    }
}

/// The client's request id if it is 1 to 128 characters of `A-Z a-z 0-9 . _ -`, else a new one (UUID version 7).
fn request_id(headers: &HeaderMap) -> String {
    let sane = |id: &&str| {
        (1..=REQUEST_ID_LIMIT).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    let sent = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(sane);
    sent.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Someone with a credential: the database decides what it is worth.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Where the request comes from.
    pub origin: Origin,
    /// Session token or API key, as sent.
    pub credential: Secret,
    /// Whether it came as the session cookie.
    pub by_cookie: bool,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let origin = Origin::from_request_parts(parts, state).await?;
        let credential = credential(&parts.method, &parts.headers)?;
        let by_cookie = !parts.headers.contains_key(header::AUTHORIZATION);
        Ok(Self {
            origin,
            credential,
            by_cookie,
        })
    }
}

/// The credential of a request: `Authorization: Bearer …`, else the session cookie.
///
/// A browser adds the cookie by itself to whatever a page makes it send, so that a cookie alone does not show that the
/// person wanted the request: every unsafe method needs `X-BatchCortex-CSRF: 1` with it, and no `Sec-Fetch-Site` that names
/// another site. A bearer token is never added by itself and needs nothing more.
///
/// # Errors
///
/// BC401 without a credential that has the form of one; BC403 for a cookie without the header.
fn credential(method: &Method, headers: &HeaderMap) -> Result<Secret, Problem> {
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let mut parts = authorization.to_str().unwrap_or_default().splitn(2, ' ');
        return match (parts.next(), parts.next().map(str::trim)) {
            (Some(scheme), Some(token)) if scheme.eq_ignore_ascii_case("bearer") && well_formed(token) => {
                Ok(Secret::new(token.to_owned()))
            }
            _ => Err(Problem::new(
                problem::NOT_AUTHENTICATED,
                "The header Authorization must be `Bearer` and a token.",
            )),
        };
    }
    let Some(token) = cookie(headers) else {
        return Err(Problem::new(
            problem::NOT_AUTHENTICATED,
            "Send `Authorization: Bearer …` or the session cookie; POST /v1/login issues both.",
        ));
    };
    if !method.is_safe() {
        demand_csrf_header(headers)?;
    }
    Ok(Secret::new(token.to_owned()))
}

/// Refuses a request without `X-BatchCortex-CSRF: 1`, and one that a page of another origin caused, as the browser says.
///
/// # Errors
///
/// BC403.
pub fn demand_csrf_header(headers: &HeaderMap) -> Result<(), Problem> {
    // `none` is the person's own doing. Browsers that do not send the header, and programs, are held by the other one.
    let elsewhere = headers
        .get(FETCH_SITE)
        .is_some_and(|site| site != "same-origin" && site != "none");
    if elsewhere {
        return Err(Problem::new(
            problem::FORBIDDEN,
            "The session cookie is taken from pages of this origin only.",
        ));
    }
    if headers.get(CSRF).is_some_and(|value| value == "1") {
        return Ok(());
    }
    Err(Problem::new(
        problem::FORBIDDEN,
        "With the session cookie, this method needs the header `X-BatchCortex-CSRF: 1`.",
    ))
}

/// The session cookie, if it is sent exactly once and has the form of a token.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let mut values = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == SESSION_COOKIE)
        .map(|(_, value)| value);
    // Two cookies of one name: one of them was planted from a sibling domain, and nothing tells which.
    values
        .next()
        .filter(|token| values.next().is_none() && well_formed(token))
}

/// RFC 6750 §2.1 `b64token`, within a sane length.
fn well_formed(token: &str) -> bool {
    (1..=CREDENTIAL_LIMIT).contains(&token.len())
        && token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
}

/// Outermost layer: finds out the origin, renders problems, sets the request id on the answer, writes the log line.
pub async fn attend(State(proxies): State<TrustedProxies>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() else {
        return Problem::internal("connection without peer").render("none");
    };
    let origin = Origin::of(peer.ip(), request.headers(), &proxies);
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    request.extensions_mut().insert(origin.clone());

    let mut response = next.run(request).await;

    let problem = response.extensions_mut().remove::<Problem>();
    record(
        &origin,
        method,
        route.as_ref().map(MatchedPath::as_str),
        &response,
        problem.as_ref(),
        started.elapsed(),
    );
    if let Some(problem) = problem {
        // Headers that a router set on the bare answer, such as Allow, stay; those of the body do not.
        let mut bare = std::mem::take(response.headers_mut());
        bare.remove(header::CONTENT_LENGTH);
        bare.remove(header::CONTENT_TYPE);
        response = problem.render(&origin.request_id);
        response.headers_mut().extend(bare);
    }
    if let Ok(id) = HeaderValue::from_str(&origin.request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The log line of a request. Every field that may ever be in it is named here.
fn record(
    origin: &Origin,
    method: &'static str,
    route: Option<&str>,
    response: &Response,
    problem: Option<&Problem>,
    took: Duration,
) {
    let request_id = origin.request_id.as_str();
    let client_ip = tracing::field::display(origin.client_ip);
    let route = route.unwrap_or("unmatched");
    let status = response.status().as_u16();
    let code = problem.map(|problem| problem.kind().code);
    let cause = problem.and_then(Problem::cause);
    let milliseconds = took.as_micros() as f64 / 1000.0;
    if response.status().is_server_error() {
        tracing::error!(
            request_id,
            client_ip,
            method,
            route,
            status,
            code,
            cause,
            milliseconds,
            "request"
        );
    } else {
        tracing::info!(
            request_id,
            client_ip,
            method,
            route,
            status,
            code,
            cause,
            milliseconds,
            "request"
        );
    }
}

/// Name of a method for the log. A client may send any token as a method, so others than the usual are not repeated.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn proxies(networks: &[&str]) -> TrustedProxies {
        TrustedProxies::new(networks.iter().map(|network| network.parse().unwrap()).collect())
    }

    #[test]
    fn a_sane_request_id_is_kept_and_another_replaced() {
        let long = "a".repeat(REQUEST_ID_LIMIT);
        for id in ["a", "01J-x_y.z", long.as_str()] {
            assert_eq!(request_id(&headers(&[(REQUEST_ID, id)])), id);
        }
        let longer = "a".repeat(REQUEST_ID_LIMIT + 1);
        for id in [
            "",
            "a b",
            "a\"b",
            "a\tb",
            "../x",
            "a;b",
            "{x}",
            "ü",
            longer.as_str(),
        ] {
            let made = request_id(&headers(&[(REQUEST_ID, id)]));
            assert_ne!(made, id);
            assert_eq!(Uuid::parse_str(&made).unwrap().get_version_num(), 7);
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    /// control: B8
    #[test]
    fn a_forwarded_address_counts_from_trusted_proxies_only() {
        let forged = headers(&[(FORWARDED_FOR, "198.51.100.7")]);
        assert_eq!(proxies(&[]).client(ip("192.0.2.1"), &forged), ip("192.0.2.1"));
        assert_eq!(
            proxies(&["10.0.0.0/8"]).client(ip("192.0.2.1"), &forged),
            ip("192.0.2.1")
        );
        assert_eq!(
            proxies(&["192.0.2.0/24"]).client(ip("192.0.2.1"), &forged),
            ip("198.51.100.7")
        );
        assert_eq!(
            proxies(&["192.0.2.0/24"]).client(ip("::ffff:192.0.2.1"), &forged),
            ip("198.51.100.7")
        );
        assert_eq!(
            proxies(&["192.0.2.0/24"]).client(ip("192.0.2.1"), &HeaderMap::new()),
            ip("192.0.2.1")
        );
    }

    /// control: B8
    #[test]
    fn what_the_client_wrote_before_the_proxy_is_ignored() {
        let trusted = proxies(&["10.0.0.0/8"]);
        for (line, client) in [
            ("1.1.1.1, 198.51.100.7", "198.51.100.7"),
            ("1.1.1.1, 198.51.100.7, 10.0.0.9", "198.51.100.7"),
            ("1.1.1.1, unknown, 10.0.0.9", "10.0.0.9"),
            ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
            ("198.51.100.7:4711", "198.51.100.7"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("", "10.0.0.1"),
            ("'; drop table", "10.0.0.1"),
        ] {
            assert_eq!(
                trusted.client(ip("10.0.0.1"), &headers(&[(FORWARDED_FOR, line)])),
                ip(client),
                "{line}"
            );
        }
        let two_lines = headers(&[(FORWARDED_FOR, "1.1.1.1"), (FORWARDED_FOR, "198.51.100.7")]);
        assert_eq!(trusted.client(ip("10.0.0.1"), &two_lines), ip("198.51.100.7"));
    }

    #[test]
    fn a_bearer_token_is_a_credential() {
        for line in ["Bearer bcs_abc", "bearer  bcs_abc"] {
            let found = credential(&Method::POST, &headers(&[(header::AUTHORIZATION, line)])).unwrap();
            assert_eq!(found.reveal(), "bcs_abc");
        }
        let long = format!("Bearer {}", "a".repeat(CREDENTIAL_LIMIT + 1));
        for line in [
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "bcs_abc",
            "Bearer a b",
            "Bearer é",
            long.as_str(),
        ] {
            let refused = credential(&Method::GET, &headers(&[(header::AUTHORIZATION, line)])).unwrap_err();
            assert_eq!(refused.kind().code, "BC401", "{line}");
            assert!(!refused.detail().contains("bcs_abc"));
        }
        assert_eq!(
            credential(&Method::GET, &HeaderMap::new())
                .unwrap_err()
                .kind()
                .code,
            "BC401"
        );
    }

    /// control: B3
    #[test]
    fn a_cookie_needs_the_csrf_header_for_unsafe_methods() {
        let cookie = (header::COOKIE, "theme=dark; __Host-bc_session=bcs_abc");
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(
                credential(&method, &headers(std::slice::from_ref(&cookie)))
                    .unwrap()
                    .reveal(),
                "bcs_abc"
            );
        }
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert_eq!(
                credential(&method, &headers(std::slice::from_ref(&cookie)))
                    .unwrap_err()
                    .kind()
                    .code,
                "BC403"
            );
            let wrong = headers(&[cookie.clone(), (CSRF, "0")]);
            assert_eq!(credential(&method, &wrong).unwrap_err().kind().code, "BC403");
            let right = headers(&[cookie.clone(), (CSRF, "1")]);
            assert_eq!(credential(&method, &right).unwrap().reveal(), "bcs_abc");
            for (site, taken) in [
                ("same-origin", true),
                ("none", true),
                ("same-site", false),
                ("cross-site", false),
                ("", false),
            ] {
                let caused = headers(&[cookie.clone(), (CSRF, "1"), (FETCH_SITE, site)]);
                assert_eq!(credential(&method, &caused).is_ok(), taken, "{method} {site}");
            }
        }
    }

    #[test]
    fn a_planted_second_cookie_is_refused() {
        for lines in [
            &[(header::COOKIE, "__Host-bc_session=bcs_a; __Host-bc_session=bcs_b")][..],
            &[
                (header::COOKIE, "__Host-bc_session=bcs_a"),
                (header::COOKIE, "__Host-bc_session=bcs_b"),
            ],
            &[(header::COOKIE, "__Host-bc_session=")],
            &[(header::COOKIE, "bc_session=bcs_a")],
        ] {
            assert_eq!(
                credential(&Method::GET, &headers(lines)).unwrap_err().kind().code,
                "BC401"
            );
        }
    }

    #[test]
    fn the_bearer_token_goes_before_the_cookie() {
        let both = headers(&[
            (header::AUTHORIZATION, "Bearer bck_x"),
            (header::COOKIE, "__Host-bc_session=bcs_abc"),
        ]);
        assert_eq!(credential(&Method::POST, &both).unwrap().reveal(), "bck_x");
    }
}
