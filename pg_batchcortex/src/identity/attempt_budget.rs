//! How often who one is may be tried to be proven: before anything is looked up or hashed, and whatever becomes of the transaction.

use super::binding::{self, Identity, acting_as};
use super::unscoped::unscoped;
use crate::access::rate_limit::{self, Budget, Exceeded};
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// One attempt of the address, when it is known, and one of the user name, whoever exists. Both are spent, so that neither many
/// addresses nor many names get around the other.
///
/// # Errors
/// When one of the two has run out.
pub fn spend(username: &str, from: &Identity) -> Result<(), Exceeded> {
    let [of_address, of_name] = spend_each(&subjects(username, from));
    of_address.and(of_name)
}

/// As [`spend`], for callers that give their refusal back as a result and so can record it: when a budget has run out, one event
/// says so, not one for each attempt after it, so that an attacker does not fill the log.
///
/// # Errors
/// As [`spend`].
pub fn spend_recorded(username: &str, from: &Identity) -> Result<(), Exceeded> {
    let subjects = subjects(username, from);
    let [of_address, of_name] = spend_each(&subjects);
    let first = |spent: Result<(), Exceeded>, subject: &Option<String>| {
        let subject = subject.as_ref().filter(|_| spent.is_err());
        subject.is_some_and(|subject| rate_limit::report(Budget::Authentication, subject.as_bytes()))
    };
    if first(of_address, &subjects[0]) | first(of_name, &subjects[1]) {
        record(from);
    }
    of_address.and(of_name)
}

fn spend_each(subjects: &[Option<String>; 2]) -> [Result<(), Exceeded>; 2] {
    subjects.each_ref().map(|subject| match subject {
        Some(subject) => rate_limit::spend(Budget::Authentication, subject.as_bytes()),
        None => Ok(()),
    })
}

fn subjects(username: &str, from: &Identity) -> [Option<String>; 2] {
    let named = |kind: &str, name: &str| (!name.is_empty()).then(|| format!("{kind} {name}"));
    [
        named("address", &from.client_ip),
        named("name", &username.to_lowercase()),
    ]
}

fn record(from: &Identity) {
    let system = binding::system(
        [0; 16],
        "authentication",
        &from.client_ip,
        &from.user_agent,
        &from.request_id,
    );
    unscoped(|| {
        acting_as(&system, || {
            Spi::run("select batchcortex.log_event('login.limited', 'user_account', 'unknown')")
                .unwrap_or_report()
        })
    });
}

/// Spends one attempt of the person bound to this transaction, from the same budgets as signing in: whoever holds a session does not
/// get a second set of guesses at the password behind it. 0, or the seconds to wait when none is left.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn spend_attempt() -> i32 {
    let Some(actor) = binding::bound_person() else {
        return 0;
    };
    let username = actor.id.and_then(|id| {
        unscoped(|| {
            Spi::get_one_with_args::<String>(
                "select (select username from batchcortex.user_account where user_id = $1)",
                &[Uuid::from_bytes(id).into()],
            )
            .unwrap_or_report()
        })
    });
    match spend(&username.unwrap_or_default(), &actor) {
        Ok(()) => 0,
        Err(exceeded) => exceeded.wait_seconds,
    }
}
