//! Bodies, query strings and path parameters that come in, with a problem that says what is wrong with them.
//!
//! serde's messages repeat the offending value, which may be a password. Only the place and the expectation are passed on.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures_util::StreamExt as _;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use uuid::Uuid;

use crate::problem::{self, Problem};

/// Largest body of a route, in bytes, unless it sets a limit of its own.
pub const BODY_LIMIT: usize = 256 * 1024;

/// Time that a whole body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// What of a body that is too large is read and thrown away. A client that is cut off while it sends mostly sees a broken
/// connection instead of the answer, and tries again.
const DISCARD_LIMIT: usize = 32 * 1024 * 1024;

/// The bytes of a body, `limit` at most.
///
/// # Errors
///
/// BC413 above the limit, BC408 when it does not arrive in time, BC400 when it breaks off.
pub async fn bytes(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let arrived = tokio::time::timeout(BODY_DEADLINE, read(request, limit)).await;
    arrived.unwrap_or_else(|_| {
        Err(Problem::new(
            problem::TOO_SLOW,
            "The body did not arrive within 30 seconds.",
        ))
    })
}

async fn read(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            problem::TOO_LARGE,
            format!("This route takes a body of {limit} bytes at most."),
        )
    };
    let headers = request.headers();
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let waits = headers.contains_key(header::EXPECT);
    if announced.is_some_and(|length| length > DISCARD_LIMIT || (waits && length > limit)) {
        return Err(too_large());
    }
    let mut stream = request.into_body().into_data_stream();
    let mut body = BytesMut::new();
    let mut length = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Problem::new(problem::MALFORMED, "The body broke off."))?;
        length += chunk.len();
        if length <= limit {
            body.extend_from_slice(&chunk);
        } else if length > DISCARD_LIMIT {
            break;
        } else {
            body = BytesMut::new();
        }
    }
    if length > limit {
        Err(too_large())
    } else {
        Ok(body.freeze())
    }
}

/// A JSON body, in and out.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                problem::MEDIA_TYPE,
                "Send the body as application/json.",
            ));
        }
        let bytes = bytes(request, BODY_LIMIT).await?;
        parse(&bytes).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// `application/json`, with parameters or without.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/json")
}

/// Reads an object. serde would also take an array of the members' values in their order: one way is enough.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii_start().first() == Some(&b'{') {
        return serde_json::from_slice(bytes).map_err(|error| unreadable(&error));
    }
    match serde_json::from_slice::<IgnoredAny>(bytes) {
        Ok(_) => Err(Problem::new(
            problem::UNACCEPTABLE,
            "The body must be a JSON object.",
        )),
        Err(error) => Err(unreadable(&error)),
    }
}

/// What is wrong with a JSON body: 400 when it is not JSON, 422 when it is and does not fit.
fn unreadable(error: &serde_json::Error) -> Problem {
    let place = format!("line {} column {}", error.line(), error.column());
    match error.classify() {
        Category::Data => Problem::new(
            problem::UNACCEPTABLE,
            format!("The body at {place}: {}.", expectation(&error.to_string())),
        ),
        Category::Eof => Problem::new(
            problem::MALFORMED,
            format!("The body is not JSON: it ends early, at {place}."),
        ),
        Category::Syntax | Category::Io => Problem::new(
            problem::MALFORMED,
            format!("The body is not JSON: syntax error at {place}."),
        ),
    }
}

/// The part of a message of serde that holds no value of the body: names of members, and what was expected.
fn expectation(message: &str) -> String {
    let message = message
        .rsplit_once(" at line ")
        .map_or(message, |(message, _)| message);
    let named = ["missing field `", "duplicate field `", "expected "];
    if named.iter().any(|start| message.starts_with(start)) {
        return message.to_owned();
    }
    // The value stands before the last ", expected "; what follows is the expectation of a type of ours.
    match message.rsplit_once(", expected ") {
        Some((start, expected)) if start.starts_with("unknown field") => {
            format!("unknown member, expected {expected}")
        }
        Some((_, expected)) => format!("expected {expected}"),
        None if message.starts_with("unknown field") => "unknown member".to_owned(),
        None => "a value is not of the form that its member demands".to_owned(),
    }
}

