-- Proofs of one log and how many tiles they read (of a small log along no index), and what it costs to seal a thousand leaves more. psql -v org=…
select size from batchcortex.ledger_tree where org_id = :'org' \gset
do $$ begin perform setseed(0.5); end $$;
create temp table place as select floor(random() * :size)::bigint as leaf from generate_series(1, 1000);
begin;
select coalesce(sum(idx_tup_fetch + seq_tup_read), 0) as tiles from pg_stat_xact_user_tables where relname = 'ledger_tile' \gset before_
select clock_timestamp() as begun \gset
select max(cardinality(batchcortex.inclusion_proof(:'org', leaf, :size))) as hashes from place \gset inclusion_
select round(extract(epoch from clock_timestamp() - :'begun')::numeric, 3) as ms \gset inclusion_
select (coalesce(sum(idx_tup_fetch + seq_tup_read), 0) - :before_tiles) / 1000 as tiles from pg_stat_xact_user_tables where relname = 'ledger_tile' \gset inclusion_
select clock_timestamp() as begun \gset
select max(cardinality(batchcortex.consistency_proof(:'org', leaf + 1, :size))) as hashes from place \gset consistency_
select round(extract(epoch from clock_timestamp() - :'begun')::numeric, 3) as ms \gset consistency_
commit;
create temp table sealing (ms numeric);
create function pg_temp.seal_more(org uuid) returns void language sql as $$
    select count(batchcortex.log_event('bench.ledger', 'thing', i::text, org_id => org)) from generate_series(1, 1000) i $$;
select format('select pg_temp.seal_more(%L)', :'org'), format('insert into sealing select extract(epoch from clock_timestamp() - statement_timestamp()) * 1000 from (select batchcortex.seal()) s')
  from generate_series(1, 15) \gexec
select format('  %s leaves: inclusion proof %s ms (at most %s hashes, %s tiles read), consistency proof %s ms (at most %s hashes), sealing 1,000 more %s ms (median of 15)',
              to_char(:size, 'FM999,999,999'), :inclusion_ms, :inclusion_hashes, round(:inclusion_tiles, 1), :consistency_ms, :consistency_hashes,
              (select round(percentile_cont(0.5) within group (order by ms)::numeric, 1) from sealing));
