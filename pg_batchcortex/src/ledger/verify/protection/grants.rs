//! Policies, privileges and roles.

use super::{Finding, ask};

const QUERY: &str = "
    with own as (
        select c.* from pg_class c where c.relnamespace = to_regnamespace('batchcortex')
    ), routine as (
        select p.*, n.nspname from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname in ('batchcortex', 'batchcortex_api')
    )
    -- Policies that no migration makes, or that say something else.
    select c.oid::regclass::text, p.polname::text, 'the policy is not what the project made'
      from own c join pg_policy p on p.polrelid = c.oid
     cross join lateral (select array(select r.rolname::text from pg_roles r where r.oid = any (p.polroles)) as roles,
                                regexp_replace(pg_get_expr(p.polqual, p.polrelid), '\\s+', ' ', 'g') as reads,
                                regexp_replace(pg_get_expr(p.polwithcheck, p.polrelid), '\\s+', ' ', 'g') as writes) e
     where not (p.polpermissive and coalesce(
        case when c.relname = 'user_account' and p.polname = 'organisation'
             then p.polcmd = '*' and e.roles = '{batchcortex_owner}' and e.writes = 'false' and e.reads =
                  '((user_id = batchcortex.current_user_id()) OR (EXISTS ( SELECT FROM batchcortex.membership m WHERE ((m.org_id = batchcortex.current_org_id()) AND (m.user_id = user_account.user_id)))))'
             when c.relname = 'user_account' and p.polname = 'auditor'
             then p.polcmd = 'r' and e.roles = '{batchcortex_auditor}' and e.reads = '(EXISTS ( SELECT FROM batchcortex.membership m WHERE (m.user_id = user_account.user_id)))'
             when p.polname = 'organisation'
             then p.polcmd = '*' and e.roles = '{batchcortex_owner}' and e.reads = '(org_id = batchcortex.current_org_id())' and e.writes = e.reads
             when p.polname = 'auditor'
             then p.polcmd = 'r' and e.roles = '{batchcortex_auditor}'
                  and e.reads = '(org_id = ANY (( SELECT batchcortex.auditor_organisations() AS auditor_organisations)::uuid[]))'
             when p.polname = 'global_log' and c.relname in ('ledger_tree', 'ledger_tile', 'ledger_checkpoint')
             then p.polcmd = 'r' and e.roles <@ '{batchcortex_owner,batchcortex_auditor}' and cardinality(e.roles) = 2
                  and e.reads = '(org_id = ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid)'
        end, false))
    union all
    select c.oid::regclass::text, a.privilege_type, format('granted to %s by hand', case a.grantee when 0 then 'PUBLIC' else a.grantee::regrole::text end)
      from own c cross join lateral (select * from aclexplode(c.relacl)
                                     union select x.* from pg_attribute t cross join lateral aclexplode(t.attacl) x where t.attrelid = c.oid) a
     where a.grantee <> c.relowner and a.grantee is distinct from to_regrole('batchcortex_owner')::oid
       and not (a.grantee is not distinct from to_regrole('batchcortex_auditor')::oid and a.privilege_type = 'SELECT')
       and not exists (select from pg_roles r where r.oid = a.grantee and r.rolsuper)
    union all
    select r.oid::regprocedure::text, 'EXECUTE', format('granted to %s by hand', case a.grantee when 0 then 'PUBLIC' else a.grantee::regrole::text end)
      from routine r cross join lateral aclexplode(coalesce(r.proacl, acldefault('f', r.proowner))) a
     where a.grantee <> r.proowner and a.grantee is distinct from to_regrole('batchcortex_owner')::oid
       and not (r.nspname = 'batchcortex_api' and a.grantee is not distinct from to_regrole('batchcortex_api')::oid)
       and a.grantee is distinct from to_regrole('batchcortex_auditor')::oid
       -- The owner of a tracked partitioned table, to whom track() grants it; applications that give reasons.
       and r.proname not in ('capture_row', 'set_reason')
       and not exists (select from pg_roles s where s.oid = a.grantee and s.rolsuper)
    union all
    -- What such a function does is told by nobody.
    select p.oid::regprocedure::text, 'batchcortex_owner', 'a function that is none of the project''s runs as batchcortex_owner'
      from pg_proc p
     where p.proowner = to_regrole('batchcortex_owner')::oid and p.prosecdef and p.oid not in (select r.oid from routine r)
    union all
    select c.oid::regclass::text, c.relowner::regrole::text, 'the table does not belong to batchcortex_owner'
      from own c where c.relkind in ('r', 'p', 'v') and c.relname <> 'schema_migration' and c.relowner is distinct from to_regrole('batchcortex_owner')::oid
    union all
    select r.rolname::text, 'role', 'the role has rights of its own: superuser, BYPASSRLS, CREATEROLE or LOGIN'
      from pg_roles r where r.rolname in ('batchcortex_owner', 'batchcortex_api', 'batchcortex_auditor')
       and (r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcanlogin)
    union all
    select m.member::regrole::text, 'role', 'is a member of batchcortex_owner'
      from pg_auth_members m where m.roleid = to_regrole('batchcortex_owner')::oid
    -- From PostgreSQL 16 on a role that CREATEROLE made belongs to its maker with the admin option alone.
       and not exists (select from pg_roles s where s.oid = m.member and s.rolsuper)
     order by 1, 2, 3";

/// What was granted, widened or given away.
pub fn check() -> Vec<Finding> {
    ask(QUERY)
}
