-- needs: batchcortex.break_glass
-- A log large enough for parallel workers: with them and without, the same is found.
-- control: A17 A18
\set VERBOSITY terse
set client_min_messages = warning;
select gen_random_uuid() as org \gset
insert into batchcortex.organisation (org_id, name) values (:'org', :'org');
insert into batchcortex.events_log (org_id, action, record_type, record_id, after)
  select :'org', 'regress.parallel', 'thing', i::text, json_build_object('i', i) from generate_series(1, 90000) i;
select batchcortex.seal() > 0 as sealed;
create temp table named as select event_id, record_id from batchcortex.events_log where org_id = :'org';
create unique index on named (event_id);
create view pg_temp.report as
  select (l ->> 'workers')::integer as workers, (l ->> 'rows')::bigint as rows, (l ->> 'leaves')::bigint as leaves, r ->> 'findings' as findings
    from batchcortex.verify_report((select org_id from batchcortex.events_log e join named using (event_id) limit 1)) r, json_array_elements(r -> 'logs') l where l ->> 'organisation' <> 'global log';
create view pg_temp.finding as
  select v.code, v.relation, coalesce(n.record_id, '?') as record, v.detail
    from batchcortex.verify((select org_id from batchcortex.events_log e join named using (event_id) limit 1)) v left join named n on n.event_id::text = v.record
   where v.code <> 'weakened_protection';
\echo intact: one process, then more
set max_parallel_workers_per_gather = 0;
select workers, rows, leaves from report;
select * from finding;
set max_parallel_workers_per_gather = 2;
select workers > 0 as helped, rows, leaves from report;
select * from finding;
\echo and from a size that is known, and of what a transaction has not committed yet
select count(*) from batchcortex.verify_since(:'org', 0, sha256('')) where code <> 'weakened_protection';
begin;
alter table batchcortex.events_log disable trigger all;
update batchcortex.events_log set after = '{"i" : 1}' where org_id = :'org' and record_id in ('1', '45000', '90000');
delete from batchcortex.events_log where org_id = :'org' and record_id in ('2', '60000', '89999');
update batchcortex.events_log set reason = 'x' where org_id = :'org' and record_id = '70000';
update batchcortex.events_log e set leaf_hash = sha256('\x00' || batchcortex.event_preimage(e)) where org_id = :'org' and record_id = '70000';
insert into batchcortex.events_log select (jsonb_populate_record(e, '{"event_id": "11111111-1111-1111-1111-111111111111"}')).* from batchcortex.events_log e where org_id = :'org' and record_id = '45001';
select code, record, regexp_replace(detail, '\d+', 'N') as detail from finding order by code, record, detail;
set local max_parallel_workers_per_gather = 0;
select code, record, regexp_replace(detail, '\d+', 'N') as detail from finding order by code, record, detail;
rollback;
\echo the transaction goes on, and writes
begin;
select count(*) from finding;
select count(batchcortex.log_event('regress.parallel', 'thing', 'after', org_id => :'org'));
select count(*) from finding;
commit;
\echo rows that a role may not see stay unseen by workers: an auditor verifies in one process, and finds the same
create role regress_parallel_auditor login;
select length(batchcortex.grant_auditor('regress_parallel_auditor', :'org', now() + interval '1 hour', 'a large log')::text) > 0 as granted;
grant select on named to regress_parallel_auditor;
grant select on report, finding to regress_parallel_auditor;
set session authorization regress_parallel_auditor;
select (l ->> 'workers')::integer as workers, (l ->> 'rows')::bigint >= 90001 as all_rows
  from batchcortex.verify_report(:'org') r, json_array_elements(r -> 'logs') l where l ->> 'organisation' <> 'global log';
select * from finding;
reset session authorization;
select batchcortex.revoke_auditor('regress_parallel_auditor', :'org', 'done') is not null as revoked;
drop owned by regress_parallel_auditor;
drop role regress_parallel_auditor;
\echo stopped in the middle: the transaction is over, or the block, and nothing else
create table public.after_an_error (note text);
set statement_timeout = '20ms';
select count(*) from batchcortex.verify();
reset statement_timeout;
insert into after_an_error values ('the next statement');
set statement_timeout = '20ms';
do $$ begin
    begin
        perform batchcortex.verify();
    exception when query_canceled then
        raise warning 'stopped';
    end;
    insert into public.after_an_error values ('the same transaction');
end $$;
reset statement_timeout;
begin;
set local statement_timeout = '20ms';
savepoint s;
select count(*) from batchcortex.verify();
rollback to s;
set local statement_timeout = 0;
insert into after_an_error values ('after a savepoint');
commit;
select * from after_an_error;
drop table after_an_error;
