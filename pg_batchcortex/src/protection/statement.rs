//! Statements that would change guarded tables. What takes nothing away from a record passes: maintenance, statistics, storage,
//! indexes, new nullable columns. Everything else is refused.

use super::alter_table;
use super::alteration::Source;
use super::guard;
use super::library;
use super::mark::{self, Mark};
use super::member;
use super::plan::{cells, elements};
use super::refuse::{guarded, structure};
use crate::error::Refusal;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;
use std::ffi::CStr;

/// Whether a statement is of a kind that [`check`] looks at.
///
/// # Safety
/// `statement` must be a parse tree.
pub unsafe fn concerns(statement: *mut pg_sys::Node) -> bool {
    use pg_sys::NodeTag as Tag;
    // SAFETY: as the caller promises.
    !statement.is_null()
        && matches!(
            unsafe { (*statement).type_ },
            Tag::T_AlterTableStmt
                | Tag::T_AlterTableMoveAllStmt
                | Tag::T_AlterExtensionStmt
                | Tag::T_AlterExtensionContentsStmt
                | Tag::T_CreateTrigStmt
                | Tag::T_RuleStmt
                | Tag::T_ViewStmt
                | Tag::T_CreateStmt
                | Tag::T_CreateFunctionStmt
                | Tag::T_AlterRoleStmt
                | Tag::T_AlterRoleSetStmt
                | Tag::T_DropRoleStmt
                | Tag::T_GrantRoleStmt
                | Tag::T_RenameStmt
                | Tag::T_IndexStmt
                | Tag::T_AlterObjectSchemaStmt
                | Tag::T_DefineStmt
                | Tag::T_LoadStmt
                | Tag::T_CreateExtensionStmt
        )
}

/// Refuses a statement that would take a guard away; otherwise whether it is known to be harmless.
///
/// # Safety
/// `statement` must be a parse tree that [`concerns`] has let through.
pub unsafe fn check(statement: *mut pg_sys::Node, source: &Source) -> Result<bool, Refusal> {
    use pg_sys::NodeTag as Tag;
    // SAFETY: the tag tells the type.
    unsafe {
        match (*statement).type_ {
            Tag::T_AlterTableStmt => alter_table::check(&*statement.cast(), source),
            Tag::T_AlterTableMoveAllStmt | Tag::T_AlterExtensionStmt => Ok(true),
            Tag::T_AlterExtensionContentsStmt => member::check(&*statement.cast()),
            Tag::T_CreateTrigStmt => create_trigger(&*statement.cast()),
            Tag::T_RuleStmt => {
                let table = relation((*statement.cast::<pg_sys::RuleStmt>()).relation);
                match mark::of(table) {
                    None | Some(Mark::Tracked) => Ok(false),
                    Some(Mark::Kept) if pg_sys::get_rel_relkind(table) as u8 != pg_sys::RELKIND_VIEW => {
                        Ok(false)
                    }
                    Some(_) => Err(structure("CREATE RULE", table)),
                }
            }
            Tag::T_ViewStmt => {
                let view = relation((*statement.cast::<pg_sys::ViewStmt>()).view);
                match mark::of(view) {
                    None => Ok(false),
                    Some(_) => Err(structure("CREATE OR REPLACE VIEW", view)),
                }
            }
            // Who inherits from whom is asked where it is stored.
            Tag::T_CreateStmt => Ok(false),
            Tag::T_AlterObjectSchemaStmt => {
                let kind = (*statement.cast::<pg_sys::AlterObjectSchemaStmt>()).objectType;
                if kind == pg_sys::ObjectType::OBJECT_OPERATOR && !pg_sys::creating_extension {
                    return Err(guarded(
                        "ALTER OPERATOR refused: the checks of this database's records call operators"
                            .to_owned(),
                    ));
                }
                Ok(false)
            }
            Tag::T_LoadStmt => library::check_load(&*statement.cast()).map(|()| false),
            Tag::T_IndexStmt => create_index(&*statement.cast()),
            Tag::T_CreateExtensionStmt => {
                if CStr::from_ptr((*statement.cast::<pg_sys::CreateExtensionStmt>()).extname) == c"pg_surgery"
                {
                    return Err(library::surgery());
                }
                Ok(false)
            }
            Tag::T_DefineStmt => {
                let define = &*statement.cast::<pg_sys::DefineStmt>();
                if define.kind == pg_sys::ObjectType::OBJECT_OPERATOR
                    && is_catalog_schema(creation_schema(define.defnames))
                {
                    return Err(guarded(
                        "CREATE OPERATOR refused in pg_catalog: verification calls what is there".to_owned(),
                    ));
                }
                Ok(false)
            }
            Tag::T_CreateFunctionStmt => {
                let function = &*statement.cast::<pg_sys::CreateFunctionStmt>();
                let names = function.funcname;
                library::check_function(function)?;
                if is_catalog_schema(creation_schema(names)) {
                    return Err(guarded(
                        "CREATE FUNCTION refused in pg_catalog: verification calls what is there".to_owned(),
                    ));
                }
                if !guard::own_script() && mark::is_own_schema(creation_schema(names)) {
                    return Err(guarded(
                        "CREATE FUNCTION refused in the schemas of BatchCortex".to_owned(),
                    ));
                }
                Ok(false)
            }
            Tag::T_AlterRoleStmt => role((*statement.cast::<pg_sys::AlterRoleStmt>()).role),
            Tag::T_AlterRoleSetStmt => role((*statement.cast::<pg_sys::AlterRoleSetStmt>()).role),
            Tag::T_DropRoleStmt => elements((*statement.cast::<pg_sys::DropRoleStmt>()).roles)
                .try_fold(false, |_, named| role(named)),
            Tag::T_GrantRoleStmt => {
                let granted = (*statement.cast::<pg_sys::GrantRoleStmt>()).granted_roles;
                let owner = elements(granted).any(|role: *mut pg_sys::AccessPriv| {
                    !(*role).priv_name.is_null() && CStr::from_ptr((*role).priv_name) == c"batchcortex_owner"
                });
                if owner {
                    return Err(guarded(
                        "GRANT refused: nobody is a member of batchcortex_owner".to_owned(),
                    ));
                }
                Ok(false)
            }
            Tag::T_RenameStmt => {
                let rename = &*statement.cast::<pg_sys::RenameStmt>();
                if rename.renameType == pg_sys::ObjectType::OBJECT_ROLE {
                    own_role(rename.subname)?;
                }
                Ok(false)
            }
            _ => Ok(false),
        }
    }
}

