-- Times of record classes, legal holds, batches' own dates, and what stands in the way of a disposal. What goes after seven years by the
-- clock is tests/e2e/tests/retention.rs.
-- control: B31 R11
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
select * from batchcortex.retention_periods();
select gen_random_uuid() as org \gset
insert into batchcortex.organisation (org_id, name) values (:'org', :'org');
insert into batchcortex.batch (org_id, number, product) values (:'org', 'R-1', 'p') returning batch_id as batch \gset
select format('batchcortex.events_log_%s', to_char(now() at time zone 'UTC', 'YYYY_MM')) as this_month \gset
\echo longer, never shorter
select batchcortex.set_retention('login_attempts', 0, 90, 'the same');
select batchcortex.set_retention('login_attempts', 0, 89, 'shorter');
select batchcortex.set_retention('login_attempts', 1, 0, 'one longer, one shorter');
select batchcortex.set_retention('login_attempts', 0, 100000, 'too long');
select batchcortex.set_retention('login_attempts', null, 100, 'null');
select batchcortex.set_retention('letters', 1, 0, 'unknown');
select batchcortex.set_retention('login_attempts', 0, 120, ' ');
select batchcortex.set_retention('login_attempts', 0, 120, 'a month longer') is not null as set;
select batchcortex.set_retention('login_attempts', 0, 100, 'back again');
select months, days from batchcortex.retention_periods() where record_class = 'login_attempts';
select before ->> 'days' as before, after ->> 'days' as after, reason from batchcortex.events_log where action = 'retention.lengthened' order by recorded_at desc limit 1;
-- A row made by hand can lengthen, and nothing else.
begin;
insert into batchcortex.retention_policy (record_class, months, days, reason, recorded_by, login_oid) values ('audit', 1, 0, 'shorter by hand', 'nobody', 1);
select months, days from batchcortex.retention_periods() where record_class = 'audit';
select recorded_by = session_user as by_me, login_oid = batchcortex.login_oid() as my_login from batchcortex.retention_policy order by recorded_at desc limit 1;
rollback;
\echo a batch's own date
select batchcortex.retain_batch(:'org', :'batch', '2027-03-01', null) as one_year_after_expiry;
select batchcortex.retain_batch(:'org', :'batch', '2027-03-01', '2026-01-31') as five_years_after_certification;
select batchcortex.retain_batch(:'org', :'batch', '2027-03-01', '2026-01-30');
select batchcortex.retain_batch(:'org', :'batch', null, null);
select batchcortex.retain_batch(:'org', gen_random_uuid(), '2027-03-01', null);
select batchcortex.retain_batch(:'org', :'batch', '9000-01-01', null);
\echo legal holds
select batchcortex.place_legal_hold(:'org', '');
select batchcortex.place_legal_hold(gen_random_uuid(), 'unknown');
select batchcortex.place_legal_hold(:'org', 'unknown', gen_random_uuid());
select batchcortex.place_legal_hold(:'org', 'lawsuit', :'batch') as hold \gset
select batchcortex.place_legal_hold(:'org', 'investigation') as whole \gset
select regexp_replace(o.obstacle, '[0-9a-f-]{36}', '…', 'g') as obstacle from batchcortex.disposal_obstacles(:'this_month'::regclass) o where o.obstacle ~ '^legal hold';
select batchcortex.release_legal_hold(:'whole', 'over');
select batchcortex.release_legal_hold(:'whole', 'over');
select batchcortex.release_legal_hold(gen_random_uuid(), 'unknown');
select action, reason, batch_id is not null as of_batch from batchcortex.events_log where org_id = :'org' and action like 'legal_hold%' order by recorded_at;
\echo early, by anybody, in every way
do $$ begin perform batchcortex.propose_disposal(('batchcortex.events_log_' || to_char(now() at time zone 'UTC', 'YYYY_MM'))::regclass, 'now'); exception when sqlstate 'BC001' then raise warning '%', regexp_replace(sqlerrm, '\d{4}.\d\d(-\d\d)?', '…', 'g'); end $$;
do $$ begin perform batchcortex.dispose(('batchcortex.events_log_' || to_char(now() at time zone 'UTC', 'YYYY_MM'))::regclass); exception when sqlstate 'BC001' then raise warning 'early disposal is refused'; end $$;
do $$ begin execute 'drop table batchcortex.login_attempt_' || to_char(now() at time zone 'UTC', 'YYYY_MM'); exception when sqlstate 'BC001' then raise warning 'drop is refused'; end $$;
select batchcortex.dispose('batchcortex.login_attempt');
select batchcortex.dispose('pg_class');
select batchcortex.propose_disposal('batchcortex.ledger_tile', 'not a record');
insert into batchcortex.partition_disposal (org_id, relation, partition, recorded_from, recorded_to, row_count, leaves, reason, proposed_by, proposed_login_oid, recorded_by, login_oid, leaf_hash, disposal_id)
values (:'org', 'events_log', 'x', '2020-01-01', '2020-02-01', 0, 0, 'x', 'x', 1, 'x', 2, '', gen_random_uuid());
\echo the records of all this stay
delete from batchcortex.retention_policy;
update batchcortex.legal_hold set reason = 'x';
truncate batchcortex.legal_hold_release;
delete from batchcortex.batch_retention;
update batchcortex.disposal_proposal set login_oid = 1;
delete from batchcortex.partition_disposal;
drop table batchcortex.legal_hold_release;
alter table batchcortex.partition_disposal disable trigger disposal_only;
create or replace function batchcortex.disposal_obstacles(partition regclass) returns table (sqlstate text, obstacle text) language sql as $$ select null, null where false $$;
\echo an expired partition, two people
create table batchcortex.login_attempt_2018_01 (like batchcortex.login_attempt including all);
select batchcortex.isolate('batchcortex.login_attempt_2018_01');
alter table batchcortex.login_attempt attach partition batchcortex.login_attempt_2018_01 for values from ('2018-01-01 00:00:00+00') to ('2018-02-01 00:00:00+00');
select batchcortex.make_append_only('batchcortex.login_attempt_2018_01');
select partition, recorded_from at time zone 'UTC' as recorded_from, disposable_from at time zone 'UTC' as disposable_from, obstacles
  from batchcortex.list_disposable() where partition = 'batchcortex.login_attempt_2018_01'::regclass;
