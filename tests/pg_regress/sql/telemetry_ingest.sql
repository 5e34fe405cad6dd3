-- Messages of a device: proven by HMAC, stored exactly once and as captured, or refused with a code of their own and recorded.
-- control: A15 A21 A22
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
-- HMAC-SHA256 (RFC 2104) and the signature base of docs/format.md §8, with nothing of the extension.
create function pg_temp.hmac(key bytea, message bytea) returns bytea language plpgsql as $$
declare
    inner_pad bytea := ''; outer_pad bytea := '';
begin
    for i in 0 .. 63 loop
        inner_pad := inner_pad || set_byte('\x00', 0, (case when i < length(key) then get_byte(key, i) else 0 end) # 54);
        outer_pad := outer_pad || set_byte('\x00', 0, (case when i < length(key) then get_byte(key, i) else 0 end) # 92);
    end loop;
    return sha256(outer_pad || sha256(inner_pad || message));
end $$;
create function pg_temp.send(key_id text, secret text, body text, created bigint default extract(epoch from now())::bigint, signed_body text default null)
returns table (outcome text, sequence bigint, samples integer, duplicate boolean, next_sequence bigint, sqlstate text, detail text) language plpgsql as $$
declare
    digest text := 'sha-256=:' || encode(sha256(convert_to(coalesce(signed_body, body), 'UTF8')), 'base64') || ':';
    parameters text := format('("@method" "@authority" "@path" "content-digest");created=%s;nonce="AAAAAAAAAAAAAAAAAAAAAA";keyid="%s";alg="hmac-sha256"', created, key_id);
    base text := format(E'"@method": POST\n"@authority": plant.example\n"@path": /v1/ingest\n"content-digest": %s\n"@signature-params": %s', digest, parameters);
begin
    return query
        select i.outcome, i.sequence, i.samples, i.duplicate, i.next_sequence, i.sqlstate, i.detail
          from batchcortex_api.ingest('POST', 'plant.example', '/v1/ingest', digest, 'device=' || parameters,
                 'device=:' || encode(pg_temp.hmac(decode(secret, 'hex'), convert_to(base, 'UTF8')), 'base64') || ':', convert_to(body, 'UTF8'), '192.0.2.9', 'edge', 'r') i;
end $$;
select 'ad-' || gen_random_uuid() as ad \gset
select invitation as bci, org_id as org from batchcortex.create_organisation('Plant ' || gen_random_uuid(), :'ad') \gset
select outcome from batchcortex_api.accept_invitation(:'bci', 'Ad Min', 'a long enough password');
select token from batchcortex_api.login(:'ad', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'token');
select batchcortex_api.create_equipment('Reactor') as eq \gset
select batchcortex_api.create_tag(:'eq', 'pH', 'nsu=urn:x;s=pH', 'Double', 'pH') is not null as ph, batchcortex_api.create_tag(:'eq', 'n', 'nsu=urn:x;s=n', 'Int16') is not null as n,
       batchcortex_api.create_tag(:'eq', 'on', 'nsu=urn:x;s=on', 'Boolean') is not null as "on", batchcortex_api.create_tag(:'eq', 'phase', 'nsu=urn:x;s=phase', 'String') is not null as phase;
savepoint s;
select batchcortex_api.create_tag(:'eq', 'pH', 'nsu=urn:x;s=pH', 'Double');
rollback to s;
select batchcortex_api.create_tag(:'eq', 'x', 'nsu=urn:x;s=x', 'Complex');
rollback to s;
select batchcortex_api.create_equipment('Reactor');
rollback to s;
select device_id as dev, key_id as key, secret from batchcortex_api.enrol_device('edge-1', :'eq') \gset
select batchcortex_api.create_batch('B-1', 'Amoxi') as batch \gset
select batchcortex_api.create_batch('B-2', 'Amoxi') is not null as planned;
select batchcortex_api.start_batch(:'batch');
commit;
select :'key' ~ '^bcd_[0-9a-f]{32}$' as key_shape, :'secret' ~ '^[0-9a-f]{64}$' as secret_shape;
-- The secret is stored nowhere.
select count(*) from batchcortex.device_key k where k::text like '%' || :'secret' || '%';
create temp table m as select format('{"device_id": "%s", "sequence": %%s, "batch": "B-1", "segments": [%%s]}', :'dev') as frame;
create function pg_temp.message(sequence bigint, segments text) returns text language sql as $$ select format(frame, sequence, segments) from m $$;

select outcome, sequence, samples, duplicate, next_sequence, sqlstate from pg_temp.send(:'key', :'secret', pg_temp.message(1,
  '{"tag": "pH", "data_type": "Double", "first_sample": 1, "source_ticks": [132000000000000000, 132000000000000001, 132000000010000000, 132000000020000000], "values": [6.5, -0.0, null, 2.230721965e-25], "status": [0, 0, 2150891520, 1073741824]},
   {"tag": "n", "data_type": "Int16", "first_sample": 1, "source_ticks": [132000000000000000], "values": [-32768], "status": [0]},
   {"tag": "on", "data_type": "Boolean", "first_sample": 1, "source_ticks": [132000000000000000], "values": [true], "status": [0]},
   {"tag": "phase", "data_type": "String", "first_sample": 1, "source_ticks": [132000000000000000], "values": ["Fütterung"], "status": [0]}'));
select tag, sample, source_time at time zone 'UTC' as utc, source_ticks, value, value_text, status, unit from batchcortex.samples where org_id = :'org' order by tag, sample;
-- Bits are kept.
select encode(float8send(numbers[2]), 'hex') as minus_zero from batchcortex.sample_segment where org_id = :'org' and numbers is not null;
-- The same again is answered as before; another body with its number is a conflict; a number left out is out of order.
select outcome, sequence, samples, duplicate, next_sequence, sqlstate from pg_temp.send(:'key', :'secret', pg_temp.message(1,
  '{"tag": "pH", "data_type": "Double", "first_sample": 1, "source_ticks": [132000000000000000, 132000000000000001, 132000000010000000, 132000000020000000], "values": [6.5, -0.0, null, 2.230721965e-25], "status": [0, 0, 2150891520, 1073741824]},
   {"tag": "n", "data_type": "Int16", "first_sample": 1, "source_ticks": [132000000000000000], "values": [-32768], "status": [0]},
   {"tag": "on", "data_type": "Boolean", "first_sample": 1, "source_ticks": [132000000000000000], "values": [true], "status": [0]},
   {"tag": "phase", "data_type": "String", "first_sample": 1, "source_ticks": [132000000000000000], "values": ["Fütterung"], "status": [0]}'));
create function pg_temp.one(sequence bigint, tag text, first bigint, type text, ticks text, value text, status text default '0') returns text language sql as
$$ select pg_temp.message(sequence, format('{"tag": "%s", "data_type": "%s", "first_sample": %s, "source_ticks": [%s], "values": [%s], "status": [%s]}', tag, type, first, ticks, value, status)) $$;
create table pg_temp.try (n serial, what text, body text);
insert into try (what, body) values
  ('another body', pg_temp.one(1, 'pH', 1, 'Double', '1', '1')),
  ('sequence left out', pg_temp.one(3, 'pH', 5, 'Double', '1', '1')),
  ('sample left out', pg_temp.one(2, 'pH', 6, 'Double', '1', '1')),
  ('sample again', pg_temp.one(2, 'pH', 4, 'Double', '1', '1')),
  ('not JSON', '{"device_id"'),
  ('not JSON', 'NaN'),
  ('empty', ''),
  ('another shape', '[]'),
  ('unknown member', '{"device_id": "x", "sequence": 2, "segments": [], "extra": 1}'),
  ('no segment', pg_temp.message(2, '')),
  ('unknown tag', pg_temp.one(2, 'nope', 1, 'Double', '1', '1')),
  ('NaN is no JSON', pg_temp.one(2, 'pH', 5, 'Double', '1', 'NaN')),
  ('NaN as text', pg_temp.one(2, 'pH', 5, 'Double', '1', '"NaN"')),
  ('infinity as text', pg_temp.one(2, 'pH', 5, 'Double', '1', '"-Infinity"')),
  ('too large for a double', pg_temp.one(2, 'pH', 5, 'Double', '1', '1e999')),
  ('text for a number', pg_temp.one(2, 'pH', 5, 'Double', '1', '"6.5"')),
  ('number for a truth', pg_temp.one(2, 'on', 2, 'Boolean', '1', '1')),
  ('NUL in a text', pg_temp.one(2, 'phase', 2, 'String', '1', '"a\u0000b"')),
  ('out of range', pg_temp.one(2, 'n', 2, 'Int16', '1', '32768')),
  ('fraction for an integer', pg_temp.one(2, 'n', 2, 'Int16', '1', '1.5')),
  ('another type', pg_temp.one(2, 'n', 2, 'Double', '1', '1')),
  ('the future', pg_temp.one(2, 'pH', 5, 'Double', '200000000000000000', '1')),
  ('lengths differ', pg_temp.one(2, 'pH', 5, 'Double', '1, 2', '1')),
  ('lengths differ', pg_temp.one(2, 'pH', 5, 'Double', '1', '1', '0, 0')),
  ('status too large', pg_temp.one(2, 'pH', 5, 'Double', '1', '1', '4294967296')),
  ('a tag twice', pg_temp.message(2, '{"tag": "n", "data_type": "Int16", "first_sample": 2, "source_ticks": [1], "values": [1], "status": [0]}, {"tag": "n", "data_type": "Int16", "first_sample": 3, "source_ticks": [1], "values": [1], "status": [0]}')),
  ('batch not started', replace(pg_temp.one(2, 'pH', 5, 'Double', '1', '1'), 'B-1', 'B-2')),
  ('batch of nobody', replace(pg_temp.one(2, 'pH', 5, 'Double', '1', '1'), 'B-1', 'B-9')),
  ('device of somebody else', replace(pg_temp.one(2, 'pH', 5, 'Double', '1', '1'), :'dev', gen_random_uuid()::text)),
  ('one good and one bad segment', pg_temp.message(2, '{"tag": "n", "data_type": "Int16", "first_sample": 2, "source_ticks": [1], "values": [1], "status": [0]}, {"tag": "nope", "data_type": "Int16", "first_sample": 1, "source_ticks": [1], "values": [1], "status": [0]}'));
select what, outcome, samples, next_sequence, sqlstate, detail from try, pg_temp.send(:'key', :'secret', body) order by n;
-- Who did not sign, or not now, or not this.
select what, outcome, sqlstate, detail
  from (values (1, 'wrong secret', :'key', repeat('0', 64), 0, null), (2, 'unknown key', 'bcd_' || repeat('0', 32), :'secret', 0, null),
               (3, 'another body was signed', :'key', :'secret', 0, '{}')) v (n, what, key, secret, shift, signed),
       pg_temp.send(key, secret, pg_temp.one(2, 'pH', 5, 'Double', '1', '1'), extract(epoch from now())::bigint + shift, signed) order by n;
select what, outcome, sqlstate from (values (1, 'stale', -400), (2, 'ahead', 400)) v (n, what, shift),
       pg_temp.send(:'key', :'secret', pg_temp.one(2, 'pH', 5, 'Double', '1', '1'), extract(epoch from now())::bigint + shift) order by n;
select outcome, sqlstate, detail from batchcortex_api.ingest('POST', 'plant.example', '/v1/ingest', null, null, null, '{}');
-- Nothing of all that was stored; what a person should see is in the log.
select count(*) as segments, sum(sample_count) as samples from batchcortex.sample_segment where org_id = :'org';
select actor_kind, actor_name, after ->> 'sqlstate' as sqlstate, count(*) from batchcortex.events_log where org_id = :'org' and action = 'ingest.refused' group by 1, 2, 3 order by 3, 1;
-- The next goes on.
select outcome, samples, next_sequence from pg_temp.send(:'key', :'secret', pg_temp.one(2, 'pH', 5, 'Double', '132000000030000000', '7'));
select count(*) as wrong from batchcortex.sample_segment s where sha256('\x00' || batchcortex.segment_preimage(s)) <> leaf_hash;
-- A segment by hand, from the columns (docs/format.md §4).
create function pg_temp.f(name text, value bytea) returns bytea language sql immutable as
$$ select case when value is null then ''::bytea
               else set_byte('\x00'::bytea, 0, octet_length(name)) || convert_to(name, 'UTF8') || int4send(octet_length(value)) || value end $$;
select count(*) as segments, count(*) filter (where leaf_hash <> sha256('\x00' || convert_to(E'batchcortex/record/v1\n', 'UTF8') || '\x0e' || convert_to('sample_segment', 'UTF8')
    || pg_temp.f('org_id', uuid_send(org_id)) || pg_temp.f('segment_id', uuid_send(segment_id)) || pg_temp.f('recorded_at', timestamptz_send(recorded_at))
    || pg_temp.f('device_id', uuid_send(device_id)) || pg_temp.f('sequence', int8send(sequence)) || pg_temp.f('tag_id', uuid_send(tag_id)) || pg_temp.f('batch_id', uuid_send(batch_id))
    || pg_temp.f('first_sample', int8send(first_sample)) || pg_temp.f('last_sample', int8send(last_sample)) || pg_temp.f('sample_count', int4send(sample_count))
    || pg_temp.f('data_type', convert_to(data_type, 'UTF8')) || pg_temp.f('unit', convert_to(unit, 'UTF8')) || pg_temp.f('source_ticks', array_send(source_ticks))
    || pg_temp.f('status', array_send(status)) || pg_temp.f('numbers', array_send(numbers)) || pg_temp.f('integers', array_send(integers))
    || pg_temp.f('booleans', array_send(booleans)) || pg_temp.f('texts', array_send(texts)))) as wrong
  from batchcortex.sample_segment where org_id = :'org';
select batchcortex.seal() >= 0 as sealed;
select * from batchcortex.verify(:'org');