/// After a statement that made or attached a partition of a protected table: TRUNCATE of the partition alone is refused too.
///
/// # Safety
/// As for [`check`].
pub unsafe fn after(statement: *mut pg_sys::Node) {
    // SAFETY: the tag tells the type.
    unsafe {
        match (*statement).type_ {
            pg_sys::NodeTag::T_CreateStmt => {
                let made = &*statement.cast::<pg_sys::CreateStmt>();
                if !made.partbound.is_null() {
                    guard_partition(relation(made.relation));
                }
            }
            pg_sys::NodeTag::T_AlterTableStmt => {
                for command in
                    elements::<pg_sys::AlterTableCmd>((*statement.cast::<pg_sys::AlterTableStmt>()).cmds)
                {
                    if (*command).subtype == pg_sys::AlterTableType::AT_AttachPartition {
                        guard_partition(relation((*(*command).def.cast::<pg_sys::PartitionCmd>()).name));
                    }
                }
            }
            _ => {}
        }
    }
}

/// The project's own partitions get theirs where they are made.
unsafe fn guard_partition(table: pg_sys::Oid) {
    // SAFETY: a catalog look-up.
    let own = unsafe { pg_sys::get_rel_namespace(table) } == mark::schema();
    if !own && mark::of(table) == Some(Mark::Protected) {
        pgrx::Spi::run_with_args(
            "select batchcortex.make_append_only($1::pg_catalog.regclass)",
            &[table.into()],
        )
        .unwrap_or_report();
    }
}

/// The relation that a name stands for now, invalid when there is none. Nothing is locked: the statement does that itself.
///
/// # Safety
/// `name` must be null or the parser's.
pub unsafe fn relation(name: *mut pg_sys::RangeVar) -> pg_sys::Oid {
    if name.is_null() {
        return pg_sys::InvalidOid;
    }
    // SAFETY: the name is the parser's.
    unsafe {
        pg_sys::RangeVarGetRelidExtended(
            name,
            pg_sys::NoLock as i32,
            pg_sys::RVROption::RVR_MISSING_OK,
            None,
            std::ptr::null_mut(),
        )
    }
}

/// The relation and whatever inherits from it, partitions included.
///
/// # Safety
/// Must be called in a transaction.
pub unsafe fn with_heirs(table: pg_sys::Oid) -> impl Iterator<Item = pg_sys::Oid> {
    unsafe extern "C-unwind" {
        fn find_all_inheritors(
            parent: pg_sys::Oid,
            lock: pg_sys::LOCKMODE,
            parents: *mut *mut pg_sys::List,
        ) -> *mut pg_sys::List;
    }
    // SAFETY: a catalog look-up that gives a list of oids.
    let heirs = unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            find_all_inheritors(table, pg_sys::NoLock as i32, std::ptr::null_mut())
        })
    };
    // SAFETY: a list of oids in the current memory context.
    unsafe { cells(heirs).map(|cell| cell.oid_value) }
}

