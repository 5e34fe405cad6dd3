//! Triggers, rules and row security of guarded tables.

use super::{Finding, ask};

/// Each table with the triggers that it must have: name, function, and the kind as pg_trigger.tgtype packs it (1 row, 2 before, 4 insert,
/// 8 delete, 16 update, 32 truncate). Row triggers of a partitioned table reach its partitions.
const QUERY: &str = "
    with recursive guarded (relid, kind) as (
        values (to_regclass('batchcortex.events_log'), 'event'), (to_regclass('batchcortex.sample_segment'), 'segment'),
               (to_regclass('batchcortex.ingest_receipt'), 'kept'), (to_regclass('batchcortex.login_attempt'), 'kept'),
               (to_regclass('batchcortex.agreement'), 'kept'), (to_regclass('batchcortex.agreement_acceptance'), 'kept'),
               (to_regclass('batchcortex.schema_migration'), 'kept'), (to_regclass('batchcortex.ledger_timestamp'), 'kept'), (to_regclass('batchcortex.ledger_relation'), 'kept'),
               (to_regclass('batchcortex.ledger_checkpoint'), 'checkpoint'), (to_regclass('batchcortex.ledger_incarnation'), 'checkpoint'),
               (to_regclass('batchcortex.ledger_witness'), 'kept'), (to_regclass('batchcortex.ledger_cosignature'), 'kept'),
               (to_regclass('batchcortex.ledger_incarnation_request'), 'kept'),
               (to_regclass('batchcortex.ledger_queue'), 'ledger'), (to_regclass('batchcortex.ledger_tile'), 'ledger'),
               (to_regclass('batchcortex.ledger_tree'), 'ledger'), (to_regclass('batchcortex.tracked_table'), 'ledger'),
               (to_regclass('batchcortex.user_account'), 'account'), (to_regclass('batchcortex.personal_data'), 'personal'),
               (to_regclass('batchcortex.totp'), 'credential'), (to_regclass('batchcortex.password_history'), 'credential'),
               (to_regclass('batchcortex.permission'), 'permission'), (to_regclass('batchcortex.role_permission'), 'permission'),
               (to_regclass('batchcortex.organisation'), 'changing'), (to_regclass('batchcortex.membership'), 'changing'),
               (to_regclass('batchcortex.session'), 'changing'), (to_regclass('batchcortex.invitation'), 'changing'),
               (to_regclass('batchcortex.equipment'), 'changing'), (to_regclass('batchcortex.tag'), 'changing'),
               (to_regclass('batchcortex.device'), 'changing'), (to_regclass('batchcortex.device_key'), 'changing'),
               (to_regclass('batchcortex.device_tag'), 'changing'), (to_regclass('batchcortex.batch'), 'changing'),
               (to_regclass('batchcortex.api_key'), 'changing'), (to_regclass('batchcortex.auditor_grant'), 'changing'),
               (to_regclass('batchcortex.retention_policy'), 'retention'), (to_regclass('batchcortex.batch_retention'), 'retention'),
               (to_regclass('batchcortex.legal_hold'), 'retention'), (to_regclass('batchcortex.legal_hold_release'), 'retention'),
               (to_regclass('batchcortex.disposal_proposal'), 'retention'), (to_regclass('batchcortex.partition_disposal'), 'disposal')
        union select r.relation, 'foreign' from batchcortex.ledger_relation r where not r.hashed
    ), tree as (
        select relid::oid, kind, relid::oid as root from guarded where exists (select from pg_class c where c.oid = relid)
        union all
        select i.inhrelid, t.kind, t.root from tree t join pg_inherits i on i.inhparent = t.relid
    ), expected (kind, name, function, type, takes) as (
        values ('kept', 'append_only', 'refuse_change', 27, 0), ('kept', 'append_only_truncate', 'refuse_change', 34, 0),
               ('event', 'append_only', 'refuse_change', 27, 0), ('event', 'append_only_truncate', 'refuse_change', 34, 0),
               ('event', 'leaf_stamp', 'event_stamp', 7, 3), ('event', 'leaf_enqueue', 'leaf_enqueue', 5, 3),
               ('segment', 'append_only', 'refuse_change', 27, 0), ('segment', 'append_only_truncate', 'refuse_change', 34, 0),
               ('segment', 'leaf_stamp', 'leaf_stamp', 7, 3), ('segment', 'leaf_enqueue', 'leaf_enqueue', 5, 3),
               ('retention', 'append_only', 'refuse_change', 27, 0), ('retention', 'append_only_truncate', 'refuse_change', 34, 0),
               ('retention', 'leaf_stamp', 'leaf_stamp', 7, 3), ('retention', 'leaf_enqueue', 'leaf_enqueue', 5, 3),
               ('retention', 'by_login', 'record_login', 7, 0),
               ('disposal', 'append_only', 'refuse_change', 27, 0), ('disposal', 'append_only_truncate', 'refuse_change', 34, 0),
               ('disposal', 'leaf_stamp', 'leaf_stamp', 7, 3), ('disposal', 'leaf_enqueue', 'leaf_enqueue', 5, 3),
               ('disposal', 'by_login', 'record_login', 7, 0), ('disposal', 'disposal_only', 'refuse_disposals', 6, 0),
               ('checkpoint', 'append_only', 'refuse_change', 27, 0), ('checkpoint', 'append_only_truncate', 'refuse_change', 34, 0),
               ('checkpoint', 'single_writer', 'refuse_writers', 7, 0), ('checkpoint', 'single_writer_truncate', 'refuse_writers', 34, 0),
               ('ledger', 'single_writer', 'refuse_writers', 31, 0), ('ledger', 'single_writer_truncate', 'refuse_writers', 34, 0),
               ('foreign', 'append_only', 'refuse_change', 27, 0), ('foreign', 'append_only_truncate', 'refuse_change', 34, 0),
               ('foreign', 'leaf_enqueue', 'row_enqueue', 5, null),
               ('changing', 'keep_rows', 'refuse_delete', 11, 0), ('changing', 'keep_rows_truncate', 'refuse_delete', 34, 0),
               ('changing', 'by_hand', 'capture_by_hand', 25, 4), ('credential', 'by_hand', 'capture_by_hand', 25, 4),
               ('permission', 'by_hand', 'capture_by_hand', 29, 4), ('account', 'by_hand', 'capture_by_hand', 25, 4),
               ('personal', 'keep_personal_data', 'keep_personal_data', 27, 0), ('personal', 'keep_personal_data_truncate', 'keep_personal_data', 34, 0),
               ('account', 'keep_username', 'keep_username', 27, 0), ('account', 'keep_usernames', 'keep_username', 34, 0)
    ), actual as (
        select g.*, p.proname, n.nspname = 'batchcortex' as own,
               string_to_array(encode(g.tgargs, 'escape'), '\\000') as arguments
          from pg_trigger g join pg_proc p on p.oid = g.tgfoid join pg_namespace n on n.oid = p.pronamespace
         where not g.tgisinternal or g.tgparentid <> 0
    ), register as (
        select r.relation::oid as root, array[r.relation_id::text, r.domain] || case when r.hashed then '{}'::text[] else array[coalesce(r.org_column, '')] end
               || r.key_columns::text[] || '{\"\"}'::text[] as arguments, r.known_triggers
          from batchcortex.ledger_relation r
    )
    select t.relid::regclass::text, e.name,
           case when a.oid is null then 'the trigger is missing, or another function stands in its place'
                when a.tgenabled <> 'A' then 'the trigger is not enabled in every replication role'
                else 'the trigger does not fire for what it is meant for' end
      from tree t join expected e on e.kind = t.kind
      left join actual a on a.tgrelid = t.relid and a.tgname = e.name and a.own and a.proname = e.function
      left join register r on r.root = t.root
     where a.oid is null or a.tgenabled <> 'A' or a.tgtype <> e.type or a.tgqual is not null or a.tgattr::text <> ''
        or a.tgdeferrable or a.tgnargs <> coalesce(e.takes, a.tgnargs) or a.proname in ('event_stamp', 'leaf_stamp', 'leaf_enqueue', 'row_enqueue')
           and a.arguments is distinct from r.arguments
    union all
    select c.oid::regclass::text, a.tgname,
           case when a.own then 'a trigger of the project stands where none belongs' else 'the trigger is not one of the project''s and could alter rows' end
      from actual a join pg_class c on c.oid = a.tgrelid
      left join tree t on t.relid = c.oid
      left join register r on r.root = t.root
     where (c.relnamespace = to_regnamespace('batchcortex') or t.relid is not null)
       and not exists (select from expected e where e.kind = t.kind and e.name = a.tgname and e.function = a.proname and a.own)
       and not (t.kind = 'foreign' and not a.own and (a.tgtype & 66 = 0 or a.tgname = any (r.known_triggers)))
       and not (a.own and a.proname like 'capture%')
       and not (t.kind = 'foreign' and a.own and a.proname = 'tombstone_stamp')
    union all
    select k.confrelid::regclass::text, 'keep_rows', 'rows can be deleted without a tombstone: the trigger is missing or not enabled in every replication role'
      from actual a join pg_constraint k on k.conrelid = a.tgrelid and k.conname = 'tombstone_of' and k.contype = 'f'
     where a.own and a.proname = 'tombstone_stamp'
       and 2 > (select count(distinct d.tgtype) from actual d where d.tgrelid = k.confrelid and d.own and d.proname = 'refuse_delete' and d.tgenabled = 'A'
                   and d.tgtype in (11, 34) and d.tgqual is null)
    union all
    select coalesce(t.living, 'table.soft_deletable'), 'keep_rows', 'the view of the rows that live is missing, or another stands in its place'
      from batchcortex.events_log e cross join lateral (select batchcortex.event_member(e.after::text, 'living') as living) t
     where e.org_id = '00000000-0000-0000-0000-000000000000' and e.action = 'table.soft_deletable'
       and not exists (select from actual d join pg_class c on c.oid = d.tgrelid join pg_namespace n on n.oid = c.relnamespace
                        where format('%I.%I', n.nspname, c.relname) = t.living and d.own and d.proname = 'refuse_delete')
    union all
    select c.oid::regclass::text, r.rulename, 'a rule could divert what is written'
      from pg_rewrite r join pg_class c on c.oid = r.ev_class
     where c.relkind in ('r', 'p') and (c.relnamespace = to_regnamespace('batchcortex') or c.oid in (select relid from tree))
    union all
    select c.oid::regclass::text, c.relname, 'row-level security is not enabled and forced'
      from pg_class c
     where c.relnamespace = to_regnamespace('batchcortex') and c.relkind in ('r', 'p')
       and c.relname not in ('ledger_queue', 'ledger_relation', 'ledger_incarnation', 'ledger_incarnation_request', 'ledger_timestamp', 'ledger_witness', 'ledger_cosignature', 'tracked_table', 'permission', 'role_permission', 'schema_migration')
       and not (c.relrowsecurity and c.relforcerowsecurity)
    union all
    select t.relid::regclass::text, c.relname, 'the table is not a permanent one: a crash would empty it'
      from tree t join pg_class c on c.oid = t.relid where c.relpersistence <> 'p'
     order by 1, 2, 3";

/// What is missing, altered or added.
pub fn check() -> Vec<Finding> {
    ask(QUERY)
}
