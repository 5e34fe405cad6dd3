//! The sealer's own settings. It runs with the rights of a superuser, for everyone: what the owner of a database has set for it (ALTER DATABASE …
//! SET), or somebody for a role, must decide neither as whom it works nor which functions it calls, nor whether it goes on.

use pgrx::bgworkers::BackgroundWorker;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

/// Of no use to a sealer, or with a default that is found out at the start; a transaction takes the last three from other settings.
const LEFT_ALONE: &str = "'client_encoding', 'max_stack_depth', 'transaction_isolation', 'transaction_read_only', 'transaction_deferrable'";

/// At the start of a sealer, before it runs any query.
pub fn use_them() {
    BackgroundWorker::transaction(|| {
        // SAFETY: the superuser that the server was made with; the name is copied.
        let name =
            unsafe { CStr::from_ptr(pg_sys::GetUserNameFromId(pg_sys::GetAuthenticatedUserId(), false)) };
        set(c"session_authorization", name);
    });
    // These are decided by nobody, the configuration file included.
    for (name, value) in [
        (c"role", c"none"),
        (c"search_path", c"pg_catalog, pg_temp"),
        (c"default_transaction_read_only", c"off"),
        (c"default_transaction_isolation", c"read committed"),
        (c"synchronous_commit", c"on"),
        (c"statement_timeout", c"0"),
        (c"lock_timeout", c"0"),
        (c"idle_in_transaction_session_timeout", c"0"),
        (c"session_replication_role", c"origin"),
        (c"row_security", c"on"),
        (c"default_tablespace", c""),
        (c"default_table_access_method", c"heap"),
        (c"jit", c"off"),
        // Of a library that is loaded later.
        (c"plpgsql.extra_errors", c"none"),
        (c"plpgsql.extra_warnings", c"none"),
        (c"plpgsql.variable_conflict", c"error"),
    ] {
        set(name, value);
    }
    BackgroundWorker::transaction(forget_what_is_set_here);
}

/// Whatever else is set for this database or a role is what it would be without.
fn forget_what_is_set_here() {
    let query = format!(
        "select s.name, coalesce(s.boot_val, '') from pg_catalog.pg_settings s
          where s.source in ('global', 'database', 'user', 'database user') and s.context in ('user', 'superuser') and s.name not in ({LEFT_ALONE})"
    );
    let settings: Vec<(String, String)> = Spi::connect(|client| {
        let rows = client.select(&query, None, &[]).unwrap_or_report();
        rows.filter_map(|row| row.get(1).unwrap_or_report().zip(row.get(2).unwrap_or_report()))
            .collect()
    });
    for (name, value) in settings {
        if let (Ok(name), Ok(value)) = (CString::new(name), CString::new(value)) {
            set(&name, &value);
        }
    }
}

/// Over whatever a database, a role, or the configuration file says, now or later.
fn set(name: &CStr, value: &CStr) {
    // SAFETY: both strings are NUL-terminated and copied by the callee.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
            pg_sys::GucAction::GUC_ACTION_SET,
            true,
            // A setting that this PostgreSQL does not take must not end the sealer.
            pgrx::PgLogLevel::WARNING as i32,
            false,
        );
    }
}
