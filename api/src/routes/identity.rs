//! Joining, signing in and out, who is calling.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::from_row;
use crate::body::Json;
use crate::database::{Call, Database, only};
use crate::openapi::{EntryProblems, ReadProblems, WriteProblems};
use crate::problem::{self, Problem};
use crate::request::{Caller, Origin, SESSION_COOKIE, demand_csrf_header};
use crate::wire::{Secret, Timestamp};

pub(crate) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(logout))
        .routes(routes!(whoami))
        .routes(routes!(invite))
        .routes(routes!(accept_invitation))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    username: String,
    password: Secret,
    /// The organisation to work for; needed by members of several.
    org_id: Option<Uuid>,
    #[serde(default)]
    delivery: Delivery,
}

/// How the session token is handed over.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Delivery {
    /// In the body, for programs.
    #[default]
    Body,
    /// In the cookie `bc_session` (Secure, HttpOnly, SameSite=Strict) and not in the body, for browsers: no script sees it.
    Cookie,
}

/// A session.
#[derive(Serialize, ToSchema)]
struct Session {
    /// The session token, shown this once; absent with delivery `cookie`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "bcs_…")]
    token: Option<String>,
    session_id: Uuid,
    user_id: Uuid,
    org_id: Uuid,
    /// operator, qa, qp or admin.
    role_name: String,
    full_name: String,
    expires_at: Timestamp,
}

from_row!(Session {
    token,
    session_id,
    user_id,
    org_id,
    role_name,
    full_name,
    expires_at
});

/// Sign in
///
/// Checks a password and opens a session. Unknown user, wrong password and deactivated account get one and the same 401.
/// With `"delivery": "cookie"` the header `X-BatchCortex-CSRF: 1` is demanded, so that no other site can sign a browser in.
#[utoipa::path(
    post, path = "/v1/login", operation_id = "login", tag = "identity", request_body = Login,
    responses(
        (status = 200, description = "A session is open", body = Session,
            headers(("Set-Cookie" = String, description = "bc_session, with delivery `cookie`"))),
        EntryProblems
    )
)]
async fn login(
    State(database): State<Database>,
    origin: Origin,
    headers: HeaderMap,
    Json(login): Json<Login>,
) -> Result<Response, Problem> {
    if login.delivery == Delivery::Cookie {
        demand_csrf_header(&headers)?;
    }
    let password = login.password.reveal();
    let rows = database
        .call(Call {
            sql: "select * from batchcortex_api.login($1, $2, $3, $4, $5, $6)",
            parameters: &[
                (&login.username, Type::TEXT),
                (&password, Type::TEXT),
                (&origin.client_ip, Type::INET),
                (&origin.user_agent, Type::TEXT),
                (&origin.request_id, Type::TEXT),
                (&login.org_id, Type::UUID),
            ],
        })
        .await?;
    let row = only(rows)?;
    match row.try_get("outcome")? {
        "granted" => deliver(Session::try_from(row)?, login.delivery),
        "limited" => {
            let seconds: Option<i32> = row.try_get("wait_seconds")?;
            let seconds = seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .unwrap_or(1);
            Err(
                Problem::new(problem::RATE_LIMITED, "Too many attempts to sign in; wait.")
                    .retry_after(seconds),
            )
        }
        _ => Err(Problem::new(
            problem::NOT_AUTHENTICATED,
            "User name or password is wrong, or the account may not sign in.",
        )),
    }
}

/// Hands a session over in the way asked for.
fn deliver(mut session: Session, delivery: Delivery) -> Result<Response, Problem> {
    if delivery == Delivery::Body {
        return Ok(Json(session).into_response());
    }
    let token = Secret::new(session.token.take().unwrap_or_default());
    let cookie = session_cookie(token.reveal(), "")?;
    Ok(([(header::SET_COOKIE, cookie)], Json(session)).into_response())
}

