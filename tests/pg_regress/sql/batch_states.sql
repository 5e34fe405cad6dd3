-- A batch is planned, runs and ends; every step is an event; bad input has its own code.
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
select 'op-' || gen_random_uuid() as op \gset
select invitation as bci from batchcortex.create_organisation('Batch ' || gen_random_uuid(), :'op') \gset
select outcome from batchcortex_api.accept_invitation(:'bci', 'Otto', 'a long enough password');
select token from batchcortex_api.login(:'op', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'token');
select batchcortex_api.create_batch('L-7', 'Syrup') as id \gset
savepoint s;
select batchcortex_api.create_batch('L-7', 'Syrup');
rollback to s;
select batchcortex_api.create_batch(' ', 'Syrup');
rollback to s;
select batchcortex_api.create_batch(repeat('x', 101), 'Syrup');
rollback to s;
select batchcortex_api.create_batch('L-8', null);
rollback to s;
select batchcortex_api.end_batch(:'id');
rollback to s;
select batchcortex_api.start_batch(gen_random_uuid());
rollback to s;
select batchcortex_api.start_batch(null);
rollback to s;
select batchcortex_api.start_batch(:'id');
savepoint s;
select batchcortex_api.start_batch(:'id');
rollback to s;
select batchcortex_api.end_batch(:'id');
select state, started_at is not null as started, ended_at >= started_at as ended, events from batchcortex_api.batch(:'id');
select action, before, after from batchcortex_api.events(:'id') order by recorded_at;
savepoint s;
select count(*) from batchcortex_api.batches(max_rows => 0);
rollback to s;
select count(*) from batchcortex_api.batches(max_rows => null);
rollback to s;
select count(*) from batchcortex_api.events(max_rows => 1001);
rollback to s;
-- Events of applications cannot pass for the server's, and nothing about them is empty or huge.
select batchcortex_api.log_event('batch.ended', 'batch', 'x');
rollback to s;
select batchcortex_api.log_event('app.x', 'x', 'x', client_time => 'infinity');
rollback to s;
set local standard_conforming_strings = off;
select batchcortex_api.log_event('appXbatch.ended', 'x', 'x');
rollback to s;
select batchcortex_api.log_event('app.x', '', 'x');
rollback to s;
select batchcortex_api.log_event('app.x', 'x', null);
rollback to s;
select batchcortex_api.log_event('app.x', 'x', 'x', after => to_json(repeat('x', 300000)));
rollback to s;
select batchcortex_api.log_event('app.x', 'x', 'x', batch_id => gen_random_uuid());
rollback to s;
rollback;
