-- Rows that may change and must not go: DELETE and TRUNCATE are refused, and a change that does not come from a function of BatchCortex is
-- captured, as of a tracked table. Credentials that a policy forgets (earlier passwords, second factors) may go, and what a role may do.

do $$
declare
    t record;
begin
    for t in select c.oid::regclass as relation, c.relname, c.relname not in ('user_account', 'totp', 'password_history', 'permission', 'role_permission') as kept,
                    coalesce((select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attname = 'org_id'), '') as org_column,
                    (select coalesce(json_agg(a.attname order by a.attnum), '[]')::text from pg_attribute a
                      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                        -- Who was invited is personal data that can be erased (0013_redaction.sql): an erasure must not write it down.
                        and (a.attname ~ '(token|password|secret|code).*(sha256|hash)|secret|sealed' or c.relname = 'invitation' and a.attname = 'username')) as masked
               from pg_class c
              where c.relnamespace = 'batchcortex'::regnamespace
                and c.relname in ('organisation', 'user_account', 'membership', 'session', 'invitation', 'permission', 'role_permission', 'equipment', 'tag',
                                  'device', 'device_key', 'device_tag', 'batch', 'api_key', 'auditor_grant', 'totp', 'password_history') loop
        if t.kept then
            perform batchcortex.keep_rows(t.relation);
            execute format('revoke delete, truncate on table %s from batchcortex_owner', t.relation);
        end if;
        -- Rows added to permission and role_permission say who may do what: nothing of the application adds any.
        execute format('create trigger by_hand after update or delete %s on %s for each row execute function batchcortex.capture_by_hand(%L, '''', ''[]'', %L)',
                       case when t.relname ~ 'permission$' then 'or insert' else '' end, t.relation, t.org_column, t.masked);
        execute format('alter table %s enable always trigger by_hand', t.relation);
    end loop;
end
$$;
