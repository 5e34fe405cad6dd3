//! Who acts, by name, for records that say who granted something.

use crate::identity::binding;
use pgrx::prelude::*;
use std::ffi::CStr;

/// Full name of the person bound to this transaction, or name of the key or device; without an identity the database login.
#[pg_extern(stable, parallel_safe)]
pub fn current_actor_name() -> String {
    if let Some(bound) = binding::bound() {
        return bound.name().to_owned();
    }
    // SAFETY: the session's user exists; GetUserNameFromId gives a palloc'ed NUL-terminated name.
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::GetSessionUserId(), false);
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}
