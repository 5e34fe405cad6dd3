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
            let name = root_name((*(*data).tg_relation).rd_id);
            let what = match (*data).tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
                pg_sys::TRIGGER_EVENT_UPDATE => "UPDATE",
                pg_sys::TRIGGER_EVENT_DELETE => "DELETE",
                _ => "TRUNCATE",
            };
            Err(Refusal::new(
                error::APPEND_ONLY,
                format!("{what} refused: {name} is append-only"),
            )
            .hint("A correction is a new record."))
        })
    }
}

/// Qualified name of a table, of the partitioned table when it is a partition.
unsafe fn root_name(relation: pg_sys::Oid) -> String {
    // SAFETY: catalog look-ups of an open relation; names are NUL-terminated or null.
    unsafe {
        let root = pgrx::direct_function_call_as_datum(
            pg_sys::pg_partition_root,
            &[Some(pg_sys::Datum::from(relation))],
        );
        let root = root.map_or(relation, |root| pg_sys::Oid::from(root.value() as u32));
        let text = |name: *mut std::ffi::c_char| {
            if name.is_null() {
                "?".into()
            } else {
                CStr::from_ptr(name).to_string_lossy()
            }
        };
        let schema = text(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(root)));
        format!("{schema}.{}", text(pg_sys::get_rel_name(root)))
    }
}

crate::function_info!(pg_finfo_refuse_change);
