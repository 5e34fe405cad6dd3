//! Invitations: the only way to join an organisation.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::{Reason, all_rows, from_row};
use super::agreement::Agreement;
use crate::body::{Id, Json};
use crate::database::{Call, Database, only};
use crate::openapi::{EntryProblems, ReadProblems, WriteProblems};
use crate::problem::{self, Problem};
use crate::request::{Caller, Origin};
use crate::wire::{Secret, Timestamp};

pub(super) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(invitations, invite))
        .routes(routes!(revoke_invitation))
        .routes(routes!(invitation_agreements))
}

pub(super) fn proofs() -> OpenApiRouter<Database> {
    OpenApiRouter::new().routes(routes!(accept_invitation))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Invite {
    /// User name of the account to be; an account that exists joins with the password it has.
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

/// An invitation that can be used.
#[derive(Serialize, ToSchema)]
struct Open {
    invitation_id: Uuid,
    username: String,
    role_name: String,
    invited_at: Timestamp,
    /// Name of who invited, as it was at that moment.
    invited_by: Option<String>,
    expires_at: Timestamp,
}

from_row!(Open {
    invitation_id,
    username,
    role_name,
    invited_at,
    invited_by,
    expires_at
});

/// Open invitations, oldest first.
#[derive(Serialize, ToSchema)]
struct OpenInvitations {
    invitations: Vec<Open>,
}

/// List open invitations
#[utoipa::path(
    get, path = "/v1/invitations", operation_id = "invitations", tag = "identity",
    responses((status = 200, description = "Invitations that can be used, oldest first", body = OpenInvitations), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn invitations(
    State(database): State<Database>,
    caller: Caller,
) -> Result<Json<OpenInvitations>, Problem> {
    let call = Call {
        sql: "select * from batchcortex_api.invitations()",
        parameters: &[],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(OpenInvitations {
        invitations: all_rows(rows)?,
    }))
}

/// Take an invitation back
#[utoipa::path(
    post, path = "/v1/invitations/{invitation_id}/revoke", operation_id = "revoke_invitation", tag = "identity",
    params(("invitation_id" = Uuid, Path, description = "Id of the invitation")), request_body = Reason,
    responses((status = 204, description = "The invitation can no longer be used"), WriteProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn revoke_invitation(
    State(database): State<Database>,
    caller: Caller,
    Id(invitation_id): Id,
    Json(why): Json<Reason>,
) -> Result<StatusCode, Problem> {
    let call = Call {
        sql: "select from batchcortex_api.revoke_invitation($1, $2)",
        parameters: &[(&invitation_id, Type::UUID), (&why.reason, Type::TEXT)],
    };
    database.request(&caller, [call]).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Holder {
    invitation: Secret,
}

/// Agreements that are to be accepted.
#[derive(Serialize, ToSchema)]
struct Required {
    agreements: Vec<Agreement>,
}

/// What must be accepted to use an invitation?
///
/// None for an invitation that is unknown, used or expired. A POST, because the token must not stand in an address.
#[utoipa::path(
    post, path = "/v1/invitations/agreements", operation_id = "invitation_agreements", tag = "identity",
    request_body = Holder,
    responses((status = 200, description = "The agreements of the organisation", body = Required), EntryProblems)
)]
async fn invitation_agreements(
    State(database): State<Database>,
    Json(holder): Json<Holder>,
) -> Result<Json<Required>, Problem> {
    let invitation = holder.invitation.reveal();
    let call = Call {
        sql: "select * from batchcortex_api.invitation_agreements($1)",
        parameters: &[(&invitation, Type::TEXT)],
    };
    Ok(Json(Required {
        agreements: all_rows(database.call(call).await?)?,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Joining {
    invitation: Secret,
    full_name: String,
    password: Secret,
    /// Version of the terms that is accepted.
    accepted_terms: Option<String>,
    /// Version of the privacy notice that is accepted.
    accepted_privacy: Option<String>,
    /// Version of the accountability statement that is accepted.
    accepted_accountability: Option<String>,
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
/// refused with 403; 422 when an agreement of the organisation is not accepted, or the password is not acceptable.
#[utoipa::path(
    post, path = "/v1/invitations/accept", operation_id = "accept_invitation", tag = "identity", request_body = Joining,
    responses((status = 201, description = "The account exists", body = Account), EntryProblems)
)]
async fn accept_invitation(
    State(database): State<Database>,
    origin: Origin,
    Json(joining): Json<Joining>,
) -> Result<(StatusCode, Json<Account>), Problem> {
    let invitation = joining.invitation.reveal();
    let password = joining.password.reveal();
    let call = Call {
        sql: "select * from batchcortex_api.accept_invitation($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        parameters: &[
            (&invitation, Type::TEXT),
            (&joining.full_name, Type::TEXT),
            (&password, Type::TEXT),
            (&origin.client_ip, Type::INET),
            (&origin.user_agent, Type::TEXT),
            (&origin.request_id, Type::TEXT),
            (&joining.accepted_terms, Type::TEXT),
            (&joining.accepted_privacy, Type::TEXT),
            (&joining.accepted_accountability, Type::TEXT),
        ],
    };
    let row = only(database.prove(None, call).await?)?;
    match row.try_get("outcome")? {
        "joined" => Ok((StatusCode::CREATED, Json(row.try_into()?))),
        _ => {
            let detail: Option<String> = row.try_get("detail")?;
            let detail = detail.unwrap_or_else(|| "The invitation cannot be used.".to_owned());
            Err(Problem::new(problem::FORBIDDEN, detail))
        }
    }
}
