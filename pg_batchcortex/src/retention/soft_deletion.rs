//! Soft deletion: rows leave a table by a tombstone with a reason, never by DELETE.

use crate::error::{self, Refusal};
use crate::protection::mark;
use pgrx::pg_sys;
use std::ffi::CStr;

/// BEFORE DELETE (row) and TRUNCATE (statement): refuses, always. For each row, because what reaches the table through a parent, by a cascade
/// or by logical replication fires no statement trigger of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn refuse_delete(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: context is null or a node; trigger data name an open relation, whose name is NUL-terminated.
    unsafe {
        error::raising(|| {
            let data = (*fcinfo).context.cast::<pg_sys::TriggerData>();
            if data.is_null() || (*data).type_ != pg_sys::NodeTag::T_TriggerData {
                return Err(Refusal::new("39P01", "refuse_delete is a trigger function"));
            }
            let delete = (*data).tg_event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_DELETE;
            let form = &*(*(*data).tg_relation).rd_rel;
            let what = if delete { "DELETE" } else { "TRUNCATE" };
            let name = CStr::from_ptr(form.relname.data.as_ptr()).to_string_lossy();
            if form.relnamespace == mark::schema() {
                return Err(Refusal::new(
                    error::APPEND_ONLY,
                    format!("{what} refused: rows of batchcortex.{name} change, and stay"),
                ));
            }
            Err(Refusal::new(
                error::APPEND_ONLY,
                format!("{what} refused: rows of {name} are deleted by a tombstone"),
            )
            .hint("batchcortex.soft_delete(table, key, reason)"))
        })
    }
}

crate::function_info!(pg_finfo_refuse_delete);

pgrx::extension_sql!(
    r"
create function batchcortex.refuse_delete() returns trigger language c as 'MODULE_PATHNAME', 'refuse_delete';
comment on function batchcortex.refuse_delete() is 'BEFORE DELETE (row) or TRUNCATE (statement) trigger of a soft-deletable table, and mark of its view of living rows: refuses with SQLSTATE BC001.';
",
    name = "refuse_delete",
    requires = ["triggers"]
);
