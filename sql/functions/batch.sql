-- A batch: what samples and events belong to.

create function batchcortex_api.create_batch(number text, product text) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    id uuid;
begin
    perform batchcortex.require_permission('batch.run');
    if nullif(btrim(number), '') is null or length(number) > 100 or nullif(btrim(product), '') is null or length(product) > 200 then
        raise exception 'a batch needs a number of 1 to 100 characters and a product of 1 to 200' using errcode = 'BC422';
    end if;
    insert into batchcortex.batch (org_id, number, product) values (batchcortex.current_org_id(), create_batch.number, create_batch.product)
        on conflict on constraint batch_number do nothing returning batch_id into id;
    if id is null then
        raise exception 'batch % exists', quote_literal(number) using errcode = 'BC409';
    end if;
    perform batchcortex.log_event('batch.created', 'batch', id::text, batch_id => id,
        after => json_build_object('number', number, 'product', product, 'state', 'planned'));
    return id;
end
$$;
comment on function batchcortex_api.create_batch(text, text) is
'Plans a batch; its number is unique in the organisation. Errors: BC401, BC403, BC409 number taken, BC422.';

-- One transition, one place: the state it demands, the state it leads to, the event it leaves.
create function batchcortex.move_batch(id uuid, from_state text, to_state text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    now_state text;
    owner uuid;
begin
    perform batchcortex.require_permission('batch.run');
    select b.state, b.created_by into now_state, owner from batchcortex.batch b where b.org_id = batchcortex.current_org_id() and b.batch_id = id for update;
    if not found then
        raise exception 'unknown batch' using errcode = 'BC404';
    end if;
    perform batchcortex.require_permission('batch.run', owner);
    if now_state <> from_state then
        raise exception 'the batch is %, it must be % for this', now_state, from_state using errcode = 'BC409';
    end if;
    update batchcortex.batch b
       set state = to_state,
           started_at = case when to_state = 'running' then clock_timestamp() else b.started_at end,
           ended_at = case when to_state = 'ended' then clock_timestamp() else b.ended_at end
     where b.org_id = batchcortex.current_org_id() and b.batch_id = id;
    perform batchcortex.log_event('batch.' || to_state, 'batch', id::text, batch_id => id,
        before => json_build_object('state', from_state), after => json_build_object('state', to_state));
end
$$;
comment on function batchcortex.move_batch(uuid, text, text) is 'Moves a batch from one state to the next and records it. Errors: BC401, BC403, BC404, BC409.';

create function batchcortex_api.start_batch(batch_id uuid) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$ select batchcortex.move_batch(batch_id, 'planned', 'running') $$;
comment on function batchcortex_api.start_batch(uuid) is 'Starts a planned batch at the server''s time. Errors: BC401, BC403, BC404, BC409 not planned.';

create function batchcortex_api.end_batch(batch_id uuid) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$ select batchcortex.move_batch(batch_id, 'running', 'ended') $$;
comment on function batchcortex_api.end_batch(uuid) is
'Ends a running batch at the server''s time; samples that were captured before and arrive late are still taken. Errors: BC401, BC403, BC404, BC409 not running.';

-- The rows behind batches() and batch().
create function batchcortex.list_batches(one uuid, created_before timestamptz, max_rows integer, before_batch uuid default null)
returns table (batch_id uuid, number text, product text, state text, created_at timestamptz, started_at timestamptz, ended_at timestamptz, samples bigint, events bigint)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select b.batch_id, b.number, b.product, b.state, b.created_at, b.started_at, b.ended_at,
           (select coalesce(sum(s.sample_count), 0)::bigint from batchcortex.sample_segment s where s.org_id = b.org_id and s.batch_id = b.batch_id),
           (select count(*) from batchcortex.events_log e where e.org_id = b.org_id and e.batch_id = b.batch_id)
      from batchcortex.batch b
     where b.org_id = batchcortex.current_org_id()
       and (one is null or b.batch_id = one)
       and (created_before is null or (b.created_at, b.batch_id) < (created_before, coalesce(before_batch, '00000000-0000-0000-0000-000000000000')))
     order by b.created_at desc, b.batch_id desc
     limit max_rows
$$;
comment on function batchcortex.list_batches(uuid, timestamptz, integer, uuid) is 'Batches of the bound organisation with their counts, newest first.';

create function batchcortex_api.batches(created_before timestamptz default null, max_rows integer default 100, before_batch uuid default null)
returns table (batch_id uuid, number text, product text, state text, created_at timestamptz, started_at timestamptz, ended_at timestamptz, samples bigint, events bigint)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('batch.read');
    perform batchcortex.require_rows(max_rows, 1000);
    return query select * from batchcortex.list_batches(null, created_before, max_rows, before_batch);
end
$$;
comment on function batchcortex_api.batches(timestamptz, integer, uuid) is
'Batches of the caller''s organisation, newest first, with how many samples and events each has. The next page: created_before and before_batch of the last row. Errors: BC401, BC403, BC422 max_rows.';

create function batchcortex_api.batch(id uuid)
returns table (batch_id uuid, number text, product text, state text, created_at timestamptz, started_at timestamptz, ended_at timestamptz, samples bigint, events bigint)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('batch.read');
    return query select * from batchcortex.list_batches(id, null, 1);
    if not found or id is null then
        raise exception 'unknown batch' using errcode = 'BC404';
    end if;
end
$$;
comment on function batchcortex_api.batch(uuid) is 'One batch of the caller''s organisation. Errors: BC401, BC403, BC404 unknown or another organisation''s.';
