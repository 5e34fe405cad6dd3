-- Before and after of every change of a tracked table, from every way in, in the transaction of the change.
-- control: B11 A20 A21 A22 R1
\set VERBOSITY terse
\set SHOW_CONTEXT never
begin;
create schema cap;
-- What was recorded since the last look, oldest first.
create view cap.log as
select action, record_type, record_id, before, after, reason, actor_kind, actor_role, e.org_id, recorded_at, event_id
  from batchcortex.events_log e where record_type like 'cap.%' order by recorded_at, event_id;
create temp table shown (event_id uuid primary key);
create function pg_temp.news() returns table (action text, record_id text, before json, after json, reason text) language sql as $$
    with fresh as (insert into shown select l.event_id from cap.log l on conflict do nothing returning event_id)
    select l.action, l.record_id, l.before, l.after, l.reason from cap.log l join fresh using (event_id) order by l.recorded_at, l.event_id
$$;

create table cap.part (id integer primary key, name text, price numeric(10, 2), made timestamptz);
select batchcortex.track('cap.part');
insert into cap.part values (1, 'bolt', 1.10, '2026-01-02 03:04:05.6+02'), (2, 'say "nut" \ ' || chr(9) || chr(1) || 'ü', null, null);
update cap.part set price = price + 1 where id = 1;
update cap.part set id = 20 where id = 2;
delete from cap.part where id = 20;
select * from pg_temp.news();
-- Who: without a credential the database login, never nobody; when: the server's clock; and the record is a leaf like every other.
select distinct actor_kind, actor_role, org_id, recorded_at between transaction_timestamp() and clock_timestamp() as server_time from cap.log;
select count(*) as wrong from batchcortex.events_log e where record_type = 'cap.part' and sha256('\x00' || batchcortex.event_preimage(e)) <> leaf_hash;
-- Nothing changed is a change too; no row is none.
update cap.part set name = name;
update cap.part set name = 'x' where false;
select * from pg_temp.news();
-- Other ways in: ON CONFLICT, MERGE, writable CTE, COPY, a view, a rule, SELECT … FOR UPDATE changes nothing.
insert into cap.part values (1, 'bolt', 2), (3, 'washer', 3) on conflict (id) do update set price = excluded.price * 10;
select * from pg_temp.news();
insert into cap.part values (1, 'nothing') on conflict do nothing;
select * from pg_temp.news();
merge into cap.part p using (values (1, 5), (3, 0), (4, 7)) v (id, price) on p.id = v.id
    when matched and v.price = 0 then delete
    when matched then update set price = v.price
    when not matched then insert values (v.id, 'merged', v.price);
select * from pg_temp.news();
with gone as (delete from cap.part where id = 4 returning *) insert into cap.part select id + 1, name, price from gone;
select * from pg_temp.news();
copy cap.part (id, name) from stdin;
6	copied
7	\N
\.
select * from pg_temp.news();
create view cap.cheap as select id, name from cap.part where id > 5;
update cap.cheap set name = 'through a view' where id = 6;
select * from pg_temp.news();
-- What is stored is what is captured: a trigger in between changes the row, another drops it.
create function cap.meddle() returns trigger language plpgsql as $$ begin if new.id = 9 then return null; end if; new.name := upper(new.name); return new; end $$;
create trigger meddle before insert on cap.part for each row execute function cap.meddle();
insert into cap.part values (8, 'loud'), (9, 'dropped');
drop trigger meddle on cap.part;
select * from pg_temp.news();
-- Replication role, and who disables triggers by it.
set local session_replication_role = replica;
delete from cap.part where id = 8;
reset session_replication_role;
select * from pg_temp.news();
-- TRUNCATE: every row that goes, and that they went.
truncate cap.part;
select * from pg_temp.news();

-- Rolled back together: a savepoint takes its change and its record.
savepoint s;
insert into cap.part values (1, 'taken back');
rollback to s;
select * from pg_temp.news();
-- A trigger with an exception block: what happens in it is rolled back alone; what the statement did around it stays.
create function cap.try_log() returns trigger language plpgsql as $$
begin
    begin
        insert into cap.part values (new.id + 1000, 'inner, kept');
        insert into cap.part values (new.id + 2000, 'inner, kept too');
    exception when others then raise;
    end;
    begin
        insert into cap.part values (new.id + 3000, 'inner, undone');
        raise exception 'no';
    exception when others then null;
    end;
    return null;
end $$;
create trigger "0_after_capture" after insert on cap.part for each row when (new.id < 1000) execute function cap.try_log();
insert into cap.part values (1, 'outer'), (2, 'outer');
drop trigger "0_after_capture" on cap.part;
select record_id, after ->> 'name' as name from pg_temp.news() order by record_id::int;
select count(*) from cap.part;
-- Cascades of foreign keys.
create table cap.lot (id integer primary key, part integer references cap.part on delete cascade, spare integer references cap.part on delete set null);
select batchcortex.track('cap.lot');
insert into cap.lot values (1, 1, null), (2, 1, 2), (3, 1001, 2);
select count(*) from pg_temp.news();
delete from cap.part where id in (1, 2);
select action, record_id, before, after from pg_temp.news();
truncate cap.part cascade;
select l.action, l.record_type, l.record_id from cap.log l where l.action like '%truncated' and not exists (select from shown s where s.event_id = l.event_id) order by 1, 2, 3;
select count(*) from pg_temp.news();

-- Reasons: R1.
create table cap.doc (id integer primary key, title text);
select batchcortex.track('cap.doc', require_reason => true);
insert into cap.doc values (1, 'SOP'), (2, 'SOP');
savepoint s;
update cap.doc set title = 'x';
rollback to s;
\set VERBOSITY sqlstate
delete from cap.doc;
rollback to s;
truncate cap.doc;
rollback to s;
insert into cap.doc values (1, 'x') on conflict (id) do update set title = 'x';
rollback to s;
\set VERBOSITY terse
update cap.doc set title = 'x' where false;
select batchcortex.set_reason('typing error');
update cap.doc set title = 'SOP 1' where id = 1;
savepoint u;
select batchcortex.set_reason('second thoughts');
delete from cap.doc where id = 1;
rollback to u;
delete from cap.doc where id = 2;
truncate cap.doc;
select * from pg_temp.news();
select batchcortex.set_reason(null);
insert into cap.doc values (3, 'SOP');
savepoint v;
update cap.doc set title = 'x';
rollback to v;
-- Only set_reason writes it.
set batchcortex.reason = 'for everything';
rollback to v;
select set_config('batchcortex.reason', 'for everything', false);
rollback to v;
alter role postgres set batchcortex.reason = 'for everything';
rollback to v;
select batchcortex.set_reason('  ');
rollback to v;
select batchcortex.set_reason(repeat('x', 4001));
rollback to v;
select batchcortex.set_reason(repeat('ü', 4000));
select count(*) from pg_temp.news();
rollback;
-- It ends with its transaction.
begin;
create table public.cap_reason (id integer primary key);
select batchcortex.track('public.cap_reason', require_reason => true);
insert into public.cap_reason values (1);
select batchcortex.set_reason('once');
commit;
delete from public.cap_reason;
select batchcortex.untrack('public.cap_reason', 'end of the test');
drop table public.cap_reason;
select action, record_id, before, after, reason from batchcortex.events_log where record_id = 'public.cap_reason' order by recorded_at;
