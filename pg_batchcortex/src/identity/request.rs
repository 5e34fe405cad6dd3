//! From a credential to the identity of a transaction.

use super::api_key;
use super::binding::{self, Identity};
use super::credential::{self, Kind};
use super::unique_row::{Key, UniqueIndex};
use super::unscoped::unscoped;
use crate::access::rate_limit::{self, Budget};
use crate::error::{self, Refusal};
use crate::row::{bytes_datum, text_datum, uuid_datum};
use crate::settings::SESSION_IDLE;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use std::cell::Cell;

/// How stale `last_seen_at` may get: a row written at most so often, not on every request.
pub const LAST_SEEN_SECONDS: i64 = 60;

/// A second, and a minute, in microseconds.
pub const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;

thread_local! {
    static SESSION: UniqueIndex<1, 7> = const { UniqueIndex {
        table: c"session",
        index: c"session_token",
        keys: [(c"token_sha256", Key::Bytea)],
        columns: [c"org_id", c"session_id", c"user_id", c"revoked_at", c"expires_at", c"last_seen_at", c"idle_minutes"],
        known: Cell::new(None),
    } };
    static ACCOUNT: UniqueIndex<1, 2> = const { UniqueIndex {
        table: c"user_account",
        index: c"user_account_pkey",
        keys: [(c"user_id", Key::Uuid)],
        columns: [c"full_name", c"state"],
        known: Cell::new(None),
    } };
    static MEMBERSHIP: UniqueIndex<2, 2> = const { UniqueIndex {
        table: c"membership",
        index: c"membership_pkey",
        keys: [(c"org_id", Key::Uuid), (c"user_id", Key::Uuid)],
        columns: [c"role_name", c"ended_at"],
        known: Cell::new(None),
    } };
}

// Types and schema are said, so that nothing depends on the caller's search_path; the function pins its own.
const SEEN_SQL: &str = "select batchcortex.note_session_seen($1::pg_catalog.uuid, $2::pg_catalog.uuid)";

struct Found {
    org_id: [u8; 16],
    session_id: [u8; 16],
    user_id: [u8; 16],
    full_name: String,
    role_name: String,
    stale: bool,
}

/// `batchcortex_api.open_request`: binds the person behind a session token, or the API key, to this transaction and returns user, organisation, role
/// and full name. A C function, because every request of the API passes here. Refuses with BC401 what is not the token of a live
/// session or key, and with BC429 when the person or key has spent the budget of requests; DETAIL is the seconds to wait.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bind_request(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by PostgreSQL with the four arguments that the SQL declaration names, and to return its four columns.
    unsafe {
        error::raising(|| {
            let text = |n| pgrx::fcinfo::pg_getarg::<&str>(fcinfo, n);
            let from = Identity::from_client(pgrx::fcinfo::pg_getarg(fcinfo, 1), text(2), text(3));
            let identity = authenticate(text(0).unwrap_or_default(), from)?;
            Ok(answer(fcinfo, &identity))
        })
    }
}

crate::function_info!(pg_finfo_bind_request);

fn authenticate(credential: &str, from: Identity) -> Result<Identity, Refusal> {
    if let Some(digest) = credential::digest(Kind::ApiKey, credential) {
        return api_key::authenticate(&digest, from);
    }
    let found = credential::digest(Kind::Session, credential)
        .and_then(|digest| find(&digest))
        .ok_or_else(|| Refusal::new(error::UNAUTHENTICATED, "not authenticated"))?;
    rate_limit::spend(Budget::General, &found.user_id).map_err(|exceeded| {
        Refusal::new(error::RATE_LIMITED, "too many requests").detail(exceeded.wait_seconds.to_string())
    })?;
    let identity = Identity {
        org_id: found.org_id,
        kind: "user".into(),
        id: Some(found.user_id),
        name: found.full_name,
        role: found.role_name,
        session_id: Some(found.session_id),
        ..from
    };
    binding::bind(&identity);
    // SAFETY: a plain global of the process.
    if found.stale && unsafe { !pg_sys::XactReadOnly } {
        unscoped(|| {
            let [org_id, session_id] = [found.org_id, found.session_id].map(Uuid::from_bytes);
            Spi::run_with_args(SEEN_SQL, &[org_id.into(), session_id.into()]).unwrap_or_report()
        });
    }
    Ok(identity)
}

/// The row (user_id, org_id, role_name, full_name).
unsafe fn answer(fcinfo: pg_sys::FunctionCallInfo, identity: &Identity) -> pg_sys::Datum {
    // SAFETY: the declaration has four OUT columns of these types; the tuple is palloc'ed and outlives the call.
    unsafe {
        // A call in FROM brings the description along.
        let asked = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
        let mut desc = std::ptr::null_mut();
        if !asked.is_null() && (*asked).type_ == pg_sys::NodeTag::T_ReturnSetInfo {
            desc = (*asked).expectedDesc;
        }
        if desc.is_null() || (*desc).natts != 4 {
            pg_sys::get_call_result_type(fcinfo, std::ptr::null_mut(), &raw mut desc);
        }
        let user_id = identity.id.filter(|_| identity.kind == "user");
        let mut nulls = [user_id.is_none(), false, false, false];
        let mut values = [
            user_id.map_or(pg_sys::Datum::from(0usize), |id| uuid_datum(&id)),
            uuid_datum(&identity.org_id),
            text_datum(&identity.role),
            text_datum(&identity.name),
        ];
        let tuple = pg_sys::heap_form_tuple(
            pg_sys::BlessTupleDesc(desc),
            values.as_mut_ptr(),
            nulls.as_mut_ptr(),
        );
        pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
    }
}

/// The person behind a session that is neither ended nor idle for too long, whose account is active and who is a member.
fn find(digest: &[u8; 32]) -> Option<Found> {
    // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    let mut found = SESSION.with(|session| {
        session.find([bytes_datum(digest)], |row| {
            let idle = i64::from(row.integer(6).unwrap_or_else(|| SESSION_IDLE.get())) * MINUTE;
            let seen = row.time(5)?;
            (row.is_null(3) && row.time(4)? > now && seen > now - idle).then_some(Found {
                org_id: row.uuid(0)?,
                session_id: row.uuid(1)?,
                user_id: row.uuid(2)?,
                full_name: String::new(),
                role_name: String::new(),
                stale: seen < now - LAST_SEEN_SECONDS * SECOND,
            })
        })
    })?;
    let user_id = uuid_datum(&found.user_id);
    found.full_name = ACCOUNT.with(|account| {
        account.find([user_id], |row| {
            (row.text(1)? == "active").then(|| row.text(0)).flatten()
        })
    })?;
    found.role_name = MEMBERSHIP.with(|membership| {
        membership.find([uuid_datum(&found.org_id), user_id], |row| {
            row.is_null(1).then(|| row.text(0)).flatten()
        })
    })?;
    Some(found)
}
