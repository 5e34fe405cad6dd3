-- Sealing goes on whatever a session locks and whatever a database or a role has set, and one process does it.
-- control: A17 A19
\set VERBOSITY terse
set client_min_messages = warning;
create function pg_temp.sealer() returns setof integer language sql as $$
    select pid from pg_stat_activity where backend_type = 'batchcortex sealer' and datname = current_database()
$$;
create function pg_temp.write() returns boolean language sql as $$
    select batchcortex.log_event('regress.sealer', 'thing', '1', org_id => '00000000-0000-0000-0000-000000000000') is not null
$$;
create function pg_temp.sealed() returns boolean language plpgsql as $$
begin
    perform batchcortex.seal();
    return not exists (select from batchcortex.ledger_queue);
end $$;
select pg_temp.write();
select pg_temp.sealed();
-- The lock of an extension can be had by any login, with a function of its own.
create role regress_sealer login;
select pg_temp.write();
begin;
set local role regress_sealer;
create function pg_temp.own() returns integer language sql as 'select 1';
alter function pg_temp.own() depends on extension pg_batchcortex;
select mode from pg_locks where classid = 'pg_extension'::regclass and pid = pg_backend_pid() and granted;
reset role;
select pg_temp.sealed();
rollback;
-- A pass that was not made is not said to be done.
select pg_temp.write();
begin;
lock table batchcortex.ledger_queue in access exclusive mode;
select batchcortex.request_seal(1) is null as waits_in_vain;
rollback;
select pg_temp.sealed();
-- Sealers that are ended are replaced, one at a time, by one that takes nothing from what is set for the database or for roles.
create procedure pg_temp.restart() language plpgsql as $$
declare
    old integer := (select pg_temp.sealer());
begin
    perform pg_terminate_backend(old, 10000);
    for i in 1..200 loop
        perform pg_sleep(0.05);
        perform pg_stat_clear_snapshot();
        exit when exists (select from pg_temp.sealer() s where s <> old);
    end loop;
end $$;
-- One that seals, is there after its first round, and seals again.
create function pg_temp.seals() returns table (sealed boolean, still_there boolean, sealed_again boolean, sealers bigint) language plpgsql as $$
declare
    pid integer;
begin
    sealed := pg_temp.sealed();
    pid := (select pg_temp.sealer());
    sealed_again := pg_temp.sealed();
    perform pg_sleep(0.2);
    perform pg_stat_clear_snapshot();
    still_there := pid = (select pg_temp.sealer());
    sealers := (select count(*) from pg_temp.sealer());
    return next;
end $$;
select pg_temp.write();
call pg_temp.restart();
select * from pg_temp.seals();
\echo another launcher finds the sealer at work
select pg_temp.sealer() as sealer \gset
select count(pg_terminate_backend(pid, 10000)) as launchers from pg_stat_activity where backend_type = 'batchcortex launcher';
select pg_sleep(3) is not null as waited;
select pg_temp.write();
select * from pg_temp.seals();
select :sealer = (select pg_temp.sealer()) as same_sealer;
select count(*) as launchers from pg_stat_activity where backend_type = 'batchcortex launcher';
alter database contrib_regression set role = 'regress_sealer';
select pg_temp.write();
call pg_temp.restart();
select * from pg_temp.seals();
alter database contrib_regression reset role;
alter database contrib_regression set session_authorization = 'regress_sealer';
select pg_temp.write();
call pg_temp.restart();
select * from pg_temp.seals();
alter database contrib_regression reset session_authorization;
alter role all set role = 'regress_sealer';
select pg_temp.write();
call pg_temp.restart();
select * from pg_temp.seals();
alter role all reset role;
-- As somebody who owns the database and is no superuser would set it, all of it at once.
alter database contrib_regression set search_path = 'public';
alter database contrib_regression set default_transaction_read_only = on;
alter database contrib_regression set default_transaction_isolation = 'serializable';
alter database contrib_regression set default_transaction_deferrable = on;
alter database contrib_regression set transaction_read_only = on;
alter database contrib_regression set statement_timeout = 1;
alter database contrib_regression set lock_timeout = 1;
alter database contrib_regression set idle_in_transaction_session_timeout = 1;
alter database contrib_regression set idle_session_timeout = 1;
alter database contrib_regression set row_security = off;
alter database contrib_regression set default_table_access_method = 'none_such';
alter database contrib_regression set plpgsql.extra_errors = 'all';
alter database contrib_regression set standard_conforming_strings = off;
alter database contrib_regression set backslash_quote = off;
alter database contrib_regression set array_nulls = off;
alter database contrib_regression set transform_null_equals = on;
alter database contrib_regression set quote_all_identifiers = on;
alter database contrib_regression set check_function_bodies = on;
alter database contrib_regression set bytea_output = 'escape';
alter database contrib_regression set datestyle = 'SQL, DMY';
alter database contrib_regression set intervalstyle = 'iso_8601';
alter database contrib_regression set timezone = 'Pacific/Kiritimati';
alter database contrib_regression set extra_float_digits = -15;
alter database contrib_regression set lc_time = 'C';
alter database contrib_regression set xmloption = 'document';
alter database contrib_regression set default_text_search_config = 'pg_catalog.german';
alter database contrib_regression set client_encoding = 'LATIN1';
alter database contrib_regression set client_min_messages = 'error';
alter database contrib_regression set exit_on_error = on;
alter database contrib_regression set synchronous_commit = off;
alter database contrib_regression set force_parallel_mode = on;
alter database contrib_regression set plan_cache_mode = 'force_custom_plan';
alter database contrib_regression set enable_indexscan = off;
alter database contrib_regression set jit_above_cost = 0;
alter database contrib_regression set constraint_exclusion = on;
alter database contrib_regression set work_mem = '64kB';
alter database contrib_regression set default_tablespace = 'pg_global';
alter database contrib_regression set temp_tablespaces = 'pg_global';
-- And what a superuser may set.
alter role all set session_replication_role = 'replica';
alter role all set plpgsql.variable_conflict = 'use_column';
alter role all set log_statement = 'all';
select pg_temp.write();
call pg_temp.restart();
select * from pg_temp.seals();
alter database contrib_regression reset all;
alter role all reset session_replication_role;
alter role all reset plpgsql.variable_conflict;
alter role all reset log_statement;
select setconfig from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase where d.datname = 'contrib_regression';
call pg_temp.restart();
select pg_temp.write();
select * from pg_temp.seals();
select batchcortex.make_partitions();
drop role regress_sealer;
-- Nothing takes a transaction id where nothing happens.
select pg_temp.sealed();
create function pg_temp.is_quiet() returns boolean language plpgsql as $$
declare
    before text;
begin
    -- Maintenance takes some now and then.
    for i in 1..10 loop
        before := pg_snapshot_xmax(pg_current_snapshot());
        perform pg_sleep(2.5);
        if before = pg_snapshot_xmax(pg_current_snapshot())::text then
            return true;
        end if;
    end loop;
    return false;
end $$;
select pg_temp.is_quiet();
select * from batchcortex.verify();
