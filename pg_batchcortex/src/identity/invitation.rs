//! Joining: an invitation becomes an account and a membership.

use super::agreement::{self, Accepted};
use super::attempt_budget;
use super::binding::{self, Identity, acting_as};
use super::credential::{self, Kind};
use super::password;
use super::password_policy;
use super::proof::{self, Busy, By};
use super::unscoped::unscoped;
use crate::error::{self, Refusal};
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// A new invitation token (bci_…), to be shown once; its SHA-256 is what gets stored.
#[pg_extern(volatile, parallel_unsafe)]
pub fn generate_invitation() -> String {
    credential::generate(Kind::Invitation).to_string()
}

/// Who joins, as they say.
struct Joiner<'a> {
    full_name: &'a str,
    password: &'a str,
    accepted: Accepted<'a>,
    from: Identity,
}

/// Redeems an invitation. sqlstate is set when the input is not acceptable, or after too many attempts (detail: the
/// seconds to wait); outcome is 'joined' or 'refused' else.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
pub fn redeem_invitation(
    invitation: Option<&str>,
    full_name: Option<&str>,
    password: Option<&str>,
    client_ip: Option<pgrx::Inet>,
    user_agent: Option<&str>,
    request_id: Option<&str>,
    accepted_terms: Option<&str>,
    accepted_privacy: Option<&str>,
    accepted_accountability: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(outcome, Option<String>),
        name!(user_id, Option<Uuid>),
        name!(sqlstate, Option<String>),
        name!(detail, Option<String>),
    ),
> {
    let joiner = Joiner {
        full_name: full_name.unwrap_or("").trim(),
        password: password.unwrap_or(""),
        accepted: Accepted {
            terms: accepted_terms,
            privacy: accepted_privacy,
            accountability: accepted_accountability,
        },
        from: Identity::from_client(client_ip, user_agent, request_id),
    };
    let joined = attempt_budget::spend("", &joiner.from)
        .map_err(|exceeded| limited(exceeded.wait_seconds))
        .and_then(|()| acceptable(joiner.full_name, joiner.password))
        .and_then(
            |()| match invitation.and_then(|text| credential::digest(Kind::Invitation, text)) {
                Some(digest) => unscoped(|| join(&digest, &joiner)),
                None => Ok(None),
            },
        );
    TableIterator::once(match joined {
        Ok(Some(user_id)) => (Some("joined".to_owned()), Some(user_id), None, None),
        Ok(None) => (
            Some("refused".to_owned()),
            None,
            None,
            Some(
                "the invitation is unknown, used or expired, or the password is not the account's".to_owned(),
            ),
        ),
        Err(refusal) => (
            None,
            None,
            Some(refusal.sqlstate.to_owned()),
            Some(refusal.detail.unwrap_or(refusal.message)),
        ),
    })
}

fn limited(wait_seconds: i32) -> Refusal {
    Refusal::new(error::RATE_LIMITED, "too many attempts").detail(wait_seconds.to_string())
}

fn unacceptable(message: impl Into<String>) -> Refusal {
    Refusal::new(error::UNACCEPTABLE, message)
}

/// What can be said before the invitation is looked at.
fn acceptable(full_name: &str, password: &str) -> Result<(), Refusal> {
    if full_name.is_empty() || full_name.chars().count() > 200 || full_name.chars().any(char::is_control) {
        return Err(unacceptable(
            "a full name has 1 to 200 characters and no control characters",
        ));
    }
    password_policy::acceptable(password, &[]).map_err(unacceptable)
}

