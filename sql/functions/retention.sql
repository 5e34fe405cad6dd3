-- How long records are kept, what holds them longer, and how expired partitions go.

create function batchcortex.record_login() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- What a statement says about who it is does not count.
    new.login_oid := batchcortex.login_oid();
    if batchcortex.current_org_id() is not null then
        new.recorded_by := batchcortex.current_actor_name();
    elsif new.login_oid is null then
        new.recorded_by := 'server';
    else
        new.recorded_by := pg_get_userbyid(new.login_oid::oid);
    end if;
    return new;
end
$$;
comment on function batchcortex.record_login() is
'BEFORE INSERT trigger of the tables of retention: sets recorded_by to the person bound to the transaction, else to the login that the server authenticated, and login_oid to that login.';

create function batchcortex.retention_periods() returns table (record_class text, relation text, months integer, days integer)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select c.record_class, c.relation, greatest(c.months, max(p.months)), greatest(c.days, max(p.days))
      from batchcortex.retention_classes() c left join batchcortex.retention_policy p on p.record_class = c.record_class
     group by c.record_class, c.relation, c.months, c.days
     order by c.record_class
$$;
comment on function batchcortex.retention_periods() is
'For the DBA: how long each class of records is kept, in months and days from the end of the month of recording, and the table that holds it. The library''s own times, or what set_retention has made of them.';

create function batchcortex.set_retention(record_class text, months integer, days integer, reason text) returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    present record;
    id uuid;
begin
    perform batchcortex.require_reason(reason);
    -- One at a time, so that the event says what was there before.
    lock table batchcortex.retention_policy in share row exclusive mode;
    select p.months, p.days into present from batchcortex.retention_periods() p where p.record_class = set_retention.record_class;
    if not found then
        raise exception 'there is no class of records named %', quote_nullable(record_class)
            using errcode = 'BC404', hint = 'batchcortex.retention_periods() lists them.';
    end if;
    if months is null or days is null or months not between 0 and 1200 or days not between 0 and 36500 then
        raise exception 'a time is 0 to 1,200 months and 0 to 36,500 days' using errcode = 'BC422';
    end if;
    if months < present.months or days < present.days or (months, days) = (present.months, present.days) then
        raise exception 'the class % is kept % months and % days: a time is made longer, never shorter', record_class, present.months, present.days
            using errcode = 'BC422';
    end if;
    insert into batchcortex.retention_policy as p (record_class, months, days, reason)
        values (set_retention.record_class, set_retention.months, set_retention.days, set_retention.reason) returning p.policy_id into id;
    perform batchcortex.log_event('retention.lengthened', 'retention_policy', id::text, reason => reason,
        before => json_build_object('record_class', record_class, 'months', present.months, 'days', present.days),
        after => json_build_object('record_class', record_class, 'months', months, 'days', days));
    return id;
end
$$;
comment on function batchcortex.set_retention(text, integer, integer, text) is
'For the DBA: keeps a class of records longer, in months and days from the end of the month of recording; for the whole installation and for good. Recorded as retention.lengthened. Returns the policy''s id. Errors: BC404 no such class; BC422 shorter than now, no reason, out of range.';

create function batchcortex.retain_batch(org uuid, batch uuid, expires_on date, certified_on date, reason text default null) returns date
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Without one of them the other decides; greatest() passes nulls over.
    until date := greatest(expires_on + interval '1 year', certified_on + interval '5 years')::date;
    present date;
begin
    perform from batchcortex.batch b where b.org_id = org and b.batch_id = batch for update;
    if not found then
        raise exception 'unknown batch' using errcode = 'BC404';
    end if;
    if until is null or not until between '1900-01-01' and current_date + 36525 then
        raise exception 'a date of expiry or of certification is needed, within a hundred years' using errcode = 'BC422';
    end if;
    select max(r.retain_until) into present from batchcortex.batch_retention r where r.org_id = org and r.batch_id = batch;
    if until <= present then
        raise exception 'the batch is kept until % already: a date is made later, never earlier', present using errcode = 'BC422';
    end if;
    insert into batchcortex.batch_retention (org_id, batch_id, expires_on, certified_on, retain_until, reason)
        values (org, batch, retain_batch.expires_on, retain_batch.certified_on, until, retain_batch.reason);
    perform batchcortex.log_event('batch.retained', 'batch', batch::text, batch_id => batch, org_id => org, reason => reason,
        before => json_build_object('retain_until', present),
        after => json_build_object('retain_until', until, 'expires_on', expires_on, 'certified_on', certified_on));
    return until;
