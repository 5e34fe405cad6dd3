-- The ledger: where leaves wait, the tiles of each organisation's Merkle tree (RFC 6962 §2.1), and its checkpoints.

create table batchcortex.ledger_relation (
    relation_id integer generated always as identity primary key,
    relation regclass not null unique,
    domain text not null unique check (octet_length(domain) between 1 and 255),
    org_column name,
    key_columns name[] not null check (cardinality(key_columns) > 0),
    hashed boolean not null,
    known_triggers name[] not null default '{}'
);
comment on table batchcortex.ledger_relation is 'Tables whose rows are leaves. domain stands in each record preimage and never changes.';
comment on column batchcortex.ledger_relation.org_column is 'Column (uuid) that names the organisation whose log holds a row; null for the installation''s log.';
comment on column batchcortex.ledger_relation.key_columns is 'Columns that name a record, in the order of the primary key.';
comment on column batchcortex.ledger_relation.hashed is 'Whether the rows carry their leaf hash in a column leaf_hash: the project''s own tables do, tables given to protect() do not.';
comment on column batchcortex.ledger_relation.known_triggers is 'Triggers BEFORE a row is stored that the table had when it was protected.';
alter table batchcortex.ledger_relation owner to batchcortex_owner;
revoke all on table batchcortex.ledger_relation from public;
grant select on table batchcortex.ledger_relation to batchcortex_auditor;
-- pg_dump reads the numbers that belong to a table with it.
grant select on sequence batchcortex.ledger_relation_relation_id_seq to batchcortex_auditor;
select batchcortex.make_append_only('batchcortex.ledger_relation');

