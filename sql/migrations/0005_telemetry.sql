-- Equipment, tags, devices, and the samples as they were captured.

create table batchcortex.equipment (
    org_id uuid not null references batchcortex.organisation,
    equipment_id uuid not null default gen_random_uuid(),
    name text not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (org_id, equipment_id),
    constraint equipment_name unique (org_id, name)
);
comment on table batchcortex.equipment is 'A piece of equipment, such as a bioreactor.';
select batchcortex.isolate('batchcortex.equipment');

create table batchcortex.tag (
    org_id uuid not null,
    tag_id uuid not null default gen_random_uuid(),
    equipment_id uuid not null,
    name text not null,
    node_id text not null,
    data_type text not null,
    unit text,
    created_at timestamptz not null default clock_timestamp(),
    primary key (org_id, tag_id),
    foreign key (org_id, equipment_id) references batchcortex.equipment,
    constraint tag_name unique (org_id, equipment_id, name)
);
comment on table batchcortex.tag is 'One measured or set quantity of a piece of equipment.';
comment on column batchcortex.tag.node_id is 'OPC UA node id with the namespace''s URI, never its index: nsu=<uri>;s=<identifier> (OPC 10000-6 §5.3.1.10).';
comment on column batchcortex.tag.data_type is 'Name of the OPC UA built-in type (OPC 10000-6 §5.1.2).';
comment on column batchcortex.tag.unit is 'Engineering unit as the equipment states it.';
select batchcortex.isolate('batchcortex.tag');

create table batchcortex.device (
    org_id uuid not null,
    device_id uuid not null default gen_random_uuid(),
    equipment_id uuid not null,
    name text not null,
    created_at timestamptz not null default clock_timestamp(),
    revoked_at timestamptz,
    next_sequence bigint not null default 1,
    primary key (org_id, device_id),
    foreign key (org_id, equipment_id) references batchcortex.equipment,
    constraint device_name unique (org_id, name)
);
comment on table batchcortex.device is 'An edge agent that sends samples of one piece of equipment.';
comment on column batchcortex.device.next_sequence is 'The sequence that the device''s next message must carry.';
select batchcortex.isolate('batchcortex.device');

create table batchcortex.device_key (
    org_id uuid not null,
    key_id text not null,
    device_id uuid not null,
    created_at timestamptz not null default clock_timestamp(),
    revoked_at timestamptz,
    primary key (org_id, key_id),
    foreign key (org_id, device_id) references batchcortex.device
);
create unique index device_key_id on batchcortex.device_key (key_id);
comment on table batchcortex.device_key is 'Names of the HMAC keys of devices. The key itself is derived from the server''s key file and stored nowhere.';
select batchcortex.isolate('batchcortex.device_key');

create table batchcortex.device_tag (
    org_id uuid not null,
    device_id uuid not null,
    tag_id uuid not null,
    next_sample bigint not null default 1,
    primary key (org_id, device_id, tag_id)
) with (fillfactor = 70);
comment on table batchcortex.device_tag is 'The number that the next sample of a tag from a device must carry; a number left out would be a loss that nobody recorded.';
select batchcortex.isolate('batchcortex.device_tag');

create table batchcortex.ingest_receipt (
    org_id uuid not null,
    device_id uuid not null,
    sequence bigint not null check (sequence > 0),
    body_sha256 bytea not null check (octet_length(body_sha256) = 32),
    samples integer not null check (samples >= 0),
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (org_id, device_id, sequence)
);
comment on table batchcortex.ingest_receipt is 'One row a stored message: what makes delivery exactly-once.';
select batchcortex.isolate('batchcortex.ingest_receipt');
select batchcortex.make_append_only('batchcortex.ingest_receipt');

create table batchcortex.sample_segment (
    org_id uuid not null default batchcortex.current_org_id(),
    segment_id uuid not null,
    recorded_at timestamptz not null default clock_timestamp(),
    device_id uuid not null,
    sequence bigint not null,
    tag_id uuid not null,
    batch_id uuid,
    first_sample bigint not null check (first_sample > 0),
    last_sample bigint not null,
    sample_count integer not null check (sample_count > 0),
    data_type text not null,
    unit text,
    source_ticks bigint[] not null,
    status bigint[] not null,
    numbers double precision[],
    integers bigint[],
    booleans boolean[],
    texts text[],
    leaf_hash bytea not null,
    primary key (org_id, recorded_at, segment_id),
    check (last_sample - first_sample + 1 = sample_count),
    check (cardinality(source_ticks) = sample_count and cardinality(status) = sample_count),
    check (num_nonnulls(numbers, integers, booleans, texts) = 1),
    check (coalesce(cardinality(numbers), cardinality(integers), cardinality(booleans), cardinality(texts)) = sample_count)
) partition by range (recorded_at);
create index sample_segment_batch on batchcortex.sample_segment (org_id, batch_id, tag_id, first_sample);
comment on table batchcortex.sample_segment is 'A run of samples of one tag as the edge captured them: one row, arrays of equal length in the order of capture. Insert-only; every row is a leaf.';
comment on column batchcortex.sample_segment.source_ticks is 'Source time of each sample: 100 ns since 1601-01-01 00:00 UTC (OPC UA DateTime), as captured.';
comment on column batchcortex.sample_segment.status is 'OPC UA StatusCode of each sample, the raw 32 bits as a non-negative number.';
comment on column batchcortex.sample_segment.numbers is 'Values of a Double or Float tag, bits kept; null where the sample had no value.';
select batchcortex.isolate('batchcortex.sample_segment');
select batchcortex.make_leaves('batchcortex.sample_segment', 'sample_segment', 'segment_id', 'batchcortex.leaf_stamp()');
select batchcortex.make_append_only('batchcortex.sample_segment');
select batchcortex.make_partitions();

create view batchcortex.samples as
select s.org_id, s.batch_id, t.equipment_id, s.tag_id, t.name as tag, s.first_sample + u.n - 1 as sample,
       batchcortex.ticks_to_time(u.source_ticks) as source_time, u.source_ticks,
       coalesce(u.number, u.whole::double precision, u.truth::integer::double precision) as value,
       coalesce(u.number::text, u.whole::text, u.truth::text, u.words) as value_text,
       u.status, s.data_type, s.unit, s.device_id, s.sequence, s.segment_id, s.recorded_at
  from batchcortex.sample_segment s
  join batchcortex.tag t on t.org_id = s.org_id and t.tag_id = s.tag_id
 cross join lateral unnest(s.source_ticks, s.status, s.numbers, s.integers, s.booleans, s.texts)
       with ordinality as u (source_ticks, status, number, whole, truth, words, n);
comment on view batchcortex.samples is 'Single samples: one row a sample of every segment that the reader may see.';
alter view batchcortex.samples owner to batchcortex_owner;
revoke all on batchcortex.samples from public;
grant select on batchcortex.samples to batchcortex_auditor;
do $$
begin
    -- The reader's own policies apply, not the owner's; before PostgreSQL 15 a view cannot, and auditors read the segments.
    if current_setting('server_version_num')::integer >= 150000 then
        alter view batchcortex.samples set (security_invoker = true);
    else
        revoke select on batchcortex.samples from batchcortex_auditor;
    end if;
end
$$;
