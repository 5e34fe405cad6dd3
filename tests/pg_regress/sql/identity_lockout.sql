-- Guessing: every attempt is recorded, too many lock the account, the answer tells nothing, an administrator unlocks.
-- control: R3 B9 B11
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
set batchcortex.rate_api_key = 0;
select 'lena-' || gen_random_uuid() as lena, 'otto-' || gen_random_uuid() as otto \gset
select org_id as org, invitation as bci from batchcortex.create_organisation('Lock ' || gen_random_uuid(), :'lena') \gset
select outcome from batchcortex_api.accept_invitation(:'bci', 'Lena', 'a long enough password');
select token as bcs from batchcortex_api.login(:'lena', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
select invitation as bci from batchcortex_api.invite(:'otto', 'operator') \gset
commit;
select outcome, user_id as otto_id from batchcortex_api.accept_invitation(:'bci', 'Otto', 'a long enough password') \gset
drop role if exists regress_api;
create role regress_api login in role batchcortex_api;
set role regress_api;
show batchcortex.lockout_failures;
show batchcortex.lockout_time;
show batchcortex.burst_failures;
-- Five wrong passwords lock the account; from then on the right one gets the same answer.
select outcome from batchcortex_api.login(:'otto', 'guess number one', '198.51.100.1');
select outcome from batchcortex_api.login(:'otto', 'guess number two', '198.51.100.1');
select outcome from batchcortex_api.login(:'otto', 'guess number three', '198.51.100.1');
select outcome from batchcortex_api.login(:'otto', 'guess number four', '198.51.100.1');
select outcome from batchcortex_api.login(:'otto', 'a long enough password', '198.51.100.1');
-- The one that held set the count back.
select outcome from generate_series(1, 5) i, batchcortex_api.login(:'otto', 'guess number ' || i, '198.51.100.1');
select outcome, token, session_id, user_id, org_id, detail from batchcortex_api.login(:'otto', 'a long enough password', '198.51.100.1');
select outcome, token, session_id, user_id, org_id, detail from batchcortex_api.login('no-' || :'otto', 'a long enough password', '198.51.100.1');
reset role;
select purpose, result, count(*) from batchcortex.login_attempt where user_id = :'otto_id' group by 1, 2 order by 1, 2;
select count(*) as of_nobody from batchcortex.login_attempt where org_id = '00000000-0000-0000-0000-000000000000' and client_ip = '198.51.100.1' and user_id is null;
select action, count(*), min(actor_kind) as by from batchcortex.events_log where org_id = :'org' and record_id = :'otto_id' and action in ('login.refused', 'account.locked') group by 1 order by 1;
-- What was typed is nowhere: neither name nor password.
select count(*) as leaked from batchcortex.login_attempt a where a::text ~ ('guess|long enough|no-' || :'otto');
-- The tenth failure of an address within a minute is a burst, once.
select action, record_id, count(*) from batchcortex.events_log where org_id = :'org' and action = 'login.burst' group by 1, 2;
select outcome from batchcortex_api.login(:'otto', 'x', '198.51.100.1');
select count(*) as bursts from batchcortex.login_attempt where burst and client_ip = '198.51.100.1';
-- Attempts are insert-only.
update batchcortex.login_attempt set result = 'granted' where user_id = :'otto_id';
delete from batchcortex.login_attempt where user_id = :'otto_id';
-- A lock runs out by itself, and the next failure is the first again.
update batchcortex.user_account set locked_until = now() - interval '1 second' where user_id = :'otto_id';
select outcome from batchcortex_api.login(:'otto', 'x', '198.51.100.2');
select failed_attempts, locked_until from batchcortex.user_account where user_id = :'otto_id';
select outcome from batchcortex_api.login(:'otto', 'a long enough password', '198.51.100.2');
select failed_attempts, locked_until from batchcortex.user_account where user_id = :'otto_id';
select outcome from generate_series(1, 5) i, batchcortex_api.login(:'otto', 'x' || i, '198.51.100.3');
select locked_until > now() + interval '14 minutes' as a_quarter from batchcortex.user_account where user_id = :'otto_id';
-- An administrator unlocks, with a reason; an operator cannot, nor an administrator of elsewhere.
set role regress_api;
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
select full_name, role_name, state, locked_until is not null as locked from batchcortex_api.members();
select count(*) > 10 as seen, bool_or(burst) as burst from batchcortex_api.login_attempts();
savepoint s;
select batchcortex_api.unlock_user(:'otto_id', ' ');
rollback to s;
select batchcortex_api.unlock_user(gen_random_uuid(), 'called');
rollback to s;
select batchcortex_api.unlock_user(:'otto_id', 'called from the phone on file');
select batchcortex_api.unlock_user(:'otto_id', 'again');
rollback to s;
select batchcortex_api.unlock_user(:'otto_id', 'called from the phone on file');
commit;
select outcome, token as otto_bcs from batchcortex_api.login(:'otto', 'a long enough password', '198.51.100.4') \gset
select :'outcome' as outcome;
begin;
select count(*) from batchcortex_api.open_request(:'otto_bcs');
savepoint s;
select batchcortex_api.unlock_user(:'otto_id', 'I am nice');
rollback to s;
select * from batchcortex_api.members();
rollback to s;
select * from batchcortex_api.login_attempts();
rollback;
reset role;
select action, actor_name, reason from batchcortex.events_log where org_id = :'org' and action = 'account.unlocked';
select invitation as other from batchcortex.create_organisation('Lock other ' || gen_random_uuid(), 'x' || :'lena') \gset
select outcome from batchcortex_api.accept_invitation(:'other', 'Mara', 'a long enough password');
select token as other from batchcortex_api.login('x' || :'lena', 'a long enough password') \gset
update batchcortex.user_account set locked_until = 'infinity' where user_id = :'otto_id';
begin;
select count(*) from batchcortex_api.open_request(:'other');
select batchcortex_api.unlock_user(:'otto_id', 'not mine');
rollback;
-- Number and duration are settings; a duration of nothing waits for an administrator.
alter system set batchcortex.lockout_failures = 3;
alter system set batchcortex.lockout_time = 0;
select pg_reload_conf(), pg_sleep(1);
show batchcortex.lockout_failures;
select outcome from generate_series(1, 3) i, batchcortex_api.login('x' || :'lena', 'guess number ' || i, '198.51.100.8');
select locked_until from batchcortex.user_account where username = 'x' || :'lena';
alter system reset batchcortex.lockout_failures;
alter system reset batchcortex.lockout_time;
select pg_reload_conf(), pg_sleep(1);
-- An unknown name, a wrong password and a locked account take about the same time: the least of five tries each, within a factor of two.
create function pg_temp.least_time(username text, password text) returns double precision language plpgsql as $$
declare
    begun timestamptz;
    least_seconds double precision := 'infinity';
begin
    for i in 1 .. 5 loop
        begun := clock_timestamp();
        perform batchcortex_api.login(username, password, '198.51.100.9');
        least_seconds := least(least_seconds, extract(epoch from clock_timestamp() - begun));
        update batchcortex.user_account u set failed_attempts = 0 where u.username = least_time.username;
    end loop;
    return least_seconds;
end $$;
select locked / wrong between 0.5 and 2 as locked, unknown / wrong between 0.5 and 2 as unknown, too_long / wrong between 0.5 and 2 as too_long
  from (select pg_temp.least_time(:'otto', 'not the password') as locked, pg_temp.least_time('no-' || :'otto', 'not the password') as unknown,
               pg_temp.least_time(:'lena', 'not the password') as wrong, pg_temp.least_time(:'lena', repeat('x', 2000)) as too_long) t;
drop role regress_api;
