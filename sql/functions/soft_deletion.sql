-- Soft deletion of rows of a DBA's own table: a tombstone with a reason beside it, and no other way.

create function batchcortex.tombstone_stamp() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- What a statement says about when and who does not count.
    new.deleted_at := clock_timestamp();
    new.deleted_by := session_user;
    return new;
end
$$;
comment on function batchcortex.tombstone_stamp() is 'BEFORE INSERT trigger of tombstones: sets deleted_at to the server''s time and deleted_by to the session''s user.';

create function batchcortex.keep_rows(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- For each row: what comes through a parent, by a cascade or by logical replication fires no statement trigger here, TRUNCATE aside.
    execute format('create trigger keep_rows before delete on %s for each row execute function batchcortex.refuse_delete()', relation);
    execute format('create trigger keep_rows_truncate before truncate on %s for each statement execute function batchcortex.refuse_delete()', relation);
    execute format('alter table %1$s enable always trigger keep_rows, enable always trigger keep_rows_truncate', relation);
end
$$;
comment on function batchcortex.keep_rows(regclass) is
'Refuses DELETE and TRUNCATE of a table by triggers that fire in every replication role (SQLSTATE BC001); rows may be changed.';

create function batchcortex.make_soft_deletable(t regclass) returns regclass
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    c pg_class;
    space text;
    keys name[];
    tombstone text;
    living text;
begin
    if not (select rolsuper from pg_roles where rolname = current_user) then
        raise exception 'make_soft_deletable() must be run by a superuser' using errcode = '42501';
    end if;
    select * into c from pg_class where oid = t;
    if not found or c.relkind <> 'r' or c.relpersistence <> 'p' or c.relispartition or exists (select from pg_inherits i where t in (i.inhrelid, i.inhparent)) then
        raise exception '% is not an ordinary permanent table', t using errcode = 'BC422', hint = 'Partitions and heirs could be taken away with their rows.';
    end if;
    if c.relnamespace in ('batchcortex'::regnamespace, 'pg_catalog'::regnamespace, 'information_schema'::regnamespace) then
        raise exception '% is not a table of yours', t using errcode = 'BC422', hint = 'Records of BatchCortex are not deleted at all.';
    end if;
    if exists (select from batchcortex.ledger_relation r where r.relation = t) then
        raise exception '% is protected: its rows are not deleted at all', t using errcode = 'BC409';
    end if;
    execute format('lock table %s in share row exclusive mode', t);
    select array_agg(a.attname order by k.n) into keys
      from pg_index i cross join lateral unnest(i.indkey::smallint[]) with ordinality as k (attnum, n)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
     where i.indrelid = t and i.indisprimary and k.n <= i.indnkeyatts;
    if keys is null then
        raise exception '% has no primary key: a tombstone could not name its rows', t using errcode = 'BC422';
    end if;
    if keys && '{reason,deleted_at,deleted_by}'::name[] then
        raise exception 'the primary key of % has a column named as one of the tombstone''s', t using errcode = 'BC422';
    end if;
    if exists (select from pg_trigger g where g.tgrelid = t and g.tgfoid = 'batchcortex.refuse_delete()'::regprocedure) then
        raise exception '% is soft-deletable already', t using errcode = 'BC409';
    end if;
    -- Quoted where it must be.
    space := c.relnamespace::regnamespace::text;
    tombstone := format('%s.%I', space, left(c.relname, 50) || '_tombstone');
    living := format('%s.%I', space, left(c.relname, 50) || '_living');
    if to_regclass(tombstone) is not null or to_regclass(living) is not null then
        raise exception '% or % exists', tombstone, living using errcode = 'BC409';
    end if;
    execute format('create table %s (%s, reason text not null check (btrim(reason) <> '''' and length(reason) <= 4000), deleted_at timestamptz not null,
                                     deleted_by text not null, primary key (%s), constraint tombstone_of foreign key (%s) references %s (%s))', tombstone,
        (select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by k.n)
           from unnest(keys) with ordinality k (name, n) join pg_attribute a on a.attrelid = t and a.attname = k.name),
        (select string_agg(quote_ident(k), ', ') from unnest(keys) k), (select string_agg(quote_ident(k), ', ') from unnest(keys) k),
        t, (select string_agg(quote_ident(k), ', ') from unnest(keys) k));
    execute format('alter table %s owner to %s', tombstone, c.relowner::regrole);
    execute format('create trigger by_session before insert on %s for each row execute function batchcortex.tombstone_stamp()', tombstone);
    execute format('alter table %s enable always trigger by_session', tombstone);
    execute format('create view %s %s as select r.* from %s r where not exists (select from %s d where %s)', living,
        case when current_setting('server_version_num')::integer >= 150000 then 'with (security_invoker = true)' end, t, tombstone,
        (select string_agg(format('d.%1$I = r.%1$I', k), ' and ') from unnest(keys) k));
    execute format('alter view %s owner to %s', living, c.relowner::regrole);
    perform batchcortex.keep_rows(t);
    -- A view takes no trigger that is ENABLE ALWAYS, and needs none: this one marks it as guarded.
    execute format('create trigger keep_rows before delete on %s for each statement execute function batchcortex.refuse_delete()', living);
    perform batchcortex.protect(tombstone::regclass);
    perform batchcortex.log_event('table.soft_deletable', 'table', t::text, after => json_build_object('tombstones', tombstone, 'living', living));
    return tombstone::regclass;
end
$$;
comment on function batchcortex.make_soft_deletable(regclass) is
'For the DBA: from now on rows of an ordinary table with a primary key are deleted by a tombstone with a reason, and DELETE and TRUNCATE are refused to everyone (BC001), superusers and every replication role included; the guard keeps the trigger and the table. Adds no column: beside the table stand name_tombstone (append-only, its rows are leaves of the installation''s log; INSERT into it deletes) and the view name_living. Returns the tombstones'' table. Errors: 42501 not a superuser; BC409 done already, protected, names taken; BC422 not an ordinary table, no primary key.';

create function batchcortex.soft_delete(t regclass, key json, reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    tombstone regclass;
    keys text;
    given text;
begin
    perform batchcortex.require_reason(reason);
    select k.conrelid::regclass, c.keys, c.given into tombstone, keys, given
      from pg_constraint k join batchcortex.ledger_relation r on r.relation = k.conrelid
     cross join lateral (select string_agg(format('%I', a.attname), ', ' order by n.i) as keys, string_agg(format('p.%I', a.attname), ', ' order by n.i) as given
                           from unnest(k.conkey) with ordinality n (attnum, i) join pg_attribute a on a.attrelid = k.conrelid and a.attnum = n.attnum) c
     where k.confrelid = t and k.conname = 'tombstone_of' and k.contype = 'f';
    if not found then
        raise exception '% is not soft-deletable', t using errcode = 'BC422', hint = 'batchcortex.make_soft_deletable(table)';
    end if;
    begin
        execute format('insert into %s (%s, reason) select %s, $2 from json_populate_record(null::%s, $1) p', tombstone, keys, given, tombstone)
            using key, reason;
    exception
        when foreign_key_violation or not_null_violation then
            raise exception 'no row of % has the key %', t, key using errcode = 'BC404';
        when unique_violation then
            raise exception 'the row % of % is deleted already', key, t using errcode = 'BC409';
    end;
    perform batchcortex.log_event('record.deleted', t::text, left(key::text, 500), reason => reason);
end
$$;
comment on function batchcortex.soft_delete(regclass, json, text) is
'For the DBA: deletes a row of a soft-deletable table by a tombstone; key: a JSON object with the primary key''s columns. Whoever may INSERT into the tombstones'' table can delete by that alone. Recorded as record.deleted. Errors: BC404 no such row; BC409 deleted already; BC422 not soft-deletable, no reason.';
