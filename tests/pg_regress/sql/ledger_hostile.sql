-- Verification among hostile tables, events and settings: nobody's code runs with the verifier's rights, and nothing that is written ends it.
-- control: A18 A20
\set VERBOSITY terse
set client_min_messages = warning;
\set installation 00000000-0000-0000-0000-000000000000
select gen_random_uuid() as org, gen_random_uuid() as other \gset
insert into batchcortex.organisation (org_id, name) values (:'org', :'org'), (:'other', :'other');
create role regress_mallory;
create schema regress_m authorization regress_mallory;
set role regress_mallory;
create table regress_m.t (id integer primary key, org uuid not null, note text);
create function regress_m.g() returns void language plpgsql as $$
begin
    if (select rolsuper from pg_roles where rolname = current_user) then
        alter role regress_mallory superuser;
    end if;
    perform set_config('search_path', 'regress_m, pg_catalog', false);
    if current_setting('regress.raise', true) = 'on' then
        raise exception 'no' using errcode = current_setting('regress.state');
    end if;
end
$$;
create function regress_m.f(text) returns boolean language plpgsql immutable as $$ begin perform regress_m.g(); return true; end $$;
create index on regress_m.t (note) where regress_m.f('x');
reset role;
set search_path = public;
select batchcortex.protect('regress_m.t', 'org');
select rolsuper from pg_roles where rolname = 'regress_mallory';
-- An INSERT runs what the owner wrote with the rights of whoever inserts, as everywhere in PostgreSQL: it is the owner's own here.
set role regress_mallory;
insert into regress_m.t values (1, :'org', 'a'), (2, :'other', 'b');
reset role;
select batchcortex.seal() > 0 as sealed;
\echo code in a predicate of an index: neither with the rights of the verifier, nor with traces in the session
set search_path = public;
select code, relation, record, detail from batchcortex.verify();
select code, relation, record, detail from batchcortex.verify(:'org');
select count(*) > 0 as lines from batchcortex.export_evidence(:'org') line;
select rolsuper from pg_roles where rolname = 'regress_mallory';
show search_path;
\echo its errors are a finding, about its table alone
set regress.raise = on;
set regress.state = 'P0001';
select code, relation, record, detail from batchcortex.verify(:'org');
\echo whatever they say of themselves: a page that cannot be read, no memory
set regress.state = 'XX001';
select code, relation, record, detail from batchcortex.verify(:'org');
set regress.state = '53200';
select distinct code, relation, record, detail from batchcortex.verify();
reset regress.raise;
\echo an auditor of one organisation learns nothing of others: no rows, no waiting leaves
create role regress_auditor_hostile login;
grant usage on schema regress_m to regress_auditor_hostile;
grant select on regress_m.t to regress_auditor_hostile;
select batchcortex.grant_auditor('regress_auditor_hostile', :'org', clock_timestamp() + interval '1 hour', 'a visit') is not null as granted;
select batchcortex.seal() > 0 as sealed;
set session authorization regress_auditor_hostile;
select * from batchcortex.verify() where log <> 'installation';
reset session authorization;
\echo events that somebody wrote in the name of the server are read as data
begin;
select count(batchcortex.log_event(e.action, e.kind, 'x', after => e.after::json, org_id => :'installation')) as events
  from (values ('table.protected', 'table', '{"relation_id":"abc"}'), ('table.protected', 'table', '{"key_columns":5}'), ('table.protected', 'table', '[]'),
               ('table.soft_deletable', 'table', '{"living":"a.b.c.d"}'), ('table.soft_deletable', 'table', '{"living":"\""}'),
               ('table.altered', 'table', '{"name":"a.b.c.d"}'), ('table.tracked', 'table', '{"name":"\u0000"}'),
               ('witness.added', 'ledger_witness', '{"verifier_key":"\u0000"}'), ('witness.added', 'ledger_witness', '{"verifier_key":{}}'),
               ('schema.structure', 'schema_migration', '{"major":1e999999}'), ('session.opened', 'session', '{"expires_at":"soon"}'),
               ('session.opened', 'session', '{"expires_at":"2026-02-31T00:00:00Z","user_id":"\u0000"}')) e (action, kind, after);
select code, relation, record, detail from batchcortex.verify() where code <> 'sealing_overdue' order by 1, 2, 3, 4;
rollback;
\echo the texts of the catalog do not depend on the session
set quote_all_identifiers = on;
set standard_conforming_strings = off;
select code, relation, record, detail from batchcortex.verify(:'org');
reset quote_all_identifiers;
reset standard_conforming_strings;
\echo the global log alone, an organisation of which there is nothing, the beginning of a log of which nothing is sealed, and nulls
select code, relation, record, detail from batchcortex.verify('ffffffff-ffff-ffff-ffff-ffffffffffff');
select code from batchcortex.verify('11111111-1111-1111-1111-111111111111');
select gen_random_uuid() as empty \gset
insert into batchcortex.organisation (org_id, name) values (:'empty', :'empty');
select code from batchcortex.verify_since(:'empty', 0, sha256(''));
select code, record from batchcortex.verify_since(:'empty', 0, sha256('x'));
select code from batchcortex.verify_since(:'org', 1, null);
select code from batchcortex.verify_since(null, 1, sha256(''));
\echo a table of strangers, registered as if it were one of the project, and an end of the log that nobody asked for
begin;
create table public.fake (fid uuid, org_id uuid, recorded_at timestamptz, leaf_hash bytea);
insert into batchcortex.ledger_relation (relation, domain, org_column, key_columns, hashed) values ('public.fake', 'fake', 'org_id', '{fid}', true);
insert into batchcortex.ledger_incarnation_request (origin, reason) select origin, 'mine' from batchcortex.ledger_incarnation order by incarnation desc limit 1;
select code, relation, case when record like '%/%' then 'origin' else record end as record, detail from batchcortex.verify(:'org') order by 1, 2;
rollback;
\echo waiting is measured when this transaction saw it
begin isolation level repeatable read;
select batchcortex.log_event('regress.hostile', 'thing', '1', org_id => :'org') is not null as logged;
select count(*) from batchcortex.verify(:'org') where code = 'sealing_overdue';
rollback;
