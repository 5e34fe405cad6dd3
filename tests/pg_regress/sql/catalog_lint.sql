-- What must hold of every table and function, read from the catalog, so that one added later is covered too. No row anywhere.
-- control: A8 A23 B1 B25
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
-- Two policies: the organisation of the request for the owner, the organisations granted to the login for auditors. No other policy,
-- for no other role, and one rule in each. The ledger's tables have a third one, for the rows of the global log, which name no organisation.
select c.relname, 'policies organisation and auditor, and no other' as lacks
  from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped
 where c.relnamespace = 'batchcortex'::regnamespace and c.relkind in ('r', 'p')
   and (select array_agg(p.polname::text order by p.polname) from pg_policy p where p.polrelid = c.oid and p.polname <> 'global_log') is distinct from array['auditor', 'organisation'];
select polrelid::regclass, polname, polroles::regrole[] as roles, polcmd, pg_get_expr(polqual, polrelid) as rule
  from pg_policy p join pg_class c on c.oid = p.polrelid
 where c.relnamespace = 'batchcortex'::regnamespace and c.relname <> 'user_account'
   and not (polname = 'organisation' and polcmd = '*' and polpermissive and polroles = array['batchcortex_owner'::regrole]::oid[]
            and pg_get_expr(polqual, polrelid) = '(org_id = batchcortex.current_org_id())' and pg_get_expr(polwithcheck, polrelid) = pg_get_expr(polqual, polrelid))
   and not (polname = 'global_log' and polcmd = 'r' and polpermissive and polrelid::regclass::text in ('batchcortex.ledger_tree', 'batchcortex.ledger_tile', 'batchcortex.ledger_checkpoint')
            and polroles <@ array['batchcortex_owner'::regrole, 'batchcortex_auditor'::regrole]::oid[] and pg_get_expr(polqual, polrelid) = '(org_id = ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid)')
   and not (polname = 'auditor' and polcmd = 'r' and polpermissive and polroles = array['batchcortex_auditor'::regrole]::oid[]
            and pg_get_expr(polqual, polrelid) = '(org_id = ANY (( SELECT batchcortex.auditor_organisations() AS auditor_organisations)::uuid[]))');
-- A person is seen through their memberships.
select polname, polroles::regrole[] as roles, polcmd, regexp_replace(pg_get_expr(polqual, polrelid), '\s+', ' ', 'g') as rule, pg_get_expr(polwithcheck, polrelid) as with_check
  from pg_policy where polrelid = 'batchcortex.user_account'::regclass order by 1;
-- Tables without an organisation: named here, so that a new one is looked at.
select c.relname from pg_class c
 where c.relnamespace = 'batchcortex'::regnamespace and c.relkind in ('r', 'p') and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped)
 order by 1;
-- Views read as who asks.
select c.relname from pg_class c where c.relnamespace in ('batchcortex'::regnamespace, 'batchcortex_api'::regnamespace) and c.relkind in ('v', 'm')
   and not coalesce(c.reloptions @> array['security_invoker=true'], false);
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
select n.nspname, c.relname, t.attname, a.privilege_type
  from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace, aclexplode(t.attacl) a
 where a.grantee in ('batchcortex_api'::regrole, 0) and n.nspname like 'batchcortex%';
select n.nspname, a.privilege_type from pg_namespace n, aclexplode(n.nspacl) a
 where n.nspname like 'batchcortex%' and a.grantee in ('batchcortex_api'::regrole, 0) order by 1, 2;
-- PUBLIC has nothing at all; auditors read and do nothing else, and no secret nor its hash.
select c.oid::regclass, a.privilege_type from pg_class c, aclexplode(c.relacl) a
 where c.relnamespace in ('batchcortex'::regnamespace, 'batchcortex_api'::regnamespace)
   and (a.grantee = 0 or a.grantee = 'batchcortex_auditor'::regrole and a.privilege_type <> 'SELECT');
select c.relname, a.attname as secret from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 where c.relnamespace = 'batchcortex'::regnamespace and c.relkind in ('r', 'p', 'v') and a.attname ~ 'password|secret|token|recovery'
   and has_column_privilege('batchcortex_auditor', c.oid, a.attnum, 'select');
select p.oid::regprocedure as for_auditors from pg_proc p, aclexplode(p.proacl) a
 where p.pronamespace = 'batchcortex'::regnamespace and a.grantee = 'batchcortex_auditor'::regrole order by p.oid::regprocedure::text;
-- Roles: none is powerful, none is a member of another.
select rolname from pg_roles where rolname in ('batchcortex_owner', 'batchcortex_api', 'batchcortex_auditor')
   and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication or rolcanlogin);
select m.roleid::regrole, m.member::regrole from pg_auth_members m
 where m.member in ('batchcortex_owner'::regrole, 'batchcortex_api'::regrole, 'batchcortex_auditor'::regrole) or m.roleid = 'batchcortex_owner'::regrole;
-- What only the DBA may call is not the owner's: the API's functions run as the owner.
select p.oid::regprocedure as superusers_only from pg_proc p
 where p.pronamespace = 'batchcortex'::regnamespace and not has_function_privilege('batchcortex_owner', p.oid, 'execute') order by p.oid::regprocedure::text;
-- Every function in SQL or PL/pgSQL pins search_path, whoever it runs as.
select p.oid::regprocedure, 'search_path that ends in pg_temp' as lacks
  from pg_proc p join pg_language l on l.oid = p.prolang
 where p.pronamespace in ('batchcortex'::regnamespace, 'batchcortex_api'::regnamespace) and l.lanname in ('sql', 'plpgsql')
   and not exists (select from unnest(p.proconfig) s where s like 'search_path=%pg_temp');
-- Functions of the API that ask for no permission: named here, so that a new one is looked at.
select p.proname from pg_proc p
 where p.pronamespace = 'batchcortex_api'::regnamespace and p.prosrc !~ 'batchcortex\.require_permission\(' order by 1;
-- Every permission that a function asks for exists and is somebody's; every permission is explained.
select p.oid::regprocedure, m[1] as permission
  from pg_proc p, regexp_matches(p.prosrc, 'batchcortex\.(?:require|has)_permission\(''([^'']+)''', 'g') m
 where p.pronamespace in ('batchcortex'::regnamespace, 'batchcortex_api'::regnamespace)
   and not exists (select from batchcortex.permission q join batchcortex.role_permission r using (permission) where q.permission = m[1]);
select permission from batchcortex.permission q where not exists (select from batchcortex.role_permission r where r.permission = q.permission) or q.about = '';
-- Every function that checks a password or a code spends a budget before it does.
select p.oid::regprocedure, 'require_attempt or a budget of its own' as lacks
  from pg_proc p
 where p.pronamespace = 'batchcortex_api'::regnamespace and p.prosrc ~ 'batchcortex\.(prove_again|change_own_password|confirm_second_factor)\('
   and p.prosrc !~ '(require_attempt|spend_budget)\(.*batchcortex\.(prove_again|change_own_password|confirm_second_factor)\(';
-- Every setting says what it is and what is more to know.
select name from pg_settings where name like 'batchcortex.%' and (coalesce(short_desc, '') = '' or coalesce(extra_desc, '') = '');
