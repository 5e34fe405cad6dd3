-- A row in the table of sessions acts as a person: verify() names every one that nobody signed in for, and every one that was changed.
-- control: A20 B3
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
select 'sara-' || gen_random_uuid() as sara, 'thor-' || gen_random_uuid() as thor \gset
select org_id as org, invitation as bci from batchcortex.create_organisation('Sessions ' || gen_random_uuid(), :'sara') \gset
select outcome, user_id as sara_id from batchcortex_api.accept_invitation(:'bci', 'Sara', 'a long enough password') \gset
select token as admin, session_id as admin_session from batchcortex_api.login(:'sara', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'admin');
select invitation as bci from batchcortex_api.invite(:'thor', 'operator') \gset
commit;
select outcome, user_id as thor_id from batchcortex_api.accept_invitation(:'bci', 'Thor', 'a long enough password') \gset
select token as bcs, session_id as sid from batchcortex_api.login(:'thor', 'a long enough password') \gset
-- Opened, rotated, elevated, shortened by the policy, ended: all as it was recorded.
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
select token as bcs from batchcortex_api.rotate_session() \gset
commit;
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
select token as bcs from batchcortex_api.elevate('a long enough password') \gset
commit;
begin;
select count(*) from batchcortex_api.open_request(:'admin');
select batchcortex_api.set_policy(30, 60);
commit;
select count(*) from batchcortex_api.login(:'thor', 'a long enough password');
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
select count(*) as revoked from (select batchcortex_api.revoke_session(session_id) from batchcortex_api.sessions() where not this_one) r;
commit;
select count(*) from batchcortex.session where org_id = :'org';
select * from batchcortex.verify(:'org');
-- An event says whose session it is, and a fingerprint from which no session can be made.
select action, after ->> 'user_id' = :'thor_id' as his, after ->> 'fingerprint' ~ '^[0-9a-f]{64}$' as fingerprint, after::text ~ encode(sha256(:'bcs'), 'hex') as stored_digest
  from batchcortex.events_log where org_id = :'org' and record_id = :'sid' order by recorded_at;
create temp view finding as
    select code, relation, v.record = current_setting('regress.sid') as this_one, detail
      from batchcortex.verify(current_setting('regress.org')::uuid) v where code like '%session%';
set regress.org = :'org';
set regress.sid = :'sid';
\echo inserted by a superuser: it acts as the administrator, and is named
begin;
insert into batchcortex.session (org_id, user_id, token_sha256, expires_at) values (:'org', :'sara_id', sha256(('bcs_' || repeat('a', 64))::bytea), now() + interval '1 hour');
select full_name from batchcortex_api.open_request('bcs_' || repeat('a', 64));
select * from finding;
rollback;
\echo inserted with an event that the superuser wrote
begin;
insert into batchcortex.session (org_id, user_id, token_sha256, expires_at) values (:'org', :'sara_id', sha256(('bcs_' || repeat('a', 64))::bytea), now() + interval '1 hour')
    returning session_id as forged, expires_at as until \gset
select count(batchcortex.log_event('session.opened', 'session', :'forged', after => batchcortex.session_terms(:'sara_id', :'until', sha256(('bcs_' || repeat('a', 64))::bytea)), org_id => :'org'));
select * from finding;
rollback;
begin;
\echo another token
savepoint s;
update batchcortex.session set token_sha256 = sha256(('bcs_' || repeat('b', 64))::bytea) where session_id = :'sid';
select * from finding;
rollback to s;
\echo the token of an earlier event
update batchcortex.session set token_sha256 = sha256('x') where session_id = :'admin_session';
update batchcortex.session set token_sha256 = (select sha256(:'admin')) where session_id = :'sid';
select code, detail, count(*) from finding group by 1, 2;
rollback to s;
\echo another person
update batchcortex.session set user_id = :'sara_id' where session_id = :'sid';
select * from finding;
rollback to s;
\echo a later end
update batchcortex.session set expires_at = expires_at + interval '1 day' where session_id = :'sid';
select * from finding;
rollback to s;
\echo another organisation
select org_id as other from batchcortex.organisation where org_id <> :'org' limit 1 \gset
insert into batchcortex.membership (org_id, user_id, role_name) values (:'other', :'thor_id', 'admin');
update batchcortex.session set org_id = :'other' where session_id = :'sid';
select code, v.record = :'sid' as this_one, detail from batchcortex.verify(:'other') v where v.record = :'sid';
rollback;
-- An auditor, who reads no digest of a token, finds the same.
drop role if exists regress_session_auditor;
create role regress_session_auditor login;
select count(*) from (select batchcortex.grant_auditor('regress_session_auditor', :'org', now() + interval '1 hour', 'inspection')) g;
update batchcortex.session set token_sha256 = sha256(('bcs_' || repeat('b', 64))::bytea) where session_id = :'sid';
set session authorization regress_session_auditor;
select token_sha256 from batchcortex.session;
select code, v.record = :'sid' as this_one, detail from batchcortex.verify(:'org') v where code like '%session%';
reset session authorization;
update batchcortex.session set token_sha256 = sha256(:'bcs') where session_id = :'sid';
select * from batchcortex.verify(:'org');
select count(*) from (select batchcortex.revoke_auditor('regress_session_auditor', :'org', 'over')) r;
revoke batchcortex_auditor from regress_session_auditor;
drop role regress_session_auditor;
