-- Evidence: what is exported for each scope, that SQL's own sha256() confirms it, and what is refused. bcverify reads it in tests/e2e.
-- control: A18 A19 N1
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
\set again 'user=' :USER
set batchcortex.rate_general = 0;
drop role if exists regress_eva;
create role regress_eva login password 'eva';
select 'qa-' || gen_random_uuid() as qa \gset
select org_id as org, invitation as bci from batchcortex.create_organisation('Evident ' || gen_random_uuid(), :'qa') \gset
select outcome from batchcortex_api.accept_invitation(:'bci', 'Eva', 'a long enough password');
select org_id as other from batchcortex.create_organisation('Other ' || gen_random_uuid(), 'other-' || gen_random_uuid()) \gset
select token from batchcortex_api.login(:'qa', 'a long enough password') \gset
select gen_random_uuid() as bare \gset
insert into batchcortex.organisation (org_id, name) values (:'bare', :'bare');
begin;
select count(*) from batchcortex_api.open_request(:'token');
select batchcortex_api.create_batch('L-7 "left"', 'Syrup') as batch \gset
select batchcortex_api.start_batch(:'batch');
commit;
select count(batchcortex.log_event('regress.evidence', 'thing', i::text, after => '{"kg": 12.50}', org_id => :'org')) from generate_series(1, 300) i;
select clock_timestamp() as noon \gset
select batchcortex.log_event('regress.evidence', 'thing', 'late', org_id => :'org') as late \gset
select batchcortex.wait_sealed(:'late') > 0 as sealed;
create temp table line (n serial, line json);
create temp view shape as select string_agg(kind || case when number > 1 then ' ×' else '' end, ', ' order by first) as lines
  from (select kind, count(*) as number, min(n) as first from line cross join lateral json_object_keys(line) with ordinality k (kind, i) where i = 1 group by 1) s;
-- A leaf's preimage hashes to the hash beside it, and that is the hash of the log.
create temp view leaves as select (line -> 'leaf' ->> 'index')::bigint as leaf_index, decode(line -> 'leaf' ->> 'hash', 'hex') as hash, decode(line -> 'leaf' ->> 'preimage', 'hex') as preimage
  from line where line -> 'leaf' is not null;
create temp view checked as select count(*) as leaves, bool_and(sha256('\x00' || preimage) = hash) as hashed,
       bool_and(hash = substr(t.hashes, 32 * (leaf_index % 256)::integer + 1, 32)) as in_log
  from leaves left join batchcortex.ledger_tile t on t.org_id = (select org_id from batchcortex.events_log where event_id = :'late') and t.level = 0 and t.tile_index = leaf_index / 256;

\echo everything
insert into line (line) select batchcortex.export_evidence(:'org')::json;
select * from shape;
select leaves = (select count(*) from batchcortex.events_log where org_id = :'org') as all_events, hashed, in_log from checked;
select line ->> 'evidence' as evidence, line ->> 'scope' as scope, (line ->> 'origin') = i.origin || '/' || :'org' as origin,
       (line ->> 'exported_at')::timestamptz between now() - interval '1 minute' and clock_timestamp() as exported_at
  from line, batchcortex.ledger_incarnation i where n = 1;
select line ->> 'checkpoint' = batchcortex.checkpoint_text(:'org', (select size from batchcortex.ledger_tree where org_id = :'org')) as checkpoint
  from line where line -> 'checkpoint' is not null;
select line ->> 'global' like '%/%' and split_part(line ->> 'global', E'\n', 5) = '' as note from line where line -> 'global' is not null;
select json_array_length(line -> 'inclusion' -> 'path') < 64 as path from line where line -> 'inclusion' is not null;

\echo one record
truncate line;
insert into line (line) select batchcortex.export_evidence(:'org', record => :'late')::json;
select * from shape;
select * from checked;
select position(convert_to('late', 'UTF8') in preimage) > 0 as it from leaves;
select line ->> 'scope' = 'record ' || :'late' as scope from line where n = (select min(n) from line);

\echo a batch, whose number is quoted
truncate line;
insert into line (line) select batchcortex.export_evidence(:'org', batch => :'batch')::json;
select * from shape;
select leaves = (select count(*) from batchcortex.events_log where org_id = :'org' and batch_id = :'batch') as all_events, hashed, in_log from checked;
select line ->> 'scope' = 'batch ' || :'batch' || ' L-7 "left"' as scope from line where n = (select min(n) from line);

\echo a time, open at one end
truncate line;
insert into line (line) select batchcortex.export_evidence(:'org', from_time => :'noon')::json;
select * from shape;
select * from checked;
truncate line;
insert into line (line) select batchcortex.export_evidence(:'org', until_time => :'noon')::json;
select leaves = (select count(*) from batchcortex.events_log where org_id = :'org' and recorded_at < :'noon') as before, hashed, in_log from checked;
truncate line;
insert into line (line) select batchcortex.export_evidence(:'org', from_time => '2001-01-01', until_time => '2001-01-02')::json;
select * from shape;

\echo consistent with a checkpoint that was kept
truncate line;
select min(tree_size) as kept from batchcortex.ledger_checkpoint where org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff' \gset
insert into line (line) select batchcortex.export_evidence(:'org', record => :'late', since => :kept)::json;
select count(*) as consistency from line where line -> 'consistency' is not null and (line -> 'consistency' ->> 'size')::bigint = :kept;

