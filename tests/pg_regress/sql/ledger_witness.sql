-- Witnesses: who may cosign, what is taken from them, the quorum, the log as anyone may read it. Cosignatures of real keys are made in
-- the whole-line tests; here, what is refused and what is counted.
-- control: N3 A19
\set VERBOSITY terse
set client_min_messages = warning;
\set global ffffffff-ffff-ffff-ffff-ffffffffffff
-- Keys of C2SP's and Go's documents.
\set log_key PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW
select gen_random_uuid() as org \gset
insert into batchcortex.organisation (org_id, name) values (:'org', :'org');
select batchcortex.log_event('regress.witness', 'thing', '1', org_id => :'org') as event \gset
select batchcortex.wait_sealed(:'event') > 0 as sealed;
select t.size as size from batchcortex.ledger_tree t where t.org_id = :'global' \gset

\echo keys
select * from batchcortex.read_verifier_key(:'log_key');
select count(*) from batchcortex.read_verifier_key('nonsense');
select count(*) from batchcortex.read_verifier_key(null);
-- A witness's key from 32 bytes that a curve point has: the public half of the log's, under type 4.
with k as (select decode('04' || substr(encode(decode('ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW', 'base64'), 'hex'), 3), 'hex') as key)
select 'w.example+' || encode(substr(sha256(convert_to(E'w.example\n', 'UTF8') || key), 1, 4), 'hex') || '+' || encode(key, 'base64') as witness_key from k \gset
select name, kind from batchcortex.read_verifier_key(:'witness_key');

\echo registering
select batchcortex.add_witness(:'log_key', 'a log is no witness');
select batchcortex.add_witness('nonsense', 'no key at all');
select batchcortex.add_witness(:'witness_key', ' ');
select batchcortex.add_witness(:'witness_key', 'the customer''s agent');
select batchcortex.add_witness(:'witness_key', 'twice');
select witness, active, newest_size from batchcortex.witnesses();
select action, record_id like 'w.example+%' as record, reason, after is not null as key from batchcortex.events_log where action like 'witness.%' order by recorded_at desc limit 1;
update batchcortex.ledger_witness set active = false;
delete from batchcortex.ledger_witness;
truncate batchcortex.ledger_witness;

\echo cosignatures that are refused
select * from batchcortex.read_submission(E'size 7\n\n— w.example AAAAAAAA\n');
select count(*) from batchcortex.read_submission(E'size 07\n\n— w.example AAAAAAAA\n');
select count(*) from batchcortex.read_submission('nonsense');
\set VERBOSITY default
select batchcortex_api.add_cosignatures('nonsense', '192.0.2.1');
select batchcortex_api.add_cosignatures(E'size 999999999\n\n— w.example AAAAAAAA\n', '192.0.2.1');
\set VERBOSITY sqlstate
select batchcortex_api.add_cosignatures('size ' || :'size' || E'\n\n— stranger.example AAAAAAAA\n', '192.0.2.1');
-- A known key and a signature that is not its.
select encode(key_id || decode('0000000065000000', 'hex') || sha512('no signature'), 'base64') as raw from batchcortex.ledger_witness limit 1 \gset
select replace(:'raw', E'\n', '') as forged \gset
select outcome, witness from batchcortex.check_cosignature('— w.example ' || :'forged', batchcortex.checkpoint_text(:'global', :size), array[:'witness_key']);
select outcome, witness from batchcortex.check_cosignature('— w.example ' || :'forged', batchcortex.checkpoint_text(:'global', :size), '{}');
select outcome, witness from batchcortex.check_cosignature('nonsense', batchcortex.checkpoint_text(:'global', :size), '{}');
select batchcortex_api.add_cosignatures('size ' || :'size' || E'\n\n— w.example ' || :'forged' || E'\n', '192.0.2.1');
select count(*) as stored from batchcortex.ledger_cosignature;
set role batchcortex_owner;
insert into batchcortex.ledger_witness (verifier_key, witness, key_id, active, reason) values ('k', 'w', '\x00000000', true, 'by the API');
update batchcortex.ledger_cosignature set line = 'x';
reset role;

