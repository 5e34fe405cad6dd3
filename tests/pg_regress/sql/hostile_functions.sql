-- Every function of batchcortex_api, found in the catalog and called with the identifiers of an organisation that is not the
-- caller's: what comes back must be what an identifier of nobody brings, nothing of the other may stand in it, and nothing of the
-- other may have changed. A function added later is called too, and shows below.
-- control: A8 A23 B5 B25
\set VERBOSITY terse
\set SHOW_CONTEXT never
set client_min_messages = warning;
set batchcortex.rate_authentication = 0;
set batchcortex.rate_general = 0;
set batchcortex.rate_api_key = 0;
drop schema if exists regress_hostile cascade;
drop role if exists regress_hostile;
create role regress_hostile login in role batchcortex_api;

-- Two organisations; what is B's carries the word zeta.
select 'alpha-' || gen_random_uuid() as ua, 'zeta-' || gen_random_uuid() as ub \gset
select invitation as ia, org_id as a from batchcortex.create_organisation('alpha ' || gen_random_uuid(), :'ua') \gset
select invitation as ib, org_id as b from batchcortex.create_organisation('zeta ' || gen_random_uuid(), :'ub') \gset
select outcome from batchcortex_api.accept_invitation(:'ia', 'Alice', 'a long enough password');
select outcome from batchcortex_api.accept_invitation(:'ib', 'zeta Bob', 'a password of Bob''s own');
select token as ta from batchcortex_api.login(:'ua', 'a long enough password') \gset
select token as tb from batchcortex_api.login(:'ub', 'a password of Bob''s own') \gset
begin;
select count(*) from batchcortex_api.open_request(:'tb');
select batchcortex_api.create_batch('zeta-7', 'zeta drops') as bb, batchcortex_api.create_equipment('zeta reactor') as be \gset
select batchcortex_api.start_batch(:'bb');
select batchcortex_api.create_tag(:'be', 'zeta pH', 'nsu=urn:zeta;s=pH', 'Double', 'pH') as bt \gset
select device_id as bd from batchcortex_api.enrol_device('zeta edge', :'be') \gset
select batchcortex_api.log_event('app.zeta', 'zeta note', 'zeta-1', batch_id => :'bb') is not null as noted;
select count(*) from batchcortex_api.invite('zeta-guest-' || :'b', 'qa');
commit;
insert into batchcortex.sample_segment (org_id, segment_id, device_id, sequence, tag_id, batch_id, first_sample, last_sample, sample_count, data_type, unit, source_ticks, status, numbers)
values (:'b', gen_random_uuid(), :'bd', 1, :'bt', :'bb', 1, 1, 1, 'Double', 'zeta', '{132000000000000000}', '{0}', '{7.25}');
begin;
select count(*) from batchcortex_api.open_request(:'ta');
select batchcortex_api.create_batch('A-1', 'Alpha') is not null as planned, batchcortex_api.create_equipment('Reactor') is not null as equipped;
commit;
select batchcortex.seal() >= 0 as sealed;

create schema regress_hostile;
grant usage on schema regress_hostile to regress_hostile;
-- B's rows in every table that has an organisation, as the superuser sees them, in one number. Refused attempts at B's door are B's
-- to know about: the server writes them, as events and attempts.
do $do$
declare
    parts text;
begin
    select string_agg(format('select %L || t::text from batchcortex.%I t where t.org_id = org', c.relname, c.relname)
                      || case c.relname when 'events_log' then ' and not (t.actor_kind = ''system'')'
                                        when 'login_attempt' then ' and false' when 'ledger_tree' then ' and false' when 'ledger_tile' then ' and false' when 'ledger_checkpoint' then ' and false' else '' end, ' union all ')
      into parts
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped
     where c.relnamespace = 'batchcortex'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition;
    execute format($f$
        create function regress_hostile.state(org uuid) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
        begin
            return (select md5(string_agg(x, ',' order by x)) from (%s union all
                select 'person ' || u.user_id || u.username || u.full_name || u.password_hash || u.state from batchcortex.user_account u join batchcortex.membership m using (user_id) where m.org_id = org) s(x));
        end $$ $f$, parts);
end $do$;
-- Every uuid and every telling text in B's rows.
create table regress_hostile.known (value text primary key);
do $do$
declare
    c record;
begin
    for c in select r.relname, a.attname
               from pg_class r join pg_attribute o on o.attrelid = r.oid and o.attname = 'org_id' and not o.attisdropped
               join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped and a.atttypid in ('uuid'::regtype, 'text'::regtype, 'name'::regtype)
              where r.relnamespace = 'batchcortex'::regnamespace and r.relkind in ('r', 'p') and not r.relispartition loop
        execute format('insert into regress_hostile.known select distinct t.%I::text from batchcortex.%I t where t.org_id = %L and t.%I is not null on conflict do nothing',
                       c.attname, c.relname, (select org_id from batchcortex.organisation where name like 'zeta %' order by created_at desc limit 1), c.attname);
    end loop;
