-- needs: batchcortex.break_glass
-- verify says when a table that should be captured is not, or not as it was told.
-- control: B11
\set VERBOSITY terse
set client_min_messages = warning;
create schema capture_behind;
create table capture_behind.t (id integer primary key, note text);
select batchcortex.track('capture_behind.t', leave_out => '{note}');
create temp view finding as select code, relation, record, detail from batchcortex.verify('00000000-0000-0000-0000-000000000000') where record like '0_batchcortex%';
select * from finding;
begin;
savepoint s;
alter table capture_behind.t disable trigger "0_batchcortex_row";
select * from finding;
rollback to s;
drop trigger "0_batchcortex_truncate" on capture_behind.t;
create trigger "0_batchcortex_truncate" before truncate on capture_behind.t execute function batchcortex.capture_truncate('', '', '[]', '[]');
alter table capture_behind.t enable always trigger "0_batchcortex_truncate";
drop trigger "0_batchcortex_end" on capture_behind.t;
select * from finding;
rollback to s;
drop table capture_behind.t;
select code, relation ~ '^\d+$' as by_oid, record, detail from finding;
rollback;
select batchcortex.untrack('capture_behind.t', 'end of the test');
drop schema capture_behind cascade;
