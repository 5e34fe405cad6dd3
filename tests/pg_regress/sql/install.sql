-- The extension, its tables, and what migrating twice does.
-- control: B16
\set VERBOSITY terse
set client_min_messages = warning;
create extension pg_batchcortex;
call batchcortex.migrate();
select version, name from batchcortex.schema_migration order by version;
call batchcortex.migrate();
select count(*) as applied_again from batchcortex.schema_migration where applied_at > (select min(applied_at) from batchcortex.schema_migration) + interval '1 hour';
-- Each step is an event of the installation's log.
select action, record_id, actor_kind from batchcortex.events_log where action = 'schema.migrated' order by record_id;
-- Tables are ordinary objects, functions are members of the extension.
select count(*) as member_tables
  from pg_depend d join pg_class c on c.oid = d.objid and d.classid = 'pg_class'::regclass
 where d.deptype = 'e' and d.refobjid = (select oid from pg_extension where extname = 'pg_batchcortex');
-- Only a superuser migrates.
create role regress_nobody;
set role regress_nobody;
call batchcortex.migrate();
reset role;
drop role regress_nobody;
