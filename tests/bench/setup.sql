-- An organisation of its own, a plain table with the columns and indexes of events_log, and a peer whose rows form a chain.
create schema bench;
create table bench.org as select gen_random_uuid() as org_id;
insert into batchcortex.organisation (org_id, name) select org_id, 'bench ' || org_id from bench.org;

create table bench.plain (like batchcortex.events_log);
alter table bench.plain add primary key (org_id, recorded_at, event_id);
create index on bench.plain (org_id, batch_id, recorded_at) where batch_id is not null;

create table bench.chained (like batchcortex.events_log);
alter table bench.chained add column previous bytea;
alter table bench.chained add primary key (org_id, recorded_at, event_id);
create index on bench.chained (org_id, batch_id, recorded_at) where batch_id is not null;
create table bench.head (org_id uuid primary key, hash bytea not null);
insert into bench.head select org_id, '\x00' from bench.org;
create function bench.chain() returns trigger language plpgsql as $$
begin
    select hash into new.previous from bench.head where org_id = new.org_id for update;
    new.leaf_hash := sha256(new.previous || convert_to(new.org_id::text || new.event_id || new.recorded_at || new.action || new.record_type || new.record_id || new.after, 'UTF8'));
    update bench.head set hash = new.leaf_hash where org_id = new.org_id;
    return new;
end $$;
create trigger chain before insert on bench.chained for each row execute function bench.chain();
