-- needs: batchcortex.break_glass
-- Somebody makes tiles, heads and checkpoints fit each other and waits for the server to sign it: what is not what was signed last does
-- not grow. What is hidden from auditors by a label, dropped, made up for a time to come, or registered by hand is named.
-- control: A17 A18 A19
\set VERBOSITY terse
set client_min_messages = warning;
\set global ffffffff-ffff-ffff-ffff-ffffffffffff
select gen_random_uuid() as org, gen_random_uuid() as well \gset
insert into batchcortex.organisation (org_id, name) values (:'org', :'org'), (:'well', :'well');
select count(batchcortex.log_event('regress.forgery', 'thing', i::text, org_id => o)) as events from generate_series(1, 3) i, (values (:'org'::uuid), (:'well')) v (o);
select batchcortex.seal() >= 0 as sealed;
-- A last tile of the global log that is not full.
select count(batchcortex.log_event('regress.forgery', 'filling', '1', org_id => :'well')) >= 0 as filled from batchcortex.ledger_tree where org_id = :'global' and size % 256 = 0;
select batchcortex.seal() >= 0 as sealed;
alter table batchcortex.ledger_tile disable trigger all;
alter table batchcortex.ledger_tree disable trigger all;
alter table batchcortex.ledger_checkpoint disable trigger all;
-- RFC 6962 §2.1.
create function pg_temp.root(leaves bytea[]) returns bytea language plpgsql as $$
declare
    n integer := cardinality(leaves);
    k integer := 1;
begin
    if n = 1 then
        return leaves[1];
    end if;
    while k * 2 < n loop
        k := k * 2;
    end loop;
    return sha256('\x01' || pg_temp.root(leaves[1:k]) || pg_temp.root(leaves[k + 1:n]));
end $$;
create temp table kept_tile (like batchcortex.ledger_tile);
create temp table kept_tree (like batchcortex.ledger_tree);
create temp table kept_checkpoint (like batchcortex.ledger_checkpoint);
create procedure pg_temp.keep(log uuid) language plpgsql as $$
begin
    truncate kept_tile, kept_tree, kept_checkpoint;
    insert into kept_tile select * from batchcortex.ledger_tile where org_id = log;
    insert into kept_tree select * from batchcortex.ledger_tree where org_id = log;
    insert into kept_checkpoint select * from batchcortex.ledger_checkpoint where org_id = log;
end $$;
create procedure pg_temp.erase(log uuid) language sql as $$
    delete from batchcortex.ledger_tile where org_id = log;
    delete from batchcortex.ledger_tree where org_id = log;
    delete from batchcortex.ledger_checkpoint where org_id = log;
$$;
create procedure pg_temp.put_back(log uuid) language plpgsql as $$
begin
    call pg_temp.erase(log);
    insert into batchcortex.ledger_tile select * from kept_tile;
    insert into batchcortex.ledger_tree select * from kept_tree;
    insert into batchcortex.ledger_checkpoint select * from kept_checkpoint;
end $$;
-- Another leaf in the last tile, and head and newest checkpoint made to fit.
create procedure pg_temp.forge(log uuid) language plpgsql as $$
declare
    forged bytea;
begin
    update batchcortex.ledger_tile set hashes = overlay(hashes placing sha256('forged') from 1)
     where org_id = log and level = 0 and tile_index = (select size / 256 from batchcortex.ledger_tree where org_id = log);
    select pg_temp.root(array_agg(substr(t.hashes, 32 * i + 1, 32) order by t.tile_index, i)) into forged
      from batchcortex.ledger_tile t, generate_series(0, t.width - 1) i where t.org_id = log and t.level = 0;
    update batchcortex.ledger_tree set root = forged where org_id = log;
    update batchcortex.ledger_checkpoint c set root = forged from batchcortex.ledger_tree t where c.org_id = log and t.org_id = log and c.tree_size = t.size;
end $$;
create temp table before as select org_id, size from batchcortex.ledger_tree;
create temp view grown as select coalesce(o.name, 'global log') as log, t.size - b.size as leaves
  from batchcortex.ledger_tree t join before b using (org_id) left join batchcortex.organisation o using (org_id);
create procedure pg_temp.write(org uuid, well uuid) language sql as $$
    truncate before;
    insert into before select org_id, size from batchcortex.ledger_tree;
    select batchcortex.log_event('regress.forgery', 'later', '1', org_id => o) from (values (org), (well)) v (o);
