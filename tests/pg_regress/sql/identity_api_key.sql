-- Keys of programs: shown once, hashed, confined to scopes, expiring, revocable.
-- control: B2 B1 B24 A20
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
set batchcortex.rate_api_key = 0;
select 'kara-' || gen_random_uuid() as kara, 'omar-' || gen_random_uuid() as omar, now() + interval '30 days' as later \gset
select org_id as org, invitation as bci from batchcortex.create_organisation('Keys ' || gen_random_uuid(), :'kara') \gset
select outcome from batchcortex_api.accept_invitation(:'bci', 'Kara', 'a long enough password');
select token as admin from batchcortex_api.login(:'kara', 'a long enough password') \gset
drop role if exists regress_api;
create role regress_api login in role batchcortex_api;
set role regress_api;
select batchcortex_api.create_api_key('x', 'operator', '{batch.read}', :'later');
begin;
select count(*) from batchcortex_api.open_request(:'admin');
select invitation as bci from batchcortex_api.invite(:'omar', 'operator') \gset
savepoint s;
select batchcortex_api.create_api_key('', 'operator', '{batch.read}', :'later');
rollback to s;
select batchcortex_api.create_api_key('MES', 'operator', '{}', :'later');
rollback to s;
select batchcortex_api.create_api_key('MES', 'operator', '{batch.read,device.enrol}', :'later');
rollback to s;
select batchcortex_api.create_api_key('MES', 'root', '{batch.read}', :'later');
rollback to s;
select batchcortex_api.create_api_key('MES', 'operator', '{batch.read}', now() - interval '1 second');
rollback to s;
select batchcortex_api.create_api_key('MES', 'operator', '{batch.read}', now() + interval '2 years');
rollback to s;
select batchcortex_api.create_api_key('MES', 'operator', '{batch.read}', null);
rollback to s;
select key_id as mes, api_key as bck, shown_as from batchcortex_api.create_api_key('MES', 'operator', '{event.read,batch.read,event.append,batch.read}', :'later') \gset
select :'bck' ~ '^bck_[0-9a-f]{64}$' as shape, :'shown_as' = 'bck_…' || right(:'bck', 4) as shown_as;
savepoint s;
select batchcortex_api.create_api_key('MES', 'operator', '{batch.read}', :'later');
rollback to s;
select name, role_name, scopes, revoked_at, last_used_at from batchcortex_api.api_keys();
commit;
select outcome from batchcortex_api.accept_invitation(:'bci', 'Omar', 'a long enough password');
-- The key acts under its own name, within role and scopes.
begin;
select user_id, org_id = :'org' as own, role_name, full_name from batchcortex_api.open_request(:'bck', '192.0.2.7', 'mes/1', 'r-1');
select count(*) from batchcortex_api.batches();
select batchcortex_api.log_event('app.note', 'note', '1') is not null as noted;
select actor_kind, actor_id = :'mes' as the_key, actor_name, actor_role, client_ip from batchcortex_api.events() where action = 'app.note';
savepoint s;
select batchcortex_api.create_batch('B-1', 'Beta');
rollback to s;
select batchcortex_api.create_equipment('x');
rollback to s;
-- It is no person: it has no session, signs nothing in, and makes no keys.
select * from batchcortex_api.whoami();
rollback to s;
select batchcortex_api.logout();
rollback to s;
select * from batchcortex_api.elevate('a long enough password');
rollback to s;
select batchcortex_api.create_api_key('more', 'operator', '{batch.read}', :'later');
rollback to s;
select batchcortex_api.set_policy();
rollback to s;
-- A session bound after the key is not confined.
select count(*) from batchcortex_api.open_request(:'admin');
select batchcortex_api.create_equipment('Vat') is not null as not_confined;
commit;
select count(*) from batchcortex_api.open_request('bck_' || repeat('0', 64));
select count(*) from batchcortex_api.open_request(replace(:'bck', 'bck_', 'bcs_'));
-- Only administrators make and end keys.
select token as operator from batchcortex_api.login(:'omar', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'operator');
savepoint s;
select batchcortex_api.create_api_key('x', 'operator', '{batch.read}', :'later');
rollback to s;
select * from batchcortex_api.api_keys();
rollback to s;
select batchcortex_api.revoke_api_key(:'mes', 'x');
rollback;
reset role;
select count(*) as stored from batchcortex.api_key k where k::text like '%' || :'bck' || '%';
select count(*) as leaked from batchcortex.events_log e where e.org_id = :'org' and e::text like '%' || substr(:'bck', 5, 20) || '%';
-- Last use is written at most once a minute.
select last_used_at as used from batchcortex.api_key where key_id = :'mes' \gset
select count(*) from batchcortex_api.open_request(:'bck');
select last_used_at = :'used' as not_written_again from batchcortex.api_key where key_id = :'mes';
update batchcortex.api_key set last_used_at = now() - interval '2 minutes' where key_id = :'mes';
select count(*) from batchcortex_api.open_request(:'bck');
select last_used_at > now() - interval '1 minute' as written from batchcortex.api_key where key_id = :'mes';
-- What the role loses, the key loses.
begin;
delete from batchcortex.role_permission where role_name = 'operator' and permission = 'batch.read';
select count(*) from batchcortex_api.open_request(:'bck');
select * from batchcortex_api.batches();
rollback;
-- It ends by itself, and when it is revoked.
begin;
update batchcortex.api_key set expires_at = now() where key_id = :'mes';
select count(*) from batchcortex_api.open_request(:'bck');
rollback;
begin;
select count(*) from batchcortex_api.open_request(:'admin');
select batchcortex_api.revoke_api_key(:'mes', 'the machine was sold');
savepoint s;
select batchcortex_api.revoke_api_key(:'mes', 'again');
rollback to s;
commit;
select count(*) from batchcortex_api.open_request(:'bck');
select action, actor_kind, actor_name, reason, after ->> 'scopes' as scopes from batchcortex.events_log where org_id = :'org' and action ~ '^(api_key|app)\.' order by recorded_at;
drop role regress_api;
