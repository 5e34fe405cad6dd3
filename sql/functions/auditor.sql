-- People who audit over psql: a DBA ties their login to organisations, for a time and a reason.

create function batchcortex.grant_auditor(role name, org uuid, until timestamptz, reason text) returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    login record;
    id uuid;
begin
    -- One grant at a time, so that two do not both find none.
    perform from batchcortex.organisation o where o.org_id = org for update;
    if not found then
        raise exception 'unknown organisation' using errcode = 'BC404';
    end if;
    select r.oid, r.rolcanlogin, r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolreplication as powerful into login
      from pg_roles r where r.rolname = role;
    if not found or not login.rolcanlogin then
        raise exception 'no login named %', quote_nullable(role) using errcode = 'BC404', hint = 'CREATE ROLE … LOGIN first: a person who audits has a login of their own.';
    end if;
    if login.powerful or pg_has_role(role, 'batchcortex_owner', 'member') or pg_has_role(role, 'batchcortex_api', 'member') then
        raise exception 'the login % may do more than read', quote_ident(role)
            using errcode = 'BC422', hint = 'An auditor''s login is no superuser, has no BYPASSRLS, CREATEROLE or REPLICATION, and is no member of batchcortex_owner or batchcortex_api.';
    end if;
    if until is null or until <= clock_timestamp() or until > clock_timestamp() + interval '1 year' then
        raise exception 'a grant ends in the future, within a year' using errcode = 'BC422';
    end if;
    perform batchcortex.require_reason(reason);
    if exists (select from batchcortex.auditor_grant g
                where g.org_id = org and g.role_name = role and g.role_oid = login.oid and g.revoked_at is null and g.expires_at > clock_timestamp()) then
        raise exception 'the login % has a grant for this organisation', quote_ident(role) using errcode = 'BC409', hint = 'revoke_auditor first; each grant is a record of its own.';
    end if;
    execute format('grant batchcortex_auditor to %I', role);
    -- An inspection is recorded: every statement of the login goes to the server's log, and the login cannot switch that off.
    execute format('alter role %I set log_statement = ''all''', role);
    insert into batchcortex.auditor_grant (org_id, role_name, role_oid, expires_at, reason)
        values (org, role, login.oid, until, reason) returning grant_id into id;
    perform batchcortex.log_event('auditor.granted', 'auditor_grant', id::text, org_id => org, reason => reason,
        after => json_build_object('role', role, 'until', to_char(until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')));
    return id;
end
$$;
comment on function batchcortex.grant_auditor(name, uuid, timestamptz, text) is
'For the DBA: lets a database login read one organisation until a time, at most a year ahead, and verify its log; recorded in the organisation''s log with the reason. Makes the login a member of batchcortex_auditor and logs its statements. Returns the grant''s id. Errors: BC404 organisation or login, BC409 has a grant, BC422.';

create function batchcortex.revoke_auditor(role name, org uuid, reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    ended record;
begin
    perform batchcortex.require_reason(reason);
    update batchcortex.auditor_grant g
       set revoked_at = clock_timestamp(), revoked_by = batchcortex.current_actor_name(), revoke_reason = revoke_auditor.reason
     where g.org_id = org and g.role_name = role and g.revoked_at is null and g.expires_at > clock_timestamp()
     returning g.grant_id into ended;
    if not found then
        raise exception 'the login % has no grant for this organisation', quote_nullable(role) using errcode = 'BC404';
    end if;
    perform batchcortex.log_event('auditor.revoked', 'auditor_grant', ended.grant_id::text, org_id => org, reason => reason, after => json_build_object('role', role));
end
$$;
comment on function batchcortex.revoke_auditor(name, uuid, text) is
'For the DBA: ends a login''s grant for one organisation at once; recorded in the organisation''s log with the reason. Errors: BC404 no grant, BC422 no reason.';

comment on function batchcortex.auditor_organisations() is
'Organisations granted to the login of this session and not yet ended: what the policies for batchcortex_auditor compare with.';
