-- protect(): tables of others are append-only, and their rows are leaves without a column added to them.
-- control: A17 A18 B19
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
create schema regress_protect;
select gen_random_uuid() as org, gen_random_uuid() as other \gset
insert into batchcortex.organisation (org_id, name) values (:'org', :'org'), (:'other', :'other');
create type regress_protect.state as enum ('open', 'closed');
create type regress_protect.span as (low numeric, high numeric);
create domain regress_protect.grade as text check (value in ('A', 'B'));
-- Every kind of column, a key of two columns in another order than the table's, a dropped column, a generated one, quoted names.
create table regress_protect."Weighing Log" (
    "Gone" text, note text, n integer not null, scale text not null, amount numeric(12,3), factor double precision, state regress_protect.state,
    states regress_protect.state[], span regress_protect.span, spans regress_protect.span[], grade regress_protect.grade, at timestamptz, day date, lasted interval,
    doc jsonb, raw bytea, addr inet, bits bit varying, words text[], ranges int4range, "Double ""Quoted""" text, twice numeric generated always as (amount * 2) stored,
    org_id uuid, primary key (scale, n));
alter table regress_protect."Weighing Log" drop column "Gone";
insert into regress_protect."Weighing Log" (note, n, scale, amount, factor, state, states, span, spans, grade, at, day, lasted, doc, raw, addr, bits, words, ranges, "Double ""Quoted""", org_id)
select repeat('wide ', 3000), i, 'scale ' || i % 3, i + 0.125, case i when 1 then 'NaN' when 2 then '-0' when 3 then 'Infinity' else 0.1 * i end, 'open', '{open,closed}',
       row(i, null)::regress_protect.span, array[row(1, 2)::regress_protect.span], 'A', '2026-11-22 10:00:00.123456+00', '2026-11-22', '1 mon 2 days 03:04:05.6',
       '{"b": 1, "a": [1, null]}', '\x00ff', '192.0.2.1/24', B'101', array['a', null, ''], '[1,5)', 'q', case when i <= 5 then :'org'::uuid when i <= 8 then :'other'::uuid end
  from generate_series(1, 10) i;
select batchcortex.protect('regress_protect."Weighing Log"', 'org_id') as rows;
-- Those to come, by every way in.
insert into regress_protect."Weighing Log" (n, scale, org_id) values (11, 'scale', :'org');
insert into regress_protect."Weighing Log" (n, scale, org_id) values (11, 'scale', :'org') on conflict do nothing;
copy regress_protect."Weighing Log" (n, scale) from stdin;
12	copied
13	copied
\.
with added as (insert into regress_protect."Weighing Log" (n, scale) values (14, 'cte') returning n) select n from added;
merge into regress_protect."Weighing Log" w using (values (15)) v (n) on w.n = v.n when not matched then insert (n, scale) values (v.n, 'merged');
begin;
insert into regress_protect."Weighing Log" (n, scale) values (16, 'rolled back');
rollback;
select batchcortex.seal() >= 0 as sealed;
select count(*) as findings from batchcortex.verify();
-- Settings of whoever looks do not matter.
set datestyle = 'German'; set intervalstyle = 'iso_8601'; set timezone = 'Asia/Kathmandu'; set bytea_output = 'escape'; set extra_float_digits = -15; set client_encoding = 'LATIN1';
select count(*) as findings from batchcortex.verify();
insert into regress_protect."Weighing Log" (n, scale, span, spans, at) values (17, 'elsewhere', row(1, 2), array[row(1, 2)::regress_protect.span], now());
reset datestyle; reset intervalstyle; reset timezone; reset bytea_output; reset extra_float_digits; reset client_encoding;
select count(*) as findings from batchcortex.verify();
-- Whose log a row is in: the organisation's that the column names, else the installation's.
select case l ->> 'log' when :'org' then 'org' when :'other' then 'other' end as log, l -> 'rows' as rows
  from json_array_elements(batchcortex.verify_report() -> 'logs') l where l ->> 'log' in (:'org', :'other') order by 1;

-- Partitioned, its partitions too, those made later and those of another column order.
create table regress_protect.reading (id integer, at date, note text, primary key (id, at)) partition by range (at);
create table regress_protect.reading_a partition of regress_protect.reading for values from ('2026-01-01') to ('2026-07-01');
insert into regress_protect.reading select i, '2026-05-05', 'before' from generate_series(1, 3) i;
select batchcortex.protect('regress_protect.reading') as rows;
create table regress_protect.reading_b partition of regress_protect.reading for values from ('2026-07-01') to ('2027-01-01') partition by list (id);
create table regress_protect.reading_b1 partition of regress_protect.reading_b for values in (4);
create table regress_protect.reading_c (note text, gone text, at date not null, id integer not null);
alter table regress_protect.reading_c drop column gone;
alter table regress_protect.reading attach partition regress_protect.reading_c for values from ('2027-01-01') to ('2028-01-01');
insert into regress_protect.reading values (4, '2026-08-08', 'after'), (5, '2027-02-02', 'after');
insert into regress_protect.reading_b1 values (4, '2026-08-09', 'straight into it');
update regress_protect.reading set note = 'x';
delete from regress_protect.reading_b1;
truncate regress_protect.reading_b1;
truncate regress_protect.reading_c;
select batchcortex.seal() >= 0 as sealed;
select count(*) as findings from batchcortex.verify();

-- What is recorded.
select record_id, after ->> 'rows' as rows, after ->> 'org_column' as org_column, after ->> 'key_columns' as key_columns from batchcortex.events_log
 where action = 'table.protected' and record_id like 'regress_protect%' order by recorded_at;
-- What cannot be protected.
create table regress_protect.nameless (x integer);
select batchcortex.protect('regress_protect.nameless');
create unlogged table regress_protect.fleeting (x integer primary key);
select batchcortex.protect('regress_protect.fleeting');
create view regress_protect.seen as select 1 as x;
select batchcortex.protect('regress_protect.seen');
create table regress_protect.parent (x integer primary key);
create table regress_protect.heir () inherits (regress_protect.parent);
select batchcortex.protect('regress_protect.parent');
select batchcortex.protect('regress_protect.heir');
select batchcortex.protect('regress_protect.reading_a');
select batchcortex.protect('regress_protect.reading');
select batchcortex.protect('batchcortex.session');
select batchcortex.protect('pg_catalog.pg_class');
create table regress_protect.plain (x integer primary key, org integer);
select batchcortex.protect('regress_protect.plain', 'org');
select batchcortex.protect('regress_protect.plain', 'nothing');
select batchcortex.protect(null);
create role regress_protector;
grant usage on schema batchcortex to regress_protector;
set role regress_protector;
select batchcortex.protect('regress_protect.plain');
reset role;
revoke usage on schema batchcortex from regress_protector;
drop role regress_protector;
-- A table that is not protected is nobody's business.
update regress_protect.plain set org = 1;
alter table regress_protect.plain add column y integer default 1;
drop table regress_protect.plain, regress_protect.nameless, regress_protect.fleeting, regress_protect.heir, regress_protect.parent;
drop view regress_protect.seen;
