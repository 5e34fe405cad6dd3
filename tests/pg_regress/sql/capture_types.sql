-- Values are captured exactly, in a form that no setting of the session changes: (after ->> column)::type is the value that was stored.
-- control: A22 B11
\set VERBOSITY terse
\set SHOW_CONTEXT never
begin;
create schema ct;
create type ct.mood as enum ('calm', 'it''s "so"');
create type ct.pair as (a integer, b timestamptz, c "char");
create domain ct.grams as numeric check (value >= 0);
create domain ct.days as date[];
create type ct.span as range (subtype = float8, subtype_diff = float8mi);
create table ct.all_types (
    id bigint primary key, b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision, n numeric, n2 numeric(20, 5),
    t text, vc varchar(20), ch char(5), nm name, c "char", by bytea, u uuid, d date, ts timestamp, tz timestamptz, tm time, tmz timetz, iv interval,
    j json, jb jsonb, x xml, ip inet, net cidr, mac macaddr, bi bit(4), vb varbit, m money, o oid, rc regclass, rt regtype, pt point,
    ia integer[], ta text[], fa float8[], tza timestamptz[], ba bytea[], md ct.mood, mda ct.mood[], pr ct.pair, pra ct.pair[], g ct.grams, ds ct.days,
    r4 int4range, rtz tstzrange, mr nummultirange, sp ct.span, tv tsvector, jp jsonpath, gen integer generated always as (i2 * 2) stored
);
-- A copy, to compare with.
create table ct.twin (like ct.all_types including generated);
select batchcortex.track('ct.all_types');
-- Settings that change how values look.
set local datestyle = 'German, DMY';
set local intervalstyle = 'sql_standard';
set local extra_float_digits = -10;
set local bytea_output = 'escape';
set local timezone = 'Asia/Kathmandu';
set local quote_all_identifiers = on;
set local search_path = ct, public;
insert into ct.all_types values
 (1, true, -32768, -2147483648, -9223372036854775808, 1.1, 0.1::float8 + 0.2::float8, 12345678901234567890.123456789000, 1.5,
  E'line\nbreak\ttab "quoted" back\\slash \u00e9 \u0001', 'vc', 'ab', 'a name', 'c', '\x00ff5c22', '0192e0e4-7a3b-7c00-8000-00000000abcd',
  '2026-02-28', '2026-02-28 23:59:59.999999', '2026-02-28 23:59:59.5+05:45', '23:59:59.000001', '12:00:00+05:45', '1 year 2 mons -3 days 04:05:06.789',
  ' {"a" : 1, "a": 2.50} ', '{"b": 1.10, "a": null}', '<a b="1">x</a>', '192.0.2.1/24', '2001:db8::/32', '08:00:2b:01:02:03', '1010', '101', '1234.56',
  4294967295, 'ct.all_types', 'ct.pair', '(0.1,-0)',
  '{1,NULL,3}', '{"a b",NULL,"NULL","q\"x","{}"}', '{NaN,-0,0.1,Infinity}', '{2026-01-01 00:00+00,infinity}', '{"\\x00ff"}', 'it''s "so"', '{calm,"it''s \"so\""}',
  '(1,"2026-01-01 00:00+00",x)', array[row(1, '2026-01-01 00:00+00', 'x')::ct.pair, null], 1.500, '{2026-01-01,-infinity}',
  '[1,10)', '["2026-01-01 00:00+00",)', '{[1.10,2.0),[3,3]}', '[0.1,0.30000000000000004)', '''a b'':1A c:2', '$."a b"[*] ? (@ > 1)', default),
 (2, false, 32767, 2147483647, 9223372036854775807, '-0', '-0', 'NaN', -0.00001, '', '', '', '', '', '', '00000000-0000-0000-0000-000000000000',
  'infinity', '-infinity', 'infinity', '00:00', '24:00:00-15:59', '-00:00:00.000001', 'null', 'null', '', '::1', '0.0.0.0/0', '00:00:00:00:00:00', '0000', '', '-0.01',
  0, 'pg_catalog.pg_class', 'integer', '(NaN,1e300)',
  '{}', '{}', '{}', '{}', '{}', 'calm', '{}', '(,,)', '{}', 0, '{}', 'empty', 'empty', '{}', '(,)', '', '$', default),
 (3, null, 0, 0, 0, 'NaN', 'NaN', 'Infinity', null, null, null, null, null, null, null, null,
  '0044-03-15 BC', '4713-01-01 00:00:00 BC', '294276-12-31 23:59:59.999999+00', null, null, '0', '"a string"', '"a string"', null, null, null, null, null, null, null,
  null, null, null, null,
  '[0:1]={1,2}', '{{a,b},{c,d}}', '{5e-324,1.7976931348623157e308}', null, null, null, null, null, null, null, null, null, null, null, null, null, null, default),
 (4, null, 0, null, 0, '-Infinity', '-Infinity', '-Infinity', null, null, null, null, null, null, null, null,
  '0001-01-01', '2000-02-29 00:00:00', '0001-12-31 23:59:59.1 BC', null, null, 'P1Y2M3DT-4H-5M-6.7S', null, null, null, null, null, null, null, null, null,
  null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, default),
 (5, null, 0, null, 0, 3.4028235e38, 1e15, 1e-20, null, null, null, null, null, null, null, null,
  '5874897-12-31', '294276-12-31 23:59:59.999999', '1999-12-31 23:59:59.999999+00', null, null, null, null, null, null, null, null, null, null, null, null,
  null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, default);
-- The same rows, put together from what was captured, each column by a cast of its text.
do $$
declare casts text;
begin
    select string_agg(format('(after ->> %L)::%s', attname, format_type(atttypid, atttypmod)), ', ' order by attnum) into casts
      from pg_attribute where attrelid = 'ct.all_types'::regclass and attnum > 0 and attgenerated = '';
    execute format('insert into ct.twin select %s from batchcortex.events_log where record_type = ''ct.all_types'' and action = ''row.inserted''', casts);
