-- A session ends by itself: at its absolute end, and when it is idle.
-- control: B3 R2
\set VERBOSITY terse
set client_min_messages = warning;
select 'ida-' || gen_random_uuid() as ida \gset
select invitation as bci, org_id as org from batchcortex.create_organisation('Idle ' || gen_random_uuid(), :'ida') \gset
select outcome from batchcortex_api.accept_invitation(:'bci', 'Ida', 'a long enough password');
select token as one from batchcortex_api.login(:'ida', 'a long enough password') \gset
select token as two from batchcortex_api.login(:'ida', 'a long enough password') \gset
select count(*) from batchcortex_api.open_request(:'one');
update batchcortex.session set last_seen_at = now() - interval '31 minutes' where org_id = :'org' and token_sha256 = sha256(:'one');
select count(*) from batchcortex_api.open_request(:'one');
-- last_seen_at is written at most once a minute.
select count(*) from batchcortex_api.open_request(:'two');
select last_seen_at as seen from batchcortex.session where token_sha256 = sha256(:'two') \gset
select count(*) from batchcortex_api.open_request(:'two');
select last_seen_at = :'seen' as not_written_again from batchcortex.session where token_sha256 = sha256(:'two');
update batchcortex.session set last_seen_at = now() - interval '2 minutes' where token_sha256 = sha256(:'two');
select count(*) from batchcortex_api.open_request(:'two');
select last_seen_at > now() - interval '1 minute' as written from batchcortex.session where token_sha256 = sha256(:'two');
update batchcortex.session set expires_at = now() where org_id = :'org' and token_sha256 = sha256(:'two');
select count(*) from batchcortex_api.open_request(:'two');