\echo rows of a protected table, found by a key of two columns
create schema regress_evidence;
create table regress_evidence.scale (org uuid not null, code text, day date, kg numeric, primary key (code, day));
select batchcortex.protect('regress_evidence.scale', 'org') is not null as protected;
insert into regress_evidence.scale select :'org', 'W-' || i || ' é', date '2026-01-01' + i, i / 3.0 from generate_series(1, 3) i;
select batchcortex.seal() > 0 as sealed;
truncate line;
insert into line (line) select batchcortex.export_evidence(org_id)::json from batchcortex.ledger_tree where org_id = :'org';
select count(*) as rows, bool_and(sha256('\x00' || preimage) = hash) as hashed from leaves where position('table:regress_evidence.scale'::bytea in preimage) > 0;
select count(*) as missing from line where line -> 'missing' is not null;

\echo a checkpoint that witnesses have cosigned is preferred where it shows as much
begin;
insert into batchcortex.ledger_cosignature (tree_size, witness, key_id, incarnation, cosigned_at, line)
select c.tree_size, 'regress', '\x00000000', c.incarnation, now(), '— regress of a cosignature'
  from batchcortex.ledger_checkpoint c where c.org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff' and c.tree_size = batchcortex.sealed_in(:'late');
create function pg_temp.global_of(org uuid, record uuid, since bigint) returns text language sql as
$$ select l::json ->> 'global' from batchcortex.export_evidence(org, record => record, since => since) l where l like '{"global"%' $$;
select split_part(g, E'\n', 2)::bigint = batchcortex.sealed_in(:'late') as cosigned_one, g like E'%\n— regress of a cosignature\n' as with_it from pg_temp.global_of(:'org', :'late', null) g;
select g = batchcortex.latest_checkpoint('ffffffff-ffff-ffff-ffff-ffffffffffff') as newest from pg_temp.global_of(:'org', null, null) g;
select g = batchcortex.latest_checkpoint('ffffffff-ffff-ffff-ffff-ffffffffffff') as newest
  from pg_temp.global_of(:'org', :'late', split_part(batchcortex.latest_checkpoint('ffffffff-ffff-ffff-ffff-ffffffffffff'), E'\n', 2)::bigint) g;
rollback;

\echo what is refused
\set VERBOSITY sqlstate
select batchcortex.export_evidence(null);
select batchcortex.export_evidence(gen_random_uuid());
select batchcortex.export_evidence(:'bare');
select batchcortex.export_evidence(:'org', record => gen_random_uuid());
select batchcortex.export_evidence(:'org', record => '018f0000-0000-7000-8000-000000000001');
select batchcortex.export_evidence(:'org', record => 'ffffffff-ffff-7fff-ffff-ffffffffffff');
select batchcortex.export_evidence(:'other', record => :'late');
select batchcortex.export_evidence(:'org', batch => gen_random_uuid());
select batchcortex.export_evidence(:'other', batch => :'batch');
select batchcortex.export_evidence(:'org', record => :'late', batch => :'batch');
select batchcortex.export_evidence(:'org', record => :'late', from_time => now());
select batchcortex.export_evidence(:'org', from_time => '2001-01-02', until_time => '2001-01-01');
select batchcortex.export_evidence(:'org', from_time => '-infinity');
select batchcortex.export_evidence(:'org', since => 0);
select batchcortex.export_evidence(:'org', since => 1000000000);
-- A record that waits for its sealing is there, and is said to wait.
begin;
select batchcortex.log_event('regress.evidence', 'thing', 'waiting', org_id => :'org') as waiting \gset
select batchcortex.export_evidence(:'org', record => :'waiting');
rollback;

\echo an auditor exports what is granted
select batchcortex.grant_auditor('regress_eva', :'org', now() + interval '1 day', 'inspection') is not null as granted;
\c -reuse-previous=on "user=regress_eva password=eva"
\set VERBOSITY sqlstate
set client_min_messages = warning;
select count(*) > 300 as lines from batchcortex.export_evidence(:'org');
select count(*) > 3 as lines from batchcortex.export_evidence(:'org', record => :'late');
select count(*) > 3 as lines from batchcortex.export_evidence(:'org', batch => :'batch');
select batchcortex.export_evidence(:'other');
select batchcortex.export_evidence(:'other', record => :'late');
select batchcortex_api.export_evidence();
\c -reuse-previous=on :again
\set VERBOSITY sqlstate
set client_min_messages = warning;

\echo the API exports what its caller may verify and read, and tells of it
begin;
select batchcortex_api.export_evidence();
rollback;
begin;
select count(*) from batchcortex_api.open_request(:'token');
select count(*) > 300 as lines from batchcortex_api.export_evidence();
select count(*) > 3 as lines from batchcortex_api.export_evidence(batch => :'batch', since => :kept);
commit;
select record_id = case when batch_id is null then 'all' else 'batch ' || :'batch' end as record, actor_name, after::jsonb - 'scope' - 'tree_size' - 'global_size' - 'since' as more
  from batchcortex.events_log where org_id = :'org' and action = 'ledger.exported' order by recorded_at;
-- A refused export leaves no event.
begin;
select count(*) from batchcortex_api.open_request(:'token');
select batchcortex_api.export_evidence(record => gen_random_uuid());
rollback;
select count(*) as told from batchcortex.events_log where org_id = :'org' and action = 'ledger.exported';
drop role regress_eva;
