-- A database that keeps records is not dropped, renamed or closed from another database of the server: a copy made earlier could be put
-- in its place. Copying goes on.
-- control: A17
\set VERBOSITY terse
set client_min_messages = warning;
select batchcortex.seal() >= 0 as sealed;
\c postgres
set client_min_messages = warning;
\echo refused
alter database contrib_regression rename to other;
begin;
alter database contrib_regression rename to other;
rollback;
drop database contrib_regression;
drop database contrib_regression with (force);
alter database contrib_regression is_template true;
alter database contrib_regression allow_connections false;
alter database contrib_regression owner to batchcortex_owner;
do $$ begin execute 'alter database contrib_regression rename to other'; end $$;
update pg_database set datname = 'other' where datname = 'contrib_regression';
update pg_database set datallowconn = false where datname = 'contrib_regression';
set allow_system_table_mods = on;
delete from pg_database where datname = 'contrib_regression';
update pg_authid set rolsuper = true where rolname = 'batchcortex_owner';
reset allow_system_table_mods;
\echo goes on
alter database contrib_regression connection limit 50;
alter database contrib_regression connection limit -1;
alter database contrib_regression set work_mem = '4MB';
alter database contrib_regression reset work_mem;
create database regress_plain template template0;
alter database regress_plain rename to regress_other;
alter database regress_other is_template true;
alter database regress_other is_template false;
drop database regress_other;
\c contrib_regression
select count(*) as findings from batchcortex.verify();
