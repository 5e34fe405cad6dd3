-- A superuser with SQL alone against records that are protected. Each attack is refused, or has no effect, or verify() finds it; none goes
-- unnoticed. Those that are let pass are rolled back again after verify() has been asked.
-- control: A17 A20 A21 A22 B19 B34
\set VERBOSITY terse
set client_min_messages = warning;
create role regress_attacker;
create schema regress_attack;
create table regress_attack."Batch Record" (id integer primary key, lot text not null, org_id uuid);
create table regress_attack.child (id integer primary key, record integer);
create table regress_attack.parted (id integer, at date, note text, primary key (id, at)) partition by range (at);
create table regress_attack.parted_1 partition of regress_attack.parted for values from ('2026-01-01') to ('2027-01-01');
create view regress_attack.window as select id, lot from regress_attack."Batch Record";
create table regress_attack.kept (id integer primary key, lot text not null);
create table regress_attack.recipe (id integer primary key, lot text not null, secret text);
create table regress_attack.recipe_parts (id integer, at date, primary key (id, at)) partition by range (at);
create table regress_attack.recipe_part partition of regress_attack.recipe_parts for values from ('2026-01-01') to ('2027-01-01');
create table regress_attack.loose (id integer not null, at date not null, primary key (id, at));
insert into regress_attack.kept select i, 'lot ' || i from generate_series(1, 5) i;
insert into regress_attack.recipe_parts select i, '2026-05-05' from generate_series(1, 5) i;
insert into regress_attack.loose select i, '2027-05-05' from generate_series(1, 5) i;
insert into regress_attack."Batch Record" select i, 'lot ' || i from generate_series(1, 20) i;
insert into regress_attack.parted select i, '2026-05-05', 'note' from generate_series(1, 20) i;
select batchcortex.protect('regress_attack."Batch Record"', 'org_id') as rows, batchcortex.protect('regress_attack.parted') as parted_rows;
select batchcortex.make_soft_deletable('regress_attack.kept') as tombstones;
select batchcortex.track('regress_attack.recipe', mask => '{secret}'), batchcortex.track('regress_attack.recipe_parts');
insert into regress_attack.recipe select i, 'lot ' || i, 's' from generate_series(1, 5) i;
select batchcortex.soft_delete('regress_attack.kept', '{"id": 5}', 'keyed in twice');
select gen_random_uuid() as org \gset
insert into batchcortex.organisation (org_id, name) values (:'org', :'org');
insert into batchcortex.batch (org_id, number, product) values (:'org', 'A-1', 'p');
insert into batchcortex.equipment (org_id, name) values (:'org', 'A');
select count(batchcortex.log_event('regress.attacked', 'thing', i::text, org_id => :'org')) as events from generate_series(1, 20) i;
select batchcortex.seal() >= 0 as sealed;
select count(*) as findings from batchcortex.verify();

