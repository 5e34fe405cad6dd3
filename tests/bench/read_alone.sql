\startpipeline
begin;
select number, product from batchcortex.batch where org_id = :org and batch_id = :batch;
commit;
\endpipeline
