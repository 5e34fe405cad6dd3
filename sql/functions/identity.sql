-- Joining and signing in, as the API sees it. The credential checks themselves are in Rust (identity module): they look rows up
-- before any organisation is bound, which no function in SQL may do.

create function batchcortex.current_org_id() returns uuid
language c stable parallel safe
as 'MODULE_PATHNAME', 'current_org_id';

create function batchcortex.require_rows(max_rows integer, most integer) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if max_rows is null or max_rows not between 1 and most then
        raise exception 'max_rows takes 1 to %, got %', most, coalesce(max_rows::text, 'null') using errcode = 'BC422';
    end if;
end
$$;
comment on function batchcortex.require_rows(integer, integer) is 'Raises BC422 unless a page size is between 1 and the most allowed.';

create function batchcortex.new_invitation(org_id uuid, username text, role_name text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    token text := batchcortex.generate_invitation();
    named text;
    id uuid;
begin
    if username is null or username !~ '^[[:alnum:]][[:alnum:]._@+-]{0,99}$' then
        raise exception 'a user name has 1 to 100 letters, digits or . _ @ + - and starts with a letter or digit' using errcode = 'BC422';
    end if;
    if role_name is null or role_name not in ('operator', 'qa', 'qp', 'admin') then
        raise exception 'unknown role %', quote_nullable(role_name) using errcode = 'BC422', hint = 'Roles are operator, qa, qp and admin.';
    end if;
    -- The log keeps a commitment: somebody who was invited and never came can be forgotten.
    named := batchcortex.commit_personal_data(new_invitation.org_id, new_invitation.username);
    insert into batchcortex.invitation (org_id, username, username_commitment, role_name, token_sha256, expires_at)
        values (new_invitation.org_id, new_invitation.username, named, new_invitation.role_name, sha256(token::bytea), clock_timestamp() + interval '7 days')
        returning invitation_id into id;
    perform batchcortex.log_event('member.invited', 'invitation', id::text, org_id => new_invitation.org_id,
        after => json_build_object('username', named, 'role_name', role_name));
    return token;
end
$$;
comment on function batchcortex.new_invitation(uuid, text, text) is
'Makes an invitation and returns its token (bci_…), which is shown once. Whether the user name exists elsewhere is not told. Errors: BC422.';

create function batchcortex.create_organisation(name text, admin_username text, site_time_zone text default 'UTC')
returns table (org_id uuid, invitation text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    new_org uuid := gen_random_uuid();
begin
    if nullif(btrim(name), '') is null or length(name) > 200 then
        raise exception 'an organisation needs a name of 1 to 200 characters' using errcode = 'BC422';
    end if;
    if not exists (select from pg_timezone_names z where z.name = site_time_zone) then
        raise exception 'unknown time zone %', quote_literal(site_time_zone) using errcode = 'BC422', hint = 'Use a name of pg_timezone_names, such as Europe/Paris.';
    end if;
    begin
        insert into batchcortex.organisation (org_id, name, site_time_zone) values (new_org, create_organisation.name, create_organisation.site_time_zone);
    exception when unique_violation then
        raise exception 'an organisation named % exists', quote_literal(create_organisation.name) using errcode = 'BC409';
    end;
    perform batchcortex.log_event('organisation.created', 'organisation', new_org::text, org_id => new_org,
        after => json_build_object('name', create_organisation.name, 'site_time_zone', create_organisation.site_time_zone));
    return query select new_org, batchcortex.new_invitation(new_org, admin_username, 'admin');
end
$$;
comment on function batchcortex.create_organisation(text, text, text) is
'For the DBA: creates an organisation and the invitation of its first administrator. The invitation (bci_…) is shown once, holds for seven days and for one use. Errors: BC422 bad name or time zone, BC409 name taken.';

create function batchcortex_api.open_request(credential text, client_ip inet default null, user_agent text default null, request_id text default null,
    out user_id uuid, out org_id uuid, out role_name text, out full_name text)
-- Neither SECURITY DEFINER nor a search_path of its own, which every request would pay for: it looks up by oid, and what it calls pins its own.
language c volatile parallel unsafe
as 'MODULE_PATHNAME', 'bind_request';
comment on function batchcortex_api.open_request(text, inet, text, text) is
'Binds user, organisation and role of a session (bcs_…) or an API key (bck_…) to this transaction; the binding ends with it. For a key user_id is null and full_name is its name. Errors: BC401 for any credential that is unknown, expired, revoked or of a deactivated user, with one and the same message; BC429 after too many requests of the person or key, DETAIL the seconds to wait.';

create function batchcortex_api.login(username text, password text, client_ip inet default null, user_agent text default null,
                                      request_id text default null, organisation uuid default null, second_factor text default null)
returns table (outcome text, token text, session_id uuid, user_id uuid, org_id uuid, role_name text, full_name text, expires_at timestamptz, wait_seconds integer, detail json)
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    select a.outcome, a.token, a.session_id, a.user_id, a.org_id, a.role_name, a.full_name, a.expires_at, a.wait_seconds, a.detail::json
      from batchcortex.authenticate_login(username, password, client_ip, user_agent, request_id, organisation, second_factor, null, null, null, null) a
$$;
comment on function batchcortex_api.login(text, text, inet, text, text, uuid, text) is
'Checks a password (Argon2id), and the second factor where one is enrolled, and opens a session: outcome ''granted''. The token (bcs_…) is shown once; only its SHA-256 is stored. A refusal is a result (''refused''), not an error, so that the attempt is recorded; unknown user, wrong password, wrong code, locked and deactivated account get the same answer. ''limited'': too many attempts of the address or the user name, or another attempt of the person is still open; wait_seconds until the next. After the right password: ''organisation_required'' (name one), ''password_expired'' (call replace_password), ''acceptance_required'' (call accept_agreements; detail lists kind, version and content), ''enrolment_required'' (call enrol_second_factor_at_login), ''second_factor'' (call again with a TOTP or recovery code).';

create function batchcortex_api.replace_password(username text, password text, new_password text, client_ip inet default null, user_agent text default null,
    request_id text default null, organisation uuid default null, second_factor text default null, accepted_terms text default null,
    accepted_privacy text default null, accepted_accountability text default null)
returns table (outcome text, token text, session_id uuid, user_id uuid, org_id uuid, role_name text, full_name text, expires_at timestamptz, wait_seconds integer, detail json)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    answer record;
begin
    select * into answer from batchcortex.authenticate_login(username, password, client_ip, user_agent, request_id, organisation, second_factor,
        accepted_terms, accepted_privacy, accepted_accountability, coalesce(new_password, ''));
    if answer.sqlstate is not null then
        raise exception '%', answer.detail using errcode = answer.sqlstate;
    end if;
    return query select answer.outcome, answer.token, answer.session_id, answer.user_id, answer.org_id, answer.role_name, answer.full_name,
        answer.expires_at, answer.wait_seconds, answer.detail::json;
end
$$;
comment on function batchcortex_api.replace_password(text, text, text, inet, text, text, uuid, text, text, text, text) is
'Signs in and changes the password, after login said ''password_expired''; every earlier session ends. Agreements that are missing too are accepted in the same call. Same answer as login. Errors: BC422 the new password is not acceptable.';

create function batchcortex_api.logout() returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if batchcortex.current_session_id() is null then
        raise exception 'not authenticated' using errcode = 'BC401';
    end if;
    update batchcortex.session s set revoked_at = clock_timestamp()
     where s.org_id = batchcortex.current_org_id() and s.session_id = batchcortex.current_session_id() and s.revoked_at is null;
    perform batchcortex.log_event('session.ended', 'session', batchcortex.current_session_id()::text);
end
$$;
comment on function batchcortex_api.logout() is 'Ends the session of this request at once. Errors: BC401.';

create function batchcortex_api.whoami()
returns table (user_id uuid, username text, full_name text, org_id uuid, organisation text, role_name text, session_id uuid, expires_at timestamptz)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if batchcortex.current_session_id() is null then
        raise exception 'not authenticated' using errcode = 'BC401';
    end if;
    return query
        select u.user_id, u.username, u.full_name, o.org_id, o.name, batchcortex.current_role_name(), s.session_id, s.expires_at
          from batchcortex.session s
          join batchcortex.user_account u on u.user_id = s.user_id
          join batchcortex.organisation o on o.org_id = s.org_id
         where s.org_id = batchcortex.current_org_id() and s.session_id = batchcortex.current_session_id();
end
$$;
comment on function batchcortex_api.whoami() is 'The person, organisation, role and session bound to this request. Errors: BC401.';

create function batchcortex_api.invite(username text, role_name text) returns table (invitation text, expires_at timestamptz)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_permission('member.invite');
    return query select batchcortex.new_invitation(batchcortex.current_org_id(), invite.username, invite.role_name), clock_timestamp() + interval '7 days';
end
$$;
comment on function batchcortex_api.invite(text, text) is
'Invites a person by user name to the caller''s organisation in a role (operator, qa, qp, admin). The invitation is shown once and holds for one use. Whether the user name is an account''s already is not told. Errors: BC401, BC403, BC422 bad name or role.';

create function batchcortex_api.accept_invitation(invitation text, full_name text, password text, client_ip inet default null, user_agent text default null,
    request_id text default null, accepted_terms text default null, accepted_privacy text default null, accepted_accountability text default null)
returns table (outcome text, user_id uuid, detail text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    answer record;
begin
    select * into answer from batchcortex.redeem_invitation(invitation, full_name, password, client_ip, user_agent, request_id,
        accepted_terms, accepted_privacy, accepted_accountability);
    if answer.sqlstate = 'BC429' then
        raise exception 'too many attempts' using errcode = answer.sqlstate, detail = answer.detail;
    end if;
    if answer.sqlstate is not null then
        raise exception '%', answer.detail using errcode = answer.sqlstate;
    end if;
    return query select answer.outcome, answer.user_id, answer.detail;
end
$$;
comment on function batchcortex_api.accept_invitation(text, text, text, inet, text, text, text, text, text) is
'Creates the account that an invitation stands for, and keeps which versions of the organisation''s agreements were accepted (invitation_agreements lists them). outcome ''joined'', or ''refused'' for an invitation that is unknown, used or expired, and for a user name that is an account''s whose password is another one, which counts towards its lockout. Errors: BC422 name or password not acceptable, or a present agreement not accepted; BC429 too many attempts of the address or the user name, DETAIL the seconds to wait.';

comment on function batchcortex.current_org_id() is 'Organisation bound to this transaction; null without one. Every row-level policy compares with it.';
comment on function batchcortex.current_user_id() is 'Person bound to this transaction; null for devices, for the system and without an identity.';
comment on function batchcortex.current_role_name() is 'Role bound to this transaction; null without an identity.';
comment on function batchcortex.current_session_id() is 'Session bound to this transaction; null for devices, for the system and without an identity.';
comment on function batchcortex.authenticate_login(text, text, inet, text, text, uuid, text, text, text, text, text) is 'Behind batchcortex_api.login, accept_agreements and replace_password; sqlstate is set when the new password is not acceptable.';
comment on function batchcortex.generate_invitation() is 'A new invitation token (bci_ and 64 hex digits from the operating system''s generator).';
comment on function batchcortex.redeem_invitation(text, text, text, inet, text, text, text, text, text) is 'Behind batchcortex_api.accept_invitation; sqlstate is set when name or password are not acceptable.';

create function batchcortex.require_attempt() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    wait integer := batchcortex.spend_attempt();
begin
    if wait > 0 then
        raise exception 'too many attempts' using errcode = 'BC429', detail = wait::text;
    end if;
end
$$;
comment on function batchcortex.require_attempt() is
'Spends one attempt of the person of this transaction, from the budgets that signing in has: of the user name and of the address. Every function that checks a password or a code calls it first. Raises BC429 when none is left, DETAIL the seconds to wait.';
comment on function batchcortex.spend_attempt() is
'Behind batchcortex.require_attempt: 0, or the seconds to wait; whatever becomes of the transaction. 0 without a person, who has nothing to prove.';

create function batchcortex.note_session_seen(org_id uuid, session_id uuid) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    -- A request does not wait for another request's transaction to note that the session is in use.
    update batchcortex.session s set last_seen_at = clock_timestamp()
     where (s.org_id, s.session_id) in (select n.org_id, n.session_id from batchcortex.session n
                                         where n.org_id = note_session_seen.org_id and n.session_id = note_session_seen.session_id for update skip locked)
$$;
comment on function batchcortex.note_session_seen(uuid, uuid) is 'Behind batchcortex_api.open_request: notes that a session is in use, once a minute.';

create function batchcortex.note_key_used(org_id uuid, key_id uuid) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    update batchcortex.api_key k set last_used_at = clock_timestamp()
     where (k.org_id, k.key_id) in (select n.org_id, n.key_id from batchcortex.api_key n
                                     where n.org_id = note_key_used.org_id and n.key_id = note_key_used.key_id for update skip locked)
$$;
comment on function batchcortex.note_key_used(uuid, uuid) is 'Behind batchcortex_api.open_request: notes that an API key is in use, once a minute.';
