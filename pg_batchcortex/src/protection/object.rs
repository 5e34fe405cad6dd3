//! Objects that are made, altered or dropped: by a statement, by CASCADE, by DROP OWNED, whichever way. Whatever reaches the
//! object access hook has no way around it.

use super::alteration;
use super::catalog;
use super::database;
use super::guard;
use super::library;
use super::mark::{self, Mark};
use super::refuse;
use crate::error::Refusal;
use pgrx::pg_sys;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// Refuses an access that would take a guard away.
///
/// # Safety
/// Arguments must be those of the object access hook.
pub unsafe fn check(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    column: i32,
    argument: *mut std::ffi::c_void,
) -> Result<(), Refusal> {
    use pg_sys::ObjectAccessType as Access;
    // SAFETY: the argument is of the type that belongs to the access, or null.
    unsafe {
        match access {
            Access::OAT_FUNCTION_EXECUTE => executed(object),
            Access::OAT_TRUNCATE => match mark::of(object) {
                Some(mark @ (Mark::Protected | Mark::Ledger)) => {
                    Err(refuse::change(mark, "TRUNCATE", object))
                }
                _ => Ok(()),
            },
            Access::OAT_DROP => {
                let flags = argument
                    .cast::<pg_sys::ObjectAccessDrop>()
                    .as_ref()
                    .map_or(0, |drop| drop.dropflags as u32);
                // What PostgreSQL drops on its own account: the old half of a rewritten table, say.
                if flags & pg_sys::PERFORM_DELETION_INTERNAL != 0 {
                    // A table with triggers of the project is none of these: DISCARD TEMP drops what depends on a temporary type.
                    let table = class == pg_sys::RelationRelationId && column == 0;
                    return match mark::of(object) {
                        Some(mark) if table && mark != Mark::House && mark::any() => {
                            dropped(class, object, column)
                        }
                        _ => Ok(()),
                    };
                }
                if class == pg_sys::DatabaseRelationId {
                    return database::refuse("DROP", object);
                }
                if !mark::any() {
                    return Ok(());
                }
                dropped(class, object, column)
            }
            Access::OAT_POST_ALTER => {
                let alter = argument.cast::<pg_sys::ObjectAccessPostAlter>().as_ref();
                if alter.is_some_and(|alter| alter.is_internal) {
                    return Ok(());
                }
                if class == pg_sys::DatabaseRelationId && !guard::harmless() {
                    return database::refuse("ALTER", object);
                }
                if !mark::any() {
                    return Ok(());
                }
                if class == catalog::INHERITS {
                    return inherits(
                        object,
                        alter.map_or(pg_sys::InvalidOid, |alter| alter.auxiliary_id),
                    );
                }
                altered(class, object, column)
            }
            Access::OAT_POST_CREATE if class == pg_sys::ProcedureRelationId && mark::any() => {
                // A function that is replaced keeps its oid.
                function("CREATE OR REPLACE FUNCTION", object)
            }
            _ => Ok(()),
        }
    }
}

/// Functions that were looked at, by the last bits of their oid; all are forgotten when any function changes.
static LOOKED_AT: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];

/// Whether a call of this function is known to be none of pg_surgery's. Every function in every expression is asked about whenever a
/// plan starts, those of row security's policies, too: this is one comparison.
pub fn is_harmless_call(function: pg_sys::Oid) -> bool {
    let oid = function.to_u32();
    oid < pg_sys::FirstNormalObjectId
        || LOOKED_AT[oid as usize % LOOKED_AT.len()].load(Ordering::Relaxed) == oid
}

fn remember(function: pg_sys::Oid) {
    static WATCHING: Once = Once::new();
    // SAFETY: the callback only writes the numbers above.
    WATCHING.call_once(|| unsafe {
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::PROCOID as i32,
            Some(forget),
            pg_sys::Datum::from(0usize),
        );
    });
    let oid = function.to_u32();
    LOOKED_AT[oid as usize % LOOKED_AT.len()].store(oid, Ordering::Relaxed);
}

unsafe extern "C-unwind" fn forget(_argument: pg_sys::Datum, _cache: std::ffi::c_int, _hash: u32) {
    for place in &LOOKED_AT {
        place.store(0, Ordering::Relaxed);
    }
}

/// pg_surgery changes pages beneath every check.
fn executed(function: pg_sys::Oid) -> Result<(), Refusal> {
    if is_harmless_call(function) {
        return Ok(());
    }
    if library::check_call(function)? {
        remember(function);
    }
    Ok(())
}

fn dropped(class: pg_sys::Oid, object: pg_sys::Oid, column: i32) -> Result<(), Refusal> {
    if class == pg_sys::RelationRelationId {
        if super::plan::is_catalog(object) {
            return Err(refuse::structure("DROP", object));
        }
        return match mark::of(object) {
            Some(Mark::Tracked | Mark::Kept) if column != 0 => {
                if !guard::harmless() {
                    alteration::note(object);
                }
                Ok(())
            }
            Some(_) if guard::disposing() == Some(object) => Ok(()),
            Some(Mark::Tracked) => Err(refuse::structure("DROP TABLE", object)
                .hint("End the tracking first: batchcortex.untrack(table).")),
            Some(_) if column != 0 => Err(refuse::structure("DROP COLUMN", object)),
            Some(_) => Err(refuse::structure("DROP", object)),
            None => Ok(()),
        };
    }
    if class == pg_sys::NamespaceRelationId && mark::is_own_schema(object) {
        return Err(refuse::guarded(
            "DROP SCHEMA refused: it holds records".to_owned(),
        ));
    }
    if class == pg_sys::ExtensionRelationId && is_own_extension(object) {
        return Err(refuse::guarded(
            "DROP EXTENSION refused: this database keeps records".to_owned(),
        ));
    }
    if class == pg_sys::ProcedureRelationId {
        return function("DROP FUNCTION", object);
    }
    if class == pg_sys::TriggerRelationId {
        return own_trigger("DROP TRIGGER", object);
    }
    part("DROP", class, object)
}

