-- Sealing, verifying and reading the ledger, for DBAs, auditors and the API.

comment on function batchcortex.leaf_stamp() is
'BEFORE INSERT trigger (arguments: relation id, domain, key column): sets recorded_at to the server''s time and leaf_hash to SHA-256(0x00 || record preimage) of the row as it will be stored.';
comment on function batchcortex.leaf_enqueue() is
'AFTER INSERT trigger (arguments as leaf_stamp): recomputes the leaf from the row that was stored, refuses it if another trigger changed it (BC002), and queues it for sealing.';

create function batchcortex.seal() returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    sealed bigint := batchcortex.request_seal();
begin
    if sealed is null then
        raise exception 'no sealer could be had within 30 seconds'
            using errcode = 'BC503', hint = 'pg_batchcortex must be in shared_preload_libraries and max_worker_processes leave room; the server''s log says more.';
    end if;
    return sealed;
end
$$;
comment on function batchcortex.seal() is
'Seals every leaf that was committed before the call and returns how many were sealed; the background worker does it, in a transaction of its own, so that no transaction can take a sealing back. Errors: BC503 no sealer.';

create function batchcortex.inclusion_proof(org uuid, leaf_index bigint, tree_size bigint) returns bytea[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    proof bytea[] := batchcortex.make_inclusion_proof(org, leaf_index, tree_size);
begin
    if proof is null then
        raise exception 'no leaf % in a tree of % leaves of this organisation', leaf_index, tree_size
            using errcode = 'BC404', hint = 'The leaf index counts from 0 and is below the tree size; the tree size is at most that of the organisation''s tree.';
    end if;
    return proof;
end
$$;
comment on function batchcortex.inclusion_proof(uuid, bigint, bigint) is
'Inclusion proof (RFC 6962 §2.1.1) of a leaf in the organisation''s tree of a size, now or in the past: hashes of 32 bytes from the leaf''s sibling upwards. Reads one tile a level. Errors: BC404 no such leaf or size.';

create function batchcortex.consistency_proof(org uuid, size1 bigint, size2 bigint) returns bytea[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    proof bytea[] := batchcortex.make_consistency_proof(org, size1, size2);
begin
    if proof is null then
        raise exception 'no tree of % and of % leaves of this organisation', size1, size2
            using errcode = 'BC404', hint = 'size1 is at least 1 and at most size2, which is at most the size of the organisation''s tree.';
    end if;
    return proof;
end
$$;
comment on function batchcortex.consistency_proof(uuid, bigint, bigint) is
'Consistency proof (RFC 6962 §2.1.2) between two sizes of the organisation''s tree. Errors: BC404 no such sizes.';

comment on function batchcortex.make_inclusion_proof(uuid, bigint, bigint) is 'Behind batchcortex.inclusion_proof; null when there is none.';
comment on function batchcortex.make_consistency_proof(uuid, bigint, bigint) is 'Behind batchcortex.consistency_proof; null when there is none.';
comment on function batchcortex.verify_inclusion(bigint, bigint, bytea, bytea[], bytea) is
'Whether a leaf hash is at an index of the tree of that size and root (RFC 9162 §2.1.3.2). Never raises: false for nulls, wrong lengths and whatever else is not a valid proof.';
comment on function batchcortex.verify_consistency(bigint, bigint, bytea, bytea, bytea[]) is
'Whether the tree of size2 and root2 extends the tree of size1 and root1 (RFC 9162 §2.1.4.2). Never raises: false for nulls, wrong lengths and whatever else is not a valid proof.';

create function batchcortex_api.verify()
returns table (log text, code text, relation text, record text, detail text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('ledger.verify');
    return query select * from batchcortex.verify(batchcortex.current_org_id());
end
$$;
comment on function batchcortex_api.verify() is 'batchcortex.verify of the caller''s organisation. Errors: BC401, BC403.';

create function batchcortex_api.verify_report() returns json
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('ledger.verify');
    return batchcortex.verify_report(batchcortex.current_org_id());
end
$$;
comment on function batchcortex_api.verify_report() is 'batchcortex.verify_report of the caller''s organisation. Errors: BC401, BC403.';

create function batchcortex_api.health() returns table (component text, status text, detail text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$ select * from batchcortex.health() $$;
comment on function batchcortex_api.health() is
'One row a component (library, schema, sealer): status ''up'' or ''down'' and a line that says more. Needs no credential and shows no organisation''s data.';

comment on function batchcortex.verify(uuid) is
'Checks rows, leaves, tiles, roots and checkpoints of one organisation''s log, or of all that the caller may see, in one snapshot. One row a finding, none when intact. log: organisation; code: wrong_leaf, missing_row, row_without_leaf, wrong_time, wrong_tile, wrong_root, inconsistent_checkpoint, wrong_disposal, weakened_protection, session_without_event, changed_session; record: key of the record, level/index of the tile, or tree size.';
comment on function batchcortex.verify_report(uuid) is
'The same check as one JSON document: whether intact, findings by code, per log its counts of rows, leaves, waiting leaves and checkpoints, tree size and root (hex), seconds and rows a second.';
comment on function batchcortex.request_seal() is 'Behind batchcortex.seal: asks the sealer for a pass and waits for its commit; null when no sealer can be had.';
comment on function batchcortex.health() is 'One row a component (library, schema, sealer): ''up'' or ''down'' and a line that says more.';
