-- needs: batchcortex.break_glass
-- A migration that fails midway leaves nothing behind.
-- control: B16
\set VERBOSITY terse
set client_min_messages = warning;
begin;
drop extension pg_batchcortex cascade;
drop schema batchcortex cascade;
create extension pg_batchcortex;
-- In the way of the last step.
create table batchcortex.ingest_receipt (x integer);
savepoint before;
call batchcortex.migrate();
rollback to before;
select c.relname from pg_class c where c.relnamespace = 'batchcortex'::regnamespace and c.relkind in ('r', 'p', 'v') order by 1;
drop table batchcortex.ingest_receipt;
call batchcortex.migrate();
select count(*) as steps from batchcortex.schema_migration;
rollback;
-- An applied step that is not the library's own is noticed.
begin;
alter table batchcortex.schema_migration disable trigger all;
update batchcortex.schema_migration set sha256 = sha256('other') where version = 2;
call batchcortex.migrate();
rollback;
