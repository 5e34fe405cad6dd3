//! Password to session. Refusals are results, so that the attempt is recorded.

use super::binding::{self, Identity, acting_as};
use super::credential::{self, Kind};
use super::password;
use super::unscoped::unscoped;
use crate::settings::SESSION_LIFE;
use pgrx::datum::{TimestampWithTimeZone, Uuid};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

const NOBODY: [u8; 16] = [0; 16];

struct Person {
    user_id: Uuid,
    full_name: String,
    password_hash: String,
    active: bool,
}

struct Place {
    org_id: Uuid,
    role_name: String,
}

type LoginRow = (
    String,
    Option<String>,
    Option<Uuid>,
    Option<Uuid>,
    Option<Uuid>,
    Option<String>,
    Option<String>,
    Option<TimestampWithTimeZone>,
    Option<i32>,
);

/// Checks a user name and password and opens a session, or records the refusal.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
pub fn authenticate_login(
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
        name!(token, Option<String>),
        name!(session_id, Option<Uuid>),
        name!(user_id, Option<Uuid>),
        name!(org_id, Option<Uuid>),
        name!(role_name, Option<String>),
        name!(full_name, Option<String>),
        name!(expires_at, Option<TimestampWithTimeZone>),
        name!(wait_seconds, Option<i32>),
    ),
> {
    let from = Identity {
        client_ip: client_ip.map(|ip| ip.0).unwrap_or_default(),
        user_agent: user_agent.unwrap_or_default().to_owned(),
        request_id: request_id.unwrap_or_default().to_owned(),
        ..Identity::default()
    };
    TableIterator::once(unscoped(|| {
        attempt(username.unwrap_or(""), password.unwrap_or(""), organisation, from)
    }))
}

fn attempt(username: &str, presented: &str, organisation: Option<Uuid>, from: Identity) -> LoginRow {
    let person = find_person(username);
    let known = match &person {
        Some(person) => password::verify(presented, &person.password_hash) && person.active,
        None => {
            password::spend(presented);
            false
        }
    };
    let places = person
        .as_ref()
        .map(|person| find_places(person.user_id, organisation))
        .unwrap_or_default();
    match (known, person, places.as_slice()) {
        (true, Some(person), [place]) => open_session(&person, place, from),
        // Which organisation is asked only of someone who has shown the password.
        (true, Some(_), [_, _, ..]) => without_session("organisation_required"),
        (_, person, _) => {
            let org = places.first().map_or(NOBODY, |place| *place.org_id.as_bytes());
            record_refusal(person.as_ref(), org, from);
            without_session("refused")
        }
    }
}

fn without_session(outcome: &str) -> LoginRow {
    (outcome.to_owned(), None, None, None, None, None, None, None, None)
}

fn open_session(person: &Person, place: &Place, from: Identity) -> LoginRow {
    let token = credential::generate(Kind::Session);
    let digest = credential::digest(Kind::Session, &token).unwrap_or_default();
    let (session_id, expires_at) = Spi::get_two_with_args::<Uuid, TimestampWithTimeZone>(
        "insert into batchcortex.session (org_id, user_id, token_sha256, expires_at, client_ip, user_agent)
         values ($1, $2, $3, clock_timestamp() + make_interval(mins => $4), nullif($5, '')::inet, nullif($6, ''))
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
    let identity = Identity {
        org_id: *place.org_id.as_bytes(),
        kind: "user".into(),
        id: Some(*person.user_id.as_bytes()),
        name: person.full_name.clone(),
        role: place.role_name.clone(),
        session_id: session_id.map(|id| *id.as_bytes()),
        ..from
    };
    acting_as(&identity, || {
        record(
            "session.opened",
            "session",
            &session_id.map(|id| id.to_string()).unwrap_or_default(),
        )
    });
    (
        "granted".to_owned(),
        Some(token.to_string()),
        session_id,
        Some(person.user_id),
        Some(place.org_id),
        Some(place.role_name.clone()),
        Some(person.full_name.clone()),
        expires_at,
        None,
    )
}

/// An unknown user name is not kept: people type passwords into that field.
fn record_refusal(person: Option<&Person>, org: [u8; 16], from: Identity) {
    let system = binding::system(
        org,
        "authentication",
        &from.client_ip,
        &from.user_agent,
        &from.request_id,
    );
    let id = person.map_or_else(|| "unknown".to_owned(), |person| person.user_id.to_string());
    acting_as(&system, || record("login.refused", "user_account", &id));
}

fn record(action: &str, record_type: &str, record_id: &str) {
    Spi::run_with_args(
        "select batchcortex.log_event($1, $2, $3)",
        &[action.into(), record_type.into(), record_id.into()],
    )
    .unwrap_or_report();
}

fn find_person(username: &str) -> Option<Person> {
    Spi::connect(|client| {
        let rows = client
            .select(
                "select user_id, full_name, password_hash, state = 'active' from batchcortex.user_account
                  where lower(username) = lower($1)",
                Some(1),
                &[username.into()],
            )
            .unwrap_or_report();
        if rows.is_empty() {
            return None;
        }
        let row = rows.first();
        Some(Person {
            user_id: row.get(1).unwrap_or_report()?,
            full_name: row.get(2).unwrap_or_report()?,
            password_hash: row.get(3).unwrap_or_report()?,
            active: row.get(4).unwrap_or_report()?,
        })
    })
}

fn find_places(user_id: Uuid, organisation: Option<Uuid>) -> Vec<Place> {
    Spi::connect(|client| {
        client
            .select(
                "select org_id, role_name from batchcortex.membership
                  where user_id = $1 and ended_at is null and ($2 is null or org_id = $2) order by created_at",
                None,
                &[user_id.into(), organisation.into()],
            )
            .unwrap_or_report()
            .filter_map(|row| {
                Some(Place { org_id: row.get(1).unwrap_or_report()?, role_name: row.get(2).unwrap_or_report()? })
            })
            .collect()
    })
}
