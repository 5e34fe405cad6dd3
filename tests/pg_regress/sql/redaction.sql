-- Personal data that records name by a commitment: made, opened, erased; what is refused; roots as they were.
-- control: B29 N8
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
set batchcortex.rate_general = 0;
select 'rita-' || gen_random_uuid() as admin, 'ivo-' || gen_random_uuid() as invited, 'olga-' || gen_random_uuid() as operator \gset
select invitation, org_id as org from batchcortex.create_organisation('Redaction ' || gen_random_uuid(), :'admin') \gset
select outcome from batchcortex_api.accept_invitation(:'invitation', 'Rita', 'a long enough password');
select token as admin_token from batchcortex_api.login(:'admin', 'a long enough password') \gset
begin;
select role_name from batchcortex_api.open_request(:'admin_token');
select invitation as open_one from batchcortex_api.invite(:'invited', 'qa') \gset
select invitation as operator_one from batchcortex_api.invite(:'operator', 'operator') \gset
select batchcortex_api.record_access_review('confirmed', 'yearly') is not null as reviewed;
commit;
select outcome from batchcortex_api.accept_invitation(:'operator_one', 'Olga', 'a long enough password');
select token as operator_token from batchcortex_api.login(:'operator', 'a long enough password') \gset
select username_commitment as commitment from batchcortex.invitation where org_id = :'org' and username = :'invited' \gset

\echo the event names the person by a commitment, which sha256() itself gives
select after ->> 'username' = :'commitment' as committed, e.after ->> 'role_name' as role_name, :'commitment' ~ '^sha256:[0-9a-f]{64}$' as shape
  from batchcortex.events_log e where org_id = :'org' and action = 'member.invited' and after ->> 'role_name' = 'qa';
select 'sha256:' || encode(sha256('batchcortex/commitment/v1'::bytea || '\x0a' || salt || convert_to(value, 'UTF8')), 'hex') = commitment as by_hand
  from batchcortex.personal_data where org_id = :'org' and commitment = :'commitment';
select count(*) as names_in_the_log from batchcortex.events_log e where org_id = :'org' and strpos(e::text, :'invited') > 0;
select strpos(after::text, :'commitment') > 0 as in_the_review from batchcortex.events_log where org_id = :'org' and action = 'access.reviewed';
select batchcortex.commit_personal_data(:'org', 'x') <> batchcortex.commit_personal_data(:'org', 'x') as salted;

\echo sealed, and clean
select batchcortex.seal() > 0 as sealed;
select size as before_size, root as before_root from batchcortex.ledger_tree where org_id = :'org' \gset
select * from batchcortex.verify(:'org');

\echo opened by who may
begin;
select role_name from batchcortex_api.open_request(:'operator_token');
savepoint s;
select value from batchcortex_api.open_personal_data(:'commitment');
rollback to s;
select batchcortex_api.erase_personal_data(:'commitment', 'x');
rollback;
begin;
select role_name from batchcortex_api.open_request(:'admin_token');
select value = :'invited' as value, length(salt) as salt, committed_at <= clock_timestamp() as committed from batchcortex_api.open_personal_data(:'commitment');
savepoint s;
select batchcortex_api.open_personal_data('sha256:' || repeat('0', 64));
rollback to s;
select batchcortex_api.open_personal_data(null);
rollback to s;
select batchcortex_api.erase_personal_data(:'commitment', ' ');
rollback to s;
select batchcortex_api.erase_personal_data(:'commitment', 'forget ' || upper(:'invited'));
rollback to s;
select batchcortex_api.erase_personal_data('sha256:0', 'x');
rollback;
-- Another organisation's administrator.
select invitation as other_invitation from batchcortex.create_organisation('Redaction ' || gen_random_uuid(), 'x' || :'admin') \gset
select outcome from batchcortex_api.accept_invitation(:'other_invitation', 'Xenia', 'a long enough password');
select token as other_token from batchcortex_api.login('x' || :'admin', 'a long enough password') \gset
begin;
select role_name from batchcortex_api.open_request(:'other_token');
savepoint s;
select batchcortex_api.open_personal_data(:'commitment');
rollback to s;
select batchcortex_api.erase_personal_data(:'commitment', 'x');
rollback;

\echo nobody changes or deletes it otherwise, superusers included
\set VERBOSITY sqlstate
update batchcortex.personal_data set value = 'y' where commitment = :'commitment';
update batchcortex.personal_data set value = null, salt = null, erased_at = now() where commitment = :'commitment';
delete from batchcortex.personal_data where commitment = :'commitment';
truncate batchcortex.personal_data;
select batchcortex.commit_personal_data(gen_random_uuid(), 'x');
select batchcortex.commit_personal_data(:'org', '');
select batchcortex.commit_personal_data(:'org', null);
select batchcortex.commit_personal_data(:'org', repeat('x', 4001));
\set VERBOSITY terse

\echo a legal hold keeps it
select batchcortex.place_legal_hold(:'org', 'litigation') as hold \gset
select batchcortex.erase_personal_data(:'commitment', 'asked for');
select batchcortex.release_legal_hold(:'hold', 'settled');

\echo erased: the value is nowhere, its invitation ends, the roots are as they were
begin;
select role_name from batchcortex_api.open_request(:'admin_token');
select batchcortex_api.erase_personal_data(:'commitment', 'never joined, asked to be forgotten');
select batchcortex_api.erase_personal_data(:'commitment', 'once more');
savepoint s;
\set VERBOSITY sqlstate
select batchcortex_api.open_personal_data(:'commitment');
\set VERBOSITY terse
rollback to s;
select record_id = :'commitment' as commitment, reason, before, after from batchcortex_api.events() where action = 'personal_data.erased';
select count(*) as open_invitations from batchcortex_api.invitations();
commit;
select outcome from batchcortex_api.accept_invitation(:'open_one', 'Ivo', 'a long enough password');
select username = :'commitment' as named, expires_at <= clock_timestamp() as over from batchcortex.invitation where username_commitment = :'commitment';
select salt, value, erased_at is not null as erased from batchcortex.personal_data where commitment = :'commitment';
create temp table found (relation text);
select set_config('regress.invited', :'invited', false) is not null as looked_for;
do $$
declare
    t regclass;
    n bigint;
begin
    for t in select c.oid from pg_class c where c.relnamespace = 'batchcortex'::regnamespace and c.relkind = 'r' loop
        execute format('select count(*) from %s r where strpos(r::text, %L) > 0', t, current_setting('regress.invited')) into n;
        if n > 0 then
            insert into found values (t::text);
        end if;
    end loop;
end $$;
select * from found;
select batchcortex.seal() > 0 as sealed;
select * from batchcortex.verify(:'org');
select root = :'before_root' as root_unchanged from batchcortex.ledger_checkpoint where org_id = :'org' and tree_size = :before_size;
-- Who has joined keeps the account, and the register says who let them in.
select batchcortex.erase_personal_data(username_commitment, 'asked for') from batchcortex.invitation where username = :'operator';
select granted_by from batchcortex.invitation where org_id = :'org' and username = :'operator';
