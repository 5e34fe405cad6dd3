//! What the log tells of tracked tables, replayed from its first event on, compared with the register.

use super::Finding;
use crate::identity::unscoped::unscoped;
use crate::ledger::scan::Scan;
use pgrx::prelude::*;

/// A table that the log tells is tracked.
pub struct Tracked {
    /// Qualified and quoted, as it is called now.
    pub name: String,
    /// What it was called before.
    former: Vec<String>,
    /// How it is tracked: the register's columns.
    told: serde_json::Value,
}

const EVENTS: &str = "
    select e.action, e.record_id, coalesce(e.after, '{}')::text from batchcortex.events_log e
     where e.org_id = '00000000-0000-0000-0000-000000000000' and e.record_type = 'table'
       and e.action in ('table.tracked', 'table.untracked', 'table.altered')
     order by e.recorded_at, e.event_id";

const REGISTER: &str = "
    select case when c.oid is null then r.relation::oid::text else format('%I.%I', n.nspname, c.relname) end,
           json_build_object('org_column', r.org_column, 'require_reason', r.require_reason, 'left_out', r.left_out, 'masked', r.masked)::text
      from batchcortex.tracked_table r left join pg_class c on c.oid = r.relation left join pg_namespace n on n.oid = c.relnamespace";

/// The tables that the log tells are tracked. Inside an SPI connection.
pub fn told() -> Vec<Tracked> {
    let mut tables: Vec<Tracked> = Vec::new();
    unscoped(|| {
        let mut scan = Scan::open(EVENTS, &[], 1000);
        while scan.next(|row| {
            let text = |i| String::from_utf8_lossy(&row.bytes(i)).into_owned();
            let (action, name) = (text(0), text(1));
            let after: serde_json::Value = serde_json::from_str(&text(2)).unwrap_or_default();
            match action.as_str() {
                "table.altered" => {
                    if let Some(table) = tables.iter_mut().find(|table| table.name == name)
                        && let Some(now) = after["name"].as_str().filter(|now| *now != name)
                    {
                        table
                            .former
                            .push(std::mem::replace(&mut table.name, now.to_owned()));
                    }
                }
                action => {
                    tables.retain(|table| table.name != name);
                    if action == "table.tracked" {
                        tables.push(Tracked {
                            name,
                            former: Vec::new(),
                            told: after,
                        });
                    }
                }
            }
        }) {}
        scan.close();
    });
    tables
}

/// Whether the log tells that a table of this name is tracked.
pub fn is_told(name: &str) -> bool {
    // SAFETY: one SPI connection for the scan, closed below or by the abort of the transaction.
    unsafe { pg_sys::SPI_connect() };
    let told = told().iter().any(|table| table.name == name);
    // SAFETY: as above.
    unsafe { pg_sys::SPI_finish() };
    told
}

/// Where the register and the log differ. Inside an SPI connection.
pub fn check() -> Vec<Finding> {
    let told = told();
    let mut registered = Vec::new();
    let mut scan = Scan::open(REGISTER, &[], 1000);
    while scan.next(|row| {
        let text = |i| String::from_utf8_lossy(&row.bytes(i)).into_owned();
        let settings: serde_json::Value = serde_json::from_str(&text(1)).unwrap_or_default();
        registered.push((text(0), settings));
    }) {}
    scan.close();
    let mut findings = Vec::new();
    let mut find = |name: &str, detail: &str| {
        findings.push(Finding {
            log: "installation".to_owned(),
            code: "weakened_protection",
            relation: "batchcortex.tracked_table".to_owned(),
            record: name.to_owned(),
            detail: detail.to_owned(),
        });
    };
    for table in &told {
        match registered.iter().find(|(name, _)| *name == table.name) {
            None => find(
                &table.name,
                "the log tells that the table is tracked, and it is not registered",
            ),
            Some((_, settings)) if *settings != table.told => {
                find(&table.name, "the register differs from the event table.tracked")
            }
            Some(_) => {}
        }
        for former in &table.former {
            if exists(former) && !registered.iter().any(|(name, _)| name == former) {
                find(
                    former,
                    &format!(
                        "a table stands under a name that the tracked table {} had",
                        table.name
                    ),
                );
            }
        }
    }
    for (name, _) in &registered {
        if !told.iter().any(|table| table.name == *name) {
            find(name, "no event table.tracked tells of the table");
        }
    }
    findings
}

fn exists(name: &str) -> bool {
    let mut found = false;
    let literal = pgrx::spi::quote_literal(name);
    // Whatever the text is: casting it could raise.
    let query = format!(
        "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace where format('%I.%I', n.nspname, c.relname) = {literal})"
    );
    let mut scan = Scan::open(&query, &[], 1);
    while scan.next(|row| found |= row.get(0).is_some_and(|value| value.value() & 0xff != 0)) {}
    scan.close();
    found
}
