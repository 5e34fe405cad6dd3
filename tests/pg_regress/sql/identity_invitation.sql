-- Open invitations are listed and taken back; roles are set; permissions are shown. Each with its denials.
-- control: A14 A23 R5
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
set batchcortex.rate_general = 0;
drop role if exists regress_api;
create role regress_api login in role batchcortex_api;
select 'ivan-' || gen_random_uuid() as admin, 'olga-' || gen_random_uuid() as operator, 'late-' || gen_random_uuid() as late \gset
select invitation as invitation, org_id as org from batchcortex.create_organisation('Invitations ' || gen_random_uuid(), :'admin') \gset
select outcome from batchcortex_api.accept_invitation(:'invitation', 'Ivan', 'a long enough password');
select token as admin_token, user_id as admin_id from batchcortex_api.login(:'admin', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'admin_token');
select invitation as first from batchcortex_api.invite(:'operator', 'operator') \gset
select invitation as second from batchcortex_api.invite(:'late', 'qa') \gset
commit;
select outcome from batchcortex_api.accept_invitation(:'first', 'Olga', 'a long enough password');
select token as operator_token, user_id as operator_id from batchcortex_api.login(:'operator', 'a long enough password') \gset

set session authorization regress_api;
-- Without an identity.
select * from batchcortex_api.invitations();
select batchcortex_api.revoke_invitation(gen_random_uuid(), 'x');
select batchcortex_api.set_role(gen_random_uuid(), 'qa', 'x');
select * from batchcortex_api.permissions();

-- The one that was used is not open; the token is not shown.
begin;
select count(*) from batchcortex_api.open_request(:'admin_token');
select username = :'late' as late, role_name, invited_by, expires_at > clock_timestamp() + interval '6 days' as a_week from batchcortex_api.invitations();
select invitation_id as open from batchcortex_api.invitations() \gset
savepoint s;
select batchcortex_api.revoke_invitation(:'open', ' ');
rollback to s;
select batchcortex_api.revoke_invitation(gen_random_uuid(), 'not coming');
rollback to s;
select batchcortex_api.revoke_invitation(null, 'not coming');
rollback to s;
select batchcortex_api.revoke_invitation(:'open', 'not coming');
select count(*) from batchcortex_api.invitations();
select action, record_id = :'open' as this_one, reason from batchcortex_api.events(max_rows => 1);
savepoint s;
select batchcortex_api.revoke_invitation(:'open', 'again');
rollback to s;
commit;
select outcome from batchcortex_api.accept_invitation(:'second', 'Late', 'a long enough password');
select count(*) from batchcortex_api.invitation_agreements(:'second');

-- An operator does none of it.
begin;
select count(*) from batchcortex_api.open_request(:'operator_token');
savepoint s;
select * from batchcortex_api.invitations();
rollback to s;
select batchcortex_api.revoke_invitation(:'open', 'x');
rollback to s;
select batchcortex_api.set_role(:'admin_id', 'operator', 'x');
rollback to s;
select permission from batchcortex_api.permissions() where held order by 1;
rollback;

-- Roles.
begin;
select count(*) from batchcortex_api.open_request(:'admin_token');
savepoint s;
select batchcortex_api.set_role(:'operator_id', 'chief', 'x');
rollback to s;
select batchcortex_api.set_role(:'operator_id', null, 'x');
rollback to s;
select batchcortex_api.set_role(:'operator_id', 'qa', '');
rollback to s;
select batchcortex_api.set_role(gen_random_uuid(), 'qa', 'x');
rollback to s;
select batchcortex_api.set_role(:'admin_id', 'qp', 'x');
rollback to s;
select batchcortex_api.set_role(:'operator_id', 'qp', 'qualified');
select action, record_id = :'operator_id' as this_one, before, after, reason from batchcortex_api.events(max_rows => 1);
commit;
-- From the next request on, in the session that is open.
begin;
select role_name from batchcortex_api.open_request(:'operator_token');
select permission, roles, least_level, gmp, held from batchcortex_api.permissions() where permission like 'signature.%' or permission = 'member.invite' order by 1;
rollback;
reset session authorization;
drop role regress_api;
