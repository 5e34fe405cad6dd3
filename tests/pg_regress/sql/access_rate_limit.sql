-- One budget for all backends, outside of transactions; bounded; with seconds to wait.
-- control: A10 B6
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
select name, setting, context from pg_settings where name like 'batchcortex.rate%' order by 1;
-- The sixth signature within a minute, the eleventh attempt, the sixty-first and the hundred-and-first request.
select gen_random_uuid() as one \gset
-- (The slower the machine, the more has come back meanwhile.)
select b.budget, b.rate, count(*) filter (where wait = 0) between b.rate and b.rate + 1 as admitted, min(wait) filter (where wait > 0) >= 1 and max(wait) <= b.longest as waits
  from (values ('sign_off', 5, 12), ('authentication', 10, 6), ('api_key', 60, 1), ('general', 100, 1)) b (budget, rate, longest), generate_series(1, 150) i, batchcortex.spend_budget(b.budget, left(:'one' || i, 36)) wait
 group by 1, 2, b.longest order by 1;
-- Another subject has its own.
select batchcortex.spend_budget('sign_off', gen_random_uuid()::text);
-- 0 is no limit; the limit that counts is the one set now.
set batchcortex.rate_sign_off = 0;
select batchcortex.spend_budget('sign_off', :'one');
set batchcortex.rate_sign_off = 6000;
select batchcortex.spend_budget('sign_off', gen_random_uuid()::text);
reset batchcortex.rate_sign_off;
select batchcortex.spend_budget('other', 'x');

-- A rollback gives nothing back, and another backend has the same budget.
select gen_random_uuid() as two \gset
begin;
select batchcortex.spend_budget('sign_off', :'two') from generate_series(1, 2);
rollback;
\c
set client_min_messages = warning;
select batchcortex.spend_budget('sign_off', :'two') from generate_series(1, 2);
\c
select batchcortex.spend_budget('sign_off', :'two');
select batchcortex.spend_budget('sign_off', :'two') between 1 and 12 as waits;
-- Eight at once, forty attempts: five are admitted.
select gen_random_uuid() as three \gset
create table public.regress_admitted (wait integer);
\setenv SUBJECT :three
\! printf "insert into public.regress_admitted select batchcortex.spend_budget('sign_off', '$SUBJECT');\n" > /tmp/regress_budget.sql; pgbench -n -c 8 -j 2 -t 5 -f /tmp/regress_budget.sql contrib_regression >/dev/null 2>&1; rm -f /tmp/regress_budget.sql
select count(*) as attempts, count(*) filter (where wait = 0) between 5 and 6 as admitted from public.regress_admitted;
drop table public.regress_admitted;

-- Login: the user name's budget holds from every address, the address's for every name; whether the name exists makes no difference.
set client_min_messages = warning;
select 'lea-' || gen_random_uuid() as lea, 'nobody-' || gen_random_uuid() as nobody \gset
select invitation, org_id as org from batchcortex.create_organisation('Limit ' || gen_random_uuid(), :'lea') \gset
select outcome from batchcortex_api.accept_invitation(:'invitation', 'Lea', 'a long enough password');
select outcome, count(*) >= 10 as ten, bool_and((wait_seconds between 1 and 6) = (outcome = 'limited')) as waits
  from generate_series(1, 30) i, batchcortex_api.login(:'nobody', 'a wrong password', ('10.1.0.' || i)::inet) group by 1 order by 1 desc;
select outcome, wait_seconds between 1 and 6 as waits, token from batchcortex_api.login(upper(:'nobody'), 'a wrong password', '10.1.1.1');
select (select host('10.0.0.0'::inet + (random() * 16000000)::bigint)) as address \gset
select outcome, count(*) >= 10 as ten from generate_series(1, 30) i, batchcortex_api.login('nobody-' || i || gen_random_uuid(), 'a wrong password', :'address') group by 1 order by 1 desc;
-- The right password does not help, and a refusal that is rolled back is not forgotten.
begin;
select outcome, token from batchcortex_api.login(:'lea', 'a long enough password', :'address');
rollback;
select outcome, token from batchcortex_api.login(:'lea', 'a long enough password', :'address');
select outcome from batchcortex_api.accept_invitation('bci_' || repeat('0', 64), 'x', 'a long enough password', :'address');
-- One event when a budget runs out, not one an attempt.
select count(*) between 1 and 3 as few from batchcortex.events_log where action = 'login.limited' and client_ip = :'address';
select outcome, token as token from batchcortex_api.login(:'lea', 'a long enough password', '10.2.0.1') \gset
-- Requests: one person's sessions share a budget; failed transactions count.
set batchcortex.rate_general = 4;
begin;
select full_name from batchcortex_api.open_request(:'token');
select 1 / 0;
rollback;
begin;
select full_name from batchcortex_api.open_request(:'token');
rollback;
select full_name from batchcortex_api.open_request(:'token');
select full_name from batchcortex_api.open_request(:'token');
\c
set batchcortex.rate_general = 4;
create function pg_temp.refused(token text) returns table (sqlstate text, message text, seconds boolean, bound boolean) language plpgsql as $$
declare
    wait text;
begin
    perform from batchcortex_api.open_request(token);
exception when others then
    get stacked diagnostics wait = pg_exception_detail;
    return query select sqlstate, sqlerrm, wait::integer between 1 and 15, batchcortex.current_org_id() is not null;
end $$;
select * from pg_temp.refused(:'token');
reset batchcortex.rate_general;
-- The table is bounded: the oldest make room.
select capacity, in_use <= capacity as bounded from batchcortex.budget_table();
select gen_random_uuid() as many \gset
select count(batchcortex.spend_budget('general', :'many' || i)) from generate_series(1, 50000) i;
select in_use <= capacity as bounded, in_use > capacity * 0.9 as full from batchcortex.budget_table();
-- The newest is still there, the oldest gone: it starts anew.
set batchcortex.rate_general = 1;
select batchcortex.spend_budget('general', :'many' || '50000') > 0 as newest_counts, batchcortex.spend_budget('general', :'many' || '1') as oldest_starts_anew;
