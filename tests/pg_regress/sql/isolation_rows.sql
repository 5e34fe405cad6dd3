-- Two organisations: each sees its own through every function, and neither the other's.
-- control: A8 B25
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
select 'a-' || gen_random_uuid() as ua, 'b-' || gen_random_uuid() as ub \gset
select invitation as ia, org_id as a from batchcortex.create_organisation('A ' || gen_random_uuid(), :'ua') \gset
select invitation as ib, org_id as b from batchcortex.create_organisation('B ' || gen_random_uuid(), :'ub') \gset
select outcome from batchcortex_api.accept_invitation(:'ia', 'Alice', 'a long enough password');
select outcome from batchcortex_api.accept_invitation(:'ib', 'Bob', 'a long enough password');
select token as ta from batchcortex_api.login(:'ua', 'a long enough password') \gset
select token as tb from batchcortex_api.login(:'ub', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'tb');
select batchcortex_api.create_batch('B-1', 'Beta') as bb, batchcortex_api.create_equipment('Reactor') as be \gset
select batchcortex_api.create_tag(:'be', 'pH', 'nsu=urn:x;s=pH', 'Double', 'pH') as bt \gset
select batchcortex_api.log_event('app.note', 'note', '1', batch_id => :'bb') is not null as noted;
commit;
drop role if exists regress_api;
create role regress_api login in role batchcortex_api;
set role regress_api;
begin;
select count(*) from batchcortex_api.open_request(:'ta');
select count(*) from batchcortex_api.batches();
select count(*) from batchcortex_api.equipment();
select count(*) from batchcortex_api.tags();
select count(*) from batchcortex_api.tags(:'be');
select count(*) from batchcortex_api.events() where actor_name = 'Bob';
savepoint s;
select * from batchcortex_api.batch(:'bb');
rollback to s;
select * from batchcortex_api.events(:'bb');
rollback to s;
select batchcortex_api.start_batch(:'bb');
rollback to s;
select batchcortex_api.samples(:'bb', 'pH');
rollback to s;
select batchcortex_api.log_event('app.note', 'note', '1', batch_id => :'bb');
rollback to s;
select batchcortex_api.create_tag(:'be', 'x', 'nsu=urn:x;s=x', 'Double');
rollback to s;
select batchcortex_api.enrol_device('x', :'be');
rollback to s;
-- The same number and names in another organisation do not collide.
select batchcortex_api.create_batch('B-1', 'Alpha') is not null as same_number, batchcortex_api.create_equipment('Reactor') is not null as same_name;
select count(*) from batchcortex_api.verify() where log = :'b';
select json_array_length(batchcortex_api.verify_report() -> 'logs') as logs, batchcortex_api.verify_report() #>> '{logs,0,log}' = :'a' as own;
-- A second request in the same transaction rebinds, it does not add.
select count(*) from batchcortex_api.open_request(:'tb');
select count(*) from batchcortex_api.batches();
rollback;
reset role;
drop role regress_api;
