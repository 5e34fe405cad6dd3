-- An auditor's database login reads the organisations granted to it, for as long as the grant holds, and nothing else.
-- control: A8 R5 R20
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
\set again 'user=' :USER
set batchcortex.rate_general = 0;
drop role if exists regress_clara, regress_dirk, regress_team, regress_api;
create role regress_clara login password 'clara';
create role regress_dirk login password 'dirk' noinherit;
create role regress_team;
create role regress_api login in role batchcortex_api;
grant regress_team to regress_clara;
create temp table org as select o.org_id, n from (values ('a'), ('b'), ('c')) v (n), batchcortex.create_organisation('Audited ' || n || gen_random_uuid(), n || '-' || gen_random_uuid()) o;
select max(org_id::text) filter (where n = 'a') as a, max(org_id::text) filter (where n = 'b') as b, max(org_id::text) filter (where n = 'c') as c from org \gset
select count(batchcortex.log_event('regress.audit', 'thing', i::text, org_id => org_id)) from org, generate_series(1, 5) i;
select batchcortex.seal() >= 0 as sealed;
select count(batchcortex.log_event('regress.audit', 'waiting', i::text, org_id => org_id)) from org, generate_series(1, 2) i;
-- Bad input has its own code.
select batchcortex.grant_auditor('regress_clara', gen_random_uuid(), now() + interval '1 day', 'x');
select batchcortex.grant_auditor('regress_nobody', :'a', now() + interval '1 day', 'x');
select batchcortex.grant_auditor('regress_team', :'a', now() + interval '1 day', 'x');
select batchcortex.grant_auditor('regress_api', :'a', now() + interval '1 day', 'x');
select batchcortex.grant_auditor('regress_clara', :'a', now(), 'x');
select batchcortex.grant_auditor('regress_clara', :'a', 'infinity', 'x');
select batchcortex.grant_auditor('regress_clara', :'a', null, 'x');
select batchcortex.grant_auditor('regress_clara', :'a', now() + interval '1 day', ' ');
select batchcortex.grant_auditor(current_user, :'a', now() + interval '1 day', 'x');
select batchcortex.revoke_auditor('regress_clara', :'a', 'x');
select batchcortex.grant_auditor('regress_clara', :'a', now() + interval '1 day', 'inspection') is not null as granted;
select batchcortex.grant_auditor('regress_clara', :'a', now() + interval '1 day', 'inspection');
select batchcortex.grant_auditor('regress_dirk', :'b', now() + interval '1 day', 'inspection') is not null as granted;
-- Only who owns the installation grants.
set session authorization regress_clara;
select batchcortex.grant_auditor('regress_clara', :'b', now() + interval '1 day', 'x');
reset session authorization;

\c -reuse-previous=on "user=regress_clara password=clara"
\set VERBOSITY terse
show log_statement;
set log_statement = 'none';
select count(*) as organisations, bool_and(org_id = :'a') as own from batchcortex.organisation;
select count(*) as events, bool_and(org_id = :'a') as own from batchcortex.events_log;
select count(*) from batchcortex.events_log where org_id = :'b';
select count(*) from batchcortex.auditor_grant;
-- Every table and view: no row of another organisation.
create function pg_temp.rows_of_others(own uuid) returns table (relation text, others bigint) language plpgsql as $$
declare
    r record;
begin
    for r in select c.oid::regclass as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped
              where c.relnamespace = 'batchcortex'::regnamespace and c.relkind in ('r', 'p', 'v') loop
        return query execute format('select %L::text, count(*) from %s where org_id not in (%L, ''ffffffff-ffff-ffff-ffff-ffffffffffff'')', r.name, r.name, own);
    end loop;
