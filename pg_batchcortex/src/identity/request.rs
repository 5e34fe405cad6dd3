//! From a credential to the identity of a transaction.

use super::api_key;
use super::binding::{self, Identity};
use super::credential::{self, Kind};
use super::unscoped::unscoped;
use crate::access::rate_limit::{self, Budget};
use crate::error::{self, Refusal};
use crate::row::{text_datum, uuid_datum};
use crate::settings::SESSION_IDLE;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use pgrx::spi::OwnedPreparedStatement;
use std::cell::OnceCell;

/// How stale `last_seen_at` may get: a row written at most so often, not on every request.
pub const LAST_SEEN_SECONDS: i32 = 60;

thread_local! {
    static FIND: OnceCell<OwnedPreparedStatement> = const { OnceCell::new() };
}

const FIND_SQL: &str = "
    select s.org_id, s.session_id, s.user_id, u.full_name, m.role_name,
           s.last_seen_at < clock_timestamp() - make_interval(secs => $3)
      from batchcortex.session s
      join batchcortex.user_account u on u.user_id = s.user_id
      join batchcortex.membership m on m.org_id = s.org_id and m.user_id = s.user_id
     where s.token_sha256 = $1
       and s.revoked_at is null
       and s.expires_at > clock_timestamp()
       and s.last_seen_at > clock_timestamp() - make_interval(mins => coalesce(s.idle_minutes, $2))
       and u.state = 'active'
       and m.ended_at is null";

// A request does not wait for another request's transaction to note that the session is in use.
const SEEN_SQL: &str = "
    update batchcortex.session set last_seen_at = clock_timestamp()
     where (org_id, session_id) in (select org_id, session_id from batchcortex.session
                                     where org_id = $1 and session_id = $2 for update skip locked)";

struct Found {
    org_id: Uuid,
    session_id: Uuid,
    user_id: Uuid,
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
            let from = Identity {
                client_ip: pgrx::fcinfo::pg_getarg::<pgrx::Inet>(fcinfo, 1)
                    .map(|ip| ip.0)
                    .unwrap_or_default(),
                user_agent: text(2).unwrap_or_default().to_owned(),
                request_id: text(3).unwrap_or_default().to_owned(),
                ..Identity::default()
            };
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
        .and_then(|digest| unscoped(|| find(&digest)))
        .ok_or_else(|| Refusal::new(error::UNAUTHENTICATED, "not authenticated"))?;
    rate_limit::spend(Budget::General, found.user_id.as_bytes()).map_err(|exceeded| {
        Refusal::new(error::RATE_LIMITED, "too many requests").detail(exceeded.wait_seconds.to_string())
    })?;
    let identity = Identity {
        org_id: *found.org_id.as_bytes(),
        kind: "user".into(),
        id: Some(*found.user_id.as_bytes()),
        name: found.full_name,
        role: found.role_name,
        session_id: Some(*found.session_id.as_bytes()),
        ..from
    };
    binding::bind(&identity);
    // SAFETY: a plain global of the process.
    if found.stale && unsafe { !pg_sys::XactReadOnly } {
        unscoped(|| {
            Spi::run_with_args(SEEN_SQL, &[found.org_id.into(), found.session_id.into()]).unwrap_or_report()
        });
    }
    Ok(identity)
}

/// The row (user_id, org_id, role_name, full_name).
unsafe fn answer(fcinfo: pg_sys::FunctionCallInfo, identity: &Identity) -> pg_sys::Datum {
    // SAFETY: the declaration has four OUT columns of these types; the tuple is palloc'ed and outlives the call.
    unsafe {
        let mut desc = std::ptr::null_mut();
        pg_sys::get_call_result_type(fcinfo, std::ptr::null_mut(), &raw mut desc);
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

fn find(digest: &[u8; 32]) -> Option<Found> {
    Spi::connect_mut(|client| {
        FIND.with(|plan| {
            let plan = plan.get_or_init(|| {
                let types = [
                    PgBuiltInOids::BYTEAOID,
                    PgBuiltInOids::INT4OID,
                    PgBuiltInOids::INT4OID,
                ]
                .map(PgOid::from);
                client.prepare_mut(FIND_SQL, &types).unwrap_or_report().keep()
            });
            let arguments = [
                digest.to_vec().into(),
                SESSION_IDLE.get().into(),
                LAST_SEEN_SECONDS.into(),
            ];
            let rows = client.update(plan, Some(1), &arguments).unwrap_or_report();
            if rows.is_empty() {
                return None;
            }
            let row = rows.first();
            Some(Found {
                org_id: row.get(1).unwrap_or_report()?,
                session_id: row.get(2).unwrap_or_report()?,
                user_id: row.get(3).unwrap_or_report()?,
                full_name: row.get(4).unwrap_or_report()?,
                role_name: row.get(5).unwrap_or_report()?,
                stale: row.get(6).unwrap_or_report()?,
            })
        })
    })
}
