-- Which tables are tracked, and how. The triggers on those tables carry the same in their arguments and are what captures.

create table batchcortex.tracked_table (
    relation regclass primary key,
    org_column name,
    require_reason boolean not null,
    left_out name[] not null,
    masked name[] not null,
    tracked_at timestamptz not null default clock_timestamp(),
    tracked_by text not null default batchcortex.current_actor_name()
);
comment on table batchcortex.tracked_table is 'Tables whose row changes are recorded in events_log. batchcortex.track() and untrack() write it.';
comment on column batchcortex.tracked_table.relation is 'The table, or the partitioned table whose partitions are captured with it.';
comment on column batchcortex.tracked_table.org_column is 'Column that names the organisation whose log takes the events; null: the installation''s log.';
comment on column batchcortex.tracked_table.require_reason is 'Updates, deletions and TRUNCATE are refused without a reason.';
comment on column batchcortex.tracked_table.left_out is 'Columns that are not recorded at all.';
comment on column batchcortex.tracked_table.masked is 'Columns of which is recorded that they changed, not what they hold.';
comment on column batchcortex.tracked_table.tracked_by is 'Name of who called track(), as it was at that moment.';
alter table batchcortex.tracked_table owner to batchcortex_owner;
revoke all on table batchcortex.tracked_table from public, batchcortex_owner;
-- Only track() writes it, which only a superuser calls; a trigger looks up whether its table is here.
grant select on table batchcortex.tracked_table to batchcortex_owner, batchcortex_auditor;
select batchcortex.make_single_writer('batchcortex.tracked_table', 'insert or update or delete');
