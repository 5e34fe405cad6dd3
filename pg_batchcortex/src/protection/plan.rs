//! Plans that would change rows of guarded tables, or catalog rows by hand.
//!
//! The nodes that change rows stand at the top of a plan and of the plans of its WITH clauses, and name every table that they may
//! reach, partitions and inheriting tables included. A plan that only reads costs one comparison.

use super::mark::{self, Mark};
use crate::error::{self, Refusal};
use pgrx::pg_sys;

/// Refuses a plan that would change what is guarded.
///
/// # Safety
/// `plan` must be a plan that PostgreSQL is about to run, its relations locked.
pub unsafe fn check(plan: *mut pg_sys::PlannedStmt) -> Result<(), Refusal> {
    // SAFETY: as the caller promises; lists and nodes are those of the planner.
    unsafe {
        if (*plan).resultRelations.is_null() {
            return Ok(());
        }
        for top in std::iter::once((*plan).planTree.cast()).chain(elements((*plan).subplans)) {
            let node: *mut pg_sys::Node = top;
            if !node.is_null() && (*node).type_ == pg_sys::NodeTag::T_ModifyTable {
                change(&*node.cast(), (*plan).rtable)?;
            }
        }
    }
    Ok(())
}

unsafe fn change(node: &pg_sys::ModifyTable, tables: *mut pg_sys::List) -> Result<(), Refusal> {
    let what = what(node);
    // SAFETY: result relations are positions in the range table, from 1.
    unsafe {
        for position in cells(node.resultRelations) {
            let table = (*(*tables).elements.add(position.int_value as usize - 1)).ptr_value;
            let table = &*table.cast::<pg_sys::RangeTblEntry>();
            if is_catalog(table.relid) && (mark::any() || super::database::shares(table.relid)) {
                return Err(Refusal::new(
                    error::APPEND_ONLY,
                    "rows of system catalogs cannot be written by hand where records are kept",
                )
                .hint("Use the statement that is meant for it."));
            }
            let Some(what) = what else { continue };
            if let Some(mark @ (Mark::Protected | Mark::Ledger)) = mark::of(table.relid)
                && !(mark == Mark::Ledger && super::refuse::may_write(table.relid))
            {
                return Err(super::refuse::change(mark, what, table.relid));
            }
        }
    }
    Ok(())
}

/// Whether a MERGE does more than add rows.
unsafe fn merge_changes(node: &pg_sys::ModifyTable) -> bool {
    // SAFETY: one list of merge actions a result relation.
    unsafe {
        elements(node.mergeActionLists).any(|actions: *mut pg_sys::List| {
            elements(actions).any(|action: *mut pg_sys::MergeAction| {
                !matches!(
                    (*action).commandType,
                    pg_sys::CmdType::CMD_INSERT | pg_sys::CmdType::CMD_NOTHING
                )
            })
        })
    }
}

/// The change of stored rows that a node may make; none when it only adds rows.
fn what(node: &pg_sys::ModifyTable) -> Option<&'static str> {
    match node.operation {
        pg_sys::CmdType::CMD_UPDATE => Some("UPDATE"),
        pg_sys::CmdType::CMD_DELETE => Some("DELETE"),
        // SAFETY: the node is the planner's.
        pg_sys::CmdType::CMD_MERGE => unsafe { merge_changes(node) }.then_some("MERGE"),
        _ => (node.onConflictAction == pg_sys::OnConflictAction::ONCONFLICT_UPDATE)
            .then_some("ON CONFLICT DO UPDATE"),
    }
}

/// Cells of a list.
///
/// # Safety
/// `list` must be null or a list that outlives the cells.
pub unsafe fn cells(list: *mut pg_sys::List) -> impl Iterator<Item = pg_sys::ListCell> {
    // SAFETY: as the caller promises.
    let count = unsafe { list.as_ref() }.map_or(0, |list| list.length);
    // SAFETY: a list has as many cells as its length says.
    (0..count as usize).map(move |i| unsafe { *(*list).elements.add(i) })
}

/// Elements of a list of pointers.
///
/// # Safety
/// As for [`cells`]; the list must be one of pointers.
pub unsafe fn elements<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: as the caller promises.
    unsafe { cells(list).map(|cell| cell.ptr_value.cast()) }
}

/// pg_largeobject and pg_largeobject_metadata.
const LARGE_OBJECTS: [u32; 2] = [2613, 2995];

/// Whether a relation is a system catalog, large objects aside: their rows are data.
pub fn is_catalog(relation: pg_sys::Oid) -> bool {
    let number = relation.to_u32();
    number != 0 && number < pg_sys::FirstNormalObjectId && !LARGE_OBJECTS.contains(&number)
}
