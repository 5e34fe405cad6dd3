-- Point reads and per-organisation scans, with the rule and without, in turn, in one transaction that is bound to one organisation.
create function bench.point(isolated boolean, org uuid, reads integer) returns double precision language plpgsql as $$
declare
    begun timestamptz := clock_timestamp();
    found text;
begin
    if isolated then
        for i in 1 .. reads loop
            select note into found from bench.isolated_rows where row_id = i % 1000 + 1;
        end loop;
    else
        for i in 1 .. reads loop
            select note into found from bench.open_rows where org_id = org and row_id = i % 1000 + 1;
        end loop;
    end if;
    if found is null then raise exception 'no row'; end if;
    return extract(epoch from clock_timestamp() - begun);
end $$;
create function bench.scan(isolated boolean, org uuid, reads integer) returns double precision language plpgsql as $$
declare
    begun timestamptz := clock_timestamp();
    rows integer;
    total numeric;
begin
    for i in 1 .. reads loop
        if isolated then
            select count(*), sum(value) into rows, total from bench.isolated_rows;
        else
            select count(*), sum(value) into rows, total from bench.open_rows where org_id = org;
        end if;
    end loop;
    if rows <> 1000 then raise exception '% rows', rows; end if;
    return extract(epoch from clock_timestamp() - begun);
end $$;
grant execute on all functions in schema bench to batchcortex_owner;
select token, org_id as org from bench.request \gset
begin;
select count(*) from batchcortex_api.open_request(:'token') \g /dev/null
set local role batchcortex_owner;
-- Once for the caches and plans.
select bench.point(true, :'org', 1000) + bench.point(false, :'org', 1000) + bench.scan(true, :'org', 20) + bench.scan(false, :'org', 20) \g /dev/null
-- Short turns, one after the other: what else the machine does meets both.
select format('  point read, inside a function, without the statement''s round trip: %s', round(percentile_cont(0.5) within group (order by open / isolated)::numeric, 2))
  from (select bench.point(false, :'org', 10000 + i) as open, bench.point(true, :'org', 10000 + i) as isolated from generate_series(1, 41) i) r;
select format('  scan of an organisation''s 1,000 rows: %s', round(percentile_cont(0.5) within group (order by open / isolated)::numeric, 2))
  from (select bench.scan(false, :'org', 200 + i) as open, bench.scan(true, :'org', 200 + i) as isolated from generate_series(1, 41) i) r;
rollback;
