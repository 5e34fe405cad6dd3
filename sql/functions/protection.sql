-- Tables of others under the same protection.

create function batchcortex.protect(t regclass, org_column name default null) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    c pg_class;
    keys name[];
    id integer;
    leaf_domain text;
    part record;
    present bigint;
begin
    if not (select rolsuper from pg_roles where rolname = current_user) then
        raise exception 'protect() must be run by a superuser' using errcode = '42501';
    end if;
    select * into c from pg_class where oid = t;
    if not found then
        raise exception 'protect() takes a table' using errcode = 'BC422';
    end if;
    if c.relkind not in ('r', 'p') or c.relpersistence <> 'p' then
        raise exception '% is not a permanent table', t using errcode = 'BC422';
    end if;
    if c.relnamespace in ('batchcortex'::regnamespace, 'pg_catalog'::regnamespace, 'information_schema'::regnamespace) then
        raise exception '% is not a table to be protected', t using errcode = 'BC422';
    end if;
    if c.relispartition then
        raise exception '% is a partition of %', t, pg_partition_root(t)
            using errcode = 'BC422', hint = 'Protect the partitioned table: its partitions come along.';
    end if;
    -- No row may come while those that are there are counted and the triggers are not yet in place.
    execute format('lock table %s in share row exclusive mode', t);
    if exists (select from pg_inherits i join pg_class p on p.oid = i.inhparent
                where i.inhrelid = t or i.inhparent = t and p.relkind <> 'p') then
        raise exception '% inherits, or is inherited from: its rows would be those of another table too', t using errcode = 'BC422';
    end if;
    if exists (select from batchcortex.ledger_relation r where r.relation = t) then
        raise exception '% is protected already', t using errcode = 'BC409';
    end if;
    select array_agg(a.attname order by k.n) into keys
      from pg_index i cross join lateral unnest(i.indkey::smallint[]) with ordinality as k (attnum, n)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
     where i.indrelid = t and i.indisprimary and k.n <= i.indnkeyatts;
    if keys is null then
        raise exception '% has no primary key: its records could not be named', t using errcode = 'BC422';
    end if;
    if org_column is not null and not exists (select from pg_attribute a where a.attrelid = t and a.attname = org_column and a.attnum > 0
                                                 and not a.attisdropped and a.atttypid = 'uuid'::regtype) then
        raise exception '% has no column % of type uuid', t, quote_ident(org_column) using errcode = 'BC422';
    end if;

    leaf_domain := 'table:' || left(t::text, 200);
    if exists (select from batchcortex.ledger_relation r where r.domain = leaf_domain) then
        -- A table of this name was protected before and has been renamed or removed behind broken glass.
        leaf_domain := leaf_domain || ' ' || gen_random_uuid();
    end if;
    -- Each leaf carries the number in two bytes. Numbers are never used twice.
    begin
        id := nextval(pg_get_serial_sequence('batchcortex.ledger_relation', 'relation_id'));
    exception when sequence_generator_limit_exceeded then
        id := null;
    end;
    if id is null or id not between 1 and 65535 or exists (select from batchcortex.ledger_relation r where r.relation_id = id) then
        raise exception '% cannot be protected: its number would be %', t, coalesce(id::text, 'above 65535')
            using errcode = 'BC409', hint = 'Numbers from 1 to 65535 that no table has are left: somebody has set the sequence of batchcortex.ledger_relation.relation_id.';
    end if;
    insert into batchcortex.ledger_relation (relation_id, relation, domain, org_column, key_columns, hashed, known_triggers)
        overriding system value
        values (id, t, leaf_domain, org_column, keys, false,
                array(select g.tgname from pg_trigger g where g.tgrelid = t and not g.tgisinternal and g.tgtype & 66 <> 0 order by 1));
    execute format('create trigger leaf_enqueue after insert on %s for each row execute function batchcortex.row_enqueue(%L, %L, %L, %s)',
                   t, id, leaf_domain, coalesce(org_column, ''), (select string_agg(quote_literal(k), ', ') from unnest(keys) k));
    execute format('alter table %s enable always trigger leaf_enqueue', t);
    for part in select p.relid from pg_partition_tree(t) p where p.relid <> t loop
        perform batchcortex.make_append_only(part.relid);
    end loop;
    perform batchcortex.make_append_only(t);
    present := batchcortex.enqueue_present_rows(id);
    perform batchcortex.log_event('table.protected', 'table', t::text,
        after => json_build_object('relation_id', id, 'domain', leaf_domain, 'org_column', org_column, 'key_columns', keys, 'rows', present));
    return present;
end
$$;
comment on function batchcortex.protect(regclass, name) is
'Makes a table append-only for everyone, superusers included: privileges aside, triggers and the hooks of the preloaded library refuse UPDATE, DELETE, TRUNCATE, DROP and every ALTER that could lose or hide rows. Its rows, those present and those to come, become leaves of the log of the organisation that org_column (uuid) names, else of the installation''s. Nothing is added to the table. Partitions come along. There is no way back but batchcortex.break_glass. Returns how many rows were there. Recorded as table.protected. Errors: 42501 not a superuser; BC409 protected already, or no number is left for the table; BC422 not a permanent table, no primary key, a partition, or inheritance.';
comment on function batchcortex.enqueue_present_rows(integer) is 'Behind protect(): queues a leaf for each row that a registered table holds.';
