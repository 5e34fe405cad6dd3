-- needs: batchcortex.break_glass
-- What somebody writes behind broken glass neither ends the sealer nor is signed by it: the log that it is about waits, the others go on.
-- control: A17 A18 A21
\set VERBOSITY terse
set client_min_messages = warning;
\set global ffffffff-ffff-ffff-ffff-ffffffffffff
select gen_random_uuid() as org, gen_random_uuid() as well \gset
insert into batchcortex.organisation (org_id, name) values (:'org', :'org'), (:'well', :'well');
create function pg_temp.write(variadic orgs uuid[]) returns bigint language sql as $$
    select count(batchcortex.log_event('regress.sealer', 'thing', '1', org_id => o)) from unnest(orgs) o
$$;
create function pg_temp.sealer() returns setof integer language sql as $$
    select pid from pg_stat_activity where backend_type = 'batchcortex sealer' and datname = current_database()
$$;
-- Leaves that are left when everything that can be sealed was.
create function pg_temp.waiting() returns bigint language plpgsql as $$
begin
    perform batchcortex.seal();
    return (select count(*) from batchcortex.ledger_queue);
end $$;
select pg_temp.write(:'org', :'well');
select pg_temp.waiting();
select size as org_size from batchcortex.ledger_tree where org_id = :'org' \gset
select size as well_size from batchcortex.ledger_tree where org_id = :'well' \gset
select pg_temp.sealer() as sealer \gset

-- Times of a head that its newest checkpoint does not say.
alter table batchcortex.ledger_tree disable trigger all;
select sealed_at as was from batchcortex.ledger_tree where org_id = :'global' \gset
\echo a time to come, the end of time, its beginning, the last year that PostgreSQL knows: of the global log
update batchcortex.ledger_tree set sealed_at = '2199-01-01' where org_id = :'global';
select pg_temp.write(:'org', :'well');
set client_min_messages = error;
select pg_temp.waiting();
update batchcortex.ledger_tree set sealed_at = 'infinity' where org_id = :'global';
select pg_temp.waiting();
update batchcortex.ledger_tree set sealed_at = '-infinity' where org_id = :'global';
select pg_temp.waiting();
update batchcortex.ledger_tree set sealed_at = '294276-12-31' where org_id = :'global';
select pg_temp.waiting();
set client_min_messages = warning;
update batchcortex.ledger_tree set sealed_at = :'was' where org_id = :'global';
select pg_temp.waiting();
\echo the same, with the newest checkpoint made to fit: it is signed
select size, sealed_at as was from batchcortex.ledger_tree where org_id = :'global' \gset
alter table batchcortex.ledger_checkpoint disable trigger all;
set client_min_messages = error;
update batchcortex.ledger_tree set sealed_at = '2199-01-01' where org_id = :'global';
update batchcortex.ledger_checkpoint set sealed_at = '2199-01-01' where org_id = :'global' and tree_size = :size;
select pg_temp.write(:'org', :'well');
select pg_temp.waiting();
update batchcortex.ledger_tree set sealed_at = 'infinity' where org_id = :'global';
update batchcortex.ledger_checkpoint set sealed_at = 'infinity' where org_id = :'global' and tree_size = :size;
select pg_temp.waiting();
update batchcortex.ledger_tree set sealed_at = '-infinity' where org_id = :'global';
update batchcortex.ledger_checkpoint set sealed_at = '-infinity' where org_id = :'global' and tree_size = :size;
select pg_temp.waiting();
set client_min_messages = warning;
update batchcortex.ledger_tree set sealed_at = :'was' where org_id = :'global';
update batchcortex.ledger_checkpoint set sealed_at = :'was' where org_id = :'global' and tree_size = :size;
select pg_temp.waiting();
\echo of an organisation: the other one goes on
select size, sealed_at as was from batchcortex.ledger_tree where org_id = :'org' \gset
update batchcortex.ledger_tree set sealed_at = 'infinity' where org_id = :'org';
select pg_temp.write(:'org', :'well');
set client_min_messages = error;
select pg_temp.waiting();
update batchcortex.ledger_checkpoint set sealed_at = 'infinity' where org_id = :'org' and tree_size = :size;
select pg_temp.write(:'well');
select pg_temp.waiting();
set client_min_messages = warning;
update batchcortex.ledger_tree set sealed_at = :'was' where org_id = :'org';
update batchcortex.ledger_checkpoint set sealed_at = :'was' where org_id = :'org' and tree_size = :size;
select pg_temp.waiting();
alter table batchcortex.ledger_checkpoint enable always trigger append_only, enable always trigger append_only_truncate, enable always trigger single_writer, enable always trigger single_writer_truncate;
alter table batchcortex.ledger_tree enable always trigger single_writer, enable always trigger single_writer_truncate;

