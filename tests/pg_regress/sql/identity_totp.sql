-- The second factor: RFC 6238, used once, encrypted at rest; recovery codes; organisations that require it.
-- control: B4 B7 B2
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
set batchcortex.rate_api_key = 0;
-- RFC 6238 appendix B, SHA-1, eight digits.
select at, batchcortex.totp_code('12345678901234567890', at, 8) as code
  from unnest('{59,1111111109,1111111111,1234567890,2000000000,20000000000}'::bigint[]) at;
select batchcortex.totp_code('12345678901234567890', 59), batchcortex.totp_code('12345678901234567890', 59, 9);
-- One step to either side; a step that was used, and every one before it, no more.
select off, batchcortex.totp_step('12345678901234567890', batchcortex.totp_code('12345678901234567890', 1000000020 + off), 1000000020, 0) - 1000000020 / 30 as step
  from unnest('{-60,-30,0,30,60}'::integer[]) off;
select used, batchcortex.totp_step('12345678901234567890', batchcortex.totp_code('12345678901234567890', 1000000020), 1000000020, 1000000020 / 30 + used) is not null as accepted
  from unnest('{-1,0,1}'::integer[]) used;
-- RFC 4648 section 10, without padding.
select t, batchcortex.totp_text(t::bytea) from unnest('{f,fo,foo,foob,fooba,foobar}'::text[]) t;

create function pg_temp.bytes(base32 text) returns bytea language sql as $$
    select decode(string_agg(lpad(to_hex(v), 10, '0'), '' order by g), 'hex')
      from (select (i - 1) / 8 as g, sum((strpos('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', substr(base32, i, 1)) - 1)::bigint << (35 - 5 * ((i - 1) % 8)))::bigint as v
              from generate_series(1, length(base32)) i group by 1) t $$;
create function pg_temp.code(secret text) returns text language sql as $$
    select batchcortex.totp_code(pg_temp.bytes(secret), extract(epoch from clock_timestamp())::bigint) $$;
select 'tove-' || gen_random_uuid() as tove, 'odin-' || gen_random_uuid() as odin \gset
select org_id as org, invitation as bci from batchcortex.create_organisation('Factor ' || gen_random_uuid(), :'tove') \gset
select outcome, user_id as tove_id from batchcortex_api.accept_invitation(:'bci', 'Tove', 'a long enough password') \gset
select token as bcs from batchcortex_api.login(:'tove', 'a long enough password') \gset
drop role if exists regress_api;
create role regress_api login in role batchcortex_api;
set role regress_api;
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
select * from batchcortex_api.second_factor();
select outcome, secret from batchcortex_api.enrol_second_factor('not the password');
select outcome, otpauth_uri as uri, secret, recovery_codes[1] as r1, recovery_codes[2] as r2, cardinality(recovery_codes) as codes from batchcortex_api.enrol_second_factor('a long enough password') \gset
select :'outcome' as outcome, :'codes' as codes, :'r1' ~ '^([a-z2-7]{4}-){3}[a-z2-7]{4}$' as recovery_shape, :'secret' ~ '^[A-Z2-7]{32}$' as secret_shape,
    :'uri' = 'otpauth://totp/BatchCortex:' || :'tove' || '?secret=' || :'secret' || '&issuer=BatchCortex&algorithm=SHA1&digits=6&period=30' as uri;
