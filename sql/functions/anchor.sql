-- Anchors: time stamps (RFC 3161) over checkpoints of the global log.

comment on function batchcortex.make_timestamp_query(text) is
'Behind batchcortex.timestamp_query: the TimeStampReq (DER) over a signed note.';
comment on function batchcortex.read_timestamp(text, bytea) is
'Behind batchcortex.add_timestamp: time, policy and serial number of the token in a TimeStampResp (DER) over a signed note; sqlstate and problem are set when it is no such response.';

create function batchcortex.signed_checkpoint(tree_size bigint) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    signed text;
begin
    select c.note into signed from batchcortex.ledger_checkpoint c
     where c.org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff' and c.tree_size = signed_checkpoint.tree_size;
    if not found then
        raise exception 'the global log has no checkpoint of % leaves', tree_size
            using errcode = 'BC404', hint = 'select max(tree_size) from batchcortex.ledger_checkpoint where org_id = ''ffffffff-ffff-ffff-ffff-ffffffffffff'' names the newest.';
    elsif signed is null then
        raise exception 'the checkpoint of % leaves is not signed: the server had no key', tree_size
            using errcode = 'BC503', hint = 'batchcortex-keys create checkpoint makes one; batchcortex.checkpoint_key_file names it.';
    end if;
    return signed;
end
$$;
comment on function batchcortex.signed_checkpoint(bigint) is
'The signed note of the global log''s checkpoint of a size, without cosignatures: ledger_checkpoint.note. Errors: BC404 no checkpoint of that size, BC503 it is not signed.';

create function batchcortex.timestamp_query(tree_size bigint) returns bytea
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select batchcortex.make_timestamp_query(batchcortex.signed_checkpoint(tree_size))
$$;
comment on function batchcortex.timestamp_query(bigint) is
'The query for a time-stamping authority (RFC 3161 TimeStampReq, DER) over the global log''s checkpoint of a size: SHA-256 of its signed note without cosignatures, a nonce that follows from the note, and the wish for the authority''s certificate. Errors: BC404 no checkpoint of that size, BC503 it is not signed.';

create function batchcortex.add_timestamp(tree_size bigint, response bytea) returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    token record;
begin
    if response is null then
        raise exception 'a response is needed' using errcode = 'BC422';
    end if;
    select * into token from batchcortex.read_timestamp(batchcortex.signed_checkpoint(tree_size), response);
    if token.sqlstate is not null then
        raise exception 'this is no time stamp over the checkpoint of % leaves: %', tree_size, token.problem
            using errcode = token.sqlstate, hint = 'The authority''s answer to batchcortex.timestamp_query is stored as it came (application/timestamp-reply, DER).';
    end if;
    insert into batchcortex.ledger_timestamp (tree_size, generated_at, policy, serial, response, response_sha256)
        values (add_timestamp.tree_size, token.generated_at, token.policy, token.serial, add_timestamp.response, sha256(add_timestamp.response))
        on conflict do nothing;
    return token.generated_at;
end
$$;
comment on function batchcortex.add_timestamp(bigint, bytea) is
'Stores the response of a time-stamping authority (RFC 3161 TimeStampResp, DER) over the global log''s checkpoint of a size and returns the time that it says (an instant). It must be granted, over this checkpoint, and carry the nonce of timestamp_query or none; its signature is not checked here: openssl ts -verify does that with the authority''s certificates. The same response again changes nothing. Errors: BC400 not a response in DER, BC404 no checkpoint of that size, BC422 refused by the authority or over something else, BC503 the checkpoint is not signed.';

create function batchcortex.timestamps(tree_size bigint)
returns table (generated_at timestamptz, policy text, serial text, received_at timestamptz, response bytea)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select t.generated_at, t.policy, t.serial, t.received_at, t.response
      from batchcortex.ledger_timestamp t where t.tree_size = timestamps.tree_size order by t.generated_at, t.response_sha256
$$;
comment on function batchcortex.timestamps(bigint) is
'The time stamps over the global log''s checkpoint of a size, earliest first: the authority''s time, its policy and serial number, when it came, and the response as it came (RFC 3161 TimeStampResp, DER). No row when there is none.';

create function batchcortex.new_incarnation(reason text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    ending text;
begin
    perform batchcortex.require_reason(reason);
    select i.origin into ending from batchcortex.ledger_incarnation i order by i.incarnation desc limit 1;
    if not found then
        raise exception 'nothing has been sealed yet' using errcode = 'BC404', hint = 'The first incarnation begins with the first sealing.';
    end if;
    insert into batchcortex.ledger_incarnation_request (origin, reason) values (ending, new_incarnation.reason) on conflict do nothing;
    if not found then
        raise exception 'that % ends has been asked for already', ending using errcode = 'BC409', hint = 'The sealer begins the next incarnation with the next leaf that it seals.';
    end if;
    -- The event is a leaf: it is what the next incarnation begins with.
    perform batchcortex.log_event('ledger.incarnation_requested', 'ledger', ending, reason => reason,
        org_id => '00000000-0000-0000-0000-000000000000');
    return ending;
end
$$;
comment on function batchcortex.new_incarnation(text) is
'For the DBA: from the next sealing on the log goes on under another origin, which links to the one before; returns the origin that ends. To be called after a restore or a change of the data that the server could not notice by itself, before others are shown what it signs. Recorded as ledger.incarnation_requested. Errors: BC404 nothing sealed yet, BC409 asked for already, BC422 no reason.';
