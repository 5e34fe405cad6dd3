-- People: lockout and attempts, policies of an organisation, agreements, second factors, API keys.

-- What an organisation decides about its people's sessions and passwords. Null is the installation's setting.
alter table batchcortex.organisation
    add column session_idle_minutes integer check (session_idle_minutes between 1 and 10080),
    add column session_life_minutes integer check (session_life_minutes between 1 and 10080),
    add column password_profile text not null default 'nist' check (password_profile in ('nist', 'ageing')),
    add column password_days integer not null default 90 check (password_days between 1 and 3650),
    add column password_history integer not null default 5 check (password_history between 1 and 24),
    add column second_factor text not null default 'optional' check (second_factor in ('optional', 'required'));
comment on column batchcortex.organisation.session_idle_minutes is 'How long a session may be idle; null: batchcortex.session_idle.';
comment on column batchcortex.organisation.session_life_minutes is 'How long a session lives at most; null: batchcortex.session_life.';
comment on column batchcortex.organisation.password_profile is 'nist: length and blocklist, no ageing (NIST SP 800-63B); ageing: also password_days and password_history.';
comment on column batchcortex.organisation.password_history is 'Profile ageing: how many passwords, the present one included, may not be chosen again.';

alter table batchcortex.user_account
    add column failed_attempts integer not null default 0 check (failed_attempts >= 0),
    add column locked_until timestamptz,
    add column password_changed_at timestamptz not null default clock_timestamp();
comment on column batchcortex.user_account.failed_attempts is 'Failed proofs of identity since the last one that held.';
comment on column batchcortex.user_account.locked_until is 'Until when every proof is refused; infinity: until an administrator unlocks.';
create trigger keep_username before update or delete on batchcortex.user_account
    for each row execute function batchcortex.keep_username();
create trigger keep_usernames before truncate on batchcortex.user_account
    for each statement execute function batchcortex.keep_username();
alter table batchcortex.user_account enable always trigger keep_username;
alter table batchcortex.user_account enable always trigger keep_usernames;

alter table batchcortex.session
    add column idle_minutes integer check (idle_minutes between 1 and 10080),
    add column rotated_at timestamptz,
    add column elevated_at timestamptz;
create index session_person on batchcortex.session (org_id, user_id) where revoked_at is null;
comment on column batchcortex.session.idle_minutes is 'The organisation''s limit, copied here so that a request reads one row; null: batchcortex.session_idle.';
comment on column batchcortex.session.elevated_at is 'When the person last proved themselves anew in this session.';

-- The name that was typed is not kept: people type passwords into that field.
create table batchcortex.login_attempt (
    org_id uuid not null,
    attempt_id uuid not null default gen_random_uuid(),
    attempted_at timestamptz not null default clock_timestamp(),
    user_id uuid,
    purpose text not null,
    result text not null check (result in ('granted', 'refused', 'locked', 'second_factor', 'second_factor_enrolled', 'enrolment_required',
        'acceptance_required', 'password_expired', 'organisation_required')),
    burst boolean not null default false,
    client_ip inet,
    user_agent text,
    primary key (org_id, attempted_at, attempt_id)
) partition by range (attempted_at);
create index login_attempt_address on batchcortex.login_attempt (client_ip, attempted_at);
comment on table batchcortex.login_attempt is 'Every proof of identity that was tried, whether it held or not. Of an unknown user name nothing is kept; its attempts belong to the installation (nil uuid).';
comment on column batchcortex.login_attempt.purpose is 'What the proof was for: login, elevation, password, invitation, second_factor.';
comment on column batchcortex.login_attempt.result is 'granted; refused; locked: refused because the account was locked; the others: right so far, more was needed.';
comment on column batchcortex.login_attempt.burst is 'This failure was recorded as a burst of its address.';
select batchcortex.isolate('batchcortex.login_attempt');
select batchcortex.make_append_only('batchcortex.login_attempt');
select batchcortex.make_partitions();

create table batchcortex.agreement (
    org_id uuid not null references batchcortex.organisation,
    kind text not null check (kind in ('terms', 'privacy', 'accountability')),
    version text not null,
    content text not null,
    published_at timestamptz not null default clock_timestamp(),
    published_by uuid,
    primary key (org_id, kind, version)
);
comment on table batchcortex.agreement is 'Terms, privacy notice and accountability statement of an organisation, version by version. The newest of each kind is required of everyone who signs in.';
select batchcortex.isolate('batchcortex.agreement');
select batchcortex.make_append_only('batchcortex.agreement');