/// The session cookie. Without Max-Age it ends with the browser at the latest; the database ends it before.
fn session_cookie(token: &str, more: &str) -> Result<HeaderValue, Problem> {
    let text = format!("{SESSION_COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict{more}");
    let mut value =
        HeaderValue::try_from(text).map_err(|_| Problem::internal("session token does not fit a cookie"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Sign out
///
/// Ends the session of this request at once.
#[utoipa::path(
    post, path = "/v1/logout", operation_id = "logout", tag = "identity",
    responses((status = 204, description = "The session has ended"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn logout(State(database): State<Database>, caller: Caller) -> Result<Response, Problem> {
    database
        .request(
            &caller,
            [Call {
                sql: "select from batchcortex_api.logout()",
                parameters: &[],
            }],
        )
        .await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if caller.by_cookie {
        response
            .headers_mut()
            .insert(header::SET_COOKIE, session_cookie("", "; Max-Age=0")?);
    }
    Ok(response)
}

/// The person, organisation, role and session that a credential stands for.
#[derive(Serialize, ToSchema)]
struct Identity {
    user_id: Uuid,
    username: String,
    full_name: String,
    org_id: Uuid,
    organisation: String,
    /// operator, qa, qp or admin.
    role_name: String,
    session_id: Uuid,
    expires_at: Timestamp,
}

from_row!(Identity {
    user_id,
    username,
    full_name,
    org_id,
    organisation,
    role_name,
    session_id,
    expires_at
});

/// Who is calling?
#[utoipa::path(
    get, path = "/v1/whoami", operation_id = "whoami", tag = "identity",
    responses((status = 200, description = "The caller", body = Identity), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn whoami(State(database): State<Database>, caller: Caller) -> Result<Json<Identity>, Problem> {
    let [rows] = database
        .request(
            &caller,
            [Call {
                sql: "select * from batchcortex_api.whoami()",
                parameters: &[],
            }],
        )
        .await?;
    Ok(Json(only(rows)?.try_into()?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Invite {
    /// User name of the account to be; never used before.
    username: String,
    /// operator, qa, qp or admin.
    role_name: String,
}

/// An invitation.
#[derive(Serialize, ToSchema)]
struct Invitation {
    /// Its token, shown this once; holds for one use.
    #[schema(example = "bci_…")]
    invitation: String,
    expires_at: Timestamp,
}

from_row!(Invitation {
    invitation,
    expires_at
});

/// Invite a person
///
/// For administrators. There is no other way to join an organisation.
#[utoipa::path(
    post, path = "/v1/invitations", operation_id = "invite", tag = "identity", request_body = Invite,
    responses((status = 201, description = "The invitation", body = Invitation), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn invite(
    State(database): State<Database>,
    caller: Caller,
    Json(invite): Json<Invite>,
) -> Result<(StatusCode, Json<Invitation>), Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.invite($1, $2)",
        parameters: &[(&invite.username, Type::TEXT), (&invite.role_name, Type::TEXT)],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok((StatusCode::CREATED, Json(only(rows)?.try_into()?)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Acceptance {
    invitation: Secret,
    full_name: String,
    password: Secret,
}

/// An account.
#[derive(Serialize, ToSchema)]
struct Account {
    user_id: Uuid,
}

from_row!(Account { user_id });

/// Accept an invitation
///
/// Creates the account that the invitation stands for; sign in afterwards. An invitation that is unknown, used or expired is
/// refused with 403.
#[utoipa::path(
    post, path = "/v1/invitations/accept", operation_id = "accept_invitation", tag = "identity", request_body = Acceptance,
    responses((status = 201, description = "The account exists", body = Account), EntryProblems)
)]
async fn accept_invitation(
    State(database): State<Database>,
    origin: Origin,
    Json(acceptance): Json<Acceptance>,
) -> Result<(StatusCode, Json<Account>), Problem> {
    let invitation = acceptance.invitation.reveal();
    let password = acceptance.password.reveal();
    let rows = database
        .call(Call {
            sql: "select * from batchcortex_api.accept_invitation($1, $2, $3, $4, $5, $6)",
            parameters: &[
                (&invitation, Type::TEXT),
                (&acceptance.full_name, Type::TEXT),
                (&password, Type::TEXT),
                (&origin.client_ip, Type::INET),
                (&origin.user_agent, Type::TEXT),
                (&origin.request_id, Type::TEXT),
            ],
        })
        .await?;
    let row = only(rows)?;
    match row.try_get("outcome")? {
        "joined" => Ok((StatusCode::CREATED, Json(row.try_into()?))),
        _ => {
            let detail: Option<String> = row.try_get("detail")?;
            let detail = detail.unwrap_or_else(|| "The invitation cannot be used.".to_owned());
            Err(Problem::new(problem::FORBIDDEN, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            token: Some("bcs_canary".to_owned()),
            session_id: Uuid::nil(),
            user_id: Uuid::nil(),
            org_id: Uuid::nil(),
            role_name: "qa".to_owned(),
            full_name: "A".to_owned(),
            expires_at: Timestamp(chrono::DateTime::UNIX_EPOCH),
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
        let response = deliver(session(), Delivery::Cookie).unwrap();
        assert_eq!(
            response.headers()[header::SET_COOKIE],
            "bc_session=bcs_canary; Path=/; Secure; HttpOnly; SameSite=Strict"
        );
        assert!(!body(response).await.contains("bcs_canary"));
    }

    #[tokio::test]
    async fn a_program_gets_the_token_and_no_cookie() {
        let response = deliver(session(), Delivery::Body).unwrap();
        assert!(!response.headers().contains_key(header::SET_COOKIE));
        assert!(body(response).await.contains(r#""token":"bcs_canary""#));
    }

    #[test]
    fn a_token_cannot_smuggle_a_header() {
        assert!(session_cookie("a\r\nSet-Cookie: b=c", "").is_err());
    }
}
