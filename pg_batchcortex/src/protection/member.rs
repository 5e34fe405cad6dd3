//! ALTER EXTENSION … ADD and DROP: what belongs to an extension is in no dump.

use super::guard;
use super::mark;
use super::refuse::guarded;
use crate::error::Refusal;
use pgrx::pg_sys;
use std::ffi::CStr;

/// Refuses to give anything that records rest on to an extension, and to alter what belongs to this one.
///
/// # Safety
/// `statement` must be a parse tree.
pub unsafe fn check(statement: &pg_sys::AlterExtensionContentsStmt) -> Result<bool, Refusal> {
    // SAFETY: the statement is the parser's; a relation that is opened is closed again, its lock kept.
    unsafe {
        if guard::own_script() {
            return Ok(false);
        }
        if CStr::from_ptr(statement.extname) == c"pg_batchcortex" {
            return Err(refusal());
        }
        let mut relation: pg_sys::Relation = std::ptr::null_mut();
        let address = pg_sys::get_object_address(
            statement.objtype,
            statement.object,
            &raw mut relation,
            pg_sys::AccessShareLock as i32,
            false,
        );
        if !relation.is_null() {
            pg_sys::relation_close(relation, pg_sys::NoLock as i32);
        }
        if rests_on(&address) {
            return Err(refusal());
        }
        Ok(false)
    }
}

fn refusal() -> Refusal {
    guarded("ALTER EXTENSION refused: the records of this database rest on it".to_owned())
}

/// Whether an object is guarded, or stands in a schema of the project, or is a schema that holds a guarded table.
unsafe fn rests_on(address: &pg_sys::ObjectAddress) -> bool {
    let object = address.objectId;
    if address.classId == pg_sys::RelationRelationId && mark::of(object).is_some() {
        return true;
    }
    if address.classId == pg_sys::NamespaceRelationId {
        return mark::is_own_schema(object)
            || super::catalog::relations(object).any(|table| mark::of(table).is_some());
    }
    // SAFETY: a look-up of an object that exists.
    mark::is_own_schema(unsafe { pg_sys::get_object_namespace(address) })
}