-- Written by leaf_enqueue in the writer's transaction, emptied by the sealer. No index and no lock: writers only append.
create table batchcortex.ledger_queue (
    entry bytea not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
alter table batchcortex.ledger_queue alter column entry set storage plain;
comment on table batchcortex.ledger_queue is
'Leaves that wait for sealing, one packed entry a row: org_id (16 bytes), relation_id (4, big-endian), recorded_at (8, microseconds since 2000-01-01 UTC), leaf hash (32), record key (the rest).';
alter table batchcortex.ledger_queue owner to batchcortex_owner;
revoke all on table batchcortex.ledger_queue from public, batchcortex_owner;
-- verify looks up whether a row without a leaf waits for one.
grant select on table batchcortex.ledger_queue to batchcortex_owner;
select batchcortex.make_single_writer('batchcortex.ledger_queue', 'insert or update or delete');

create table batchcortex.ledger_incarnation (
    incarnation integer primary key check (incarnation > 0),
    origin text not null unique,
    previous text,
    system_identifier bigint not null,
    timeline bigint not null,
    database oid not null,
    began_at timestamptz not null,
    begun_size bigint not null check (begun_size >= 0),
    begun_root bytea not null check (octet_length(begun_root) = 32),
    global_index bigint not null unique,
    check ((incarnation = 1) = (previous is null))
);
comment on table batchcortex.ledger_incarnation is
'Lives of the log. A new one begins, with a leaf of the global log that links it to the one before, when the server was restored, promoted, copied or given a key of another name: under one origin no two histories are ever signed.';
comment on column batchcortex.ledger_incarnation.origin is 'First line of the global log''s checkpoints: <log name>/<system identifier, 16 hex digits>/<number>-<8 random hex digits>.';
comment on column batchcortex.ledger_incarnation.timeline is 'PostgreSQL''s timeline: another one after a point-in-time recovery or a promotion.';
comment on column batchcortex.ledger_incarnation.begun_size is 'Leaves of the global log that it continues; begun_root is their root.';
comment on column batchcortex.ledger_incarnation.global_index is 'Leaf of the global log that tells of it.';
alter table batchcortex.ledger_incarnation owner to batchcortex_owner;
revoke all on table batchcortex.ledger_incarnation from public;
grant select on table batchcortex.ledger_incarnation to batchcortex_auditor;
select batchcortex.make_append_only('batchcortex.ledger_incarnation');
select batchcortex.make_single_writer('batchcortex.ledger_incarnation', 'insert');

create table batchcortex.ledger_tree (
    org_id uuid primary key,
    size bigint not null check (size >= 0),
    root bytea not null check (octet_length(root) = 32),
    sealed_at timestamptz not null,
    note text
) with (fillfactor = 50);
comment on table batchcortex.ledger_tree is
'Head of each organisation''s tree, and of the global log (org_id ffffffff-ffff-ffff-ffff-ffffffffffff), whose leaves are their checkpoints: size in leaves and RFC 6962 root. Only the sealer writes it.';
comment on column batchcortex.ledger_tree.note is 'The newest checkpoint as a signed note (C2SP tlog-checkpoint); null when the server had no key.';
select batchcortex.isolate('batchcortex.ledger_tree');
select batchcortex.open_global_log('batchcortex.ledger_tree');
select batchcortex.make_single_writer('batchcortex.ledger_tree', 'insert or update or delete');

create table batchcortex.ledger_tile (
    org_id uuid not null,
    level smallint not null check (level between 0 and 7),
    tile_index bigint not null check (tile_index >= 0),
    width integer not null check (width between 1 and 256),
    hashes bytea not null,
    records bytea,
    recorded_from timestamptz,
    recorded_to timestamptz,
    primary key (org_id, level, tile_index),
    check (octet_length(hashes) = 32 * width),
    check ((level = 0) = (records is not null))
);
-- Hashes do not compress.
alter table batchcortex.ledger_tile alter column hashes set storage external, alter column records set storage external;
comment on table batchcortex.ledger_tile is
'Tiles of the tree as in C2SP tlog-tiles: up to 256 hashes of tree level 8 × level, 32 bytes each, left to right. A full tile never changes.';
comment on column batchcortex.ledger_tile.records is
'Level 0 only: for each leaf, relation_id (2 bytes, big-endian), key length (2 bytes, big-endian) and key: which record the leaf stands for.';
comment on column batchcortex.ledger_tile.recorded_from is 'Level 0 only: earliest recorded_at of the tile''s records; narrows the search for a record''s leaf.';
comment on column batchcortex.ledger_tile.recorded_to is 'Level 0 only: latest recorded_at of the tile''s records.';
-- Not WHERE level = 0: the look-up of one tile would match it too, and read them all when the planner knows little.
create index on batchcortex.ledger_tile (org_id, recorded_to, recorded_from) where recorded_to is not null;
select batchcortex.isolate('batchcortex.ledger_tile');
select batchcortex.open_global_log('batchcortex.ledger_tile');
select batchcortex.make_single_writer('batchcortex.ledger_tile', 'insert or update or delete');

create table batchcortex.ledger_checkpoint (
    org_id uuid not null,
    tree_size bigint not null check (tree_size > 0),
    root bytea not null check (octet_length(root) = 32),
    sealed_at timestamptz not null,
    incarnation integer not null,
    global_index bigint unique,
    note text,
    primary key (org_id, tree_size),
    check ((org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff') = (global_index is null)),
    check (note is null or global_index is null)
);
comment on table batchcortex.ledger_checkpoint is 'One row a sealing and log: the tree''s size and root at that time. batchcortex.checkpoint_text gives its text.';
comment on column batchcortex.ledger_checkpoint.incarnation is 'batchcortex.ledger_incarnation under which it was sealed.';
comment on column batchcortex.ledger_checkpoint.global_index is 'Leaf of the global log that is this checkpoint''s text; null for the global log''s own checkpoints.';
comment on column batchcortex.ledger_checkpoint.note is 'The signed note of a checkpoint of the global log; null when the server had no key.';
select batchcortex.isolate('batchcortex.ledger_checkpoint');
select batchcortex.open_global_log('batchcortex.ledger_checkpoint');
select batchcortex.make_append_only('batchcortex.ledger_checkpoint');
select batchcortex.make_single_writer('batchcortex.ledger_checkpoint', 'insert');
