//! Append-only, layer three: hooks of the preloaded library that hold superusers too.
//!
//! Every hook keeps the one that was there before and calls it. An error passes through as PostgreSQL raised it, with its own
//! SQLSTATE: the hooks hold nothing that would have to be dropped.

use super::alteration::{self, Source};
use super::{break_glass, database, mark, object, plan, statement};
use crate::error;
use pgrx::pg_sys;
use std::cell::Cell;

static mut PREVIOUS_START: pg_sys::ExecutorStart_hook_type = None;
static mut PREVIOUS_UTILITY: pg_sys::ProcessUtility_hook_type = None;
static mut PREVIOUS_ACCESS: pg_sys::object_access_hook_type = None;

thread_local! {
    static HARMLESS: Cell<bool> = const { Cell::new(false) };
    static LEVEL: Cell<u32> = const { Cell::new(0) };
    static SCRIPT: Cell<u32> = const { Cell::new(u32::MAX) };
    static MIGRATING: Cell<bool> = const { Cell::new(false) };
    static DISPOSING: Cell<Option<pg_sys::Oid>> = const { Cell::new(None) };
    static UNTRACKING: Cell<Option<pg_sys::Oid>> = const { Cell::new(None) };
}

/// At preload: puts the hooks in place.
pub fn install() {
    // SAFETY: single-threaded start of the server; each hook is kept and called on.
    unsafe {
        PREVIOUS_START = pg_sys::ExecutorStart_hook;
        pg_sys::ExecutorStart_hook = Some(start);
        PREVIOUS_UTILITY = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(utility);
        PREVIOUS_ACCESS = pg_sys::object_access_hook;
        pg_sys::object_access_hook = Some(access);
    }
}

/// Whether the hooks refuse. Not while pg_upgrade rebuilds catalogs (a mode of the postmaster that no SQL reaches), not while a
/// migration of this library runs, and not behind broken glass.
fn holds() -> bool {
    // SAFETY: a plain global of the process.
    !unsafe { pg_sys::IsBinaryUpgrade } && !MIGRATING.get() && !break_glass::is_open()
}

/// Whether the statement that runs has been found to take nothing away.
pub fn harmless() -> bool {
    HARMLESS.get()
}

/// The expired partition that retention removes now.
pub fn disposing() -> Option<pg_sys::Oid> {
    DISPOSING.get()
}

/// The table that untrack takes its triggers from now.
pub fn untracking() -> Option<pg_sys::Oid> {
    UNTRACKING.get()
}

/// Whether a script of this extension runs: CREATE EXTENSION or ALTER EXTENSION … UPDATE.
pub fn own_script() -> bool {
    // SAFETY: plain globals of the process.
    unsafe { pg_sys::creating_extension && object::is_own_extension(pg_sys::CurrentExtensionObject) }
}

/// Whether the statement that runs stands in the script of an extension itself, and not in what an event trigger or a function does
/// meanwhile.
pub fn runs_script() -> bool {
    // SAFETY: a plain global of the process.
    unsafe { pg_sys::creating_extension && LEVEL.get() == SCRIPT.get() }
}

/// Puts a value back when it goes out of scope, by an error too.
struct Within<T: Copy + 'static>(&'static std::thread::LocalKey<Cell<T>>, T);

impl<T: Copy> Within<T> {
    fn enter(cell: &'static std::thread::LocalKey<Cell<T>>, value: T) -> Self {
        Within(cell, cell.replace(value))
    }
}

impl<T: Copy> Drop for Within<T> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// Runs a migration of this library, which may alter what is guarded.
pub fn migrating<T>(body: impl FnOnce() -> T) -> T {
    let _within = Within::enter(&MIGRATING, true);
    body()
}

/// Runs the removal of one table.
pub fn while_disposing<T>(table: pg_sys::Oid, body: impl FnOnce() -> T) -> T {
    let _within = Within::enter(&DISPOSING, Some(table));
    body()
}

/// Runs the removal of a trigger that captures changes of one table.
pub fn while_untracking<T>(table: pg_sys::Oid, body: impl FnOnce() -> T) -> T {
    let _within = Within::enter(&UNTRACKING, Some(table));
    body()
}

