-- Sessions: seen, rotated, elevated, ended; and the organisation's policy about them.

create function batchcortex.require_person() returns uuid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if batchcortex.current_session_id() is null then
        raise exception 'not authenticated' using errcode = 'BC401', hint = 'Call open_request with the token of a session first, in the same transaction.';
    end if;
    return batchcortex.current_user_id();
end
$$;
comment on function batchcortex.require_person() is 'The person whose session is bound to this transaction. Raises BC401 without one: a device or an API key is not a person.';

create function batchcortex.session_terms(user_id uuid, expires_at timestamptz, token_sha256 bytea) returns json
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select json_build_object('user_id', user_id, 'expires_at', expires_at, 'fingerprint', encode(sha256(token_sha256), 'hex')) $$;
comment on function batchcortex.session_terms(uuid, timestamptz, bytea) is
'What a session''s events say of it, for verify() to compare: whose it is, its absolute end, and the fingerprint of its token: hex of the SHA-256 of what is stored of it.';

create function batchcortex.new_session_token(elevated boolean, out token text, out expires_at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    terms json;
begin
    token := batchcortex.generate_session_token();
    update batchcortex.session s
       set token_sha256 = sha256(new_session_token.token::bytea), rotated_at = clock_timestamp(),
           elevated_at = case when elevated then clock_timestamp() else s.elevated_at end
     where s.org_id = batchcortex.current_org_id() and s.session_id = batchcortex.current_session_id() and s.revoked_at is null
    returning s.expires_at, batchcortex.session_terms(s.user_id, s.expires_at, s.token_sha256) into new_session_token.expires_at, terms;
    if not found then
        raise exception 'not authenticated' using errcode = 'BC401';
    end if;
    perform batchcortex.log_event(case when elevated then 'session.elevated' else 'session.rotated' end, 'session', batchcortex.current_session_id()::text,
        after => terms);
end
$$;
comment on function batchcortex.new_session_token(boolean) is 'Gives the bound session a new token; the earlier one is dead at once. Errors: BC401.';

create function batchcortex_api.rotate_session() returns table (token text, expires_at timestamptz)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_person();
    return query select r.token, r.expires_at from batchcortex.new_session_token(false) r;
end
$$;
comment on function batchcortex_api.rotate_session() is 'Replaces the token of this session (bcs_…, shown once); the earlier token is dead at once. Errors: BC401.';

create function batchcortex_api.elevate(password text, second_factor text default null)
returns table (outcome text, token text, expires_at timestamptz)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_person();
    perform batchcortex.require_attempt();
    outcome := batchcortex.prove_again(password, second_factor, 'elevation');
    if outcome = 'granted' then
        select r.token, r.expires_at into elevate.token, elevate.expires_at from batchcortex.new_session_token(true) r;
    end if;
    return next;
end
$$;
comment on function batchcortex_api.elevate(text, text) is
'Proves the person of this session anew and rotates its token. outcome ''granted'' with the new token (shown once), ''second_factor'' when one is enrolled and was not presented, or ''refused'', which counts towards the lockout. Errors: BC401; BC429 too many attempts of the person or the address, DETAIL the seconds to wait; 40001 another attempt of the person is still open.';

create function batchcortex_api.sessions(of_user uuid default null)
returns table (session_id uuid, user_id uuid, full_name text, created_at timestamptz, last_seen_at timestamptz, expires_at timestamptz, elevated_at timestamptz,
    client_ip inet, user_agent text, this_one boolean)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    person uuid := batchcortex.require_person();
begin
    if of_user is distinct from person and of_user is not null then
        perform batchcortex.require_permission('member.manage');
    end if;
    return query
        select s.session_id, s.user_id, u.full_name, s.created_at, s.last_seen_at, s.expires_at, s.elevated_at, s.client_ip, s.user_agent,
               s.session_id = batchcortex.current_session_id()
          from batchcortex.session s
          join batchcortex.user_account u on u.user_id = s.user_id
         where s.org_id = batchcortex.current_org_id() and s.user_id = coalesce(of_user, person)
           and s.revoked_at is null and s.expires_at > clock_timestamp()
         order by s.created_at, s.session_id;
end
$$;
comment on function batchcortex_api.sessions(uuid) is
'Live sessions in this organisation of the caller, or of a person for whom the caller has member.manage. Errors: BC401, BC403.';

create function batchcortex_api.revoke_session(session_id uuid) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    person uuid := batchcortex.require_person();
    owner uuid;
begin
    select s.user_id into owner from batchcortex.session s
     where s.org_id = batchcortex.current_org_id() and s.session_id = revoke_session.session_id and s.revoked_at is null;
    -- Whose it is, is told only to those who may end it.
    if owner is null or (owner <> person and not batchcortex.has_permission('member.manage')) then
        raise exception 'unknown session' using errcode = 'BC404';
    end if;
    update batchcortex.session s set revoked_at = clock_timestamp()
     where s.org_id = batchcortex.current_org_id() and s.session_id = revoke_session.session_id;
    perform batchcortex.log_event('session.revoked', 'session', session_id::text, after => json_build_object('user_id', owner));
end
$$;
comment on function batchcortex_api.revoke_session(uuid) is
'Ends a session of the caller at once, or with member.manage anybody''s in the organisation. Errors: BC401, BC404.';

create function batchcortex_api.policy()
returns table (session_idle_minutes integer, session_life_minutes integer, password_profile text, password_days integer, password_history integer, second_factor text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_person();
    return query
        select o.session_idle_minutes, o.session_life_minutes, o.password_profile, o.password_days, o.password_history, o.second_factor
          from batchcortex.organisation o where o.org_id = batchcortex.current_org_id();
end
$$;
comment on function batchcortex_api.policy() is 'The organisation''s policy for sessions, passwords and second factors; null is the installation''s setting. Errors: BC401.';

create function batchcortex_api.set_policy(session_idle_minutes integer default null, session_life_minutes integer default null,
    password_profile text default 'nist', password_days integer default 90, password_history integer default 5,
    second_factor text default 'optional', reason text default null)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    org uuid;
    was json;
begin
    perform batchcortex.require_permission('policy.configure');
    org := batchcortex.current_org_id();
    select row_to_json(p) into was from batchcortex_api.policy() p;
    begin
        update batchcortex.organisation o
           set session_idle_minutes = set_policy.session_idle_minutes, session_life_minutes = set_policy.session_life_minutes,
               password_profile = set_policy.password_profile, password_days = set_policy.password_days,
               password_history = set_policy.password_history, second_factor = set_policy.second_factor
         where o.org_id = org;
    exception when check_violation or not_null_violation then
        raise exception 'a value of the policy is out of range' using errcode = 'BC422',
            hint = 'Minutes 1 to 10080, password_profile nist or ageing, password_days 1 to 3650, password_history 1 to 24, second_factor optional or required.';
    end;
    -- A shorter life or idle time holds for the sessions that are open, too; a longer one for those to come.
    update batchcortex.session s
       set idle_minutes = set_policy.session_idle_minutes,
           expires_at = least(s.expires_at, s.created_at + make_interval(mins => set_policy.session_life_minutes))
     where s.org_id = org and s.revoked_at is null and s.expires_at > clock_timestamp();
    perform batchcortex.log_event('policy.changed', 'organisation', org::text, before => was,
        after => (select row_to_json(p) from batchcortex_api.policy() p), reason => reason);
end
$$;
comment on function batchcortex_api.set_policy(integer, integer, text, integer, integer, text, text) is
'Sets the whole policy of the organisation for sessions, passwords and second factors; what is left out goes back to its default. Errors: BC401, BC403, BC422.';

comment on function batchcortex.generate_session_token() is 'A new session token (bcs_ and 64 hex digits from the operating system''s generator).';
comment on function batchcortex.prove_again(text, text, text) is
'A fresh proof of the person of this transaction: granted, second_factor or refused; recorded under the purpose and counted towards the lockout. The caller has spent a budget (require_attempt, or spend_budget for signatures). Errors: 40001 another attempt of the person is still open.';
comment on function batchcortex.current_scopes() is 'Permissions that the bound API key is confined to; null for everyone who is not confined.';
