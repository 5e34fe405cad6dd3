//! A session handed over: to a program in the body, to a browser in a cookie that no script sees.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::Json;
use crate::problem::Problem;
use crate::request::{Caller, SESSION_COOKIE, demand_csrf_header};
use crate::wire::Secret;

/// How the session token is handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Delivery {
    /// In the body, for programs.
    #[default]
    Body,
    /// In the cookie `__Host-bc_session` (Secure, HttpOnly, SameSite=Strict) and not in the body, for browsers: no script
    /// sees it.
    Cookie,
}

impl Delivery {
    /// The way in which the caller's present token came.
    pub(super) fn of(caller: &Caller) -> Self {
        if caller.by_cookie {
            Self::Cookie
        } else {
            Self::Body
        }
    }

    /// Refuses to hand out a cookie to a request that another site's page may have caused: signed in as the attacker, a
    /// person would work in the attacker's name.
    ///
    /// # Errors
    ///
    /// BC403.
    pub(super) fn demand_csrf_header(self, headers: &HeaderMap) -> Result<(), Problem> {
        match self {
            Self::Body => Ok(()),
            Self::Cookie => demand_csrf_header(headers),
        }
    }
}

/// An answer with a session token in it.
pub(super) trait HoldsToken: Serialize {
    /// The place of the token.
    fn token(&mut self) -> &mut Option<String>;
}

/// Hands an answer over in the way asked for.
pub(super) fn deliver(mut answer: impl HoldsToken, delivery: Delivery) -> Result<Response, Problem> {
    if delivery == Delivery::Body {
        return Ok(Json(answer).into_response());
    }
    let token = Secret::new(answer.token().take().unwrap_or_default());
    let cookie = session_cookie(token.reveal(), "")?;
    Ok(([(header::SET_COOKIE, cookie)], Json(answer)).into_response())
}

/// The cookie that ends the present one.
pub(super) fn ended() -> Result<HeaderValue, Problem> {
    session_cookie("", "; Max-Age=0")
}

/// The session cookie. Without Max-Age it ends with the browser at the latest; the database ends it before.
fn session_cookie(token: &str, more: &str) -> Result<HeaderValue, Problem> {
    let text = format!("{SESSION_COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict{more}");
    let mut value =
        HeaderValue::try_from(text).map_err(|_| Problem::internal("session token does not fit a cookie"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Answer {
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        role_name: &'static str,
    }

    impl HoldsToken for Answer {
        fn token(&mut self) -> &mut Option<String> {
            &mut self.token
        }
    }

    fn answer() -> Answer {
        Answer {
            token: Some("bcs_canary".to_owned()),
            role_name: "qa",
        }
    }

    async fn body(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// control: A24, A9
    #[tokio::test]
    async fn the_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let response = deliver(answer(), Delivery::Cookie).unwrap();
        assert_eq!(
            response.headers()[header::SET_COOKIE],
            "__Host-bc_session=bcs_canary; Path=/; Secure; HttpOnly; SameSite=Strict"
        );
        assert_eq!(body(response).await, r#"{"role_name":"qa"}"#);
    }

    #[tokio::test]
    async fn a_program_gets_the_token_and_no_cookie() {
        let response = deliver(answer(), Delivery::Body).unwrap();
        assert!(!response.headers().contains_key(header::SET_COOKIE));
        assert!(body(response).await.contains(r#""token":"bcs_canary""#));
    }

    #[test]
    fn a_token_cannot_smuggle_a_header() {
        assert!(session_cookie("a\r\nSet-Cookie: b=c", "").is_err());
    }
}