$$;
create temp view health as select status, detail from batchcortex.health() where component = 'sealer';

\echo the log of an organisation that was forged with its newest checkpoint: it does not grow, others do
call pg_temp.keep(:'org');
call pg_temp.forge(:'org');
call pg_temp.write(:'org', :'well');
select batchcortex.seal() as sealed;
select replace(replace(log, :'org', 'org'), :'well', 'well') as log, leaves from grown where log in (:'org', :'well') order by 1;
select * from health;
select distinct code from batchcortex.verify(:'org') where code <> 'weakened_protection' order by 1;
call pg_temp.put_back(:'org');
select batchcortex.seal() as sealed;
select status from health;
\echo one whose newest checkpoint is gone
call pg_temp.keep(:'org');
delete from batchcortex.ledger_checkpoint c using batchcortex.ledger_tree t where c.org_id = :'org' and t.org_id = :'org' and c.tree_size = t.size;
call pg_temp.write(:'org', :'well');
select batchcortex.seal() as sealed;
select replace(replace(log, :'org', 'org'), :'well', 'well') as log, leaves from grown where log in (:'org', :'well') order by 1;
call pg_temp.put_back(:'org');
select batchcortex.seal() as sealed;
\echo one whose head and checkpoints are gone, so that it would begin anew
call pg_temp.keep(:'org');
delete from batchcortex.ledger_tree where org_id = :'org';
delete from batchcortex.ledger_checkpoint where org_id = :'org';
call pg_temp.write(:'org', :'well');
select batchcortex.seal() as sealed;
select count(*) from batchcortex.ledger_tree where org_id = :'org';
call pg_temp.put_back(:'org');
select batchcortex.seal() as sealed;
\echo the global log, forged so that all fits but the signature: nothing is sealed
call pg_temp.keep(:'global');
call pg_temp.forge(:'global');
call pg_temp.write(:'org', :'well');
select batchcortex.seal() as sealed;
select sum(leaves) as leaves from grown;
select * from health;
select distinct code from batchcortex.verify(:'org') where code <> 'weakened_protection' order by 1;
call pg_temp.put_back(:'global');
select batchcortex.seal() as sealed;
select status from health;
\echo its newest checkpoint without a signature, with that of an earlier one, with another time
call pg_temp.keep(:'global');
call pg_temp.write(:'org', :'well');
update batchcortex.ledger_checkpoint c set note = null from batchcortex.ledger_tree t where c.org_id = :'global' and t.org_id = :'global' and c.tree_size = t.size;
select batchcortex.seal() as sealed;
update batchcortex.ledger_checkpoint c set note = (select note from kept_checkpoint order by tree_size limit 1) from batchcortex.ledger_tree t where c.org_id = :'global' and t.org_id = :'global' and c.tree_size = t.size;
select batchcortex.seal() as sealed;
call pg_temp.put_back(:'global');
update batchcortex.ledger_checkpoint c set sealed_at = c.sealed_at + interval '1 second' from batchcortex.ledger_tree t where c.org_id = :'global' and t.org_id = :'global' and c.tree_size = t.size;
select batchcortex.seal() as sealed;
select sum(leaves) as leaves from grown;
\echo erased
call pg_temp.erase(:'global');
select batchcortex.seal() as sealed;
select count(*) from batchcortex.ledger_tree where org_id = :'global';
call pg_temp.put_back(:'global');
select batchcortex.seal() as sealed;
alter table batchcortex.ledger_tile enable always trigger single_writer, enable always trigger single_writer_truncate;
alter table batchcortex.ledger_tree enable always trigger single_writer, enable always trigger single_writer_truncate;
alter table batchcortex.ledger_checkpoint enable always trigger append_only, enable always trigger append_only_truncate, enable always trigger single_writer, enable always trigger single_writer_truncate;
select * from batchcortex.verify() where record <> 'batchcortex.break_glass';

\echo checkpoints of the global log that are dropped
begin;
alter table batchcortex.ledger_checkpoint disable trigger all;
delete from batchcortex.ledger_checkpoint c using batchcortex.ledger_tree t where c.org_id = :'global' and t.org_id = :'global' and c.tree_size < t.size;
select distinct code, detail from batchcortex.verify(:'org') where code <> 'weakened_protection';
rollback;
\echo a life of the log without a key after one with a key
begin;
alter table batchcortex.ledger_incarnation disable trigger all;
alter table batchcortex.ledger_checkpoint disable trigger all;
insert into batchcortex.ledger_incarnation (incarnation, origin, previous, system_identifier, timeline, database, began_at, begun_size, begun_root, global_index)
select 2, regexp_replace(i.origin, '^.*(/[0-9a-f]{16}/).*$', 'batchcortex\12-01020304'), i.origin, i.system_identifier, i.timeline, i.database, now(), t.size, t.root, t.size
  from batchcortex.ledger_incarnation i, batchcortex.ledger_tree t where t.org_id = :'global';
