//! The project's own tables as the migrations make them: columns, defaults, constraints, indexes, views. What they are is told by an event of
//! the installation's log, which `migrate()` records; what they are now is compared with it here.

use super::{Finding, weakened};
use crate::identity::unscoped::unscoped;
use crate::ledger::scan::Scan;
use pgrx::datum::Json;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Each part by table (of a partition: its partitioned table), with its definition; whether the table is a partition; and whether the part may
/// be added: a column that is null, NOT NULL, an index that computes nothing and excludes nothing.
const QUERY: &str = "
    with own as (
        select c.*, coalesce(r.relname, c.relname)::text as name
          from pg_class c left join pg_class r on r.oid = pg_partition_root(c.oid)
         where c.relnamespace = to_regnamespace('batchcortex') and c.relkind in ('r', 'p', 'v', 'm')
    )
    select o.relname::text, o.relispartition, o.name as part,
           concat_ws(' ', o.relkind, o.relpersistence, case when o.relkind in ('v', 'm') then array_to_string(o.reloptions, ',') || ' ' || pg_get_viewdef(o.oid) end) as definition, false as harmless
      from own o where not o.relispartition
    union all
    select o.relname, o.relispartition, format('%s column %s', o.name, a.attname),
           concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid)),
           d.adbin is null and a.attidentity = '' and a.atttypid < 16384
      from own o join pg_attribute a on a.attrelid = o.oid and a.attnum > 0 and not a.attisdropped
      left join pg_attrdef d on d.adrelid = o.oid and d.adnum = a.attnum
    union all
    select o.relname, o.relispartition, format('%s column %s not null', o.name, a.attname), '', true
      from own o join pg_attribute a on a.attrelid = o.oid and a.attnum > 0 and not a.attisdropped and a.attnotnull
    union all
    select o.relname, o.relispartition, format('%s constraint %s', o.name, k.conname), concat_ws(' ', pg_get_constraintdef(k.oid), k.convalidated), false
      from own o join pg_constraint k on k.conrelid = o.oid and k.contype in ('c', 'f', 'p', 'u', 'x') and (not o.relispartition or k.contype = 'c')
    union all
    select o.relname, o.relispartition, format('%s index %s', o.name, i.relname), pg_get_indexdef(i.oid),
           x.indexprs is null and x.indpred is null and not x.indisunique and not x.indisexclusion
           and not exists (select from unnest(x.indclass) c where c >= 16384)
      from own o join pg_index x on x.indrelid = o.oid join pg_class i on i.oid = x.indexrelid and not i.relispartition
    union all
    select o.relname, o.relispartition, format('%s rule %s', o.name, r.rulename), pg_get_ruledef(r.oid), false
      from own o join pg_rewrite r on r.ev_class = o.oid and r.rulename <> '_RETURN' and o.relkind = 'v'";

/// A part as it is now.
struct Part {
    relation: String,
    partition: bool,
    name: String,
    print: String,
    harmless: bool,
}

fn now() -> Vec<Part> {
    Spi::connect(|client| {
        client
            .select(QUERY, None, &[])
            .unwrap_or_report()
            .map(|row| {
                let text = |i| row.get::<String>(i).unwrap_or_report().unwrap_or_default();
                let flag = |i| row.get::<bool>(i).unwrap_or_report().unwrap_or_default();
                Part {
                    relation: text(1),
                    partition: flag(2),
                    name: text(3),
                    print: hex::encode(&Sha256::digest(text(4).as_bytes())[..12]),
                    harmless: flag(5),
                }
            })
            .collect()
    })
}

/// Major version of the server: each writes definitions in its own way.
fn major() -> i32 {
    pg_sys::PG_VERSION_NUM as i32 / 10_000
}

/// The structure of the project's tables as it is now: `{"major": …, "parts": {part: first 12 bytes of the SHA-256 of its definition, hex}}`.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn schema_structure() -> Json {
    let parts: BTreeMap<String, String> = now()
        .into_iter()
        .filter(|part| !part.partition)
        .map(|part| (part.name, part.print))
        .collect();
    Json(serde_json::json!({ "major": major(), "parts": parts }))
}

/// Whether an event tells of the structure of this version under this major version of PostgreSQL.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn is_structure_told() -> bool {
    // SAFETY: one SPI connection for the scan, closed below or by the abort of the transaction.
    unsafe { pg_sys::SPI_connect() };
    let told = !told().is_empty();
    // SAFETY: as above.
    unsafe { pg_sys::SPI_finish() };
    told
}

/// What events tell of the applied version, under this major version of PostgreSQL. Several must agree: somebody may have written one
/// in advance.
fn told() -> Vec<BTreeMap<String, String>> {
    let query = "
        select e.after::text from batchcortex.events_log e
         where e.org_id = '00000000-0000-0000-0000-000000000000' and e.action = 'schema.structure'
           and e.record_id = (select max(m.version)::text from batchcortex.schema_migration m)";
    let mut found = Vec::new();
    unscoped(|| {
        let mut scan = Scan::open(query, &[], 100);
        while scan.next(|row| {
            let told: serde_json::Value = serde_json::from_slice(&row.bytes(0)).unwrap_or_default();
            if told["major"] == major() {
                found.push(serde_json::from_value(told["parts"].clone()).unwrap_or_default());
            }
        }) {}
        scan.close();
    });
    found
}

/// What differs. Inside no SPI connection.
pub fn check() -> Vec<Finding> {
    // SAFETY: one SPI connection for the scan, closed below or by the abort of the transaction.
    unsafe { pg_sys::SPI_connect() };
    let told = told();
    // SAFETY: as above.
    unsafe { pg_sys::SPI_finish() };
    let now = now();
    let mut findings = Vec::new();
    if told.is_empty() {
        findings.push(weakened(
            "batchcortex",
            "schema.structure",
            &format!(
                "no event tells what the tables are under PostgreSQL {}: CALL batchcortex.migrate() records it",
                major()
            ),
        ));
    }
    for told in &told {
        for part in &now {
            let detail = match told.get(&part.name) {
                Some(print) if *print == part.print || part.partition && part.name.contains(" index ") => {
                    continue;
                }
                Some(_) => "is not what the migrations make",
                None if part.harmless => continue,
                None => "is of no migration",
            };
            findings.push(weakened(
                &format!("batchcortex.{}", part.relation),
                &part.name,
                detail,
            ));
        }
        for name in told.keys() {
            if !now.iter().any(|part| !part.partition && part.name == *name) {
                findings.push(weakened("batchcortex", name, "is missing"));
            }
        }
    }
    findings.sort_by(|a, b| (&a.relation, &a.record).cmp(&(&b.relation, &b.record)));
    findings
}
