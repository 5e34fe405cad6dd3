-- A stolen API process: a real login that is a member of batchcortex_api and of nothing else, sending whatever SQL it likes. Without a
-- credential it reads and changes nothing; with one of organisation A it reaches nothing of B.
-- control: A8 B25
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
\set again 'user=' :USER
drop role if exists regress_thief;
create role regress_thief login password 'thief' in role batchcortex_api;
alter role regress_thief set batchcortex.rate_authentication = 0;
alter role regress_thief set batchcortex.rate_general = 0;
select 'alpha-' || gen_random_uuid() as ua, 'zeta-' || gen_random_uuid() as ub \gset
select invitation as ia, org_id as a from batchcortex.create_organisation('alpha ' || gen_random_uuid(), :'ua') \gset
select invitation as ib, org_id as b from batchcortex.create_organisation('zeta ' || gen_random_uuid(), :'ub') \gset
select outcome from batchcortex_api.accept_invitation(:'ia', 'Alice', 'a long enough password');
select outcome from batchcortex_api.accept_invitation(:'ib', 'Bob', 'a long enough password');
select token as ta from batchcortex_api.login(:'ua', 'a long enough password') \gset
select token as tb from batchcortex_api.login(:'ub', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'ta');
select batchcortex_api.create_batch('alpha-1', 'Alpha') is not null as planned;
commit;
begin;
select count(*) from batchcortex_api.open_request(:'tb');
select batchcortex_api.create_batch('zeta-1', 'Beta') as bb, batchcortex_api.create_batch('zeta-2', 'Beta') is not null as planned \gset
commit;
\c -reuse-previous=on "user=regress_thief password=thief"
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
select current_user, session_user;

\echo tables, views, sequences: every privilege, with and without a credential of A
create function pg_temp.try(statement text) returns text language plpgsql as $$
begin
    execute statement;
    return 'done';
exception when others then
    return sqlstate;
end $$;
begin;
create temp view attempts as
select c.relkind, a.what, pg_temp.try(format(a.statement, n.nspname, c.relname)) as outcome
  from pg_class c join pg_namespace n on n.oid = c.relnamespace,
       (values ('select', 'select * from %I.%I limit 1'), ('insert', 'insert into %I.%I default values'), ('delete', 'delete from %I.%I'), ('truncate', 'truncate %I.%I'),
               ('copy to', 'copy %I.%I to ''/tmp/regress_thief'''), ('explain', 'explain select * from %I.%I'), ('analyze', 'explain analyze select * from %I.%I'), ('lock', 'lock table %I.%I in access share mode'),
               ('cursor', 'declare c cursor for select * from %I.%I'), ('view', 'create temp view v as select * from %I.%I'), ('like', 'create temp table t (like %I.%I)'),
               ('inherit', 'create temp table t () inherits (%I.%I)'), ('drop', 'drop table %I.%I'), ('alter', 'alter table %I.%I disable row level security'), ('trigger', 'create trigger t before insert on %I.%I for each row execute function suppress_redundant_updates_trigger()'),
               ('comment', 'comment on table %I.%I is ''x'''), ('grant', 'grant select on %I.%I to public'), ('merge', 'merge into %I.%I t using (select 1) s on false when not matched then do nothing'), ('nextval', 'select nextval(''%I.%I'')'), ('last_value', 'select last_value from %I.%I')) as a (what, statement)
 where n.nspname in ('batchcortex', 'batchcortex_api') and c.relkind in ('r', 'p', 'v', 'S')
   and (a.what in ('nextval', 'last_value', 'select', 'drop', 'grant') or c.relkind <> 'S');
select what, outcome, count(*) > 0 from attempts where outcome <> '42501' group by 1, 2 order by 1, 2;
savepoint s;
select count(*) from batchcortex_api.open_request(:'ta');
select what, outcome, count(*) > 0 from attempts where outcome <> '42501' group by 1, 2 order by 1, 2;
rollback;
select has_schema_privilege('batchcortex', 'usage') as inner_schema, has_schema_privilege('batchcortex_api', 'create') as create_in_api,
       has_database_privilege(current_database(), 'create') as create_schema;
\echo functions outside batchcortex_api, by name and by number
select count(*) as executable from pg_proc p where p.pronamespace = 'batchcortex'::regnamespace and has_function_privilege(p.oid, 'execute') and p.prorettype <> 'trigger'::regtype;
select batchcortex.current_org_id();
select batchcortex.spend_budget('general', 'x');
create function pg_temp.definer() returns text language sql security definer as 'select current_user::text';
select pg_temp.definer();
alter function batchcortex_api.whoami() security invoker;
create or replace function batchcortex_api.whoami() returns void language sql as '';
create function batchcortex_api.mine() returns void language sql as '';

