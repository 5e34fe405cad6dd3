-- Evidence: records with everything that proves them, in one file that bcverify checks without this server (docs/format.md).

create function batchcortex.is_recorded(org uuid, record uuid) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    digits text := replace(record::text, '-', '');
    made timestamptz;
    source record;
    found boolean;
begin
    -- The ids of records are UUIDs of version 7: milliseconds since 1970 in 48 bits.
    if substr(digits, 13, 1) <> '7' then
        return false;
    end if;
    made := timestamptz 'epoch' + ('x' || lpad(substr(digits, 1, 12), 16, '0'))::bit(64)::bigint * interval '1 millisecond';
    for source in select r.relation, r.key_columns[1] as key_column from batchcortex.ledger_relation r where r.hashed loop
        execute format('select exists (select from %s where org_id = $1 and recorded_at between $2 and $3 and %I = $4)', source.relation, source.key_column)
           into found using org, made, made + interval '1 millisecond', record;
        if found then
            return true;
        end if;
    end loop;
    return false;
end
$$;
comment on function batchcortex.is_recorded(uuid, uuid) is
'Whether the organisation has a record of that id, sealed or not, in one of BatchCortex''s own tables, as far as the caller may read them.';

create function batchcortex.cosigned_note(size bigint) returns text
language sql stable strict
set search_path = pg_catalog, pg_temp
as $$
    select c.note || coalesce((select string_agg(s.line || E'\n', '' order by s.received_at, s.witness, s.key_id)
                                 from batchcortex.ledger_cosignature s where s.tree_size = c.tree_size), '')
      from batchcortex.ledger_checkpoint c where c.org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff' and c.tree_size = size
$$;
comment on function batchcortex.cosigned_note(bigint) is
'The signed note of the global log''s checkpoint of a size, with its cosignatures; null when there is none of that size or the server had no key then.';

