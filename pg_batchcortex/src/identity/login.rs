//! Signing in: from a password, and what else an organisation asks for, to a session. Refusals are results, so that the
//! attempt is recorded.

use super::account;
use super::agreement::{self, Accepted};
use super::attempt_budget;
use super::binding::{self, Identity, acting_as};
use super::credential::{self, Kind};
use super::password_policy;
use super::proof::{self, Busy, By, Person};
use super::second_factor::{self, Factor};
use super::unscoped::unscoped;
use crate::error;
use crate::settings::SESSION_LIFE;
use pgrx::datum::{TimestampWithTimeZone, Uuid};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

const NOBODY: [u8; 16] = [0; 16];
const PURPOSE: &str = "login";

/// A membership, and what its organisation asks for.
struct Place {
    org_id: Uuid,
    role_name: String,
    second_factor_required: bool,
}

/// What is presented. Everything that a sign-in may need comes in one call: nothing is kept between two.
struct Offer<'a> {
    username: &'a str,
    password: &'a str,
    organisation: Option<Uuid>,
    second_factor: Option<&'a str>,
    accepted: Accepted<'a>,
    new_password: Option<&'a str>,
}

/// How an attempt ended, as authenticate_login answers it.
#[derive(Default)]
struct Ending {
    outcome: Option<&'static str>,
    token: Option<String>,
    session_id: Option<Uuid>,
    user_id: Option<Uuid>,
    org_id: Option<Uuid>,
    role_name: Option<String>,
    full_name: Option<String>,
    expires_at: Option<TimestampWithTimeZone>,
    wait_seconds: Option<i32>,
    /// What is needed, as JSON; or why the new password is not acceptable.
    detail: Option<String>,
    sqlstate: Option<&'static str>,
}

impl Ending {
    /// No session, and what is needed as JSON.
    fn without(outcome: &'static str, detail: Option<String>) -> Self {
        Ending {
            outcome: Some(outcome),
            detail,
            ..Ending::default()
        }
    }

    /// Too many attempts, and how long to wait.
    fn limited(wait_seconds: i32) -> Self {
        Ending {
            outcome: Some("limited"),
            wait_seconds: Some(wait_seconds),
            ..Ending::default()
        }
    }

    /// The new password is not acceptable.
    fn unacceptable(message: String) -> Self {
        Ending {
            detail: Some(message),
            sqlstate: Some(error::UNACCEPTABLE),
            ..Ending::default()
        }
    }
}