unsafe fn create_trigger(statement: &pg_sys::CreateTrigStmt) -> Result<bool, Refusal> {
    // SAFETY: the statement is the parser's.
    unsafe {
        let table = relation(statement.relation);
        if table == pg_sys::InvalidOid {
            return Ok(false);
        }
        let function = pg_sys::LookupFuncName(statement.funcname, 0, std::ptr::null(), true);
        let own = mark::trigger(function, mark::schema());
        let what = "CREATE TRIGGER";
        for heir in with_heirs(table) {
            let Some(mark) = mark::of(heir) else { continue };
            let ours = pg_sys::get_rel_namespace(heir) == mark::schema();
            let refused = match own {
                // Replacing one could give it a condition under which it never fires.
                Some(_) if statement.replace || !statement.whenClause.is_null() => true,
                Some(Mark::Protected | Mark::Ledger) => false,
                Some(_) => {
                    ours && mark >= Mark::Ledger
                        && !(stamps_leaves(statement, function) && super::protect::has_leaves(table))
                }
                None if mark <= Mark::Kept => replaces_own(statement, heir),
                // Before the row is stored it could be altered or dropped. Ours take no code of others.
                None => {
                    ours || replaces_own(statement, heir)
                        || (i32::from(statement.timing) & BEFORE_OR_INSTEAD != 0
                            && !super::protect::is_known_trigger(heir, CStr::from_ptr(statement.trigname)))
                }
            };
            if refused {
                return Err(structure(what, heir));
            }
        }
        Ok(false)
    }
}

/// The triggers that stamp rows and make them leaves, under their own names: a restore makes them in the order of the alphabet, after those that make
/// the table append-only. Where one stands already PostgreSQL refuses a second of its name.
unsafe fn stamps_leaves(statement: &pg_sys::CreateTrigStmt, function: pg_sys::Oid) -> bool {
    // SAFETY: the trigger's name is NUL-terminated; the function exists, so that its name is too.
    let (name, function) = unsafe {
        (
            CStr::from_ptr(statement.trigname),
            CStr::from_ptr(pg_sys::get_func_name(function)),
        )
    };
    match name.to_bytes() {
        b"leaf_enqueue" => function == c"leaf_enqueue",
        b"leaf_stamp" => function == c"leaf_stamp" || function == c"event_stamp",
        b"by_login" => function == c"record_login",
        b"disposal_only" => function == c"refuse_disposals",
        _ => false,
    }
}

/// TRIGGER_TYPE_BEFORE and TRIGGER_TYPE_INSTEAD.
const BEFORE_OR_INSTEAD: i32 = 2 | 64;

unsafe fn replaces_own(statement: &pg_sys::CreateTrigStmt, table: pg_sys::Oid) -> bool {
    // SAFETY: the trigger's name is NUL-terminated.
    let trigger = unsafe { pg_sys::get_trigger_oid(table, statement.trigname, true) };
    statement.replace
        && super::catalog::trigger(trigger)
            .is_some_and(|trigger| mark::trigger(trigger.function, mark::schema()).is_some())
}

/// An index computes its expressions and calls its operator classes in whoever writes the table: on the tables that the sealer writes, and on
/// those of records, nothing but columns.
unsafe fn create_index(statement: &pg_sys::IndexStmt) -> Result<bool, Refusal> {
    // SAFETY: the statement is the parser's.
    unsafe {
        let table = relation(statement.relation);
        let own = table != pg_sys::InvalidOid && pg_sys::get_rel_namespace(table) == mark::schema();
        if !own || mark::of(table).is_none_or(|mark| mark < Mark::Ledger) {
            return Ok(false);
        }
        let computes = elements(statement.indexParams)
            .any(|column: *mut pg_sys::IndexElem| !(*column).expr.is_null() || !(*column).opclass.is_null());
        let tests =
            !statement.whereClause.is_null() && (*statement.whereClause).type_ != pg_sys::NodeTag::T_NullTest;
        if computes || tests || !statement.excludeOpNames.is_null() {
            return Err(structure("CREATE INDEX that computes", table));
        }
    }
    Ok(false)
}

/// Whether something is made in pg_catalog, and not by an extension.
unsafe fn is_catalog_schema(schema: pg_sys::Oid) -> bool {
    // SAFETY: a plain global of the process.
    schema == pg_sys::Oid::from_u32(11) && !unsafe { pg_sys::creating_extension }
}

/// The schema in which a function of this name would be made.
unsafe fn creation_schema(names: *mut pg_sys::List) -> pg_sys::Oid {
    // SAFETY: the parser's list of names; one name is made in the first schema of the search path.
    unsafe {
        let mut name = std::ptr::null_mut();
        pg_sys::QualifiedNameGetCreationNamespace(names, &raw mut name)
    }
}

unsafe fn role(role: *mut pg_sys::RoleSpec) -> Result<bool, Refusal> {
    // SAFETY: the parser's; null for ALTER ROLE ALL.
    unsafe {
        if !role.is_null() && (*role).roletype == pg_sys::RoleSpecType::ROLESPEC_CSTRING {
            own_role((*role).rolename)?;
        }
    }
    Ok(false)
}

unsafe fn own_role(name: *const std::ffi::c_char) -> Result<(), Refusal> {
    // SAFETY: NUL-terminated.
    let name = unsafe { CStr::from_ptr(name) };
    if [c"batchcortex_owner", c"batchcortex_api", c"batchcortex_auditor"].contains(&name) {
        return Err(guarded(format!(
            "the role {} is not altered or dropped: the records of this database rest on it",
            name.to_string_lossy()
        )));
    }
    Ok(())
}
