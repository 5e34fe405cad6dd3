-- Joining by invitation, signing in, and what a transaction is bound to.
-- control: A14 A20 B2 B3
\set VERBOSITY terse
set client_min_messages = warning;
select 'Works of Ada' as org_name, 'ada-' || gen_random_uuid() as ada \gset
select org_id as org, invitation as bci from batchcortex.create_organisation(:'org_name', :'ada', 'Europe/Paris') \gset
select :'bci' ~ '^bci_[0-9a-f]{64}$' as shape, not exists (select from batchcortex.invitation i where i::text like '%' || :'bci' || '%') as only_hashed;
-- Bad input has its own code.
select * from batchcortex.create_organisation('', 'x');
select * from batchcortex.create_organisation(:'org_name', 'x');
select * from batchcortex.create_organisation('y', 'x', 'Mars/Olympus');
select * from batchcortex.create_organisation('y' || :'org', 'not a name');
select outcome, user_id is null from batchcortex_api.accept_invitation(:'bci', 'Ada', 'short');
select outcome, user_id is null from batchcortex_api.accept_invitation(:'bci', '', 'a long enough password');
select outcome, user_id from batchcortex_api.accept_invitation('bci_' || repeat('0', 64), 'Ada', 'a long enough password');
select outcome, user_id from batchcortex_api.accept_invitation(null, 'Ada', 'a long enough password');
select outcome, user_id is not null as joined from batchcortex_api.accept_invitation(:'bci', 'Ada Example', 'a long enough password', '192.0.2.1', 'psql', 'r-1');
-- Once only.
select outcome, user_id from batchcortex_api.accept_invitation(:'bci', 'Ada Example', 'a long enough password');
select password_hash like '$argon2id$v=19$m=19456,t=2,p=1$%' as argon2id from batchcortex.user_account where username = :'ada';
-- One answer for a wrong password and an unknown user, and both attempts are recorded.
select outcome, token, session_id, user_id, org_id from batchcortex_api.login(:'ada', 'not the password', '192.0.2.2');
select outcome, token, session_id, user_id, org_id from batchcortex_api.login('nobody-' || :'org', 'not the password');
select outcome, token from batchcortex_api.login(null, null);
select count(*) as refused_in_org from batchcortex.events_log where org_id = :'org' and action = 'login.refused' and client_ip = '192.0.2.2';
select outcome, token as bcs, session_id as sid, role_name, full_name, expires_at > now() as lives from batchcortex_api.login(:'ada', 'a long enough password', '192.0.2.3', 'psql', 'r-2') \gset
select :'outcome' as outcome, :'role_name' as role_name, :'full_name' as full_name, :'lives' as lives, :'bcs' ~ '^bcs_[0-9a-f]{64}$' as shape;
select exists (select from batchcortex.session s where s::text like '%' || :'bcs' || '%') as token_stored;

-- As the API's login: functions of batchcortex_api and nothing else.
drop role if exists regress_api;
create role regress_api login in role batchcortex_api;
set role regress_api;
\set SHOW_CONTEXT never
select * from batchcortex_api.whoami();
select * from batchcortex_api.open_request('bcs_' || repeat('0', 64));
select * from batchcortex_api.open_request(null);
select * from batchcortex_api.open_request('''; drop table batchcortex.session; --');
begin;
select role_name, full_name, org_id = :'org' as own from batchcortex_api.open_request(:'bcs', '192.0.2.4', E'agent\twith\x01control', 'r-3');
-- A request that only reads writes nothing, not even a transaction id.
select pg_current_xact_id_if_assigned() is null as without_id;
select username = :'ada' as own, full_name, organisation = :'org_name' as own_org, role_name from batchcortex_api.whoami();
select batchcortex_api.create_batch('B-1', 'Amoxi') as batch \gset
select number, product, state, samples, events from batchcortex_api.batches();
select action, actor_kind, actor_name, actor_role, client_ip, user_agent, request_id from batchcortex_api.events(:'batch');
commit;
-- The binding ended with the transaction.
select * from batchcortex_api.whoami();
begin;
savepoint a;
select count(*) from batchcortex_api.open_request(:'bcs');
rollback to a;
select * from batchcortex_api.batches();
rollback;
-- Nobody writes the identity but the extension.
set batchcortex.identity = 'x';
select set_config('batchcortex.identity', 'x', false);
reset batchcortex.identity;
reset role;
set batchcortex.identity = 'x';
alter role regress_api set batchcortex.identity = 'x';
set role regress_api;
select * from batchcortex.session;
select * from batchcortex.events_log;
select batchcortex.current_org_id();
select batchcortex.log_event('x', 'x', 'x');
set role batchcortex_owner;
create table batchcortex_api.x ();
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
select batchcortex_api.logout();
commit;
select * from batchcortex_api.open_request(:'bcs');
reset role;
drop role regress_api;
select action, actor_kind, actor_name = 'Ada Example' as by_name, client_ip from batchcortex.events_log where org_id = :'org' and action like 'session.%' order by recorded_at;
