-- One person, two organisations: each decides for itself, and neither learns of the other.
-- control: A8 B1 B25
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
-- One person proves themselves more often here than ten times a minute.
set batchcortex.rate_authentication = 0;
select 'tina-' || gen_random_uuid() as tina, 'aksel-' || gen_random_uuid() as aksel, 'birk-' || gen_random_uuid() as birk \gset
select org_id as a, invitation as ia from batchcortex.create_organisation('Two A ' || gen_random_uuid(), :'aksel') \gset
select org_id as b, invitation as ib from batchcortex.create_organisation('Two B ' || gen_random_uuid(), :'birk') \gset
select outcome from batchcortex_api.accept_invitation(:'ia', 'Aksel', 'a long enough password');
select outcome from batchcortex_api.accept_invitation(:'ib', 'Birk', 'a long enough password');
drop role if exists regress_api;
create role regress_api login in role batchcortex_api;
set role regress_api;
select token as ta from batchcortex_api.login(:'aksel', 'a long enough password') \gset
select token as tb from batchcortex_api.login(:'birk', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'ta');
select invitation as ia from batchcortex_api.invite(:'tina', 'operator') \gset
commit;
begin;
select count(*) from batchcortex_api.open_request(:'tb');
select invitation as ib from batchcortex_api.invite(:'tina', 'qa') \gset
commit;
select outcome, user_id as tina_id from batchcortex_api.accept_invitation(:'ia', 'Tina', 'a long enough password') \gset
select outcome, user_id = :'tina_id' as same from batchcortex_api.accept_invitation(:'ib', 'Tina', 'a long enough password');
-- Which one is asked only after the password.
select outcome, token from batchcortex_api.login(:'tina', 'not the password');
select outcome, token, org_id from batchcortex_api.login(:'tina', 'a long enough password');
select outcome, org_id = :'a' as of_a, role_name, token as in_a from batchcortex_api.login(:'tina', 'a long enough password', organisation => :'a') \gset
select outcome, org_id = :'b' as of_b, role_name, token as in_b from batchcortex_api.login(:'tina', 'a long enough password', organisation => :'b') \gset
select outcome from batchcortex_api.login(:'tina', 'a long enough password', organisation => gen_random_uuid());
-- A session of the one shows nothing of the other, nor does an administrator see or end it.
begin;
select role_name from batchcortex_api.open_request(:'in_a');
select count(*) as sessions from batchcortex_api.sessions();
select count(*) from batchcortex_api.open_request(:'in_b');
select session_id as sid_b from batchcortex_api.sessions() \gset
commit;
begin;
select count(*) from batchcortex_api.open_request(:'ta');
select count(*) as sessions from batchcortex_api.sessions(:'tina_id');
savepoint s;
select batchcortex_api.revoke_session(:'sid_b');
rollback to s;
select count(*) filter (where result = 'granted') as granted, count(*) filter (where result = 'organisation_required') as asked from batchcortex_api.login_attempts() where user_id = :'tina_id';
-- What A demands holds at A's door: B's sessions and sign-ins go on.
select batchcortex_api.set_policy(5, 60, second_factor => 'required');
select batchcortex_api.publish_agreement('terms', '1', 'Be careful.', true);
commit;
select outcome from batchcortex_api.login(:'tina', 'a long enough password', organisation => :'a');
select outcome from batchcortex_api.accept_agreements(:'tina', 'a long enough password', '1', organisation => :'a');
select count(*) as in_a from batchcortex_api.open_request(:'in_a');
select count(*) as in_b from batchcortex_api.open_request(:'in_b');
select outcome from batchcortex_api.login(:'tina', 'a long enough password', organisation => :'b');
-- Leaving A leaves B.
begin;
select count(*) from batchcortex_api.open_request(:'ta');
select batchcortex_api.end_membership(:'tina_id', 'works for B now');
commit;
select count(*) as in_b from batchcortex_api.open_request(:'in_b');
select outcome, role_name from batchcortex_api.login(:'tina', 'a long enough password');
begin;
select count(*) from batchcortex_api.open_request(:'tb');
select count(*) as of_a from batchcortex_api.events() where action in ('member.ended', 'policy.changed', 'agreement.published');
select user_id = :'tina_id' as tina, role_name, ended_at is null as member from batchcortex_api.members() where full_name = 'Tina';
rollback;
-- The account is one: a change of password ends the sessions in both, and a lock holds for both.
begin;
select count(*) from batchcortex_api.open_request(:'in_b');
select batchcortex_api.change_password('a long enough password', 'copper kettle by the gate');
commit;
reset role;
select count(*) as live from batchcortex.session where user_id = :'tina_id' and revoked_at is null;
select count(distinct org_id) as logs from batchcortex.events_log where record_id = :'tina_id' and action = 'password.changed';
drop role regress_api;
