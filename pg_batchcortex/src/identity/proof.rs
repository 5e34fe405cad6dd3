//! One proof of a person, whatever it is for: signing in, elevation, a change of password, a signature. All of them
//! count towards the same lockout, and each is a row of login_attempt. Both are rows of the caller's transaction: who
//! can roll it back, the API's role with SQL of its own, is held by rate limits and not by this.

use super::binding::{self, Identity, acting_as};
use super::password;
use super::second_factor::{self, Factor};
use super::unscoped::unscoped;
use crate::assign;
use crate::settings::{BURST_FAILURES, LOCKOUT_FAILURES, LOCKOUT_TIME};
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use std::ffi::CString;
use std::time::{Duration, Instant};

/// A person as an account holds them.
pub struct Person {
    pub user_id: Uuid,
    pub username: String,
    pub full_name: String,
    pub password_hash: String,
    /// Not deactivated.
    pub active: bool,
    /// Locked at this moment.
    pub locked: bool,
}

/// By what a person is looked up.
#[derive(Clone, Copy)]
pub enum By<'a> {
    /// User name, as typed.
    Name(&'a str),
    /// Account.
    Id(Uuid),
}

/// Somebody else's proof of the same person is not over yet.
pub struct Busy;

/// How long to wait for it.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often to look, in microseconds.
const PAUSE: i64 = 10_000;
/// How long a transaction with a proof in it may be idle, in milliseconds.
const IDLE: i32 = 10_000;

/// Seconds after which a busy account is worth another try.
pub const BUSY_SECONDS: i32 = 3;

const LOCKED: &str = "
    select user_id, username, full_name, password_hash, state = 'active', coalesce(locked_until > clock_timestamp(), false)
      from batchcortex.user_account where lower(username) = lower($1) or user_id = $2 for no key update skip locked";
const EXISTS: &str = "
    select exists (select from batchcortex.user_account where lower(username) = lower($1) or user_id = $2)";

/// The person, with the account locked for this transaction: proofs of one account come one after the other, so that many
/// guesses at once cannot all be made before the first is counted, and no code is accepted twice.
///
/// # Errors
/// When another transaction holds the account for longer than a proof takes. Nothing is judged then, right or wrong: whoever
/// leaves a proof open gets no uncounted guesses beside it, and keeps nobody waiting for ever.
pub fn find(by: By<'_>) -> Result<Option<Person>, Busy> {
    let (name, id) = match by {
        By::Name(name) => (Some(name), None),
        By::Id(id) => (None, Some(id)),
    };
    let begun = Instant::now();
    loop {
        if let Some(person) = lock(name, id) {
            end_when_idle();
            return Ok(Some(person));
        }
        if Spi::get_one_with_args::<bool>(EXISTS, &[name.into(), id.into()]).unwrap_or_report() != Some(true)
        {
            return Ok(None);
        }
        if begun.elapsed() >= PATIENCE {
            return Err(Busy);
        }
        // SAFETY: sleeps; a request to cancel is answered right after.
        unsafe { pg_sys::pg_usleep(PAUSE) };
        pgrx::check_for_interrupts!();
    }
}

/// As [`find`], by the account, for callers that have no result for a busy one: raises 40001, so that the request is tried again.
pub fn find_or_raise(user_id: Uuid) -> Option<Person> {
    match find(By::Id(user_id)) {
        Ok(person) => person,
        Err(Busy) => {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
                "another attempt of this person is still open"
            );
        }
    }
}

fn lock(name: Option<&str>, id: Option<Uuid>) -> Option<Person> {
    Spi::connect_mut(|client| {
        let rows = client
            .update(LOCKED, Some(1), &[name.into(), id.into()])
            .unwrap_or_report();
        if rows.is_empty() {
            return None;
        }
        let row = rows.first();
        Some(Person {
            user_id: row.get(1).unwrap_or_report()?,
            username: row.get(2).unwrap_or_report()?,
            full_name: row.get(3).unwrap_or_report()?,
            password_hash: row.get(4).unwrap_or_report()?,
            active: row.get(5).unwrap_or_report()?,
            locked: row.get(6).unwrap_or_report()?,
        })
    })
}

/// The lock lasts as long as the transaction: a client that hangs in it is disconnected, and the person can sign in again.
fn end_when_idle() {
    // SAFETY: a plain global of the backend; both strings are NUL-terminated and copied by the callee.
    unsafe {
        let present = pg_sys::IdleInTransactionSessionTimeout;
        if (1..=IDLE).contains(&present) {
            return;
        }
        let milliseconds = CString::new(IDLE.to_string()).unwrap_or_default();
        assign::for_transaction(c"idle_in_transaction_session_timeout", &milliseconds);
    }
}

/// Whether the password is this person's and the account may be used. Takes one Argon2id computation in every case.
pub fn password_holds(person: Option<&Person>, presented: &str) -> bool {
    match person {
        Some(person) => {
            let right = password::verify(presented, &person.password_hash);
            right && person.active && !person.locked
        }
        None => {
            password::spend(presented);
            false
        }
    }
}

