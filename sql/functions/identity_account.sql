-- Accounts and memberships: passwords, locks, leaving.

create function batchcortex.keep_username() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and new.username = old.username and new.user_id = old.user_id then
        return new;
    end if;
    raise exception 'accounts are not deleted and user names do not change' using errcode = 'BC001',
        hint = 'A user name stands for one person for ever. Use batchcortex.deactivate_user().';
end
$$;
comment on function batchcortex.keep_username() is 'Refuses to delete an account or to change its user name, so that a name is never another person''s (21 CFR 11.100(a)).';

create function batchcortex_api.change_password(old_password text, new_password text) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    answer record;
begin
    perform batchcortex.require_person();
    perform batchcortex.require_attempt();
    select * into answer from batchcortex.change_own_password(old_password, new_password);
    if answer.sqlstate is not null then
        raise exception '%', answer.detail using errcode = answer.sqlstate;
    end if;
    return answer.outcome;
end
$$;
comment on function batchcortex_api.change_password(text, text) is
'Changes the caller''s password; every other session of theirs ends. ''changed'', or ''refused'' for a wrong old password, which counts towards the lockout. Errors: BC401; BC422 the new password is not acceptable; BC429 too many attempts of the person or the address, DETAIL the seconds to wait; 40001 another attempt of the person is still open.';

create function batchcortex_api.members()
returns table (user_id uuid, username text, full_name text, role_name text, joined_at timestamptz, ended_at timestamptz, state text, locked_until timestamptz)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('member.manage');
    return query
        select m.user_id, u.username, u.full_name, m.role_name, m.created_at, m.ended_at, u.state,
               case when u.locked_until > clock_timestamp() then u.locked_until end
          from batchcortex.membership m
          join batchcortex.user_account u on u.user_id = m.user_id
         where m.org_id = batchcortex.current_org_id()
         order by u.full_name, m.user_id;
end
$$;
comment on function batchcortex_api.members() is 'People of the organisation, those who left included. Errors: BC401, BC403.';

create function batchcortex_api.unlock_user(user_id uuid, reason text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('member.manage');
    perform batchcortex.require_reason(reason);
    if not batchcortex.unlock_account(unlock_user.user_id) then
        raise exception 'no locked member of that id' using errcode = 'BC404';
    end if;
    perform batchcortex.log_event('account.unlocked', 'user_account', user_id::text, reason => reason);
end
$$;
comment on function batchcortex_api.unlock_user(uuid, text) is 'Unlocks the account of a member before its time. Errors: BC401, BC403, BC404 no such locked member, BC422 no reason.';

create function batchcortex.require_reason(reason text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if nullif(btrim(reason), '') is null or length(reason) > 4000 then
        raise exception 'a reason of 1 to 4,000 characters is needed' using errcode = 'BC422';
    end if;
end
$$;
comment on function batchcortex.require_reason(text) is 'Raises BC422 unless a reason is given.';

create function batchcortex_api.end_membership(user_id uuid, reason text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('member.manage');
    perform batchcortex.require_reason(reason);
    if user_id = batchcortex.current_user_id() then
        raise exception 'another administrator ends your membership' using errcode = 'BC409';
    end if;
    update batchcortex.membership m set ended_at = clock_timestamp()
     where m.org_id = batchcortex.current_org_id() and m.user_id = end_membership.user_id and m.ended_at is null;
    if not found then
        raise exception 'unknown member' using errcode = 'BC404';
    end if;
    update batchcortex.session s set revoked_at = clock_timestamp()
     where s.org_id = batchcortex.current_org_id() and s.user_id = end_membership.user_id and s.revoked_at is null;
    perform batchcortex.log_event('member.ended', 'user_account', user_id::text, reason => reason);
end
$$;
comment on function batchcortex_api.end_membership(uuid, text) is
'Ends a person''s membership of the organisation and their sessions in it, at once. A new invitation brings them back. Errors: BC401, BC403, BC404, BC409 one''s own, BC422 no reason.';

create function batchcortex.set_user_state(username text, state text, reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    id uuid;
begin
    perform batchcortex.require_reason(reason);
    update batchcortex.user_account u set state = set_user_state.state
     where lower(u.username) = lower(set_user_state.username) and u.state <> set_user_state.state
    returning u.user_id into id;
    if id is null then
        raise exception 'no account of that name is to be %', case state when 'active' then 'reactivated' else 'deactivated' end using errcode = 'BC404';
    end if;
    if state = 'deactivated' then
        update batchcortex.session s set revoked_at = clock_timestamp() where s.user_id = id and s.revoked_at is null;
    end if;
    -- Each organisation that the person works for finds it in its own log.
    perform batchcortex.log_event(case state when 'active' then 'account.reactivated' else 'account.deactivated' end, 'user_account', id::text,
                reason => reason, org_id => m.org_id)
       from batchcortex.membership m where m.user_id = id and m.ended_at is null;
end
$$;
comment on function batchcortex.set_user_state(text, text, text) is 'Behind batchcortex.deactivate_user and reactivate_user.';

create function batchcortex.deactivate_user(username text, reason text) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$ select batchcortex.set_user_state(username, 'deactivated', reason) $$;
comment on function batchcortex.deactivate_user(text, text) is
'For the DBA: an account that nobody can use any more, in any organisation; its sessions end at once. Errors: BC404 no such active account, BC422 no reason.';

create function batchcortex.reactivate_user(username text, reason text) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$ select batchcortex.set_user_state(username, 'active', reason) $$;
comment on function batchcortex.reactivate_user(text, text) is 'For the DBA: takes a deactivation back. Errors: BC404 no such deactivated account, BC422 no reason.';

create function batchcortex_api.login_attempts(attempted_before timestamptz default null, max_rows integer default 100)
returns table (attempted_at timestamptz, user_id uuid, purpose text, result text, burst boolean, client_ip inet, user_agent text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('member.manage');
    perform batchcortex.require_rows(max_rows, 1000);
    return query
        select a.attempted_at, a.user_id, a.purpose, a.result, a.burst, a.client_ip, a.user_agent
          from batchcortex.login_attempt a
         where a.org_id = batchcortex.current_org_id() and (attempted_before is null or a.attempted_at < attempted_before)
         order by a.attempted_at desc, a.attempt_id desc
         limit max_rows;
end
$$;
comment on function batchcortex_api.login_attempts(timestamptz, integer) is
'Attempts of the organisation''s people to prove who they are, newest first; 1 to 1,000 rows. Errors: BC401, BC403, BC422 max_rows.';

comment on function batchcortex.change_own_password(text, text) is 'Behind batchcortex_api.change_password; sqlstate is set when the new password is not acceptable.';
comment on function batchcortex.unlock_account(uuid) is 'Behind batchcortex_api.unlock_user: false when no member of the bound organisation with that id is locked.';
