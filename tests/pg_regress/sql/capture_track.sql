-- What track() takes and refuses, columns left out and masked, organisations, who acts, the register, verify.
-- control: B11 A20 A8
\set VERBOSITY terse
\set SHOW_CONTEXT never
set batchcortex.rate_authentication = 0;
set batchcortex.rate_general = 0;
select org_id as org_a, invitation as invitation_a from batchcortex.create_organisation('capture a', 'cap_a@example.org') \gset
select org_id as org_b from batchcortex.create_organisation('capture b', 'cap_b@example.org') \gset
select outcome from batchcortex_api.accept_invitation(:'invitation_a', 'Ada Admin', 'correct horse battery');
select token as token_a from batchcortex_api.login('cap_a@example.org', 'correct horse battery') \gset
begin;
create schema ck;
create table ck.t (id integer primary key, org uuid, pin text, note text, num numeric);
create unlogged table ck.unlogged (id integer);
create temp table temporary (id integer);
create view ck.v as select * from ck.t;
savepoint s;
select batchcortex.track(null);
rollback to s;
select batchcortex.track('ck.v');
rollback to s;
select batchcortex.track('ck.unlogged');
rollback to s;
select batchcortex.track('temporary');
rollback to s;
select batchcortex.track('batchcortex.events_log');
rollback to s;
select batchcortex.track('pg_catalog.pg_class');
rollback to s;
select batchcortex.track('ck.t', mask => '{nope}');
rollback to s;
select batchcortex.track('ck.t', org_column => 'nope');
rollback to s;
select batchcortex.track('ck.t', org_column => 'note');
rollback to s;
select batchcortex.track('ck.t', mask => '{id}');
rollback to s;
select batchcortex.track('ck.t', 'org', leave_out => '{org}');
rollback to s;
select batchcortex.track('ck.t', mask => '{pin}', leave_out => '{pin}');
rollback to s;
select batchcortex.track('ck.t', mask => array[null::name]);
rollback to s;
select batchcortex.untrack('ck.t');
rollback to s;
select batchcortex.track('ck.t', org_column => 'org', mask => '{pin}', leave_out => '{num}');
savepoint s;
select batchcortex.track('ck.t');
rollback to s;
select relation, org_column, require_reason, left_out, masked, tracked_by from batchcortex.tracked_table where relation = 'ck.t'::regclass;
select action, record_id, after, actor_kind from batchcortex.events_log where record_type = 'table' and record_id = 'ck.t';
-- Masked: that it changed is seen, what it holds is not; neither is null.
insert into ck.t values (1, null, '1234', 'n', 5), (2, null, null, 'n', 5);
update ck.t set pin = '4321' where id = 1;
update ck.t set note = 'm' where id = 1;
update ck.t set pin = 'new' where id = 2;
delete from ck.t where id = 2;
select action, before, after from batchcortex.events_log where record_type = 'ck.t' order by recorded_at, event_id;
select count(*) as leaks from batchcortex.events_log where record_type = 'ck.t' and concat(before, after) ~ '1234|4321|new|num';
-- A masked column that is renamed is not captured in clear: the table takes no change until it is tracked anew.
savepoint s;
alter table ck.t rename column pin to pin2;
update ck.t set note = 'x';
rollback to s;
-- Columns that come later are captured.
alter table ck.t add column later text default 'l';
-- Organisations: the row's own log; a row that changes sides leaves one log and enters the other.
insert into ck.t values (10, :'org_a', 'p', 'a'), (11, :'org_b', 'p', 'b');
update ck.t set org = :'org_b', note = 'sold' where id = 10;
update ck.t set org = null where id = 11;
select o.name, e.action, e.record_id, e.before ->> 'note' as before, e.after ->> 'note' as after, e.after ->> 'later' as later
  from batchcortex.events_log e join batchcortex.organisation o using (org_id) where record_type = 'ck.t' and record_id in ('10', '11') order by recorded_at, event_id;
savepoint s;
insert into ck.t values (12, '11111111-1111-4111-8111-111111111111', 'p', 'nobody''s');
rollback to s;
-- In a request the person is the actor, from their address, by their program; and nothing of another organisation is written.
insert into ck.t values (20, :'org_b', 'p', 'other');
select user_id is not null as bound from batchcortex_api.open_request(:'token_a', '198.51.100.7', 'console/1.0', 'req-1');
select batchcortex.set_reason('correction');
insert into ck.t values (21, :'org_a', 'p', 'mine');
insert into ck.t values (22, null, 'p', 'of the installation');
savepoint s;
update ck.t set note = 'theirs' where id = 20;
rollback to s;
select o.name, e.action, e.record_id, e.actor_kind, e.actor_id is not null as actor_id, e.actor_name, e.actor_role, e.client_ip, e.user_agent, e.request_id, e.reason
  from batchcortex.events_log e join batchcortex.organisation o using (org_id) where record_type = 'ck.t' and record_id in ('20', '21', '22') order by recorded_at, event_id;
rollback;

-- Logins without any privilege of their own on the log; SET ROLE does not change who acts.
create schema ck;
create table ck.t (id integer primary key, note text);
select batchcortex.track('ck.t', require_reason => true);
create role cap_app;
grant usage on schema ck to cap_app;
grant all on ck.t to cap_app;
begin;
set local role cap_app;
insert into ck.t values (1, 'x');
select batchcortex.set_reason('not mine to call yet');
rollback;
grant usage on schema batchcortex to cap_app;
grant execute on function batchcortex.set_reason(text) to cap_app;
begin;
set local role cap_app;
insert into ck.t values (1, 'x');
select batchcortex.set_reason('because');
update ck.t set note = 'y';
reset role;
select action, actor_kind, actor_role, reason from batchcortex.events_log where record_type = 'ck.t' order by recorded_at, event_id;
-- Only the DBA tracks.
set local role cap_app;
savepoint s;
select batchcortex.track('ck.t');
rollback to s;
select batchcortex.untrack('ck.t');
rollback to s;
-- Cannot be put on another table.
create temp table mine (id integer);
create trigger t after insert on mine for each row execute function batchcortex.capture_row('', '', '[]', '[]');
rollback;
revoke usage on schema batchcortex from cap_app;
revoke execute on function batchcortex.set_reason(text) from cap_app;
revoke all on ck.t from cap_app;
-- Nobody switches it off but untrack(), which is recorded.
begin;
savepoint s;
alter table ck.t disable trigger "0_batchcortex_row";
rollback to s;
alter table ck.t disable trigger user;
rollback to s;
drop trigger "0_batchcortex_end" on ck.t;
rollback to s;
alter trigger "0_batchcortex_end" on ck.t rename to other;
rollback to s;
drop table ck.t;
rollback to s;
delete from batchcortex.tracked_table;
rollback to s;
insert into batchcortex.tracked_table (relation, require_reason, left_out, masked) values ('ck.t', false, '{}', '{}') on conflict do nothing;
rollback to s;
select batchcortex.drop_unregistered_capture('ck.t'::regclass);
rollback to s;
-- Its owner may do the rest.
alter table ck.t add column more text;
alter table ck.t rename column more to much_more;
alter table ck.t drop column much_more;
create index on ck.t (note);
rollback;
select batchcortex.untrack('ck.t', 'end of the test');
drop schema ck cascade;
drop role cap_app;
