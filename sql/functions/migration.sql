-- The tables are made here and not by CREATE EXTENSION, so that they are ordinary objects: pg_dump saves them and
-- DROP EXTENSION leaves them.

create procedure batchcortex.migrate()
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    step record;
    applied bytea;
    fresh integer[] := '{}';
begin
    if not (select rolsuper from pg_roles where rolname = current_user) then
        raise exception 'migrate() must be run by a superuser' using errcode = '42501';
    end if;
    if current_setting('server_encoding') <> 'UTF8' then
        raise exception 'the database encoding is %, BatchCortex hashes UTF-8', current_setting('server_encoding')
            using errcode = 'BC503', hint = 'Create the database with ENCODING ''UTF8''.';
    end if;
    -- Two migrations at once would see each other's half; the second waits and then finds nothing to do.
    -- Not an advisory lock, which anyone could hold; this mode takes a privilege that only superusers have.
    lock table pg_catalog.pg_extension in share row exclusive mode;

    create table if not exists batchcortex.schema_migration (
        version integer primary key,
        name text not null,
        sha256 bytea not null,
        applied_at timestamptz not null default clock_timestamp(),
        applied_by text not null default session_user
    );
    -- health() says which step the tables stand at.
    grant select on table batchcortex.schema_migration to batchcortex_owner;

    for step in select * from batchcortex.migrations() order by version loop
        select m.sha256 into applied from batchcortex.schema_migration m where m.version = step.version;
        if found then
            if applied <> step.sha256 then
                raise exception 'migration % (%) differs from the one that was applied', step.version, step.name
                    using errcode = 'BC503', hint = 'Install the version of the library that this database was migrated with, or a later release of it.';
            end if;
            continue;
        end if;
        perform batchcortex.apply_migration(step.version);
        insert into batchcortex.schema_migration (version, name, sha256) values (step.version, step.name, step.sha256);
        fresh := fresh || step.version;
    end loop;
    -- Last, because the first steps come before there is a log.
    perform batchcortex.log_event('schema.migrated', 'schema_migration', m.version::text,
                after => json_build_object('name', m.name, 'sha256', encode(m.sha256, 'hex')))
       from batchcortex.schema_migration m where m.version = any (fresh) order by m.version;
    perform batchcortex.make_partitions();
    -- What the tables are is told once a version and major version of PostgreSQL: verify() compares them with it.
    if not batchcortex.is_structure_told() then
        perform batchcortex.log_event('schema.structure', 'schema_migration', (select max(m.version)::text from batchcortex.schema_migration m),
                    after => batchcortex.schema_structure());
    end if;
end
$$;
comment on procedure batchcortex.migrate() is
'Creates or updates the tables of BatchCortex in one transaction: all of it or nothing. Safe to run again. Each applied step is a row of batchcortex.schema_migration and an event of the installation''s log. Errors: 42501 not a superuser; BC503 wrong encoding, or an applied migration differs from the library''s.';

comment on function batchcortex.migrations() is 'The steps of this library in order: number, name, SQL statements, SHA-256 of the statements.';
comment on function batchcortex.schema_structure() is
'What the tables of BatchCortex are now: {"major": version of PostgreSQL, "parts": {part: the first 12 bytes of the SHA-256 of its definition, in hex}}; parts are tables, columns, constraints, indexes, views. migrate() records it as schema.structure.';
comment on function batchcortex.is_structure_told() is 'Behind migrate(): whether an event tells what the tables of the applied version are under this major version of PostgreSQL.';
comment on function batchcortex.apply_migration(integer) is 'Behind migrate(): runs one step that has not been applied, with the guard out of its way.';
