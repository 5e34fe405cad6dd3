-- Partitioned tables: partitions of every age, written through the parent or by their own name, rows that move, TRUNCATE.
-- control: B11 B32
\set VERBOSITY terse
\set SHOW_CONTEXT never
begin;
create schema cp;
create temp table shown (event_id uuid primary key);
create function pg_temp.news() returns table (action text, record_type text, record_id text, before json, after json) language sql as $$
    with fresh as (insert into shown select e.event_id from batchcortex.events_log e where record_type like 'cp.%' on conflict do nothing returning event_id)
    select e.action, e.record_type, e.record_id, e.before, e.after from batchcortex.events_log e join fresh using (event_id) order by e.recorded_at, e.event_id
$$;
create table cp.run (id integer, kind text, note text, secret text, primary key (id, kind)) partition by list (kind);
create table cp.run_a partition of cp.run for values in ('a');
-- Another order of columns, and a dropped one.
create table cp.run_b (gone integer, secret text, kind text not null, id integer not null, note text, primary key (id, kind));
alter table cp.run_b drop column gone;
alter table cp.run attach partition cp.run_b for values in ('b');
select batchcortex.track('cp.run', mask => '{secret}');
select tgrelid::regclass, tgname, tgenabled from pg_trigger where tgname like '0_batchcortex%' order by 1, 2;
-- Later ones: made, attached, and a level below.
create table cp.run_c partition of cp.run for values in ('c') partition by range (id);
create table cp.run_c1 partition of cp.run_c for values from (0) to (100);
create table cp.run_d (like cp.run including all);
insert into cp.run_d values (1, 'd', 'was there before', 's');
alter table cp.run attach partition cp.run_d for values in ('d');
create table cp.run_other partition of cp.run default;
select tgrelid::regclass, tgenabled from pg_trigger where tgname = '0_batchcortex_row' order by 1;
select * from pg_temp.news();
insert into cp.run values (1, 'a', 'through the root', 's'), (1, 'b', null, 's'), (1, 'c', null, 's'), (1, 'z', null, 's');
select * from pg_temp.news();
insert into cp.run_a values (2, 'a', 'by its own name', 's');
insert into cp.run_c values (2, 'c', 'from the middle', 's');
insert into cp.run_c1 values (3, 'c', 'from below', 's');
update cp.run_b set note = 'x';
delete from cp.run_d;
copy cp.run_c1 from stdin;
4	c	copied	s
\.
select * from pg_temp.news();
-- A row that moves leaves one partition and enters another.
update cp.run set id = 7, kind = 'a', note = 'moved' where kind = 'b';
-- NO KEY update, all partitions at once.
update cp.run set note = 'all';
select * from pg_temp.news();
merge into cp.run r using (values (1, 'a'), (9, 'b')) v (id, kind) on r.id = v.id and r.kind = v.kind
    when matched then delete when not matched then insert values (v.id, v.kind, 'merged', 's');
select * from pg_temp.news();
-- TRUNCATE of a partition by its own name, of a middle one, of the root; each row once.
truncate cp.run_a;
select * from pg_temp.news();
insert into cp.run values (5, 'a', null, 's');
truncate cp.run_c, cp.run_a;
select * from pg_temp.news();
truncate cp.run_a;
truncate cp.run;
select * from pg_temp.news();
select count(*) from cp.run;
-- A table that is tracked itself and then becomes a partition.
create table cp.own (id integer primary key);
select batchcortex.track('cp.own');
create table cp.above (id integer primary key) partition by range (id);
alter table cp.above attach partition cp.own for values from (0) to (10);
insert into cp.above values (1);
update cp.above set id = 2;
select * from pg_temp.news();
-- Inheritance of the old kind: each table is tracked by itself.
create table cp.parent (id integer primary key);
create table cp.child (more text) inherits (cp.parent);
select batchcortex.track('cp.parent');
select batchcortex.track('cp.child');
insert into cp.child values (1, 'x');
insert into cp.parent values (2);
update cp.parent set id = id + 10;
select * from pg_temp.news();
-- Reasons are asked for on partitions, too.
select batchcortex.untrack('cp.run');
select count(*) as triggers_left from pg_trigger g join pg_class c on c.oid = g.tgrelid where c.relname like 'run%' and tgname like '0_batchcortex%';
select batchcortex.track('cp.run', require_reason => true, leave_out => '{secret}');
insert into cp.run_b (id, kind) values (1, 'b');
savepoint s;
update cp.run_b set note = 'x';
rollback to s;
truncate cp.run_b;
rollback to s;
savepoint t;
-- Who is tracked through whom.
select batchcortex.track('cp.run_a');
rollback to t;
select batchcortex.untrack('cp.run_a');
rollback to t;
create table cp.single (id integer primary key);
select batchcortex.track('cp.single');
create table cp.top (id integer primary key) partition by range (id);
alter table cp.top attach partition cp.single for values from (0) to (10);
select batchcortex.track('cp.top');
rollback to t;
-- An owner who is no superuser makes partitions; a trigger put on by hand writes nothing.
create role cap_owner;
grant all on schema cp to cap_owner;
create table cp.theirs (id integer primary key) partition by range (id);
alter table cp.theirs owner to cap_owner;
select batchcortex.track('cp.theirs');
set local role cap_owner;
create table cp.theirs_1 partition of cp.theirs for values from (0) to (10);
insert into cp.theirs values (1);
insert into cp.theirs_1 values (2);
truncate cp.theirs_1;
reset role;
select action, record_id, before, after from pg_temp.news() where record_type = 'cp.theirs';
create table cp.forged (id integer primary key);
create trigger "0_batchcortex_row" after insert on cp.forged for each row execute function batchcortex.capture_row('', '', '[]', '[]');
savepoint f;
insert into cp.forged values (1);
rollback to f;
-- It can be tracked all the same.
select batchcortex.track('cp.forged');
insert into cp.forged values (1);
select action, record_id from pg_temp.news();
rollback;