end $$;
select count(*) as rebuilt from ct.twin;
-- Byte for byte, -0 and NaN included: *= compares the bytes of records.
select a.id, w as rebuilt_otherwise from ct.all_types a join ct.twin w using (id) where not a.* *= w.*;
select (select after ->> 'gen' from batchcortex.events_log where record_type = 'ct.all_types' and record_id = '1') as generated;
reset datestyle; reset intervalstyle; reset extra_float_digits; reset bytea_output; reset timezone; reset quote_all_identifiers; reset search_path;
select jsonb_pretty(after::jsonb) from batchcortex.events_log where record_type = 'ct.all_types' and record_id = '1';
select after from batchcortex.events_log where record_type = 'ct.all_types' and record_id in ('2', '3') order by record_id;
-- The same under other settings: not one byte differs.
create temp table first_text as select record_id, after::text as text from batchcortex.events_log where record_type = 'ct.all_types' and action = 'row.inserted';
set local datestyle = 'SQL, MDY';
set local intervalstyle = 'postgres_verbose';
set local extra_float_digits = 3;
set local timezone = 'America/St_Johns';
update ct.all_types set id = id;
select count(*) as same from first_text f join batchcortex.events_log e on e.record_type = 'ct.all_types' and e.action = 'row.updated' and e.record_id = f.record_id
   and e.before::text = f.text and e.after::text = f.text;
-- Settings of the session are as they were.
show datestyle; show intervalstyle; show timezone; show search_path;
reset datestyle; reset intervalstyle; reset timezone; reset extra_float_digits;

-- Dates: this module's own against PostgreSQL's, over the whole range.
create table ct.moments (id integer primary key, d date, ts timestamp, tz timestamptz);
select batchcortex.track('ct.moments');
insert into ct.moments select i, d, d + make_interval(secs => (i * 7919 % 86400)) + make_interval(secs => i % 1000 / 1000000.0), (d + make_interval(secs => i % 60)) at time zone 'UTC'
  from generate_series(1, 20000) i, lateral (select date '4713-01-01 BC' + (i * 104729::bigint % 108000000)::int as d) x;
set local datestyle = 'ISO'; set local timezone = 'UTC';
select count(*) as captured, count(*) filter (where (after ->> 'd', after ->> 'ts', after ->> 'tz') is distinct from (m.d::text, m.ts::text, m.tz::text)) as otherwise
  from batchcortex.events_log e join ct.moments m on e.record_type = 'ct.moments' and e.record_id = m.id::text;
