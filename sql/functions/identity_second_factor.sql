-- Second factors: TOTP (RFC 6238) and recovery codes.

create function batchcortex_api.enrol_second_factor(password text)
returns table (outcome text, otpauth_uri text, secret text, recovery_codes text[])
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    person uuid := batchcortex.require_person();
begin
    perform batchcortex.require_attempt();
    outcome := batchcortex.prove_again(password, null, 'second_factor');
    if outcome = 'second_factor' then
        raise exception 'a second factor is enrolled' using errcode = 'BC409', hint = 'Remove it first.';
    elsif outcome = 'granted' then
        select s.otpauth_uri, s.secret, s.recovery_codes into otpauth_uri, secret, recovery_codes
          from batchcortex.enrol_second_factor((select u.username from batchcortex.user_account u where u.user_id = person)) s;
        if secret is null then
            raise exception 'the server has no key to encrypt the secret with' using errcode = 'BC503', hint = 'Preload pg_batchcortex, so that it makes its key file.';
        end if;
        outcome := 'enrolled';
        perform batchcortex.log_event('second_factor.enrolled', 'user_account', person::text);
    end if;
    return next;
end
$$;
comment on function batchcortex_api.enrol_second_factor(text) is
'Makes a TOTP secret (RFC 6238, SHA-1, 6 digits, 30 s) and ten recovery codes, all shown once. It counts from confirm_second_factor on. outcome ''enrolled'', or ''refused'' for a wrong password. Errors: BC401; BC409 one is enrolled; BC429 too many attempts of the person or the address, DETAIL the seconds to wait; BC503 no key file; 40001 another attempt of the person is still open.';

create function batchcortex_api.enrol_second_factor_at_login(username text, password text, client_ip inet default null, user_agent text default null,
    request_id text default null, organisation uuid default null)
returns table (outcome text, otpauth_uri text, secret text, recovery_codes text[], wait_seconds integer)
language sql security definer
set search_path = pg_catalog, pg_temp
as $$ select * from batchcortex.authenticate_enrolment(username, password, client_ip, user_agent, request_id, organisation) $$;
comment on function batchcortex_api.enrol_second_factor_at_login(text, text, inet, text, text, uuid) is
'After login said ''enrolment_required'': makes a TOTP secret and recovery codes, shown once; the first code at login confirms them. outcome ''enrolled'', ''organisation_required'', ''refused'', also for an account that has a second factor, or ''limited'' (wait_seconds until the next attempt).';

create function batchcortex_api.confirm_second_factor(code text) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    person uuid := batchcortex.require_person();
    outcome text;
begin
    perform batchcortex.require_attempt();
    outcome := batchcortex.confirm_second_factor(code);
    if outcome = 'confirmed' then
        perform batchcortex.log_event('second_factor.confirmed', 'user_account', person::text);
    elsif outcome = 'absent' then
        perform batchcortex.log_event('second_factor.refused', 'user_account', person::text);
    end if;
    return outcome = 'confirmed';
end
$$;
comment on function batchcortex_api.confirm_second_factor(text) is
'Confirms an enrolment with a code of the authenticator program; from now on signing in and signing take one. False for a wrong code, which counts towards the lockout, and when there is nothing to confirm. Errors: BC401; BC429 too many attempts of the person or the address, DETAIL the seconds to wait; 40001 another attempt of the person is still open.';

create function batchcortex_api.remove_second_factor(password text, second_factor text) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    person uuid := batchcortex.require_person();
    outcome text;
begin
    perform batchcortex.require_attempt();
    outcome := batchcortex.prove_again(password, second_factor, 'second_factor');
    if outcome <> 'granted' then
        return outcome;
    end if;
    if not batchcortex.remove_second_factor() then
        raise exception 'no second factor is enrolled' using errcode = 'BC404';
    end if;
    perform batchcortex.log_event('second_factor.removed', 'user_account', person::text);
    return 'removed';
end
$$;
comment on function batchcortex_api.remove_second_factor(text, text) is
'Removes the caller''s second factor against the password and a last code or recovery code. ''removed'', ''refused'' or ''second_factor''. Errors: BC401; BC404; BC429 too many attempts of the person or the address, DETAIL the seconds to wait; 40001 another attempt of the person is still open.';

create function batchcortex_api.second_factor() returns table (enrolled boolean, recovery_codes_left bigint)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform batchcortex.require_person();
    recovery_codes_left := batchcortex.recovery_codes_left();
    enrolled := recovery_codes_left is not null;
    return next;
end
$$;
comment on function batchcortex_api.second_factor() is 'Whether the caller has a second factor, and how many recovery codes are left. Errors: BC401.';

create function batchcortex.reset_second_factor(username text, reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    id uuid;
begin
    perform batchcortex.require_reason(reason);
    delete from batchcortex.totp t using batchcortex.user_account u
     where u.user_id = t.user_id and lower(u.username) = lower(reset_second_factor.username)
    returning t.user_id into id;
    if id is null then
        raise exception 'no account of that name has a second factor' using errcode = 'BC404';
    end if;
    delete from batchcortex.recovery_code c where c.user_id = id;
    perform batchcortex.log_event('second_factor.reset', 'user_account', id::text, reason => reason, org_id => m.org_id)
       from batchcortex.membership m where m.user_id = id and m.ended_at is null;
end
$$;
comment on function batchcortex.reset_second_factor(text, text) is
'For the DBA: takes away a second factor whose owner lost the device and the recovery codes. Not an administrator''s, whose organisation may not be the only one that relies on it. Errors: BC404, BC422 no reason.';

comment on function batchcortex.authenticate_enrolment(text, text, inet, text, text, uuid) is 'Behind batchcortex_api.enrol_second_factor_at_login.';
comment on function batchcortex.enrol_second_factor(text) is 'Behind batchcortex_api.enrol_second_factor: no row when a confirmed secret exists or there is no key.';
comment on function batchcortex.confirm_second_factor(text) is 'Behind batchcortex_api.confirm_second_factor: confirmed, refused (recorded and counted towards the lockout) or absent, when there is nothing to confirm.';
comment on function batchcortex.remove_second_factor() is 'Behind batchcortex_api.remove_second_factor.';
comment on function batchcortex.recovery_codes_left() is 'Unused recovery codes of the person of this transaction; null without a confirmed second factor.';
comment on function batchcortex.totp_code(bytea, bigint, integer) is 'One-time password of a secret at a time in seconds since 1970 (RFC 6238, SHA-1, 30 s), 6 to 8 digits.';
comment on function batchcortex.totp_step(bytea, text, bigint, bigint) is 'The 30-second step of a code that would be accepted at a time; null for a wrong code and for one of a step that was used.';
comment on function batchcortex.totp_text(bytea) is 'A secret in base32 (RFC 4648) without padding.';
