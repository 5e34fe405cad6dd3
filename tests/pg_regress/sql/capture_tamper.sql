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
-- The register is compared with what the log tells, from the first event on.
create temp view registered as select code, relation, record, detail from batchcortex.verify('00000000-0000-0000-0000-000000000000')
  where relation = 'batchcortex.tracked_table' and record not like '%writer%';
begin;
alter table batchcortex.tracked_table disable trigger all;
savepoint s;
delete from batchcortex.tracked_table where relation = 'capture_behind.t'::regclass;
select * from registered;
select batchcortex.track('capture_behind.t', mask => '{note}');
rollback to s;
delete from batchcortex.tracked_table where relation = 'capture_behind.t'::regclass;
select batchcortex.untrack('capture_behind.t', 'the register was emptied by hand');
select batchcortex.track('capture_behind.t', mask => '{note}');
select * from registered;
rollback to s;
update batchcortex.tracked_table set left_out = '{}' where relation = 'capture_behind.t'::regclass;
create table capture_behind.other (id integer primary key);
insert into batchcortex.tracked_table (relation, require_reason, left_out, masked) values ('capture_behind.other', false, '{}', '{}');
select * from registered order by record;
rollback;
select batchcortex.untrack('capture_behind.t', 'end of the test');
drop schema capture_behind cascade;
