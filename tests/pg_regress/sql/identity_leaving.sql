-- Leaving: a membership or an account ends, and with it every session at once; names are never another person's.
-- control: A14 B3 B1
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
set batchcortex.rate_api_key = 0;
select 'lia-' || gen_random_uuid() as lia, 'oda-' || gen_random_uuid() as oda \gset
select org_id as org, invitation as bci from batchcortex.create_organisation('Leaving ' || gen_random_uuid(), :'lia') \gset
select outcome from batchcortex_api.accept_invitation(:'bci', 'Lia', 'a long enough password');
select token as admin, user_id as lia_id from batchcortex_api.login(:'lia', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'admin');
select invitation as bci from batchcortex_api.invite(:'oda', 'operator') \gset
select invitation as again from batchcortex_api.invite(:'oda', 'qa') \gset
commit;
select outcome, user_id as oda_id from batchcortex_api.accept_invitation(:'bci', 'Oda', 'a long enough password') \gset
drop role if exists regress_api;
create role regress_api login in role batchcortex_api;
set role regress_api;
select token as one from batchcortex_api.login(:'oda', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'one');
select batchcortex_api.end_membership(:'lia_id', 'mutiny');
rollback;
begin;
select count(*) from batchcortex_api.open_request(:'admin');
savepoint s;
select batchcortex_api.end_membership(:'lia_id', 'leaving');
rollback to s;
select batchcortex_api.end_membership(:'oda_id', '');
rollback to s;
select batchcortex_api.end_membership(gen_random_uuid(), 'left');
rollback to s;
select batchcortex_api.end_membership(:'oda_id', 'left the company');
commit;
select count(*) from batchcortex_api.open_request(:'one');
select outcome from batchcortex_api.login(:'oda', 'a long enough password');
-- An invitation brings the person back, under the password that the account has.
select outcome from batchcortex_api.accept_invitation(:'again', 'Somebody Else', 'another long password');
select outcome, user_id = :'oda_id' as same from batchcortex_api.accept_invitation(:'again', 'Somebody Else', 'a long enough password');
select outcome, role_name, full_name from batchcortex_api.login(:'oda', 'a long enough password');
select token as one from batchcortex_api.login(:'oda', 'a long enough password') \gset
-- The password: the old one is needed, the other sessions end.
select token as two from batchcortex_api.login(:'oda', 'a long enough password') \gset
select batchcortex_api.change_password('a long enough password', 'quite another password');
begin;
select count(*) from batchcortex_api.open_request(:'one');
select batchcortex_api.change_password('not the password', 'quite another password');
select batchcortex_api.change_password(null, 'quite another password');
savepoint s;
select batchcortex_api.change_password('a long enough password', 'a long enough password');
rollback to s;
select batchcortex_api.change_password('a long enough password', null);
rollback to s;
select batchcortex_api.change_password('a long enough password', 'quite another password');
commit;
select count(*) from batchcortex_api.open_request(:'one');
select count(*) from batchcortex_api.open_request(:'two');
select outcome from batchcortex_api.login(:'oda', 'a long enough password');
select outcome from batchcortex_api.login(:'oda', 'quite another password');
reset role;
-- The DBA ends an account everywhere.
select batchcortex.deactivate_user(:'oda', '');
select batchcortex.deactivate_user('nobody-' || :'oda', 'left');
select batchcortex.deactivate_user(:'oda', 'left for good');
select count(*) as live from batchcortex.session where user_id = :'oda_id' and revoked_at is null;
select count(*) from batchcortex_api.open_request(:'one');
select outcome from batchcortex_api.login(:'oda', 'quite another password');
select batchcortex.reactivate_user(:'oda', 'came back');
select outcome from batchcortex_api.login(:'oda', 'quite another password');
select action, actor_kind, reason from batchcortex.events_log where org_id = :'org' and record_id = :'oda_id' order by recorded_at;
-- Names stay.
update batchcortex.user_account set username = 'x' || username where user_id = :'oda_id';
delete from batchcortex.user_account where user_id = :'oda_id';
truncate batchcortex.user_account cascade;
set role regress_api;
select batchcortex.deactivate_user('x', 'x');
reset role;
drop role regress_api;
