-- An event is what the server says it is, whatever the writer says.
-- control: A20 A21 B34
\set VERBOSITY terse
begin;
select batchcortex.log_event('regress.event', 'thing', '1', before => '{"a": 1}', after => '{"a":  2 }', reason => 'why', client_time => '1999-01-01 UTC') as id \gset
select org_id, actor_kind, actor_id, actor_name = session_user as is_login, actor_role, action, record_type, record_id, before, after, reason,
       client_time = '1999-01-01 UTC' as client_time_kept, recorded_at between now() - interval '1 minute' and clock_timestamp() as server_time
  from batchcortex.events_log where event_id = :'id';
-- Forged time, actor, id and hash are overwritten; the id carries the time of the record.
insert into batchcortex.events_log (org_id, event_id, recorded_at, actor_kind, actor_id, actor_name, actor_role, action, record_type, record_id, leaf_hash, client_ip, user_agent)
values ('00000000-0000-0000-0000-000000000000', '11111111-1111-1111-1111-111111111111', now() - interval '1 second', 'user', gen_random_uuid(), 'Someone Else', 'qp',
        'regress.forged', 'thing', '2', '\x00', '203.0.113.7', 'forged');
select event_id = '11111111-1111-1111-1111-111111111111' as forged_id, recorded_at < now() as forged_time, actor_kind, actor_id, actor_name = session_user as is_login,
       leaf_hash = sha256('\x00' || batchcortex.event_preimage(e)) as own_hash, client_ip, user_agent,
       ('x' || left(replace(event_id::text, '-', ''), 12))::bit(48)::bigint = floor(extract(epoch from recorded_at) * 1000) as id_has_time,
       substr(event_id::text, 15, 1) as version
  from batchcortex.events_log e where action = 'regress.forged';
-- A time of another month is refused by the table itself.
savepoint s;
insert into batchcortex.events_log (org_id, event_id, recorded_at, action, record_type, record_id) values ('00000000-0000-0000-0000-000000000000', gen_random_uuid(), '2001-01-01', 'x', 'x', 'x');
rollback to s;
-- A trigger that would alter what was stamped is refused.
create function pg_temp.alter_row() returns trigger language plpgsql as $$ begin new.reason := 'altered'; return new; end $$;
create trigger zz_alter before insert on batchcortex.events_log for each row execute function pg_temp.alter_row();
rollback;
-- What is missing or unknown.
select batchcortex.log_event(null, 'thing', '1');
select batchcortex.log_event('regress.event', 'thing', '1', org_id => '12345678-1234-1234-1234-123456789abc');
begin read only;
select batchcortex.log_event('regress.event', 'thing', '1');
rollback;
-- Actors are never missing.
select count(*) as without_actor from batchcortex.events_log where actor_kind is null or actor_name is null or actor_role is null;
