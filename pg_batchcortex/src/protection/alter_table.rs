//! ALTER TABLE: what takes nothing away from a record passes, what alters a table that is tracked or soft-deletable is recorded, everything
//! else is refused.

use super::alteration::{self, Source};
use super::mark::{self, Mark};
use super::plan::elements;
use super::refuse::structure;
use super::statement::{relation, with_heirs};
use crate::error::Refusal;
use pgrx::pg_sys;

/// Refuses a statement that would take something away; otherwise whether it concerns guarded tables and is known to be harmless.
///
/// # Safety
/// `statement` must be a parse tree.
pub unsafe fn check(statement: &pg_sys::AlterTableStmt, source: &Source) -> Result<bool, Refusal> {
    // SAFETY: the statement is the parser's.
    unsafe {
        let table = relation(statement.relation);
        if table == pg_sys::InvalidOid {
            return Ok(false);
        }
        let mut harmless = false;
        let mut altered = Vec::new();
        for heir in with_heirs(table) {
            let Some(mark) = mark::of(heir) else { continue };
            for command in elements(statement.cmds) {
                if let Some(what) = harm(mark, table, heir, &*command) {
                    return Err(structure(what, heir));
                }
            }
            // A partition is told of with its table, unless it is what the statement names.
            if matches!(mark, Mark::Tracked | Mark::Kept)
                && (heir == table || !pg_sys::get_rel_relispartition(heir))
                && elements(statement.cmds)
                    .any(|command| harm(Mark::Protected, table, heir, &*command).is_some())
            {
                altered.push(heir);
            }
            harmless = true;
        }
        // Before the statement: DETACH … CONCURRENTLY commits on its way.
        for heir in altered {
            alteration::record(heir, &alteration::name(heir), source);
        }
        Ok(harmless)
    }
}

