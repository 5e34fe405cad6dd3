-- Checkpoints: their texts, the global log over them, signatures, lives of the log, and waiting for a record to be sealed.
-- control: A18 A19 N1
\set VERBOSITY terse
set client_min_messages = warning;
\set global ffffffff-ffff-ffff-ffff-ffffffffffff
select gen_random_uuid() as a, gen_random_uuid() as b \gset
insert into batchcortex.organisation (org_id, name) values (:'a', :'a'), (:'b', :'b');
select batchcortex.log_event('regress.checkpoint', 'thing', '1', org_id => :'a') as event \gset
select batchcortex.wait_sealed(:'event') > 0 as covered;
select count(batchcortex.log_event('regress.checkpoint', 'thing', i::text, org_id => :'b')) from generate_series(1, 300) i;
select batchcortex.seal() > 0 as sealed;
select count(batchcortex.log_event('regress.checkpoint', 'thing', i::text, org_id => :'b')) from generate_series(1, 300) i;
select batchcortex.seal() > 0 as sealed;

\echo the newest checkpoint of each log is a signed note over its text
select org_id = :'global' as global, t.note = batchcortex.latest_checkpoint(org_id) as newest,
       split_part(t.note, E'\n\n', 1) || E'\n' = batchcortex.checkpoint_text(org_id, size) as text,
       split_part(t.note, E'\n\n', 2) ~ '^— batchcortex\.test [A-Za-z0-9+/=]{92}\n$' as signed
  from batchcortex.ledger_tree t where org_id in (:'a', :'b', :'global') order by 1;
select regexp_replace(batchcortex.checkpoint_text(:'b', 600), '[0-9a-f]{16}/\d+-[0-9a-f]{8}/[-0-9a-f]{36}|[A-Za-z0-9+/]{43}=|\d{4}-\d\d-\d\dT[0-9:.]+', '…', 'g') as text;
select batchcortex.checkpoint_text(:'b', 500) is null as no_such_size;
select count(*) as keys, bool_and(k ~ '^batchcortex\.test\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$') as shape from batchcortex.checkpoint_keys() k;

\echo each checkpoint of an organisation is a leaf of the global log, hashed by sha256() itself
select count(*) as checkpoints, bool_and(sha256('\x00' || convert_to(batchcortex.checkpoint_text(c.org_id, c.tree_size), 'UTF8'))
           = substr(t.hashes, 32 * (c.global_index % 256)::integer + 1, 32)) as leaves
  from batchcortex.ledger_checkpoint c
  join batchcortex.ledger_tile t on t.org_id = :'global' and t.level = 0 and t.tile_index = c.global_index / 256
 where c.org_id in (:'a', :'b');

\echo a record from its leaf to the signed global checkpoint
with leaf as (select l.*, e.leaf_hash from batchcortex.leaf_of(:'event') l join batchcortex.events_log e on e.event_id = :'event'),
     own as (select c.* from batchcortex.ledger_checkpoint c, leaf where c.org_id = leaf.org_id and c.tree_size > leaf.leaf_index order by c.tree_size limit 1),
     world as (select c.* from batchcortex.ledger_checkpoint c where c.org_id = :'global' and c.tree_size = batchcortex.sealed_in(:'event'))
select leaf.org_id = :'a' as org, leaf.leaf_index,
       batchcortex.verify_inclusion(leaf.leaf_index, own.tree_size, leaf.leaf_hash, batchcortex.inclusion_proof(:'a', leaf.leaf_index, own.tree_size), own.root) as in_own_log,
       batchcortex.verify_inclusion(own.global_index, world.tree_size, sha256('\x00' || convert_to(batchcortex.checkpoint_text(:'a', own.tree_size), 'UTF8')),
                                    batchcortex.inclusion_proof(:'global', own.global_index, world.tree_size), world.root) as in_global_log,
       strpos(world.note, encode(world.root, 'base64')) > 0 as signed
  from leaf, own, world;

\echo the global log grows consistently
select count(*) > 1 as pairs, bool_and(batchcortex.verify_consistency(a.tree_size, b.tree_size, a.root, b.root, batchcortex.consistency_proof(:'global', a.tree_size, b.tree_size))) as consistent
  from (select * from batchcortex.ledger_checkpoint where org_id = :'global' order by tree_size desc limit 4) a
  join (select * from batchcortex.ledger_checkpoint where org_id = :'global' order by tree_size desc limit 4) b on a.tree_size < b.tree_size;
select r ->> 'signed' as signed, r -> 'keys' ->> 0 = (select k from batchcortex.checkpoint_keys() k limit 1) as key,
       r #>> '{logs,-1,organisation}' as last, r #>> '{logs,-1,checkpoint}' = batchcortex.latest_checkpoint(:'global') as checkpoint
  from batchcortex.verify_report(:'a') v cross join lateral (select v::jsonb as r) j;
select * from batchcortex.verify(:'a');

\echo the life of the log
select incarnation, origin ~ '^batchcortex\.test/[0-9a-f]{16}/1-[0-9a-f]{8}$' as origin, previous, begun_size, global_index,
       system_identifier = (select system_identifier from pg_control_system()) as system
  from batchcortex.ledger_incarnation;

\echo waiting has an end, and a leaf that is not there has none
begin;
select batchcortex.log_event('regress.checkpoint', 'thing', 'open', org_id => :'a') as waiting \gset
\set VERBOSITY sqlstate
select batchcortex.wait_sealed(:'waiting', '300 ms');
rollback;
select count(*) from batchcortex.leaf_of(gen_random_uuid());
begin isolation level repeatable read;
select batchcortex.wait_sealed(:'event');
rollback;
select batchcortex.latest_checkpoint(gen_random_uuid());
set role batchcortex_auditor;
select count(*) as incarnations from batchcortex.ledger_incarnation;
select count(*) as of_organisations from batchcortex.ledger_checkpoint where org_id <> :'global';
select count(*) > 0 as of_the_global_log from batchcortex.ledger_checkpoint;
select batchcortex.latest_checkpoint(:'a');
select batchcortex.latest_checkpoint(:'global') is not null as note;
reset role;