end $do$;
insert into regress_hostile.known select u.username from batchcortex.user_account u join batchcortex.membership m using (user_id) where m.org_id = :'b' on conflict do nothing;
delete from regress_hostile.known where value !~ 'zeta' and value !~ '^[0-9a-f]{8}-[0-9a-f]{4}-' and value !~ '^bc[a-z]_';
grant select on regress_hostile.known to regress_hostile;
select count(*) > 15 as many_identifiers from regress_hostile.known;

-- What a caller can tell apart: the answer or the refusal, without what differs by itself.
create function regress_hostile.blur(answer text, candidate text) returns text language sql immutable as $$
    select regexp_replace(regexp_replace(regexp_replace(regexp_replace(replace(replace(answer, candidate, '<id>'), replace(candidate, '-', ''), '<id>'),
             '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', '<uuid>', 'g'), '[0-9a-f]{24,}', '<hex>', 'g'), '[A-Z2-7]{24,}|[a-z0-9]{4,}-[a-z0-9]{4,}(-[a-z0-9]{4,})*', '<secret>', 'g'), '[0-9][0-9.:]*', '<n>', 'g')
$$;
-- One call, taken back.
create function regress_hostile.call(f oid, id text, everywhere boolean, token text, other uuid, out answer text, out raw text, out changed boolean, out unhandled text) language plpgsql as $$
declare
    arguments text;
    state text := regress_hostile.state(other);
