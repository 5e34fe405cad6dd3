-- Proofs of one person at the same time: judged one after the other, counted each, no code twice; and whoever leaves one open
-- keeps nobody waiting for ever, and wins nothing by it.
-- control: B4 R3
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
do $$ begin execute format('alter database %I set batchcortex.rate_authentication = 0', current_database()); end $$;
\c
set client_min_messages = warning;
create function pg_temp.bytes(base32 text) returns bytea language sql as $$
    select decode(string_agg(lpad(to_hex(v), 10, '0'), '' order by g), 'hex')
      from (select (i - 1) / 8 as g, sum((strpos('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', substr(base32, i, 1)) - 1)::bigint << (35 - 5 * ((i - 1) % 8)))::bigint as v
              from generate_series(1, length(base32)) i group by 1) t $$;
select 'carl-' || gen_random_uuid() as carl \gset
select org_id as org, invitation as bci from batchcortex.create_organisation('Concurrent ' || gen_random_uuid(), :'carl') \gset
select outcome, user_id as carl_id from batchcortex_api.accept_invitation(:'bci', 'Carl', 'a long enough password') \gset
select token as bcs from batchcortex_api.login(:'carl', 'a long enough password') \gset
create table public.regress_outcome (outcome text);
\setenv CARL :carl
-- Eight clients, 24 wrong passwords: five are refused, every other finds the account locked.
\! printf "insert into public.regress_outcome select outcome from batchcortex_api.login('$CARL', 'not the password', '192.0.2.61');\n" > /tmp/regress_concurrent.sql; pgbench -n -c 8 -j 2 -t 3 -f /tmp/regress_concurrent.sql contrib_regression >/dev/null 2>&1; rm -f /tmp/regress_concurrent.sql
select outcome, count(*) from public.regress_outcome group by 1;
select result, count(*) from batchcortex.login_attempt where user_id = :'carl_id' and result in ('refused', 'locked') group by 1 order by 1;
select count(*) as locks from batchcortex.events_log where org_id = :'org' and record_id = :'carl_id' and action = 'account.locked';
update batchcortex.user_account set failed_attempts = 0, locked_until = null where user_id = :'carl_id';
-- Eight clients with one code: one gets in. The same with a recovery code.
begin;
select count(*) from batchcortex_api.open_request(:'bcs', '192.0.2.61');
select secret, recovery_codes[1] as recovery from batchcortex_api.enrol_second_factor('a long enough password') \gset
select batchcortex_api.confirm_second_factor(batchcortex.totp_code(pg_temp.bytes(:'secret'), extract(epoch from clock_timestamp())::bigint));
commit;
update batchcortex.totp set last_step = null where user_id = :'carl_id';
select batchcortex.totp_code(pg_temp.bytes(:'secret'), extract(epoch from clock_timestamp())::bigint) as code \gset
truncate public.regress_outcome;
\setenv CODE :code
\! printf "insert into public.regress_outcome select outcome from batchcortex_api.login('$CARL', 'a long enough password', '192.0.2.61', second_factor => '$CODE');\n" > /tmp/regress_concurrent.sql; pgbench -n -c 8 -j 2 -t 1 -f /tmp/regress_concurrent.sql contrib_regression >/dev/null 2>&1; rm -f /tmp/regress_concurrent.sql
select outcome, count(*) from public.regress_outcome group by 1 order by 1;
update batchcortex.user_account set failed_attempts = 0, locked_until = null where user_id = :'carl_id';
truncate public.regress_outcome;
\setenv CODE :recovery
\! printf "insert into public.regress_outcome select outcome from batchcortex_api.login('$CARL', 'a long enough password', '192.0.2.61', second_factor => '$CODE');\n" > /tmp/regress_concurrent.sql; pgbench -n -c 8 -j 2 -t 1 -f /tmp/regress_concurrent.sql contrib_regression >/dev/null 2>&1; rm -f /tmp/regress_concurrent.sql
select outcome, count(*) from public.regress_outcome group by 1 order by 1;
update batchcortex.user_account set failed_attempts = 0, locked_until = null where user_id = :'carl_id';
delete from batchcortex.totp where user_id = :'carl_id';
-- A client leaves a wrong guess open in a transaction. Nobody else is judged meanwhile, right or wrong, and everybody has an answer
-- within some seconds.
\! (printf "begin; select batchcortex_api.login('$CARL', 'not the password', '192.0.2.61');\n"; sleep 20) | psql -Xq contrib_regression >/dev/null 2>&1 &
select pg_sleep(1);
select clock_timestamp() as begun \gset
select outcome, token, wait_seconds from batchcortex_api.login(:'carl', 'a long enough password');
select clock_timestamp() - :'begun' between '2 seconds' and '6 seconds' as bounded;
begin;
select count(*) from batchcortex_api.open_request(:'bcs', '192.0.2.61');
select outcome from batchcortex_api.elevate('a long enough password');
rollback;
select count(*) as judged from batchcortex.login_attempt where user_id = :'carl_id' and attempted_at >= :'begun';
-- Others are not concerned.
select outcome from batchcortex_api.login('nobody-' || :'org', 'x', '192.0.2.61');
-- A client that is idle in its transaction is disconnected after ten seconds, and the person signs in again.
select outcome, count(*) >= 1 as some
  from (select (select outcome from batchcortex_api.login(:'carl', 'a long enough password')) as outcome from generate_series(1, 4) i where pg_sleep(1) is not null) t
 where outcome = 'granted' group by 1;
show idle_in_transaction_session_timeout;
drop table public.regress_outcome;
do $$ begin execute format('alter database %I reset batchcortex.rate_authentication', current_database()); end $$;
