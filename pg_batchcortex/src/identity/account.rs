//! What changes an account: its password, its lock. Accounts belong to no single organisation, so the rows are written
//! here; the SQL functions in front ask for the permission and write the events.

use super::binding;
use super::credential::{self, Kind};
use super::password;
use super::password_policy::{self, Policy};
use super::proof::{self, Person};
use super::unscoped::unscoped;
use crate::error;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// A new session token (bcs_…), to be shown once; its SHA-256 is what gets stored.
#[pg_extern(volatile, parallel_unsafe)]
pub fn generate_session_token() -> String {
    credential::generate(Kind::Session).to_string()
}

/// Whether `new` may become the person's password; else why not.
pub fn may_become(person: &Person, new: &str, policy: &Policy) -> Result<(), String> {
    let mut names: Vec<&str> = policy.names.iter().map(String::as_str).collect();
    names.extend([person.username.as_str(), person.full_name.as_str()]);
    password_policy::acceptable(new, &names)?;
    if password::verify(new, &person.password_hash) {
        return Err("the new password is the present one".into());
    }
    if password_policy::was_used(person.user_id, new, &person.password_hash, policy.history) {
        return Err(format!(
            "the password is among the last {} of this account",
            policy.history
        ));
    }
    Ok(())
}

/// Hashes a password that has just been proven anew when the parameters were changed since: accounts would differ in
/// strength, and in the time that a refusal takes.
pub fn refresh_hash(person: &Person, proven: &str) {
    if !password::is_outdated(&person.password_hash) {
        return;
    }
    let hash = password::hash(proven).unwrap_or_else(|e| error!("hashing the password failed: {e}"));
    Spi::run_with_args(
        "update batchcortex.user_account set password_hash = $2 where user_id = $1",
        &[person.user_id.into(), hash.into()],
    )
    .unwrap_or_report();
}

/// Sets the password, ends the person's sessions in every organisation but `keep`, and records it in the organisation
/// that is bound. Hashes of earlier passwords are kept only where a policy looks at them, and no more than it looks at.
pub fn replace_password(person: &Person, new: &str, policy: &Policy, keep: Option<Uuid>) {
    let hash = password::hash(new).unwrap_or_else(|e| error!("hashing the password failed: {e}"));
    Spi::run_with_args(
        "with kept as (
             insert into batchcortex.password_history (user_id, password_hash)
             select user_id, password_hash from batchcortex.user_account where user_id = $1 and $3 > 1),
         dropped as (
             delete from batchcortex.password_history h where h.user_id = $1 and h.history_id not in (
                 select r.history_id from batchcortex.password_history r where r.user_id = $1
                  order by r.replaced_at desc limit greatest($3 - 2, 0)))
         update batchcortex.user_account set password_hash = $2, password_changed_at = clock_timestamp() where user_id = $1",
        &[person.user_id.into(), hash.into(), policy.history.into()],
    )
    .unwrap_or_report();
    Spi::run_with_args(
        "update batchcortex.session set revoked_at = clock_timestamp()
          where user_id = $1 and revoked_at is null and session_id is distinct from $2",
        &[person.user_id.into(), keep.into()],
    )
    .unwrap_or_report();
    Spi::run_with_args(
        "select batchcortex.log_event('password.changed', 'user_account', $1)",
        &[person.user_id.to_string().into()],
    )
    .unwrap_or_report();
}

/// Changes the password of the person of this transaction. outcome 'changed' or 'refused'; sqlstate is set when the new
/// password is not acceptable.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn change_own_password(
    old_password: Option<&str>,
    new_password: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(outcome, Option<String>),
        name!(detail, Option<String>),
        name!(sqlstate, Option<String>),
    ),
> {
    const PURPOSE: &str = "password";
    let refused = || TableIterator::once((Some("refused".to_owned()), None, None));
    let Some(actor) = binding::bound_person() else {
        return refused();
    };
    let new = new_password.unwrap_or("");
    let changed = unscoped(|| {
        let person = actor.id.and_then(|id| proof::find_or_raise(Uuid::from_bytes(id)));
        let holds = proof::password_holds(person.as_ref(), old_password.unwrap_or(""));
        let Some(person) = person.as_ref().filter(|_| holds) else {
            proof::refused(person.as_ref(), PURPOSE, &actor);
            return Ok(false);
        };
        let policy = password_policy::of(person.user_id);
        may_become(person, new, &policy)?;
        proof::succeeded(person, PURPOSE, &actor);
        replace_password(person, new, &policy, actor.session_id.map(Uuid::from_bytes));
        Ok(true)
    });
    match changed {
        Ok(true) => TableIterator::once((Some("changed".to_owned()), None, None)),
        Ok(false) => refused(),
        Err(message) => {
            let message: String = message;
            TableIterator::once((None, Some(message), Some(error::UNACCEPTABLE.to_owned())))
        }
    }
}

/// Unlocks an account whose person is a member of the bound organisation. False when there is no such member, or no lock.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn unlock_account(user_id: Uuid) -> bool {
    let Some(org_id) = binding::bound()
        .and_then(|bound| bound.org_id())
        .map(Uuid::from_bytes)
    else {
        return false;
    };
    unscoped(|| {
        Spi::get_one_with_args::<bool>(
            "with unlocked as (
                 update batchcortex.user_account u set failed_attempts = 0, locked_until = null
                  where u.user_id = $1 and u.locked_until > clock_timestamp()
                    and exists (select from batchcortex.membership m
                                 where m.org_id = $2 and m.user_id = u.user_id and m.ended_at is null)
                 returning 1)
             select exists (select from unlocked)",
            &[user_id.into(), org_id.into()],
        )
        .unwrap_or_report()
            == Some(true)
    })
}
