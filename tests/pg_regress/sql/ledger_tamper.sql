-- needs: batchcortex.break_glass
-- What someone does who switches the triggers off: every change of what was sealed is named.
-- control: A17 A18 A22
\set VERBOSITY terse
set client_min_messages = warning;
select gen_random_uuid() as org, gen_random_uuid() as other \gset
insert into batchcortex.organisation (org_id, name) values (:'org', :'org'), (:'other', :'other');
select count(batchcortex.log_event('regress.tamper', 'thing', i::text, after => json_build_object('i', i), org_id => :'org')) as events from generate_series(1, 600) i;
select count(batchcortex.log_event('regress.tamper', 'thing', i::text, org_id => :'other')) as events from generate_series(1, 3) i;
select batchcortex.seal() >= 0 as sealed;
select * from batchcortex.verify(:'org') where record <> 'batchcortex.break_glass';
create temp table named as select event_id, record_id from batchcortex.events_log where org_id = :'org';
create temp view finding as
select v.code, v.relation, coalesce(n.record_id, '?') as record, v.detail
  from batchcortex.verify((select org_id from batchcortex.events_log e join named using (event_id) limit 1)) v left join named n on n.event_id::text = v.record
 where v.code <> 'weakened_protection';

begin;
alter table batchcortex.events_log disable trigger all;
alter table batchcortex.ledger_tile disable trigger all;
alter table batchcortex.ledger_tree disable trigger all;
\echo one byte
savepoint s;
update batchcortex.events_log set after = '{"i" : 8}' where org_id = :'org' and record_id = '7';
select code, record, detail from finding;
rollback to s;
\echo one byte, and the leaf_hash made to fit
update batchcortex.events_log e set reason = 'x' where org_id = :'org' and record_id = '7';
update batchcortex.events_log e set leaf_hash = sha256('\x00' || batchcortex.event_preimage(e)) where org_id = :'org' and record_id = '7';
select code, record, detail from finding;
rollback to s;
\echo the leaf_hash alone
update batchcortex.events_log e set leaf_hash = sha256('other') where org_id = :'org' and record_id = '7';
select code, record, detail from finding;
rollback to s;
\echo deleted
delete from batchcortex.events_log where org_id = :'org' and record_id = '599';
select code, record, detail from finding;
rollback to s;
\echo inserted
insert into batchcortex.events_log select (jsonb_populate_record(e, '{"event_id": "11111111-1111-1111-1111-111111111111"}')).* from batchcortex.events_log e where org_id = :'org' and record_id = '7';
select code, detail from finding order by 1;
rollback to s;
\echo inserted with a hash that fits
insert into batchcortex.events_log select (jsonb_populate_record(e, '{"event_id": "11111111-1111-1111-1111-111111111111"}')).* from batchcortex.events_log e where org_id = :'org' and record_id = '7';
update batchcortex.events_log e set leaf_hash = sha256('\x00' || batchcortex.event_preimage(e)) where event_id = '11111111-1111-1111-1111-111111111111';
select code, detail from finding;
rollback to s;
\echo backdated, with a hash that fits
update batchcortex.events_log e set recorded_at = recorded_at - interval '1 millisecond' where org_id = :'org' and record_id = '7';
update batchcortex.events_log e set leaf_hash = sha256('\x00' || batchcortex.event_preimage(e)) where org_id = :'org' and record_id = '7';
select code, record, detail from finding order by 1;
rollback to s;
\echo two swapped
update batchcortex.events_log e set record_id = case record_id when '10' then '20' else '10' end where org_id = :'org' and record_id in ('10', '20');
select code, record, detail from finding order by record;
rollback to s;
\echo moved to another organisation
update batchcortex.events_log e set org_id = :'other' where org_id = :'org' and record_id = '7';
select code, record, detail from finding;
select code, detail from batchcortex.verify(:'other') where code <> 'weakened_protection' order by 1;
rollback to s;
\echo rows under an organisation that does not exist
update batchcortex.events_log e set org_id = '22222222-2222-2222-2222-222222222222' where org_id = :'other';
select code, count(*) from batchcortex.verify() where log in ('22222222-2222-2222-2222-222222222222', :'other') group by code order by code;
rollback to s;
\echo the ledger itself
update batchcortex.ledger_tile set hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1) where org_id = :'org' and level = 0 and tile_index = 1;
select distinct code from finding order by 1;
rollback to s;
update batchcortex.ledger_tile set hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1) where org_id = :'org' and level = 1;
select code, record, detail from batchcortex.verify(:'org') where code <> 'weakened_protection';
rollback to s;
delete from batchcortex.ledger_tile where org_id = :'org' and level = 0 and tile_index = 0;
select distinct code from finding order by 1;
rollback to s;
update batchcortex.ledger_tree set root = sha256('other') where org_id = :'org';
select code, record from batchcortex.verify(:'org') where code <> 'weakened_protection';
rollback to s;
alter table batchcortex.ledger_checkpoint disable trigger all;
update batchcortex.ledger_checkpoint set root = sha256('other') where org_id = :'org' and tree_size = 600;
select code, replace(record, :'org', 'org') as record from batchcortex.verify(:'org') where code <> 'weakened_protection';
rollback to s;
\echo every checkpoint erased
alter table batchcortex.ledger_checkpoint disable trigger all;
delete from batchcortex.ledger_checkpoint where org_id = :'org';
select code, relation, case when code <> 'missing_row' then record end as record from batchcortex.verify(:'org') where code <> 'weakened_protection';
rollback to s;
\echo the order of two leaves
update batchcortex.ledger_tile set hashes = substr(hashes, 33, 32) || substr(hashes, 1, 32) || substr(hashes, 65) where org_id = :'org' and level = 0 and tile_index = 0;
select distinct code from batchcortex.verify(:'org') where code <> 'weakened_protection' order by 1;
rollback to s;
rollback;

