//! From a credential to the identity of a transaction.

use super::api_key;
use super::binding::{self, Identity};
use super::credential::{self, Kind};
use super::unscoped::unscoped;
use crate::error;
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

/// Binds the person behind a session token, or the API key, to this transaction. sqlstate is set, and everything else
/// null, when the credential is not that of a live session or key.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
pub fn authenticate_request(
    credential: Option<&str>,
    client_ip: Option<pgrx::Inet>,
    user_agent: Option<&str>,
    request_id: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(user_id, Option<Uuid>),
        name!(org_id, Option<Uuid>),
        name!(role_name, Option<String>),
        name!(full_name, Option<String>),
        name!(sqlstate, Option<String>),
    ),
> {
    let from = Identity {
        client_ip: client_ip.map(|ip| ip.0).unwrap_or_default(),
        user_agent: user_agent.unwrap_or_default().to_owned(),
        request_id: request_id.unwrap_or_default().to_owned(),
        ..Identity::default()
    };
    if let Some(digest) = credential.and_then(|text| credential::digest(Kind::ApiKey, text)) {
        return TableIterator::once(match api_key::authenticate(&digest, from) {
            Some(key) => (
                None,
                Some(Uuid::from_bytes(key.org_id)),
                Some(key.role),
                Some(key.name),
                None,
            ),
            None => (None, None, None, None, Some(error::UNAUTHENTICATED.to_owned())),
        });
    }
    let found = credential
        .and_then(|text| credential::digest(Kind::Session, text))
        .and_then(|digest| unscoped(|| find(&digest)));
    let Some(found) = found else {
        return TableIterator::once((None, None, None, None, Some(error::UNAUTHENTICATED.to_owned())));
    };
    binding::bind(&Identity {
        org_id: *found.org_id.as_bytes(),
        kind: "user".into(),
        id: Some(*found.user_id.as_bytes()),
        name: found.full_name.clone(),
        role: found.role_name.clone(),
        session_id: Some(*found.session_id.as_bytes()),
        ..from
    });
    // SAFETY: a plain global of the process.
    if found.stale && unsafe { !pg_sys::XactReadOnly } {
        Spi::run_with_args(SEEN_SQL, &[found.org_id.into(), found.session_id.into()]).unwrap_or_report();
    }
    TableIterator::once((
        Some(found.user_id),
        Some(found.org_id),
        Some(found.role_name),
        Some(found.full_name),
        None,
    ))
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