end
$$;
comment on function batchcortex.retain_batch(uuid, uuid, date, date, text) is
'Keeps a batch''s records until one year after its expiry or five years after its certification, whichever is longer (EU GMP 4.11); a null date is left out. Later dates only. Recorded as batch.retained. Returns the date, that day included. Errors: BC404 unknown batch; BC422 no date, a date that is not later.';

create function batchcortex.place_legal_hold(org uuid, reason text, batch uuid default null) returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    id uuid;
begin
    perform batchcortex.require_reason(reason);
    if not exists (select from batchcortex.organisation o where o.org_id = org) then
        raise exception 'unknown organisation' using errcode = 'BC404';
    end if;
    if batch is not null and not exists (select from batchcortex.batch b where b.org_id = org and b.batch_id = batch) then
        raise exception 'unknown batch' using errcode = 'BC404';
    end if;
    insert into batchcortex.legal_hold as h (org_id, batch_id, reason) values (org, batch, place_legal_hold.reason) returning h.hold_id into id;
    perform batchcortex.log_event('legal_hold.placed', 'legal_hold', id::text, org_id => org, batch_id => batch, reason => reason);
    return id;
end
$$;
comment on function batchcortex.place_legal_hold(uuid, text, uuid) is
'For the DBA: no partition with records of the organisation, or of the one batch, is disposed of until the hold is released. Recorded as legal_hold.placed in the organisation''s log. Returns the hold''s id. Errors: BC404 unknown organisation or batch; BC422 no reason.';

