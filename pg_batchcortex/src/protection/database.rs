//! Databases that keep records are not dropped, renamed or closed to their sealer, from whichever database of the server: a copy made
//! earlier could be put in their place.

use super::break_glass;
use super::plan::elements;
use super::refuse::guarded;
use crate::error::Refusal;
use crate::ledger::worker;
use pgrx::pg_sys;
use std::ffi::CStr;

/// Refuses to drop or alter a database that keeps records.
pub fn refuse(what: &str, database: pg_sys::Oid) -> Result<(), Refusal> {
    if opened() || !worker::keeps_records(database.to_u32()) {
        return Ok(());
    }
    Err(guarded(format!("{what} DATABASE refused: it keeps records")))
}

/// Whether rows of a catalog that all databases share may not be written by hand, though this database has no records.
pub fn shares(catalog: pg_sys::Oid) -> bool {
    // SAFETY: compares numbers.
    let shared = unsafe { pg_sys::IsSharedRelation(catalog) };
    shared && !opened() && worker::any_keeps_records()
}

/// Behind broken glass, once every log tells of it: the database that the statement runs in may have none.
fn opened() -> bool {
    break_glass::reason().is_some() && worker::glass_recorded_everywhere()
}

/// Whether a statement is of a kind that [`check`] looks at, in every database.
///
/// # Safety
/// `statement` must be a parse tree.
pub unsafe fn concerns(statement: *mut pg_sys::Node) -> bool {
    use pg_sys::NodeTag as Tag;
    // SAFETY: as the caller promises.
    match unsafe { (*statement).type_ } {
        #[cfg(not(any(feature = "pg13", feature = "pg14")))]
        Tag::T_AlterDatabaseRefreshCollStmt => true,
        tag => matches!(tag, Tag::T_AlterDatabaseStmt | Tag::T_RenameStmt),
    }
}

/// Refuses to rename a database that keeps records, before PostgreSQL waits for whoever is connected to it; otherwise whether the statement
/// alters a database in a way that keeps it where and what it is.
///
/// # Safety
/// `statement` must be a parse tree that [`concerns`] has let through.
pub unsafe fn check(statement: *mut pg_sys::Node) -> Result<bool, Refusal> {
    use pg_sys::NodeTag as Tag;
    // SAFETY: the tag tells the type; options have names.
    unsafe {
        match (*statement).type_ {
            Tag::T_AlterDatabaseStmt => {
                let options = (*statement.cast::<pg_sys::AlterDatabaseStmt>()).options;
                Ok(elements(options).all(|option: *mut pg_sys::DefElem| {
                    [c"connection_limit", c"tablespace"].contains(&CStr::from_ptr((*option).defname))
                }))
            }
            Tag::T_RenameStmt => {
                let rename = &*statement.cast::<pg_sys::RenameStmt>();
                if rename.renameType == pg_sys::ObjectType::OBJECT_DATABASE {
                    let database = pg_sys::get_database_oid(rename.subname, true);
                    if database != pg_sys::InvalidOid {
                        refuse("ALTER", database)?;
                    }
                }
                Ok(false)
            }
            _ => Ok(true),
        }
    }
}
