-- Legitimate maintenance of guarded tables: nothing is refused, and verification stays clean after each step. On a partition of the
-- audit trail, on the table that the sealer writes, and on a table of somebody's own under protection.
-- control: A17, B34
set client_min_messages = warning;
create table public.stock (item text, lot integer, amount numeric, primary key (item, lot));
insert into public.stock select 'item', i, i / 8.0 from generate_series(1, 500) i;
select batchcortex.protect('public.stock');
select count(batchcortex.log_event('app.note', 'note', i::text)) from generate_series(1, 500) i;
select batchcortex.seal() >= 0 as sealed;
select tableoid::regclass as trail from batchcortex.events_log limit 1 \gset
select relname as trail_key from pg_index join pg_class c on c.oid = indexrelid where indrelid = :'trail'::regclass and indisprimary \gset
\set verify 'select code, relation, record, detail from batchcortex.verify();'
:verify

vacuum :trail;
vacuum (freeze, analyze) public.stock;
vacuum batchcortex.ledger_tile, batchcortex.ledger_queue;
:verify
vacuum full :trail;
vacuum full public.stock;
vacuum full batchcortex.ledger_tile;
:verify
cluster :trail using :trail_key;
cluster public.stock using stock_pkey;
cluster public.stock;
alter table public.stock set without cluster;
:verify
reindex table :trail;
reindex table public.stock;
reindex index stock_pkey;
:verify
reindex table concurrently :trail;
reindex table concurrently public.stock;
reindex table concurrently batchcortex.ledger_tree;
:verify
analyze :trail;
analyze public.stock (item);
:verify
create index concurrently stock_amount on public.stock (amount);
create index concurrently trail_action on :trail (action);
create index stock_by_lot on public.stock (lot);
:verify
alter index public.stock_amount set (fillfactor = 70);
alter index public.stock_amount rename to stock_by_amount;
drop index concurrently public.stock_by_amount;
drop index concurrently batchcortex.trail_action;
drop index public.stock_by_lot;
:verify
alter table public.stock set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.1);
alter table :trail set (fillfactor = 90);
alter table public.stock reset (fillfactor);
:verify
alter table public.stock alter column item set statistics 500;
alter table :trail alter column action set statistics 500;
create statistics public.stock_statistics on item, lot from public.stock;
analyze public.stock;
drop statistics public.stock_statistics;
:verify
alter table public.stock alter column item set storage external;
alter table public.stock alter column amount set not null;
alter table public.stock add constraint lot_counts check (lot > 0) not valid;
alter table public.stock validate constraint lot_counts;
:verify
-- A column without a value for the rows that are there: their leaves stay what they were.
alter table public.stock add column remark text;
insert into public.stock values ('item', 501, 1, 'with a remark'), ('item', 502, 1, null);
select batchcortex.seal() >= 0 as sealed;
:verify
comment on table public.stock is 'What is in store.';
comment on column public.stock.remark is 'What the store says.';
comment on table :trail is 'A month.';
:verify
set allow_in_place_tablespaces = on;
create tablespace batchcortex_maintenance location '';
alter table public.stock set tablespace batchcortex_maintenance;
alter index public.stock_pkey set tablespace batchcortex_maintenance;
alter table :trail set tablespace batchcortex_maintenance;
alter table batchcortex.ledger_tile set tablespace batchcortex_maintenance;
:verify
alter table all in tablespace batchcortex_maintenance set tablespace pg_default;
alter index all in tablespace batchcortex_maintenance set tablespace pg_default;
:verify
drop tablespace batchcortex_maintenance;
grant select on public.stock to batchcortex_auditor;
revoke select on public.stock from batchcortex_auditor;
begin;
lock table public.stock in access exclusive mode;
select count(*) from public.stock;
commit;
select batchcortex.make_partitions(14) > 0 as made;
select batchcortex.log_event('app.note', 'note', 'after') is not null as noted;
insert into public.stock values ('item', 503, 1);
select batchcortex.seal() >= 0 as sealed;
:verify

-- An extension whose functions are in SQL or the server's own.
create extension intagg;
:verify
drop extension intagg;
-- Indexes that compute nothing, and columns without a value, on the project's own tables.
create index concurrently equipment_named on batchcortex.equipment (name);
alter table batchcortex.equipment add column remark text;
:verify
drop index concurrently batchcortex.equipment_named;
:verify

-- The guard has not gone away meanwhile.
\set VERBOSITY terse
update public.stock set amount = 0;
delete from :trail;
alter table public.stock add column added text default 'x';
alter table public.stock disable trigger append_only;