create temp table attack (n serial, kind text, statements text, no_effect text);
insert into attack (kind, statements, no_effect) values
-- rows
('update', 'update batchcortex.events_log set reason = ''x'' where action = ''regress.attacked''', null),
('update', 'update regress_attack."Batch Record" set lot = ''x'' where id = 1', null),
('update', 'update regress_attack.parted set note = ''x'' where id = 1', null),
('update of a partition', 'update @part set reason = ''x''', null),
('update of a partition', 'update regress_attack.parted_1 set note = ''x''', null),
('update that moves to another partition', 'create table regress_attack.parted_2 partition of regress_attack.parted for values from (''2027-01-01'') to (''2028-01-01''); update regress_attack.parted set at = ''2027-03-03''', null),
('update from', 'update regress_attack."Batch Record" r set lot = c.id from regress_attack.child c where false', null),
('delete', 'delete from batchcortex.events_log', null),
('delete', 'delete from only @part', null),
('delete', 'delete from regress_attack."Batch Record" where id = 1', null),
('delete using', 'delete from regress_attack.parted p using regress_attack."Batch Record" r where r.id = p.id', null),
('delete of nothing', 'delete from batchcortex.sample_segment where false', null),
('truncate', 'truncate batchcortex.events_log', null),
('truncate', 'truncate regress_attack."Batch Record"', null),
('truncate of a partition', 'truncate @part', null),
('truncate of a partition', 'truncate regress_attack.parted_1', null),
('truncate of a partition made later', 'create table regress_attack.parted_2 partition of regress_attack.parted for values from (''2027-01-01'') to (''2028-01-01''); truncate regress_attack.parted_2', null),
('truncate cascade', 'alter table regress_attack.child add foreign key (record) references regress_attack."Batch Record"; truncate regress_attack."Batch Record" cascade', null),
('truncate from elsewhere', 'create table regress_attack.up (id integer primary key); alter table regress_attack."Batch Record" add foreign key (id) references regress_attack.up not valid; truncate regress_attack.up cascade', null),
('merge', 'merge into regress_attack."Batch Record" r using (values (1)) v (id) on r.id = v.id when matched then update set lot = ''x''', null),
('merge', 'merge into batchcortex.events_log e using (values (1)) v (id) on true when matched then delete', null),
('on conflict', 'insert into regress_attack."Batch Record" values (1, ''x'') on conflict (id) do update set lot = excluded.lot', null),
('writable cte', 'with gone as (delete from regress_attack."Batch Record" returning *) select count(*) from gone', null),
('writable cte', 'with changed as (update batchcortex.events_log set reason = ''x'' returning 1) insert into regress_attack.child select 1, 1 from changed', null),
('updatable view', 'update regress_attack.window set lot = ''x''', null),
('updatable view', 'delete from regress_attack.window', null),
('explain analyze', 'explain analyze delete from regress_attack."Batch Record"', null),
('prepared statement', 'prepare p as delete from regress_attack."Batch Record"; execute p', null),
('cursor', 'declare c cursor for select * from regress_attack."Batch Record" for update; fetch c; delete from regress_attack."Batch Record" where current of c', null),
('function in sql', 'create function regress_attack.f() returns void language sql as ''delete from regress_attack."Batch Record"''; select regress_attack.f()', null),
('trigger elsewhere', 'create function regress_attack.t() returns trigger language plpgsql as ''begin delete from regress_attack."Batch Record"; return new; end''; create trigger t before insert on regress_attack.child for each row execute function regress_attack.t(); insert into regress_attack.child values (1)', null),
('cascade of a foreign key', 'create table regress_attack.up (id integer primary key); insert into regress_attack.up select id from regress_attack."Batch Record"; alter table regress_attack."Batch Record" add foreign key (id) references regress_attack.up on delete cascade; delete from regress_attack.up', null),
('set null of a foreign key', 'create table regress_attack.up (id text primary key); insert into regress_attack.up select lot from regress_attack."Batch Record"; alter table regress_attack."Batch Record" add foreign key (lot) references regress_attack.up on delete set null; delete from regress_attack.up', null),
('replica role', 'set local session_replication_role = replica; update batchcortex.events_log set reason = ''x''', null),
('replica role', 'set local session_replication_role = replica; delete from regress_attack."Batch Record"', null),
('replica role, stamps', 'set local session_replication_role = replica; insert into batchcortex.events_log (org_id, event_id, recorded_at, actor_kind, actor_name, actor_role, action, record_type, record_id, leaf_hash) values (''@org'', ''11111111-1111-1111-1111-111111111111'', now() - interval ''1 second'', ''user'', ''Forged'', ''qp'', ''regress.forged'', ''x'', ''1'', ''\x00'')',
    'select count(*) = 1 from batchcortex.events_log where action = ''regress.forged'' and actor_name = session_user and recorded_at >= now() and leaf_hash <> ''\x00'''),
('forged time, actor and hash', 'insert into batchcortex.events_log (org_id, event_id, recorded_at, actor_kind, actor_name, actor_role, action, record_type, record_id, leaf_hash) values (''@org'', ''11111111-1111-1111-1111-111111111111'', now() - interval ''1 second'', ''user'', ''Forged'', ''qp'', ''regress.forged'', ''x'', ''1'', ''\x00'')',
    'select count(*) = 1 from batchcortex.events_log where action = ''regress.forged'' and actor_name = session_user and recorded_at >= now() and leaf_hash <> ''\x00'''),
