-- Whoever holds a session, or an invitation to somebody's name, has no second set of guesses: every check of a password or a code spends
-- the budget that signing in spends, and every failure counts towards the lockout.
-- control: A10 R3
\set VERBOSITY default
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
create function pg_temp.bytes(base32 text) returns bytea language sql as $$
    select decode(string_agg(lpad(to_hex(v), 10, '0'), '' order by g), 'hex')
      from (select (i - 1) / 8 as g, sum((strpos('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', substr(base32, i, 1)) - 1)::bigint << (35 - 5 * ((i - 1) % 8)))::bigint as v
              from generate_series(1, length(base32)) i group by 1) t $$;
-- How a call in a request of its own ends: its answer, or its refusal with whether DETAIL is a number of seconds.
create function pg_temp.ends(token text, call text, client_ip inet default '192.0.2.77') returns text language plpgsql as $$
declare
    answer text;
    wait text;
begin
    perform from batchcortex_api.open_request(token, client_ip);
    execute 'select ' || call into answer;
    return answer;
exception when others then
    get stacked diagnostics wait = pg_exception_detail;
    return format('%s %s%s', sqlstate, sqlerrm, case when wait::integer between 1 and 30 then ', some seconds' end);
end $$;
select 'rita-' || gen_random_uuid() as rita, 'nils-' || gen_random_uuid() as nils \gset
select org_id as org, invitation as bci from batchcortex.create_organisation('Attempts ' || gen_random_uuid(), :'rita') \gset
select outcome, user_id as rita_id from batchcortex_api.accept_invitation(:'bci', 'Rita', 'a long enough password') \gset
select token as admin from batchcortex_api.login(:'rita', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'admin');
select invitation as bci from batchcortex_api.invite(:'nils', 'operator') \gset
commit;
select outcome, user_id as nils_id from batchcortex_api.accept_invitation(:'bci', 'Nils', 'a long enough password') \gset
select token as bcs from batchcortex_api.login(:'nils', 'a long enough password') \gset
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
select secret from batchcortex_api.enrol_second_factor('a long enough password') \gset
commit;
-- One budget: what one function spends, the others and signing in do not have.
set batchcortex.rate_authentication = 3;
select pg_temp.ends(:'bcs', $$outcome from batchcortex_api.elevate('not the password')$$);
select pg_temp.ends(:'bcs', $$batchcortex_api.change_password('not the password', 'copper kettle by the gate')$$, '192.0.2.78');
select pg_temp.ends(:'bcs', $$batchcortex_api.confirm_second_factor('000000')$$, '192.0.2.79');
select pg_temp.ends(:'bcs', $$outcome from batchcortex_api.elevate('a long enough password')$$, '192.0.2.80');
select pg_temp.ends(:'bcs', $$batchcortex_api.change_password('a long enough password', 'copper kettle by the gate')$$, '192.0.2.81');
select pg_temp.ends(:'bcs', $$batchcortex_api.confirm_second_factor('000000')$$, '192.0.2.82');
select pg_temp.ends(:'bcs', $$outcome from batchcortex_api.enrol_second_factor('a long enough password')$$, '192.0.2.83');
select pg_temp.ends(:'bcs', $$batchcortex_api.remove_second_factor('a long enough password', '000000')$$, '192.0.2.84');
select outcome, wait_seconds between 1 and 20 as waits from batchcortex_api.login(:'nils', 'a long enough password', '192.0.2.85');
select outcome, wait_seconds between 1 and 20 as waits from batchcortex_api.enrol_second_factor_at_login(:'nils', 'a long enough password', '192.0.2.86');
-- The address has a budget, too, whoever asks from it.
set batchcortex.rate_authentication = 2;
select outcome from generate_series(1, 2) i, batchcortex_api.login('nobody-' || i || gen_random_uuid(), 'x', '192.0.2.90');
select pg_temp.ends(:'admin', $$outcome from batchcortex_api.elevate('a long enough password')$$, '192.0.2.90');
set batchcortex.rate_authentication = 0;
-- An administrator's invitation to somebody's name guesses at that person's password: from the person's budget, at the person's lock.
select 'vera-' || gen_random_uuid() as vera, 'moss-' || gen_random_uuid() as moss \gset
select invitation as bci from batchcortex.create_organisation('Attempts of Vera ' || gen_random_uuid(), :'vera') \gset
select outcome, user_id as vera_id from batchcortex_api.accept_invitation(:'bci', 'Vera', 'a long enough password') \gset
select invitation as guess from batchcortex.create_organisation('Attempts of others ' || gen_random_uuid(), :'vera') \gset
set batchcortex.rate_authentication = 2;
select outcome from generate_series(1, 2) i, batchcortex_api.accept_invitation(:'guess', 'Vera', 'not her password ' || i, ('192.0.2.10' || i)::inet);
\set VERBOSITY terse
select outcome from batchcortex_api.accept_invitation(:'guess', 'Vera', 'a long enough password', '192.0.2.103');
select outcome from batchcortex_api.login(:'vera', 'a long enough password', '192.0.2.104');
set batchcortex.rate_authentication = 0;
select failed_attempts from batchcortex.user_account where user_id = :'vera_id';
-- Failures of every kind count together: the wrong code of an enrolment, too.
update batchcortex.user_account set failed_attempts = 0 where user_id = :'nils_id';
begin;
select count(*) from batchcortex_api.open_request(:'bcs', '192.0.2.60');
select batchcortex_api.confirm_second_factor('000000');
select outcome from batchcortex_api.elevate('not the password');
select batchcortex_api.change_password('not the password', 'copper kettle by the gate');
select batchcortex_api.confirm_second_factor('not a code');
select batchcortex_api.remove_second_factor('not the password', null);
commit;
select failed_attempts, locked_until > now() as locked from batchcortex.user_account where user_id = :'nils_id';
select purpose, result, count(*) from batchcortex.login_attempt where user_id = :'nils_id' group by 1, 2 order by 1, 2;
select action, count(*) from batchcortex.events_log where org_id = :'org' and record_id = :'nils_id' and (action like '%.refused' or action = 'account.locked') group by 1 order by 1;
-- Locked, the right code confirms nothing, and is not used up.
begin;
select count(*) from batchcortex_api.open_request(:'bcs', '192.0.2.60');
select batchcortex.totp_code(pg_temp.bytes(:'secret'), extract(epoch from clock_timestamp())::bigint) as code \gset
select batchcortex_api.confirm_second_factor(:'code');
commit;
select confirmed_at, last_step from batchcortex.totp where user_id = :'nils_id';
update batchcortex.user_account set failed_attempts = 2, locked_until = null where user_id = :'nils_id';
begin;
select count(*) from batchcortex_api.open_request(:'bcs', '192.0.2.60');
select batchcortex_api.confirm_second_factor(:'code');
-- There is nothing to confirm any more: no proof, no failure.
select batchcortex_api.confirm_second_factor(:'code');
commit;
-- A code alone is no whole proof, and takes no earlier failure back.
select failed_attempts from batchcortex.user_account where user_id = :'nils_id';
