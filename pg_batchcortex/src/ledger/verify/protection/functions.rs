//! The functions of the project are those of this library: the text of the ones in SQL, the library file of the ones in Rust.

use super::{Finding, weakened};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use std::collections::HashMap;
use std::sync::OnceLock;

/// What CREATE EXTENSION runs, as far as it is written in SQL.
const FILES: &[&str] = crate::SQL_FUNCTIONS;

/// A function in SQL as its file writes it.
struct Written {
    body: &'static str,
    definer: bool,
}

/// Functions by qualified name; several of one name take different arguments.
fn written() -> &'static HashMap<&'static str, Vec<Written>> {
    static ALL: OnceLock<HashMap<&'static str, Vec<Written>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: HashMap<&'static str, Vec<Written>> = HashMap::new();
        for file in FILES {
            for start in ["create function ", "create procedure "] {
                for (at, _) in file.match_indices(start) {
                    // Not the word in the middle of a body: every statement begins a line.
                    if at > 0 && file.as_bytes()[at - 1] != b'\n' {
                        continue;
                    }
                    let rest = &file[at + start.len()..];
                    let (Some(name), Some(open)) = (rest.find('('), rest.find("$$")) else {
                        continue;
                    };
                    let header = &rest[..open];
                    let Some(close) = rest[open + 2..].find("$$") else {
                        continue;
                    };
                    // A function without a body of its own (language c) ends before the next one's dollar.
                    if header.contains(";\n") {
                        continue;
                    }
                    all.entry(&rest[..name]).or_default().push(Written {
                        body: &rest[open + 2..open + 2 + close],
                        definer: header.contains("security definer"),
                    });
                }
            }
        }
        all
    })
}

const QUERY: &str = "
    select p.oid::regprocedure::text, n.nspname || '.' || p.proname, p.proname::text, l.lanname::text, p.prosrc, p.probin, p.prosecdef,
           coalesce(p.proconfig, '{}'),
           exists (select from pg_depend d join pg_extension x on x.oid = d.refobjid
                    where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.refclassid = 'pg_extension'::regclass
                      and d.deptype = 'e' and x.extname = 'pg_batchcortex')
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
     where n.nspname in ('batchcortex', 'batchcortex_api')
     order by 1";

/// What is replaced, added or gone.
pub fn check() -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    Spi::connect(|client| {
        for row in client.select(QUERY, None, &[]).unwrap_or_report() {
            let text = |i: usize| row.get::<String>(i).unwrap_or_report().unwrap_or_default();
            let flag = |i: usize| row.get::<bool>(i).unwrap_or_report().unwrap_or_default();
            let (signature, qualified, name, language, source) =
                (text(1), text(2), text(3), text(4), text(5));
            let settings: Vec<String> = row.get(8).unwrap_or_report().unwrap_or_default();
            let mut find = |detail: &str| findings.push(weakened(&signature, &name, detail));
            if !flag(9) {
                find("the function is not a member of the extension");
            }
            if language == "c" {
                let library = text(6);
                // open_request is bind_request in the library: a verb of the field on both sides.
                let symbol = source.strip_suffix("_wrapper").unwrap_or(&source);
                if library.rsplit('/').next() != Some("pg_batchcortex")
                    || symbol != name && (name.as_str(), symbol) != ("open_request", "bind_request")
                {
                    find("the function is not this library's");
                }
                continue;
            }
            *seen.entry(qualified.clone()).or_default() += 1;
            let known = written().get(qualified.as_str()).is_some_and(|written| {
                written
                    .iter()
                    .any(|written| written.body == source && written.definer == flag(7))
            });
            if !known {
                find("the function's text is not that of this library");
            }
            if flag(7)
                && !settings
                    .iter()
                    .any(|setting| setting.starts_with("search_path=pg_catalog"))
            {
                find("the function runs with its owner's rights under a search_path of others");
            }
        }
    });
    for (name, written) in written() {
        if seen.get(*name).copied().unwrap_or(0) < written.len() {
            findings.push(weakened(name, "function", "the function is missing"));
        }
    }
    findings.sort_by(|a, b| a.relation.cmp(&b.relation));
    findings
}
