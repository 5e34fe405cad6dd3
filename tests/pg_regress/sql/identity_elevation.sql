-- Sessions in use: rotated, elevated with a fresh proof, listed, revoked; and the organisation's policy about them.
-- control: B1 B3 R2 R3
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
set batchcortex.rate_api_key = 0;
select 'edda-' || gen_random_uuid() as edda, 'olaf-' || gen_random_uuid() as olaf \gset
select org_id as org, invitation as bci from batchcortex.create_organisation('Elevation ' || gen_random_uuid(), :'edda') \gset
select outcome from batchcortex_api.accept_invitation(:'bci', 'Edda', 'a long enough password');
select token as admin from batchcortex_api.login(:'edda', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'admin');
select invitation as bci from batchcortex_api.invite(:'olaf', 'operator') \gset
commit;
select outcome, user_id as olaf_id from batchcortex_api.accept_invitation(:'bci', 'Olaf', 'a long enough password') \gset
drop role if exists regress_api;
create role regress_api login in role batchcortex_api;
set role regress_api;
-- Each sign-in is a session of its own.
select token as one from batchcortex_api.login(:'olaf', 'a long enough password', '192.0.2.1', 'first') \gset
select token as two from batchcortex_api.login(:'olaf', 'a long enough password', '192.0.2.2', 'second') \gset
select :'one' <> :'two' as apart;
select batchcortex_api.rotate_session();
select * from batchcortex_api.elevate('a long enough password');
select * from batchcortex_api.sessions();
select * from batchcortex_api.policy();
-- A rotated token is dead at once.
begin;
select count(*) from batchcortex_api.open_request(:'one');
select token as one_b, expires_at > now() as lives from batchcortex_api.rotate_session() \gset
commit;
select count(*) from batchcortex_api.open_request(:'one');
select count(*) from batchcortex_api.open_request(:'one_b');
-- Elevation takes the password, and rotates.
begin;
select count(*) from batchcortex_api.open_request(:'one_b');
select outcome, token from batchcortex_api.elevate('not the password');
select outcome, token from batchcortex_api.elevate(null);
commit;
begin;
select count(*) from batchcortex_api.open_request(:'one_b');
select outcome, token as one_c from batchcortex_api.elevate('a long enough password') \gset
select :'outcome' as outcome, :'one_c' ~ '^bcs_[0-9a-f]{64}$' as shape;
select full_name, client_ip, user_agent, this_one, elevated_at is not null as elevated from batchcortex_api.sessions();
commit;
select count(*) from batchcortex_api.open_request(:'one_b');
reset role;
select purpose, result, count(*) from batchcortex.login_attempt where user_id = :'olaf_id' group by 1, 2 order by 1, 2;
select action, actor_name from batchcortex.events_log where org_id = :'org' and actor_name = 'Olaf' order by recorded_at;
-- Failed elevations lock the account like failed sign-ins.
set role regress_api;
begin;
select count(*) from batchcortex_api.open_request(:'two');
select outcome from generate_series(1, 5) i, batchcortex_api.elevate('guess number ' || i);
select outcome from batchcortex_api.elevate('a long enough password');
rollback;
-- One's own sessions, and nobody else's without the permission.
begin;
select count(*) from batchcortex_api.open_request(:'one_c');
select session_id as second from batchcortex_api.sessions() where not this_one \gset
select batchcortex_api.revoke_session(:'second');
savepoint s;
select batchcortex_api.revoke_session(:'second');
rollback to s;
select count(*) as own from batchcortex_api.sessions(:'olaf_id');
select batchcortex_api.sessions(gen_random_uuid());
rollback to s;
commit;
select count(*) from batchcortex_api.open_request(:'two');
begin;
select count(*) from batchcortex_api.open_request(:'admin');
select session_id as mine from batchcortex_api.sessions() \gset
select session_id as his from batchcortex_api.sessions(:'olaf_id') \gset
commit;
begin;
select count(*) from batchcortex_api.open_request(:'one_c');
select batchcortex_api.revoke_session(:'mine');
rollback;
begin;
select count(*) from batchcortex_api.open_request(:'admin');
select batchcortex_api.revoke_session(:'his');
commit;
select count(*) from batchcortex_api.open_request(:'one_c');
-- The policy: who may set it, what it takes, and that it holds for sessions that are open.
select token as one from batchcortex_api.login(:'olaf', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'one');
select * from batchcortex_api.policy();
select batchcortex_api.set_policy(5);
rollback;
begin;
select count(*) from batchcortex_api.open_request(:'admin');
savepoint s;
select batchcortex_api.set_policy(0);
rollback to s;
select batchcortex_api.set_policy(password_profile => 'none');
rollback to s;
select batchcortex_api.set_policy(second_factor => null);
rollback to s;
select batchcortex_api.set_policy(5, 60, reason => 'site procedure');
select * from batchcortex_api.policy();
commit;
select token as two, expires_at - now() between interval '55 minutes' and interval '61 minutes' as an_hour from batchcortex_api.login(:'olaf', 'a long enough password') \gset
select :'an_hour' as an_hour;
reset role;
select count(*) filter (where idle_minutes = 5) as idle, count(*) filter (where expires_at <= created_at + interval '1 hour 1 second') as life, count(*) from batchcortex.session
 where org_id = :'org' and revoked_at is null;
update batchcortex.session set last_seen_at = now() - interval '6 minutes' where org_id = :'org' and token_sha256 = sha256(:'one');
select count(*) from batchcortex_api.open_request(:'one');
select count(*) from batchcortex_api.open_request(:'two');
select before ->> 'session_idle_minutes' as before, after ->> 'session_idle_minutes' as after, reason from batchcortex.events_log where org_id = :'org' and action = 'policy.changed';
drop role regress_api;