-- A number of a table that no tile can hold.
create table public.numbered (id integer primary key);
\echo refused
select last_value as was from batchcortex.ledger_relation_relation_id_seq \gset
select setval(pg_get_serial_sequence('batchcortex.ledger_relation', 'relation_id'), 70000);
select setval(pg_get_serial_sequence('batchcortex.ledger_relation', 'relation_id'), 65535);
select batchcortex.protect('public.numbered');
select setval(pg_get_serial_sequence('batchcortex.ledger_relation', 'relation_id'), 1);
select batchcortex.protect('public.numbered');
insert into batchcortex.ledger_relation (relation_id, relation, domain, key_columns, hashed) overriding system value values (70000, 'public.numbered', 'table:numbered', '{id}', false);
insert into batchcortex.ledger_relation (relation_id, relation, domain, key_columns, hashed) overriding system value values (0, 'public.numbered', 'table:numbered', '{id}', false);
select setval(pg_get_serial_sequence('batchcortex.ledger_relation', 'relation_id'), :was) = :was as restored;
select count(*) as registered from batchcortex.ledger_relation where relation = 'public.numbered'::regclass;
select count(*) as triggers from pg_trigger where tgrelid = 'public.numbered'::regclass;
\echo a leaf of such a table, and one of a time that nobody can write, put into the queue by hand
alter table batchcortex.ledger_queue disable trigger all;
insert into batchcortex.ledger_queue (entry) values (uuid_send(:'org') || '\x00011170' || int8send(0) || sha256('x') || '\x00');
select pg_temp.write(:'org', :'well');
set client_min_messages = error;
select pg_temp.waiting();
select pg_temp.write(:'well');
select pg_temp.waiting();
delete from batchcortex.ledger_queue where substr(entry, 17, 4) = '\x00011170';
select pg_temp.waiting();
insert into batchcortex.ledger_queue (entry) values (uuid_send(:'org') || '\x00000001' || int8send(9223372036854775806) || sha256('x') || '\x00');
select pg_temp.write(:'well');
select pg_temp.waiting();
delete from batchcortex.ledger_queue where substr(entry, 21, 8) = int8send(9223372036854775806);
insert into batchcortex.ledger_queue (entry) values (uuid_send(:'global') || '\x00000001' || int8send(0) || sha256('x') || '\x00');
select pg_temp.write(:'well');
select pg_temp.waiting();
delete from batchcortex.ledger_queue where substr(entry, 1, 16) = uuid_send(:'global');
set client_min_messages = warning;
alter table batchcortex.ledger_queue enable always trigger single_writer, enable always trigger single_writer_truncate;
select pg_temp.waiting();
drop table public.numbered;

-- Rows of the log's lives that say anything at all: verification names it, and the sealer waits or goes on, but neither breaks.
alter table batchcortex.ledger_incarnation disable trigger all;
create temp table kept as select * from batchcortex.ledger_incarnation;
create table pg_temp.tried (what text, codes text[], waiting bigint);
create procedure pg_temp.try(what text, change text, well uuid) language plpgsql as $$
declare
    codes text[];
    waiting bigint;
begin
    execute format('update batchcortex.ledger_incarnation set %s where incarnation = (select max(incarnation) from batchcortex.ledger_incarnation)', change);
    commit;
    begin
        select array_agg(distinct v.code order by v.code) into codes from batchcortex.verify() v where v.record <> 'batchcortex.break_glass';
    exception when others then
        codes := array[sqlerrm];
    end;
    perform pg_temp.write(well);
    commit;
    begin
        waiting := pg_temp.waiting();
    exception when others then
        null;
    end;
    insert into pg_temp.tried values (what, codes, waiting);
    delete from batchcortex.ledger_incarnation;
    insert into batchcortex.ledger_incarnation select * from kept;
    commit;
    perform batchcortex.seal();
end $$;
alter table batchcortex.ledger_incarnation drop constraint ledger_incarnation_begun_size_check, drop constraint ledger_incarnation_incarnation_check,
    drop constraint ledger_incarnation_begun_root_check, drop constraint ledger_incarnation_check;
set client_min_messages = error;
call pg_temp.try('began at -infinity', $$began_at = '-infinity'$$, :'well');
call pg_temp.try('began at infinity', $$began_at = 'infinity'$$, :'well');
call pg_temp.try('began in the year 10000', $$began_at = '10000-01-01'$$, :'well');
call pg_temp.try('began before Christ', $$began_at = '4713-01-01 BC'$$, :'well');
call pg_temp.try('began with -1 leaves', $$begun_size = -1$$, :'well');
call pg_temp.try('began with most leaves', $$begun_size = 9223372036854775807$$, :'well');
call pg_temp.try('no root', $$begun_root = ''$$, :'well');
call pg_temp.try('a long root', $$begun_root = decode(repeat('00', 4000), 'hex')$$, :'well');
call pg_temp.try('leaf -1', $$global_index = -1$$, :'well');
call pg_temp.try('leaf of the end', $$global_index = 9223372036854775807$$, :'well');
call pg_temp.try('number 0', $$incarnation = 0$$, :'well');
call pg_temp.try('the greatest number', $$incarnation = 2147483647$$, :'well');
call pg_temp.try('the least number', $$incarnation = -2147483648$$, :'well');
call pg_temp.try('no origin', $$origin = ''$$, :'well');
call pg_temp.try('another origin', $$origin = E'\n\x01☃/+/0-'$$, :'well');
call pg_temp.try('a long origin', $$origin = repeat('x', 2000)$$, :'well');
call pg_temp.try('an empty previous one', $$previous = ''$$, :'well');
call pg_temp.try('lines for a previous one', $$previous = E'a\nb'$$, :'well');
set client_min_messages = warning;
select * from pg_temp.tried;
alter table batchcortex.ledger_incarnation add check (begun_size >= 0), add check (incarnation > 0), add check (octet_length(begun_root) = 32), add check ((incarnation = 1) = (previous is null));
alter table batchcortex.ledger_incarnation enable always trigger append_only, enable always trigger append_only_truncate, enable always trigger single_writer, enable always trigger single_writer_truncate;
-- The same sealer all the time, and nothing is left.
select :sealer = (select pg_temp.sealer()) as same_sealer;
select t.size - :org_size as org, w.size - :well_size as well from batchcortex.ledger_tree t, batchcortex.ledger_tree w where t.org_id = :'org' and w.org_id = :'well';
select code, relation, record, detail from batchcortex.verify() where record <> 'batchcortex.break_glass' order by 1, 2, 3, 4;
