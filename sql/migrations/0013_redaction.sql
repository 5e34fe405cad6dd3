-- Redaction: what records name by a salted hash, so that it can be erased and every root stays valid.

create table batchcortex.personal_data (
    org_id uuid not null references batchcortex.organisation,
    commitment text not null check (commitment ~ '^sha256:[0-9a-f]{64}$'),
    salt bytea check (octet_length(salt) = 32),
    value text,
    committed_at timestamptz not null default clock_timestamp(),
    erased_at timestamptz,
    primary key (org_id, commitment),
    check ((salt is null) = (value is null) and (value is null) = (erased_at is not null))
);
comment on table batchcortex.personal_data is
'Personal data that records name by a commitment. A row changes once, when its value and salt are erased; the commitment stays, and says nothing without them.';
comment on column batchcortex.personal_data.commitment is 'sha256: and the hexadecimal digits of SHA-256("batchcortex/commitment/v1" || 0x0A || salt || value in UTF-8): what stands in the record.';
comment on column batchcortex.personal_data.salt is '32 random bytes; without them nobody can try values.';
create trigger keep_personal_data before update or delete on batchcortex.personal_data
    for each row execute function batchcortex.keep_personal_data();
create trigger keep_personal_data_truncate before truncate on batchcortex.personal_data
    for each statement execute function batchcortex.keep_personal_data();
alter table batchcortex.personal_data enable always trigger keep_personal_data;
alter table batchcortex.personal_data enable always trigger keep_personal_data_truncate;
select batchcortex.isolate('batchcortex.personal_data');
revoke delete, truncate on table batchcortex.personal_data from batchcortex_owner;

alter table batchcortex.invitation add column username_commitment text;
comment on column batchcortex.invitation.username_commitment is 'What the event of the invitation names the person by; when that is erased before anyone has used it, it stands in username too.';

insert into batchcortex.permission (permission, least_level, about) values
    ('personal_data.read', 'full_access', 'see the values that records commit to'),
    ('personal_data.erase', 'full_access', 'erase the values that records commit to');
insert into batchcortex.role_permission (role_name, permission) values
    ('admin', 'personal_data.read'), ('admin', 'personal_data.erase');