-- Floating point numbers, random bits.
create table ct.floats (id integer primary key, f8 float8, f4 float4);
select batchcortex.track('ct.floats');
insert into ct.floats select i, ('x' || substr(md5(i::text), 1, 16))::bit(64)::bigint::text::float8 * 10.0 ^ (i % 300 - 150), (i * 0.1)::float4 from generate_series(1, 5000) i;
select count(*) as captured, count(*) filter (where float8send((after ->> 'f8')::float8) <> float8send(f.f8) or float4send((after ->> 'f4')::float4) <> float4send(f.f4) or after ->> 'f8' <> f.f8::text) as otherwise
  from batchcortex.events_log e join ct.floats f on e.record_type = 'ct.floats' and e.record_id = f.id::text;

-- TOAST: values that an update does not touch are captured in full, compressed or not, inline or out of line.
create table ct.big (id integer primary key, small integer, compressed text, plain text, bytes bytea);
alter table ct.big alter plain set storage external;
select batchcortex.track('ct.big');
insert into ct.big select 1, 0, repeat('abc', 100000), string_agg(md5(i::text), ''), decode(string_agg(md5(i::text), ''), 'hex') from generate_series(1, 5000) i;
update ct.big set small = 1;
delete from ct.big;
select action, length(before ->> 'compressed') as compressed, length(before ->> 'plain') as plain, md5(before ->> 'plain') = md5(after ->> 'plain') as same, octet_length((before ->> 'bytes')::bytea) as bytes
  from batchcortex.events_log where record_type = 'ct.big' order by recorded_at, event_id;
-- A row of many columns, one of many of which were dropped, one that got a column by a default that is not stored in it.
do $$ begin execute format('create table ct.wide (%s)', (select string_agg(format('c%s integer default %s', i, i), ', ') from generate_series(1, 1000) i)); end $$;
select batchcortex.track('ct.wide');
insert into ct.wide default values;
select (select count(*) from json_object_keys(after)) as columns, after ->> 'c1000' as last, record_id = 'sha256:' || encode(sha256(after::text::bytea), 'hex') as named_by_content
  from batchcortex.events_log where record_type = 'ct.wide';
create table ct.lived (a integer, id integer primary key, b text, c text);
insert into ct.lived values (1, 2, 'b', 'c');
alter table ct.lived drop column a, drop column b;
select batchcortex.track('ct.lived');
alter table ct.lived add column later integer not null default 7, drop column c;
update ct.lived set id = 3;
select record_id, before, after from batchcortex.events_log where record_type = 'ct.lived';
-- Keys: several columns in the key's order, none, a replica identity.
create table ct.several (note text, b text, a integer, primary key (a, b));
create table ct.keyless (x text);
create table ct.identity (x text not null unique, y integer);
alter table ct.identity replica identity using index identity_x_key;
select batchcortex.track(r::regclass) from unnest('{ct.several,ct.keyless,ct.identity}'::text[]) r;
insert into ct.several values ('n', 'say "b"', 1);
insert into ct.keyless values ('x');
update ct.keyless set x = 'y';
delete from ct.keyless;
insert into ct.identity values ('the key', 1);
select record_type, action, record_id, before, after from batchcortex.events_log where record_type in ('ct.several', 'ct.keyless', 'ct.identity') order by recorded_at, event_id;
-- Quoted names, of all things.
create schema "Ct ""x""";
create table "Ct ""x"""."Tab.le; drop" ("select" integer primary key, "Ü ""q"" \ {" text);
select batchcortex.track('"Ct ""x"""."Tab.le; drop"', mask => array['Ü "q" \ {']);
insert into "Ct ""x"""."Tab.le; drop" values (1, 'secret');
select record_type, record_id, after from batchcortex.events_log where record_type like '"Ct%';
-- A renamed table is captured under its new name, from the next change on.
alter table "Ct ""x"""."Tab.le; drop" rename to "select";
update "Ct ""x"""."select" set "select" = 2;
alter schema "Ct ""x""" rename to renamed;
update renamed."select" set "select" = 3;
select record_type, record_id, after from batchcortex.events_log where record_type like '"Ct%' or record_type like 'renamed.%' order by recorded_at, event_id;
rollback;
