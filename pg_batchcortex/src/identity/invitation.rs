//! Joining: an invitation becomes an account and a membership.

use super::binding::{Identity, acting_as};
use super::credential::{self, Kind};
use super::password;
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

/// Redeems an invitation. sqlstate is set when the input is not acceptable; outcome is 'joined' or 'refused' else.
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
) -> TableIterator<
    'static,
    (
        name!(outcome, Option<String>),
        name!(user_id, Option<Uuid>),
        name!(sqlstate, Option<String>),
        name!(detail, Option<String>),
    ),
> {
    let full_name = full_name.unwrap_or("").trim();
    let password = password.unwrap_or("");
    if let Err(refusal) = acceptable(full_name, password) {
        return TableIterator::once((
            None,
            None,
            Some(refusal.sqlstate.to_owned()),
            Some(refusal.message),
        ));
    }
    let from = Identity {
        client_ip: client_ip.map(|ip| ip.0).unwrap_or_default(),
        user_agent: user_agent.unwrap_or_default().to_owned(),
        request_id: request_id.unwrap_or_default().to_owned(),
        ..Identity::default()
    };
    let joined = invitation
        .and_then(|text| credential::digest(Kind::Invitation, text))
        .and_then(|digest| unscoped(|| join(&digest, full_name, password, from)));
    TableIterator::once(match joined {
        Some(user_id) => (Some("joined".to_owned()), Some(user_id), None, None),
        None => (
            Some("refused".to_owned()),
            None,
            None,
            Some(
                "the invitation is unknown, used or expired, or the password is not the account's".to_owned(),
            ),
        ),
    })
}

fn acceptable(full_name: &str, password: &str) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(error::UNACCEPTABLE, message));
    if full_name.is_empty() || full_name.chars().count() > 200 || full_name.chars().any(char::is_control) {
        return refuse("a full name has 1 to 200 characters and no control characters".into());
    }
    if password.chars().count() < password::SHORTEST || password.len() > password::LONGEST {
        return refuse(format!(
            "a password has {} characters at least and {} bytes at most",
            password::SHORTEST,
            password::LONGEST
        ));
    }
    Ok(())
}

/// The user behind the invitation, who is now a member. A user name that exists joins with the password it has, so
/// that an invitation neither takes an account over nor tells its sender that it exists.
fn join(digest: &[u8; 32], full_name: &str, password: &str, from: Identity) -> Option<Uuid> {
    let (org_id, invitation_id, username, role_name) = take(digest)?;
    let existing = Spi::connect(|client| {
        let rows = client
            .select(
                "select user_id, password_hash, state = 'active', full_name from batchcortex.user_account where lower(username) = lower($1)",
                Some(1),
                &[username.clone().into()],
            )
            .unwrap_or_report();
        (!rows.is_empty()).then(|| {
            let row = rows.first();
            (
                row.get::<Uuid>(1).unwrap_or_report(),
                row.get::<String>(2).unwrap_or_report().unwrap_or_default(),
                row.get::<bool>(3).unwrap_or_report() == Some(true),
                row.get::<String>(4).unwrap_or_report().unwrap_or_default(),
            )
        })
    });
    let (user_id, name) = match existing {
        Some((Some(user_id), stored, true, name)) if password::verify(password, &stored) => (user_id, name),
        Some(_) => return None,
        None => {
            let hash =
                password::hash(password).unwrap_or_else(|e| error!("hashing the password failed: {e}"));
            let id = Spi::get_one_with_args::<Uuid>(
                "insert into batchcortex.user_account (username, full_name, password_hash) values ($1, $2, $3) returning user_id",
                &[username.into(), full_name.into(), hash.into()],
            )
            .unwrap_or_report()?;
            (id, full_name.to_owned())
        }
    };
    Spi::run_with_args(
        "with used as (update batchcortex.invitation set redeemed_at = clock_timestamp() where org_id = $1 and invitation_id = $2)
         insert into batchcortex.membership (org_id, user_id, role_name) values ($1, $3, $4)",
        &[org_id.into(), invitation_id.into(), user_id.into(), role_name.clone().into()],
    )
    .unwrap_or_report();
    let person = Identity {
        org_id: *org_id.as_bytes(),
        kind: "user".into(),
        id: Some(*user_id.as_bytes()),
        name,
        role: role_name,
        ..from
    };
    acting_as(&person, || {
        Spi::run_with_args(
            "select batchcortex.log_event('member.joined', 'user_account', $1, after => json_build_object('invitation_id', $2::uuid, 'role_name', $3::text))",
            &[user_id.to_string().into(), invitation_id.into(), person.role.clone().into()],
        )
        .unwrap_or_report();
    });
    Some(user_id)
}

/// The invitation, locked so that two who present it at once do not both join.
fn take(digest: &[u8; 32]) -> Option<(Uuid, Uuid, String, String)> {
    Spi::connect_mut(|client| {
        let rows = client
            .update(
                "select org_id, invitation_id, username, role_name from batchcortex.invitation
                  where token_sha256 = $1 and redeemed_at is null and expires_at > clock_timestamp() for update",
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
        ))
    })
}
