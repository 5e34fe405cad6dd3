//! What stands between a row and its change: the triggers, row security and the preloaded library.

use super::Finding;
use crate::ledger::worker;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// Triggers that each table must have, with the function that each must call; those on the parent reach its partitions.
const QUERY: &str = "
    with recursive source as (
        select r.relation::oid as relid, c.relispartition, r.relation::oid as root, true as is_source
          from batchcortex.ledger_relation r join pg_class c on c.oid = r.relation
        union
        select c.oid, c.relispartition, c.oid, false
          from pg_class c
         where c.oid in (to_regclass('batchcortex.ledger_checkpoint'), to_regclass('batchcortex.ingest_receipt'),
                         to_regclass('batchcortex.login_attempt'), to_regclass('batchcortex.agreement'), to_regclass('batchcortex.agreement_acceptance'))
    ), tree as (
        select relid, root, is_source, false as child from source
        union all
        select i.inhrelid, t.root, t.is_source, true from tree t join pg_inherits i on i.inhparent = t.relid
    ), expected as (
        select t.relid, e.name, e.function
          from tree t,
               lateral (values ('append_only', 'refuse_change'), ('append_only_truncate', 'refuse_change'),
                               ('leaf_stamp', null), ('leaf_enqueue', 'leaf_enqueue')) as e (name, function)
         where t.is_source or e.name like 'append%'
    ), actual as (
        select g.tgrelid, g.tgname, g.tgenabled, p.proname, n.nspname, g.tgisinternal
          from pg_trigger g join pg_proc p on p.oid = g.tgfoid join pg_namespace n on n.oid = p.pronamespace
    )
    select e.relid::regclass::text, e.name, case when a.tgname is null then 'the trigger is missing' else 'the trigger is not enabled in every replication role' end
      from expected e
      left join actual a on a.tgrelid = e.relid and a.tgname = e.name and a.nspname = 'batchcortex'
       and (e.function is null and a.proname in ('event_stamp', 'leaf_stamp') or a.proname = e.function)
     where a.tgname is null or a.tgenabled <> 'A'
    union all
    select t.relid::regclass::text, a.tgname, 'the trigger is not one of the project''s and could alter rows'
      from tree t join actual a on a.tgrelid = t.relid
     where not a.tgisinternal and not (a.nspname = 'batchcortex' and a.tgname in ('append_only', 'append_only_truncate', 'leaf_stamp', 'leaf_enqueue'))
    union all
    select t.relid::regclass::text, r.rulename, 'a rule could divert what is written'
      from tree t join pg_rewrite r on r.ev_class = t.relid
    union all
    select c.oid::regclass::text, c.relname, 'row-level security is not enabled and forced'
      from tree t join pg_class c on c.oid = t.relid
     where not (c.relrowsecurity and c.relforcerowsecurity)
     order by 1, 2, 3";

/// Findings about the installation as a whole.
pub fn check() -> Vec<Finding> {
    let weakened = |relation: String, record: String, detail: String| Finding {
        log: "installation".to_owned(),
        code: "weakened_protection",
        relation,
        record,
        detail,
    };
    let mut findings: Vec<Finding> = Spi::connect(|client| {
        client
            .select(QUERY, None, &[])
            .unwrap_or_report()
            .map(|row| {
                let text = |i| row.get::<String>(i).unwrap_or_report().unwrap_or_default();
                weakened(text(1), text(2), text(3))
            })
            .collect()
    });
    if !worker::available() {
        let detail = "pg_batchcortex is not in shared_preload_libraries: nothing is sealed".to_owned();
        findings.push(weakened(
            "server".to_owned(),
            "shared_preload_libraries".to_owned(),
            detail,
        ));
    }
    findings
}
