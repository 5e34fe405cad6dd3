//! Refusals and failures as problem documents (RFC 9457), and the one table that turns an SQLSTATE into an HTTP status.
//!
//! What a client may read is decided here: the message of a state of class `BC`, which the extension words for clients; when it is the
//! client's to mend, the HINT that comes with it, a fixed text without values that says what to do; and nothing else that comes from below.
//! DETAIL, and the messages and hints of PostgreSQL's own states, name tables, values and statements; they stay in the database's log,
//! and so do hints about the server's own failures, which are for whoever runs it.

use std::borrow::Cow;
use std::error::Error as _;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio_postgres::error::DbError;
use utoipa::ToSchema;

use crate::routes::health::Component;
use crate::wire::RawJson;

/// A kind of problem: its code, the URN that names it, its HTTP status, and what to say when the cause may not be quoted.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// `BC…`: the SQLSTATE that the extension raises, or a code of the same form that exists in HTTP only.
    pub code: &'static str,
    /// Last part of `urn:batchcortex:problem:…`.
    pub name: &'static str,
    /// HTTP status.
    pub status: StatusCode,
    /// Short summary; the same for every occurrence (RFC 9457 §3.1.3).
    pub title: &'static str,
}

macro_rules! kinds {
    ($($constant:ident $code:literal $name:literal $status:ident $title:literal)*) => {
        $(#[doc = $title] pub const $constant: &Kind =
            &Kind { code: $code, name: $name, status: StatusCode::$status, title: $title };)*
        /// Every kind of problem: the table from SQLSTATE (class BC) to HTTP status.
        pub const KINDS: &[&Kind] = &[$($constant),*];
    };
}

kinds! {
    APPEND_ONLY           "BC001" "append-only"               CONFLICT               "The record is append-only"
    FORGED                "BC002" "forged-time-or-actor"      UNPROCESSABLE_ENTITY   "Time and actor are the server's to set"
    MALFORMED             "BC400" "malformed"                 BAD_REQUEST            "The request is malformed"
    NOT_AUTHENTICATED     "BC401" "not-authenticated"         UNAUTHORIZED           "Not authenticated"
    FORBIDDEN             "BC403" "forbidden"                 FORBIDDEN              "Permission denied"
    NOT_FOUND             "BC404" "not-found"                 NOT_FOUND              "Not found"
    METHOD_NOT_ALLOWED    "BC405" "method-not-allowed"        METHOD_NOT_ALLOWED     "Method not allowed"
    TOO_SLOW              "BC408" "request-too-slow"          REQUEST_TIMEOUT        "The request body took too long to arrive"
    CONFLICT              "BC409" "conflict"                  CONFLICT               "Conflict with what is recorded"
    OUT_OF_ORDER          "BC410" "sequence-out-of-order"     CONFLICT               "The sequence number is not the device's next one"
    TOO_LARGE             "BC413" "too-large"                 PAYLOAD_TOO_LARGE      "Body or batch too large"
    MEDIA_TYPE            "BC415" "unsupported-media-type"    UNSUPPORTED_MEDIA_TYPE "The body must be application/json"
    UNACCEPTABLE          "BC422" "unacceptable-value"        UNPROCESSABLE_ENTITY   "A value is not acceptable"
    UNKNOWN_TAG           "BC423" "unknown-tag"               UNPROCESSABLE_ENTITY   "Unknown tag"
    NOT_FINITE            "BC424" "not-finite"                UNPROCESSABLE_ENTITY   "A value is not a finite number"
    FUTURE                "BC425" "time-in-the-future"        UNPROCESSABLE_ENTITY   "A time lies in the future"
    UNKNOWN_BATCH         "BC426" "unknown-batch"             UNPROCESSABLE_ENTITY   "Unknown batch"
    TYPE_MISMATCH         "BC427" "type-mismatch"             UNPROCESSABLE_ENTITY   "A value is not of its tag's data type"
    RATE_LIMITED          "BC429" "rate-limited"              TOO_MANY_REQUESTS      "Too many requests"
    SIGNATURE_INVALID     "BC430" "request-signature-invalid" UNAUTHORIZED           "The request signature is missing or invalid"
    SIGNATURE_STALE       "BC431" "request-signature-stale"   UNAUTHORIZED           "The request signature is outside the time window"
    UNKNOWN_DEVICE_KEY    "BC432" "unknown-device-key"        UNAUTHORIZED           "Unknown device key"
    SIGNATURE_REPLAYED    "BC433" "request-signature-replayed" UNAUTHORIZED          "The request signature was used before"
    PROOF_REFUSED         "BC440" "proof-refused"             FORBIDDEN              "The password or code is wrong"
    SECOND_FACTOR         "BC441" "second-factor-required"    FORBIDDEN              "A second factor is needed too"
    ENROLMENT             "BC442" "second-factor-enrolment-required" FORBIDDEN       "The organisation requires a second factor"
    ACCEPTANCE            "BC443" "acceptance-required"       FORBIDDEN              "Agreements must be accepted first"
    PASSWORD_EXPIRED      "BC444" "password-expired"          FORBIDDEN              "The password must be changed first"
    ORGANISATION          "BC445" "organisation-required"     FORBIDDEN              "The organisation must be named"
    INTERNAL              "BC500" "internal"                  INTERNAL_SERVER_ERROR  "The request could not be completed"
    UNAVAILABLE           "BC503" "unavailable"               SERVICE_UNAVAILABLE    "The service cannot answer at the moment"
    TIMED_OUT             "BC504" "timed-out"                 GATEWAY_TIMEOUT        "The database took too long"
}

