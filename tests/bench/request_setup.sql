-- One signed-in person with a batch; and a table of 1,000 organisations with 1,000 rows each under the one scoping rule, beside the same
-- table without it.
set batchcortex.rate_authentication = 0;
select 'bench-' || gen_random_uuid() as username \gset
select org_id as org, invitation from batchcortex.create_organisation('bench request ' || gen_random_uuid(), :'username') \gset
select outcome from batchcortex_api.accept_invitation(:'invitation', 'Bea Bench', 'a long enough password');
select token from batchcortex_api.login(:'username', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'token');
select batchcortex_api.create_batch('bench', 'bench') as batch \gset
commit;
create table bench.request as select :'token' as token, :'org'::uuid as org_id, :'batch'::uuid as batch_id;
do $$ begin execute format('alter database %I set batchcortex.rate_general = 0', current_database()); end $$;

create table bench.tenant as select n, gen_random_uuid() as org_id from generate_series(1, 1000) n;
update bench.tenant set org_id = (select org_id from bench.request) where n = 500;
create table bench.open_rows as
select t.org_id, i as row_id, md5(t.n::text || i) as note, i * 1.5 as value from bench.tenant t, generate_series(1, 1000) i;
create table bench.isolated_rows as table bench.open_rows;
alter table bench.open_rows add primary key (org_id, row_id);
alter table bench.isolated_rows add primary key (org_id, row_id);
select batchcortex.isolate('bench.isolated_rows');
vacuum analyze bench.open_rows, bench.isolated_rows;
grant usage on schema bench to batchcortex_owner;
grant select on bench.open_rows, bench.request to batchcortex_owner;
