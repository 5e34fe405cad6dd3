-- needs: batchcortex.break_glass
-- A damaged tree does not grow, its leaves go on waiting, and other organisations are sealed all the same.
\set VERBOSITY terse
set client_min_messages = warning;
select gen_random_uuid() as hurt, gen_random_uuid() as well \gset
insert into batchcortex.organisation (org_id, name) values (:'hurt', :'hurt'), (:'well', :'well');
select count(batchcortex.log_event('regress.damage', 'thing', i::text, org_id => o)) as events from generate_series(1, 300) i, (values (:'hurt'::uuid), (:'well')) v (o);
select batchcortex.seal() >= 0 as sealed;
alter table batchcortex.ledger_tile disable trigger all;
select hashes as whole from batchcortex.ledger_tile where org_id = :'hurt' and level = 0 and tile_index = 1 \gset
update batchcortex.ledger_tile set hashes = substr(hashes, 1, 32), width = 1 where org_id = :'hurt' and level = 0 and tile_index = 1;
select count(batchcortex.log_event('regress.damage', 'thing', i::text, org_id => o)) as events from generate_series(301, 310) i, (values (:'hurt'::uuid), (:'well')) v (o);
select batchcortex.seal() >= 0 as sealed;
select org_id = :'well' as is_well, size from batchcortex.ledger_tree where org_id in (:'hurt', :'well') order by 1;
alter table batchcortex.ledger_tile enable always trigger single_writer, enable always trigger single_writer_truncate;
select r #>> '{logs,0,waiting}' as waiting, r ->> 'findings' as findings from batchcortex.verify_report(:'hurt') r;
select count(*) as findings from batchcortex.verify(:'well') where record <> 'batchcortex.break_glass';
-- Mended, it goes on.
alter table batchcortex.ledger_tile disable trigger all;
update batchcortex.ledger_tile set hashes = :'whole', width = 44 where org_id = :'hurt' and level = 0 and tile_index = 1;
select batchcortex.seal() >= 0 as sealed;
select size from batchcortex.ledger_tree where org_id = :'hurt';
alter table batchcortex.ledger_tile enable always trigger single_writer, enable always trigger single_writer_truncate;
select count(*) as findings from batchcortex.verify(:'hurt') where record <> 'batchcortex.break_glass';
