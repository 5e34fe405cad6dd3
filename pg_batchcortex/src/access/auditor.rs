//! What a database login may read: the organisations that a DBA has granted to it, for as long as the grant holds.

use crate::identity::unscoped::unscoped;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

// The login is known by name and oid: a role that is dropped and made again under its name is another one.
const GRANTED: &str = "
    select distinct org_id from batchcortex.auditor_grant
     where role_name = session_user and role_oid = $1 and revoked_at is null and expires_at > clock_timestamp()";

/// Organisations that the login of this session may read now. It is the session's user that counts, not the current one: SET ROLE
/// and functions that run as another role change nothing.
#[pg_extern(stable, parallel_restricted)]
#[search_path(pg_catalog, pg_temp)]
pub fn auditor_organisations() -> Vec<Uuid> {
    // SAFETY: a plain global of the backend.
    let login = unsafe { pg_sys::GetSessionUserId() };
    unscoped(|| {
        Spi::connect(|client| {
            client
                .select(GRANTED, None, &[login.into()])
                .unwrap_or_report()
                .filter_map(|row| row.get::<Uuid>(1).unwrap_or_report())
                .collect()
        })
    })
}