end $$;
select count(*) > 10 as tables, sum(others) as others from pg_temp.rows_of_others(:'a');
select count(*) from batchcortex.user_account;
-- Verification covers what the caller may see, and says so when that is nothing.
select * from batchcortex.verify();
select * from batchcortex.verify(:'a');
select * from batchcortex.verify(:'b');
select json_array_length(r -> 'logs') as logs, r #>> '{logs,0,log}' = :'a' as own, r ->> 'intact' as intact from batchcortex.verify_report() r;
-- Reads, and nothing else.
insert into batchcortex.events_log (org_id, action, record_type, record_id) values (:'a', 'x', 'x', 'x');
update batchcortex.batch set product = 'x';
delete from batchcortex.auditor_grant;
update batchcortex.auditor_grant set expires_at = 'infinity';
select token_sha256 from batchcortex.session;
select token_sha256 from batchcortex.invitation;
select password_hash from batchcortex.user_account;
select session_id from batchcortex.session;
select entry from batchcortex.ledger_queue;
select batchcortex_api.batches();
select batchcortex.log_event('x', 'x', 'x', org_id => :'a');
set row_security = off;
select count(*) from batchcortex.batch;
reset row_security;
-- It is the login that counts.
set role regress_team;
select count(*) from batchcortex.organisation;
reset role;
set role batchcortex_auditor;
select count(*) as organisations, bool_and(org_id = :'a') as own from batchcortex.organisation;
reset role;
set role regress_dirk;
set session authorization regress_dirk;
create function pg_temp.as_clara() returns setof uuid language sql security definer as $$ select org_id from batchcortex.organisation $$;
grant execute on function pg_temp.as_clara() to public;
create function pg_temp.auditor_organisations() returns uuid[] language sql as $$ select array(select '00000000-0000-0000-0000-000000000000'::uuid) $$;
set search_path = pg_temp, batchcortex;
select count(*) as organisations, bool_and(org_id = :'a') as own from batchcortex.organisation;
reset search_path;
\c -reuse-previous=on "user=regress_dirk password=dirk"
\set VERBOSITY terse
-- Does not inherit: reads as the auditors' role, and then its own organisation.
select count(*) from batchcortex.organisation;
set role batchcortex_auditor;
select count(*) as organisations, bool_and(org_id = :'b') as own from batchcortex.organisation;
select json_array_length(r -> 'logs') as logs, r #>> '{logs,0,log}' = :'b' as own from batchcortex.verify_report() r;

\c -reuse-previous=on :again
\set VERBOSITY terse
set client_min_messages = warning;
-- A grant ends by itself, and at once when it is revoked.
update batchcortex.auditor_grant set granted_at = now() - interval '2 days', expires_at = now() - interval '1 second' where role_name = 'regress_dirk';
select batchcortex.revoke_auditor('regress_clara', :'a', 'inspection closed');
select batchcortex.revoke_auditor('regress_clara', :'a', 'again');
set session authorization regress_clara;
select count(*) from batchcortex.organisation;
select count(*) from batchcortex.events_log;
select * from batchcortex.verify();
set session authorization regress_dirk;
set role batchcortex_auditor;
select count(*) from batchcortex.organisation;
select batchcortex.verify_report();
reset session authorization;
select action, actor_kind, actor_name = session_user as by_dba, reason, after ->> 'role' as role from batchcortex.events_log where org_id = :'a' and action like 'auditor.%' order by recorded_at;
-- A login of the same name that was made anew has no grant.
select batchcortex.grant_auditor('regress_clara', :'c', now() + interval '1 day', 'inspection') is not null as granted;
set session authorization regress_clara;
select count(*) from batchcortex.organisation;
reset session authorization;
drop owned by regress_clara;
drop role regress_clara;
create role regress_clara login;
grant batchcortex_auditor to regress_clara;
set session authorization regress_clara;
select count(*) from batchcortex.organisation;
reset session authorization;
-- The organisation is an index condition for auditors too.
select batchcortex.grant_auditor('regress_clara', :'c', now() + interval '1 day', 'inspection') is not null as granted;
set session authorization regress_clara;
set enable_seqscan = off;
create function pg_temp.plan(query text) returns setof text language plpgsql as $$ begin return query execute 'explain (costs off) ' || query; end $$;
select count(*) > 0 as index_condition from pg_temp.plan('select * from batchcortex.batch') p where p ~ 'Index Cond: \(org_id = ANY';
reset session authorization;
drop owned by regress_clara, regress_dirk;
drop role regress_clara, regress_dirk, regress_team, regress_api;