update batchcortex.ledger_checkpoint c set incarnation = 2, note = null from batchcortex.ledger_tree t where c.org_id = :'global' and t.org_id = :'global' and c.tree_size = t.size;
select code, detail from batchcortex.verify(:'org') where code = 'bad_signature' and relation = 'batchcortex.ledger_checkpoint';
rollback;

\echo a record of a time to come, which a disposal that is made up does not excuse, and one of a time long past
begin;
alter table batchcortex.ledger_tile disable trigger all;
alter table batchcortex.events_log disable trigger all;
alter table batchcortex.partition_disposal disable trigger all;
-- Leaves 0 and 1: 20 bytes a record, its key the last 16 of them.
delete from batchcortex.events_log e using batchcortex.ledger_tile t, (values (0), (1)) v (i)
 where t.org_id = :'org' and t.level = 0 and t.tile_index = 0 and e.event_id = encode(substr(t.records, 20 * i + 5, 16), 'hex')::uuid;
update batchcortex.ledger_tile set records = overlay(overlay(records placing '\x03bb2cc3d80070008000000000000001' from 5) placing '\x00e3bb12540070008000000000000002' from 25)
 where org_id = :'org' and level = 0 and tile_index = 0;
select code, record, regexp_replace(detail, '\d+ s', 'n s') as detail from batchcortex.verify(:'org') where code <> 'weakened_protection' order by 1, 2;
select l ->> 'leaves' as late, l ->> 'tree_size' as sealed_with from json_array_elements(batchcortex.verify_report(:'org') #> '{logs,0,late}') l;
insert into batchcortex.partition_disposal (org_id, disposal_id, relation, relation_id, partition, recorded_from, recorded_to, row_count, leaves, leaves_sha256,
                                            reason, proposed_by, proposed_login_oid, recorded_by, login_oid, leaf_hash)
select :'org', gen_random_uuid(), 'events_log', relation_id, 'batchcortex.events_log_2100_01', '2100-01-01', '2100-02-01', 1, 1, sha256(substr(t.hashes, 1, 32)), 'made up', 'a', 1, 'b', 2, sha256('')
  from batchcortex.ledger_relation r, batchcortex.ledger_tile t where r.domain = 'event' and t.org_id = :'org' and t.level = 0 and t.tile_index = 0;
select code, record from batchcortex.verify(:'org') where code = 'wrong_time' and record like '03bb%';
rollback;

\echo witnesses registered, retired or taken away by hand
\set log_key PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW
with k as (select decode('04' || substr(encode(decode('ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW', 'base64'), 'hex'), 3), 'hex') as key)
select 'w.example+' || encode(substr(sha256(convert_to(E'w.example\n', 'UTF8') || key), 1, 4), 'hex') || '+' || encode(key, 'base64') as witness_key from k \gset
select batchcortex.add_witness(:'witness_key', 'the customer''s agent');
select * from batchcortex.verify(:'org') where record <> 'batchcortex.break_glass';
begin;
insert into batchcortex.ledger_witness (verifier_key, witness, key_id, active, reason) select verifier_key, witness, key_id, false, 'by hand' from batchcortex.ledger_witness;
insert into batchcortex.ledger_witness (verifier_key, witness, key_id, active, reason) values ('mine.example+00000000+AAAA', 'mine.example', '\x00000000', true, 'by hand');
select code, regexp_replace(record, '\+[0-9a-f]{8}$', '') as record, detail from batchcortex.verify(:'org') where relation = 'batchcortex.ledger_witness';
rollback;
begin;
alter table batchcortex.ledger_witness disable trigger all;
update batchcortex.ledger_witness set witness = 'other.example';
select regexp_replace(record, '\+[0-9a-f]{8}$', '') as record, detail from batchcortex.verify(:'org') where relation = 'batchcortex.ledger_witness' and record <> 'append_only' and record <> 'append_only_truncate';
delete from batchcortex.ledger_witness;
select regexp_replace(record, '\+[0-9a-f]{8}$', '') as record, detail from batchcortex.verify(:'org') where relation = 'batchcortex.ledger_witness' and record <> 'append_only' and record <> 'append_only_truncate';
rollback;

\echo an auditor sees what a label or a missing checkpoint would hide
drop role if exists regress_ada;
create role regress_ada login;
create schema regress_forgery;
create table regress_forgery.recipe (id uuid primary key, org uuid not null, text text);
alter table regress_forgery.recipe enable row level security;
select batchcortex.protect('regress_forgery.recipe', 'org') is not null as protected;
insert into regress_forgery.recipe select gen_random_uuid(), :'org', 'secret ' || i from generate_series(1, 2) i;
select count(batchcortex.grant_auditor('regress_ada', o, now() + interval '1 day', 'inspection')) as granted from (values (:'org'::uuid), (:'well')) v (o);
select batchcortex.seal() > 0 as sealed;
create temp table old_head as select note from batchcortex.ledger_tree where org_id = :'well';
select batchcortex.log_event('regress.forgery', 'thing', 'the newest', org_id => :'well') is not null as recorded;
select batchcortex.seal() > 0 as sealed;
set session authorization regress_ada;
select count(*) from regress_forgery.recipe;
select * from batchcortex.verify() where record <> 'batchcortex.break_glass';
select l ->> 'leaves_unread' as unread, (l ->> 'rows')::integer > 3 as rows_read from json_array_elements(batchcortex.verify_report() -> 'logs') l;
reset session authorization;
begin;
alter table batchcortex.events_log disable trigger all;
alter table batchcortex.ledger_tile disable trigger all;
-- The first leaf: 20 bytes a record here.
select encode(substr(records, 5, 16), 'hex')::uuid as hidden from batchcortex.ledger_tile where org_id = :'org' and level = 0 and tile_index = 0 \gset
update batchcortex.ledger_tile set records = overlay(records placing int2send((select relation_id::smallint from batchcortex.ledger_relation where domain = 'table:regress_forgery.recipe')) from 1)
 where org_id = :'org' and level = 0 and tile_index = 0;
delete from batchcortex.events_log where org_id = :'org' and event_id = :'hidden';
set local session authorization regress_ada;
select code, relation, record = :'hidden' as hidden, detail from batchcortex.verify() where code <> 'weakened_protection';
rollback;
begin;
alter table regress_forgery.recipe disable trigger all;
insert into regress_forgery.recipe values (gen_random_uuid(), :'org', 'another');
update regress_forgery.recipe set text = 'changed' where text = 'secret 1';
set local session authorization regress_ada;
select code, relation, record = '' as unnamed, regexp_replace(detail, '\d+', 'n') as detail from batchcortex.verify() where code <> 'weakened_protection' order by 1;
rollback;
begin;
create role regress_cook;
alter table regress_forgery.recipe owner to regress_cook;
set local session authorization regress_ada;
select code, relation, record, detail from batchcortex.verify() where relation = 'batchcortex.ledger_relation';
rollback;
\echo the newest records of an organisation, with leaves, head and checkpoint
begin;
alter table batchcortex.events_log disable trigger all;
alter table batchcortex.ledger_tile disable trigger all;
alter table batchcortex.ledger_tree disable trigger all;
alter table batchcortex.ledger_checkpoint disable trigger all;
select tree_size as size, root from batchcortex.ledger_checkpoint where org_id = :'well' order by tree_size desc offset 1 limit 1 \gset old_
create temp table gone as select encode(substr(records, 20 * i + 5, 16), 'hex')::uuid as id from batchcortex.ledger_tile, generate_series(:old_size, width - 1) i where org_id = :'well' and level = 0;
delete from batchcortex.events_log where org_id = :'well' and event_id in (select id from gone);
update batchcortex.ledger_tile set width = :old_size, hashes = substr(hashes, 1, 32 * :old_size), records = substr(records, 1, 20 * :old_size) where org_id = :'well' and level = 0;
delete from batchcortex.ledger_checkpoint where org_id = :'well' and tree_size > :old_size;
update batchcortex.ledger_tree set size = :old_size, root = :'old_root', note = (select note from old_head) where org_id = :'well';
set local session authorization regress_ada;
select code, relation, regexp_replace(detail, '\d+', 'n') as detail from batchcortex.verify() where code <> 'weakened_protection';
rollback;
drop role regress_ada;