/// Seconds a client is told to wait when nobody knows better.
const RETRY_SOON: u64 = 1;

/// Seconds a client is told to wait when too many passwords are being checked.
pub const RETRY_PROOF: u64 = 5;

/// Seconds in an hour: no limit makes a client wait longer, and a larger number is a fault.
const RETRY_LIMIT: u64 = 3600;

/// A request that was refused or failed.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: &'static Kind,
    detail: Cow<'static, str>,
    next_sequence: Option<i64>,
    retry_after: Option<u64>,
    components: Vec<Component>,
    // Boxed: seldom there, and a problem is handed through many results.
    agreements: Option<Box<RawJson>>,
    cause: Option<Cow<'static, str>>,
}

/// The problem document (RFC 9457), served as `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// `urn:batchcortex:problem:` and the name of the kind; stable, for programs.
    #[serde(rename = "type")]
    #[schema(example = "urn:batchcortex:problem:not-authenticated")]
    kind: String,
    /// Summary of the kind.
    #[schema(example = "Not authenticated")]
    title: &'static str,
    /// HTTP status.
    #[schema(example = 401)]
    status: u16,
    /// What was expected, what came, what to do.
    detail: String,
    /// Code of the kind; for states of the database their SQLSTATE.
    #[schema(example = "BC401")]
    code: &'static str,
    /// `urn:batchcortex:request:` and the request id, which the log carries too.
    instance: String,
    /// The sequence number that the device must send next (`sequence-out-of-order`).
    #[serde(skip_serializing_if = "Option::is_none")]
    next_sequence: Option<i64>,
    /// Seconds to wait before trying again, as in the header Retry-After.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// State of each part of the service (`/v1/health/ready`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<Component>,
    /// Kind, version and content of each agreement that is to be accepted (`acceptance-required`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<crate::routes::identity::Agreement>>)]
    agreements: Option<RawJson>,
}

impl Problem {
    /// A problem of a kind, with a detail that a client may read.
    pub fn new(kind: &'static Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after = (kind.status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_SOON);
        Self {
            kind,
            detail: detail.into(),
            next_sequence: None,
            retry_after,
            components: Vec::new(),
            agreements: None,
            cause: None,
        }
    }

    /// A failure on our side. `cause` goes to the log, never to the client, and must hold no data of the request.
    pub fn internal(cause: &'static str) -> Self {
        Self::new(
            INTERNAL,
            "An internal error occurred; quote the request id when reporting it.",
        )
        .because(cause)
    }

    /// The problem that an SQLSTATE stands for, with the message, DETAIL and HINT that came with it.
    ///
    /// States of class BC are looked up in [`KINDS`] and keep their message, followed by the HINT when the client is at fault. Of
    /// PostgreSQL's own states only the class is told. DETAIL is read for BC429 alone, where it holds the seconds to wait.
    pub fn of_state(state: &str, message: &str, detail: Option<&str>, hint: Option<&str>) -> Self {
        let problem = if let Some(kind) = KINDS.iter().find(|kind| kind.code == state) {
            let what_to_do = hint.filter(|hint| kind.status.is_client_error() && !hint.is_empty());
            let mut problem = Self::new(
                kind,
                what_to_do.map_or_else(
                    || message.to_owned(),
                    |hint| format!("{}. {hint}", message.trim_end_matches('.')),
                ),
            );
            if *kind == RATE_LIMITED {
                problem.retry_after = Some(detail.and_then(seconds).unwrap_or(RETRY_SOON));
            }
            problem
        } else {
            match state {
                // The functions of batchcortex_api are absent: extension not created, or not migrated to this version.
                "3F000" | "42883" => Self::new(
                    UNAVAILABLE,
                    "The database does not offer the functions that this version needs.",
                ),
                "40001" | "40P01" => Self::new(
                    UNAVAILABLE,
                    "The database could not serialise this request with others; send it again.",
                ),
                "57014" => Self::new(
                    TIMED_OUT,
                    "The database did not finish in time; ask for less, or try again.",
                ),
                _ if state.starts_with("22") => {
                    Self::new(UNACCEPTABLE, "A value is not acceptable to the database.")
                }
                _ if state.starts_with("23") => {
                    Self::new(CONFLICT, "The request conflicts with what is recorded.")
                }
                // As many passwords are being checked as may be at once (batchcortex.max_password_checks).
                "53000" => Self::new(
                    UNAVAILABLE,
                    "Too many people prove who they are at this moment; try again.",
                )
                .retry_after(RETRY_PROOF),
                _ if ["53", "57P0", "08"].iter().any(|class| state.starts_with(class)) => {
                    Self::new(UNAVAILABLE, "The database cannot answer at the moment.")
                }
                _ => Self::internal("unexpected SQLSTATE"),
            }
        };
        problem.because(format!("SQLSTATE {state}"))
    }