create function batchcortex.plan_evidence(org uuid, record uuid, batch uuid, from_time timestamptz, until_time timestamptz, since bigint,
    out scope text, out size bigint, out checkpoint text, out global_index bigint, out global_size bigint, out note text,
    out leaf_index bigint, out recorded_from timestamptz, out recorded_to timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    batch_number text;
    cosigned bigint;
    older record;
    year_1 constant timestamptz := '0001-01-01 00:00:00+00';
    year_9999 constant timestamptz := '9999-12-31 23:59:59.999999+00';
begin
    if org is null then
        raise exception 'evidence is of one organisation: its id is needed' using errcode = 'BC422';
    elsif num_nonnulls(record, batch, coalesce(from_time, until_time)) > 1 then
        raise exception 'evidence is of a record, of a batch, of a time, or of everything' using errcode = 'BC422', hint = 'Give one of record, batch, and from_time with until_time, or none of them.';
    elsif from_time >= until_time then
        raise exception 'from_time must be before until_time' using errcode = 'BC422';
    elsif not coalesce(from_time, year_1) between year_1 and year_9999 or not coalesce(until_time, year_1) between year_1 and year_9999 then
        raise exception 'times must be within the years 1 to 9999' using errcode = 'BC422', hint = 'Leave out the end that shall be open.';
    end if;
    select c.tree_size, c.global_index into size, global_index
      from batchcortex.ledger_checkpoint c where c.org_id = org and c.global_index is not null order by c.tree_size desc limit 1;
    if not found then
        if exists (select from batchcortex.organisation o where o.org_id = org) then
            raise exception 'nothing of organisation % is sealed yet', org using errcode = 'BC409', hint = 'The sealer works about once a second; select batchcortex.seal() asks it to.';
        end if;
        raise exception 'organisation % has no log that you may read', org using errcode = 'BC404';
    end if;
    note := batchcortex.latest_checkpoint('ffffffff-ffff-ffff-ffff-ffffffffffff');
    global_size := split_part(note, E'\n', 2)::bigint;
    if not since between 1 and global_size then
        raise exception 'the global log has no checkpoint of % leaves, it has % leaves', since, global_size
            using errcode = 'BC422', hint = 'since is the second line of a checkpoint of the global log that you kept. A log that is smaller than it was has been restored, or rolled back.';
    end if;
    scope := 'all';
    if record is not null then
        scope := 'record ' || record;
        select l.leaf_index into leaf_index from batchcortex.leaf_of(record) l where l.org_id = org and l.leaf_index < size;
        if not found then
            if batchcortex.is_recorded(org, record) then
                raise exception 'record % waits for its sealing', record using errcode = 'BC409', hint = 'select batchcortex.wait_sealed(record) returns when it is sealed.';
            end if;
            raise exception 'organisation % has no record %', org, record using errcode = 'BC404';
        end if;
    elsif batch is not null then
        select b.number, b.created_at into batch_number, recorded_from from batchcortex.batch b where b.org_id = org and b.batch_id = batch;
        if not found then
            raise exception 'organisation % has no batch %', org, batch using errcode = 'BC404';
        end if;
        scope := 'batch ' || batch || ' ' || batch_number;
        select least(recorded_from, min(r.first)), greatest(recorded_from, max(r.last)) into recorded_from, recorded_to
          from (select min(e.recorded_at), max(e.recorded_at) from batchcortex.events_log e where e.org_id = org and e.batch_id = batch
                union all
                select min(s.recorded_at), max(s.recorded_at) from batchcortex.sample_segment s where s.org_id = org and s.batch_id = batch) r (first, last);
    elsif num_nonnulls(from_time, until_time) > 0 then
        recorded_from := from_time;
        recorded_to := until_time;
        scope := format('time %s %s', coalesce(to_char(from_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '-'),
                        coalesce(to_char(until_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '-'));
    end if;
    -- The newest checkpoint is often not cosigned yet: the newest that witnesses have cosigned is preferred where it shows as much.
    select c.tree_size into cosigned
      from batchcortex.ledger_cosignature c
     group by c.tree_size having count(distinct c.witness) >= greatest(1, current_setting('batchcortex.witness_quorum')::integer)
     order by c.tree_size desc limit 1;
    if cosigned < global_size and coalesce(since <= cosigned, true) then
        select c.tree_size, c.global_index into older
          from batchcortex.ledger_checkpoint c where c.org_id = org and c.global_index < cosigned order by c.tree_size desc limit 1;
        if older.tree_size = size or older.tree_size > leaf_index then
            size := older.tree_size;
            global_index := older.global_index;
            global_size := cosigned;
            note := batchcortex.cosigned_note(cosigned);
        end if;
    end if;
    checkpoint := batchcortex.checkpoint_text(org, size);
end
$$;
comment on function batchcortex.plan_evidence(uuid, uuid, uuid, timestamptz, timestamptz, bigint) is
'Behind batchcortex.export_evidence: checks what is asked, and finds the checkpoints that prove it and where to look for it. Errors: as there.';

comment on function batchcortex.write_evidence(uuid, text, text, bigint, text, bigint, bigint, text, bigint, bigint, uuid, timestamptz, timestamptz) is
'Behind batchcortex.export_evidence: the lines of a file of evidence for what batchcortex.plan_evidence found.';

create function batchcortex.export_evidence(org uuid, record uuid default null, batch uuid default null, from_time timestamptz default null,
    until_time timestamptz default null, since bigint default null) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    -- In the list of what is selected, so that lines leave as they are made and are not collected first.
    select batchcortex.write_evidence(org, p.scope, to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), p.size, p.checkpoint,
                                      p.global_index, p.global_size, p.note, since, p.leaf_index, batch, p.recorded_from, p.recorded_to)
      from batchcortex.plan_evidence(org, record, batch, from_time, until_time, since) p
$$;
comment on function batchcortex.export_evidence(uuid, uuid, uuid, timestamptz, timestamptz, bigint) is
'Evidence of an organisation''s records as lines of JSON (docs/format.md), which bcverify checks without this server: of one record by its id, of a batch by its id, of what was recorded from a time on and before another (UTC instants, each end may be open), or of everything. since: the size of a checkpoint of the global log that the reader kept, with which consistency is then proven. A record that does not agree with its leaf any more, or is gone, is part of it wherever it is met. psql writes it with \set FETCH_COUNT 1000 and -At. Errors: BC404 no such organisation, record or batch that the caller may read, BC409 not sealed yet, BC422 more than one scope, a time or a size that cannot be, BC503 the server has no key.';

create function batchcortex.record_export(record uuid, batch uuid, from_time timestamptz, until_time timestamptz, since bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    plan record;
begin
    perform batchcortex.require_permission('ledger.verify');
    -- A file of evidence holds the events themselves.
    perform batchcortex.require_permission('event.read');
    plan := batchcortex.plan_evidence(batchcortex.current_org_id(), record, batch, from_time, until_time, since);
    perform batchcortex.log_event('ledger.exported', 'evidence', split_part(plan.scope, ' ', 1) || coalesce(' ' || coalesce(record, batch), ''), batch_id => batch,
        after => json_build_object('scope', plan.scope, 'tree_size', plan.size, 'global_size', plan.global_size, 'since', since));
end
$$;
comment on function batchcortex.record_export(uuid, uuid, timestamptz, timestamptz, bigint) is
'Behind batchcortex_api.export_evidence: who may, and the event that tells of it. Errors: as there.';

create function batchcortex_api.export_evidence(record uuid default null, batch uuid default null, from_time timestamptz default null,
    until_time timestamptz default null, since bigint default null) returns setof text
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    select batchcortex.record_export(record, batch, from_time, until_time, since);
    select batchcortex.export_evidence(batchcortex.current_org_id(), record, batch, from_time, until_time, since);
$$;
comment on function batchcortex_api.export_evidence(uuid, uuid, timestamptz, timestamptz, bigint) is
'batchcortex.export_evidence of the caller''s organisation; the export is an event (ledger.exported). Errors: BC401, BC403, BC404, BC409, BC422, BC503.';
