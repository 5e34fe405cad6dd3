-- What permissions there are and what each takes; levels within a team; owners of records; auditors over psql; who granted what.

create table batchcortex.permission (
    permission text primary key,
    least_level text not null check (least_level in ('view_only', 'can_edit', 'full_access')),
    gmp boolean not null default false,
    about text not null,
    unique (permission, gmp)
);
comment on table batchcortex.permission is 'Every permission: the team level it takes at least, and whether it is a meaning under GMP.';
comment on column batchcortex.permission.least_level is
'view_only: every member of a role that holds it; can_edit: not view_only, and for who can edit, records of their own; full_access: that level alone.';
comment on column batchcortex.permission.gmp is 'A meaning that a person answers for under GMP; the role admin can hold none.';
alter table batchcortex.permission owner to batchcortex_owner;
revoke all on table batchcortex.permission from public;
insert into batchcortex.permission (permission, least_level, gmp, about) values
    ('batch.read', 'view_only', false, 'see batches, equipment, tags and samples'),
    ('batch.run', 'can_edit', false, 'plan, start and end batches'),
    ('event.read', 'view_only', false, 'read the audit trail'),
    ('event.append', 'can_edit', false, 'append events of an application'),
    ('ledger.verify', 'view_only', false, 'verify the organisation''s log'),
    ('equipment.configure', 'can_edit', false, 'register equipment and tags'),
    ('device.enrol', 'full_access', false, 'enrol edge devices'),
    ('member.invite', 'full_access', false, 'invite people'),
    ('member.configure', 'full_access', false, 'set roles and team levels'),
    ('member.manage', 'full_access', false, 'see, unlock and end members and their sessions'),
    ('policy.configure', 'full_access', false, 'set policies, publish agreements'),
    ('api_key.manage', 'full_access', false, 'create, list and revoke API keys'),
    ('access.read', 'view_only', false, 'read the access register'),
    ('access.review', 'full_access', false, 'record a review of the access register'),
    ('signature.author', 'can_edit', true, 'sign for having done it'),
    ('signature.review', 'can_edit', true, 'sign for having reviewed it'),
    ('signature.approve', 'can_edit', true, 'sign for approval'),
    ('signature.certify', 'can_edit', true, 'certify a batch for release (Annex 16)');
-- Permissions of steps before this one that are not named above.
insert into batchcortex.permission (permission, least_level, about)
    select distinct r.permission, 'full_access', '' from batchcortex.role_permission r on conflict (permission) do nothing;

alter table batchcortex.role_permission
    add column gmp boolean not null default false,
    add constraint role_permission_permission foreign key (permission, gmp) references batchcortex.permission (permission, gmp),
    -- Whoever administers accounts cannot also answer for batches.
    add constraint admin_holds_no_gmp_meaning check (not (gmp and role_name = 'admin'));
insert into batchcortex.role_permission (role_name, permission, gmp)
select r, p, p like 'signature.%'
  from (values ('member.configure', '{admin}'::text[]),
               ('access.read', '{qa,qp,admin}'),
               ('access.review', '{qa,admin}'),
               ('signature.author', '{operator,qa,qp}'),
               ('signature.review', '{qa,qp}'),
               ('signature.approve', '{qa,qp}'),
               ('signature.certify', '{qp}')) as v (p, roles), unnest(roles) as r;

alter table batchcortex.membership add column team_level text not null default 'full_access'
    constraint membership_team_level check (team_level in ('view_only', 'can_edit', 'full_access'));
comment on column batchcortex.membership.team_level is
'How far the member''s role reaches: view_only reads, can_edit changes what is theirs, full_access the whole organisation''s. Narrows the role, never widens it.';

-- Columns first, defaults second: what was there before was not made by whoever migrates.
alter table batchcortex.batch add column created_by uuid;
alter table batchcortex.batch alter column created_by set default batchcortex.current_user_id();
comment on column batchcortex.batch.created_by is 'Owner: the person who planned it; null for a program, and for batches before this was kept.';
alter table batchcortex.invitation add column granted_by text;
alter table batchcortex.invitation alter column granted_by set default batchcortex.current_actor_name();
comment on column batchcortex.invitation.granted_by is 'Name of who invited, as it was at that moment.';
alter table batchcortex.device add column granted_by text;
alter table batchcortex.device alter column granted_by set default batchcortex.current_actor_name();
comment on column batchcortex.device.granted_by is 'Name of who enrolled it, as it was at that moment.';

create table batchcortex.auditor_grant (
    org_id uuid not null references batchcortex.organisation,
    grant_id uuid not null default gen_random_uuid(),
    role_name name not null,
    role_oid oid not null,
    granted_at timestamptz not null default clock_timestamp(),
    granted_by text not null default batchcortex.current_actor_name(),
    expires_at timestamptz not null check (expires_at > granted_at and isfinite(expires_at)),
    reason text not null,
    revoked_at timestamptz,
    revoked_by text,
    revoke_reason text,
    primary key (org_id, grant_id)
);
create index auditor_grant_role on batchcortex.auditor_grant (role_name);
comment on table batchcortex.auditor_grant is 'Which database login may read which organisation, until when and why. Rows stay.';
comment on column batchcortex.auditor_grant.role_oid is
'The login''s oid: a role that is dropped and made again under the same name, or restored into another cluster, has no grant.';
select batchcortex.isolate('batchcortex.auditor_grant');

-- Tables of earlier steps.
select batchcortex.open_to_auditors(p.polrelid)
  from pg_catalog.pg_policy p
  join pg_catalog.pg_class c on c.oid = p.polrelid
 where c.relnamespace = 'batchcortex'::regnamespace and p.polname = 'organisation'
   and exists (select from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped);

-- People of the organisations that the auditor reads; their memberships are what the auditor's own policy shows.
grant select (user_id, username, full_name, state, created_at) on batchcortex.user_account to batchcortex_auditor;
create policy auditor on batchcortex.user_account for select to batchcortex_auditor
    using (exists (select from batchcortex.membership m where m.user_id = user_account.user_id));
