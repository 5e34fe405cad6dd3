//! Settings of the server that the library changes: for the rest of a transaction, or for a piece of its own work.

use pgrx::pg_sys;
use std::ffi::CStr;

/// Changes a setting, which a superuser may set, for the rest of the transaction. An error takes it back.
pub fn for_transaction(name: &CStr, value: &CStr) {
    set(name, value, pg_sys::GucAction::GUC_ACTION_LOCAL);
}

/// Changes a setting until the level of settings that has begun ends.
pub fn for_level(name: &CStr, value: &CStr) {
    set(name, value, pg_sys::GucAction::GUC_ACTION_SAVE);
}

/// Runs `body` under these settings. An error takes them back with its transaction or savepoint.
pub fn during<R>(settings: &[(&CStr, &CStr)], body: impl FnOnce() -> R) -> R {
    // SAFETY: the level that begins here is the one that ends.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    for (name, value) in settings {
        for_level(name, value);
    }
    let result = body();
    // SAFETY: as above.
    unsafe { pg_sys::AtEOXact_GUC(true, level) };
    result
}

fn set(name: &CStr, value: &CStr, action: pg_sys::GucAction::Type) {
    // SAFETY: both strings are NUL-terminated and copied by the callee.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_SESSION,
            action,
            true,
            pgrx::PgLogLevel::ERROR as i32,
            false,
        );
    }
}
