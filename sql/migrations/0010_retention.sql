-- How long records are kept: longer times than the library's, a batch's own date, legal holds, proposals and disposals. Every row of these
-- tables is a leaf: they decide what may go and say what went, and they stay for good.

create table batchcortex.retention_policy (
    org_id uuid not null default '00000000-0000-0000-0000-000000000000' check (org_id = '00000000-0000-0000-0000-000000000000'),
    policy_id uuid not null,
    recorded_at timestamptz not null default clock_timestamp(),
    record_class text not null,
    months integer not null check (months between 0 and 1200),
    days integer not null check (days between 0 and 36500),
    reason text not null check (btrim(reason) <> ''),
    recorded_by text not null,
    login_oid bigint,
    leaf_hash bytea not null,
    primary key (org_id, recorded_at, policy_id)
);
comment on table batchcortex.retention_policy is
'Times for a class of records that are longer than the library''s own. The longest holds: a row can lengthen a time and never shorten it.';
comment on column batchcortex.retention_policy.days is 'Days besides the months; both count from the end of a partition''s month.';

create table batchcortex.batch_retention (
    org_id uuid not null,
    retention_id uuid not null,
    recorded_at timestamptz not null default clock_timestamp(),
    batch_id uuid not null,
    expires_on date,
    certified_on date,
    retain_until date not null,
    reason text,
    recorded_by text not null,
    login_oid bigint,
    leaf_hash bytea not null,
    primary key (org_id, recorded_at, retention_id),
    foreign key (org_id, batch_id) references batchcortex.batch
);
create index batch_retention_batch on batchcortex.batch_retention (org_id, batch_id, retain_until);
comment on table batchcortex.batch_retention is
'Until when a batch''s records are kept, that day included: the latest date of its rows. EU GMP chapter 4.11: one year after expiry or five years after certification by the Qualified Person, whichever is longer.';

create table batchcortex.legal_hold (
    org_id uuid not null references batchcortex.organisation,
    hold_id uuid not null,
    recorded_at timestamptz not null default clock_timestamp(),
    batch_id uuid,
    reason text not null check (btrim(reason) <> ''),
    recorded_by text not null,
    login_oid bigint,
    leaf_hash bytea not null,
    primary key (org_id, recorded_at, hold_id),
    unique (org_id, hold_id),
    foreign key (org_id, batch_id) references batchcortex.batch
);
comment on table batchcortex.legal_hold is 'Records that must stay whatever their age: an organisation''s, or one batch''s. A hold ends with its row in legal_hold_release.';
comment on column batchcortex.legal_hold.batch_id is 'The batch that is held; null: everything of the organisation.';

create table batchcortex.legal_hold_release (
    org_id uuid not null,
    release_id uuid not null,
    recorded_at timestamptz not null default clock_timestamp(),
    hold_id uuid not null,
    reason text not null check (btrim(reason) <> ''),
    recorded_by text not null,
    login_oid bigint,
    leaf_hash bytea not null,
    primary key (org_id, recorded_at, release_id),
    constraint legal_hold_release_once unique (org_id, hold_id),
    foreign key (org_id, hold_id) references batchcortex.legal_hold (org_id, hold_id)
);
comment on table batchcortex.legal_hold_release is 'The end of a hold, once.';

create table batchcortex.disposal_proposal (
    org_id uuid not null default '00000000-0000-0000-0000-000000000000' check (org_id = '00000000-0000-0000-0000-000000000000'),
    proposal_id uuid not null,
    recorded_at timestamptz not null default clock_timestamp(),
    partition text not null,
    reason text not null check (btrim(reason) <> ''),
    recorded_by text not null,
    login_oid bigint not null,
    leaf_hash bytea not null,
    primary key (org_id, recorded_at, proposal_id)
);
comment on table batchcortex.disposal_proposal is 'The first of the two people that a disposal takes. A proposal lapses after 30 days.';
comment on column batchcortex.disposal_proposal.login_oid is 'The login that the server authenticated: SET ROLE and SET SESSION AUTHORIZATION do not change it.';

create table batchcortex.partition_disposal (
    org_id uuid not null,
    disposal_id uuid not null,
    recorded_at timestamptz not null default clock_timestamp(),
    relation text not null,
    relation_id integer,
    partition text not null,
    recorded_from timestamptz not null,
    recorded_to timestamptz not null,
    row_count bigint not null check (row_count >= 0),
    leaves bigint not null check (leaves >= 0),
    leaves_sha256 bytea check (octet_length(leaves_sha256) = 32),
    reason text not null,
    proposed_by text not null,
    proposed_login_oid bigint not null,
    recorded_by text not null,
    login_oid bigint not null,
    leaf_hash bytea not null,
    primary key (org_id, recorded_at, disposal_id),
    unique (org_id, relation, recorded_from),
    check (recorded_from < recorded_to),
    constraint two_people check (login_oid <> proposed_login_oid)
);
comment on table batchcortex.partition_disposal is
'What was disposed of, one row for each organisation concerned and one for the installation. verify() accepts leaves without rows when, and only when, a row of this table covers them. It stays when the events of that time have gone themselves.';
comment on column batchcortex.partition_disposal.relation is 'Table of schema batchcortex whose partition it was.';
comment on column batchcortex.partition_disposal.relation_id is 'ledger_relation.relation_id; null for a table whose rows are no leaves.';
comment on column batchcortex.partition_disposal.recorded_from is 'The partition''s range [recorded_from, recorded_to), UTC instants; a leaf lies in it when the time of its record''s key (UUID version 7) does.';
comment on column batchcortex.partition_disposal.leaves_sha256 is 'SHA-256 over the organisation''s leaf hashes of that range, 32 bytes each, in the order of its log.';

do $$
declare
    t record;
begin
    for t in select * from (values ('retention_policy', 'policy_id'), ('batch_retention', 'retention_id'), ('legal_hold', 'hold_id'),
                                   ('legal_hold_release', 'release_id'), ('disposal_proposal', 'proposal_id'),
                                   ('partition_disposal', 'disposal_id')) as v (name, key) loop
        perform batchcortex.isolate(format('batchcortex.%I', t.name)::regclass);
        -- In the order of their names the login comes before the leaf.
        execute format('create trigger by_login before insert on batchcortex.%I for each row execute function batchcortex.record_login()', t.name);
        execute format('alter table batchcortex.%I enable always trigger by_login', t.name);
        perform batchcortex.make_leaves(format('batchcortex.%I', t.name)::regclass, t.name, t.key::name, 'batchcortex.leaf_stamp()');
        perform batchcortex.make_append_only(format('batchcortex.%I', t.name)::regclass);
    end loop;
end
$$;
create trigger disposal_only before insert on batchcortex.partition_disposal for each statement execute function batchcortex.refuse_disposals();
alter table batchcortex.partition_disposal enable always trigger disposal_only;
