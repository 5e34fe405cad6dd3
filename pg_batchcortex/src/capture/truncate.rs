//! TRUNCATE: no row trigger fires, so the rows are read and recorded before they go.
//!
//! A trigger does it on the table that is tracked. Triggers for TRUNCATE do not reach partitions, and a partition may come later;
//! for those a hook does it, which the preloaded library installs in every session.

use super::batch;
use super::plan::{self, Plan};
use super::reason;
use super::trigger::{self, Change};
use crate::error::{self, Refusal};
use crate::event::bulk::Draft;
use pgrx::{pg_guard, pg_sys};
use std::cell::Cell;
use std::ffi::{CStr, c_void};

static mut NEXT: pg_sys::object_access_hook_type = None;

/// At library load.
pub fn install() {
    // SAFETY: runs once a process, before anything else does; keeps the hook of a library loaded earlier.
    unsafe {
        NEXT = pg_sys::object_access_hook;
        pg_sys::object_access_hook = Some(object_access);
    }
}

/// Records the rows of a table that is about to be truncated, and its truncation.
///
/// # Safety
/// The relation must be open and locked exclusively.
pub unsafe fn record(plan: &Plan, relation: pg_sys::Relation) -> Result<(), Refusal> {
    let why = reason::current();
    if plan.reason_required && why.is_none() {
        return Err(trigger::reason_missing(plan));
    }
    batch::begin();
    // SAFETY: the lock keeps others out, so that the newest snapshot sees every row that goes; a catalog scan without an index reads
    // any table. The tuple lives until the next one is read.
    unsafe {
        if (*(*relation).rd_rel).relkind == pg_sys::RELKIND_RELATION as std::ffi::c_char {
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
            let scan = pg_sys::systable_beginscan(
                relation,
                pg_sys::InvalidOid,
                false,
                snapshot,
                0,
                std::ptr::null_mut(),
            );
            let mut context = pgrx::PgMemoryContexts::new("truncated rows");
            loop {
                let tuple = pg_sys::systable_getnext(scan);
                if tuple.is_null() {
                    break;
                }
                context.switch_to(|_| trigger::record(plan, relation, Change::Truncated(tuple)))?;
                context.reset();
            }
            pg_sys::systable_endscan(scan);
            pg_sys::UnregisterSnapshot(snapshot);
        }
        let name = plan::qualified_name((*relation).rd_id);
        batch::add(
            None,
            Draft {
                org_id: Default::default(),
                at: pg_sys::GetCurrentTimestamp(),
                action: "table.truncated",
                record_type: &plan.record_type,
                record_id: name.as_bytes(),
                before: None,
                after: None,
                reason: why,
            },
        )?;
    }
    batch::end()
}

#[pg_guard]
unsafe extern "C-unwind" fn object_access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    part: i32,
    argument: *mut c_void,
) {
    // SAFETY: the arguments are passed on as they came.
    unsafe {
        if let Some(next) = NEXT {
            pg_sys::ffi::pg_guard_ffi_boundary(|| next(access, class, object, part, argument));
        }
        if access == pg_sys::ObjectAccessType::OAT_TRUNCATE && class == pg_sys::RelationRelationId {
            error::raising(|| partition(object).map(|()| pg_sys::Datum::from(0usize)));
        }
    }
}

thread_local!(static LAST: Cell<(u64, u32, u32)> = const { Cell::new((0, 0, 0)) });

/// A table that captures rows but has no trigger for TRUNCATE.
unsafe fn partition(id: pg_sys::Oid) -> Result<(), Refusal> {
    // SAFETY: relations are opened under a lock of their own and closed; trigger descriptions live while they are open.
    unsafe {
        if !captured(id, pg_sys::AccessShareLock) {
            return Ok(());
        }
        // PostgreSQL asks before it looks at privileges and before it locks the table that is named: who may not truncate is
        // refused by it, and locks nothing here.
        let user = pg_sys::GetUserId();
        if pg_sys::pg_class_aclcheck(id, user, pg_sys::ACL_TRUNCATE as pg_sys::AclMode)
            != pg_sys::AclResult::ACLCHECK_OK
        {
            return Ok(());
        }
        pg_sys::LockRelationOid(id, pg_sys::AccessExclusiveLock as i32);
        let relation = pg_sys::try_relation_open(id, pg_sys::NoLock as i32);
        if relation.is_null() {
            return Ok(());
        }
        // It may ask twice for one table.
        let now = (
            u64::from(pg_sys::GetCurrentTransactionId().into_inner()),
            pg_sys::GetCurrentCommandId(false),
            id.to_u32(),
        );
        let row = row_trigger(relation);
        if LAST.replace(now) != now
            && let Some(row) = row
        {
            record(&*Plan::of(relation, row)?, relation)?;
        }
        pg_sys::relation_close(relation, pg_sys::NoLock as i32);
        Ok(())
    }
}

unsafe fn captured(id: pg_sys::Oid, lock: u32) -> bool {
    // SAFETY: as above.
    unsafe {
        let relation = pg_sys::try_relation_open(id, lock as i32);
        if relation.is_null() {
            return false;
        }
        let captured = row_trigger(relation).is_some();
        pg_sys::relation_close(relation, lock as i32);
        captured
    }
}

/// The capture trigger of a table without a trigger for TRUNCATE.
unsafe fn row_trigger(relation: pg_sys::Relation) -> Option<*const pg_sys::Trigger> {
    // SAFETY: the trigger description is null or holds numtriggers triggers with NUL-terminated names.
    unsafe {
        let triggers = (*relation).trigdesc;
        if triggers.is_null() {
            return None;
        }
        let all = std::slice::from_raw_parts((*triggers).triggers, (*triggers).numtriggers as usize);
        let named = |name: &CStr| all.iter().find(|t| CStr::from_ptr(t.tgname) == name);
        if named(plan::TRUNCATE_TRIGGER).is_some() {
            return None;
        }
        named(plan::ROW_TRIGGER).map(std::ptr::from_ref)
    }
}
