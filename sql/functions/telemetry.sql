-- Equipment, tags and the samples that devices send.

create function batchcortex_api.create_equipment(name text) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    id uuid;
begin
    perform batchcortex.require_permission('equipment.configure');
    if nullif(btrim(name), '') is null or length(name) > 200 then
        raise exception 'equipment needs a name of 1 to 200 characters' using errcode = 'BC422';
    end if;
    insert into batchcortex.equipment (org_id, name) values (batchcortex.current_org_id(), create_equipment.name)
        on conflict on constraint equipment_name do nothing returning equipment_id into id;
    if id is null then
        raise exception 'equipment % exists', quote_literal(name) using errcode = 'BC409';
    end if;
    perform batchcortex.log_event('equipment.created', 'equipment', id::text, after => json_build_object('name', name));
    return id;
end
$$;
comment on function batchcortex_api.create_equipment(text) is 'Registers a piece of equipment. Errors: BC401, BC403, BC409, BC422.';

create function batchcortex_api.create_tag(of_equipment uuid, name text, node_id text, data_type text, unit text default null) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    id uuid;
begin
    perform batchcortex.require_permission('equipment.configure');
    if nullif(btrim(name), '') is null or length(name) > 200 or nullif(btrim(node_id), '') is null or length(node_id) > 1000 or length(unit) > 100 then
        raise exception 'a tag needs a name of 1 to 200 characters, a node id of 1 to 1,000 and a unit of at most 100' using errcode = 'BC422';
    end if;
    if batchcortex.value_form(data_type) is null then
        raise exception 'unknown data type %', quote_nullable(data_type) using errcode = 'BC422', hint = 'Use the name of an OPC UA built-in scalar type, such as Double, Int32, Boolean, String.';
    end if;
    if not exists (select from batchcortex.equipment e where e.org_id = batchcortex.current_org_id() and e.equipment_id = of_equipment) then
        raise exception 'unknown equipment' using errcode = 'BC404';
    end if;
    insert into batchcortex.tag (org_id, equipment_id, name, node_id, data_type, unit)
        values (batchcortex.current_org_id(), of_equipment, create_tag.name, create_tag.node_id, create_tag.data_type, create_tag.unit)
        on conflict on constraint tag_name do nothing returning tag_id into id;
    if id is null then
        raise exception 'tag % exists on this equipment', quote_literal(name) using errcode = 'BC409';
    end if;
    perform batchcortex.log_event('tag.created', 'tag', id::text,
        after => json_build_object('equipment_id', of_equipment, 'name', name, 'node_id', node_id, 'data_type', data_type, 'unit', unit));
    return id;
end
$$;
comment on function batchcortex_api.create_tag(uuid, text, text, text, text) is
'Registers a tag: name, OPC UA node id with its namespace URI (nsu=…;s=…), built-in data type, unit as the equipment states it. Errors: BC401, BC403, BC404, BC409, BC422.';

