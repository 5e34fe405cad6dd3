-- Witnesses: who may cosign checkpoints of the global log, and what they have cosigned.

create table batchcortex.ledger_witness (
    change integer generated always as identity primary key,
    verifier_key text not null check (octet_length(verifier_key) between 1 and 500),
    witness text not null,
    key_id bytea not null check (octet_length(key_id) = 4),
    active boolean not null,
    reason text not null check (length(btrim(reason)) between 1 and 4000),
    changed_at timestamptz not null default clock_timestamp(),
    changed_by text not null default session_user
);
comment on table batchcortex.ledger_witness is
'Witnesses whose cosignatures are taken, a row for each change: the newest row of a key counts. Keys of one name are one witness.';
comment on column batchcortex.ledger_witness.verifier_key is 'Public key (C2SP signed-note, type 4): name+id+base64.';
comment on column batchcortex.ledger_witness.active is 'Whether cosignatures by the key are taken from then on and count for a quorum; those of a retired key stay and verify.';
alter table batchcortex.ledger_witness owner to batchcortex_owner;
revoke all on table batchcortex.ledger_witness from public;
grant select on table batchcortex.ledger_witness to batchcortex_auditor;
select batchcortex.make_append_only('batchcortex.ledger_witness');
-- The API's functions run as the owner: they read who may cosign and never say so.
revoke insert, update on table batchcortex.ledger_witness from batchcortex_owner;

create table batchcortex.ledger_cosignature (
    tree_size bigint not null check (tree_size > 0),
    witness text not null,
    key_id bytea not null check (octet_length(key_id) = 4),
    incarnation integer not null,
    cosigned_at timestamptz not null,
    line text not null check (octet_length(line) between 1 and 1000),
    received_at timestamptz not null default clock_timestamp(),
    primary key (tree_size, witness, key_id)
);
comment on table batchcortex.ledger_cosignature is
'Cosignatures of checkpoints of the global log (C2SP tlog-cosignature), each verified before it is stored; batchcortex.verify() does it again.';
comment on column batchcortex.ledger_cosignature.tree_size is 'Size of the checkpoint of the global log.';
comment on column batchcortex.ledger_cosignature.key_id is 'Id of the key that signed; batchcortex.ledger_witness has the key.';
comment on column batchcortex.ledger_cosignature.cosigned_at is 'When the witness says that it signed.';
comment on column batchcortex.ledger_cosignature.line is 'The signature line of the note, without its newline.';
create index on batchcortex.ledger_cosignature (witness, key_id, tree_size);
alter table batchcortex.ledger_cosignature owner to batchcortex_owner;
revoke all on table batchcortex.ledger_cosignature from public;
grant select on table batchcortex.ledger_cosignature to batchcortex_auditor;
select batchcortex.make_append_only('batchcortex.ledger_cosignature');
revoke update on table batchcortex.ledger_cosignature from batchcortex_owner;
