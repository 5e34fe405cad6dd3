-- What must hold of every table and function, read from the catalog, so that one added later is covered too. No row anywhere.
-- control: A8 B25
-- Tables of an organisation: row security enabled and forced, a policy, an index that leads with org_id.
select c.relname, 'row security' as lacks
  from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped
 where c.relnamespace = 'batchcortex'::regnamespace and c.relkind in ('r', 'p') and not (c.relrowsecurity and c.relforcerowsecurity)
union all
select c.relname, 'policy'
  from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped
 where c.relnamespace = 'batchcortex'::regnamespace and c.relkind in ('r', 'p') and not exists (select from pg_policy p where p.polrelid = c.oid)
union all
select c.relname, 'index that leads with org_id'
  from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped
 where c.relnamespace = 'batchcortex'::regnamespace and c.relkind in ('r', 'p')
   and not exists (select from pg_index i where i.indrelid = c.oid and i.indkey[0] = a.attnum)
union all
select c.relname, 'owner batchcortex_owner'
  from pg_class c where c.relnamespace = 'batchcortex'::regnamespace and c.relkind in ('r', 'p', 'v')
   and c.relowner <> 'batchcortex_owner'::regrole and c.relname <> 'schema_migration';
-- One function in every policy.
select polrelid::regclass, pg_get_expr(polqual, polrelid) as rule
  from pg_policy where polrelid in (select oid from pg_class where relnamespace = 'batchcortex'::regnamespace)
   and pg_get_expr(polqual, polrelid) not like '%current_org_id()%';
-- Functions: SECURITY DEFINER ones pin search_path and belong to no superuser; none is PUBLIC's to execute.
select p.oid::regprocedure, 'search_path that ends in pg_temp' as lacks
  from pg_proc p where p.pronamespace in ('batchcortex'::regnamespace, 'batchcortex_api'::regnamespace) and p.prosecdef
   and not exists (select from unnest(p.proconfig) s where s like 'search_path=%pg_temp')
union all
select p.oid::regprocedure, 'owner that is no superuser'
  from pg_proc p join pg_roles r on r.oid = p.proowner
 where (p.pronamespace = 'batchcortex_api'::regnamespace or p.prosecdef and p.pronamespace = 'batchcortex'::regnamespace) and r.rolsuper
union all
select p.oid::regprocedure, 'revoke from public'
  from pg_proc p where p.pronamespace in ('batchcortex'::regnamespace, 'batchcortex_api'::regnamespace)
   and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0)
union all
select p.oid::regprocedure, 'comment'
  from pg_proc p where p.pronamespace in ('batchcortex'::regnamespace, 'batchcortex_api'::regnamespace) and obj_description(p.oid, 'pg_proc') is null;
-- The API's role reaches functions of batchcortex_api and nothing else.
select n.nspname, c.relname, a.privilege_type
  from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
 where a.grantee = 'batchcortex_api'::regrole;
select p.oid::regprocedure from pg_proc p, aclexplode(p.proacl) a
 where a.grantee = 'batchcortex_api'::regrole and p.pronamespace <> 'batchcortex_api'::regnamespace;
