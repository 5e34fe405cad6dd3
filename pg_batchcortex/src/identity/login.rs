//! Signing in: from a password, and what else an organisation asks for, to a session. Refusals are results, so that the
//! attempt is recorded.

use super::account;
use super::agreement::{self, Accepted};
use super::attempt_budget;
use super::binding::{self, Identity, acting_as};
use super::credential::{self, Kind};
use super::password_policy;
use super::proof::{self, By, Person};
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

/// How an attempt ended.
enum Ending {
    Session {
        token: String,
        session_id: Option<Uuid>,
        user_id: Uuid,
        place: Place,
        full_name: String,
        expires_at: Option<TimestampWithTimeZone>,
    },
    /// Outcome, and what is needed, as JSON.
    Without(&'static str, Option<String>),
    /// The new password is not acceptable.
    Unacceptable(String),
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
        name!(outcome, Option<String>),
        name!(token, Option<String>),
        name!(session_id, Option<Uuid>),
        name!(user_id, Option<Uuid>),
        name!(org_id, Option<Uuid>),
        name!(role_name, Option<String>),
        name!(full_name, Option<String>),
        name!(expires_at, Option<TimestampWithTimeZone>),
        name!(wait_seconds, Option<i32>),
        name!(detail, Option<String>),
        name!(sqlstate, Option<String>),
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
    let from = origin(client_ip, user_agent, request_id);
    if let Err(exceeded) = attempt_budget::spend(offer.username, &from) {
        let outcome = Some("limited".to_owned());
        let wait = Some(exceeded.wait_seconds);
        return TableIterator::once((
            outcome, None, None, None, None, None, None, None, wait, None, None,
        ));
    }
    TableIterator::once(match unscoped(|| attempt(&offer, from)) {
        Ending::Session {
            token,
            session_id,
            user_id,
            place,
            full_name,
            expires_at,
        } => (
            Some("granted".to_owned()),
            Some(token),
            session_id,
            Some(user_id),
            Some(place.org_id),
            Some(place.role_name),
            Some(full_name),
            expires_at,
            None,
            None,
            None,
        ),
        Ending::Without(outcome, detail) => (
            Some(outcome.to_owned()),
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            detail,
            None,
        ),
        Ending::Unacceptable(message) => {
            let sqlstate = Some(error::UNACCEPTABLE.to_owned());
            (
                None,
                None,
                None,
                None,
                None,
                None,
                None,
                None,
                None,
                Some(message),
                sqlstate,
            )
        }
    })
}

/// Gives someone whose organisation requires a second factor, and who has none, a TOTP secret against the password; the
/// first code at sign-in confirms it. outcome is 'enrolled', 'organisation_required' or 'refused'.
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
        name!(outcome, String),
        name!(otpauth_uri, Option<String>),
        name!(secret, Option<String>),
        name!(recovery_codes, Option<Vec<String>>),
    ),
> {
    let from = origin(client_ip, user_agent, request_id);
    let (username, password) = (username.unwrap_or(""), password.unwrap_or(""));
    if attempt_budget::spend(username, &from).is_err() {
        return TableIterator::once(("limited".to_owned(), None, None, None));
    }
    TableIterator::once(unscoped(|| {
        match admit(username, password, organisation, &from) {
            Err(outcome) => (outcome.to_owned(), None, None, None),
            Ok((person, place, system)) => {
                let shown = place
                    .second_factor_required
                    .then(|| second_factor::enrol(person.user_id, &person.username))
                    .flatten();
                let Some(shown) = shown else {
                    // Whoever has a second factor is asked for it: the password alone does not replace it.
                    proof::refused(Some(&person), PURPOSE, &system);
                    return ("refused".to_owned(), None, None, None);
                };
                proof::noted(&person, PURPOSE, "second_factor_enrolled", &system);
                let who = identity(&person, &place, None, &from);
                acting_as(&who, || {
                    record(
                        "second_factor.enrolled",
                        "user_account",
                        &person.user_id.to_string(),
                    )
                });
                (
                    "enrolled".to_owned(),
                    Some(shown.uri),
                    Some(shown.secret),
                    Some(shown.recovery_codes),
                )
            }
        }
    }))
}

fn origin(client_ip: Option<pgrx::Inet>, user_agent: Option<&str>, request_id: Option<&str>) -> Identity {
    Identity {
        client_ip: client_ip.map(|ip| ip.0).unwrap_or_default(),
        user_agent: user_agent.unwrap_or_default().to_owned(),
        request_id: request_id.unwrap_or_default().to_owned(),
        ..Identity::default()
    }
}

/// The person behind a user name and password and the one organisation meant, with the system actor that records what
/// becomes of it; or the outcome, recorded. Unknown user, wrong password, locked and deactivated account are one.
fn admit(
    username: &str,
    presented: &str,
    organisation: Option<Uuid>,
    from: &Identity,
) -> Result<(Person, Place, Identity), &'static str> {
    let person = proof::find(By::Name(username));
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
            Err("organisation_required")
        }
        (person, _) => {
            proof::refused(person.as_ref(), PURPOSE, &system);
            Err("refused")
        }
    }
}

fn attempt(offer: &Offer<'_>, from: Identity) -> Ending {
    let (person, place, system) = match admit(offer.username, offer.password, offer.organisation, &from) {
        Ok(admitted) => admitted,
        Err(outcome) => return Ending::Without(outcome, None),
    };
    let waits = |outcome: &'static str, detail: Option<String>| {
        proof::noted(&person, PURPOSE, outcome, &system);
        Ending::Without(outcome, detail)
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
        return Ending::Unacceptable(message);
    }
    let factor = second_factor::check(person.user_id, offer.second_factor);
    match factor {
        Factor::Absent if place.second_factor_required => return waits("enrolment_required", None),
        Factor::Awaited => return waits("second_factor", None),
        Factor::Wrong => {
            proof::refused(Some(&person), PURPOSE, &system);
            return Ending::Without("refused", None);
        }
        Factor::Absent | Factor::Right | Factor::Confirmed => (),
    }
    proof::succeeded(&person, PURPOSE, &system);
    if factor == Factor::Confirmed {
        let who = identity(&person, &place, None, &from);
        acting_as(&who, || {
            record(
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
        record(
            "session.opened",
            "session",
            &session_id.map(|id| id.to_string()).unwrap_or_default(),
        )
    });
    Ending::Session {
        token: token.to_string(),
        session_id,
        user_id: person.user_id,
        place,
        full_name: person.full_name,
        expires_at,
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

fn record(action: &str, record_type: &str, record_id: &str) {
    Spi::run_with_args(
        "select batchcortex.log_event($1, $2, $3)",
        &[action.into(), record_type.into(), record_id.into()],
    )
    .unwrap_or_report();
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