/// Records a refused proof as `actor`, counts it, and locks the account when it was one too many. An unknown user name
/// is not kept: people type passwords into that field.
pub fn refused(person: Option<&Person>, purpose: &str, actor: &Identity) {
    let locks = person
        .filter(|person| person.active && !person.locked)
        .is_some_and(|person| count_failure(person.user_id));
    let result = match person {
        Some(person) if person.locked => "locked",
        _ => "refused",
    };
    let burst = is_burst(&actor.client_ip);
    note(person, actor, purpose, result, burst);
    let id = person.map_or_else(|| "unknown".to_owned(), |person| person.user_id.to_string());
    acting_as(actor, || {
        binding::log(&format!("{purpose}.refused"), "user_account", &id);
        if locks {
            binding::log("account.locked", "user_account", &id);
        }
        if burst {
            binding::log(
                &format!("{purpose}.burst"),
                "client_address",
                none_as(&actor.client_ip, "local"),
            );
        }
    });
}

/// Records a proof that held, or that waits for more (`result`).
pub fn noted(person: &Person, purpose: &str, result: &str, actor: &Identity) {
    note(Some(person), actor, purpose, result, false);
}

/// Forgets earlier failures, now that the whole proof has held.
pub fn succeeded(person: &Person, purpose: &str, actor: &Identity) {
    Spi::run_with_args(
        "update batchcortex.user_account set failed_attempts = 0, locked_until = null
          where user_id = $1 and (failed_attempts <> 0 or locked_until is not null)",
        &[person.user_id.into()],
    )
    .unwrap_or_report();
    note(Some(person), actor, purpose, "granted", false);
}

/// True when this failure locks the account. One after a lock has run out is the first of a new row.
fn count_failure(user_id: Uuid) -> bool {
    Spi::get_one_with_args::<bool>(
        "update batchcortex.user_account u
            set failed_attempts = n.failures,
                locked_until = case when n.failures < $2 then null
                                    when $3 = 0 then 'infinity'::timestamptz
                                    else clock_timestamp() + make_interval(mins => $3) end
           from (select case when a.locked_until is null then a.failed_attempts + 1 else 1 end as failures
                   from batchcortex.user_account a where a.user_id = $1) n
          where u.user_id = $1
         returning u.locked_until is not null",
        &[
            user_id.into(),
            LOCKOUT_FAILURES.get().into(),
            LOCKOUT_TIME.get().into(),
        ],
    )
    .unwrap_or_report()
        == Some(true)
}

/// Whether this failure makes the last minute of its address a burst that no attempt has reported yet.
fn is_burst(client_ip: &str) -> bool {
    // Two texts, because `is not distinct from` would not use the index.
    let from_there = if client_ip.is_empty() {
        "client_ip is null and $1 = ''"
    } else {
        "client_ip = $1::inet"
    };
    Spi::get_one_with_args::<bool>(
        &format!(
            "select count(*) + 1 >= $2 and not coalesce(bool_or(burst), false) from batchcortex.login_attempt
              where {from_there} and result in ('refused', 'locked') and attempted_at > clock_timestamp() - interval '1 minute'"
        ),
        &[client_ip.into(), BURST_FAILURES.get().into()],
    )
    .unwrap_or_report()
        == Some(true)
}

fn note(person: Option<&Person>, actor: &Identity, purpose: &str, result: &str, burst: bool) {
    Spi::run_with_args(
        "insert into batchcortex.login_attempt (org_id, user_id, purpose, result, burst, client_ip, user_agent)
         values ($1, $2, $3, $4, $5, nullif($6, '')::inet, nullif(left($7, 500), ''))",
        &[
            Uuid::from_bytes(actor.org_id).into(),
            person.map(|person| person.user_id).into(),
            purpose.into(),
            result.into(),
            burst.into(),
            actor.client_ip.clone().into(),
            actor.user_agent.clone().into(),
        ],
    )
    .unwrap_or_report();
}

fn none_as<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// A fresh proof of the person who is bound to this transaction: 'granted', 'refused', or 'second_factor' when one is
/// enrolled and was not presented. Recorded and counted under `purpose`; a session alone is never a proof.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn prove_again(password: Option<&str>, second_factor: Option<&str>, purpose: &str) -> String {
    let Some(actor) = binding::bound_person() else {
        return "refused".to_owned();
    };
    unscoped(|| {
        let person = actor.id.and_then(|id| find_or_raise(Uuid::from_bytes(id)));
        let holds = password_holds(person.as_ref(), password.unwrap_or(""));
        let Some(person) = person.as_ref().filter(|_| holds) else {
            refused(person.as_ref(), purpose, &actor);
            return "refused".to_owned();
        };
        match second_factor::check(person.user_id, second_factor) {
            factor @ (Factor::Absent | Factor::Right | Factor::Confirmed) => {
                succeeded(person, purpose, &actor);
                if factor == Factor::Confirmed {
                    acting_as(&actor, || {
                        binding::log(
                            "second_factor.confirmed",
                            "user_account",
                            &person.user_id.to_string(),
                        )
                    });
                }
                "granted".to_owned()
            }
            Factor::Awaited => {
                noted(person, purpose, "second_factor", &actor);
                "second_factor".to_owned()
            }
            Factor::Wrong => {
                refused(Some(person), purpose, &actor);
                "refused".to_owned()
            }
        }
    })
}