('a row of the ledger', 'update batchcortex.ledger_tile set hashes = ''''', null),
('a row of the ledger', 'delete from batchcortex.ledger_checkpoint', null),
('a row of the ledger', 'insert into batchcortex.ledger_checkpoint select org_id, tree_size + 1, root, sealed_at from batchcortex.ledger_checkpoint', null),
('a forged leaf', 'insert into batchcortex.ledger_queue values (''\x00'')', null),
('the head', 'update batchcortex.ledger_tree set size = size - 1', null),
('the register', 'update batchcortex.ledger_relation set relation = ''regress_attack.child''', null),
('the register', 'insert into batchcortex.ledger_relation (relation, domain, key_columns, hashed) values (''regress_attack.child'', ''child'', ''{id}'', false)', null),
('applied migrations', 'delete from batchcortex.schema_migration', null),
-- triggers and rules
('disable trigger', 'alter table batchcortex.events_log disable trigger append_only', null),
('disable trigger all', 'alter table regress_attack."Batch Record" disable trigger all', null),
('disable trigger user', 'alter table @part disable trigger user', null),
('enable replica trigger', 'alter table regress_attack.parted enable replica trigger append_only', null),
('drop trigger', 'drop trigger append_only on batchcortex.events_log', null),
('drop trigger', 'drop trigger leaf_enqueue on regress_attack."Batch Record"', null),
('rename trigger', 'alter trigger append_only on batchcortex.events_log rename to other', null),
('replace trigger', 'create or replace trigger append_only before update or delete on regress_attack."Batch Record" for each row when (false) execute function batchcortex.refuse_change()', null),
('trigger that alters', 'create function regress_attack.t() returns trigger language plpgsql as ''begin new.reason := 1; return new; end''; create trigger z before insert on batchcortex.events_log for each row execute function regress_attack.t()', null),
('trigger that drops', 'create function regress_attack.t() returns trigger language plpgsql as ''begin return null; end''; create trigger a before insert on regress_attack."Batch Record" for each row execute function regress_attack.t()', null),
('trigger on a partition', 'create function regress_attack.t() returns trigger language plpgsql as ''begin return null; end''; create trigger a before insert on @part for each row execute function regress_attack.t()', null),
('trigger on a parent', 'create function regress_attack.t() returns trigger language plpgsql as ''begin return null; end''; create trigger a before insert on regress_attack.parted for each row execute function regress_attack.t()', null),
('rule', 'create rule r as on insert to batchcortex.events_log do instead nothing', null),
('rule', 'create rule r as on update to regress_attack."Batch Record" do instead nothing', null),
-- tables
('drop table', 'drop table batchcortex.events_log cascade', null),
('drop table', 'drop table regress_attack."Batch Record" cascade', null),
('drop partition', 'drop table @part', null),
('drop partition', 'drop table regress_attack.parted_1', null),
('drop schema', 'drop schema regress_attack cascade', null),
('drop schema', 'drop schema batchcortex cascade', null),
('drop owned', 'drop owned by batchcortex_owner cascade', null),
('reassign owned', 'reassign owned by batchcortex_owner to regress_attacker', null),
('drop extension', 'drop extension pg_batchcortex cascade', null),
('drop function', 'drop function batchcortex.refuse_change() cascade', null),
('drop function', 'drop function batchcortex.verify_inclusion(bigint, bigint, bytea, bytea[], bytea)', null),
('drop view', 'drop view batchcortex.samples', null),
('replace view', 'create or replace view batchcortex.samples as select * from batchcortex.samples where false', null),
('alter column type', 'alter table regress_attack.parted alter column note type varchar using ''x''', null),
('drop column', 'alter table batchcortex.events_log drop column reason', null),
('drop column', 'alter table regress_attack."Batch Record" drop column lot cascade', null),
('rename column', 'alter table batchcortex.events_log rename column leaf_hash to other', null),
('add column with a value', 'alter table regress_attack."Batch Record" add column x integer default 1', null),
('rename table', 'alter table regress_attack."Batch Record" rename to other', null),
('rename table', 'alter table batchcortex.events_log rename to other', null),
('set schema', 'alter table regress_attack."Batch Record" set schema public', null),
('owner', 'alter table batchcortex.events_log owner to regress_attacker', null),
('owner', 'alter table regress_attack."Batch Record" owner to regress_attacker', null),
('row security off', 'alter table batchcortex.events_log disable row level security', null),
('row security not forced', 'alter table batchcortex.session no force row level security', null),
('row security hides', 'alter table regress_attack."Batch Record" enable row level security', null),
('inherit', 'create table regress_attack.up (id integer not null, lot text not null, org_id uuid); alter table regress_attack."Batch Record" inherit regress_attack.up', null),
('inherited from', 'create table regress_attack.heir () inherits (regress_attack."Batch Record")', null),
('attach a full partition', 'create table regress_attack.full (id integer not null, at date not null, note text, primary key (id, at)); insert into regress_attack.full values (99, ''2027-02-02''); alter table regress_attack.parted attach partition regress_attack.full for values from (''2027-01-01'') to (''2028-01-01'')', null),
('attach as a partition', 'create table regress_attack.up (id integer not null, lot text not null, org_id uuid) partition by list (id); alter table regress_attack.up attach partition regress_attack."Batch Record" default', null),
('detach', 'alter table regress_attack.parted detach partition regress_attack.parted_1', null),
('detach', 'do $d$ begin execute format(''alter table batchcortex.events_log detach partition %s'', ''@part''); end $d$', null),
('unlogged', 'alter table regress_attack."Batch Record" set unlogged', null),
('drop constraint', 'alter table regress_attack."Batch Record" drop constraint "Batch Record_pkey"', null),
('drop default', 'alter table batchcortex.events_log alter column recorded_at drop default', null),
('inherit, from the other side', 'create table regress_attack.heir (id integer not null, lot text not null, org_id uuid); alter table regress_attack.heir inherit regress_attack."Batch Record"', null),
-- rows that are not deleted, and their view
('kept rows', 'delete from regress_attack.kept', null),
('kept rows through a parent', 'create table regress_attack.up (id integer not null, lot text not null); alter table regress_attack.kept inherit regress_attack.up; delete from regress_attack.up', null),
('kept rows through a partitioned table', 'create table regress_attack.up (id integer not null, lot text not null) partition by list (id); alter table regress_attack.up attach partition regress_attack.kept default; delete from regress_attack.up', null),
('kept rows with their type', 'create type regress_attack.ct as (id integer, lot text); alter table regress_attack.kept of regress_attack.ct', null),
('kept rows by a cascade', 'create table regress_attack.up (id integer primary key); insert into regress_attack.up select id from regress_attack.kept; alter table regress_attack.kept add foreign key (id) references regress_attack.up on delete cascade; delete from regress_attack.up', null),
('kept rows, truncate', 'truncate regress_attack.kept, regress_attack.kept_tombstone', null),
('kept rows, another name', 'alter table regress_attack.kept rename to other', null),
('living rows, another view', 'create or replace view regress_attack.kept_living as select * from regress_attack.kept', null),
('living rows, options', 'alter view regress_attack.kept_living set (security_invoker = false)', null),
('living rows, no view', 'drop view regress_attack.kept_living', null),
('living rows, renamed', 'alter view regress_attack.kept_living rename to other', null),
('living rows, no trigger', 'drop trigger keep_rows on regress_attack.kept_living', null),
('living rows, disabled', 'alter table regress_attack.kept_living disable trigger keep_rows', null),
('living rows, a rule', 'create or replace rule "_RETURN" as on select to regress_attack.kept_living do instead select * from regress_attack.kept', null),
('living rows without a column', 'alter table regress_attack.kept drop column lot cascade', null),
-- tables of ours whose rows may change: a change by hand is captured, and no row goes
('a batch deleted', 'delete from batchcortex.batch', null),
('equipment deleted', 'delete from batchcortex.equipment', null),
('tags truncated', 'truncate batchcortex.tag cascade', null),
('an organisation deleted by a cascade', 'delete from batchcortex.organisation where org_id = ''@org''', null),
('an organisation altered', 'update batchcortex.organisation set name = ''Other'' where org_id = ''@org''', null),
('an organisation altered as the owner', 'set local role batchcortex_owner; update batchcortex.organisation set name = ''Other'' where org_id = ''@org''; reset role; update batchcortex.organisation set name = ''Another'' where org_id = ''@org''', null),
('an organisation altered as a replica', 'set local session_replication_role = replica; update batchcortex.organisation set name = ''Other'' where org_id = ''@org''', null),
('a permission given', 'insert into batchcortex.role_permission (role_name, permission) values (''operator'', ''member.configure'')', null),
('a permission taken', 'delete from batchcortex.role_permission where permission = ''batch.read''', null),
('a function of the owner', 'create function regress_attack.own() returns void security definer language sql as ''update batchcortex.organisation set name = ''''Other''''''; alter function regress_attack.own() owner to batchcortex_owner; select regress_attack.own()', null),
('no capture by hand', 'alter table batchcortex.batch disable trigger by_hand', null),
-- tables that are tracked: what no trigger sees is an event
('retyped', 'alter table regress_attack.recipe alter column lot type integer using 7', null),
('retyped, a masked value', 'alter table regress_attack.recipe alter column secret type text using ''the secret''', null),
('a column dropped', 'alter table regress_attack.recipe drop column lot', null),
('a column with a value', 'alter table regress_attack.recipe add column grade text default ''A''', null),
('a column dropped with its type', 'create type regress_attack.grade as enum (''A''); alter table regress_attack.recipe add column grade regress_attack.grade; drop type regress_attack.grade cascade', null),
('a column renamed', 'alter table regress_attack.recipe rename column lot to other', null),
('renamed', 'alter table regress_attack.recipe rename to other; create table regress_attack.recipe (id integer)', null),
('renamed as an index', 'alter index regress_attack.recipe rename to other', null),
('another schema', 'alter table regress_attack.recipe set schema public', null),
('a parent', 'create table regress_attack.up (id integer not null); alter table regress_attack.recipe inherit regress_attack.up', null),
('an heir', 'create table regress_attack.heir () inherits (regress_attack.recipe)', null),
('a partition with rows', 'alter table regress_attack.recipe_parts attach partition regress_attack.loose for values from (''2027-01-01'') to (''2028-01-01'')', null),
('a partition detached', 'alter table regress_attack.recipe_parts detach partition regress_attack.recipe_part', null),
('by a function', 'do $d$ begin execute ''alter table regress_attack.recipe drop column lot''; end $d$', null),
('schema renamed', 'alter schema regress_attack rename to other', null),
-- functions, policies, privileges, roles
('replace function', 'create or replace function batchcortex.verify(org uuid default null) returns table (log text, code text, relation text, record text, detail text) language sql as ''select null, null, null, null, null where false''', null),
('replace function', 'create or replace function batchcortex.refuse_change() returns trigger language plpgsql as ''begin return new; end''', null),
('overload', 'create function batchcortex.log_event(x integer) returns void language sql as ''''', null),
('alter function', 'alter function batchcortex_api.open_request(text, inet, text, text) security invoker', null),
('alter function', 'alter function batchcortex.verify(uuid) set search_path = regress_attack', null),
('move function', 'alter function batchcortex.verify(uuid) set schema public', null),
('replace what PostgreSQL has', 'create or replace function pg_catalog.clock_timestamp() returns timestamptz language sql as ''select now() - interval ''''1 year''''''', null),
('drop policy', 'drop policy organisation on batchcortex.events_log', null),
('widen policy', 'alter policy organisation on batchcortex.events_log using (true)', null),
('another policy', 'create policy other on batchcortex.events_log using (true)', null),
('rename policy', 'alter policy organisation on batchcortex.events_log rename to other', null),
('capture', 'create table regress_attack.tracked (id integer primary key); select batchcortex.track(''regress_attack.tracked''); alter table regress_attack.tracked disable trigger all', null),
('capture', 'create table regress_attack.tracked (id integer primary key); select batchcortex.track(''regress_attack.tracked''); drop table regress_attack.tracked', null),
('capture', 'create table regress_attack.tracked (id integer primary key); select batchcortex.track(''regress_attack.tracked''); delete from batchcortex.tracked_table', null),
('grant', 'grant all on batchcortex.session to regress_attacker', null),
('grant', 'grant execute on function batchcortex.device_secret(text) to public', null),
('member of the owner', 'grant batchcortex_owner to regress_attacker', null),
('owner as superuser', 'alter role batchcortex_owner superuser', null),
('rename role', 'alter role batchcortex_owner rename to other', null),
('extension without its function', 'alter extension pg_batchcortex drop function batchcortex.refuse_change()', null),
('extension with another', 'create function regress_attack.g() returns void language sql as ''''; alter extension pg_batchcortex add function regress_attack.g()', null),
('member of another extension', 'alter extension plpgsql add table batchcortex.events_log', null),
('member of another extension', 'alter extension plpgsql add table regress_attack."Batch Record"', null),
('member of another extension', 'alter extension plpgsql add table regress_attack.recipe', null),
('member of another extension', 'alter extension plpgsql add view regress_attack.kept_living', null),
('member of another extension', 'alter extension plpgsql add function batchcortex.refuse_change()', null),
('member of another extension', 'alter extension plpgsql add schema batchcortex', null),
('member of another extension', 'alter extension plpgsql add schema regress_attack', null),
('rename schema', 'alter schema batchcortex rename to other', null),
-- catalogs
('catalog row', 'update pg_trigger set tgenabled = ''D'' where tgname = ''append_only''', null),
('catalog row', 'delete from pg_trigger where tgname = ''append_only''', null),
('catalog row', 'update pg_class set relhastriggers = false where relname = ''Batch Record''', null),
('catalog row', 'update pg_proc set prosrc = ''x'' where proname = ''refuse_change''', null),
('catalog row', 'set local allow_system_table_mods = on; update pg_policy set polqual = null', null),
('catalog row', 'insert into pg_inherits select oid, 1, 1, false from pg_class where relname = ''child''', null),
('catalog row', 'update pg_index set indisunique = false', null),
('catalog table', 'set local allow_system_table_mods = on; alter table pg_catalog.pg_trigger rename to other', null),
('pages', 'create extension pg_surgery; select heap_force_kill(''regress_attack."Batch Record"'', array[''(0,1)'']::tid[])', null),
('pages', 'create extension pg_surgery; create function regress_attack.k(regclass, tid[]) returns void language c as ''pg_surgery'', ''heap_force_kill''; select regress_attack.k(''regress_attack."Batch Record"'', array[''(0,1)'']::tid[])', null),
('pages through an index', 'create function regress_attack.k(oid, tid[]) returns integer language c as ''$libdir/pg_surgery'', ''heap_force_kill''', null),
('a function in C', 'create function regress_attack.c(bigint, bigint) returns bytea language c as ''$libdir/pgcrypto'', ''pg_digest''', null),
('a function in C', 'create function regress_attack.c() returns void language c as ''/tmp/own.so'', ''own''', null),
('an internal function', 'create function regress_attack.c(bigint) returns text language internal as ''textin''', null),
('a library that is not allowed', 'create extension pgcrypto', null),
('an internal function while an extension is made', 'create function regress_attack.e() returns event_trigger language plpgsql as ''begin create function regress_attack.c(bigint) returns text language internal as ''''textin''''; end''; create event trigger regress_attack on ddl_command_end execute function regress_attack.e(); create extension intagg', null),
('a library loaded', 'load ''auto_explain''', null),
('a library loaded', 'load ''/tmp/own.so''', null),
('a library loaded from elsewhere', 'set local dynamic_library_path = ''/tmp''; load ''plpgsql''', null),
('a library that sessions load', 'alter role regress_attacker set session_preload_libraries = ''auto_explain''', null),
('libraries looked for elsewhere', 'alter role regress_attacker set dynamic_library_path = ''/tmp''', null),
('a function moved to pg_catalog', 'create function regress_attack.own() returns integer language sql as ''select 1''; alter function regress_attack.own() set schema pg_catalog', null),
('a cast of PostgreSQL''s types', 'create function regress_attack.own(boolean) returns bigint language sql as ''select 1::bigint''; create cast (boolean as bigint) with function regress_attack.own(boolean) as implicit', null),
('an index of ours', 'do $d$ declare i regclass; begin select indexrelid::regclass into i from pg_index where indrelid = ''batchcortex.session''::regclass and not indisprimary order by 1 limit 1; execute ''drop index '' || i; end $d$', null),
('a unique index on ours', 'create unique index on batchcortex.equipment (org_id)', null),
('a constraint on ours', 'alter table batchcortex.equipment add constraint only_one unique (org_id)', null),
('a default of ours', 'alter table batchcortex.membership alter column role_name set default ''admin''', null),
('a table of ours', 'create table batchcortex.other (id integer)', null),
('code in the sealer', 'alter table batchcortex.ledger_tile add constraint c check (width > 0)', null),
('code in the sealer', 'create index on batchcortex.ledger_queue (length(entry))', null),
('code in the register', 'alter table batchcortex.tracked_table add constraint c check (relation is not null)', null),
('operator of PostgreSQL', 'alter operator pg_catalog.> (timestamptz, timestamptz) set schema regress_attack', null),
('operator in pg_catalog', 'create operator pg_catalog.= (leftarg = regclass, rightarg = regclass, function = oideq)', null),
('function in pg_catalog', 'create function pg_catalog.own() returns integer language sql as ''select 1''', null),
('temporary type', 'create type pg_temp.ct as (id integer, lot text); create table regress_attack.tracked (id integer primary key, lot text); select batchcortex.track(''regress_attack.tracked''); alter table regress_attack.tracked of pg_temp.ct; drop type pg_temp.ct cascade', null),
('identity of somebody', 'select set_config(''batchcortex.identity'', ''x'', false)', null),
('broken glass', 'set batchcortex.break_glass = ''x''', null);
update attack set statements = replace(replace(statements, '@org', :'org'), '@part', 'batchcortex.events_log_' || to_char(now() at time zone 'UTC', 'YYYY_MM'));

