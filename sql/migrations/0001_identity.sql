-- Organisations, people, memberships, sessions, invitations, and what each role may do.

create table batchcortex.organisation (
    org_id uuid primary key,
    name text not null constraint organisation_name unique,
    site_time_zone text not null default 'UTC',
    created_at timestamptz not null default clock_timestamp()
);
comment on table batchcortex.organisation is 'A tenant. The nil uuid is the installation itself, whose log holds what belongs to no organisation.';
comment on column batchcortex.organisation.site_time_zone is 'Name of pg_timezone_names: times are stored in UTC and shown in this zone.';
select batchcortex.isolate('batchcortex.organisation');
insert into batchcortex.organisation (org_id, name) values ('00000000-0000-0000-0000-000000000000', 'installation');

create table batchcortex.user_account (
    user_id uuid primary key default gen_random_uuid(),
    username text not null,
    full_name text not null,
    password_hash text not null,
    state text not null default 'active' check (state in ('active', 'deactivated')),
    created_at timestamptz not null default clock_timestamp()
);
create unique index user_account_username on batchcortex.user_account (lower(username));
comment on table batchcortex.user_account is 'A person. Rows are never deleted, so that a user name is never used for another person (21 CFR 11.100(a)).';
comment on column batchcortex.user_account.password_hash is 'Argon2id in PHC string format (RFC 9106).';

create table batchcortex.membership (
    org_id uuid not null references batchcortex.organisation,
    user_id uuid not null references batchcortex.user_account,
    role_name text not null check (role_name in ('operator', 'qa', 'qp', 'admin')),
    created_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    primary key (org_id, user_id)
);
create index membership_user on batchcortex.membership (user_id);
comment on table batchcortex.membership is 'Which person works in which organisation, and in which role.';
select batchcortex.isolate('batchcortex.membership');

-- A person may belong to several organisations: the row is seen by those, and by the person.
alter table batchcortex.user_account owner to batchcortex_owner;
revoke all on table batchcortex.user_account from public;
alter table batchcortex.user_account enable row level security;
alter table batchcortex.user_account force row level security;
create policy organisation on batchcortex.user_account to batchcortex_owner
    using (user_id = batchcortex.current_user_id()
           or exists (select from batchcortex.membership m
                       where m.org_id = batchcortex.current_org_id() and m.user_id = user_account.user_id))
    with check (false);

create table batchcortex.session (
    org_id uuid not null,
    session_id uuid not null default gen_random_uuid(),
    user_id uuid not null references batchcortex.user_account,
    token_sha256 bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    client_ip inet,
    user_agent text,
    primary key (org_id, session_id),
    foreign key (org_id, user_id) references batchcortex.membership
);
-- The one lookup that comes before an organisation is known.
create unique index session_token on batchcortex.session (token_sha256);
comment on table batchcortex.session is 'Server-side sessions. The token is never stored, only its SHA-256.';
select batchcortex.isolate('batchcortex.session');

create table batchcortex.invitation (
    org_id uuid not null references batchcortex.organisation,
    invitation_id uuid not null default gen_random_uuid(),
    username text not null,
    role_name text not null check (role_name in ('operator', 'qa', 'qp', 'admin')),
    token_sha256 bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    redeemed_at timestamptz,
    primary key (org_id, invitation_id)
);
create unique index invitation_token on batchcortex.invitation (token_sha256);
comment on table batchcortex.invitation is 'Invitations to join: single use, expiring, stored as SHA-256 of the token.';
select batchcortex.isolate('batchcortex.invitation');

create table batchcortex.role_permission (
    role_name text not null check (role_name in ('operator', 'qa', 'qp', 'admin')),
    permission text not null,
    primary key (role_name, permission)
);
comment on table batchcortex.role_permission is 'What each role may do; the same for every organisation.';
alter table batchcortex.role_permission owner to batchcortex_owner;
revoke all on table batchcortex.role_permission from public;
insert into batchcortex.role_permission (role_name, permission)
select r, p
  from (values ('batch.read', '{operator,qa,qp,admin}'::text[]),
               ('batch.run', '{operator,qa,qp,admin}'),
               ('event.read', '{operator,qa,qp,admin}'),
               ('event.append', '{operator,qa,qp,admin}'),
               ('ledger.verify', '{operator,qa,qp,admin}'),
               ('equipment.configure', '{admin}'),
               ('device.enrol', '{admin}'),
               ('member.invite', '{admin}')) as v (p, roles), unnest(roles) as r;