/// Why nobody was admitted.
enum Barred {
    /// The outcome, recorded.
    Outcome(&'static str),
    /// Another attempt of the person is open.
    Busy,
}

/// Checks a user name and password and opens a session, or records why not.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
pub fn authenticate_login(
    username: Option<&str>,
    password: Option<&str>,
    client_ip: Option<pgrx::Inet>,
    user_agent: Option<&str>,
    request_id: Option<&str>,
    organisation: Option<Uuid>,
    second_factor: Option<&str>,
    accepted_terms: Option<&str>,
    accepted_privacy: Option<&str>,
    accepted_accountability: Option<&str>,
    new_password: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(outcome, Option<&'static str>),
        name!(token, Option<String>),
        name!(session_id, Option<Uuid>),
        name!(user_id, Option<Uuid>),
        name!(org_id, Option<Uuid>),
        name!(role_name, Option<String>),
        name!(full_name, Option<String>),
        name!(expires_at, Option<TimestampWithTimeZone>),
        name!(wait_seconds, Option<i32>),
        name!(detail, Option<String>),
        name!(sqlstate, Option<&'static str>),
    ),
> {
    let offer = Offer {
        username: username.unwrap_or(""),
        password: password.unwrap_or(""),
        organisation,
        second_factor,
        accepted: Accepted {
            terms: accepted_terms,
            privacy: accepted_privacy,
            accountability: accepted_accountability,
        },
        new_password,
    };
    let from = Identity::from_client(client_ip, user_agent, request_id);
    let ending = match attempt_budget::spend_recorded(offer.username, &from) {
        Ok(()) => unscoped(|| attempt(&offer, from)),
        Err(exceeded) => Ending::limited(exceeded.wait_seconds),
    };
    TableIterator::once((
        ending.outcome,
        ending.token,
        ending.session_id,
        ending.user_id,
        ending.org_id,
        ending.role_name,
        ending.full_name,
        ending.expires_at,
        ending.wait_seconds,
        ending.detail,
        ending.sqlstate,
    ))
}

/// Gives someone whose organisation requires a second factor, and who has none, a TOTP secret against the password; the
/// first code at sign-in confirms it. outcome is 'enrolled', 'organisation_required', 'refused', or
/// 'limited' with the seconds to wait.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
pub fn authenticate_enrolment(
    username: Option<&str>,
    password: Option<&str>,
    client_ip: Option<pgrx::Inet>,
    user_agent: Option<&str>,
    request_id: Option<&str>,
    organisation: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(otpauth_uri, Option<String>),
        name!(secret, Option<String>),
        name!(recovery_codes, Option<Vec<String>>),
        name!(wait_seconds, Option<i32>),
    ),
> {
    let from = Identity::from_client(client_ip, user_agent, request_id);
    let (username, password) = (username.unwrap_or(""), password.unwrap_or(""));
    let without = |outcome, wait_seconds| (outcome, None, None, None, wait_seconds);
    if let Err(exceeded) = attempt_budget::spend_recorded(username, &from) {
        return TableIterator::once(without("limited", Some(exceeded.wait_seconds)));
    }
    TableIterator::once(unscoped(|| {
        match admit(username, password, organisation, &from) {
            Err(Barred::Outcome(outcome)) => without(outcome, None),
            Err(Barred::Busy) => without("limited", Some(proof::BUSY_SECONDS)),
            Ok((person, place, system)) => {
                let shown = place
                    .second_factor_required
                    .then(|| second_factor::enrol(person.user_id, &person.username))
                    .flatten();
                let Some(shown) = shown else {
                    // Whoever has a second factor is asked for it: the password alone does not replace it.
                    proof::refused(Some(&person), PURPOSE, &system);
                    return without("refused", None);
                };
                proof::noted(&person, PURPOSE, "second_factor_enrolled", &system);
                let who = identity(&person, &place, None, &from);
                acting_as(&who, || {
                    binding::log(
                        "second_factor.enrolled",
                        "user_account",
                        &person.user_id.to_string(),
                    )
                });
                (
                    "enrolled",
                    Some(shown.uri),
                    Some(shown.secret),
                    Some(shown.recovery_codes),
                    None,
                )
            }
        }
    }))
}

/// The person behind a user name and password and the one organisation meant, with the system actor that records what
/// becomes of it. Unknown user, wrong password, locked and deactivated account are one.
fn admit(
    username: &str,
    presented: &str,
    organisation: Option<Uuid>,
    from: &Identity,
) -> Result<(Person, Place, Identity), Barred> {
    let person = proof::find(By::Name(username)).map_err(|Busy| Barred::Busy)?;
    let holds = proof::password_holds(person.as_ref(), presented);
    let mut places = person
        .as_ref()
        .map(|person| find_places(person.user_id, organisation))
        .unwrap_or_default();
    let org = places.first().map_or(NOBODY, |place| *place.org_id.as_bytes());
    let system = binding::system(
        org,
        "authentication",
        &from.client_ip,
        &from.user_agent,
        &from.request_id,
    );
    match (person, places.len()) {
        (Some(person), 1) if holds => Ok((person, places.remove(0), system)),
        // Which organisation is asked only of someone who has shown the password.
        (Some(person), 2..) if holds => {
            proof::noted(&person, PURPOSE, "organisation_required", &system);
            Err(Barred::Outcome("organisation_required"))
        }
        (person, _) => {
            proof::refused(person.as_ref(), PURPOSE, &system);
            Err(Barred::Outcome("refused"))
        }
    }
}

fn attempt(offer: &Offer<'_>, from: Identity) -> Ending {
    let (person, place, system) = match admit(offer.username, offer.password, offer.organisation, &from) {
        Ok(admitted) => admitted,
        Err(Barred::Outcome(outcome)) => return Ending::without(outcome, None),
        Err(Barred::Busy) => return Ending::limited(proof::BUSY_SECONDS),
    };
    let waits = |outcome: &'static str, detail: Option<String>| {
        proof::noted(&person, PURPOSE, outcome, &system);
        Ending::without(outcome, detail)
    };
    // The second factor comes last: a code is used up when it is looked at, and must not be spent on half an offer.
    let policy = password_policy::of(person.user_id);
    if policy.expired && offer.new_password.is_none() {
        return waits("password_expired", None);
    }
    let missing = agreement::missing(place.org_id, Some(person.user_id), offer.accepted);
    if missing.is_some() {
        return waits("acceptance_required", missing);
    }
    if let Some(new) = offer.new_password
        && let Err(message) = account::may_become(&person, new, &policy)
    {
        return Ending::unacceptable(message);
    }
    let factor = second_factor::check(person.user_id, offer.second_factor);
    match factor {
        Factor::Absent if place.second_factor_required => return waits("enrolment_required", None),
        Factor::Awaited => return waits("second_factor", None),
        Factor::Wrong => {
            proof::refused(Some(&person), PURPOSE, &system);
            return Ending::without("refused", None);
        }
        Factor::Absent | Factor::Right | Factor::Confirmed => (),
    }
    proof::succeeded(&person, PURPOSE, &system);
    if factor == Factor::Confirmed {
        let who = identity(&person, &place, None, &from);
        acting_as(&who, || {
            binding::log(
                "second_factor.confirmed",
                "user_account",
                &person.user_id.to_string(),
            )
        });
    }
    open_session(person, place, offer, &policy, &from)
}

fn open_session(
    person: Person,
    place: Place,
    offer: &Offer<'_>,
    policy: &password_policy::Policy,
    from: &Identity,
) -> Ending {
    let token = credential::generate(Kind::Session);
    let digest = credential::digest(Kind::Session, &token).unwrap_or_default();
    let who = identity(&person, &place, None, from);
    match offer.new_password {
        Some(new) => acting_as(&who, || account::replace_password(&person, new, policy, None)),
        None => account::refresh_hash(&person, offer.password),
    }
    let (session_id, expires_at) = Spi::get_two_with_args::<Uuid, TimestampWithTimeZone>(
        "insert into batchcortex.session (org_id, user_id, token_sha256, expires_at, idle_minutes, client_ip, user_agent)
         select o.org_id, $2, $3, clock_timestamp() + make_interval(mins => coalesce(o.session_life_minutes, $4)), o.session_idle_minutes,
                nullif($5, '')::inet, nullif($6, '')
           from batchcortex.organisation o where o.org_id = $1
         returning session_id, expires_at",
        &[
            place.org_id.into(),
            person.user_id.into(),
            digest.to_vec().into(),
            SESSION_LIFE.get().into(),
            from.client_ip.clone().into(),
            from.user_agent.clone().into(),
        ],
    )
    .unwrap_or_report();
    let who = identity(&person, &place, session_id, from);
    acting_as(&who, || {
        agreement::record(place.org_id, person.user_id, offer.accepted);
        // What verify() compares the session with: a row that nobody signed in for has no such event.
        Spi::run_with_args(
            "select batchcortex.log_event('session.opened', 'session', ($1::uuid)::text, after => batchcortex.session_terms($2, $3, $4))",
            &[
                session_id.into(),
                person.user_id.into(),
                expires_at.into(),
                digest.to_vec().into(),
            ],
        )
        .unwrap_or_report();
    });
    Ending {
        outcome: Some("granted"),
        token: Some(token.to_string()),
        session_id,
        user_id: Some(person.user_id),
        org_id: Some(place.org_id),
        role_name: Some(place.role_name),
        full_name: Some(person.full_name),
        expires_at,
        ..Ending::default()
    }
}

fn identity(person: &Person, place: &Place, session_id: Option<Uuid>, from: &Identity) -> Identity {
    Identity {
        org_id: *place.org_id.as_bytes(),
        kind: "user".into(),
        id: Some(*person.user_id.as_bytes()),
        name: person.full_name.clone(),
        role: place.role_name.clone(),
        session_id: session_id.map(|id| *id.as_bytes()),
        ..from.clone()
    }
}

fn find_places(user_id: Uuid, organisation: Option<Uuid>) -> Vec<Place> {
    Spi::connect(|client| {
        client
            .select(
                "select m.org_id, m.role_name, o.second_factor = 'required'
                   from batchcortex.membership m join batchcortex.organisation o on o.org_id = m.org_id
                  where m.user_id = $1 and m.ended_at is null and ($2 is null or m.org_id = $2) order by m.created_at",
                None,
                &[user_id.into(), organisation.into()],
            )
            .unwrap_or_report()
            .filter_map(|row| {
                Some(Place {
                    org_id: row.get(1).unwrap_or_report()?,
                    role_name: row.get(2).unwrap_or_report()?,
                    second_factor_required: row.get(3).unwrap_or_report()?,
                })
            })
            .collect()
    })
}