/// The query string, as a structure that refuses parameters that it does not know.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(_) => Err(Problem::new(
                problem::UNACCEPTABLE,
                "The query string holds an unknown or repeated parameter, lacks one, or a value is of the wrong form; /v1/openapi.json lists the parameters of each route.",
            )),
        }
    }
}

/// The id in the path.
#[derive(Debug, Clone, Copy)]
pub struct Id(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<Uuid>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(id)) => Ok(Self(id)),
            Err(PathRejection::FailedToDeserializePathParams(error))
                if !matches!(
                    error.kind(),
                    ErrorKind::WrongNumberOfParameters { .. } | ErrorKind::UnsupportedType { .. }
                ) =>
            {
                Err(Problem::new(
                    problem::UNACCEPTABLE,
                    "The id in the path is not a UUID.",
                ))
            }
            Err(_) => Err(Problem::internal("route without an id")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::wire::{Secret, Timestamp};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Form {
        password: Secret,
        #[serde(default)]
        time: Option<Timestamp>,
        #[serde(default)]
        count: Option<u32>,
        #[serde(default)]
        id: Option<Uuid>,
        #[serde(default)]
        choice: Option<Choice>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Choice {
        Body,
        Cookie,
    }

    fn problem(body: &str) -> Problem {
        parse::<Form>(body.as_bytes()).unwrap_err()
    }

    /// control: B9
    #[test]
    fn a_refusal_never_repeats_a_value() {
        for body in [
            r#"{"password": 990077}"#,
            r#"{"password": ["990077"]}"#,
            r#"{"password": "x", "count": "990077"}"#,
            r#"{"password": "x", "count": "990077, expected nothing at line 1"}"#,
            r#"{"password": "x", "count": -990077}"#,
            r#"{"password": "x", "time": "990077"}"#,
            r#"{"password": "x", "id": "990077"}"#,
            r#"{"password": "x", "choice": "990077"}"#,
            r#"{"password": "x", "990077": 1}"#,
            r#"{"password": "990077"#,
            r#"{"password": 990077 990077}"#,
            r#""990077""#,
        ] {
            assert!(
                !problem(body).detail().contains("990077"),
                "{body}: {}",
                problem(body).detail()
            );
        }
    }

    #[test]
    fn what_is_no_json_is_400_and_what_does_not_fit_is_422() {
        for body in [
            "",
            "{",
            r#"{"password": "x"} x"#,
            "nonsense",
            r#"{"password": "x",}"#,
            "NaN",
        ] {
            assert_eq!(problem(body).kind().code, "BC400", "{body}");
        }
        for (body, hint) in [
            ("{}", "missing field `password`"),
            (r#"["x"]"#, "must be a JSON object"),
            (r#"{"password": 1}"#, "expected a string"),
            (r#"{"password": "x", "count": 1.5}"#, "expected u32"),
            (
                r#"{"password": "x", "other": 1}"#,
                "unknown member, expected one of",
            ),
            (
                r#"{"password": "x", "choice": "post"}"#,
                "expected `body` or `cookie`",
            ),
            (
                r#"{"password": "x", "time": "now"}"#,
                "expected a time of RFC 3339",
            ),
            (r#"{"password": "x", "password": "y"}"#, "duplicate field"),
        ] {
            let problem = problem(body);
            assert_eq!(problem.kind().code, "BC422", "{body}");
            assert!(problem.detail().contains(hint), "{body}: {}", problem.detail());
        }
    }

    #[test]
    fn only_json_is_taken_as_json() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("application/jsonx", false),
            ("", false),
        ] {
            let headers = [(header::CONTENT_TYPE, value.parse().unwrap())]
                .into_iter()
                .collect();
            assert_eq!(is_json(&headers), expected, "{value}");
        }
    }
}
