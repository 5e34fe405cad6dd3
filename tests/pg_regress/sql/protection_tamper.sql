-- needs: batchcortex.break_glass
-- Rows of protected tables changed, removed or added behind the guard's back are named, by their key.
-- control: A17 A18
\set VERBOSITY terse
set client_min_messages = warning;
create schema regress_behind;
select gen_random_uuid() as org \gset
insert into batchcortex.organisation (org_id, name) values (:'org', :'org');
create table regress_behind.weighing (n integer, scale text, amount numeric, org_id uuid, primary key (scale, n));
insert into regress_behind.weighing select i, 'scale ' || i % 2, i, case when i > 3 then :'org'::uuid end from generate_series(1, 6) i;
create table regress_behind.batch (id uuid primary key, lot text);
insert into regress_behind.batch values ('11111111-1111-1111-1111-111111111111', 'one'), ('22222222-2222-2222-2222-222222222222', 'two');
create function regress_behind.keep() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger known before insert on regress_behind.batch for each row execute function regress_behind.keep();
select batchcortex.protect('regress_behind.weighing', 'org_id') as rows, batchcortex.protect('regress_behind.batch') as batches;
select batchcortex.seal() >= 0 as sealed;
create temp view finding as select case log when :'org' then 'org' when '00000000-0000-0000-0000-000000000000' then 'installation''s log' else log end as log, code, relation, record, detail
  from batchcortex.verify() where record <> 'batchcortex.break_glass' and detail !~ 'not enabled';
select * from finding;
\echo tables, and what verification calls, are not what the library makes
begin;
alter table batchcortex.batch add constraint swallow check (number <> 'x');
alter table batchcortex.equipment alter column org_id set default '00000000-0000-0000-0000-000000000000';
alter table batchcortex.membership alter column role_name drop not null;
alter table batchcortex.tag add column anything integer default 1;
alter table batchcortex.device add column allowed text;
create index computes on batchcortex.ledger_tile (abs(width));
create or replace view batchcortex.samples as select * from batchcortex.samples where false;
select code, relation, record, detail from finding;
rollback;
begin;
do $$ begin execute format('alter table batchcortex.events_log_%s alter column actor_name set default ''x''', to_char(now() at time zone 'UTC', 'YYYY_MM')); end $$;
do $$ begin execute format('create index computes on batchcortex.events_log_%s (length(reason))', to_char(now() at time zone 'UTC', 'YYYY_MM')); end $$;
select code, regexp_replace(relation, '\d{4}_\d{2}', 'YYYY_MM') as relation, record, detail from finding;
rollback;
begin;
-- Read as what it was, it would end the server.
alter table batchcortex.legal_hold disable trigger all;
alter table batchcortex.legal_hold alter column leaf_hash type bigint using 1;
select code, relation, record, detail from finding where relation = 'batchcortex.ledger_relation';
rollback;
begin;
-- An event written by hand does not take the place of the one that migrate() wrote.
alter table batchcortex.batch add constraint swallow check (number <> 'x');
select batchcortex.log_event('schema.structure', 'schema_migration', max(version)::text, after => batchcortex.schema_structure()) is not null as told from batchcortex.schema_migration;
select code, relation, record, detail from finding;
rollback;
begin;
create function pg_catalog.own(regclass, regclass) returns boolean language sql as 'select true';
create operator pg_catalog.= (leftarg = regclass, rightarg = regclass, function = pg_catalog.own);
create function regress_behind.own(boolean) returns bigint language sql as 'select 1::bigint';
create cast (boolean as bigint) with function regress_behind.own(boolean) as implicit;
create function regress_behind.kill(regclass, tid[]) returns void language c as '$libdir/pg_surgery', 'heap_force_kill';
create function regress_behind.digest(text, text) returns bytea language c as '$libdir/pgcrypto', 'pg_digest';
create function regress_behind.input(bigint) returns text language internal as 'textin';
select code, relation, record, detail from finding;
rollback;
begin;
alter table regress_behind.weighing disable trigger all;
alter table regress_behind.batch disable trigger all;
update regress_behind.weighing set amount = 5.0 where n = 5;
update regress_behind.batch set lot = 'three' where lot = 'two';
select log, code, relation, record, regexp_replace(detail, 'leaf \d+', 'leaf …') as detail from finding order by 3, 4;
rollback;
begin;
alter table regress_behind.weighing disable trigger all;
delete from regress_behind.weighing where n in (1, 6);
update regress_behind.weighing set org_id = null where n = 4;
insert into regress_behind.weighing values (7, 'scale 1', 7, null);
select log, code, relation, record, regexp_replace(detail, 'leaf \d+', 'leaf …') as detail from finding order by 1, 3, 4, 2;
rollback;
\echo renamed, moved and dropped
begin;
alter table regress_behind.weighing rename column amount to quantity;
select code, relation, record, count(*) over () from finding order by record limit 1;
rollback;
begin;
alter table regress_behind.weighing rename column scale to balance;
select code, relation, record, detail from finding where code = 'weakened_protection';
rollback;
begin;
drop table regress_behind.batch;
select code, relation, record, detail from finding order by 1, 3;
rollback;
begin;
alter table batchcortex.ledger_relation disable trigger all;
update batchcortex.ledger_relation set key_columns = '{lot}' where relation = 'regress_behind.batch'::regclass;
select code, relation, record, detail from finding where relation = 'batchcortex.ledger_relation';
rollback;
begin;
alter table batchcortex.ledger_relation disable trigger all;
create table regress_behind.empty (like batchcortex.events_log including all);
update batchcortex.ledger_relation set relation = 'regress_behind.empty' where domain = 'event';
select code, relation, record, detail from finding where code = 'weakened_protection' and relation !~ '_\d{4}_\d{2}$';
rollback;
\echo other triggers, and functions in place of ours
begin;
create trigger unknown before insert on regress_behind.batch for each row execute function regress_behind.keep();
select code, relation, record, detail from finding;
rollback;
begin;
drop trigger append_only on regress_behind.batch;
create trigger append_only before update or delete on regress_behind.batch for each row when (false) execute function batchcortex.refuse_change();
alter table regress_behind.batch enable always trigger append_only;
select code, relation, record, detail from finding;
rollback;
begin;
create or replace function batchcortex.keep_username() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as 'begin return new; end';
select code, relation, record, detail from finding;
rollback;
begin;
alter policy organisation on batchcortex.events_log using (true);
alter role batchcortex_api superuser;
select code, relation, record, detail from finding order by 2;
rollback;
select * from finding;
