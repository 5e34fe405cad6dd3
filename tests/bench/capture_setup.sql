-- One table, three times: untracked, tracked, and with a trigger written by hand that keeps rows as jsonb.
create schema capture_bench;
do $$
declare kind text;
begin
    foreach kind in array '{untracked,tracked,jsonb_trigger}'::text[] loop
        execute format('create table capture_bench.%I (id bigint generated always as identity primary key, lot text not null, parameter text not null, value numeric(12, 4) not null, unit text, measured_at timestamptz not null default clock_timestamp(), accepted boolean not null default true)', kind);
    end loop;
end $$;
select batchcortex.track('capture_bench.tracked');
-- What people write by hand.
create table capture_bench.audit (id bigint generated always as identity primary key, relation text, action text, login text, at timestamptz, address inet, before jsonb, after jsonb);
create function capture_bench.audit() returns trigger language plpgsql as $$
begin
    insert into capture_bench.audit (relation, action, login, at, address, before, after)
        values (tg_table_schema || '.' || tg_table_name, tg_op, session_user, clock_timestamp(), inet_client_addr(),
                case when tg_op <> 'INSERT' then to_jsonb(old) end, case when tg_op <> 'DELETE' then to_jsonb(new) end);
    return null;
end $$;
create trigger audit after insert or update or delete on capture_bench.jsonb_trigger for each row execute function capture_bench.audit();
