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
    if batchcortex.damaged_logs() > 0 then
        raise warning '% logs cannot go on: their leaves wait', batchcortex.damaged_logs()
            using errcode = 'BC002', hint = 'batchcortex.verify() names what is wrong, and the server''s log says why.';
    end if;
    return sealed;
end
$$;
comment on function batchcortex.seal() is
'Seals every leaf that was committed before the call and returns how many were sealed; the background worker does it, in a transaction of its own, so that no transaction can take a sealing back. Errors: BC503 no sealer, 25006 on a replica; a warning BC002 tells of logs that cannot go on, because what is stored is damaged or not what was signed last.';

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

create function batchcortex.checkpoint_text(org uuid, tree_size bigint) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select i.origin || case when g.is_global then '' else '/' || c.org_id end || E'\n' || c.tree_size || E'\n' || encode(c.root, 'base64')
           || E'\nsealed ' || to_char(c.sealed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || E'\n'
           || case when g.is_global and i.previous is not null then 'continues ' || i.begun_size || ' ' || i.previous || E'\n' else '' end
      from batchcortex.ledger_checkpoint c
      join batchcortex.ledger_incarnation i on i.incarnation = c.incarnation
     cross join lateral (select c.org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff' as is_global) g
     where c.org_id = org and c.tree_size = checkpoint_text.tree_size
$$;
comment on function batchcortex.checkpoint_text(uuid, bigint) is
'The text of a checkpoint (C2SP tlog-checkpoint): origin, size, base64 of the root, time of sealing (UTC); null when there is none of that size. That of an organisation is a leaf of the global log: sha256(0x00 || convert_to(text, ''UTF8'')) is leaf ledger_checkpoint.global_index.';

create function batchcortex.latest_checkpoint(org uuid) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    newest text;
begin
    select t.note into newest from batchcortex.ledger_tree t where t.org_id = org;
    if not found then
        raise exception 'organisation % has no checkpoint that you may read', org
            using errcode = 'BC404', hint = 'Nothing of it is sealed yet, or it is not yours. The global log has the id ffffffff-ffff-ffff-ffff-ffffffffffff.';
    elsif newest is null then
        raise exception 'the newest checkpoint of % is not signed: the server had no key', org
            using errcode = 'BC503', hint = 'batchcortex-keys create checkpoint makes one; batchcortex.checkpoint_key_file names it. batchcortex.checkpoint_text gives the checkpoint without a signature.';
    end if;
    if org = 'ffffffff-ffff-ffff-ffff-ffffffffffff' then
        newest := newest || coalesce((select string_agg(s.line || E'\n', '' order by s.received_at, s.witness, s.key_id)
                                        from batchcortex.ledger_cosignature s join batchcortex.ledger_tree t on t.org_id = org and t.size = s.tree_size), '');
    end if;
    return newest;
end
$$;
comment on function batchcortex.latest_checkpoint(uuid) is
'The newest checkpoint of an organisation''s log, or of the global log (ffffffff-ffff-ffff-ffff-ffffffffffff), as a signed note (C2SP signed-note); that of the global log with its cosignatures. Errors: BC404 no log or not the caller''s, BC503 the server has no key.';

comment on function batchcortex.checkpoint_keys() is
'The public keys that sign or have signed checkpoints, newest first, as C2SP verifier keys (name+id+base64): what auditors and witnesses are given. No row when the server has no key.';

comment on function batchcortex.leaf_of(uuid) is
'The leaf of an event or another record of BatchCortex''s own tables, by its id: organisation, relation and leaf index (from 0). No row while it waits for sealing.';

create function batchcortex.sealed_in(record uuid) returns bigint
language sql stable strict
set search_path = pg_catalog, pg_temp
as $$
    select (select g.tree_size from batchcortex.ledger_checkpoint g
             where g.org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff' and g.tree_size > c.global_index order by g.tree_size limit 1)
      from batchcortex.leaf_of(record) l
     cross join lateral (select o.global_index from batchcortex.ledger_checkpoint o
                          where o.org_id = l.org_id and o.tree_size > l.leaf_index order by o.tree_size limit 1) c
     limit 1
$$;
comment on function batchcortex.sealed_in(uuid) is
'The size of the first checkpoint of the global log that covers a record, by its id; null while it waits for sealing.';

create function batchcortex.wait_sealed(record uuid, timeout interval default '10 seconds') returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    patience timestamptz := clock_timestamp() + timeout;
    covered bigint;
begin
    if record is null or timeout is null then
        raise exception 'wait_sealed() takes a record''s id and a timeout, and no nulls' using errcode = 'BC422';
    end if;
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'what is sealed meanwhile is not seen in a % transaction', current_setting('transaction_isolation')
            using errcode = 'BC409', hint = 'Wait in a READ COMMITTED transaction, after the record''s own has committed.';
    end if;
    loop
        covered := batchcortex.sealed_in(record);
        exit when covered is not null;
        if clock_timestamp() >= patience then
            raise exception 'record % was not sealed within %', record, timeout
                using errcode = 'BC504', hint = 'The record''s transaction must have committed; batchcortex.health() says whether a sealer runs.';
        end if;
        if batchcortex.request_seal(extract(epoch from patience - clock_timestamp())) = 0 then
            -- Not committed yet, or no such record.
            perform pg_sleep(0.05);
        end if;
    end loop;
    return covered;
end
$$;
comment on function batchcortex.wait_sealed(uuid, interval) is
'Waits until a record, by its id, is sealed; returns the size of the checkpoint of the global log that covers it. To be called after the record''s transaction has committed. Errors: BC504 the time is over, BC409 called where newer rows are not seen, BC422 a null.';

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
'One row a component (library, schema, sealer, checkpoint directory where there is one, witness): status ''up'', ''lagging'' or ''down'' and a line that says more. Needs no credential and shows no organisation''s data.';

comment on function batchcortex.verify(uuid) is
'Checks rows, leaves, tiles, roots and checkpoints of one organisation''s log, or of all that the caller may see, in one snapshot. One row a finding, none when intact. log: organisation; code: wrong_leaf, missing_row, row_without_leaf, wrong_time, wrong_tile, wrong_root, inconsistent_checkpoint, wrong_cosignature, wrong_disposal, weakened_protection, session_without_event, changed_session, sealing_overdue, wrong_timestamp, rolled_back (more, or something else, was signed than is stored, as the checkpoint directory shows), bad_signature, bad_checkpoint_file, unreadable (PostgreSQL could not read a page or a file; what is left was verified without indexes); record: key of the record, level/index of the tile, tree size, or name of a file. Errors: 42501 nothing that the caller may read, 42704 no such organisation, of which nothing is left.';
comment on function batchcortex.verify_since(uuid, bigint, bytea) is
'As batchcortex.verify, of what an organisation''s log has grown by since a tree size whose root (32 bytes) is known from an earlier verification or from a checkpoint kept outside; that the log still begins with it is checked. Rows of protected tables are read whole. Errors: 22023 a null, no size or no root.';
comment on function batchcortex.verify_report(uuid) is
'The same check as one JSON document: whether intact, findings by code, per log its counts of rows, leaves, waiting leaves and checkpoints, tree size and root (hex), the checkpoint directory (files, newest size, problem; null without one), how many time stamps, seconds and rows a second.';
comment on function batchcortex.damaged_logs() is 'Behind batchcortex.seal: how many logs the sealer has found that cannot go on, so that their leaves wait. The global log stands for all.';
comment on function batchcortex.request_seal(double precision) is 'Behind batchcortex.seal: asks the sealer for a pass and waits for its commit, so many seconds at most; null when no sealer can be had.';
comment on function batchcortex.health() is 'One row a component (library, schema, sealer, checkpoint directory where there is one, witness): ''up'', ''lagging'' or ''down'' and a line that says more.';
