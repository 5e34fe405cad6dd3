//! Code that runs with the rights of the server: functions in C and internal ones, and libraries that a session loads. A signature that is
//! not the function's own reads and writes any memory, so nobody declares one by hand; the scripts of extensions may, from libraries that
//! the server was started with: the preloaded ones, `batchcortex.allowed_libraries`, and PL/pgSQL.

use super::catalog;
use super::guard;
use super::plan::elements;
use super::refuse::guarded;
use crate::error::Refusal;
use crate::settings::ALLOWED_LIBRARIES;
use pgrx::pg_sys;
use std::ffi::CStr;

/// The languages internal and c: names can be changed.
pub const INTERNAL: pg_sys::Oid = pg_sys::Oid::from_u32(12);
/// As above.
pub const C: pg_sys::Oid = pg_sys::Oid::from_u32(13);

/// What writes pages beneath every check, whichever file it comes from.
const SURGERY: [&str; 2] = ["heap_force_kill", "heap_force_freeze"];

/// Whether a library, as a function names it, is one that the server was started with or that its configuration allows: a file of the
/// server's own directory by its name, any other by its path.
pub fn is_allowed(library: &str) -> bool {
    let name = library.strip_prefix("$libdir/").unwrap_or(library);
    let name = name.strip_suffix(".so").unwrap_or(name);
    // A name without a directory is looked for where the session's dynamic_library_path says.
    let own_directory = library.starts_with("$libdir/") && !name.contains('/');
    // SAFETY: the setting is NUL-terminated.
    let preloaded = unsafe { CStr::from_ptr(pg_sys::shared_preload_libraries_string) }.to_string_lossy();
    let allowed = ALLOWED_LIBRARIES
        .get()
        .map(|list| list.to_string_lossy().into_owned())
        .unwrap_or_default();
    own_directory && ["pg_batchcortex", "plpgsql"].contains(&name)
        || [&*preloaded, &allowed]
            .iter()
            .flat_map(|list| list.split(','))
            .map(|item| item.trim().trim_matches('"'))
            .any(|item| match item.contains('/') {
                true => item == library,
                false => own_directory && item == name,
            })
}

/// Whether a function in C is one of pg_surgery's, by its file or by its symbol.
pub fn is_surgery(file: &str, symbol: &str) -> bool {
    SURGERY.contains(&symbol) || base(file).starts_with("pg_surgery")
}

fn base(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// The refusal of pg_surgery, in whichever form it comes.
pub fn surgery() -> Refusal {
    guarded("pg_surgery refused: this database keeps records".to_owned())
}

/// Refuses a function that is code of the server, unless it stands in the script of an extension and comes from an allowed library.
///
/// # Safety
/// `statement` must be a parse tree.
pub unsafe fn check_function(statement: &pg_sys::CreateFunctionStmt) -> Result<(), Refusal> {
    // SAFETY: the parser's options: LANGUAGE holds a string, AS a list of them, the library first.
    unsafe {
        let mut language = None;
        let mut library = None;
        for option in elements::<pg_sys::DefElem>(statement.options) {
            if (*option).arg.is_null() {
                continue;
            }
            match CStr::from_ptr((*option).defname).to_bytes() {
                b"language" => {
                    let name = (*(*option).arg.cast::<pg_sys::String>()).sval;
                    language = Some(pg_sys::get_language_oid(name, true));
                }
                b"as" => {
                    library = elements((*option).arg.cast())
                        .next()
                        .map(|text: *mut pg_sys::String| {
                            CStr::from_ptr((*text).sval).to_string_lossy().into_owned()
                        });
                }
                _ => {}
            }
        }
        if !matches!(language, Some(INTERNAL | C)) || guard::own_script() {
            return Ok(());
        }
        let library = library.unwrap_or_default();
        if base(&library).starts_with("pg_surgery") {
            return Err(surgery());
        }
        if !guard::runs_script() {
            return Err(guarded(
                "CREATE FUNCTION refused in C and internal: only the scripts of extensions declare such functions".to_owned(),
            ));
        }
        if language == Some(C) && !is_allowed(&library) {
            return Err(not_allowed(&library));
        }
        Ok(())
    }
}

/// Refuses to load a library that is not allowed: its initialisation runs at once.
///
/// # Safety
/// `statement` must be a parse tree.
pub unsafe fn check_load(statement: &pg_sys::LoadStmt) -> Result<(), Refusal> {
    // SAFETY: the parser's string; a setting that every server has.
    unsafe {
        let file = CStr::from_ptr(statement.filename).to_string_lossy();
        let path = CStr::from_ptr(pg_sys::GetConfigOption(
            c"dynamic_library_path".as_ptr(),
            false,
            false,
        ));
        let usual = !file.contains('/') && path == c"$libdir";
        if is_allowed(&file) || usual && is_allowed(&format!("$libdir/{file}")) {
            return Ok(());
        }
        Err(not_allowed(&file))
    }
}

fn not_allowed(library: &str) -> Refusal {
    Refusal::new(
        crate::error::APPEND_ONLY,
        format!("the library {library} is refused: its code would run with the rights of the server"),
    )
    .hint("batchcortex.allowed_libraries names the libraries that extensions may use; it takes a restart.")
}

/// Refuses a call of pg_surgery.
pub fn check_call(function: pg_sys::Oid) -> Result<bool, Refusal> {
    let surgery_called = catalog::library(function).is_some_and(|(file, symbol)| is_surgery(&file, &symbol));
    if surgery_called && super::mark::any() {
        return Err(surgery());
    }
    Ok(!surgery_called)
}