begin
    select string_agg(case
               when t.typname = 'uuid' then case when id ~ '^[0-9a-f]{8}-' then format('%L::uuid', id) else 'null::uuid' end
               when t.typname in ('text', 'name', 'varchar') then format('%L::%I',
                   case when everywhere then id else coalesce('{"role_name": "qa", "data_type": "Double", "team_level": "view_only", "decision": "confirmed", "action": "app.x",
                       "password": "a long enough password", "method": "POST", "authority": "h", "path": "/v1/ingest"}'::json ->> p.name, id) end, t.typname)
               when t.typname in ('int2', 'int4', 'int8', 'numeric', 'float8') then '1::' || t.typname
               when t.typname = 'timestamptz' then case when p.name ~ 'after|since|from' then 'null::timestamptz' else $q$(clock_timestamp() + interval '1 day')$q$ end
               when t.typname = 'bool' then 'true'
               when t.typname in ('json', 'jsonb') then format('%L::%I', json_build_object('id', id), t.typname)
               when t.typname = 'inet' then 'null::inet'
               when t.typname = 'interval' then $q$'1 day'::interval$q$
               when t.typname = 'bytea' then format('convert_to(%L, ''UTF8'')', id)
               when t.typname = '_text' then format('array[%L]::text[]', id)
               when t.typname = '_uuid' then case when id ~ '^[0-9a-f]{8}-' then format('array[%L]::uuid[]', id) else '''{}''::uuid[]' end
               else 'null::' || t.oid::regtype end, ', ' order by p.n),
           string_agg(t.typname, ', ') filter (where t.typname not in ('uuid', 'text', 'name', 'varchar', 'int2', 'int4', 'int8', 'numeric', 'float8', 'timestamptz', 'bool', 'json', 'jsonb', 'inet',
               'interval', 'bytea', '_text', '_uuid'))
      into arguments, unhandled
      from pg_proc q, unnest(q.proargtypes::oid[]) with ordinality as g (type, n),
           lateral (select g.n, coalesce(q.proargnames[g.n], '') as name) p, pg_type t
     where q.oid = f and t.oid = g.type;
    begin
        if token is not null then
            perform from batchcortex_api.open_request(token);
        end if;
        execute format('select coalesce(json_agg(x)::text, ''[]'') from %s(%s) x', f::regproc, coalesce(arguments, '')) into raw;
        answer := 'answers';
        changed := regress_hostile.state(other) <> state;
        raise exception using errcode = 'HS000';
    exception
        when sqlstate 'HS000' then null;
        when others then
            answer := sqlstate;
            raw := sqlerrm;
            changed := regress_hostile.state(other) <> state;
    end;
end $$;
-- All calls of all functions: what is wrong, and how each function took it.
create function regress_hostile.assault(token text, other uuid, schema text, pattern text, out function text, out outcome text, out finding text) returns setof record language plpgsql as $$
declare
    f record;
    k record;
    everywhere boolean;
    theirs record;
    nobodys record;
    nobody text;
begin
    for f in select p.oid, p.oid::regproc::text as name, 'uuid'::regtype = any (p.proargtypes::oid[]) as takes_uuid,
                    p.proargtypes::oid[] && array['uuid'::regtype, 'text'::regtype, 'json'::regtype, 'bytea'::regtype, 'name'::regtype, 'uuid[]'::regtype, 'text[]'::regtype]::oid[] as takes_any
               from pg_proc p where p.pronamespace = schema::regnamespace and p.prokind = 'f' and p.proname ~ pattern order by 2 loop
        function := replace(f.name, schema || '.', '');
        for k in select value from regress_hostile.known where f.takes_any or value = other::text loop
            nobody := case when k.value ~ '^[0-9a-f]{8}-' then gen_random_uuid()::text
                           when k.value ~ '^bc[a-z]_' then left(k.value, 4) || replace(gen_random_uuid()::text, '-', '')
                           else replace(k.value, 'zeta', 'nope') end;
            foreach everywhere in array array[false, true] loop
                theirs := regress_hostile.call(f.oid, k.value, everywhere, token, other);
                nobodys := regress_hostile.call(f.oid, nobody, everywhere, token, other);
                outcome := theirs.answer;
                finding := case
                    when theirs.unhandled is not null then 'the suite has no argument of type ' || theirs.unhandled
                    when theirs.changed then 'changes rows of another organisation'
                    when exists (select from regress_hostile.known o
                                  where o.value <> k.value and position(o.value in replace(theirs.raw, k.value, '')) > 0) then 'shows what is another organisation''s'
                    when theirs.answer <> nobodys.answer or regress_hostile.blur(theirs.raw, k.value) is distinct from regress_hostile.blur(nobodys.raw, nobody)
                        then 'tells an identifier of another organisation from one of nobody' end;
                return next;
            end loop;
        end loop;
    end loop;
end $$;
create table regress_hostile.result (pass text, function text, outcome text, finding text);
grant select, insert on regress_hostile.result to regress_hostile;
-- PostgreSQL's own grants leave these to everyone; the API's login runs them.
set session authorization regress_hostile;
insert into regress_hostile.result select 'without', * from regress_hostile.assault(null, :'b', 'batchcortex_api', '');
insert into regress_hostile.result select 'A', * from regress_hostile.assault(:'ta', :'b', 'batchcortex_api', '');
reset session authorization;
-- What is wrong: nothing.
select distinct pass, function, finding from regress_hostile.result where finding is not null order by 1, 2, 3;
-- Without a credential these answer; everything else refuses.
select function, string_agg(distinct outcome, ' ' order by outcome) as outcomes from regress_hostile.result where pass = 'without' and outcome <> 'BC401' group by 1 order by 1;
-- With A's, to identifiers of B.
select function, string_agg(distinct outcome, ' ' order by outcome) as outcomes from regress_hostile.result where pass = 'A' group by 1 order by 1;

-- The suite can fail: functions as nobody should write them are found, each for what is wrong with it.
begin;
create function regress_hostile.leak_rows(of_batch uuid) returns text language sql security definer as $$ select number from batchcortex.batch where batch_id = of_batch $$;
create function regress_hostile.leak_existence(of_batch uuid) returns void language plpgsql security definer as $$
begin if exists (select from batchcortex.batch where batch_id = of_batch) then raise exception 'not yours' using errcode = 'BC403'; else raise exception 'unknown batch' using errcode = 'BC404'; end if; end $$;
create function regress_hostile.leak_name(username text) returns boolean language sql security definer as $$ select exists (select from batchcortex.user_account u where u.username = leak_name.username) $$;
create function regress_hostile.leak_write(of_batch uuid) returns void language sql security definer as $$ update batchcortex.batch set product = 'other' where batch_id = of_batch $$;
create function regress_hostile.leak_all() returns setof text language sql security definer as $$ select number from batchcortex.batch $$;
create function regress_hostile.leak_error(of_equipment uuid) returns text language plpgsql security definer as $$
begin raise exception '% is not yours', (select name from batchcortex.equipment where equipment_id = of_equipment); end $$;
create function regress_hostile.leak_unknown(circle circle) returns void language sql as $$ $$;
truncate regress_hostile.result;
set local session authorization regress_hostile;
insert into regress_hostile.result select 'without', * from regress_hostile.assault(null, :'b', 'regress_hostile', '^leak');
insert into regress_hostile.result select 'A', * from regress_hostile.assault(:'ta', :'b', 'regress_hostile', '^leak');
reset session authorization;
select distinct pass, function, finding from regress_hostile.result where finding is not null order by 1, 2, 3;
rollback;
drop schema regress_hostile cascade;
drop role regress_hostile;
