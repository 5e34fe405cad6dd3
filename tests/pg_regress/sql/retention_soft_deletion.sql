-- Soft deletion: a tombstone with a reason, no hard delete, no column added; the audit trail knows no deletion at all.
-- control: B19 B34
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
create schema "Regress Soft";
drop role if exists regress_soft;
create role regress_soft;
create table "Regress Soft"."Order" (id integer, line text, amount numeric not null, primary key (line, id));
alter table "Regress Soft"."Order" owner to regress_soft;
grant usage on schema "Regress Soft" to regress_soft;
insert into "Regress Soft"."Order" select i, 'a', i from generate_series(1, 5) i;
select batchcortex.make_soft_deletable('"Regress Soft"."Order"');
select attname from pg_attribute where attrelid = '"Regress Soft"."Order"'::regclass and attnum > 0 order by attnum;
select batchcortex.soft_delete('"Regress Soft"."Order"', '{"id": 2, "line": "a"}', 'entered twice');
select id, amount from "Regress Soft"."Order_living" order by id;
select id, reason, deleted_by = session_user as by_me, deleted_at <= clock_timestamp() as in_time from "Regress Soft"."Order_tombstone";
select count(*) as told from batchcortex.events_log where action = 'record.deleted' and reason = 'entered twice' and org_id = '00000000-0000-0000-0000-000000000000';
-- The record itself is there, and may be changed while it lives.
select count(*) from "Regress Soft"."Order";
update "Regress Soft"."Order" set amount = 30 where id = 3;
-- By a plain role, with a tombstone alone; when and who are the server's.
set role regress_soft;
insert into "Regress Soft"."Order_tombstone" (id, line, reason, deleted_at, deleted_by) values (4, 'a', 'obsolete', '1999-01-01', 'nobody');
insert into "Regress Soft"."Order_tombstone" (id, line, reason) values (5, 'a', ' ');
reset role;
select id, deleted_by = session_user as by_me, deleted_at > '2000-01-01' as in_time from "Regress Soft"."Order_tombstone" order by id;
\echo refused
select batchcortex.soft_delete('"Regress Soft"."Order"', '{"id": 2, "line": "a"}', 'again');
select batchcortex.soft_delete('"Regress Soft"."Order"', '{"id": 9, "line": "a"}', 'not there');
select batchcortex.soft_delete('"Regress Soft"."Order"', '{"id": 3}', 'half a key');
select batchcortex.soft_delete('"Regress Soft"."Order"', '{"id": 3, "line": "a"}', '');
select batchcortex.soft_delete('batchcortex.events_log', '{}', 'audit rows are never deleted');
delete from "Regress Soft"."Order" where id = 1;
delete from "Regress Soft"."Order" where false;
with gone as (delete from "Regress Soft"."Order" returning *) select * from gone;
merge into "Regress Soft"."Order" o using (values (1)) v (id) on o.id = v.id when matched then delete;
truncate "Regress Soft"."Order" cascade;
set session_replication_role = replica;
delete from "Regress Soft"."Order";
reset session_replication_role;
alter table "Regress Soft"."Order" disable trigger keep_rows;
alter table "Regress Soft"."Order" disable trigger all;
drop trigger keep_rows on "Regress Soft"."Order";
drop table "Regress Soft"."Order" cascade;
drop schema "Regress Soft" cascade;
delete from "Regress Soft"."Order_tombstone";
update "Regress Soft"."Order_tombstone" set reason = 'another';
alter table "Regress Soft"."Order_tombstone" drop constraint tombstone_of;
update "Regress Soft"."Order" set id = 20 where id = 2;
\echo not these tables
select batchcortex.make_soft_deletable('"Regress Soft"."Order"');
select batchcortex.make_soft_deletable('"Regress Soft"."Order_tombstone"');
select batchcortex.make_soft_deletable('batchcortex.batch');
create table "Regress Soft".keyless (a integer);
select batchcortex.make_soft_deletable('"Regress Soft".keyless');
create table "Regress Soft".parted (a integer primary key) partition by range (a);
select batchcortex.make_soft_deletable('"Regress Soft".parted');
set role regress_soft;
select batchcortex.make_soft_deletable('"Regress Soft"."Order"');
reset role;
select batchcortex.seal() >= 0 as sealed;
select count(*) as findings from batchcortex.verify();
-- Audit rows: no column could hide one.
select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 where c.relnamespace = 'batchcortex'::regnamespace and c.relkind in ('r', 'p')
   and (c.relname ~ '^(events_log|sample_segment|login_attempt|partition_disposal|legal_hold|disposal_proposal|retention_policy|batch_retention)'
        or exists (select from batchcortex.ledger_relation r where r.relation = c.oid))
   and a.attname ~ 'delet|hidden|archiv|tombstone|is_active|valid_to|removed';
