-- needs: batchcortex.break_glass
-- Verification from a size whose root is known: what has grown since, and nothing before.
-- control: A18 A19
\set VERBOSITY terse
set client_min_messages = warning;
select gen_random_uuid() as org \gset
insert into batchcortex.organisation (org_id, name) values (:'org', :'org');
select count(batchcortex.log_event('regress.since', 'thing', i::text, org_id => :'org')) from generate_series(1, 700) i;
select batchcortex.seal() >= 0 as sealed;
select size, root from batchcortex.ledger_tree where org_id = :'org' \gset old_
-- A millisecond later, so that no record is of the same time.
select pg_sleep(0.01);
select count(batchcortex.log_event('regress.since', 'thing', i::text, org_id => :'org')) from generate_series(701, 1000) i;
select batchcortex.seal() >= 0 as sealed;
select :old_size as old, size as new from batchcortex.ledger_tree where org_id = :'org';
\echo clean, from every size that was sealed, and from one that was not
select code, record, detail from batchcortex.verify_since(:'org', :old_size, :'old_root') where code <> 'weakened_protection';
select code from batchcortex.verify_since(:'org', 1000, (select root from batchcortex.ledger_tree where org_id = :'org')) where code <> 'weakened_protection';
select code from batchcortex.verify_since(:'org', 0, sha256('')) where code <> 'weakened_protection';
select code, record from batchcortex.verify_since(:'org', 512, (select sha256('\x01' || substr(hashes, 1, 32) || substr(hashes, 33, 32)) from batchcortex.ledger_tile where org_id = :'org' and level = 1)) where code <> 'weakened_protection';
\echo another root, a size that the tree has not, and no size at all
select code, record from batchcortex.verify_since(:'org', :old_size, sha256('other')) where code <> 'weakened_protection';
select code, record from batchcortex.verify_since(:'org', 5000, :'old_root') where code <> 'weakened_protection';
select batchcortex.verify_since(:'org', -1, :'old_root');
select batchcortex.verify_since(:'org', :old_size, '\x00');
\echo what was changed since is found, what was changed before is not read
begin;
alter table batchcortex.events_log disable trigger all;
update batchcortex.events_log set reason = 'changed' where org_id = :'org' and record_id = '900';
select code from batchcortex.verify_since(:'org', :old_size, :'old_root') where code <> 'weakened_protection';
delete from batchcortex.events_log where org_id = :'org' and record_id in ('900', '901');
select code from batchcortex.verify_since(:'org', :old_size, :'old_root') where code <> 'weakened_protection';
rollback;
begin;
alter table batchcortex.events_log disable trigger all;
update batchcortex.events_log set reason = 'changed' where org_id = :'org' and record_id = '10';
select code from batchcortex.verify_since(:'org', :old_size, :'old_root') where code <> 'weakened_protection';
select code from batchcortex.verify(:'org') where code <> 'weakened_protection';
rollback;
\echo tiles: those of before that carry the root, and those of since
begin;
alter table batchcortex.ledger_tile disable trigger all;
update batchcortex.ledger_tile set hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1) where org_id = :'org' and level = 1;
select code, record from batchcortex.verify_since(:'org', :old_size, :'old_root') where code <> 'weakened_protection' order by 1, 2;
rollback;
begin;
alter table batchcortex.ledger_tile disable trigger all;
update batchcortex.ledger_tile set hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1) where org_id = :'org' and level = 0 and tile_index = 3;
select code from batchcortex.verify_since(:'org', :old_size, :'old_root') where code not in ('weakened_protection', 'wrong_leaf') group by 1 order by 1;
rollback;
\echo a tile of before that is made to cover a record of since
begin;
alter table batchcortex.ledger_tile disable trigger all;
alter table batchcortex.events_log disable trigger all;
insert into batchcortex.events_log select (jsonb_populate_record(e, jsonb_build_object('event_id', overlay(e.event_id::text placing 'ffffffffffff' from 25)))).* from batchcortex.events_log e where org_id = :'org' and record_id = '900';
update batchcortex.events_log e set leaf_hash = sha256('\x00' || batchcortex.event_preimage(e)) where org_id = :'org' and event_id::text like '%ffffffffffff';
update batchcortex.ledger_tile t
   set hashes = overlay(t.hashes placing e.leaf_hash from 1), records = overlay(t.records placing uuid_send(e.event_id) from 5), recorded_to = e.recorded_at
  from batchcortex.events_log e where e.org_id = :'org' and e.event_id::text like '%ffffffffffff' and t.org_id = :'org' and t.level = 0 and t.tile_index = 0;
select code, case when code = 'wrong_tile' then record end as record from batchcortex.verify_since(:'org', :old_size, :'old_root') where code <> 'weakened_protection' order by 1;
rollback;
\echo a record added now, where the times of tiles say that nothing comes from so early: they decide nothing
begin;
alter table batchcortex.ledger_tile disable trigger all;
alter table batchcortex.events_log disable trigger all;
update batchcortex.events_log e set reason = 'added' where org_id = :'org' and event_id = (select max(event_id::text)::uuid from batchcortex.events_log where org_id = :'org');
update batchcortex.ledger_tile set recorded_from = '9999-01-01', recorded_to = '9999-01-02' where org_id = :'org' and level = 0;
select code from batchcortex.verify_since(:'org', :old_size, :'old_root') where code <> 'weakened_protection' group by 1 order by 1;
update batchcortex.ledger_tile set recorded_from = '-infinity', recorded_to = 'infinity' where org_id = :'org' and level = 0;
select code from batchcortex.verify_since(:'org', :old_size, :'old_root') where code <> 'weakened_protection' group by 1 order by 1;
select code from batchcortex.verify(:'org') where code <> 'weakened_protection' group by 1 order by 1;
rollback;
\echo a log that ends with many leaves of a table of others, whose keys tell no time, whatever they look like
create table public.lot (name text primary key, org_id uuid);
select batchcortex.protect('public.lot', 'org_id');
insert into lot select format('LOT-x%s', lpad(i::text, 9, '0')), :'org' from generate_series(1, 800) i;
select batchcortex.seal() > 0 as sealed;
select size as all_size, encode(root, 'hex') as all_root from batchcortex.ledger_tree where org_id = :'org' \gset
select code from batchcortex.verify_since(:'org', :all_size, decode(:'all_root', 'hex')) where code <> 'weakened_protection';
select code from batchcortex.verify_since(:'org', :old_size, :'old_root') where code <> 'weakened_protection';
select code from batchcortex.verify(:'org') where code <> 'weakened_protection';
select count(*) from batchcortex.verify_since(:'org', 0, sha256('')) where code <> 'weakened_protection';
begin;
alter table lot disable trigger all;
update lot set org_id = null where name = 'LOT-x000000500';
select code, record from batchcortex.verify_since(:'org', :old_size, :'old_root') where code <> 'weakened_protection';
rollback;
\echo the global log holds no records
insert into lot values ('of no organisation', 'ffffffff-ffff-ffff-ffff-ffffffffffff');
