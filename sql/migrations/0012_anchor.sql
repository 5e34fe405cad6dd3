-- Anchors: time stamps of authorities outside over checkpoints of the global log.

create table batchcortex.ledger_timestamp (
    tree_size bigint not null check (tree_size > 0),
    generated_at timestamptz not null,
    policy text not null,
    serial text not null,
    response bytea not null,
    response_sha256 bytea not null check (response_sha256 = sha256(response)),
    received_at timestamptz not null default clock_timestamp(),
    primary key (tree_size, response_sha256)
);
comment on table batchcortex.ledger_timestamp is
'Time stamps (RFC 3161) over signed checkpoints of the global log: an authority outside has seen the checkpoint at generated_at, so every record that it covers was there by then.';
comment on column batchcortex.ledger_timestamp.tree_size is 'Size of the checkpoint of the global log; what is stamped is SHA-256 of ledger_checkpoint.note.';
comment on column batchcortex.ledger_timestamp.generated_at is 'The authority''s time, as the token says.';
comment on column batchcortex.ledger_timestamp.policy is 'The authority''s policy, an object identifier.';
comment on column batchcortex.ledger_timestamp.serial is 'Serial number of the token, hexadecimal digits.';
comment on column batchcortex.ledger_timestamp.response is 'The TimeStampResp as it came (DER): what openssl ts -verify takes.';
alter table batchcortex.ledger_timestamp owner to batchcortex_owner;
revoke all on table batchcortex.ledger_timestamp from public;
grant select on table batchcortex.ledger_timestamp to batchcortex_auditor;
select batchcortex.make_append_only('batchcortex.ledger_timestamp');

-- Asked for by a person: the sealer carries it out.
create table batchcortex.ledger_incarnation_request (
    origin text primary key,
    reason text not null check (length(btrim(reason)) between 1 and 4000),
    requested_at timestamptz not null default clock_timestamp(),
    requested_by text not null default session_user
);
comment on table batchcortex.ledger_incarnation_request is
'Lives of the log that are to end, or have ended, because a person said so (batchcortex.new_incarnation).';
comment on column batchcortex.ledger_incarnation_request.origin is 'The global log''s origin that nothing is signed under any more: batchcortex.ledger_incarnation.origin.';
alter table batchcortex.ledger_incarnation_request owner to batchcortex_owner;
revoke all on table batchcortex.ledger_incarnation_request from public;
grant select on table batchcortex.ledger_incarnation_request to batchcortex_auditor;
select batchcortex.make_append_only('batchcortex.ledger_incarnation_request');
revoke insert, update on table batchcortex.ledger_incarnation_request from batchcortex_owner;
