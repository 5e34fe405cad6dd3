-- What makes a table the organisation's own, append-only, and part of the ledger. Migrations call these on each table they make;
-- make_partitions() calls them on each partition.

create function batchcortex.isolate(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('alter table %s owner to batchcortex_owner', relation);
    execute format('revoke all on table %s from public', relation);
    execute format('alter table %s enable row level security', relation);
    -- FORCE: the owner runs the API's functions, and must be held by the policy like everyone else.
    execute format('alter table %s force row level security', relation);
    execute format('create policy organisation on %s to batchcortex_owner using (org_id = batchcortex.current_org_id()) with check (org_id = batchcortex.current_org_id())', relation);
    perform batchcortex.open_to_auditors(relation);
end
$$;
comment on function batchcortex.isolate(regclass) is
'Puts a table under the one scoping rule: rows of the organisation bound to the transaction, for the owner too; auditors read the organisations granted to their login.';

create function batchcortex.open_to_auditors(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    secrets boolean;
    others text;
begin
    -- Auditors have no use for what credentials are checked against, hashed or not.
    select coalesce(bool_or(secret), false), string_agg(quote_ident(attname), ', ' order by attnum) filter (where not secret)
      into secrets, others
      from (select a.attname, a.attnum, a.attname ~ '(token|password|secret|code).*(sha256|hash)|secret|password' as secret
              from pg_attribute a where a.attrelid = relation and a.attnum > 0 and not a.attisdropped) c;
    execute format('revoke all on table %s from batchcortex_auditor', relation);
    if secrets then
        execute format('grant select (%s) on table %s to batchcortex_auditor', others, relation);
    else
        execute format('grant select on table %s to batchcortex_auditor', relation);
    end if;
    if exists (select from pg_policy p where p.polrelid = relation and p.polname = 'auditor') then
        execute format('drop policy auditor on %s', relation);
    end if;
    -- In a sub-select, so that it is asked once a query and becomes an index condition.
    execute format('create policy auditor on %s for select to batchcortex_auditor using (org_id = any ((select batchcortex.auditor_organisations())::uuid[]))', relation);
end
$$;
comment on function batchcortex.open_to_auditors(regclass) is
'Lets batchcortex_auditor read the rows of organisations granted to the login of the session, without columns that hold secrets or their hashes.';

create function batchcortex.open_global_log(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('create policy global_log on %s for select to batchcortex_owner, batchcortex_auditor using (org_id = ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid)', relation);
end
$$;
comment on function batchcortex.open_global_log(regclass) is
'Lets the API''s functions and every auditor read the rows of the global log: sizes and hashes, which name no organisation.';

create function batchcortex.make_append_only(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Row triggers of a partitioned table reach its partitions; statement triggers do not, so each partition gets its own.
    if not (select relispartition from pg_class where oid = relation) then
        execute format('create trigger append_only before update or delete on %s for each row execute function batchcortex.refuse_change()', relation);
    end if;
    execute format('create trigger append_only_truncate before truncate on %s for each statement execute function batchcortex.refuse_change()', relation);
    if (select relnamespace = 'batchcortex'::regnamespace from pg_class where oid = relation) then
        -- UPDATE stays: locking a row that a foreign key refers to asks for it.
        execute format('revoke delete, truncate on table %s from batchcortex_owner', relation);
    end if;
    -- ALWAYS: session_replication_role = replica skips ordinary triggers.
    if not (select relispartition from pg_class where oid = relation) then
        execute format('alter table %s enable always trigger append_only', relation);
    end if;
    execute format('alter table %s enable always trigger append_only_truncate', relation);
end
$$;
comment on function batchcortex.make_append_only(regclass) is
'Refuses UPDATE, DELETE and TRUNCATE of a table by triggers that fire in every replication role (SQLSTATE BC001).';

create function batchcortex.make_single_writer(relation regclass, changes text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- For each row: what logical replication applies fires no statement triggers, TRUNCATE aside.
    execute format('create trigger single_writer before %s on %s for each row execute function batchcortex.refuse_writers()', changes, relation);
    execute format('create trigger single_writer_truncate before truncate on %s for each statement execute function batchcortex.refuse_writers()', relation);
    execute format('alter table %s enable always trigger single_writer', relation);
    execute format('alter table %s enable always trigger single_writer_truncate', relation);
    execute format('revoke insert, update, delete, truncate on table %s from batchcortex_owner', relation);
end
$$;
comment on function batchcortex.make_single_writer(regclass, text) is
'Refuses changes of rows of the kinds named (as in CREATE TRIGGER), and TRUNCATE, to everyone but the part of the project that writes the table: the sealer, or the register of tracked tables (SQLSTATE BC001).';

create function batchcortex.make_leaves(relation regclass, domain text, key_column name, stamp regprocedure) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    id integer;
begin
    insert into batchcortex.ledger_relation (relation, domain, org_column, key_columns, hashed)
        values (relation, domain, 'org_id', array[key_column], true) returning relation_id into id;
    execute format('create trigger leaf_stamp before insert on %s for each row execute function %s(%L, %L, %L)',
                   relation, stamp::regproc, id, domain, key_column);
    execute format('create trigger leaf_enqueue after insert on %s for each row execute function batchcortex.leaf_enqueue(%L, %L, %L)',
                   relation, id, domain, key_column);
    execute format('alter table %s enable always trigger leaf_stamp', relation);
    execute format('alter table %s enable always trigger leaf_enqueue', relation);
end
$$;
comment on function batchcortex.make_leaves(regclass, text, name, regprocedure) is
'Registers a table with org_id, recorded_at, leaf_hash and a uuid key as a source of leaves: each inserted row is hashed and queued for sealing.';

create function batchcortex.make_partitions(months_ahead integer default 12) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
-- Bounds are written out and read back: a session's own settings must not shift them.
set datestyle = 'ISO'
set timezone = 'UTC'
as $$
declare
    parent regclass;
    month timestamptz;
    partition text;
    made integer := 0;
begin
    for parent in select p.partrelid::regclass
                    from pg_partitioned_table p join pg_class c on c.oid = p.partrelid
                   where c.relnamespace = 'batchcortex'::regnamespace order by c.relname loop
        for i in 0 .. months_ahead loop
            -- Months are UTC months, whatever the session's time zone.
            month := (date_trunc('month', clock_timestamp() at time zone 'UTC') + make_interval(months => i)) at time zone 'UTC';
            partition := format('%s_%s', (select relname from pg_class where oid = parent), to_char(month at time zone 'UTC', 'YYYY_MM'));
            if to_regclass(format('batchcortex.%I', partition)) is not null then
                -- A table of that name that is no partition would stand where the records of a month belong.
                if not exists (select from pg_inherits where inhrelid = to_regclass(format('batchcortex.%I', partition)) and inhparent = parent) then
                    raise exception 'batchcortex.% is not a partition of %', quote_ident(partition), parent
                        using errcode = 'BC503', hint = 'Rename or drop that table.';
                end if;
                continue;
            end if;
            -- Made aside and attached: CREATE TABLE … PARTITION OF would stop every writer for a moment.
            execute format('create table batchcortex.%I (like %s including all)', partition, parent);
            perform batchcortex.isolate(format('batchcortex.%I', partition)::regclass);
            execute format('alter table %s attach partition batchcortex.%I for values from (%L) to (%L)',
                           parent, partition, month, (month at time zone 'UTC' + interval '1 month') at time zone 'UTC');
            perform batchcortex.make_append_only(format('batchcortex.%I', partition)::regclass);
            made := made + 1;
        end loop;
    end loop;
    return made;
end
$$;
comment on function batchcortex.make_partitions(integer) is
'Makes the monthly partitions (UTC months) of every partitioned table of BatchCortex from this month to so many months ahead; returns how many were made. migrate() and the background worker call it.';