create function pg_temp.try(statements text, no_effect text) returns text language plpgsql as $$
declare
    found text;
    told text;
    harmless boolean := false;
    since timestamptz := clock_timestamp();
begin
    begin
        execute statements;
        select string_agg(coalesce(e.after ->> 'statement', e.action || ' ' || e.record_type), '; ' order by e.event_id) into told from batchcortex.events_log e
         where (e.action = 'table.altered' or e.action like 'row.%' and e.record_type like 'batchcortex.%') and e.recorded_at >= since;
        if no_effect is not null then
            execute no_effect into harmless;
        end if;
        -- Whether the rows themselves are whole is asked whatever happened to the functions that tell.
        select string_agg(distinct code, ', ' order by code) into found from batchcortex.verify();
        raise exception using errcode = 'P0099', message = case when harmless and found is null then 'no effect' else coalesce('found: ' || found, 'recorded: ' || told, 'UNNOTICED') end;
    exception
        when sqlstate 'P0099' then return sqlerrm;
        when sqlstate 'BC001' then return 'refused: ' || sqlerrm;
        when others then return format('fails: %s %s', sqlstate, sqlerrm);
    end;
end $$;
-- Which of many objects a DROP meets first is PostgreSQL's business.
\pset format unaligned
select kind, case when kind ~ '^drop (table|partition|schema|extension|owned)' then split_part(o, ':', 1) else regexp_replace(o, '_\d{4}_\d{2}', '_YYYY_MM', 'g') end as outcome
  from attack cross join lateral pg_temp.try(statements, no_effect) o order by n;
\pset format aligned
select count(*) >= 60 as enough from attack;
-- After all of it nothing has changed.
select count(*) as findings from batchcortex.verify();
select count(*) as rows, count(distinct lot) as lots from regress_attack."Batch Record";
drop role regress_attacker;
