-- The question every function asks: may the caller do this? One table of permissions, one function that reads it.

create function batchcortex.current_team_level() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    -- Programs and devices are in no team: a key is confined by its scopes, a device by its signature.
    select case when batchcortex.current_user_id() is null then 'full_access'
                else (select m.team_level from batchcortex.membership m
                       where m.org_id = batchcortex.current_org_id() and m.user_id = batchcortex.current_user_id() and m.ended_at is null) end
$$;
comment on function batchcortex.current_team_level() is
'Level of the caller in the organisation''s team: view_only, can_edit, full_access; null for who is no member.';

create function batchcortex.has_permission(permission text, owner uuid default batchcortex.current_user_id()) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from batchcortex.role_permission r
          join batchcortex.permission p on p.permission = r.permission,
               batchcortex.current_team_level() as own (level)
         where r.role_name = batchcortex.current_role_name()
           and r.permission = has_permission.permission
           and array_position(array['view_only', 'can_edit', 'full_access'], own.level)
               >= array_position(array['view_only', 'can_edit', 'full_access'], p.least_level)
           -- Who can edit edits what is theirs; a record without an owner is nobody's.
           and (own.level = 'full_access' or p.least_level = 'view_only' or has_permission.owner is not distinct from batchcortex.current_user_id()))
       and coalesce(has_permission.permission = any (batchcortex.current_scopes()), true)
$$;
comment on function batchcortex.has_permission(text, uuid) is
'Whether the role bound to the transaction holds the permission and the caller''s team level suffices for it; and, for an API key, whether its scopes name it; false without an identity. owner: the person whose record is to be changed, by default the caller; can_edit reaches own records only.';

create function batchcortex.require_permission(permission text, owner uuid default batchcortex.current_user_id()) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if batchcortex.current_org_id() is null then
        raise exception 'not authenticated' using errcode = 'BC401', hint = 'Call open_request with a valid credential first, in the same transaction.';
    end if;
    if batchcortex.has_permission(permission, owner) then
        return;
    end if;
    if batchcortex.current_scopes() is null and exists (select from batchcortex.role_permission r where r.role_name = batchcortex.current_role_name() and r.permission = require_permission.permission) then
        raise exception 'the team level % does not allow % here', batchcortex.current_team_level(), permission using errcode = 'BC403';
    end if;
    raise exception 'the role % lacks the permission %', batchcortex.current_role_name(), permission using errcode = 'BC403';
end
$$;
comment on function batchcortex.require_permission(text, uuid) is 'Raises BC401 without a bound identity and BC403 without the permission (batchcortex.has_permission).';

create function batchcortex_api.set_team_level(member uuid, team_level text, reason text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    was text;
begin
    perform batchcortex.require_permission('member.configure');
    if team_level is null or team_level not in ('view_only', 'can_edit', 'full_access') then
        raise exception 'unknown team level %', quote_nullable(team_level) using errcode = 'BC422', hint = 'Levels are view_only, can_edit and full_access.';
    end if;
    perform batchcortex.require_reason(reason);
    select m.team_level into was from batchcortex.membership m
     where m.org_id = batchcortex.current_org_id() and m.user_id = member and m.ended_at is null for update;
    if not found then
        raise exception 'unknown member' using errcode = 'BC404';
    end if;
    -- So that one always remains who can set the others'.
    if member = batchcortex.current_user_id() then
        raise exception 'nobody sets their own team level' using errcode = 'BC403';
    end if;
    update batchcortex.membership m set team_level = set_team_level.team_level
     where m.org_id = batchcortex.current_org_id() and m.user_id = member;
    perform batchcortex.log_event('member.level_set', 'user_account', member::text, reason => reason,
        before => json_build_object('team_level', was), after => json_build_object('team_level', team_level));
end
$$;
comment on function batchcortex_api.set_team_level(uuid, text, text) is
'Sets another member''s team level (view_only, can_edit, full_access) from the next request on. Errors: BC401, BC403 also for one''s own level, BC404 unknown member, BC422 level or reason.';

create function batchcortex_api.set_role(member uuid, role_name text, reason text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    was text;
begin
    perform batchcortex.require_permission('member.configure');
    if role_name is null or role_name not in ('operator', 'qa', 'qp', 'admin') then
        raise exception 'unknown role %', quote_nullable(role_name) using errcode = 'BC422', hint = 'Roles are operator, qa, qp and admin.';
    end if;
    perform batchcortex.require_reason(reason);
    select m.role_name into was from batchcortex.membership m
     where m.org_id = batchcortex.current_org_id() and m.user_id = member and m.ended_at is null for update;
    if not found then
        raise exception 'unknown member' using errcode = 'BC404';
    end if;
    -- So that one administrator always remains, and nobody gives themselves a GMP meaning.
    if member = batchcortex.current_user_id() then
        raise exception 'nobody sets their own role' using errcode = 'BC403';
    end if;
    update batchcortex.membership m set role_name = set_role.role_name
     where m.org_id = batchcortex.current_org_id() and m.user_id = member;
    perform batchcortex.log_event('member.role_set', 'user_account', member::text, reason => reason,
        before => json_build_object('role_name', was), after => json_build_object('role_name', role_name));
end
$$;
comment on function batchcortex_api.set_role(uuid, text, text) is
'Sets another member''s role (operator, qa, qp, admin) from the next request on. Errors: BC401, BC403 also for one''s own role, BC404 unknown member, BC422 role or reason.';

create function batchcortex_api.permissions()
returns table (permission text, about text, roles text[], least_level text, gmp boolean, held boolean)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if batchcortex.current_org_id() is null then
        raise exception 'not authenticated' using errcode = 'BC401', hint = 'Call open_request with a valid credential first, in the same transaction.';
    end if;
    return query
        select p.permission, p.about,
               array(select r.role_name from batchcortex.role_permission r where r.permission = p.permission
                      order by array_position(array['operator', 'qa', 'qp', 'admin'], r.role_name)),
               p.least_level, p.gmp, batchcortex.has_permission(p.permission)
          from batchcortex.permission p order by p.permission;
end
$$;
comment on function batchcortex_api.permissions() is
'Every permission: what for, which roles hold it, the least team level it takes, whether it is a meaning under GMP, and whether the caller holds it for what is their own. Errors: BC401.';

comment on function batchcortex.current_actor_name() is 'Name of the person, key or device bound to this transaction; without an identity the database login.';
comment on function batchcortex.spend_budget(text, text) is
'Spends one of a budget (authentication, sign_off, general, api_key, public) of a subject, whatever becomes of the transaction: 0, or the seconds to wait when none is left. Limits: batchcortex.rate_….';
comment on function batchcortex.budget_table() is 'The table of budgets in shared memory: entries it has room for, entries whose budget is not whole now.';