/// The user behind the invitation, who is now a member. A user name that exists joins with the password it has, so
/// that an invitation neither takes an account over nor tells its sender that it exists.
fn join(digest: &[u8; 32], joiner: &Joiner<'_>) -> Result<Option<Uuid>, Refusal> {
    let Some((org_id, invitation_id, username, role_name, organisation)) = take(digest) else {
        return Ok(None);
    };
    // Whoever holds an invitation to somebody's user name guesses at that person's password: from the person's budget.
    // (The address has paid already.)
    attempt_budget::spend(&username, &Identity::default())
        .map_err(|exceeded| limited(exceeded.wait_seconds))?;
    let account = proof::find(By::Name(&username)).map_err(|Busy| limited(proof::BUSY_SECONDS))?;
    let (user_id, name) = match account {
        Some(person) if proof::password_holds(Some(&person), joiner.password) => {
            (person.user_id, person.full_name)
        }
        existing @ Some(_) => {
            let from = &joiner.from;
            let system = binding::system(
                *org_id.as_bytes(),
                "authentication",
                &from.client_ip,
                &from.user_agent,
                &from.request_id,
            );
            proof::refused(existing.as_ref(), "invitation", &system);
            return Ok(None);
        }
        None => {
            password_policy::acceptable(joiner.password, &[&username, &organisation, joiner.full_name])
                .map_err(unacceptable)?;
            let hash = password::hash(joiner.password)
                .unwrap_or_else(|e| error!("hashing the password failed: {e}"));
            let id = Spi::get_one_with_args::<Uuid>(
                "insert into batchcortex.user_account (username, full_name, password_hash) values ($1, $2, $3) returning user_id",
                &[username.into(), joiner.full_name.into(), hash.into()],
            )
            .unwrap_or_report();
            match id {
                Some(id) => (id, joiner.full_name.to_owned()),
                None => return Ok(None),
            }
        }
    };
    if agreement::missing(org_id, Some(user_id), joiner.accepted).is_some() {
        return Err(unacceptable(
            "the organisation requires that its present terms, privacy notice and accountability statement are accepted",
        ));
    }
    // Someone who left may come back; the log keeps when they were away.
    Spi::run_with_args(
        "with used as (update batchcortex.invitation set redeemed_at = clock_timestamp() where org_id = $1 and invitation_id = $2)
         insert into batchcortex.membership (org_id, user_id, role_name) values ($1, $3, $4)
             on conflict (org_id, user_id) do update set role_name = excluded.role_name, ended_at = null",
        &[org_id.into(), invitation_id.into(), user_id.into(), role_name.clone().into()],
    )
    .unwrap_or_report();
    let person = Identity {
        org_id: *org_id.as_bytes(),
        kind: "user".into(),
        id: Some(*user_id.as_bytes()),
        name,
        role: role_name,
        ..joiner.from.clone()
    };
    acting_as(&person, || {
        Spi::run_with_args(
            "select batchcortex.log_event('member.joined', 'user_account', $1, after => json_build_object('invitation_id', $2::uuid, 'role_name', $3::text))",
            &[user_id.to_string().into(), invitation_id.into(), person.role.clone().into()],
        )
        .unwrap_or_report();
        agreement::record(org_id, user_id, joiner.accepted);
    });
    Ok(Some(user_id))
}

/// The invitation, locked so that two who present it at once do not both join.
fn take(digest: &[u8; 32]) -> Option<(Uuid, Uuid, String, String, String)> {
    Spi::connect_mut(|client| {
        let rows = client
            .update(
                "select i.org_id, i.invitation_id, i.username, i.role_name, o.name
                   from batchcortex.invitation i join batchcortex.organisation o on o.org_id = i.org_id
                  where i.token_sha256 = $1 and i.redeemed_at is null and i.expires_at > clock_timestamp() for update of i",
                Some(1),
                &[digest.to_vec().into()],
            )
            .unwrap_or_report();
        if rows.is_empty() {
            return None;
        }
        let row = rows.first();
        Some((
            row.get(1).unwrap_or_report()?,
            row.get(2).unwrap_or_report()?,
            row.get(3).unwrap_or_report()?,
            row.get(4).unwrap_or_report()?,
            row.get(5).unwrap_or_report()?,
        ))
    })
}
