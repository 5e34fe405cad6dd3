-- Time stamps over checkpoints: the query in its bytes, and what is refused. Whole responses: the test anchor of tests/e2e.
-- control: A4
\set VERBOSITY terse
set client_min_messages = warning;
\set global ffffffff-ffff-ffff-ffff-ffffffffffff
select batchcortex.log_event('regress.anchor', 'thing', '1', org_id => '00000000-0000-0000-0000-000000000000') as event \gset
select batchcortex.wait_sealed(:'event') as size \gset

\echo the query names SHA-256 of the signed note, a nonce that follows from it, and asks for the certificate
select batchcortex.signed_checkpoint(:size) = note as signed, strpos(batchcortex.timestamp_query(:size)::text, encode(sha256(convert_to(note, 'UTF8')), 'hex')) > 0 as imprint,
       encode(substr(batchcortex.timestamp_query(:size), 3, 24), 'hex') = '0201013031300d060960864801650304020105000420' || substr(encode(sha256(convert_to(note, 'UTF8')), 'hex'), 1, 4) as sha_256, right(batchcortex.timestamp_query(:size)::text, 6) as certificate,
       batchcortex.timestamp_query(:size) = batchcortex.timestamp_query(:size) as same
  from batchcortex.ledger_checkpoint where org_id = :'global' and tree_size = :size;

\echo what is no response, or none to this query
\set VERBOSITY sqlstate
select batchcortex.timestamp_query(999999999);
select batchcortex.timestamp_query(null);
select batchcortex.add_timestamp(:size, null);
select batchcortex.add_timestamp(:size, '');
select batchcortex.add_timestamp(:size, '\x3000');
select batchcortex.add_timestamp(:size, '\x300d300b02010230060c04476f6e65');
select batchcortex.add_timestamp(:size, decode(repeat('30', 2000000), 'hex'));
select batchcortex.add_timestamp(999999999, '\x3000');
select count(*) from batchcortex.timestamps(:size);

\echo auditors read, and do not write
set role batchcortex_auditor;
select count(*) from batchcortex.timestamps(:size);
select batchcortex.timestamp_query(:size) is not null as query;
\set VERBOSITY sqlstate
select batchcortex.add_timestamp(:size, '\x3000');
insert into batchcortex.ledger_timestamp values (1, now(), '1', '1', '', sha256(''));
reset role;
\set VERBOSITY terse

\echo a row that was put in by hand is found
begin;
insert into batchcortex.ledger_timestamp (tree_size, generated_at, policy, serial, response, response_sha256) values (:size, now(), '1.2.3', '01', '\x3000', sha256('\x3000'));
select code, relation, detail from batchcortex.verify() where relation = 'batchcortex.ledger_timestamp';
\set VERBOSITY sqlstate
savepoint s;
update batchcortex.ledger_timestamp set serial = '02';
rollback to s;
delete from batchcortex.ledger_timestamp;
rollback to s;
truncate batchcortex.ledger_timestamp;
rollback;
