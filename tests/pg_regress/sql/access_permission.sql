-- Every role, permission and team level, both ways; owners; and the documented matrix.
-- control: A23 B1 B5
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
set batchcortex.rate_general = 0;
select 'adam-' || gen_random_uuid() as admin, 'olga-' || gen_random_uuid() as operator, 'quin-' || gen_random_uuid() as qa, 'petra-' || gen_random_uuid() as qp \gset
select invitation as invitation, org_id as org from batchcortex.create_organisation('Access ' || gen_random_uuid(), :'admin') \gset
select outcome from batchcortex_api.accept_invitation(:'invitation', 'Adam', 'a long enough password');
create temp table person (role_name text primary key, username text, token text, user_id uuid);
grant select on person to public;
insert into person select 'admin', :'admin', token, user_id from batchcortex_api.login(:'admin', 'a long enough password');
begin;
select count(*) from batchcortex_api.open_request((select token from person));
create temp table invited as select v.role_name, v.username, (batchcortex_api.invite(v.username, v.role_name)).invitation
  from (values ('operator', :'operator'), ('qa', :'qa'), ('qp', :'qp')) v (role_name, username);
commit;
select i.role_name, a.outcome from invited i, batchcortex_api.accept_invitation(i.invitation, initcap(i.role_name), 'a long enough password') a order by 1;
insert into person select i.role_name, i.username, l.token, l.user_id from invited i, batchcortex_api.login(i.username, 'a long enough password') l;

-- The matrix: what has_permission says for each cell, for one's own record, another's and nobody's.
create function pg_temp.may(token text, level text, permission text, whose text) returns boolean language plpgsql as $$
declare
    may boolean;
    me uuid;
begin
    begin
        select user_id into me from batchcortex_api.open_request(token);
        update batchcortex.membership set team_level = level where user_id = me;
        may := batchcortex.has_permission(permission, case whose when 'own' then me when 'another''s' then gen_random_uuid() end);
        raise exception using errcode = 'HS000';
    exception when sqlstate 'HS000' then
        return may;
    end;
end $$;
create temp table matrix as
select p.permission, r.role_name, l.level, w.whose, coalesce(pg_temp.may(r.token, l.level, p.permission, w.whose), false) as may
  from batchcortex.permission p, person r, unnest(array['view_only', 'can_edit', 'full_access']) as l (level), unnest(array['own', 'another''s', 'nobody''s']) as w (whose);
select count(*) = (select count(*) from batchcortex.permission) * 4 * 3 * 3 as every_cell from matrix;
-- What the tables say it should be, by another route: no cell differs.
select m.* from matrix m join batchcortex.permission p using (permission)
 where m.may is distinct from (exists (select from batchcortex.role_permission r where r.role_name = m.role_name and r.permission = m.permission)
                               and case p.least_level when 'view_only' then true
                                        when 'can_edit' then m.level = 'full_access' or m.level = 'can_edit' and m.whose = 'own'
                                        else m.level = 'full_access' end);
-- The document says the same (docs/access.md).
\getenv source PG_ABS_SRCDIR
\set document :source '/../../docs/access.md'
\set text `cat :'document'`
create temp view line as
select format('| %s | %s | %s | %s | %s |', p.permission, p.about,
              (select string_agg(role_name, ', ' order by array_position('{operator,qa,qp,admin}'::text[], role_name)) from batchcortex.role_permission r where r.permission = p.permission),
              p.least_level, case when p.gmp then 'yes' else '' end) as text
  from batchcortex.permission p;
select text as missing_in_document from line where position(text in :'text') = 0 order by 1;
select l as not_in_tables from regexp_split_to_table(:'text', '\n') l where l ~ '^\| [a-z_]+\.[a-z_]+ \|' and not exists (select from line where text = l);
-- An administrator holds no GMP meaning, and cannot be given one.
select role_name, count(*) filter (where gmp) as gmp_meanings from batchcortex.role_permission group by 1 order by 1;
insert into batchcortex.role_permission (role_name, permission, gmp) values ('admin', 'signature.certify', true);
insert into batchcortex.role_permission (role_name, permission) values ('admin', 'signature.certify');
insert into batchcortex.role_permission (role_name, permission) values ('admin', 'no.such');

-- Through the API's functions: each level on a batch of one's own and of another.
drop role if exists regress_api;
create role regress_api login in role batchcortex_api;
create function pg_temp.level(whose text, level text) returns text language plpgsql as $$
begin
    perform batchcortex_api.open_request((select token from person where role_name = 'admin'));
    perform batchcortex_api.set_team_level((select user_id from person where role_name = whose), level, 'regress');
    return level;
end $$;
select token as operator from person where role_name = 'operator' \gset
select token as admin, user_id as admin_id from person where role_name = 'admin' \gset
begin;
select count(*) from batchcortex_api.open_request(:'operator');
select batchcortex_api.create_batch('own', 'x') as own \gset
select count(*) from batchcortex_api.open_request(:'admin');
select batchcortex_api.create_batch('other', 'x') as other \gset
commit;
\set level view_only
\set role operator
begin;
select pg_temp.level('operator', 'view_only');
set local session authorization regress_api;
select count(*) from batchcortex_api.open_request(:'operator');
savepoint s;
select count(*) from batchcortex_api.batches();
select batchcortex_api.start_batch(:'own');
rollback to s;
select batchcortex_api.create_batch('x', 'x');
rollback to s;
select batchcortex_api.log_event('app.x', 'x', 'x');
rollback;
begin;
select pg_temp.level('operator', 'can_edit');
set local session authorization regress_api;
select count(*) from batchcortex_api.open_request(:'operator');
savepoint s;
select batchcortex_api.create_batch('x', 'x') is not null as created;
select batchcortex_api.start_batch(:'own');
savepoint s;
select batchcortex_api.start_batch(:'other');
rollback;
begin;
select pg_temp.level('operator', 'full_access');
set local session authorization regress_api;
select count(*) from batchcortex_api.open_request(:'operator');
select batchcortex_api.start_batch(:'own');
select batchcortex_api.start_batch(:'other');
savepoint s;
-- A level widens no role.
select batchcortex_api.create_equipment('x');
rollback to s;
select batchcortex_api.set_team_level(:'admin_id', 'view_only', 'x');
rollback;
-- Levels are an administrator's to set, with a reason, not their own, and each change is an event.
begin;
select count(*) from batchcortex_api.open_request(:'admin');
savepoint s;
select batchcortex_api.set_team_level(:'admin_id', 'view_only', 'x');
rollback to s;
select batchcortex_api.set_team_level(user_id, 'owner', 'x') from person where role_name = 'qa';
rollback to s;
select batchcortex_api.set_team_level(user_id, 'view_only', ' ') from person where role_name = 'qa';
rollback to s;
select batchcortex_api.set_team_level(gen_random_uuid(), 'view_only', 'x');
rollback to s;
select batchcortex_api.set_team_level(user_id, 'view_only', 'probation') from person where role_name = 'qa';
select action, before, after, reason from batchcortex_api.events() where action = 'member.level_set';
rollback;
-- No identity, no permission.
select batchcortex.has_permission('batch.read');
select batchcortex_api.set_team_level(:'admin_id', 'view_only', 'x');
drop role regress_api;
