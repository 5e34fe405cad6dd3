//! Who logged in. Two people are told apart by what the server authenticated: SET ROLE and SET SESSION AUTHORIZATION change what the
//! session calls itself, not who opened it.

use pgrx::prelude::*;

/// Oid of the login that the server authenticated when this session began; null in a process of the server.
#[pg_extern(stable, parallel_restricted)]
#[search_path(pg_catalog, pg_temp)]
pub fn login_oid() -> Option<i64> {
    // SAFETY: reads globals of the backend; the port is null in processes of the server.
    unsafe { (!pg_sys::MyProcPort.is_null()).then(|| i64::from(pg_sys::GetAuthenticatedUserId().to_u32())) }
}