create function batchcortex.value_form(data_type text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select case
        when data_type in ('Double', 'Float') then 'number'
        when data_type in ('SByte', 'Byte', 'Int16', 'UInt16', 'Int32', 'UInt32', 'Int64') then 'integer'
        when data_type = 'Boolean' then 'boolean'
        when data_type in ('String', 'UInt64', 'DateTime', 'Guid', 'ByteString', 'XmlElement', 'NodeId', 'ExpandedNodeId',
                           'StatusCode', 'QualifiedName', 'LocalizedText', 'ExtensionObject', 'Variant') then 'text'
    end
$$;
comment on function batchcortex.value_form(text) is
'How values of an OPC UA built-in type (OPC 10000-6 §5.1.2) are stored: number (float8, bits kept), integer (int8), boolean, text; null for an unknown type. UInt64 does not fit int8 and is kept as decimal text.';

create function batchcortex_api.enrol_device(name text, of_equipment uuid) returns table (device_id uuid, key_id text, secret text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    id uuid;
begin
    perform batchcortex.require_permission('device.enrol');
    if nullif(btrim(name), '') is null or length(name) > 200 then
        raise exception 'a device needs a name of 1 to 200 characters' using errcode = 'BC422';
    end if;
    if not exists (select from batchcortex.equipment e where e.org_id = batchcortex.current_org_id() and e.equipment_id = of_equipment) then
        raise exception 'unknown equipment' using errcode = 'BC404';
    end if;
    insert into batchcortex.device (org_id, equipment_id, name) values (batchcortex.current_org_id(), of_equipment, enrol_device.name)
        on conflict on constraint device_name do nothing returning device.device_id into id;
    if id is null then
        raise exception 'device % exists', quote_literal(name) using errcode = 'BC409';
    end if;
    return query
        with k as (insert into batchcortex.device_key (org_id, device_id, key_id)
                   values (batchcortex.current_org_id(), id, 'bcd_' || encode(uuid_send(gen_random_uuid()), 'hex')) returning device_key.key_id)
        select id, k.key_id, encode(batchcortex.device_secret(k.key_id), 'hex') from k;
    perform batchcortex.log_event('device.enrolled', 'device', id::text, after => json_build_object('name', name, 'equipment_id', of_equipment));
end
$$;
comment on function batchcortex_api.enrol_device(text, uuid) is
'Enrols an edge device for one piece of equipment. secret: 32 bytes in hex, the HMAC key of its requests, shown once; the server derives it from its key file and stores it nowhere. Errors: BC401, BC403, BC404, BC409, BC422, BC503 no key file.';

create function batchcortex_api.equipment() returns table (equipment_id uuid, name text, created_at timestamptz)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('batch.read');
    return query select e.equipment_id, e.name, e.created_at from batchcortex.equipment e where e.org_id = batchcortex.current_org_id() order by e.name;
end
$$;
comment on function batchcortex_api.equipment() is 'Equipment of the caller''s organisation by name. Errors: BC401, BC403.';

create function batchcortex_api.tags(of_equipment uuid default null)
returns table (tag_id uuid, equipment_id uuid, equipment text, name text, node_id text, data_type text, unit text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('batch.read');
    return query
        select t.tag_id, t.equipment_id, e.name, t.name, t.node_id, t.data_type, t.unit
          from batchcortex.tag t join batchcortex.equipment e on e.org_id = t.org_id and e.equipment_id = t.equipment_id
         where t.org_id = batchcortex.current_org_id() and (of_equipment is null or t.equipment_id = of_equipment)
         order by e.name, t.name;
end
$$;
comment on function batchcortex_api.tags(uuid) is 'Tags of the caller''s organisation, of one piece of equipment or of all. Errors: BC401, BC403.';

create function batchcortex_api.samples(of_batch uuid, of_tag text, after_time timestamptz default null, max_rows integer default 10000, after_sample bigint default null)
returns table (source_time timestamptz, source_ticks bigint, value double precision, value_text text, status bigint, unit text, sample bigint, segment_id uuid, recorded_at timestamptz)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('batch.read');
    perform batchcortex.require_rows(max_rows, 100000);
    perform batchcortex.require_batch(of_batch);
    if not exists (select from batchcortex.tag t where t.org_id = batchcortex.current_org_id() and t.name = of_tag) then
        raise exception 'unknown tag %', quote_nullable(of_tag) using errcode = 'BC423';
    end if;
    return query
        select s.source_time, s.source_ticks, s.value, s.value_text, s.status, s.unit, s.sample, s.segment_id, s.recorded_at
          from batchcortex.samples s
         where s.org_id = batchcortex.current_org_id() and s.batch_id = of_batch and s.tag = of_tag
           and (after_time is null or s.source_time > after_time or (s.source_time = after_time and s.sample > after_sample))
         order by s.source_time, s.sample
         limit max_rows;
end
$$;
comment on function batchcortex_api.samples(uuid, text, timestamptz, integer, bigint) is
'Samples of one tag in one batch in the order of their source time, 1 to 100,000 rows. The next page: after_time and after_sample of the last row. value holds numbers, integers and booleans (1, 0) as float8; value_text the exact value of every type. status: raw OPC UA StatusCode. Errors: BC401, BC403, BC404, BC422, BC423.';

create function batchcortex_api.ingest(method text, authority text, path text, content_digest text, signature_input text, signature text, body bytea,
    client_ip inet default null, user_agent text default null, request_id text default null)
returns table (outcome text, device_id uuid, sequence bigint, samples integer, duplicate boolean, recorded_at timestamptz, next_sequence bigint, sqlstate text, detail text)
language sql security definer
set search_path = pg_catalog, pg_temp
as $$ select * from batchcortex.ingest_message(method, authority, path, content_digest, signature_input, signature, body, client_ip, user_agent, request_id) $$;
comment on function batchcortex_api.ingest(text, text, text, text, text, text, bytea, inet, text, text) is
'Stores one message of a device exactly once, or says why not: outcome ''stored'', or ''refused'' with the SQLSTATE it stands for; a refusal is recorded and stores no sample. The request is proven by HMAC-SHA256 (RFC 9421) over method, authority, path and body digest (RFC 9530). Message format: docs/format.md. SQLSTATEs: BC400 BC409 BC410 BC413 BC422 to BC427 BC430 BC431 BC432.';

create function batchcortex_api.ingest_position(method text, authority text, path text, content_digest text, signature_input text, signature text, body bytea)
returns table (outcome text, device_id uuid, next_sequence bigint, tags json, sqlstate text, detail text)
language sql security definer
set search_path = pg_catalog, pg_temp
as $$ select * from batchcortex.ingest_standing(method, authority, path, content_digest, signature_input, signature, body) $$;
comment on function batchcortex_api.ingest_position(text, text, text, text, text, text, bytea) is
'Where the server stands with a device: its next message sequence and, per tag, the next sample number. Signed like ingest, with an empty body.';

comment on function batchcortex.ticks_to_time(bigint) is 'The instant of OPC UA ticks (100 ns since 1601-01-01 00:00 UTC, OPC 10000-6 §5.2.2.5), rounded down to the microsecond; null outside the range of timestamptz.';
comment on function batchcortex.device_secret(text) is 'HMAC key of a device key id, 32 bytes derived from the server''s key file; null without one. For enrolment alone.';
comment on function batchcortex.ingest_message(text, text, text, text, text, text, bytea, inet, text, text) is 'Behind batchcortex_api.ingest.';
comment on function batchcortex.ingest_standing(text, text, text, text, text, text, bytea) is 'Behind batchcortex_api.ingest_position.';