\echo one sample
begin;
insert into batchcortex.sample_segment (org_id, segment_id, device_id, sequence, tag_id, first_sample, last_sample, sample_count, data_type, source_ticks, status, numbers)
values (:'org', gen_random_uuid(), gen_random_uuid(), 1, gen_random_uuid(), 1, 2, 2, 'Double', '{1,2}', '{0,0}', '{1,2}');
alter table batchcortex.sample_segment disable trigger all;
update batchcortex.sample_segment set numbers[1] = 1.0000000000000002 where org_id = :'org';
select v.code, v.relation, s.sequence, v.detail from batchcortex.verify(:'org') v join batchcortex.sample_segment s on s.segment_id::text = v.record order by 1, 4;
rollback;

-- A trigger that alters what was stamped is noticed, and log_event fires none.
begin;
create function pg_temp.alter_row() returns trigger language plpgsql as $$ begin new.reason := 'altered'; return new; end $$;
create trigger zz_alter before insert on batchcortex.events_log for each row execute function pg_temp.alter_row();
savepoint s;
insert into batchcortex.events_log (org_id, action, record_type, record_id) values (:'org', 'regress.altered', 'thing', '3');
rollback to s;
select batchcortex.log_event('regress.unaltered', 'thing', '4') is not null as recorded;
select reason from batchcortex.events_log where action = 'regress.unaltered';
rollback;

-- Switching the protection off is itself a finding.
begin;
alter table batchcortex.agreement_acceptance disable trigger append_only;
alter table batchcortex.login_attempt disable trigger append_only_truncate;
select code, relation, record, detail from batchcortex.verify() where code = 'weakened_protection' and relation ~ 'agreement|attempt' order by 2, 3;
rollback;
begin;
alter table batchcortex.events_log disable trigger append_only;
select relation = 'batchcortex.events_log' as parent, code, record, detail from batchcortex.verify(:'org') where relation = 'batchcortex.events_log';
alter table batchcortex.events_log enable trigger append_only;
select code, record, detail from batchcortex.verify(:'org') where relation = 'batchcortex.events_log';
rollback;
begin;
drop trigger leaf_enqueue on batchcortex.events_log;
alter table batchcortex.sample_segment no force row level security;
create rule swallow as on insert to batchcortex.ingest_receipt do instead nothing;
create function pg_temp.other() returns trigger language plpgsql as $$ begin return null; end $$;
create trigger other before insert on batchcortex.sample_segment for each row execute function pg_temp.other();
select relation, record, detail from batchcortex.verify(:'org') where code = 'weakened_protection' and record <> 'batchcortex.break_glass' and relation !~ '_\d{4}_\d{2}$';
rollback;
select * from batchcortex.verify(:'org') where record <> 'batchcortex.break_glass';
\echo a disposal that is made up explains no gap, to verify() or in evidence
begin;
alter table batchcortex.events_log disable trigger all;
alter table batchcortex.partition_disposal disable trigger all;
delete from batchcortex.events_log where org_id = :'org' and record_id = '7';
insert into batchcortex.partition_disposal (org_id, disposal_id, relation, relation_id, partition, recorded_from, recorded_to, row_count, leaves, leaves_sha256,
                                            reason, proposed_by, proposed_login_oid, recorded_by, login_oid, leaf_hash)
select :'org', gen_random_uuid(), 'events_log', relation_id, 'batchcortex.events_log_made_up', '2000-01-01', '2100-01-01', 1, 1, sha256('other'), 'made up', 'a', 1, 'b', 2, sha256('')
  from batchcortex.ledger_relation where domain = 'event';
select code from batchcortex.verify(:'org') where code in ('missing_row', 'wrong_disposal') group by 1 order by 1;
select count(*) as missing from batchcortex.export_evidence(:'org') line where line like '{"missing"%';
rollback;
\echo an event that verification goes by is left out of its index
select array_agg(inhrelid) as indexes from pg_inherits where inhparent = 'batchcortex.events_log_told'::regclass \gset
begin;
update pg_index set indisready = false where indexrelid = any (:'indexes');
select batchcortex.log_event('table.soft_deletable', 'table', 'public.nothing') is not null as logged;
update pg_index set indisready = true where indexrelid = any (:'indexes');
select code, relation, detail from batchcortex.verify() where record = 'events_log_told';
rollback;
select code from batchcortex.verify() where record = 'events_log_told';
\echo a record is left out of every index
select 'batchcortex.events_log_' || to_char(clock_timestamp() at time zone 'UTC', 'YYYY_MM') as month \gset
begin;
alter table batchcortex.events_log disable trigger all;
update pg_index set indisready = false where indrelid = :'month'::regclass;
insert into batchcortex.events_log (org_id, event_id, actor_kind, actor_name, actor_role, action, record_type, record_id, leaf_hash)
values (:'org', gen_random_uuid(), 'database', 'x', 'x', 'regress.tamper', 'thing', 'put in', sha256('x'));
update pg_index set indisready = true where indrelid = :'month'::regclass;
set local enable_seqscan = off;
set local enable_bitmapscan = off;
select code, relation, regexp_replace(detail, '\d+', 'n', 'g') as detail from batchcortex.verify() where record = 'indexes';
rollback;
select code from batchcortex.verify() where record = 'indexes';
