-- A leaf recomputed from the columns with PostgreSQL's own functions, as docs/format.md §9 spells it out.
-- control: A18 A19
begin;
create function pg_temp.f(name text, value bytea) returns bytea language sql immutable as
$$ select case when value is null then ''::bytea
               else set_byte('\x00'::bytea, 0, octet_length(name)) || convert_to(name, 'UTF8') || int4send(octet_length(value)) || value end $$;
select batchcortex.log_event('regress.hand', 'thing', '1') is not null as plain;
select batchcortex.log_event('regress.hand', 'chose', 'é', '{"ü": "€"}', '[1,  2]', 'größer', gen_random_uuid(), '1969-12-31 23:59:59.999999+00') is not null as full;
select batchcortex.log_event('regress.hand', 'empty', '', 'null', '""', '') is not null as empty;
select batchcortex.log_event('regress.hand', 'long', repeat('x', 100000), to_json(repeat('y', 200000))) is not null as long;
create temp table leaf on commit drop as
select event_id, sha256('\x00' || convert_to(E'batchcortex/record/v1\n', 'UTF8') || '\x05' || convert_to('event', 'UTF8')
    || pg_temp.f('org_id', uuid_send(org_id)) || pg_temp.f('event_id', uuid_send(event_id)) || pg_temp.f('recorded_at', timestamptz_send(recorded_at))
    || pg_temp.f('actor_kind', convert_to(actor_kind, 'UTF8')) || pg_temp.f('actor_id', uuid_send(actor_id))
    || pg_temp.f('actor_name', convert_to(actor_name, 'UTF8')) || pg_temp.f('actor_role', convert_to(actor_role, 'UTF8'))
    || pg_temp.f('action', convert_to(action, 'UTF8')) || pg_temp.f('record_type', convert_to(record_type, 'UTF8'))
    || pg_temp.f('record_id', convert_to(record_id, 'UTF8')) || pg_temp.f('before', convert_to(before::text, 'UTF8'))
    || pg_temp.f('after', convert_to(after::text, 'UTF8')) || pg_temp.f('reason', convert_to(reason, 'UTF8'))
    || pg_temp.f('batch_id', uuid_send(batch_id)) || pg_temp.f('client_time', timestamptz_send(client_time))
    || pg_temp.f('client_ip', inet_send(client_ip)) || pg_temp.f('user_agent', convert_to(user_agent, 'UTF8'))
    || pg_temp.f('request_id', convert_to(request_id, 'UTF8'))) as leaf, leaf_hash
  from batchcortex.events_log;
select count(*) > 4 as enough, count(*) filter (where leaf <> leaf_hash) as wrong from leaf;
select count(*) as wrong from batchcortex.events_log e where sha256('\x00' || batchcortex.event_preimage(e)) <> leaf_hash;
-- The client's encoding and settings change nothing.
set local client_encoding = 'LATIN1';
set local timezone = 'Asia/Kathmandu';
set local datestyle = 'SQL, DMY';
set local bytea_output = 'escape';
select count(*) as wrong from batchcortex.events_log e where sha256('\x00' || batchcortex.event_preimage(e)) <> leaf_hash;
rollback;
