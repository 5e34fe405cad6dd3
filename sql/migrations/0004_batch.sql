-- The batch that samples and events belong to.

create table batchcortex.batch (
    org_id uuid not null references batchcortex.organisation,
    batch_id uuid not null default gen_random_uuid(),
    number text not null,
    product text not null,
    state text not null default 'planned' check (state in ('planned', 'running', 'ended')),
    created_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    ended_at timestamptz,
    primary key (org_id, batch_id),
    constraint batch_number unique (org_id, number),
    check ((started_at is null) = (state = 'planned')),
    check ((ended_at is null) = (state <> 'ended'))
);
create index batch_created on batchcortex.batch (org_id, created_at desc);
comment on table batchcortex.batch is 'A batch of a product. Each change of state is an event.';
select batchcortex.isolate('batchcortex.batch');
