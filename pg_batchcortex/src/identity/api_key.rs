//! Keys of programs: opaque, hashed, confined to scopes.

use super::binding::{self, Identity};
use super::credential::{self, Kind};
use super::request::LAST_SEEN_SECONDS;
use super::unscoped::unscoped;
use crate::access::rate_limit::{self, Budget};
use crate::error::{self, Refusal};
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use pgrx::spi::OwnedPreparedStatement;
use std::cell::OnceCell;

thread_local! {
    static FIND: OnceCell<OwnedPreparedStatement> = const { OnceCell::new() };
}

const FIND_SQL: &str = "
    select k.org_id, k.key_id, k.name, k.role_name, array_to_string(k.scopes, ','),
           coalesce(k.last_used_at < clock_timestamp() - make_interval(secs => $2), true)
      from batchcortex.api_key k
     where k.token_sha256 = $1 and k.revoked_at is null and k.expires_at > clock_timestamp()";

// A request does not wait for another request's transaction to note that the key is in use.
const USED_SQL: &str = "
    update batchcortex.api_key set last_used_at = clock_timestamp()
     where (org_id, key_id) in (select org_id, key_id from batchcortex.api_key
                                 where org_id = $1 and key_id = $2 for update skip locked)";

/// A new API key (bck_…), to be shown once; its SHA-256 is what gets stored.
#[pg_extern(volatile, parallel_unsafe)]
pub fn generate_api_key() -> String {
    credential::generate(Kind::ApiKey).to_string()
}

/// Binds the key to this transaction and gives back who it is.
///
/// # Errors
/// BC401 for a key that is unknown, revoked or expired; BC429 when it has spent its budget of requests.
pub fn authenticate(digest: &[u8; 32], from: Identity) -> Result<Identity, Refusal> {
    let (key, stale) = unscoped(|| find(digest, from))
        .ok_or_else(|| Refusal::new(error::UNAUTHENTICATED, "not authenticated"))?;
    rate_limit::spend(Budget::ApiKey, &key.id.unwrap_or_default()).map_err(|exceeded| {
        Refusal::new(error::RATE_LIMITED, "too many requests").detail(exceeded.wait_seconds.to_string())
    })?;
    binding::bind(&key);
    // SAFETY: a plain global of the process.
    if stale && unsafe { !pg_sys::XactReadOnly } {
        let (org_id, key_id) = (Uuid::from_bytes(key.org_id), key.id.map(Uuid::from_bytes));
        unscoped(|| Spi::run_with_args(USED_SQL, &[org_id.into(), key_id.into()]).unwrap_or_report());
    }
    Ok(key)
}

fn find(digest: &[u8; 32], from: Identity) -> Option<(Identity, bool)> {
    Spi::connect_mut(|client| {
        FIND.with(|plan| {
            let plan = plan.get_or_init(|| {
                let types = [PgBuiltInOids::BYTEAOID, PgBuiltInOids::INT4OID].map(PgOid::from);
                client.prepare_mut(FIND_SQL, &types).unwrap_or_report().keep()
            });
            let arguments = [digest.to_vec().into(), LAST_SEEN_SECONDS.into()];
            let rows = client.update(plan, Some(1), &arguments).unwrap_or_report();
            if rows.is_empty() {
                return None;
            }
            let row = rows.first();
            let id = |i| row.get::<Uuid>(i).unwrap_or_report().map(|id| *id.as_bytes());
            let key = Identity {
                org_id: id(1)?,
                kind: "api_key".into(),
                id: Some(id(2)?),
                name: row.get(3).unwrap_or_report()?,
                role: row.get(4).unwrap_or_report()?,
                scopes: row.get(5).unwrap_or_report()?,
                ..from
            };
            Some((key, row.get(6).unwrap_or_report()?))
        })
    })
}