    /// Seconds to wait before trying again.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.clamp(1, RETRY_LIMIT));
        self
    }

    /// The sequence number that the device must send next.
    pub fn next_sequence(mut self, next: Option<i64>) -> Self {
        self.next_sequence = next;
        self
    }

    /// The state of each part of the service.
    pub fn components(mut self, components: Vec<Component>) -> Self {
        self.components = components;
        self
    }

    /// The agreements that are to be accepted, a JSON array.
    pub fn agreements(mut self, agreements: Option<RawJson>) -> Self {
        self.agreements = agreements.map(Box::new);
        self
    }

    /// What the log says about it; no data of the request.
    pub fn because(mut self, cause: impl Into<Cow<'static, str>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Its kind.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// What the log says about it.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// What the client reads.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The finished answer, for the request with this id.
    pub fn render(self, request_id: &str) -> Response {
        let document = ProblemDocument {
            kind: format!("urn:batchcortex:problem:{}", self.kind.name),
            title: self.kind.title,
            status: self.kind.status.as_u16(),
            detail: self.detail.into_owned(),
            code: self.kind.code,
            instance: format!("urn:batchcortex:request:{request_id}"),
            next_sequence: self.next_sequence,
            retry_after: self.retry_after,
            components: self.components,
            agreements: self.agreements.map(|boxed| *boxed),
        };
        // A document of strings, integers and JSON that was parsed before: serialising it cannot fail.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (self.kind.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = challenge(self.kind) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// The authentication scheme that a 401 asks for (RFC 9110 §15.5.2).
fn challenge(kind: &Kind) -> Option<&'static str> {
    match kind.code {
        "BC401" => Some(r#"Bearer realm="batchcortex""#),
        _ if kind.status == StatusCode::UNAUTHORIZED => Some(r#"Signature realm="batchcortex""#),
        _ => None,
    }
}

/// Seconds to wait, from DETAIL: its first number, rounded up.
fn seconds(detail: &str) -> Option<u64> {
    let number = detail
        .split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .find(|part| part.starts_with(|c: char| c.is_ascii_digit()))?;
    let seconds: f64 = number.trim_end_matches('.').parse().ok()?;
    Some((seconds.ceil() as u64).clamp(1, RETRY_LIMIT))
}

/// The document needs the request id, which the outermost layer holds: it renders what it finds in the extensions.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<&DbError> for Problem {
    fn from(error: &DbError) -> Self {
        Self::of_state(error.code().code(), error.message(), error.detail(), error.hint())
    }
}

impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(error) = error.as_db_error() {
            return error.into();
        }
        let broken = error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>());
        if broken {
            return Self::new(UNAVAILABLE, "The connection to the database was lost.")
                .because("database connection lost");
        }
        // A column that is absent or of another type: the functions of the database are not those that this version knows.
        Self::internal("the database answered in an unexpected form")
    }
}

