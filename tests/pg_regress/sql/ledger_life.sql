-- A person has the log go on under another origin: after a restore that the server could not notice.
-- control: A18 N3
\set VERBOSITY sqlstate
set client_min_messages = warning;
\set global ffffffff-ffff-ffff-ffff-ffffffffffff
select batchcortex.seal() >= 0 as sealed;
select count(*) as lives, max(incarnation) as newest from batchcortex.ledger_incarnation \gset
select origin as ending from batchcortex.ledger_incarnation order by incarnation desc limit 1 \gset
select batchcortex.new_incarnation(' ');
select batchcortex.new_incarnation(null);
set role batchcortex_owner;
select batchcortex.new_incarnation('by the API');
insert into batchcortex.ledger_incarnation_request (origin, reason) values ('x', 'by the API');
reset role;
\echo what is rolled back asks for nothing
begin;
select batchcortex.new_incarnation('a mistake') = :'ending' as ending;
rollback;
select batchcortex.seal() >= 0 as sealed;
select count(*) - :lives as begun from batchcortex.ledger_incarnation;
\echo asked for once
begin;
select batchcortex.new_incarnation('the base backup of yesterday was put back') = :'ending' as ending;
select batchcortex.new_incarnation('twice');
rollback;
select batchcortex.new_incarnation('the base backup of yesterday was put back') = :'ending' as ending;
select batchcortex.seal() > 0 as sealed;
select incarnation - :newest as after, previous = :'ending' as continues, origin <> :'ending' as another, global_index = begun_size as linked
  from batchcortex.ledger_incarnation order by incarnation desc limit 1;
select origin as now from batchcortex.ledger_incarnation order by incarnation desc limit 1 \gset
select split_part(n, E'\n', 1) = :'now' as origin, n like '%' || E'\ncontinues % ' || :'ending' || E'\n%' as continues from batchcortex.latest_checkpoint(:'global') n;
select reason, record_id = :'ending' as ending from batchcortex.events_log where action = 'ledger.incarnation_requested';
select reason from batchcortex.ledger_incarnation_request where origin = :'ending';
\echo it goes on as that, and may be ended again
select batchcortex.log_event('regress.life', 'thing', '1') is not null as recorded;
select batchcortex.seal() > 0 as sealed;
select count(*) - :lives as begun from batchcortex.ledger_incarnation;
select batchcortex.new_incarnation('once more') = :'now' as ending;
select batchcortex.seal() > 0 as sealed;
select count(*) - :lives as begun from batchcortex.ledger_incarnation;
select * from batchcortex.verify();
set role batchcortex_auditor;
select batchcortex.new_incarnation('by an auditor');
select count(*) from batchcortex.ledger_incarnation_request;
reset role;
