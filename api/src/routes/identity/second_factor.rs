//! One's own second factor: TOTP (RFC 6238) and recovery codes.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::from_row;
use super::outcome::{proof_refused, unmet};
use crate::body::Json;
use crate::database::{Call, Database, only};
use crate::openapi::{ReadProblems, WriteProblems};
use crate::problem::Problem;
use crate::request::Caller;
use crate::wire::Secret;

pub(super) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(second_factor))
        .routes(routes!(confirm_second_factor))
}

pub(super) fn proofs() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(enrol_second_factor))
        .routes(routes!(remove_second_factor))
}

/// What an authenticator program and a drawer are given, shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct Enrolment {
    /// For a QR code.
    #[schema(example = "otpauth://totp/…")]
    otpauth_uri: String,
    /// The TOTP secret in base32, to be typed in: SHA-1, six digits, 30 seconds.
    secret: String,
    /// Each signs in once in place of a code.
    recovery_codes: Vec<String>,
}

from_row!(Enrolment {
    otpauth_uri,
    secret,
    recovery_codes
});

/// The state of a second factor.
#[derive(Serialize, ToSchema)]
struct SecondFactor {
    enrolled: bool,
    /// Recovery codes that were not used; absent without a second factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes_left: Option<i64>,
}

from_row!(SecondFactor {
    enrolled,
    recovery_codes_left
});

/// Is a second factor enrolled?
#[utoipa::path(
    get, path = "/v1/second-factor", operation_id = "second_factor", tag = "identity",
    responses((status = 200, description = "The caller's second factor", body = SecondFactor), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn second_factor(
    State(database): State<Database>,
    caller: Caller,
) -> Result<Json<SecondFactor>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.second_factor()",
        parameters: &[],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(only(rows)?.try_into()?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Enrol {
    password: Secret,
}

/// Enrol a second factor
///
/// It counts from its confirmation on.
#[utoipa::path(
    post, path = "/v1/second-factor/enrol", operation_id = "enrol_second_factor", tag = "identity", request_body = Enrol,
    responses((status = 201, description = "Secret and recovery codes, shown this once", body = Enrolment), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn enrol_second_factor(
    State(database): State<Database>,
    caller: Caller,
    Json(enrol): Json<Enrol>,
) -> Result<(StatusCode, Json<Enrolment>), Problem> {
    let password = enrol.password.reveal();
    let call = Call {
        sql: "select * from batchcortex_api.enrol_second_factor($1)",
        parameters: &[(&password, Type::TEXT)],
    };
    let row = only(database.prove(Some(&caller), call).await?)?;
    match row.try_get("outcome")? {
        "enrolled" => Ok((StatusCode::CREATED, Json(row.try_into()?))),
        _ => Err(unmet(&row, proof_refused())?),
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    /// A code of the authenticator program.
    code: Secret,
}

/// Confirm a second factor
///
/// From now on signing in takes a code. A wrong code is answered with BC440.
#[utoipa::path(
    post, path = "/v1/second-factor/confirm", operation_id = "confirm_second_factor", tag = "identity",
    request_body = Confirmation,
    responses((status = 204, description = "The second factor is in force"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn confirm_second_factor(
    State(database): State<Database>,
    caller: Caller,
    Json(confirmation): Json<Confirmation>,
) -> Result<StatusCode, Problem> {
    let code = confirmation.code.reveal();
    let call = Call {
        sql: "select batchcortex_api.confirm_second_factor($1)",
        parameters: &[(&code, Type::TEXT)],
    };
    let [rows] = database.request(&caller, [call]).await?;
    if only(rows)?.try_get(0)? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(proof_refused())
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Removal {
    password: Secret,
    /// A last code, or a recovery code.
    second_factor: Secret,
}

/// Remove the second factor
///
/// Against the password and a last code. Who lost the device and the recovery codes goes to the administrator of the
/// database.
#[utoipa::path(
    post, path = "/v1/second-factor/remove", operation_id = "remove_second_factor", tag = "identity", request_body = Removal,
    responses((status = 204, description = "The second factor is removed"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn remove_second_factor(
    State(database): State<Database>,
    caller: Caller,
    Json(removal): Json<Removal>,
) -> Result<StatusCode, Problem> {
    let password = removal.password.reveal();
    let second_factor = removal.second_factor.reveal();
    let call = Call {
        sql: "select outcome from batchcortex_api.remove_second_factor($1, $2) as outcome",
        parameters: &[(&password, Type::TEXT), (&second_factor, Type::TEXT)],
    };
    let row = only(database.prove(Some(&caller), call).await?)?;
    match row.try_get("outcome")? {
        "removed" => Ok(StatusCode::NO_CONTENT),
        _ => Err(unmet(&row, proof_refused())?),
    }
}
