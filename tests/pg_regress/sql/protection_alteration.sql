-- What is altered of a tracked table and no trigger sees is an event of the same transaction, whoever does it.
-- control: B11 A20
\set VERBOSITY terse
set client_min_messages = warning;
create role regress_alters;
create schema alteration authorization regress_alters;
create table alteration.recipe (id integer primary key, note text);
create table alteration.result (id integer, at date, amount numeric, primary key (id, at)) partition by range (at);
create table alteration.result_2026 partition of alteration.result for values from ('2026-01-01') to ('2027-01-01');
alter table alteration.recipe owner to regress_alters;
insert into alteration.recipe values (1, 'one');
insert into alteration.result values (1, '2026-02-02', 1);
select batchcortex.track('alteration.recipe'), batchcortex.track('alteration.result', leave_out => '{amount}');
create temp view told as select record_id, before, after, actor_kind, actor_name = session_user as by_me, reason
  from batchcortex.events_log where action = 'table.altered' and record_id like '%alter%' order by recorded_at, event_id;
create temp view named as select code, relation, record, detail from batchcortex.verify();
\echo by the owner, who has no privilege on the log; with the reason of the transaction, and without a credential
grant usage on schema batchcortex to regress_alters;
grant execute on function batchcortex.set_reason(text) to regress_alters;
set role regress_alters;
begin;
select batchcortex.set_reason('a wider note');
alter table alteration.recipe alter column note type varchar(80) using note || ' bcs_0123456789012345678901234567890123456789';
commit;
select note from alteration.recipe;
alter table alteration.recipe add column grade text;
alter table alteration.recipe alter column note set statistics 50;
reset role;
select * from told;
\echo two statements sent together, each its own; rolled back, none
select count(*) as before from told;
do $$ begin
    alter table alteration.recipe drop column grade;
    raise exception 'undone';
exception when others then null;
end $$;
select count(*) as after from told;
select 1\; alter table alteration.recipe drop column grade\; select 2;
select after ->> 'statement' as statement from told offset 1;
\echo partitions, where a column is left out
alter table alteration.result detach partition alteration.result_2026;
alter table alteration.result attach partition alteration.result_2026 for values from ('2026-01-01') to ('2027-01-01');
alter table alteration.result_2026 alter column amount set default 7;
-- Concurrently, in two transactions: told in the first.
alter table alteration.result detach partition alteration.result_2026 concurrently;
select record_id, after ->> 'statement' as statement from told offset 2;
\echo a renamed table stays tracked; another one under its name is named until it is tracked, too
alter table alteration.recipe rename to moved;
alter schema alteration rename to altered;
update altered.moved set note = 'two';
select record_id, before ->> 'name' as before, after ->> 'name' as after, after ->> 'statement' as statement from told offset 6;
select record_type, record_id from batchcortex.events_log where action = 'row.updated' and record_type = 'altered.moved';
select * from named;
create schema alteration;
create table alteration.recipe (id integer primary key);
select * from named;
select batchcortex.track('alteration.recipe');
select * from named;
select batchcortex.untrack(t::regclass) from unnest('{alteration.recipe,altered.moved,altered.result}'::text[]) t;
select * from named;
drop schema alteration, altered cascade;
revoke all on schema batchcortex from regress_alters;
revoke all on function batchcortex.set_reason(text), batchcortex.capture_row() from regress_alters;
drop role regress_alters;
