-- Which tables are tracked: the triggers that capture, and the register of them. What they do is in Rust (capture module).

create function batchcortex.track(t regclass, org_column name default null, require_reason boolean default false,
    leave_out name[] default '{}', mask name[] default '{}') returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    named record;
    other regclass;
    problem text;
    arguments text;
begin
    if t is null or require_reason is null or leave_out is null or mask is null or array_position(leave_out || mask, null) is not null then
        raise exception 'track() takes a table, and no nulls but for org_column' using errcode = 'BC422';
    end if;
    select c.oid, c.relkind, c.relpersistence, c.relowner, n.nspname, format('%I.%I', n.nspname, c.relname) as name
      into named from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = t;
    if not found then
        raise exception 'there is no such table' using errcode = 'BC404';
    end if;
    if named.relkind not in ('r', 'p') then
        raise exception '% is not a table', named.name using errcode = 'BC422', hint = 'Track the tables below a view; a foreign table is tracked where it lives.';
    end if;
    if named.relpersistence <> 'p' then
        raise exception '% is % and would lose rows without a trace', t, case named.relpersistence when 't' then 'temporary' else 'unlogged' end
            using errcode = 'BC422', hint = 'ALTER TABLE … SET LOGGED first.';
    end if;
    if named.nspname ~ '^pg_|^information_schema$|^batchcortex(_api)?$' then
        raise exception '% belongs to the server or to BatchCortex', named.name using errcode = 'BC422';
    end if;
    -- No row changes between the check and the first captured one.
    execute format('lock table %s in share row exclusive mode', t);
    select r.relation into other from batchcortex.tracked_table r
     where r.relation::oid = any (array(select a.relid::oid from pg_partition_ancestors(t) a) || t::oid
                                  || array(select p.relid::oid from pg_partition_tree(t) p)) limit 1;
    if found then
        raise exception '% is tracked already%', named.name, case when other <> t then format(', through %s', other) else '' end
            using errcode = 'BC409', hint = 'batchcortex.untrack() first, to track it in another way.';
    end if;
    select string_agg(format('no column %I', n.name), ', ') into problem
      from unnest(leave_out || mask || org_column) as n (name)
     where n.name is not null and not exists (select from pg_attribute a where a.attrelid = t and a.attname = n.name and a.attnum > 0 and not a.attisdropped);
    if problem is null and cardinality(leave_out || mask) <> (select count(distinct n) from unnest(leave_out || mask) n) then
        problem := 'a column is named twice';
    end if;
    if problem is null and org_column is not null
       and not exists (select from pg_attribute a where a.attrelid = t and a.attname = org_column and a.atttypid = 'uuid'::regtype) then
        problem := format('column %I, of the organisation, is not of type uuid', org_column);
    end if;
    if problem is null then
        select string_agg(format('column %I names the record or its organisation and can be neither left out nor masked', n.name), ', ') into problem
          from unnest(leave_out || mask) as n (name)
         where n.name = org_column
            or exists (select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
                        where i.indrelid in (select t union all select p.relid from pg_partition_tree(t) p)
                          and (i.indisprimary or i.indisreplident) and a.attname = n.name);
    end if;
    if problem is not null then
        raise exception '% cannot be tracked so: %', named.name, problem using errcode = 'BC422';
    end if;

    -- Left behind where a dump of the table alone was restored.
    perform batchcortex.drop_unregistered_capture(t);
    arguments := format('%L, %L, %L, %L', coalesce(org_column, ''), case when require_reason then 'reason required' else '' end,
                        array_to_json(leave_out), array_to_json(mask));
    execute format('create trigger "0_batchcortex_row" after insert or update or delete on %s for each row execute function batchcortex.capture_row(%s)', t, arguments);
    execute format('create trigger "0_batchcortex_begin" before insert or update or delete on %s for each statement execute function batchcortex.capture_begin()', t);
    execute format('create trigger "0_batchcortex_end" after insert or update or delete on %s for each statement execute function batchcortex.capture_end()', t);
    execute format('create trigger "0_batchcortex_truncate" before truncate on %s for each statement execute function batchcortex.capture_truncate(%s)', t, arguments);
    -- ALWAYS: session_replication_role = replica and the apply of logical replication skip ordinary triggers.
    execute format('alter table %s enable always trigger "0_batchcortex_row", enable always trigger "0_batchcortex_begin",
                    enable always trigger "0_batchcortex_end", enable always trigger "0_batchcortex_truncate"', t);
    if named.relkind = 'p' then
        -- PostgreSQL copies the row trigger to each new partition in the name of who makes it, and asks for this privilege.
        execute format('grant execute on function batchcortex.capture_row() to %s', named.relowner::regrole);
    end if;
    perform batchcortex.begin_tracking(t, org_column, require_reason, leave_out::text[], mask::text[]);
end
$$;
comment on function batchcortex.track(regclass, name, boolean, name[], name[]) is
'For the DBA: from now on every INSERT, UPDATE, DELETE and TRUNCATE of the table, or of the partitioned table and its partitions, is recorded in events_log in the same transaction, with the row before and after (docs/capture.md). org_column: uuid column that names the organisation whose log takes the events, else the installation''s. require_reason: updates, deletions and TRUNCATE are refused without set_reason() (BC428). leave_out: columns that are not recorded. mask: columns of which only is recorded that they changed. Itself recorded. Errors: BC404 no such table, BC409 tracked already, BC422 not a permanent table, or columns that do not fit.';

create function batchcortex.untrack(t regclass, reason text default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    named record;
begin
    select format('%I.%I', n.nspname, c.relname) as name into named
      from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = t;
    if not found then
        raise exception 'there is no such table' using errcode = 'BC404';
    end if;
    if length(reason) > 4000 then
        raise exception 'a reason has at most 4,000 characters' using errcode = 'BC422';
    end if;
    execute format('lock table %s in share row exclusive mode', t);
    if not batchcortex.end_tracking(t, reason) then
        raise exception '% is not tracked', named.name using errcode = 'BC404',
            hint = case when (select relispartition from pg_class where oid = t) then 'A partition is captured with its partitioned table.' else 'batchcortex.tracked_table lists what is tracked.' end;
    end if;
end
$$;
comment on function batchcortex.untrack(regclass, text) is
'For the DBA: ends what track() began. Itself recorded, with the reason. Errors: BC404 no such table, or not tracked.';

comment on function batchcortex.begin_tracking(oid, text, boolean, text[], text[]) is 'Behind track(): registers a table and records it.';
comment on function batchcortex.end_tracking(oid, text) is 'Behind untrack(): takes a table from the register, records it and drops its triggers; false when it was not tracked.';
comment on function batchcortex.drop_unregistered_capture(oid) is 'Behind track(): drops capture triggers of a table that is not registered, as a restored one may have.';

comment on function batchcortex.set_reason(text) is
'Says why rows of tracked tables are changed: recorded with every change from here to the end of the transaction, or to ROLLBACK TO an earlier savepoint; null ends it before. 1 to 4,000 characters. Not a setting: no configuration file, role or session can hold one. Errors: BC422.';
comment on function batchcortex.capture_row() is
'AFTER INSERT, UPDATE or DELETE row trigger of tracked tables (arguments: column of the organisation or empty, ''reason required'' or empty, columns left out and columns masked as JSON arrays): records the row before and after in events_log.';
comment on function batchcortex.capture_by_hand() is
'AFTER INSERT, UPDATE or DELETE row trigger of tables of BatchCortex whose rows may change (arguments as capture_row): records what no function of BatchCortex does.';
comment on function batchcortex.capture_begin() is 'BEFORE statement trigger of tracked tables: from here on the statement''s rows are gathered, to be stored at once.';
comment on function batchcortex.capture_end() is 'AFTER statement trigger of tracked tables: stores what was gathered.';
comment on function batchcortex.capture_truncate() is 'BEFORE TRUNCATE trigger of tracked tables (arguments as capture_row): records every row that goes, and the truncation.';