create function batchcortex.release_legal_hold(hold uuid, reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    placed record;
begin
    perform batchcortex.require_reason(reason);
    select h.org_id, h.batch_id into placed from batchcortex.legal_hold h where h.hold_id = hold;
    if not found then
        raise exception 'unknown hold' using errcode = 'BC404';
    end if;
    insert into batchcortex.legal_hold_release (org_id, hold_id, reason) values (placed.org_id, hold, release_legal_hold.reason)
        on conflict on constraint legal_hold_release_once do nothing;
    if not found then
        raise exception 'the hold is released already' using errcode = 'BC409';
    end if;
    perform batchcortex.log_event('legal_hold.released', 'legal_hold', hold::text, org_id => placed.org_id, batch_id => placed.batch_id, reason => reason);
end
$$;
comment on function batchcortex.release_legal_hold(uuid, text) is
'For the DBA: ends a legal hold. Recorded as legal_hold.released in the organisation''s log. Errors: BC404 unknown hold; BC409 released already; BC422 no reason.';

create function batchcortex.partition_span(partition regclass) returns table (relation name, recorded_from timestamptz, recorded_to timestamptz)
language sql stable strict
set search_path = pg_catalog, pg_temp
-- Bounds are written out and read back: a session's own settings must not shift them.
set datestyle = 'ISO'
set timezone = 'UTC'
as $$
    select p.relname, b.span[1]::timestamptz, b.span[2]::timestamptz
      from pg_class c join pg_inherits i on i.inhrelid = c.oid join pg_class p on p.oid = i.inhparent
     cross join lateral regexp_match(pg_get_expr(c.relpartbound, c.oid), '^FOR VALUES FROM \(''([^'']+)''\) TO \(''([^'']+)''\)$') as b (span)
     where c.oid = partition and c.relkind = 'r' and c.relispartition and c.relnamespace = 'batchcortex'::regnamespace
       and p.relnamespace = c.relnamespace and b.span is not null
$$;
comment on function batchcortex.partition_span(regclass) is
'Table and range [from, to), UTC instants, of a monthly partition of BatchCortex; no row for anything else.';

create function batchcortex.disposable_from(partition regclass) returns timestamptz
language sql stable strict
set search_path = pg_catalog, pg_temp
as $$
    select max((s.recorded_to at time zone 'UTC' + make_interval(months => p.months, days => p.days)) at time zone 'UTC')
      from batchcortex.partition_span(partition) s join batchcortex.retention_periods() p on p.relation = s.relation
$$;
comment on function batchcortex.disposable_from(regclass) is
'When the last record of a partition has been kept for the time of its class, UTC instant; null for what is no partition of BatchCortex or of no class.';

create function batchcortex.disposal_obstacles(partition regclass) returns table (sqlstate text, obstacle text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    until timestamptz := batchcortex.disposable_from(partition);
    of_batch boolean := exists (select from pg_attribute a where a.attrelid = partition and a.attname = 'batch_id' and not a.attisdropped);
    held record;
    there boolean;
begin
    if until is null then
        return query select 'BC422', format('%s is no monthly partition of a class of records', partition);
        return;
    end if;
    if until > clock_timestamp() then
        return query select 'BC001', format('%s is kept until %s: early disposal is refused to everyone', partition, to_char(until at time zone 'UTC', 'YYYY-MM-DD'));
    end if;
    for held in select h.org_id, h.batch_id, h.hold_id from batchcortex.legal_hold h
                 where not exists (select from batchcortex.legal_hold_release r where r.org_id = h.org_id and r.hold_id = h.hold_id)
                 order by h.recorded_at loop
        continue when held.batch_id is not null and not of_batch;
        execute format('select exists (select from %s r where r.org_id = $1 %s)', partition, case when held.batch_id is not null then 'and r.batch_id = $2' end)
            into there using held.org_id, held.batch_id;
        if there then
            return query select 'BC409', format('legal hold %s: it holds records of %s', held.hold_id,
                coalesce('batch ' || held.batch_id, 'organisation ' || held.org_id));
        end if;
    end loop;
    if of_batch then
        for held in select b.org_id, b.batch_id, max(b.retain_until) as retain_until from batchcortex.batch_retention b
                     group by 1, 2 having max(b.retain_until) >= (clock_timestamp() at time zone 'UTC')::date order by 3 desc, 2 loop
            execute format('select exists (select from %s r where r.org_id = $1 and r.batch_id = $2)', partition) into there using held.org_id, held.batch_id;
            if there then
                return query select 'BC409', format('batch %s is kept until %s: it holds records of it', held.batch_id, to_char(held.retain_until, 'YYYY-MM-DD'));
            end if;
        end loop;
    end if;
end
$$;
comment on function batchcortex.disposal_obstacles(regclass) is
'What keeps a partition from being disposed of, as its rows and the tables of retention say: its class''s time, legal holds, batches'' own dates. SQLSTATE and a sentence each.';

create function batchcortex.list_disposable()
returns table (partition regclass, recorded_from timestamptz, recorded_to timestamptz, disposable_from timestamptz, obstacles text[])
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select c.oid::regclass, s.recorded_from, s.recorded_to, batchcortex.disposable_from(c.oid), array(select o.obstacle from batchcortex.disposal_obstacles(c.oid) o)
      from pg_class c cross join lateral batchcortex.partition_span(c.oid) s
     where c.relispartition and c.relkind = 'r' and c.relnamespace = 'batchcortex'::regnamespace and s.recorded_to <= clock_timestamp()
     order by s.recorded_from, c.relname
$$;
comment on function batchcortex.list_disposable() is
'For the DBA: the partitions of months that have ended, their range [from, to), when the time of their class is over (UTC instants), and what else stands in the way; an empty array: it can be disposed of. dispose() looks at seals and at verify() besides.';

create function batchcortex.partition_totals(partition regclass) returns table (org_id uuid, relation_id integer, row_count bigint, leaves bigint, leaves_sha256 bytea)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    span record;
begin
    select s.*, r.relation_id into span
      from batchcortex.partition_span(partition) s
      left join batchcortex.ledger_relation r on r.relation = format('batchcortex.%I', s.relation)::regclass and r.hashed;
    return query execute format(
        'select o.org_id, $1, coalesce(n.row_count, 0), coalesce(l.leaves, 0), l.sha256
           from (select org_id from batchcortex.organisation union select org_id from batchcortex.ledger_tree union select org_id from %1$s) o
           left join (select p.org_id, count(*) as row_count from %1$s p group by p.org_id) n on n.org_id = o.org_id
           left join lateral batchcortex.leaves_between(o.org_id, $1, $2, $3) l on true
          where o.org_id = ''00000000-0000-0000-0000-000000000000'' or n.row_count > 0 or l.leaves > 0', partition)
        using span.relation_id, span.recorded_from, span.recorded_to;
end
$$;
comment on function batchcortex.partition_totals(regclass) is
'For each organisation concerned and for the installation: rows of a partition, leaves of its table and range, and SHA-256 over their hashes; no leaves for a table whose rows are none.';

create function batchcortex.disposal_refusal(partition regclass, approving boolean) returns table (sqlstate text, refusal text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    span record;
    login bigint := batchcortex.login_oid();
    names text;
    counted record;
begin
    if login is null or batchcortex.current_org_id() is not null then
        return query select 'BC403', 'a disposal is the matter of two people with database logins of their own';
        return;
    end if;
    if current_setting('transaction_isolation') <> 'read committed' then
        return query select 'BC409', 'in a transaction with an older snapshot a hold placed meanwhile would not be seen: use READ COMMITTED';
        return;
    end if;
    if approving then
        -- From here to the end no hold is placed, no time is lengthened.
        lock table batchcortex.retention_policy, batchcortex.batch_retention, batchcortex.legal_hold, batchcortex.legal_hold_release in share mode;
    end if;
    return query select o.sqlstate, o.obstacle from batchcortex.disposal_obstacles(partition) o;
    if found or not approving then
        return;
    end if;
    if not exists (select from batchcortex.disposal_proposal p where p.partition = disposal_refusal.partition::text and p.recorded_at > clock_timestamp() - interval '30 days') then
        return query select 'BC409', format('nobody has proposed to dispose of %s within 30 days', partition);
        return;
    end if;
    if not exists (select from batchcortex.disposal_proposal p
                    where p.partition = disposal_refusal.partition::text
                      -- By name too: a restore into another cluster gives logins other oids.
                      and p.login_oid <> login and p.recorded_by <> pg_get_userbyid(login::oid) and p.recorded_at > clock_timestamp() - interval '30 days') then
        return query select 'BC403', 'a disposal takes two people: whoever proposed it cannot approve it';
        return;
    end if;
    select string_agg(quote_ident(e.evtname), ', ' order by e.evtname) into names
      from pg_event_trigger e join pg_proc f on f.oid = e.evtfoid join pg_language l on l.oid = f.prolang
     where e.evtenabled <> 'D' and l.oid not in (12, 13);
    if names is not null then
        return query select 'BC409', format('event triggers would run while the guard is open: %s', names);
        return;
    end if;
    select s.* into span from batchcortex.partition_span(partition) s;
    select t.org_id, t.row_count, t.leaves into counted from batchcortex.partition_totals(partition) t
     where t.relation_id is not null and t.row_count <> t.leaves limit 1;
    if found then
        return query select 'BC409', format('organisation %s has %s rows and %s sealed leaves in %s: seal first, and see verify()', counted.org_id, counted.row_count, counted.leaves, partition);
        return;
    end if;
    -- What was tampered with is evidence, and stays. Damage in other months is no reason to keep this one.
    return query
        select 'BC409', format('verify() finds %s of %s %s: it is examined first', v.code, v.relation, v.record)
          from batchcortex.verify() v
         where case when v.code not in ('missing_row', 'row_without_leaf', 'wrong_leaf', 'wrong_time') then v.relation <> 'batchcortex.session'
                    when v.relation = 'batchcortex.' || span.relation
                    then left(replace(v.record, '-', ''), 12) collate "C" >= lpad(to_hex((extract(epoch from span.recorded_from) * 1000)::bigint), 12, '0') collate "C"
                     and left(replace(v.record, '-', ''), 12) collate "C" < lpad(to_hex((extract(epoch from span.recorded_to) * 1000)::bigint), 12, '0') collate "C"
                    else false end
         limit 1;
end
$$;
comment on function batchcortex.disposal_refusal(regclass, boolean) is
'Behind propose_disposal and, approving, dispose: why the caller may not dispose of a partition now, as SQLSTATE and a sentence; no row when nothing is in the way. Approving, it locks the tables of retention against new holds until the transaction ends and verifies every log.';

create function batchcortex.propose_disposal(partition regclass, reason text) returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    refused record;
    id uuid;
begin
    perform batchcortex.require_reason(reason);
    select * into refused from batchcortex.disposal_refusal(partition, false) limit 1;
    if found then
        raise exception '%', refused.refusal using errcode = refused.sqlstate, hint = 'batchcortex.list_disposable() shows what stands in the way.';
    end if;
    insert into batchcortex.disposal_proposal as p (partition, reason) values (propose_disposal.partition::text, propose_disposal.reason) returning p.proposal_id into id;
    perform batchcortex.log_event('disposal.proposed', 'partition', partition::text, reason => reason, after => json_build_object('proposal_id', id));
    return id;
end
$$;
comment on function batchcortex.propose_disposal(regclass, text) is
'For the DBA: the first of two people who dispose of an expired partition; another login approves by dispose() within 30 days. Recorded as disposal.proposed in the installation''s log. Returns the proposal''s id. Errors: BC001 its time has not come; BC403 no login; BC409 a hold or a batch''s own date; BC422 not a partition of BatchCortex, no reason.';

create function batchcortex.record_disposal(partition regclass) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    span record;
    proposal record;
    went record;
    name text := partition::text;
    total bigint := 0;
begin
    select s.* into span from batchcortex.partition_span(partition) s;
    select p.* into proposal from batchcortex.disposal_proposal p
     where p.partition = name and p.login_oid <> batchcortex.login_oid() and p.recorded_by <> pg_get_userbyid(batchcortex.login_oid()::oid)
       and p.recorded_at > clock_timestamp() - interval '30 days' order by p.recorded_at desc limit 1;
    if span.relation = 'events_log' then
        -- verify() compares protected, soft-deletable and tracked tables and the structure of the schema with these events: they are told anew.
        for went in execute format('select e.event_id, e.action, e.record_id, e.after, e.recorded_at from %s e
                                     where e.org_id = ''00000000-0000-0000-0000-000000000000''
                                       and e.action in (''table.protected'', ''table.soft_deletable'') order by e.recorded_at', partition) loop
            perform batchcortex.log_event(went.action, 'table', went.record_id, after => went.after,
                reason => format('carried over from event %s of %s', went.event_id, to_char(went.recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')));
        end loop;
        for went in execute format('select e.record_id, e.after from %s e
                                     where e.org_id = ''00000000-0000-0000-0000-000000000000'' and e.action = ''schema.structure''
                                       and not exists (select from batchcortex.events_log l where l.org_id = e.org_id and l.action = e.action
                                                          and (l.recorded_at, l.event_id) > (e.recorded_at, e.event_id))', partition) loop
            perform batchcortex.log_event('schema.structure', 'schema_migration', went.record_id, after => went.after, reason => format('carried over from %s', name));
        end loop;
        -- The newest event of each witness, and of each end of an incarnation that was asked for: as they were, for they are compared whole.
        for went in execute format('select e.action, e.record_type, e.record_id, e.before, e.after, e.reason from %s e
                                     where e.org_id = ''00000000-0000-0000-0000-000000000000''
                                       and e.action in (''witness.added'', ''witness.retired'', ''ledger.incarnation_requested'')
                                       and not exists (select from batchcortex.events_log l where l.org_id = e.org_id and l.record_id = e.record_id
                                                          and l.action in (''witness.added'', ''witness.retired'', ''ledger.incarnation_requested'')
                                                          and (l.recorded_at, l.event_id) > (e.recorded_at, e.event_id))', partition) loop
            perform batchcortex.log_event(went.action, went.record_type, went.record_id, before => went.before, after => went.after,
                reason => went.reason, org_id => '00000000-0000-0000-0000-000000000000');
        end loop;
        -- Which tables are tracked, as the register says: dispose() is refused while verify() finds that it differs from what was told.
        for went in select format('%I.%I', n.nspname, c.relname) as relation,
                           json_build_object('org_column', t.org_column, 'require_reason', t.require_reason, 'left_out', t.left_out, 'masked', t.masked) as told
                      from batchcortex.tracked_table t join pg_class c on c.oid = t.relation join pg_namespace n on n.oid = c.relnamespace loop
            perform batchcortex.log_event('table.tracked', 'table', went.relation, after => went.told, reason => format('carried over from %s', name));
        end loop;
    end if;
    for went in
        insert into batchcortex.partition_disposal as d (org_id, relation, relation_id, partition, recorded_from, recorded_to, row_count, leaves, leaves_sha256,
                                                         reason, proposed_by, proposed_login_oid)
        select t.org_id, span.relation, t.relation_id, name, span.recorded_from, span.recorded_to, t.row_count, t.leaves, t.leaves_sha256,
               proposal.reason, proposal.recorded_by, proposal.login_oid
          from batchcortex.partition_totals(partition) t
        returning d.* loop
        total := total + went.row_count;
        perform batchcortex.log_event('partition.disposed', 'partition', name, org_id => went.org_id, reason => proposal.reason,
            after => json_build_object('disposal_id', went.disposal_id, 'table', span.relation,
                'from', to_char(span.recorded_from at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                'to', to_char(span.recorded_to at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                'rows', went.row_count, 'leaves', went.leaves, 'leaves_sha256', encode(went.leaves_sha256, 'hex'),
                'proposed_by', proposal.recorded_by, 'approved_by', went.recorded_by));
    end loop;
    return total;
end
$$;
comment on function batchcortex.record_disposal(regclass) is
'Behind dispose: one row of partition_disposal and one event partition.disposed for each organisation concerned and for the installation; returns the number of rows that go. Refused outside dispose() (BC001).';

comment on function batchcortex.retention_classes() is
'Classes of records as the library knows them: the table that holds each, and the least time that it is kept, in months and days.';
comment on function batchcortex.login_oid() is
'Oid of the login that the server authenticated when the session began, whatever SET ROLE and SET SESSION AUTHORIZATION have made of it since; null in a process of the server.';
comment on function batchcortex.leaves_between(uuid, integer, timestamptz, timestamptz) is
'Leaves of an organisation''s log that stand for records of a table (ledger_relation.relation_id) made in [from, to) by the time of their key: how many, and SHA-256 over their hashes, 32 bytes each, in the order of the log.';
