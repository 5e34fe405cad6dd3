//! Append-only, layer two: the trigger function that refuses every change of what was written.

use crate::error::{self, Refusal};
use pgrx::pg_sys;
use std::ffi::CStr;

/// BEFORE UPDATE, DELETE (row) and TRUNCATE (statement): refuses, always.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn refuse_change(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: PostgreSQL calls a trigger function with trigger data in its context.
    unsafe {
        error::raising(|| {
            let data = (*fcinfo).context.cast::<pg_sys::TriggerData>();
            if data.is_null() {
                return Err(Refusal::new("39P01", "refuse_change is a trigger function"));
            }
            let relation = (*data).tg_relation;
            let name = CStr::from_ptr((*(*relation).rd_rel).relname.data.as_ptr()).to_string_lossy();
            let schema = pg_sys::get_namespace_name((*(*relation).rd_rel).relnamespace);
            let schema = if schema.is_null() {
                "?".into()
            } else {
                CStr::from_ptr(schema).to_string_lossy()
            };
            let what = match (*data).tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
                pg_sys::TRIGGER_EVENT_UPDATE => "UPDATE",
                pg_sys::TRIGGER_EVENT_DELETE => "DELETE",
                _ => "TRUNCATE",
            };
            Err(Refusal::new(
                error::APPEND_ONLY,
                format!("{what} refused: {schema}.{name} is append-only"),
            )
            .hint("A correction is a new record."))
        })
    }
}

crate::function_info!(pg_finfo_refuse_change);
