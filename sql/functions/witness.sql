-- Witnesses of the global log: who they are, what they have cosigned, waiting for them, and the log as anyone may read it (C2SP tlog-tiles).

create function batchcortex.add_witness(verifier_key text, reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    key record;
begin
    perform batchcortex.require_reason(reason);
    select * into key from batchcortex.read_verifier_key(verifier_key);
    if key.kind is distinct from 'witness' then
        raise exception 'that is no key of a witness'
            using errcode = 'BC422', hint = 'Expected is the line that `batchcortex-keys public` prints of a witness''s file: name+id+base64 (C2SP, type 4).';
    end if;
    -- One at a time, so that two do not both find none.
    lock table batchcortex.ledger_witness in share row exclusive mode;
    if exists (select from batchcortex.witnesses() w where w.verifier_key = add_witness.verifier_key and w.active) then
        raise exception 'the key % of % is registered', encode(key.key_id, 'hex'), key.name using errcode = 'BC409';
    end if;
    insert into batchcortex.ledger_witness (verifier_key, witness, key_id, active, reason)
        values (add_witness.verifier_key, key.name, key.key_id, true, add_witness.reason);
    perform batchcortex.log_event('witness.added', 'ledger_witness', key.name || '+' || encode(key.key_id, 'hex'), reason => reason,
        after => json_build_object('verifier_key', verifier_key));
end
$$;
comment on function batchcortex.add_witness(text, text) is
'For the DBA: takes the cosignatures of a witness from now on, by its public key (name+id+base64). Recorded as witness.added. Errors: BC409 registered already, BC422 no key of a witness, no reason.';

create function batchcortex.retire_witness(verifier_key text, reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    present record;
begin
    perform batchcortex.require_reason(reason);
    lock table batchcortex.ledger_witness in share row exclusive mode;
    select w.witness, w.key_id into present from batchcortex.witnesses() w where w.verifier_key = retire_witness.verifier_key and w.active;
    if not found then
        raise exception 'no such key is registered' using errcode = 'BC404', hint = 'batchcortex.witnesses() lists them.';
    end if;
    insert into batchcortex.ledger_witness (verifier_key, witness, key_id, active, reason)
        values (retire_witness.verifier_key, present.witness, present.key_id, false, retire_witness.reason);
    perform batchcortex.log_event('witness.retired', 'ledger_witness', present.witness || '+' || encode(present.key_id, 'hex'), reason => reason,
        before => json_build_object('verifier_key', verifier_key));
end
$$;
comment on function batchcortex.retire_witness(text, text) is
'For the DBA: takes no cosignature by this key any more, and counts it for no quorum; what it has cosigned stays. Recorded as witness.retired. Errors: BC404 no such key, BC422 no reason.';

create function batchcortex.witnesses()
returns table (witness text, verifier_key text, key_id bytea, active boolean, since timestamptz, newest_size bigint, cosigned_at timestamptz, received_at timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select w.witness, w.verifier_key, w.key_id, w.active, w.changed_at, c.tree_size, c.cosigned_at, c.received_at
      from (select distinct on (l.verifier_key) l.* from batchcortex.ledger_witness l order by l.verifier_key, l.change desc) w
      left join lateral (select s.tree_size, s.cosigned_at, s.received_at from batchcortex.ledger_cosignature s
                          where s.witness = w.witness and s.key_id = w.key_id order by s.tree_size desc limit 1) c on true
     order by w.witness, w.verifier_key
$$;
comment on function batchcortex.witnesses() is
'One row a key of a witness: its public key, whether it is active and since when, and the largest checkpoint of the global log that it has cosigned, with the witness''s time and the server''s.';

create function batchcortex.witnessed_size(quorum integer) returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when quorum > 0
                then coalesce((select max(w.newest_size) as newest from batchcortex.witnesses() w where w.active group by w.witness
                                having max(w.newest_size) is not null order by newest desc offset quorum - 1 limit 1), 0)
                else coalesce((select t.size from batchcortex.ledger_tree t where t.org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff'), 0) end
$$;
comment on function batchcortex.witnessed_size(integer) is
'The size of the global log up to which so many active witnesses have cosigned, each this size or a larger one; 0 when so many have not. Keys of one name are one witness.';

create function batchcortex.wait_witnessed(record uuid, timeout interval default '10 seconds', quorum integer default null) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    patience timestamptz := clock_timestamp() + timeout;
    needed integer := coalesce(quorum, current_setting('batchcortex.witness_quorum')::integer);
    covered bigint;
begin
    if needed < 0 then
        raise exception 'a quorum is a number of witnesses from 0' using errcode = 'BC422';
    end if;
    covered := batchcortex.wait_sealed(record, timeout);
    loop
        if batchcortex.witnessed_size(needed) >= covered then
            return covered;
        end if;
        if clock_timestamp() >= patience then
            raise exception 'record % is sealed in checkpoint %, which % witnesses did not cosign within %', record, covered, needed, timeout
                using errcode = 'BC504', hint = 'batchcortex.witnesses() says who has cosigned what.';
        end if;
        perform pg_sleep(0.05);
    end loop;
end
$$;
comment on function batchcortex.wait_witnessed(uuid, interval, integer) is
'Waits until a record, by its id, is sealed and so many witnesses (null: batchcortex.witness_quorum; 0: none needed, sealed is enough) have cosigned a checkpoint of the global log that covers it; returns the size of the first such checkpoint. To be called after the record''s transaction has committed. Errors: BC504 the time is over, BC409 called where newer rows are not seen, BC422 a null record or timeout, or a negative quorum.';

create function batchcortex.require_public(client_ip inet) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Whoever has one IPv6 address has a whole /64.
    wait integer := batchcortex.spend_budget('public', case family(client_ip) when 6 then network(set_masklen(client_ip, 64))::text else coalesce(host(client_ip), '') end);
begin
    if wait > 0 then
        raise exception 'too many requests of this address' using errcode = 'BC429', detail = wait::text;
    end if;
end
$$;
comment on function batchcortex.require_public(inet) is
'Spends one of the budget that an address has without a credential (batchcortex.rate_public), whatever becomes of the transaction. Raises BC429 when none is left, DETAIL the seconds to wait.';

create function batchcortex.stored_tile(org uuid, level integer, tile_index bigint, width integer) returns bytea
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    found_tile bytea;
begin
    if width is null or width not between 1 and 256 then
        raise exception 'a tile has 1 to 256 hashes' using errcode = 'BC404';
    end if;
    select substr(t.hashes, 1, 32 * stored_tile.width) into found_tile from batchcortex.ledger_tile t
     where t.org_id = org and t.level = stored_tile.level and t.tile_index = stored_tile.tile_index and t.width >= stored_tile.width;
    if found_tile is null then
        raise exception 'the log has no such tile' using errcode = 'BC404', hint = 'The checkpoint''s size says which tiles there are (C2SP tlog-tiles).';
    end if;
    return found_tile;
end
$$;
comment on function batchcortex.stored_tile(uuid, integer, bigint, integer) is
'The first so many hashes (32 bytes each) of a tile of a log (C2SP tlog-tiles): 256 of a full tile. Errors: BC404 beyond the tree.';

create function batchcortex_api.global_checkpoint(client_ip inet) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_public(client_ip);
    return batchcortex.latest_checkpoint('ffffffff-ffff-ffff-ffff-ffffffffffff');
end
$$;
comment on function batchcortex_api.global_checkpoint(inet) is
'The newest checkpoint of the global log as a signed note, with its cosignatures. Needs no credential: it shows sizes and hashes, and no organisation. Errors: BC404 nothing sealed yet, BC429, BC503 the server has no key.';

create function batchcortex_api.global_tile(level integer, tile_index bigint, width integer, client_ip inet) returns bytea
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_public(client_ip);
    return batchcortex.stored_tile('ffffffff-ffff-ffff-ffff-ffffffffffff', level, tile_index, width);
end
$$;
comment on function batchcortex_api.global_tile(integer, bigint, integer, inet) is
'A tile of the global log. Needs no credential. Errors: BC404 beyond the tree, BC429.';

create function batchcortex_api.global_consistency(size1 bigint, size2 bigint, client_ip inet) returns bytea[]
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_public(client_ip);
    return batchcortex.consistency_proof('ffffffff-ffff-ffff-ffff-ffffffffffff', size1, size2);
end
$$;
comment on function batchcortex_api.global_consistency(bigint, bigint, inet) is
'Consistency proof between two sizes of the global log. Needs no credential. Errors: BC404 no such sizes, BC429.';

create function batchcortex_api.add_cosignatures(submission text, client_ip inet) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    sent record;
    checked record;
    checkpoint text;
    life integer;
    known boolean := false;
    stored integer := 0;
    rows integer;
begin
    perform batchcortex.require_public(client_ip);
    select * into sent from batchcortex.read_submission(submission);
    if sent.tree_size is null then
        raise exception 'expected is a line `size <n>`, an empty line, and signature lines' using errcode = 'BC400';
    end if;
    checkpoint := batchcortex.checkpoint_text('ffffffff-ffff-ffff-ffff-ffffffffffff', sent.tree_size);
    if checkpoint is null then
        raise exception 'the global log has no checkpoint of size %', sent.tree_size using errcode = 'BC404';
    end if;
    select c.incarnation into life from batchcortex.ledger_checkpoint c
     where c.org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff' and c.tree_size = sent.tree_size;
    for checked in
        select c.* from unnest(sent.lines) l
         cross join lateral batchcortex.check_cosignature(l, checkpoint, array(select w.verifier_key from batchcortex.witnesses() w where w.active)) c loop
        -- Cosignatures of strangers are passed over, as C2SP asks.
        continue when checked.outcome = 'unknown';
        if checked.outcome <> 'valid' then
            raise exception 'a cosignature of % does not hold for the checkpoint of size %', checked.witness, sent.tree_size
                using errcode = 'BC422', hint = 'It is over another text, or damaged. Nothing was stored.';
        end if;
        known := true;
        insert into batchcortex.ledger_cosignature (tree_size, witness, key_id, incarnation, cosigned_at, line)
            values (sent.tree_size, checked.witness, checked.key_id, life, checked.cosigned_at, checked.line)
            on conflict do nothing;
        get diagnostics rows = row_count;
        stored := stored + rows;
    end loop;
    if not known then
        raise exception 'no registered witness has signed this' using errcode = 'BC403', hint = 'batchcortex.add_witness registers one, by its public key.';
    end if;
    return stored;
end
$$;
comment on function batchcortex_api.add_cosignatures(text, inet) is
'Stores the cosignatures of registered witnesses over a checkpoint of the global log, each once; returns how many are new. submission: `size <n>`, an empty line, signature lines. Needs no credential: the signatures are one. Errors: BC400 unreadable, BC403 no registered witness, BC404 no such checkpoint, BC422 a signature does not hold (then nothing is stored), BC429.';

create function batchcortex_api.log_checkpoint() returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('ledger.verify');
    return batchcortex.latest_checkpoint(batchcortex.current_org_id());
end
$$;
comment on function batchcortex_api.log_checkpoint() is
'The newest checkpoint of the log of the caller''s organisation as a signed note. Errors: BC401, BC403, BC404 nothing sealed yet, BC503 the server has no key.';

create function batchcortex_api.log_tile(level integer, tile_index bigint, width integer) returns bytea
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('ledger.verify');
    return batchcortex.stored_tile(batchcortex.current_org_id(), level, tile_index, width);
end
$$;
comment on function batchcortex_api.log_tile(integer, bigint, integer) is
'A tile of the log of the caller''s organisation. Errors: BC401, BC403, BC404 beyond the tree.';

create function batchcortex_api.log_inclusion(leaf_index bigint, tree_size bigint) returns bytea[]
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('ledger.verify');
    return batchcortex.inclusion_proof(batchcortex.current_org_id(), leaf_index, tree_size);
end
$$;
comment on function batchcortex_api.log_inclusion(bigint, bigint) is
'batchcortex.inclusion_proof of the caller''s organisation. Errors: BC401, BC403, BC404 no such leaf or size.';

create function batchcortex_api.log_consistency(size1 bigint, size2 bigint) returns bytea[]
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('ledger.verify');
    return batchcortex.consistency_proof(batchcortex.current_org_id(), size1, size2);
end
$$;
comment on function batchcortex_api.log_consistency(bigint, bigint) is
'batchcortex.consistency_proof of the caller''s organisation. Errors: BC401, BC403, BC404 no such sizes.';

comment on function batchcortex.read_verifier_key(text) is
'Reads a public key of the form name+id+base64 (C2SP signed-note): its name, id and kind, log or witness. No row when it is none.';
comment on function batchcortex.read_submission(text) is
'Reads what a witness posts: the size of the checkpoint and the signature lines. No row when it is no such text.';
comment on function batchcortex.check_cosignature(text, text, text[]) is
'Checks a signature line over the text of a checkpoint by the keys given. outcome: valid, wrong (a known key, and the signature does not hold), unknown (no known key).';
