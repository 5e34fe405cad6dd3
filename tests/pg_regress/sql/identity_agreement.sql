-- Terms, privacy notice, accountability statement: no session without the present versions; acceptance is kept for ever.
-- control: B28 A14 R6
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
set batchcortex.rate_api_key = 0;
select 'anna-' || gen_random_uuid() as anna, 'ole-' || gen_random_uuid() as ole \gset
select org_id as org, invitation as bci from batchcortex.create_organisation('Agreement ' || gen_random_uuid(), :'anna') \gset
select outcome, user_id as anna_id from batchcortex_api.accept_invitation(:'bci', 'Anna', 'a long enough password') \gset
select token as admin from batchcortex_api.login(:'anna', 'a long enough password') \gset
drop role if exists regress_api;
create role regress_api login in role batchcortex_api;
set role regress_api;
begin;
select count(*) from batchcortex_api.open_request(:'admin');
select batchcortex_api.publish_agreement('terms', '1', 'Be careful.');
select batchcortex_api.publish_agreement('privacy', '1', 'We keep your name.');
select batchcortex_api.publish_agreement('accountability', '1', 'My signature binds me like one by hand.');
savepoint s;
select batchcortex_api.publish_agreement('terms', '1', 'Be careless.');
rollback to s;
select batchcortex_api.publish_agreement('rules', '1', 'x');
rollback to s;
select batchcortex_api.publish_agreement('terms', '', 'x');
rollback to s;
select kind, version, content, accepted_at from batchcortex_api.agreements();
select invitation as bci from batchcortex_api.invite(:'ole', 'operator') \gset
commit;
-- Joining takes all three, as they are now.
select * from batchcortex_api.invitation_agreements(:'bci');
select * from batchcortex_api.invitation_agreements('bci_' || repeat('0', 64));
select outcome from batchcortex_api.accept_invitation(:'bci', 'Ole', 'a long enough password');
select outcome from batchcortex_api.accept_invitation(:'bci', 'Ole', 'a long enough password', accepted_terms => '1', accepted_privacy => '1', accepted_accountability => '0');
select outcome, user_id as ole_id from batchcortex_api.accept_invitation(:'bci', 'Ole', 'a long enough password', accepted_terms => '1', accepted_privacy => '1', accepted_accountability => '1') \gset
select outcome, token as one from batchcortex_api.login(:'ole', 'a long enough password') \gset
select :'outcome' as outcome;
begin;
select count(*) from batchcortex_api.open_request(:'one');
select kind, version, accepted_at is not null as accepted from batchcortex_api.agreements();
select batchcortex_api.publish_agreement('terms', '2', 'Be kind to me.');
rollback;
-- The administrator joined before; signing in now takes them. The texts come with the answer, to one who has the password.
select outcome, detail from batchcortex_api.login(:'anna', 'not the password');
select outcome, token, detail from batchcortex_api.login(:'anna', 'a long enough password');
select outcome, token, detail -> 0 ->> 'kind' as missing from batchcortex_api.accept_agreements(:'anna', 'a long enough password', '1', '1');
select outcome from batchcortex_api.accept_agreements(:'anna', 'not the password', '1', '1', '1');
select outcome, token is not null as session from batchcortex_api.accept_agreements(:'anna', 'a long enough password', '1', '1', '1');
select outcome from batchcortex_api.login(:'anna', 'a long enough password');
-- A new version asks everyone again, and ends open sessions where the organisation wants that.
begin;
select count(*) from batchcortex_api.open_request(:'admin');
select batchcortex_api.publish_agreement('terms', '2', 'Be more careful.', true);
commit;
select count(*) from batchcortex_api.open_request(:'one');
select outcome, detail from batchcortex_api.login(:'ole', 'a long enough password');
select outcome from batchcortex_api.accept_agreements(:'ole', 'a long enough password', '2');
select outcome from batchcortex_api.login(:'ole', 'a long enough password');
reset role;
select case user_id when :'ole_id' then 'Ole' else 'Anna' end as who, kind, version from batchcortex.agreement_acceptance where org_id = :'org' order by 1, 2, 3;
select action, actor_name, record_id from batchcortex.events_log where org_id = :'org' and action like 'agreement.%' order by recorded_at, record_id;
-- The DBA publishes before the first administrator joins: not even that one gets in without.
select org_id as new_org, invitation as bci from batchcortex.create_organisation('Agreement first ' || gen_random_uuid(), 'x' || :'anna') \gset
select batchcortex.publish_agreement(:'new_org', 'terms', '1', 'Be careful.');
select batchcortex.publish_agreement(gen_random_uuid(), 'terms', '1', 'Be careful.');
select outcome from batchcortex_api.accept_invitation(:'bci', 'Anna', 'a long enough password');
select outcome from batchcortex_api.accept_invitation(:'bci', 'Anna', 'a long enough password', accepted_terms => '1');
select action, actor_kind from batchcortex.events_log where org_id = :'new_org' order by recorded_at;
update batchcortex.agreement set content = 'x' where org_id = :'org';
delete from batchcortex.agreement_acceptance where org_id = :'org';
drop role regress_api;
