-- Redaction: a record names personal data by a salted hash; erasing the value and its salt leaves the record, its leaf and every root as
-- they are.

comment on function batchcortex.make_commitment(text) is
'Behind batchcortex.commit_personal_data: a salt of 32 random bytes and the commitment to a value.';

create function batchcortex.keep_personal_data() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and new.value is null and old.value is not null and new.org_id = old.org_id and new.commitment = old.commitment
       and new.committed_at = old.committed_at
       -- Nothing is erased without a word: the event comes first, in the same transaction.
       and exists (select from batchcortex.events_log e
                    where e.org_id = old.org_id and e.recorded_at >= transaction_timestamp()
                      and e.action = 'personal_data.erased' and e.record_id = old.commitment) then
        return new;
    end if;
    raise exception 'personal data that records name are not changed or deleted' using errcode = 'BC001',
        hint = 'batchcortex.erase_personal_data(commitment, reason) erases the value and its salt.';
end
$$;
comment on function batchcortex.keep_personal_data() is
'Refuses to change or delete a row of batchcortex.personal_data (BC001), but for the erasure of its value and salt by a transaction that has recorded it.';

create function batchcortex.commit_personal_data(org uuid, value text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    made record;
begin
    if value is null or length(value) not between 1 and 4000 then
        raise exception 'a value of 1 to 4,000 characters is needed' using errcode = 'BC422';
    end if;
    select * into made from batchcortex.make_commitment(commit_personal_data.value);
    begin
        insert into batchcortex.personal_data (org_id, commitment, salt, value) values (org, made.commitment, made.salt, commit_personal_data.value);
    exception when foreign_key_violation or not_null_violation then
        raise exception 'unknown organisation %', coalesce(org::text, 'null') using errcode = 'BC404';
    end;
    return made.commitment;
end
$$;
comment on function batchcortex.commit_personal_data(uuid, text) is
'Keeps a value (1 to 4,000 characters) for an organisation and returns the commitment by which records name it: sha256: and 64 hexadecimal digits. The same value gives another commitment each time. Errors: BC404 unknown organisation, BC422 no value or too long.';

create function batchcortex.open_personal_data(commitment text)
returns table (value text, salt bytea, committed_at timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    kept record;
begin
    select d.* into kept from batchcortex.personal_data d where d.commitment = open_personal_data.commitment;
    if not found then
        raise exception 'no personal data of that commitment' using errcode = 'BC404';
    end if;
    if kept.erased_at is not null then
        raise exception 'the value was erased at %', to_char(kept.erased_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            using errcode = 'BC404', hint = 'The event personal_data.erased of this commitment says why.';
    end if;
    return query select kept.value, kept.salt, kept.committed_at;
end
$$;
comment on function batchcortex.open_personal_data(text) is
'The value that records name by a commitment, and its salt: sha256(''batchcortex/commitment/v1'' || 0x0A || salt || value) is the commitment. Errors: BC404 unknown to the caller, or erased.';

create function batchcortex.evidence_opening(record uuid, field text, commitment text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    leaf bigint;
    org uuid;
    -- A UUID version 7 begins with milliseconds since 1970.
    made timestamptz := timestamptz 'epoch' + ('x' || left(replace(record::text, '-', ''), 12))::bit(48)::bigint * interval '1 millisecond';
begin
    select l.leaf_index, l.org_id into leaf, org from batchcortex.leaf_of(record) l limit 1;
    if leaf is null then
        raise exception 'record % is not sealed, or not yours', record using errcode = 'BC404';
    end if;
    if exists (select from batchcortex.events_log e, to_json(e) r
                where e.org_id = org and e.recorded_at >= made and e.recorded_at < made + interval '1 millisecond' and e.event_id = record
                  and commitment is distinct from case when strpos(field, '.') = 0 then r ->> field
                                                       else batchcortex.event_member(r ->> split_part(field, '.', 1), substr(field, strpos(field, '.') + 1)) end) then
        raise exception 'field % of record % does not name that commitment', quote_nullable(field), record using errcode = 'BC422';
    end if;
    return (select format('{"opening":{"index":%s,"field":%s,"salt":"%s","value":%s}}', leaf, to_json(field), encode(o.salt, 'hex'), to_json(o.value))
              from batchcortex.open_personal_data(commitment) o);
end
$$;
comment on function batchcortex.evidence_opening(uuid, text, text) is
'The line that shows, in a file of evidence (docs/format.md), the value to which a field of a record commits; it belongs right after the line of the record''s leaf. field: a column of the record, after a dot a member of the JSON object in it, such as after.username. batchcortex.export_evidence writes no such line by itself. Errors: BC404 record or commitment unknown to the caller, not sealed, or erased; BC422 the field of an event does not name the commitment.';

create function batchcortex.erase_personal_data(commitment text, reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    kept record;
begin
    perform batchcortex.require_reason(reason);
    -- Two at once: the second waits here, and finds it erased.
    select d.* into kept from batchcortex.personal_data d where d.commitment = erase_personal_data.commitment for update;
    if not found then
        raise exception 'no personal data of that commitment' using errcode = 'BC404';
    end if;
    if kept.erased_at is not null then
        return;
    end if;
    if strpos(lower(reason), lower(kept.value)) > 0 then
        raise exception 'the reason names what is to be erased, and would keep it in the audit trail' using errcode = 'BC422';
    end if;
    if exists (select from batchcortex.legal_hold h
                where h.org_id = kept.org_id and h.batch_id is null
                  and not exists (select from batchcortex.legal_hold_release r where r.org_id = h.org_id and r.hold_id = h.hold_id)) then
        raise exception 'a legal hold keeps the records of this organisation' using errcode = 'BC409',
            hint = 'batchcortex.release_legal_hold() ends a hold.';
    end if;
    perform batchcortex.log_event('personal_data.erased', 'personal_data', kept.commitment, reason => reason, org_id => kept.org_id);
    update batchcortex.personal_data d set value = null, salt = null, erased_at = clock_timestamp()
     where d.org_id = kept.org_id and d.commitment = kept.commitment;
    -- An invitation that nobody has used goes with the name that it is for. Of a person who has joined the account stays, and who let
    -- them in.
    update batchcortex.invitation i set username = i.username_commitment, expires_at = least(i.expires_at, clock_timestamp())
     where i.org_id = kept.org_id and i.username_commitment = kept.commitment and i.redeemed_at is null;
end
$$;
comment on function batchcortex.erase_personal_data(text, text) is
'Erases the value that records name by a commitment, and its salt, for good: records, leaves and roots stay as they are, and nobody can tell the value from the commitment. An open invitation to that user name ends; an account that was made with it stays. Recorded as personal_data.erased with the commitment and the reason, never the value. Once more changes nothing. Errors: BC404 unknown to the caller, BC409 a legal hold on the organisation, BC422 no reason, or one that names the value.';

create function batchcortex_api.open_personal_data(commitment text)
returns table (value text, salt bytea, committed_at timestamptz)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('personal_data.read');
    return query select o.value, o.salt, o.committed_at from batchcortex.open_personal_data(open_personal_data.commitment) o;
end
$$;
comment on function batchcortex_api.open_personal_data(text) is
'batchcortex.open_personal_data of the caller''s organisation. Errors: BC401, BC403, BC404 no such commitment, or erased.';

create function batchcortex_api.erase_personal_data(commitment text, reason text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('personal_data.erase');
    perform batchcortex.erase_personal_data(commitment, reason);
end
$$;
comment on function batchcortex_api.erase_personal_data(text, text) is
'batchcortex.erase_personal_data of the caller''s organisation. Errors: BC401, BC403, BC404 no such commitment, BC409 a legal hold, BC422 no reason, or one that names the value.';
