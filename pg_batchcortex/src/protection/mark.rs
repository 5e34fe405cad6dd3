//! What makes a table guarded: its own triggers. They are ordinary objects, so the mark comes along with every dump and restore,
//! and a table is guarded from the moment that its trigger is there.

use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::CStr;

/// How a table is guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// A table of somebody's own whose changes are captured: the triggers that capture stay.
    Tracked,
    /// A table of somebody's own whose rows are not deleted, and the view of those of its rows that live.
    Kept,
    /// A table of the project whose rows may change: its structure and policies may not.
    House,
    /// Written by the sealer alone.
    Ledger,
    /// Rows are inserted and never changed.
    Protected,
}

/// The schema of the project's tables; invalid in a database without the extension.
pub fn schema() -> pg_sys::Oid {
    // SAFETY: a look-up in the catalog cache with a NUL-terminated name.
    unsafe { pg_sys::get_namespace_oid(c"batchcortex".as_ptr(), true) }
}

/// Whether a schema is one of the project's two.
pub fn is_own_schema(namespace: pg_sys::Oid) -> bool {
    namespace != pg_sys::InvalidOid
        && (namespace == schema()
            // SAFETY: as in schema().
            || namespace == unsafe { pg_sys::get_namespace_oid(c"batchcortex_api".as_ptr(), true) })
}

/// How a relation is guarded; none for what is not a table or view, or is not guarded.
pub fn of(relation: pg_sys::Oid) -> Option<Mark> {
    let namespace = schema();
    if namespace == pg_sys::InvalidOid || relation == pg_sys::InvalidOid {
        return None;
    }
    // SAFETY: the relation cache gives null for what does not exist; the entry is released before this returns.
    unsafe {
        let open = pg_sys::RelationIdGetRelation(relation);
        if open.is_null() {
            return None;
        }
        let mark = of_open(open, namespace);
        pg_sys::RelationClose(open);
        mark
    }
}

/// As [`of`], for triggers alone: what plans and TRUNCATE ask.
unsafe fn of_open(relation: pg_sys::Relation, namespace: pg_sys::Oid) -> Option<Mark> {
    // SAFETY: the caller holds the relation open; its trigger descriptor is null or holds numtriggers triggers.
    unsafe {
        let form = &*(*relation).rd_rel;
        if !matches!(form.relkind as u8, b'r' | b'p' | b'v' | b'm') {
            return None;
        }
        let mut mark = (form.relnamespace == namespace && form.relowner == owner()).then_some(Mark::House);
        let triggers = (*relation).trigdesc;
        let count = if triggers.is_null() {
            0
        } else {
            (*triggers).numtriggers as usize
        };
        for i in 0..count {
            mark = mark.max(trigger((*(*triggers).triggers.add(i)).tgfoid, namespace));
        }
        mark
    }
}

/// What a trigger function means for the table that calls it; none for functions that are not the project's.
pub fn trigger(function: pg_sys::Oid, namespace: pg_sys::Oid) -> Option<Mark> {
    // Functions of PostgreSQL itself: the triggers of foreign keys.
    if function.to_u32() < pg_sys::FirstNormalObjectId {
        return None;
    }
    // SAFETY: catalog look-ups; the name is null or NUL-terminated in the current memory context.
    unsafe {
        if pg_sys::get_func_namespace(function) != namespace {
            return None;
        }
        let name = pg_sys::get_func_name(function);
        if name.is_null() {
            return None;
        }
        let mark = match CStr::from_ptr(name).to_bytes() {
            b"refuse_change" => Mark::Protected,
            b"refuse_writers" => Mark::Ledger,
            b"refuse_delete" => Mark::Kept,
            _ => Mark::Tracked,
        };
        pg_sys::pfree(name.cast());
        Some(mark)
    }
}

/// The role batchcortex_owner; invalid when there is none.
pub fn owner() -> pg_sys::Oid {
    // SAFETY: a look-up in the catalog cache with a NUL-terminated name.
    unsafe { pg_sys::get_role_oid(c"batchcortex_owner".as_ptr(), true) }
}

thread_local!(static AUDIT_TRAIL: Cell<(pg_sys::Oid, pg_sys::Oid)> = const { Cell::new((pg_sys::InvalidOid, pg_sys::InvalidOid)) });

/// Whether this database has a schema of the project.
pub fn has_schema() -> bool {
    schema() != pg_sys::InvalidOid
}

/// Whether this database has records to guard: its audit trail is there and marked. A restore reaches that point with the triggers,
/// after the data.
pub fn any() -> bool {
    let namespace = schema();
    if namespace == pg_sys::InvalidOid {
        return false;
    }
    // SAFETY: a look-up in the catalog cache with a NUL-terminated name.
    let relation = unsafe { pg_sys::get_relname_relid(c"events_log".as_ptr(), namespace) };
    let known = AUDIT_TRAIL.get();
    if relation == pg_sys::InvalidOid {
        return false;
    }
    // Marked once, marked for good: no statement that the guard lets pass takes the mark away.
    if known == (namespace, relation) {
        return true;
    }
    let marked = of(relation) == Some(Mark::Protected);
    if marked {
        AUDIT_TRAIL.set((namespace, relation));
    }
    marked
}
