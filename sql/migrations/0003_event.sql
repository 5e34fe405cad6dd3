-- The audit trail. The order of the columns is the order of the record preimage (docs/format.md).

create table batchcortex.events_log (
    org_id uuid not null default batchcortex.current_org_id(),
    event_id uuid not null,
    recorded_at timestamptz not null default clock_timestamp(),
    actor_kind text not null,
    actor_id uuid,
    actor_name text not null,
    actor_role text not null,
    action text not null,
    record_type text not null,
    record_id text not null,
    before json,
    after json,
    reason text,
    batch_id uuid,
    client_time timestamptz,
    client_ip inet,
    user_agent text,
    request_id text,
    leaf_hash bytea not null,
    primary key (org_id, recorded_at, event_id)
) partition by range (recorded_at);
create index events_log_batch on batchcortex.events_log (org_id, batch_id, recorded_at) where batch_id is not null;

comment on table batchcortex.events_log is 'The audit trail: who did what, when, why and from where. Insert-only; every row is a leaf of its organisation''s ledger.';
comment on column batchcortex.events_log.event_id is 'UUID version 7 (RFC 9562), made by the server at recorded_at.';
comment on column batchcortex.events_log.recorded_at is 'The server''s clock, UTC instant with microseconds; a value given by the writer is overwritten.';
comment on column batchcortex.events_log.actor_kind is 'user, api_key, device: proven by a credential in this transaction; database: a login over SQL; system: the server itself.';
comment on column batchcortex.events_log.actor_name is 'Full name of the person, name of the device, or database login, as it was at that moment.';
comment on column batchcortex.events_log.actor_role is 'Role at that moment.';
comment on column batchcortex.events_log.before is 'The record before, byte for byte as it was given.';
comment on column batchcortex.events_log.after is 'The record after, byte for byte as it was given.';
comment on column batchcortex.events_log.client_time is 'What a client said the time was: data, never the time of the record.';
comment on column batchcortex.events_log.leaf_hash is 'SHA-256(0x00 || batchcortex.event_preimage(row)), 32 bytes.';

select batchcortex.isolate('batchcortex.events_log');
select batchcortex.make_leaves('batchcortex.events_log', 'event', 'event_id', 'batchcortex.event_stamp()');
select batchcortex.make_append_only('batchcortex.events_log');
select batchcortex.make_append_only('batchcortex.schema_migration');
select batchcortex.make_partitions();
