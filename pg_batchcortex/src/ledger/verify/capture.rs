//! What captures the changes of tracked tables: the triggers that `track()` made, as the register says they should be.

use super::Finding;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// Triggers that each tracked table must have; row triggers reach its partitions, arguments say what is masked,
/// and kind (pg_trigger.tgtype) for which events it fires.
const QUERY: &str = r"
    with recursive tree as (
        select r.relation::oid as relid, true as top,
               convert_to(coalesce(r.org_column, ''), 'UTF8') || '\x00'::bytea || case when r.require_reason then 'reason required' else '' end::bytea || '\x00'::bytea
               || convert_to(array_to_json(r.left_out)::text, 'UTF8') || '\x00'::bytea || convert_to(array_to_json(r.masked)::text, 'UTF8') || '\x00'::bytea as arguments
          from batchcortex.tracked_table r
        union all
        select i.inhrelid, false, t.arguments
          from tree t join pg_inherits i on i.inhparent = t.relid join pg_class c on c.oid = i.inhrelid and c.relispartition
    ), expected as (
        select t.relid, e.name, e.function, e.kind, case when e.told then t.arguments else '' end as arguments
          from tree t,
               lateral (values ('0_batchcortex_row', 'capture_row', true, 29), ('0_batchcortex_begin', 'capture_begin', false, 30),
                               ('0_batchcortex_end', 'capture_end', false, 28), ('0_batchcortex_truncate', 'capture_truncate', true, 34)) as e (name, function, told, kind)
         where t.top or e.name = '0_batchcortex_row'
    ), actual as (
        select g.tgrelid, g.tgname, g.tgenabled, g.tgargs, g.tgqual, g.tgtype, cardinality(g.tgattr::int2[]) as columns, p.proname
          from pg_trigger g join pg_proc p on p.oid = g.tgfoid join pg_namespace n on n.oid = p.pronamespace
         where n.nspname = 'batchcortex'
    )
    select e.relid::regclass::text, e.name,
           case when c.oid is null then 'a tracked table is gone that was not untracked'
                when a.tgname is null then 'the trigger that captures changes is missing'
                when a.tgenabled <> 'A' then 'the trigger that captures changes is not enabled in every replication role'
                else 'the trigger that captures changes is not as batchcortex.tracked_table says' end
      from expected e
      left join pg_class c on c.oid = e.relid
      left join actual a on a.tgrelid = e.relid and a.tgname = e.name and a.proname = e.function
     where (c.oid is not null or e.name = '0_batchcortex_row')
       and (a.tgname is null or a.tgenabled <> 'A' or a.tgqual is not null or a.tgtype <> e.kind or a.columns > 0
            or a.tgargs <> e.arguments)
     order by 1, 2";

/// Findings about tracked tables.
pub fn check() -> Vec<Finding> {
    Spi::connect(|client| {
        client
            .select(QUERY, None, &[])
            .unwrap_or_report()
            .map(|row| {
                let text = |i| row.get::<String>(i).unwrap_or_report().unwrap_or_default();
                Finding {
                    log: "installation".to_owned(),
                    code: "weakened_protection",
                    relation: text(1),
                    record: text(2),
                    detail: text(3),
                }
            })
            .collect()
    })
}
