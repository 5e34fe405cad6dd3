-- UPDATE, DELETE and TRUNCATE of records are refused: to the superuser, on partitions, in every replication role.
-- control: A17 B34
\set VERBOSITY terse
\set SHOW_CONTEXT never
begin;
select batchcortex.log_event('regress.protect', 'thing', '1') is not null as recorded;
savepoint s;
update batchcortex.events_log set reason = 'changed' where action = 'regress.protect';
rollback to s;
delete from batchcortex.events_log where action = 'regress.protect';
rollback to s;
truncate batchcortex.events_log;
rollback to s;
set local session_replication_role = replica;
update batchcortex.events_log set reason = 'changed' where action = 'regress.protect';
rollback to s;
-- A partition by its own name.
select format('batchcortex.events_log_%s', to_char(now() at time zone 'UTC', 'YYYY_MM')) as this_month \gset
do $$ begin execute format('delete from %s', 'batchcortex.events_log_' || to_char(now() at time zone 'UTC', 'YYYY_MM')); exception when sqlstate 'BC001' then raise notice 'BC001'; end $$;
do $$ begin execute format('truncate %s', 'batchcortex.events_log_' || to_char(now() at time zone 'UTC', 'YYYY_MM')); exception when sqlstate 'BC001' then raise notice 'BC001'; end $$;
insert into batchcortex.sample_segment (org_id, segment_id, device_id, sequence, tag_id, first_sample, last_sample, sample_count, data_type, source_ticks, status, numbers)
values ('00000000-0000-0000-0000-000000000000', gen_random_uuid(), gen_random_uuid(), 1, gen_random_uuid(), 1, 1, 1, 'Double', '{1}', '{0}', '{1}');
savepoint t;
update batchcortex.sample_segment set unit = 'kg';
rollback to t;
truncate batchcortex.sample_segment;
rollback to s;
truncate batchcortex.ledger_checkpoint;
rollback to s;
truncate batchcortex.ingest_receipt;
rollback to s;
delete from batchcortex.schema_migration;
rollback to s;
-- INSERT … ON CONFLICT DO UPDATE ends in an update.
insert into batchcortex.schema_migration (version, name, sha256) values (1, 'x', 'x') on conflict (version) do update set name = 'x';
rollback;