create table batchcortex.agreement_acceptance (
    org_id uuid not null,
    user_id uuid not null references batchcortex.user_account,
    kind text not null,
    version text not null,
    accepted_at timestamptz not null default clock_timestamp(),
    primary key (org_id, user_id, kind, version),
    foreign key (org_id, kind, version) references batchcortex.agreement
);
comment on table batchcortex.agreement_acceptance is 'Who accepted which version, and when. Insert-only; an event of the log goes with each row.';
select batchcortex.isolate('batchcortex.agreement_acceptance');
select batchcortex.make_append_only('batchcortex.agreement_acceptance');

-- A person's own, of no organisation: row security without a policy shows them to nobody, the owner included. The
-- identity module in Rust alone reads and writes them.
create table batchcortex.password_history (
    history_id bigint generated always as identity primary key,
    user_id uuid not null references batchcortex.user_account,
    replaced_at timestamptz not null default clock_timestamp(),
    password_hash text not null
);
create index password_history_user on batchcortex.password_history (user_id, replaced_at);
comment on table batchcortex.password_history is 'Argon2id hashes of earlier passwords, where a policy looks at them, and no more than it looks at.';

create table batchcortex.totp (
    user_id uuid primary key references batchcortex.user_account,
    key_id text not null,
    sealed bytea not null,
    enrolled_at timestamptz not null default clock_timestamp(),
    confirmed_at timestamptz,
    last_step bigint
);
comment on table batchcortex.totp is 'TOTP secrets (RFC 6238), encrypted under a key of the server''s key file.';
comment on column batchcortex.totp.key_id is 'Id of the key in the key file.';
comment on column batchcortex.totp.sealed is '24 bytes nonce, then XChaCha20-Poly1305 ciphertext and tag; associated data is the user_id.';
comment on column batchcortex.totp.last_step is 'Step of the last code that was accepted: it and earlier ones are refused.';

create table batchcortex.recovery_code (
    user_id uuid not null references batchcortex.user_account,
    code_sha256 bytea not null check (octet_length(code_sha256) = 32),
    used_at timestamptz,
    primary key (user_id, code_sha256)
);
comment on table batchcortex.recovery_code is 'SHA-256 of the recovery codes of a second factor, each for one use.';

do $$
declare
    relation regclass;
begin
    foreach relation in array '{batchcortex.password_history,batchcortex.totp,batchcortex.recovery_code}'::regclass[] loop
        execute format('alter table %s owner to batchcortex_owner', relation);
        execute format('revoke all on table %s from public', relation);
        execute format('alter table %s enable row level security', relation);
        execute format('alter table %s force row level security', relation);
    end loop;
end
$$;

create table batchcortex.api_key (
    org_id uuid not null references batchcortex.organisation,
    key_id uuid not null default gen_random_uuid(),
    name text not null,
    role_name text not null check (role_name in ('operator', 'qa', 'qp', 'admin')),
    scopes text[] not null check (cardinality(scopes) > 0),
    token_sha256 bytea not null check (octet_length(token_sha256) = 32),
    shown_as text not null,
    created_by uuid not null references batchcortex.user_account,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    last_used_at timestamptz,
    primary key (org_id, key_id),
    constraint api_key_name unique (org_id, name)
);
create unique index api_key_token on batchcortex.api_key (token_sha256);
comment on table batchcortex.api_key is 'Credentials of programs. The key is never stored, only its SHA-256.';
comment on column batchcortex.api_key.scopes is 'Permissions that the key is confined to; what its role may not do, it may not do either.';
comment on column batchcortex.api_key.shown_as is 'Prefix and last four characters, to tell keys apart.';
comment on column batchcortex.api_key.last_used_at is 'Written at most once a minute.';
select batchcortex.isolate('batchcortex.api_key');

insert into batchcortex.role_permission (role_name, permission)
values ('admin', 'member.manage'), ('admin', 'policy.configure'), ('admin', 'api_key.manage')
on conflict do nothing;