/// What a command of ALTER TABLE would take away from a table that is guarded; none when nothing.
unsafe fn harm(
    mark: Mark,
    table: pg_sys::Oid,
    heir: pg_sys::Oid,
    command: &pg_sys::AlterTableCmd,
) -> Option<&'static str> {
    use pg_sys::AlterTableType as Alter;
    let what = match command.subtype {
        Alter::AT_DisableTrig | Alter::AT_DisableTrigAll | Alter::AT_DisableTrigUser => "DISABLE TRIGGER",
        Alter::AT_EnableTrig
        | Alter::AT_EnableTrigAll
        | Alter::AT_EnableTrigUser
        | Alter::AT_EnableReplicaTrig => "ENABLE TRIGGER",
        Alter::AT_EnableAlwaysTrig => return None,
        // A tracked table is its owner's own, but for its triggers and for what would move its rows out of reach.
        Alter::AT_SetUnLogged => "SET UNLOGGED",
        _ if mark == Mark::Tracked => return None,
        // SAFETY: a catalog look-up. The view of the rows that live is altered in no way.
        _ if mark == Mark::Kept && is_view(unsafe { pg_sys::get_rel_relkind(heir) }) => "ALTER VIEW",
        // Rows could be deleted through a parent, and the table with a type.
        Alter::AT_AddOf | Alter::AT_DropOf if mark == Mark::Kept => "OF",
        Alter::AT_AddInherit | Alter::AT_DropInherit if mark == Mark::Kept => "INHERIT",
        _ if mark == Mark::Kept => return None,
        Alter::AT_DetachPartition | Alter::AT_DetachPartitionFinalize => "DETACH PARTITION",
        Alter::AT_SetStatistics
        | Alter::AT_SetOptions
        | Alter::AT_ResetOptions
        | Alter::AT_SetStorage
        | Alter::AT_SetCompression
        | Alter::AT_SetNotNull
        | Alter::AT_AddIndex
        | Alter::AT_ValidateConstraint
        | Alter::AT_AddIndexConstraint
        | Alter::AT_ClusterOn
        | Alter::AT_DropCluster
        | Alter::AT_SetLogged
        | Alter::AT_SetTableSpace
        | Alter::AT_SetRelOptions
        | Alter::AT_ResetRelOptions
        | Alter::AT_ReplicaIdentity
        | Alter::AT_ForceRowSecurity => return None,
        // What it computes would run in the sealer, and in whatever else writes the project's tables.
        // SAFETY: the definition of the constraint.
        Alter::AT_AddConstraint => unsafe {
            let constraint = &*command.def.cast::<pg_sys::Constraint>();
            let computes = matches!(
                constraint.contype,
                pg_sys::ConstrType::CONSTR_CHECK | pg_sys::ConstrType::CONSTR_EXCLUSION
            );
            if !computes || pg_sys::get_rel_namespace(table) != mark::schema() {
                return None;
            }
            "ADD CONSTRAINT that computes"
        },
        // Rows of a table of somebody's own could be hidden so.
        Alter::AT_EnableRowSecurity if mark != Mark::Protected => return None,
        // SAFETY: the catalog row of a relation that exists.
        Alter::AT_EnableRowSecurity if unsafe { pg_sys::get_rel_namespace(table) } == mark::schema() => {
            return None;
        }
        Alter::AT_EnableRowSecurity => "ENABLE ROW LEVEL SECURITY",
        // SAFETY: the definition of the column.
        Alter::AT_AddColumn => unsafe {
            let column = &*command.def.cast::<pg_sys::ColumnDef>();
            if column.raw_default.is_null()
                && column.cooked_default.is_null()
                && column.identity == 0
                && column.generated == 0
                && only_null(column.constraints)
                && pg_sys::typenameTypeId(std::ptr::null_mut(), column.typeName).to_u32()
                    < pg_sys::FirstNormalObjectId
            {
                return None;
            }
            "ADD COLUMN with a value for rows that are there, or of a type that is not PostgreSQL's,"
        },
        Alter::AT_AttachPartition => {
            // SAFETY: the definition of the partition.
            let empty = unsafe { is_empty(relation((*command.def.cast::<pg_sys::PartitionCmd>()).name)) };
            if empty {
                return None;
            }
            "ATTACH PARTITION of a table that holds rows already"
        }
        Alter::AT_DropColumn => "DROP COLUMN",
        Alter::AT_AlterColumnType => "ALTER COLUMN TYPE",
        Alter::AT_DropConstraint => "DROP CONSTRAINT",
        Alter::AT_ChangeOwner => "OWNER TO",
        Alter::AT_DisableRowSecurity => "DISABLE ROW LEVEL SECURITY",
        Alter::AT_NoForceRowSecurity => "NO FORCE ROW LEVEL SECURITY",
        Alter::AT_AddInherit | Alter::AT_DropInherit => "INHERIT",
        _ => "ALTER TABLE",
    };
    Some(what)
}

fn is_view(kind: std::ffi::c_char) -> bool {
    kind as u8 == pg_sys::RELKIND_VIEW
}

/// Whether a column's constraints say NULL and nothing else.
unsafe fn only_null(constraints: *mut pg_sys::List) -> bool {
    // SAFETY: the parser's list of constraints.
    unsafe {
        elements(constraints).all(|constraint: *mut pg_sys::Constraint| {
            (*constraint).contype == pg_sys::ConstrType::CONSTR_NULL
        })
    }
}

/// Whether a table holds no row and no partition; the statement locks it later.
unsafe fn is_empty(table: pg_sys::Oid) -> bool {
    if table == pg_sys::InvalidOid {
        return true;
    }
    // SAFETY: the relation exists; a scan under the latest snapshot.
    unsafe {
        let open = pg_sys::table_open(table, pg_sys::AccessShareLock as i32);
        let plain = (*(*open).rd_rel).relkind as u8 == b'r';
        let empty =
            plain && pg_sys::RelationGetNumberOfBlocksInFork(open, pg_sys::ForkNumber::MAIN_FORKNUM) == 0;
        pg_sys::table_close(open, pg_sys::NoLock as i32);
        empty
    }
}