impl From<deadpool_postgres::PoolError> for Problem {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        use deadpool_postgres::PoolError;
        match error {
            PoolError::Timeout(_) => Self::new(UNAVAILABLE, "The service is busy.")
                .because("no database connection became free in time"),
            PoolError::Backend(error) => {
                let cause = match error.code() {
                    Some(state) => Cow::from(format!(
                        "database refused the connection, SQLSTATE {}",
                        state.code()
                    )),
                    None => Cow::from("database cannot be reached"),
                };
                Self::new(UNAVAILABLE, "The database cannot be reached.").because(cause)
            }
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Self::new(UNAVAILABLE, "The service is shutting down.").because("pool closed")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the API's contract, state by state.
    #[test]
    fn each_state_has_its_status() {
        for (state, status) in [
            ("BC001", 409),
            ("BC002", 422),
            ("BC400", 400),
            ("BC401", 401),
            ("BC403", 403),
            ("BC404", 404),
            ("BC409", 409),
            ("BC410", 409),
            ("BC413", 413),
            ("BC422", 422),
            ("BC423", 422),
            ("BC424", 422),
            ("BC425", 422),
            ("BC426", 422),
            ("BC427", 422),
            ("BC429", 429),
            ("BC430", 401),
            ("BC431", 401),
            ("BC432", 401),
            ("BC433", 401),
            ("BC500", 500),
            ("BC503", 503),
            ("22P02", 422),
            ("22021", 422),
            ("23505", 409),
            ("40001", 503),
            ("40P01", 503),
            ("53000", 503),
            ("53300", 503),
            ("57P01", 503),
            ("57P03", 503),
            ("08006", 503),
            ("57014", 504),
            ("42501", 500),
            ("XX000", 500),
            ("P0001", 500),
            ("BC999", 500),
            ("", 500),
            ("3F000", 503),
            ("42883", 503),
        ] {
            assert_eq!(
                Problem::of_state(state, "m", None, None).kind.status.as_u16(),
                status,
                "{state}"
            );
        }
    }

    #[test]
    fn kinds_are_unambiguous() {
        for (position, kind) in KINDS.iter().enumerate() {
            assert!(kind.code.starts_with("BC") && kind.code.len() == 5, "{kind:?}");
            assert!(
                kind.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{kind:?}"
            );
            assert!(
                kind.status.is_client_error() || kind.status.is_server_error(),
                "{kind:?}"
            );
            let others = &KINDS[position + 1..];
            assert!(
                others
                    .iter()
                    .all(|other| other.code != kind.code && other.name != kind.name),
                "{kind:?}"
            );
        }
    }

    /// control: B9
    #[test]
    fn text_from_below_stays_below() {
        let secret = "bcs_canary";
        for state in [
            "22P02", "23505", "42501", "XX000", "53300", "57P01", "57014", "40001", "08006", "BC999", "P0001",
        ] {
            let problem = Problem::of_state(state, secret, Some(secret), Some(secret));
            assert!(!problem.detail.contains(secret), "{state}");
            assert!(
                !problem.cause.as_deref().unwrap_or_default().contains(secret),
                "{state}"
            );
        }
        let problem = Problem::of_state("BC409", "batch 'A1' exists", Some(secret), None);
        assert_eq!(problem.detail, "batch 'A1' exists");
        // What whoever runs the server is to do is not for strangers.
        let problem = Problem::of_state("BC503", "the server has no key", Some(secret), Some(secret));
        assert_eq!(problem.detail, "the server has no key");
    }

    #[test]
    fn what_to_do_is_said_after_what_is_wrong() {
        for (message, hint, expected) in [
            (
                "unknown role 'x'",
                Some("Roles are operator and qa."),
                "unknown role 'x'. Roles are operator and qa.",
            ),
            ("Unknown.", Some("Ask."), "Unknown. Ask."),
            ("unknown", Some(""), "unknown"),
            ("unknown", None, "unknown"),
        ] {
            assert_eq!(Problem::of_state("BC422", message, None, hint).detail, expected);
        }
    }

    #[test]
    fn a_rate_limit_tells_the_seconds_to_wait() {
        for (detail, expected) in [
            (Some("7"), 7),
            (Some("12 seconds"), 12),
            (Some("wait_seconds=3"), 3),
            (Some("0.2"), 1),
            (Some("2.1"), 3),
            (Some("0"), 1),
            (Some("99999999999999999999999"), RETRY_LIMIT),
            (Some("soon"), RETRY_SOON),
            (None, RETRY_SOON),
        ] {
            let problem = Problem::of_state("BC429", "too many requests", detail, None);
            assert_eq!(problem.retry_after, Some(expected), "{detail:?}");
        }
        let response = Problem::of_state("BC429", "too many requests", Some("7"), None).render("r");
        assert_eq!(response.headers()[header::RETRY_AFTER], "7");
    }

    #[test]
    fn unauthenticated_answers_name_a_scheme() {
        for kind in KINDS
            .iter()
            .filter(|kind| kind.status == StatusCode::UNAUTHORIZED)
        {
            assert!(
                Problem::new(kind, "")
                    .render("r")
                    .headers()
                    .contains_key(header::WWW_AUTHENTICATE),
                "{kind:?}"
            );
        }
    }
}
