-- The audit trail: the one function that writes it, and how it is read.

comment on function batchcortex.log_event(text, text, text, json, json, text, uuid, timestamptz, uuid) is
'Appends one event and returns its id. Actor, time, address, request and leaf hash are the server''s, whatever the caller says; client_time is kept as data. org_id defaults to the organisation of the request, without one to the installation''s own log (the nil uuid). Errors: BC002 another organisation than the request''s, BC404 unknown organisation, BC422 null, BC503 no partition for this month.';

create function batchcortex.require_batch(id uuid) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from batchcortex.batch b where b.org_id = batchcortex.current_org_id() and b.batch_id = id) then
        raise exception 'unknown batch' using errcode = 'BC404';
    end if;
end
$$;
comment on function batchcortex.require_batch(uuid) is 'Raises BC404 unless the bound organisation has the batch.';

create function batchcortex_api.log_event(action text, record_type text, record_id text, before json default null, after json default null,
    reason text default null, batch_id uuid default null, client_time timestamptz default null)
returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('event.append');
    if nullif(btrim(action), '') is null or nullif(btrim(record_type), '') is null or nullif(btrim(record_id), '') is null then
        raise exception 'action, record_type and record_id must not be empty' using errcode = 'BC422';
    end if;
    if length(action) > 100 or length(record_type) > 100 or length(record_id) > 500 or length(reason) > 4000 then
        raise exception 'action and record_type take 100, record_id 500 and reason 4,000 characters' using errcode = 'BC422';
    end if;
    -- The names with a dot after a capability are the server's own: an application's event cannot pass for one of them.
    if left(action, 4) <> 'app.' then
        raise exception 'the action of an application''s event starts with app. (got %)', quote_literal(action) using errcode = 'BC422';
    end if;
    if coalesce(octet_length(before::text), 0) + coalesce(octet_length(after::text), 0) > 262144 then
        raise exception 'before and after take 256 KiB together' using errcode = 'BC413';
    end if;
    if not client_time between '0001-01-01 UTC' and '9999-12-31 UTC' then
        raise exception 'client_time lies outside the years 1 to 9999' using errcode = 'BC422';
    end if;
    if batch_id is not null then
        perform batchcortex.require_batch(batch_id);
    end if;
    return batchcortex.log_event(action, record_type, record_id, before, after, reason, batch_id, client_time);
end
$$;
comment on function batchcortex_api.log_event(text, text, text, json, json, text, uuid, timestamptz) is
'Appends an application''s event (action app.…) to the caller''s organisation and returns its id. Errors: BC401, BC403, BC404 unknown batch, BC413 too large, BC422.';

create function batchcortex_api.events(of_batch uuid default null, recorded_before timestamptz default null, max_rows integer default 100, before_event uuid default null)
returns table (event_id uuid, recorded_at timestamptz, actor_kind text, actor_id uuid, actor_name text, actor_role text, action text,
    record_type text, record_id text, before json, after json, reason text, batch_id uuid, client_time timestamptz, client_ip inet,
    user_agent text, request_id text, leaf_hash bytea)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('event.read');
    perform batchcortex.require_rows(max_rows, 1000);
    if of_batch is not null then
        perform batchcortex.require_batch(of_batch);
    end if;
    return query
        select e.event_id, e.recorded_at, e.actor_kind, e.actor_id, e.actor_name, e.actor_role, e.action, e.record_type, e.record_id,
               e.before, e.after, e.reason, e.batch_id, e.client_time, e.client_ip, e.user_agent, e.request_id, e.leaf_hash
          from batchcortex.events_log e
         where e.org_id = batchcortex.current_org_id()
           and (of_batch is null or e.batch_id = of_batch)
           -- The id breaks ties of time, so that no event is skipped between two pages.
           and (recorded_before is null or (e.recorded_at, e.event_id) < (recorded_before, coalesce(before_event, '00000000-0000-0000-0000-000000000000')))
         order by e.recorded_at desc, e.event_id desc
         limit max_rows;
end
$$;
comment on function batchcortex_api.events(uuid, timestamptz, integer, uuid) is
'Events of the caller''s organisation, newest first, optionally of one batch; 1 to 1,000 rows. The next page: recorded_before and before_event of the last row. Times are UTC instants. Errors: BC401, BC403, BC404 unknown batch, BC422 max_rows.';

comment on function batchcortex.event_member(text, text) is
'What an event says (before or after, as text) under a name: a text as it is, any other value as compact JSON. Null when it says nothing there or is no JSON object; never raises.';
comment on function batchcortex.event_time(text, text) is
'The time (RFC 3339) that an event says under a name, in microseconds since 2000-01-01 00:00 UTC. Null when it says none; never raises.';
