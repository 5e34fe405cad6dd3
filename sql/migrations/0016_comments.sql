-- What columns hold that have the same meaning wherever they stand, and those of the ledger's tables.

do $$
declare
    meanings constant json := '{
        "org_id": "Organisation; 00000000-0000-0000-0000-000000000000 is the installation, ffffffff-ffff-ffff-ffff-ffffffffffff the global log.",
        "recorded_at": "When the server recorded it: its clock, a UTC instant with microseconds.",
        "created_at": "When it was made: the server''s clock, UTC instant.",
        "expires_at": "UTC instant from which on it does not hold.",
        "revoked_at": "UTC instant since which it does not hold; null while it does.",
        "committed_at": "When the value was committed: the server''s clock, UTC instant.",
        "received_at": "When it was stored: the server''s clock, UTC instant.",
        "changed_at": "When the row was made: the server''s clock, UTC instant.",
        "leaf_hash": "SHA-256(0x00 || record preimage of the row) (docs/format.md), 32 bytes: the row''s leaf (RFC 6962 §2.1).",
        "reason": "Why, in the words of whoever did it; 1 to 4,000 characters where one is demanded.",
        "recorded_by": "Who recorded it: name of the person or database login.",
        "login_oid": "Oid of the database login that recorded it.",
        "batch_id": "Batch that it belongs to; null for none.",
        "device_id": "Device that measured and signed.",
        "equipment_id": "Equipment that it belongs to.",
        "tag_id": "Tag: one measured variable of a piece of equipment.",
        "user_id": "Person.",
        "client_ip": "Address that the request came from, as the API says.",
        "user_agent": "User agent of the request, as the client says.",
        "request_id": "Id of the request, as in the API''s log.",
        "data_type": "Name of the OPC UA built-in type (OPC 10000-6 §5.1.2).",
        "unit": "Unit as the equipment states it; null for none.",
        "sequence": "Number of the device''s message, from 1, without gaps.",
        "witness": "Name of the witness''s key (C2SP signed-note).",
        "key_id": "Id of the key.",
        "incarnation": "Life of the log, from 1 (batchcortex.ledger_incarnation).",
        "tree_size": "Leaves of the tree.",
        "root": "Root of the tree of that size (RFC 6962 §2.1), 32 bytes.",
        "sealed_at": "When it was sealed: the server''s clock, UTC instant; never before the sealing before.",
        "actor_id": "Id of the person, API key or device; null for a database login and the server itself.",
        "action": "What was done, as object.verb, such as batch.created; app.… comes from an application.",
        "record_type": "Kind of the record that it is about.",
        "record_id": "Key of the record that it is about, as text.",
        "row_count": "Rows.",
        "leaves": "Leaves.",
        "partition": "Qualified name of the partition."
    }';
    c record;
begin
    for c in select a.attrelid::regclass as relation, a.attname, meanings ->> a.attname as meaning
               from pg_class r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
              where r.relnamespace = 'batchcortex'::regnamespace and r.relkind in ('r', 'p', 'v') and not r.relispartition
                and col_description(r.oid, a.attnum) is null and meanings ->> a.attname is not null loop
        execute format('comment on column %s.%I is %L', c.relation, c.attname, c.meaning);
    end loop;
end
$$;

comment on table batchcortex.schema_migration is 'Steps of the schema that were applied (batchcortex.migrate()). Insert-only.';
comment on column batchcortex.schema_migration.version is 'Number of the step, from 1.';
comment on column batchcortex.schema_migration.name is 'Name of the step.';
comment on column batchcortex.schema_migration.sha256 is 'SHA-256 of the step''s statements, 32 bytes.';
comment on column batchcortex.schema_migration.applied_at is 'When it was applied: the server''s clock, UTC instant.';
comment on column batchcortex.schema_migration.applied_by is 'Database login that applied it.';
comment on column batchcortex.ledger_tree.size is 'Leaves of the tree.';
comment on column batchcortex.ledger_tile.level is 'Level of the tile (C2SP tlog-tiles): 0 holds leaves, each hash of level n + 1 is the root of a full tile of level n.';
comment on column batchcortex.ledger_tile.tile_index is 'Index of the tile in its level, from 0.';
comment on column batchcortex.ledger_tile.width is 'Hashes in the tile, 1 to 256.';
comment on column batchcortex.ledger_tile.hashes is 'The hashes one after another, 32 bytes each.';
comment on column batchcortex.ledger_queue.entry is 'A leaf that waits for sealing, packed: organisation, time, table, leaf hash, key of the record.';
comment on column batchcortex.ledger_relation.relation_id is 'Number of the table in tiles and keys of leaves, 1 to 65,535.';
comment on column batchcortex.ledger_relation.relation is 'The table.';
comment on column batchcortex.ledger_relation.domain is 'First string of the preimages of its rows (docs/format.md).';
comment on column batchcortex.ledger_incarnation.previous is 'Origin that this life continues; null for the first.';
comment on column batchcortex.ledger_incarnation.system_identifier is 'System identifier of the server''s data directory (pg_control_system()).';
comment on column batchcortex.ledger_incarnation.database is 'Oid of the database.';
comment on column batchcortex.ledger_incarnation.began_at is 'When it began: the server''s clock, UTC instant.';
comment on column batchcortex.ledger_incarnation.begun_root is 'Root of the global log at the size at which it began, 32 bytes; that of the empty tree for the first.';
comment on column batchcortex.ledger_incarnation_request.requested_at is 'When it was asked for: the server''s clock, UTC instant.';
comment on column batchcortex.ledger_incarnation_request.requested_by is 'Database login that asked for it.';
comment on column batchcortex.ledger_timestamp.response_sha256 is 'SHA-256 of the response, 32 bytes.';
comment on column batchcortex.ledger_witness.change is 'Order of the rows: the one with the largest number counts.';
comment on column batchcortex.ledger_witness.changed_by is 'Database login that made the row.';
comment on column batchcortex.personal_data.value is 'The value; null once it is erased.';
comment on column batchcortex.personal_data.erased_at is 'When value and salt were erased: the server''s clock, UTC instant; null while they are kept.';
comment on column batchcortex.tracked_table.tracked_at is 'Since when: the server''s clock, UTC instant.';
comment on column batchcortex.sample_segment.segment_id is 'UUID version 7 (RFC 9562), made by the server at recorded_at.';
comment on column batchcortex.sample_segment.first_sample is 'Number of its first sample among those of the device and tag, from 1.';
comment on column batchcortex.sample_segment.last_sample is 'Number of its last sample.';
comment on column batchcortex.sample_segment.sample_count is 'Samples in it: the length of each of its arrays.';
comment on column batchcortex.sample_segment.integers is 'Values of integer types, one a sample; null for other types.';
comment on column batchcortex.sample_segment.booleans is 'Values of type Boolean, one a sample; null for other types.';
comment on column batchcortex.sample_segment.texts is 'Values of every other type as text, one a sample; null for other types.';