select batchcortex.dispose('batchcortex.login_attempt_2018_01');
select batchcortex.propose_disposal('batchcortex.login_attempt_2018_01', 'expired') is not null as proposed;
select batchcortex.dispose('batchcortex.login_attempt_2018_01');
\set again 'user=' :USER
create role regress_second superuser login password 'second';
set session authorization regress_second;
select batchcortex.dispose('batchcortex.login_attempt_2018_01');
reset session authorization;
select batchcortex.seal() >= 0 as sealed;
\c -reuse-previous=on "user=regress_second password=second"
\set VERBOSITY terse
\set SHOW_CONTEXT never
-- Not while somebody's code would run beneath the open guard, nor while something is found that is to be examined.
create function public.regress_watch() returns event_trigger language plpgsql as 'begin end';
create event trigger regress_watch on sql_drop execute function public.regress_watch();
select batchcortex.dispose('batchcortex.login_attempt_2018_01');
drop event trigger regress_watch;
drop function public.regress_watch();
begin;
create policy other on batchcortex.events_log using (true);
select batchcortex.dispose('batchcortex.login_attempt_2018_01');
rollback;
begin isolation level repeatable read;
select batchcortex.dispose('batchcortex.login_attempt_2018_01');
rollback;
select batchcortex.dispose('batchcortex.login_attempt_2018_01') as rows_gone;
select to_regclass('batchcortex.login_attempt_2018_01') is null as gone;
select relation, partition, row_count, leaves, leaves_sha256, proposed_login_oid <> login_oid as two_people from batchcortex.partition_disposal;
select after ->> 'table' as table, after ->> 'from' as "from", after ->> 'to' as "to", reason from batchcortex.events_log where action = 'partition.disposed';
select batchcortex.seal() >= 0 as sealed;
select log = '00000000-0000-0000-0000-000000000000' as installation, code, relation, detail from batchcortex.verify();
\c -reuse-previous=on :again
drop role regress_second;
