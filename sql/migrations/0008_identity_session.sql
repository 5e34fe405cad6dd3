-- What ties a session to its events, readable by whoever verifies.

alter table batchcortex.session add column fingerprint bytea generated always as (sha256(token_sha256)) stored;
comment on column batchcortex.session.fingerprint is
'SHA-256 of token_sha256: names the token in the session''s events, and neither opens a session nor lets one be made.';
select batchcortex.open_to_auditors('batchcortex.session');
