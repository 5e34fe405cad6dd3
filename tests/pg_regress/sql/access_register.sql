-- Who was granted what, by whom, when, until when; and a review that somebody answers for.
-- control: R5
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
select 'rita-' || gen_random_uuid() as rita, 'otto-' || gen_random_uuid() as otto, 'guest-' || gen_random_uuid() as guest \gset
select invitation, org_id as org from batchcortex.create_organisation('Register ' || gen_random_uuid(), :'rita') \gset
select outcome from batchcortex_api.accept_invitation(:'invitation', 'Rita', 'a long enough password');
select token from batchcortex_api.login(:'rita', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'token');
select invitation from batchcortex_api.invite(:'otto', 'operator') \gset
select count(*) from batchcortex_api.invite(:'guest', 'qa');
select count(*) from batchcortex_api.enrol_device('edge', batchcortex_api.create_equipment('Reactor'));
commit;
select outcome from batchcortex_api.accept_invitation(:'invitation', 'Otto', 'a long enough password');
drop role if exists regress_auditor;
create role regress_auditor login;
select batchcortex.grant_auditor('regress_auditor', :'org', now() + interval '1 day', 'inspection') is not null as granted;
drop role if exists regress_api;
create role regress_api login in role batchcortex_api;
set session authorization regress_api;
select batchcortex_api.access_register();
begin;
select count(*) from batchcortex_api.open_request(:'token');
select kind, regexp_replace(subject, '-[0-9a-f-]{36}', '') as subject, access, granted_at is not null as "when", granted_by, valid_until is not null as until, ended_at from batchcortex_api.access_register() order by 1, 2;
savepoint s;
select batchcortex_api.record_access_review('perhaps', 'x');
rollback to s;
select batchcortex_api.record_access_review('confirmed', ' ');
rollback to s;
select batchcortex_api.record_access_review('confirmed', 'quarterly review: all as it should be') is not null as recorded;
select actor_name, reason, after ->> 'decision' as decision, after ->> 'entries' as entries, json_array_length(after -> 'register') as kept
  from batchcortex_api.events() where action = 'access.reviewed';
commit;
reset session authorization;
-- Whoever lacks the permission sees no register and reviews nothing.
select token as otto from batchcortex_api.login(:'otto', 'a long enough password') \gset
set session authorization regress_api;
begin;
select count(*) from batchcortex_api.open_request(:'otto');
savepoint s;
select batchcortex_api.access_register();
rollback to s;
select batchcortex_api.record_access_review('confirmed', 'x');
rollback;
reset session authorization;
-- What ended is shown as ended.
select batchcortex.revoke_auditor('regress_auditor', :'org', 'closed');
begin;
select count(*) from batchcortex_api.open_request(:'token');
select kind, ended_at is not null as ended from batchcortex_api.access_register() where kind = 'auditor';
rollback;
-- Every grant is an event.
select action, count(*) from batchcortex.events_log where org_id = :'org' and action in ('member.invited', 'member.joined', 'device.enrolled', 'auditor.granted', 'auditor.revoked', 'access.reviewed') group by 1 order by 1;
drop role regress_auditor, regress_api;
