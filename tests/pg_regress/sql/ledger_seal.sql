-- Sealing: dense indices, tiles, checkpoints; and a clean verification.
-- control: A19
\set VERBOSITY terse
set client_min_messages = warning;
select gen_random_uuid() as org \gset
insert into batchcortex.organisation (org_id, name) values (:'org', :'org');
select count(batchcortex.log_event('regress.seal', 'thing', i::text, org_id => :'org')) as events from generate_series(1, 700) i;
-- Aborted rows leave nothing behind.
begin;
select count(batchcortex.log_event('regress.seal', 'thing', i::text, org_id => :'org')) as events from generate_series(1, 10) i;
rollback;
select batchcortex.seal() >= 0 as sealed;
select size from batchcortex.ledger_tree where org_id = :'org';
select level, tile_index, width, octet_length(hashes) / 32 as hashes from batchcortex.ledger_tile where org_id = :'org' order by 1, 2;
-- The root by the recursive definition of RFC 6962 §2.1, in SQL.
create function pg_temp.mth(hashes bytea[]) returns bytea language plpgsql as $$
declare
    n integer := cardinality(hashes);
    k integer := 1;
begin
    if n = 1 then return hashes[1]; end if;
    while k * 2 < n loop k := k * 2; end loop;
    return sha256('\x01' || pg_temp.mth(hashes[1:k]) || pg_temp.mth(hashes[k + 1:n]));
end $$;
select pg_temp.mth(array_agg(substr(t.hashes, 32 * i + 1, 32) order by t.tile_index, i)) = (select root from batchcortex.ledger_tree where org_id = :'org') as root_is_right
  from batchcortex.ledger_tile t, generate_series(0, t.width - 1) i where t.org_id = :'org' and t.level = 0;
-- Every row's leaf is in the tree.
select count(*) as rows_without_leaf from batchcortex.events_log e
 where org_id = :'org' and not exists (select from batchcortex.ledger_tile t, generate_series(0, t.width - 1) i
                                        where t.org_id = e.org_id and t.level = 0 and substr(t.hashes, 32 * i + 1, 32) = e.leaf_hash);
-- Further ones extend it.
select count(batchcortex.log_event('regress.seal', 'thing', i::text, org_id => :'org')) as events from generate_series(1, 100) i;
select batchcortex.seal() >= 0 as sealed;
select size from batchcortex.ledger_tree where org_id = :'org';
select tree_size from batchcortex.ledger_checkpoint where org_id = :'org' and tree_size in (700, 800) order by 1;
select * from batchcortex.verify(:'org');
select r ->> 'intact' as intact, r #>> '{logs,0,rows}' as rows, r #>> '{logs,0,leaves}' as leaves, r #>> '{logs,0,waiting}' as waiting, r #>> '{logs,0,tree_size}' as size
  from batchcortex.verify_report(:'org') r;