\echo roles
set role batchcortex_owner;
set role batchcortex_auditor;
set role postgres;
set session authorization postgres;
grant batchcortex_owner to regress_thief;
alter role regress_thief bypassrls;
alter role regress_thief superuser;
alter role batchcortex_api set search_path = x;
create role regress_other;
select rolpassword from pg_authid;

\echo settings
set batchcortex.identity = 'x';
set "BatchCortex.Identity" = 'x';
select set_config('batchcortex.identity', 'x', false);
select set_config('BATCHCORTEX.IDENTITY', 'x', true);
update pg_settings set setting = 'x' where name = 'batchcortex.identity';
reset batchcortex.identity;
show batchcortex.identity;
select current_setting('batchcortex.identity', true);
select name, setting from pg_settings where name in ('batchcortex.identity', 'batchcortex.key_file');
alter role regress_thief set batchcortex.identity = 'x';
alter role regress_thief set batchcortex.rate_general = 0;
alter database contrib_regression set batchcortex.identity = 'x';
alter system set batchcortex.identity = 'x';
create function pg_temp.bound() returns text language sql set batchcortex.identity = 'x' as 'select 1::text';
set batchcortex.rate_general = 0;
set batchcortex.rate_authentication = 0;
set batchcortex.argon2_memory = 0;
set batchcortex.other = 'x';
set session_replication_role = replica;
set log_statement = 'none';
set zero_damaged_pages = on;
-- Start-up options are settings too.
\! PGOPTIONS="-c batchcortex.identity=x" psql -XAtq -U regress_thief -d contrib_regression -c 'select 1' 2>&1 | sed 's/.*\(FATAL\|ERROR\|WARNING\)/\1/'
\! PGOPTIONS="-c batchcortex.rate_general=0" psql -XAtq -U regress_thief -d contrib_regression -c 'select 1' 2>&1 | sed 's/.*\(FATAL\|ERROR\|WARNING\)/\1/'
begin;
select count(*) from batchcortex_api.open_request(:'ta');
-- The binding is neither seen nor moved nor cleared by the one who holds it.
show batchcortex.identity;
rollback;
begin;
select count(*) from batchcortex_api.open_request(:'ta');
reset all;
discard plans;
select number from batchcortex_api.batches();
commit;
-- Row security cannot be asked to stand aside.
set row_security = off;
begin;
select count(*) from batchcortex_api.open_request(:'ta');
select number from batchcortex_api.batches();
rollback;
reset row_security;

\echo names that shadow
create temp table batch (org_id uuid, number text);
create temp table role_permission as select 'admin'::text as role_name, 'batch.read'::text as permission;
create temp table membership as select 'x' as x;
create temp view events_log as select 1 as x;
create function pg_temp.current_org_id() returns uuid language sql as $$ select '00000000-0000-0000-0000-000000000000'::uuid $$;
create function pg_temp.has_permission(text) returns boolean language sql as $$ select true $$;
create function pg_temp.sha256(bytea) returns bytea language sql as $$ select '\x00'::bytea $$;
create function pg_temp.same(uuid, uuid) returns boolean language sql as $$ select true $$;
create operator pg_temp.= (leftarg = uuid, rightarg = uuid, function = pg_temp.same);
create domain pg_temp.uuid as text;
create schema regress_thief;
set search_path = pg_temp, batchcortex, batchcortex_api, pg_catalog;
begin;
select count(*) from batchcortex_api.open_request(:'ta');
select number from batchcortex_api.batches();
select count(*) from batchcortex_api.batch(:'bb');
rollback;
select batchcortex_api.batches();
reset search_path;

\echo EXPLAIN, COPY, cursors
begin;
select count(*) from batchcortex_api.open_request(:'ta');
explain (analyze, verbose, costs off, timing off, summary off) select number from batchcortex_api.batches();
copy (select number from batchcortex_api.batches()) to stdout;
savepoint s;
copy batchcortex.batch to stdout;
rollback to s;
copy (select 1) to program 'cat';
rollback to s;
copy (select 1) to '/tmp/regress_thief';
rollback to s;
select pg_read_file('PG_VERSION');
rollback to s;
declare mine cursor with hold for select number from batchcortex_api.batches();
declare later cursor for select number from batchcortex_api.batches();
commit;
fetch all from mine;
close mine;
begin;
declare unbound cursor for select number from batchcortex_api.batches();
fetch all from unbound;
rollback;

