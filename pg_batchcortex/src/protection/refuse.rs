//! Trigger functions that refuse: every change of what was written, and every writer but the sealer.

use super::mark::{self, Mark};
use crate::capture::register;
use crate::error::{self, Refusal};
use crate::ledger::worker;
use pgrx::pg_sys;
use std::ffi::CStr;

/// BEFORE UPDATE, DELETE (row) and TRUNCATE (statement): refuses, always.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn refuse_change(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by PostgreSQL; fired() checks that it is as a trigger.
    unsafe {
        error::raising(|| {
            let (what, relation) = fired(fcinfo, "refuse_change")?;
            Err(change(Mark::Protected, what, relation))
        })
    }
}

/// BEFORE INSERT, UPDATE, DELETE (row) and TRUNCATE (statement): refuses everyone but the sealer.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn refuse_writers(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: as above.
    unsafe {
        error::raising(|| {
            let (what, relation) = fired(fcinfo, "refuse_writers")?;
            if !may_write(relation) {
                return Err(change(Mark::Ledger, what, relation));
            }
            // The row goes on as it came.
            let data = (*fcinfo).context.cast::<pg_sys::TriggerData>();
            Ok(pg_sys::Datum::from(match what {
                "UPDATE" => (*data).tg_newtuple,
                _ => (*data).tg_trigtuple,
            }))
        })
    }
}

/// Whether this process writes a table that only one part of the project writes: the sealer, or the register of tracked tables.
pub fn may_write(relation: pg_sys::Oid) -> bool {
    worker::is_sealer() || register::is_open() && is_register(relation)
}

fn is_register(relation: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up with a NUL-terminated name.
    relation == unsafe { pg_sys::get_relname_relid(c"tracked_table".as_ptr(), mark::schema()) }
}

/// The kind of change and the table of a trigger that fired.
unsafe fn fired(
    fcinfo: pg_sys::FunctionCallInfo,
    name: &str,
) -> Result<(&'static str, pg_sys::Oid), Refusal> {
    // SAFETY: context is null or a node; trigger data name an open relation.
    unsafe {
        let data = (*fcinfo).context.cast::<pg_sys::TriggerData>();
        if data.is_null() || (*data).type_ != pg_sys::NodeTag::T_TriggerData {
            return Err(Refusal::new("39P01", format!("{name} is a trigger function")));
        }
        let what = match (*data).tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_INSERT => "INSERT",
            pg_sys::TRIGGER_EVENT_UPDATE => "UPDATE",
            pg_sys::TRIGGER_EVENT_DELETE => "DELETE",
            _ => "TRUNCATE",
        };
        Ok((what, (*(*data).tg_relation).rd_id))
    }
}

/// The refusal of a change of rows.
pub fn change(mark: Mark, what: &str, relation: pg_sys::Oid) -> Refusal {
    // SAFETY: catalog look-ups.
    let name = unsafe { root_name(relation) };
    match mark {
        Mark::Ledger if is_register(relation) => Refusal::new(
            error::APPEND_ONLY,
            format!("{what} refused: batchcortex.track() and untrack() write {name}"),
        ),
        Mark::Ledger => Refusal::new(
            error::APPEND_ONLY,
            format!("{what} refused: only the sealer writes {name}"),
        ),
        _ => Refusal::new(
            error::APPEND_ONLY,
            format!("{what} refused: {name} is append-only"),
        )
        .hint("A correction is a new record."),
    }
}

/// The refusal of a change of what guards a table.
pub fn structure(what: &str, relation: pg_sys::Oid) -> Refusal {
    // SAFETY: catalog look-ups.
    let name = unsafe { root_name(relation) };
    guarded(format!("{what} refused: {name} is guarded"))
}

/// A refusal of the guard.
pub fn guarded(message: String) -> Refusal {
    Refusal::new(error::APPEND_ONLY, message)
        .hint("Only a server started with batchcortex.break_glass lets this pass, and every organisation's log says so.")
}

/// Qualified name of a table, of the partitioned table when it is a partition.
unsafe fn root_name(relation: pg_sys::Oid) -> String {
    // SAFETY: catalog look-ups of an open relation; names are NUL-terminated or null.
    unsafe {
        let root = if pg_sys::get_rel_relispartition(relation) {
            pgrx::direct_function_call_as_datum(
                pg_sys::pg_partition_root,
                &[Some(pg_sys::Datum::from(relation))],
            )
        } else {
            None
        };
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
crate::function_info!(pg_finfo_refuse_writers);