mod raw {
    use pgrx::pg_sys;
    // The bindings in pg_sys would catch an error on its way and lose its SQLSTATE.
    unsafe extern "C-unwind" {
        pub fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: std::ffi::c_int);
        pub fn standard_ProcessUtility(
            plan: *mut pg_sys::PlannedStmt,
            text: *const std::ffi::c_char,
            #[cfg(not(feature = "pg13"))] read_only_tree: bool,
            context: pg_sys::ProcessUtilityContext::Type,
            parameters: pg_sys::ParamListInfo,
            environment: *mut pg_sys::QueryEnvironment,
            destination: *mut pg_sys::DestReceiver,
            completion: *mut pg_sys::QueryCompletion,
        );
    }
}

unsafe extern "C-unwind" fn start(query: *mut pg_sys::QueryDesc, flags: std::ffi::c_int) {
    // SAFETY: called by the executor with the plan that it is about to run.
    unsafe {
        if !(*(*query).plannedstmt).resultRelations.is_null()
            && flags as u32 & pg_sys::EXEC_FLAG_EXPLAIN_ONLY == 0
            && holds()
        {
            error::raising(|| plan::check((*query).plannedstmt).map(|()| pg_sys::Datum::from(0usize)));
        }
        match PREVIOUS_START {
            Some(previous) => previous(query, flags),
            None => raw::standard_ExecutorStart(query, flags),
        }
    }
}

#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn utility(
    plan: *mut pg_sys::PlannedStmt,
    text: *const std::ffi::c_char,
    #[cfg(not(feature = "pg13"))] read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: called with a utility statement about to run; an error that leaves HARMLESS set is undone by the next statement.
    unsafe {
        let statement = (*plan).utilityStmt;
        let nested = context != pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL;
        let outer = (nested && HARMLESS.get(), alteration::enter(plan.addr(), nested));
        let source = Source::of(&*plan, text);
        HARMLESS.set(false);
        let script = SCRIPT.get();
        let level = if nested { LEVEL.get() + 1 } else { 0 };
        LEVEL.set(level);
        // A transaction may have failed: then only its end is let through, and no catalog may be read.
        let asked = !statement.is_null()
            && (statement::concerns(statement) || database::concerns(statement))
            && pg_sys::IsTransactionState()
            && holds();
        if asked {
            error::raising(|| {
                let harmless = database::concerns(statement) && database::check(statement)?
                    || match mark::has_schema().then(|| statement::check(statement, &source)) {
                        // Nothing is refused before there are records. What is harmless is known already: while this statement runs, another
                        // process of a restore may make the trigger from which on there are.
                        Some(Err(_)) | None if !mark::any() => false,
                        checked => checked.transpose()?.unwrap_or(false),
                    };
                HARMLESS.set(harmless);
                Ok(pg_sys::Datum::from(0usize))
            });
        }
        if !statement.is_null()
            && matches!(
                (*statement).type_,
                pg_sys::NodeTag::T_CreateExtensionStmt | pg_sys::NodeTag::T_AlterExtensionStmt
            )
        {
            SCRIPT.set(level + 1);
        }
        match PREVIOUS_UTILITY {
            #[cfg(not(feature = "pg13"))]
            Some(previous) => previous(
                plan,
                text,
                read_only_tree,
                context,
                parameters,
                environment,
                destination,
                completion,
            ),
            #[cfg(feature = "pg13")]
            Some(previous) => previous(
                plan,
                text,
                context,
                parameters,
                environment,
                destination,
                completion,
            ),
            None => raw::standard_ProcessUtility(
                plan,
                text,
                #[cfg(not(feature = "pg13"))]
                read_only_tree,
                context,
                parameters,
                environment,
                destination,
                completion,
            ),
        }
        if asked || alteration::is_noted() {
            error::raising(|| {
                if mark::any() {
                    statement::after(statement);
                    alteration::record_noted(&source);
                }
                Ok(pg_sys::Datum::from(0usize))
            });
        }
        LEVEL.set(level.saturating_sub(1));
        SCRIPT.set(script);
        HARMLESS.set(outer.0);
        alteration::leave(outer.1);
    }
}

unsafe extern "C-unwind" fn access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    column: std::ffi::c_int,
    argument: *mut std::ffi::c_void,
) {
    // SAFETY: called by PostgreSQL for an object that is being made, altered, dropped or called.
    unsafe {
        let harmless =
            access == pg_sys::ObjectAccessType::OAT_FUNCTION_EXECUTE && object::is_harmless_call(object);
        if !harmless && access != pg_sys::ObjectAccessType::OAT_NAMESPACE_SEARCH && holds() {
            error::raising(|| {
                object::check(access, class, object, column, argument).map(|()| pg_sys::Datum::from(0usize))
            });
        }
        if let Some(previous) = PREVIOUS_ACCESS {
            previous(access, class, object, column, argument);
        }
    }
}