\echo the quorum
\set VERBOSITY sqlstate
select batchcortex.witnessed_size(1), batchcortex.witnessed_size(0) >= :size as none_asked;
select batchcortex.wait_witnessed(:'event', '200 ms', 0) <= :size as without;
select batchcortex.wait_witnessed(:'event', '200 ms');
show batchcortex.witness_quorum;
select status in ('up', 'lagging') as status, detail ~ 'witnesses have cosigned' as says from batchcortex.health() where component = 'witness';

\echo a cosignature behind the API is found, whatever it says
begin;
insert into batchcortex.ledger_cosignature (tree_size, witness, key_id, incarnation, cosigned_at, line)
    select :size, 'w.example', key_id, 1, to_timestamp(x'65000000'::bigint), '— w.example ' || :'forged' from batchcortex.ledger_witness limit 1;
insert into batchcortex.ledger_cosignature (tree_size, witness, key_id, incarnation, cosigned_at, line)
    values (999999999, 'w.example', '\x00000001', 1, now(), '— w.example AAAAAAAA'), (:size, 'nobody.example', '\x00000002', 1, now(), '— nobody.example AAAAAgAA');
select code, relation, regexp_replace(record, '\d+ |[0-9a-f]{8}$', '', 'g') as record, detail from batchcortex.verify(:'org') where code = 'wrong_cosignature' order by 3, 4;
rollback;
select w ->> 'witness' as witness, w -> 'newest_size' as newest, (r -> 'witness_quorum')::text as quorum
  from (select batchcortex.verify_report(:'org')::jsonb) as v (r), jsonb_array_elements(r -> 'witnesses') w;

\echo the log as anyone may read it
set role batchcortex_api;
select batchcortex_api.global_checkpoint('192.0.2.2') like 'batchcortex.test/%' as note;
select octet_length(batchcortex_api.global_tile(0, 0, 2, '192.0.2.2')) as two_hashes;
select batchcortex_api.global_tile(0, 0, 2, '192.0.2.2') = substr(batchcortex_api.global_tile(0, 0, 3, '192.0.2.2'), 1, 64) as a_part_stays;
select batchcortex_api.global_tile(0, 999999, 1, '192.0.2.2');
select batchcortex_api.global_tile(0, 0, 0, '192.0.2.2');
select batchcortex_api.global_tile(0, 0, 257, '192.0.2.2');
select batchcortex_api.global_tile(63, 0, 1, '192.0.2.2');
select cardinality(batchcortex_api.global_consistency(1, 2, '192.0.2.2')) as hashes;
select batchcortex_api.global_consistency(0, 2, '192.0.2.2');
select batchcortex_api.global_consistency(2, 999999999, '192.0.2.2');
select batchcortex_api.log_checkpoint();
select batchcortex_api.log_tile(0, 0, 1);
select batchcortex_api.log_inclusion(0, 1);
select batchcortex_api.log_consistency(1, 1);
reset role;
-- An address has a budget; a whole /64 has one.
select format('2001:db8:%s', to_hex((random() * 65535)::integer)) as net \gset
set batchcortex.rate_public = 2;
select batchcortex_api.global_consistency(1, 2, (:'net' || '::1')::inet) is not null as first;
select batchcortex_api.global_consistency(1, 2, (:'net' || '::ffff')::inet) is not null as second;
select batchcortex_api.global_consistency(1, 2, (:'net' || ':0:0:1::1')::inet);
select batchcortex_api.global_consistency(1, 2, (:'net' || ':1::1')::inet) is not null as another;
reset batchcortex.rate_public;

\echo retiring
\set VERBOSITY terse
select batchcortex.retire_witness(:'witness_key', 'replaced');
select batchcortex.retire_witness(:'witness_key', 'replaced');
select witness, active from batchcortex.witnesses();
\set VERBOSITY sqlstate
select batchcortex_api.add_cosignatures('size ' || :'size' || E'\n\n— w.example ' || :'forged' || E'\n', '192.0.2.1');
select status, detail ~ 'no witness' as says from batchcortex.health() where component = 'witness';
set role batchcortex_auditor;
select count(*) from batchcortex.witnesses();
select batchcortex.add_witness(:'witness_key', 'by an auditor');
reset role;