/// A table that inherits from another shows its rows there, and what is done there is done to them: a statement that reaches a table
/// through its parent fires the statement triggers of the parent alone.
fn inherits(child: pg_sys::Oid, parent: pg_sys::Oid) -> Result<(), Refusal> {
    let (of_child, of_parent) = (mark::of(child), mark::of(parent));
    // SAFETY: a catalog look-up.
    let partition = unsafe { pg_sys::get_rel_relkind(parent) } as u8 == pg_sys::RELKIND_PARTITIONED_TABLE;
    let keeps = matches!(of_child, Some(Mark::Kept | Mark::Ledger | Mark::Protected));
    if partition && keeps && of_parent < of_child {
        return Err(refuse::structure("ATTACH PARTITION", child));
    }
    if !partition && of_parent > Some(Mark::Tracked) {
        return Err(refuse::structure("INHERIT", parent));
    }
    if !partition && keeps {
        return Err(refuse::structure("INHERIT", child));
    }
    // A tracked table may be one of several that inherit: its own statement tells of it, another's must.
    if !partition && !guard::harmless() {
        for (table, mark) in [(parent, of_parent), (child, of_child)] {
            if mark == Some(Mark::Tracked) {
                alteration::note(table);
            }
        }
    }
    Ok(())
}

fn altered(class: pg_sys::Oid, object: pg_sys::Oid, column: i32) -> Result<(), Refusal> {
    if guard::harmless() {
        return Ok(());
    }
    if class == pg_sys::RelationRelationId {
        if super::plan::is_catalog(object) {
            return Err(refuse::structure("ALTER", object));
        }
        return match mark::of(object) {
            None => Ok(()),
            Some(mark) if mark == Mark::Tracked || mark == Mark::Kept && column != 0 => {
                alteration::note(object);
                Ok(())
            }
            Some(_) => Err(refuse::structure("ALTER", object)),
        };
    }
    if class == pg_sys::NamespaceRelationId {
        return schema(object);
    }
    if class == pg_sys::ExtensionRelationId && is_own_extension(object) {
        return Err(refuse::guarded(
            "ALTER EXTENSION refused: this database keeps records".to_owned(),
        ));
    }
    if class == pg_sys::ProcedureRelationId {
        return function("ALTER FUNCTION", object);
    }
    if class == pg_sys::TriggerRelationId {
        return own_trigger("ALTER TRIGGER", object);
    }
    part("ALTER", class, object)
}

/// A schema is not renamed while records are called by its name; tables that are tracked are told of.
fn schema(schema: pg_sys::Oid) -> Result<(), Refusal> {
    let tables: Vec<_> = catalog::relations(schema)
        .filter_map(|table| Some((table, mark::of(table)?)))
        .collect();
    if mark::is_own_schema(schema) || tables.iter().any(|(_, mark)| *mark != Mark::Tracked) {
        return Err(refuse::guarded(
            "ALTER SCHEMA refused: it holds records".to_owned(),
        ));
    }
    for (table, _) in tables {
        alteration::note(table);
    }
    Ok(())
}

/// Functions of the project, and PostgreSQL's own, which verification calls.
fn function(what: &str, object: pg_sys::Oid) -> Result<(), Refusal> {
    // SAFETY: a catalog look-up; invalid for a function that is being made.
    let namespace = unsafe { pg_sys::get_func_namespace(object) };
    if object.to_u32() < pg_sys::FirstNormalObjectId || mark::is_own_schema(namespace) && !guard::own_script()
    {
        return Err(refuse::guarded(format!(
            "{what} refused: the records of this database rest on the function"
        )));
    }
    Ok(())
}

fn own_trigger(what: &str, object: pg_sys::Oid) -> Result<(), Refusal> {
    let Some(trigger) = catalog::trigger(object) else {
        return Ok(());
    };
    let Some(mark) = mark::trigger(trigger.function, mark::schema()) else {
        return Ok(());
    };
    // The triggers of its partitions go with those of the table.
    let untracked = mark == Mark::Tracked
        && guard::untracking()
            .is_some_and(|table| table == trigger.table || catalog::is_below(trigger.table, table));
    if untracked || guard::disposing() == Some(trigger.table) {
        return Ok(());
    }
    Err(refuse::structure(what, trigger.table))
}

/// Policies, constraints and rules of guarded tables.
fn part(what: &str, class: pg_sys::Oid, object: pg_sys::Oid) -> Result<(), Refusal> {
    let (name, table) = if class == catalog::POLICY {
        ("POLICY", catalog::policy_table(object))
    } else if class == catalog::CONSTRAINT {
        ("CONSTRAINT", catalog::constraint_table(object))
    } else if class == catalog::RULE {
        ("RULE", catalog::rule_table(object))
    } else {
        return Ok(());
    };
    match table {
        Some(table) if guard::disposing() != Some(table) => match mark::of(table) {
            None | Some(Mark::Tracked | Mark::Kept) => Ok(()),
            Some(_) => Err(refuse::structure(&format!("{what} {name}"), table)),
        },
        _ => Ok(()),
    }
}

/// Whether an extension is this one.
pub fn is_own_extension(extension: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up; the name is null or NUL-terminated.
    unsafe {
        let name = pg_sys::get_extension_name(extension);
        !name.is_null() && std::ffi::CStr::from_ptr(name) == c"pg_batchcortex"
    }
}
