\startpipeline
begin;
select from batchcortex_api.open_request(:token, '192.0.2.1', 'bench', 'r');
select number, product from batchcortex.batch where org_id = :org and batch_id = :batch;
commit;
\endpipeline
