//! Code of the server: functions in C from libraries that are not allowed, internal functions made by hand, libraries that sessions load;
//! and what stands among PostgreSQL's own functions, operators and casts without being PostgreSQL's. Read from the catalogs row by row: an
//! operator that somebody has put into pg_catalog decides nothing here.

use super::{Finding, weakened};
use crate::protection::{catalog, library};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::{Spi, pg_sys};
use std::ffi::CStr;

/// pg_cast, whose rows pgrx does not name.
const CAST: pg_sys::Oid = pg_sys::Oid::from_u32(2605);

/// The first columns of pg_cast.
#[repr(C)]
struct Cast {
    oid: pg_sys::Oid,
    source: pg_sys::Oid,
    target: pg_sys::Oid,
}

/// pg_catalog.
const CATALOG: pg_sys::Oid = pg_sys::Oid::from_u32(11);

/// Settings of databases and roles, and those of the session as far as whoever verifies may see them.
const LOADED: &str = "
    select case s.setdatabase when 0 then 'every database' else (select d.datname::text from pg_database d where d.oid = s.setdatabase) end
           || case s.setrole when 0 then '' else ', role ' || s.setrole::regrole::text end, c
      from pg_db_role_setting s cross join lateral unnest(s.setconfig) c
     where c like 'session\\_preload\\_libraries=%' or c like 'local\\_preload\\_libraries=%' or c like 'dynamic\\_library\\_path=%'
    union all
    select 'server', s.name || '=' || s.setting from pg_settings s where s.name in ('session_preload_libraries', 'local_preload_libraries', 'dynamic_library_path')";

/// What is made by hand, or comes from elsewhere.
pub fn check() -> Vec<Finding> {
    let mut findings = Vec::new();
    catalog::each(pg_sys::ProcedureRelationId, |row: &pg_sys::FormData_pg_proc| {
        if !is_made(row.oid) {
            return;
        }
        let member = is_member(pg_sys::ProcedureRelationId, row.oid);
        let told = match catalog::library(row.oid).filter(|_| row.prolang == library::C) {
            Some((file, symbol)) if library::is_surgery(&file, &symbol) => Some(format!(
                "pg_surgery changes pages beneath every check: {file} {symbol}"
            )),
            Some((file, _)) if !library::is_allowed(&file) => Some(format!(
                "a function in C from {file}, which batchcortex.allowed_libraries does not name"
            )),
            Some((file, _)) if !member => Some(format!(
                "a function in C from {file} that belongs to no extension"
            )),
            None if row.prolang == library::INTERNAL && !member => {
                Some("an internal function that belongs to no extension".to_owned())
            }
            _ if row.pronamespace == CATALOG && !member => Some(NOT_OURS.to_owned()),
            _ => None,
        };
        findings.extend(told.map(|told| weakened(&name(&row.proname), "function", &told)));
    });
    catalog::each(
        pg_sys::OperatorRelationId,
        |row: &pg_sys::FormData_pg_operator| {
            if is_made(row.oid)
                && row.oprnamespace == CATALOG
                && !is_member(pg_sys::OperatorRelationId, row.oid)
            {
                findings.push(weakened(&name(&row.oprname), "operator", NOT_OURS));
            }
        },
    );
    catalog::each(CAST, |row: &Cast| {
        if is_made(row.oid) && !is_made(row.source) && !is_made(row.target) && !is_member(CAST, row.oid) {
            let casts = format!("{} as {}", type_name(row.source), type_name(row.target));
            findings.push(weakened(&casts, "cast", NOT_OURS));
        }
    });
    findings.extend(loaded());
    findings.sort_by(|a, b| (&a.record, &a.relation, &a.detail).cmp(&(&b.record, &b.relation, &b.detail)));
    findings
}

const NOT_OURS: &str =
    "stands among PostgreSQL's own, where verification could call it, and belongs to no extension";

/// Libraries that sessions load when they begin, and that are not allowed.
fn loaded() -> Vec<Finding> {
    let settings: Vec<(String, String)> = Spi::connect(|client| {
        client
            .select(LOADED, None, &[])
            .unwrap_or_report()
            .map(|row| {
                let text = |i| row.get::<String>(i).unwrap_or_report().unwrap_or_default();
                (text(1), text(2))
            })
            .collect()
    });
    let mut findings = Vec::new();
    for (place, setting) in settings {
        let (name, list) = setting.split_once('=').unwrap_or((&setting, ""));
        if name == "dynamic_library_path" {
            if list != "$libdir" {
                let told = format!("libraries without a directory are looked for in {list}");
                findings.push(weakened(&place, name, &told));
            }
            continue;
        }
        for library in list.split(',').map(|item| item.trim().trim_matches('"')) {
            let path = format!("$libdir/{library}");
            let allowed = library.is_empty() || library::is_allowed(library) || library::is_allowed(&path);
            if !allowed {
                let told =
                    format!("sessions load {library}, which batchcortex.allowed_libraries does not name");
                findings.push(weakened(&place, name, &told));
            }
        }
    }
    findings
}

/// Whether somebody has made an object, and not initdb.
fn is_made(object: pg_sys::Oid) -> bool {
    object.to_u32() >= pg_sys::FirstNormalObjectId
}

fn is_member(class: pg_sys::Oid, object: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::getExtensionOfObject(class, object) != pg_sys::InvalidOid }
}

fn name(name: &pg_sys::NameData) -> String {
    // SAFETY: names in catalogs are NUL-terminated.
    unsafe { CStr::from_ptr(name.data.as_ptr()) }
        .to_string_lossy()
        .into_owned()
}

fn type_name(kind: pg_sys::Oid) -> String {
    // SAFETY: gives a NUL-terminated name, of an unknown type too.
    unsafe { CStr::from_ptr(pg_sys::format_type_be(kind)) }
        .to_string_lossy()
        .into_owned()
}
