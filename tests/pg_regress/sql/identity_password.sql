-- Which passwords are taken: length, what is guessed first, names; and age and history for sites that demand them.
-- control: R4
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
set batchcortex.rate_api_key = 0;
select 'petra-' || left(gen_random_uuid()::text, 8) as petra \gset
select org_id as org, invitation as bci from batchcortex.create_organisation('Passworks ' || gen_random_uuid(), :'petra') \gset
select name as org_name from batchcortex.organisation where org_id = :'org' \gset
drop role if exists regress_api;
create role regress_api login in role batchcortex_api;
set role regress_api;
select outcome from batchcortex_api.accept_invitation(:'bci', 'Petra', 'elevenchars');
select outcome from batchcortex_api.accept_invitation(:'bci', 'Petra', repeat('ab cd', 300));
select outcome from batchcortex_api.accept_invitation(:'bci', 'Petra', 'password1234');
select outcome from batchcortex_api.accept_invitation(:'bci', 'Petra', 'P@ssw0rd1234');
select outcome from batchcortex_api.accept_invitation(:'bci', 'Petra', 'aaaaaaaaaaaaaaaa');
select outcome from batchcortex_api.accept_invitation(:'bci', 'Petra', 'abcdefghijklmnop');
select outcome from batchcortex_api.accept_invitation(:'bci', 'Petra', 'qwertyuiopasdf');
select outcome from batchcortex_api.accept_invitation(:'bci', 'Petra', 'green hill ' || upper(:'petra') || ' moss');
select outcome from batchcortex_api.accept_invitation(:'bci', 'Petra', 'green hill ' || :'org_name' || ' moss');
-- No rules of composition: words and spaces are welcome, and so is every script.
select outcome from batchcortex_api.accept_invitation(:'bci', 'Petra', 'größer als der Mond ist 月');
select token as bcs from batchcortex_api.login(:'petra', 'größer als der Mond ist 月') \gset
-- No ageing by default.
reset role;
update batchcortex.user_account set password_changed_at = now() - interval '10 years' where username = :'petra';
set role regress_api;
select outcome from batchcortex_api.login(:'petra', 'größer als der Mond ist 月');
-- The second profile: after so many days a new one, and none of the last three.
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
select batchcortex_api.set_policy(password_profile => 'ageing', password_days => 90, password_history => 3);
commit;
select outcome, token, detail from batchcortex_api.login(:'petra', 'größer als der Mond ist 月');
select outcome from batchcortex_api.replace_password(:'petra', 'not the password', 'velvet tram under rain');
select outcome from batchcortex_api.replace_password(:'petra', 'größer als der Mond ist 月', 'password1234');
select outcome from batchcortex_api.replace_password(:'petra', 'größer als der Mond ist 月', null);
select outcome from batchcortex_api.replace_password(:'petra', 'größer als der Mond ist 月', 'größer als der Mond ist 月');
select outcome, token as bcs from batchcortex_api.replace_password(:'petra', 'größer als der Mond ist 月', 'velvet tram under rain') \gset
select :'outcome' as outcome;
select outcome from batchcortex_api.login(:'petra', 'größer als der Mond ist 月');
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
savepoint s;
select batchcortex_api.change_password('velvet tram under rain', 'größer als der Mond ist 月');
rollback to s;
select batchcortex_api.change_password('velvet tram under rain', 'copper kettle by the gate');
savepoint s;
select batchcortex_api.change_password('copper kettle by the gate', 'größer als der Mond ist 月');
rollback to s;
select batchcortex_api.change_password('copper kettle by the gate', 'seven slow boats at noon');
-- The first is no longer among the last three.
select batchcortex_api.change_password('seven slow boats at noon', 'größer als der Mond ist 月');
commit;
reset role;
-- As many as the policy looks at are kept besides the present one, hashed, and none when it looks at none.
select count(*), bool_and(h.password_hash like '$argon2id$%') as argon2id from batchcortex.password_history h join batchcortex.user_account u using (user_id) where username = :'petra';
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
select batchcortex_api.set_policy();
select batchcortex_api.change_password('größer als der Mond ist 月', 'copper kettle by the gate');
commit;
select count(*) from batchcortex.password_history h join batchcortex.user_account u using (user_id) where username = :'petra';
select count(*) as changes from batchcortex.events_log where org_id = :'org' and action = 'password.changed';
-- When the parameters of Argon2id are raised, the next sign-in hashes anew.
alter system set batchcortex.argon2_passes = 3;
select pg_reload_conf(), pg_sleep(1);
select outcome from batchcortex_api.login(:'petra', 'not the password');
select password_hash like '$argon2id$v=19$m=19456,t=2,p=1$%' as old from batchcortex.user_account where username = :'petra';
select outcome from batchcortex_api.login(:'petra', 'copper kettle by the gate');
select password_hash like '$argon2id$v=19$m=19456,t=3,p=1$%' as new from batchcortex.user_account where username = :'petra';
alter system reset batchcortex.argon2_passes;
select pg_reload_conf(), pg_sleep(1);
select outcome from batchcortex_api.login(:'petra', 'copper kettle by the gate');
drop role regress_api;
