//! Keys of programs: opaque, hashed, confined to scopes.

use super::binding::{self, Identity};
use super::credential::{self, Kind};
use super::request::{LAST_SEEN_SECONDS, SECOND};
use super::unique_row::{Key, UniqueIndex};
use super::unscoped::unscoped;
use crate::access::rate_limit::{self, Budget};
use crate::error::{self, Refusal};
use crate::row::bytes_datum;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use std::cell::Cell;

thread_local! {
    static API_KEY: UniqueIndex<1, 8> = const { UniqueIndex {
        table: c"api_key",
        index: c"api_key_token",
        keys: [(c"token_sha256", Key::Bytea)],
        columns: [c"org_id", c"key_id", c"name", c"role_name", c"scopes", c"revoked_at", c"expires_at", c"last_used_at"],
        known: Cell::new(None),
    } };
}

// Types and schema are said, so that nothing depends on the caller's search_path; the function pins its own.
const USED_SQL: &str = "select batchcortex.note_key_used($1::pg_catalog.uuid, $2::pg_catalog.uuid)";

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
    let (key, stale) =
        find(digest, from).ok_or_else(|| Refusal::new(error::UNAUTHENTICATED, "not authenticated"))?;
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

/// The key, unless it is revoked or expired, and whether its last use is to be noted.
fn find(digest: &[u8; 32], from: Identity) -> Option<(Identity, bool)> {
    // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    API_KEY.with(|api_key| {
        api_key.find([bytes_datum(digest)], |row| {
            if !row.is_null(5) || row.time(6)? <= now {
                return None;
            }
            // SAFETY: a column of type text[].
            let scopes = unsafe { Vec::<String>::from_datum(row.datum(4)?, false) }?;
            let key = Identity {
                org_id: row.uuid(0)?,
                kind: "api_key".into(),
                id: Some(row.uuid(1)?),
                name: row.text(2)?,
                role: row.text(3)?,
                scopes: scopes.join(","),
                ..from
            };
            let stale = row
                .time(7)
                .is_none_or(|used| used < now - LAST_SEEN_SECONDS * SECOND);
            Some((key, stale))
        })
    })
}