\echo prepared under A, run without a credential and by B
set plan_cache_mode = force_generic_plan;
prepare list as select number from batchcortex_api.batches() order by 1;
prepare one (pg_catalog.uuid) as select number from batchcortex_api.batch($1);
begin;
select count(*) from batchcortex_api.open_request(:'ta');
execute list;
commit;
execute list;
begin;
select count(*) from batchcortex_api.open_request(:'tb');
execute list;
execute one (:'bb');
commit;
begin;
select count(*) from batchcortex_api.open_request(:'ta');
execute one (:'bb');
rollback;
-- Plans that PL/pgSQL keeps see who is bound now, however often it changes.
create function pg_temp.seen(ta text, tb text) returns table (who text, numbers text) language plpgsql as $$
begin
    for i in 1 .. 8 loop
        perform from batchcortex_api.open_request(ta);
        return query select 'A', string_agg(number, ' ' order by number) from batchcortex_api.batches();
        perform from batchcortex_api.open_request(tb);
        return query select 'B', string_agg(number, ' ' order by number) from batchcortex_api.batches();
    end loop;
end $$;
select who, numbers, count(*) from pg_temp.seen(:'ta', :'tb') group by 1, 2 order by 1;
reset plan_cache_mode;

\echo savepoints and exceptions
begin;
select count(*) from batchcortex_api.open_request(:'ta');
savepoint s;
select count(*) from batchcortex_api.open_request(:'tb');
rollback to s;
select number from batchcortex_api.batches();
rollback;
begin;
savepoint s;
select count(*) from batchcortex_api.open_request(:'ta');
rollback to s;
select number from batchcortex_api.batches();
rollback;
begin;
savepoint s;
-- Cancelled in the middle of a login, when its look-ups run without an organisation.
set local statement_timeout = 1;
select outcome from batchcortex_api.login(:'ub', 'not the password');
rollback to s;
select current_user;
select number from batchcortex_api.batches();
rollback;
do $$
begin
    begin
        perform batchcortex_api.open_request(null);
    exception when others then raise notice 'refused';
    end;
    perform batchcortex_api.batches();
end $$;
select outcome from batchcortex_api.login('nobody', 'not the password');
select number from batchcortex_api.batches();

\echo notifications, large objects, advisory locks
listen batchcortex;
listen batchcortex_events;
select lo_get(1);
select loid from pg_largeobject limit 1;
select count(*) from pg_largeobject_metadata;
-- Holding every name that the project might use stops neither sealing nor migration.
select count(pg_advisory_lock(hashtextextended(name, 0))) as held from unnest(array['batchcortex.seal', 'batchcortex.migrate', 'batchcortex']) as name;
\! psql -XAtq -U "${PGUSER:-postgres}" -d contrib_regression -c "set client_min_messages = warning; set lock_timeout = '10s'; select batchcortex.log_event('regress.seal', 'x', 'x') is not null; call batchcortex.migrate()" -c "select batchcortex.seal() >= 0"
select pg_advisory_unlock_all();

\echo statistics
select count(*) from pg_stats where schemaname like 'batchcortex%';
select count(*) from pg_statistic;
select count(*) from pg_stat_activity where usename <> current_user and query <> '<insufficient privilege>' and query <> '';
select count(*) from pg_stats_ext where schemaname like 'batchcortex%';
select pg_stat_reset();
select count(*) from pg_stat_get_activity(null) where query like '%bc_\_%';


\c -reuse-previous=on :again
\echo statements that others see, and a log that everything is written to
-- What is seen here is what the log gets: the client is sent the message that was written.
set client_min_messages = log;
set log_statement = 'all';
set log_duration = off;
select outcome from batchcortex_api.login('ada', 'my secret password');
select count(*) from batchcortex_api.open_request('bcs_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef');
select 'bcs_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef' = 'x' as elsewhere;
select 'bcs_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'::integer;
reset log_statement;
set client_min_messages = warning;
-- As the API calls it, values beside the statement: no other session can see them, and the log has none.
create schema regress_look;
grant usage on schema regress_look to regress_thief;
create table regress_look.seen (query text);
create function regress_look.look() returns void language sql security definer as $$ insert into regress_look.seen select query from pg_stat_activity where usename = 'regress_thief' $$;
grant execute on function regress_look.look() to regress_thief;
alter role regress_thief set log_statement = 'all';
alter role regress_thief set client_min_messages = 'log';
\setenv TOKEN :ta
\! printf '%s\n' "select regress_look.look(), count(*) from batchcortex_api.open_request(:token);" "select outcome from batchcortex_api.login('ada', :token);" > /tmp/regress_thief.sql; pgbench -n -M extended -t 1 -D token="$TOKEN" -U regress_thief -f /tmp/regress_thief.sql contrib_regression 2>&1 | grep -E '^(LOG|DETAIL|ERROR|FATAL)|parameters|bcs_|aborted'; rm -f /tmp/regress_thief.sql
select query from regress_look.seen where query like '%open_request%';
drop schema regress_look cascade;
drop owned by regress_thief;
drop role regress_thief;
