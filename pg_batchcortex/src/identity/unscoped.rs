//! Look-ups that come before an organisation is known: a credential must be found to know whose it is.

use pgrx::pg_sys;

/// Runs `body` as `batchcortex_owner` without forced row-level security, as PostgreSQL runs its own foreign-key
/// checks. The functions that call this are the only ones that see across organisations; each looks up by a secret's
/// hash or by a user name, and none takes SQL from its caller. An error restores the caller through the transaction.
pub fn unscoped<T>(body: impl FnOnce() -> T) -> T {
    const SCOPE: u32 = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS;
    let mut user = pg_sys::InvalidOid;
    let mut context = 0;
    // SAFETY: reads and sets the user of this backend; the pair is restored below or by transaction abort.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut context);
        let owner = pg_sys::get_role_oid(c"batchcortex_owner".as_ptr(), false);
        pg_sys::SetUserIdAndSecContext(owner, context | SCOPE as i32);
    }
    let result = body();
    // SAFETY: as above.
    unsafe { pg_sys::SetUserIdAndSecContext(user, context) };
    result
}
