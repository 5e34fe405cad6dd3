-- Proofs from the stored tiles, for sizes now and in the past, and their verification, which never raises.
-- control: A19 N1
\set VERBOSITY terse
set client_min_messages = warning;
select gen_random_uuid() as org \gset
insert into batchcortex.organisation (org_id, name) values (:'org', :'org');
select count(batchcortex.log_event('regress.proof', 'thing', i::text, org_id => :'org')) as events from generate_series(1, 1000) i;
select batchcortex.seal() >= 0 as sealed;
-- Roots of smaller trees by the recursive definition of RFC 6962 §2.1.
create temp table leaf as
select t.tile_index * 256 + i as n, substr(t.hashes, 32 * i + 1, 32) as hash
  from batchcortex.ledger_tile t, generate_series(0, t.width - 1) i where t.org_id = :'org' and t.level = 0;
create function pg_temp.mth(hashes bytea[]) returns bytea language plpgsql as $$
declare
    n integer := cardinality(hashes);
    k integer := 1;
begin
    if n = 1 then return hashes[1]; end if;
    while k * 2 < n loop k := k * 2; end loop;
    return sha256('\x01' || pg_temp.mth(hashes[1:k]) || pg_temp.mth(hashes[k + 1:n]));
end $$;
create temp table tree as
select s as size, (select pg_temp.mth(array_agg(hash order by n)) from leaf where n < s) as root
  from unnest(array[1, 2, 3, 7, 8, 9, 255, 256, 257, 500, 511, 512, 513, 767, 768, 769, 999, 1000]::bigint[]) s;
select count(*) as proofs, bool_and(batchcortex.verify_inclusion(n, size, hash, batchcortex.inclusion_proof(:'org', n, size), root)) as valid,
       max(cardinality(batchcortex.inclusion_proof(:'org', n, size))) as longest
  from tree join leaf on n < size where n in (0, 1, 2, 6, 7, 8, 254, 255, 256, 257, 499, 511, 512, 766, 767, 768, 998, 999) or n % 97 = 0;
select count(*) as proofs, bool_and(batchcortex.verify_consistency(a.size, b.size, a.root, b.root, batchcortex.consistency_proof(:'org', a.size, b.size))) as valid
  from tree a join tree b on a.size <= b.size;
-- Every single bit of a proof, a leaf or a root matters.
select bool_or(batchcortex.verify_inclusion(300, 1000, l.hash, p.proof[1:i - 1] || set_bit(p.proof[i], bit, 1 - get_bit(p.proof[i], bit)) || p.proof[i + 1:], t.root)) as any_valid
  from (select batchcortex.inclusion_proof(:'org', 300, 1000) as proof) p, generate_series(1, cardinality(p.proof)) i, generate_series(0, 255) bit,
       (select hash from leaf where n = 300) l, (select root from tree where size = 1000) t;
select bool_or(batchcortex.verify_consistency(500, 1000, a.root, b.root, p.proof[1:i - 1] || set_bit(p.proof[i], bit, 1 - get_bit(p.proof[i], bit)) || p.proof[i + 1:])) as any_valid
  from (select batchcortex.consistency_proof(:'org', 500, 1000) as proof) p, generate_series(1, cardinality(p.proof)) i, generate_series(0, 255) bit,
       (select root from tree where size = 500) a, (select root from tree where size = 1000) b;
-- Malformed input is false, never an error.
select batchcortex.verify_inclusion(null, null, null, null, null) as a, batchcortex.verify_inclusion(-1, 1, sha256(''), '{}', sha256('')) as b,
       batchcortex.verify_inclusion(0, 1, '\x00', '{}', '\x00') as c, batchcortex.verify_inclusion(0, 2, sha256(''), array[null]::bytea[], sha256('')) as d,
       batchcortex.verify_inclusion(9223372036854775807, 9223372036854775807, sha256(''), '{}', sha256('')) as e,
       batchcortex.verify_consistency(0, 0, sha256(''), sha256(''), '{}') as f, batchcortex.verify_consistency(2, 1, sha256(''), sha256(''), '{}') as g,
       batchcortex.verify_consistency(null, 1, '', '', array['\x']::bytea[]) as h;
-- Proofs that cannot be made say so.
select batchcortex.inclusion_proof(:'org', 1000, 1000);
select batchcortex.inclusion_proof(:'org', -1, 1000);
select batchcortex.inclusion_proof(:'org', 0, 1001);
select batchcortex.consistency_proof(:'org', 0, 10);
select batchcortex.consistency_proof(:'org', 11, 10);
select batchcortex.inclusion_proof(gen_random_uuid(), 0, 1);
