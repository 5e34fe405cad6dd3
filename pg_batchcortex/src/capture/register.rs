//! The register of tracked tables. It is written here alone, together with the event that tells of it, so that no table is ever
//! untracked without a trace: not by a row removed from the register, and not by a trigger dropped.

use crate::ledger::verify::tracked;
use crate::protection::{alteration, guard};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::CString;

/// The triggers of a tracked table.
const TRIGGERS: [&str; 4] = [
    "0_batchcortex_row",
    "0_batchcortex_begin",
    "0_batchcortex_end",
    "0_batchcortex_truncate",
];

thread_local!(static WRITING: Cell<bool> = const { Cell::new(false) });

/// Whether the register may be written now.
pub fn is_open() -> bool {
    WRITING.get()
}

struct Open;

impl Open {
    fn enter() -> Self {
        WRITING.set(true);
        Open
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        WRITING.set(false);
    }
}

/// Behind track(): registers a table and records it.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn begin_tracking(
    target: pg_sys::Oid,
    org_column: Option<&str>,
    require_reason: bool,
    leave_out: Vec<String>,
    mask: Vec<String>,
) {
    let query = "
        with registered as (
            insert into batchcortex.tracked_table (relation, org_column, require_reason, left_out, masked)
                values ($1, $2::name, $3, $4::name[], $5::name[]) returning *)
        select json_build_object('org_column', org_column, 'require_reason', require_reason, 'left_out', left_out, 'masked', masked)::text
          from registered";
    let told = {
        let _open = Open::enter();
        Spi::get_one_with_args::<String>(
            query,
            &[
                target.into(),
                org_column.into(),
                require_reason.into(),
                leave_out.into(),
                mask.into(),
            ],
        )
    };
    tell("table.tracked", target, None, None, told.unwrap_or_report());
}

/// Behind untrack(): removes a table from the register, records it with the reason, and drops its triggers. False when it was not tracked.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn end_tracking(target: pg_sys::Oid, reason: Option<&str>) -> bool {
    let query = "
        with gone as (delete from batchcortex.tracked_table where relation::oid = $1 returning *)
        select (select json_build_object('org_column', org_column, 'require_reason', require_reason, 'left_out', left_out, 'masked', masked)::text from gone)";
    let was = {
        let _open = Open::enter();
        Spi::get_one_with_args::<String>(query, &[target.into()])
    };
    // Where the register was written behind the guard's back the log still tells that the table is tracked: that ends here, too.
    let was = was.unwrap_or_report();
    if was.is_none() && !tracked::is_told(&alteration::name(target)) {
        return false;
    }
    tell("table.untracked", target, reason, was, None);
    drop_triggers(target);
    true
}

/// Behind track(): drops triggers that a restored table has brought along without being registered.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn drop_unregistered_capture(target: pg_sys::Oid) {
    let registered = Spi::get_one_with_args::<bool>(
        "select exists (select from batchcortex.tracked_table t where t.relation::oid = $1)",
        &[target.into()],
    );
    if registered.unwrap_or_report() == Some(true) {
        error!("the table is tracked: batchcortex.untrack() ends that");
    }
    if tracked::is_told(&alteration::name(target)) {
        error!(
            "the log tells that the table is tracked, and it is not registered: batchcortex.untrack() ends that"
        );
    }
    drop_triggers(target);
}

fn tell(
    action: &str,
    target: pg_sys::Oid,
    reason: Option<&str>,
    before: Option<String>,
    after: Option<String>,
) {
    Spi::run_with_args(
        "select batchcortex.log_event($1, 'table', (select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = $2),
                                      reason => $3, before => $4::json, after => $5::json)",
        &[
            action.into(),
            target.into(),
            reason.into(),
            before.into(),
            after.into(),
        ],
    )
    .unwrap_or_report();
}

fn drop_triggers(target: pg_sys::Oid) {
    let table = Spi::get_one_with_args::<String>("select $1::regclass::text", &[target.into()])
        .unwrap_or_report()
        .unwrap_or_default();
    for name in TRIGGERS {
        let text = CString::new(name).unwrap_or_default();
        // SAFETY: a catalog look-up with a NUL-terminated name.
        if unsafe { pg_sys::get_trigger_oid(target, text.as_ptr(), true) } != pg_sys::InvalidOid {
            guard::while_untracking(target, || {
                Spi::run(&format!("drop trigger \"{name}\" on {table}"))
            })
            .unwrap_or_report();
        }
    }
}