commit;
-- Nothing is asked for before it is confirmed.
select outcome from batchcortex_api.login(:'tove', 'a long enough password');
select outcome from batchcortex_api.login(:'tove', 'a long enough password', second_factor => :'r1');
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
select batchcortex_api.confirm_second_factor('abc');
reset role;
select pg_temp.code(:'secret') as code \gset
set role regress_api;
select batchcortex_api.confirm_second_factor(:'code');
select batchcortex_api.confirm_second_factor(:'code');
select * from batchcortex_api.second_factor();
select batchcortex_api.enrol_second_factor('a long enough password');
rollback;
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
select batchcortex_api.confirm_second_factor(:'code');
commit;
-- Asked for after the password, and only then; the code that confirmed is used up.
select outcome, token from batchcortex_api.login(:'tove', 'a long enough password');
select outcome, token from batchcortex_api.login(:'tove', 'not the password');
select outcome, token from batchcortex_api.login(:'tove', 'a long enough password', second_factor => :'code');
select outcome, token from batchcortex_api.login(:'tove', 'a long enough password', second_factor => 'wrong');
-- Time is turned back for the account, so that the test need not wait for the next step.
reset role;
update batchcortex.totp set last_step = null where user_id = :'tove_id';
select pg_temp.code(:'secret') as code \gset
set role regress_api;
select outcome from batchcortex_api.login(:'tove', 'a long enough password', second_factor => :'code');
select outcome from batchcortex_api.login(:'tove', 'a long enough password', second_factor => :'code');
-- Recovery codes: each once, however it is typed.
select outcome from batchcortex_api.login(:'tove', 'a long enough password', second_factor => :'r1');
select outcome from batchcortex_api.login(:'tove', 'a long enough password', second_factor => :'r1');
select outcome from batchcortex_api.login(:'tove', 'a long enough password', second_factor => upper(replace(:'r2', '-', ' ')));
reset role;
-- At rest: neither secret nor codes are readable, not even by the owner of the tables.
select count(*) as readable from batchcortex.totp t where user_id = :'tove_id' and (position(pg_temp.bytes(:'secret') in t.sealed) > 0 or t::text ilike '%' || :'secret' || '%');
select octet_length(sealed) = 24 + 20 + 16 as shape from batchcortex.totp where user_id = :'tove_id';
set role batchcortex_owner;
select (select count(*) from batchcortex.totp) as secrets, (select count(*) from batchcortex.recovery_code) as codes, (select count(*) from batchcortex.password_history) as passwords;
reset role;
select count(*) as leaked from batchcortex.events_log e where org_id = :'org' and (e::text like '%' || :'secret' || '%' or e::text like '%' || :'r1' || '%');
-- A secret copied to another account does not open there.
select invitation as bci from batchcortex.create_organisation('Factor two ' || gen_random_uuid(), :'odin') \gset
select outcome, user_id as odin_id from batchcortex_api.accept_invitation(:'bci', 'Odin', 'a long enough password') \gset
select token as odin_bcs from batchcortex_api.login(:'odin', 'a long enough password') \gset
insert into batchcortex.totp (user_id, key_id, sealed, confirmed_at) select :'odin_id', key_id, sealed, now() from batchcortex.totp where user_id = :'tove_id';
select pg_temp.code(:'secret') as code \gset
select outcome from batchcortex_api.login(:'odin', 'a long enough password', second_factor => :'code');
select batchcortex.reset_second_factor(:'odin', 'lost the device');
select batchcortex.reset_second_factor(:'odin', 'lost the device');
-- Elevation takes it, too; it is removed with a last code.
update batchcortex.totp set last_step = null where user_id = :'tove_id';
select pg_temp.code(:'secret') as code \gset
set role regress_api;
begin;
select count(*) from batchcortex_api.open_request(:'bcs');
select outcome from batchcortex_api.elevate('a long enough password');
select batchcortex_api.remove_second_factor('a long enough password', null);
select batchcortex_api.remove_second_factor('a long enough password', 'wrong');
select outcome from batchcortex_api.elevate('a long enough password', :'code');
select batchcortex_api.remove_second_factor('a long enough password', :'code');
reset role;
update batchcortex.totp set last_step = null where user_id = :'tove_id';
set role regress_api;
select batchcortex_api.remove_second_factor('a long enough password', :'code');
select * from batchcortex_api.second_factor();
rollback;
-- An organisation that requires it: enrolment at the door, confirmed by the first sign-in.
begin;
select count(*) from batchcortex_api.open_request(:'odin_bcs');
select batchcortex_api.set_policy(second_factor => 'required');
commit;
select outcome from batchcortex_api.login(:'odin', 'a long enough password');
select outcome, secret from batchcortex_api.enrol_second_factor_at_login(:'odin', 'not the password');
select outcome, secret from batchcortex_api.enrol_second_factor_at_login(:'odin', 'a long enough password') \gset
select :'outcome' as outcome;
select outcome from batchcortex_api.login(:'odin', 'a long enough password');
reset role;
select pg_temp.code(:'secret') as code \gset
set role regress_api;
select outcome from batchcortex_api.login(:'odin', 'a long enough password', second_factor => :'code');
-- With a second factor the password alone does not enrol another.
select outcome, secret from batchcortex_api.enrol_second_factor_at_login(:'odin', 'a long enough password');
select outcome from batchcortex_api.login(:'odin', 'a long enough password');
reset role;
select action from batchcortex.events_log where record_id = :'odin_id' and action like 'second_factor.%' order by recorded_at;
drop role regress_api;
