-- Least privilege, last: whatever the files before made, nobody but the named roles may call it, and the API's functions run as
-- batchcortex_owner, which row-level security holds.

do $grants$
declare
    f record;
begin
    for f in select p.oid::regprocedure as signature, n.nspname, p.prokind, p.proname
               from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
              where n.nspname in ('batchcortex', 'batchcortex_api') loop
        execute format('revoke all on routine %s from public', f.signature);
        if f.nspname = 'batchcortex_api' then
            execute format('alter function %s owner to batchcortex_owner', f.signature);
            execute format('grant execute on function %s to batchcortex_api', f.signature);
        elsif f.proname not in ('migrate', 'migrations', 'isolate', 'make_append_only', 'make_single_writer', 'make_leaves', 'make_partitions', 'apply_migration', 'schema_structure', 'is_structure_told', 'protect', 'enqueue_present_rows', 'create_organisation',
                               'open_to_auditors', 'grant_auditor', 'revoke_auditor', 'track', 'untrack', 'begin_tracking', 'end_tracking', 'drop_unregistered_capture',
                               'set_retention', 'retention_periods', 'place_legal_hold', 'release_legal_hold', 'partition_span', 'disposable_from', 'disposal_obstacles',
                               'list_disposable', 'partition_totals', 'leaves_between', 'disposal_refusal', 'propose_disposal', 'record_disposal', 'dispose',
                               'make_soft_deletable', 'keep_rows', 'soft_delete', 'add_witness', 'retire_witness', 'new_incarnation',
                               'set_user_state', 'deactivate_user', 'reactivate_user', 'reset_second_factor') then
            execute format('grant execute on routine %s to batchcortex_owner', f.signature);
        end if;
    end loop;
end
$grants$;

-- What a policy or a view calls, and what auditors are for.
grant execute on function
    batchcortex.current_org_id(), batchcortex.current_user_id(), batchcortex.current_role_name(),
    batchcortex.verify(uuid), batchcortex.verify_report(uuid), batchcortex.verify_since(uuid, bigint, bytea), batchcortex.event_preimage(record), batchcortex.segment_preimage(record),
    batchcortex.inclusion_proof(uuid, bigint, bigint), batchcortex.make_inclusion_proof(uuid, bigint, bigint),
    batchcortex.consistency_proof(uuid, bigint, bigint), batchcortex.make_consistency_proof(uuid, bigint, bigint),
    batchcortex.verify_inclusion(bigint, bigint, bytea, bytea[], bytea), batchcortex.verify_consistency(bigint, bigint, bytea, bytea, bytea[]),
    batchcortex.seal(), batchcortex.request_seal(double precision), batchcortex.damaged_logs(), batchcortex.health(),
    batchcortex.latest_checkpoint(uuid), batchcortex.checkpoint_text(uuid, bigint), batchcortex.checkpoint_keys(), batchcortex.leaf_of(uuid),
    batchcortex.sealed_in(uuid), batchcortex.wait_sealed(uuid, interval), batchcortex.witnesses(),
    batchcortex.witnessed_size(integer), batchcortex.wait_witnessed(uuid, interval, integer), batchcortex.read_verifier_key(text),
    batchcortex.check_cosignature(text, text, text[]),
    batchcortex.open_personal_data(text), batchcortex.evidence_opening(uuid, text, text),
    batchcortex.export_evidence(uuid, uuid, uuid, timestamptz, timestamptz, bigint), batchcortex.plan_evidence(uuid, uuid, uuid, timestamptz, timestamptz, bigint),
    batchcortex.write_evidence(uuid, text, text, bigint, text, bigint, bigint, text, bigint, bigint, uuid, timestamptz, timestamptz),
    batchcortex.is_recorded(uuid, uuid), batchcortex.cosigned_note(bigint), batchcortex.signed_checkpoint(bigint), batchcortex.timestamp_query(bigint), batchcortex.make_timestamp_query(text),
    batchcortex.timestamps(bigint), batchcortex.auditor_organisations(), batchcortex.event_member(text, text), batchcortex.event_time(text, text)
    to batchcortex_auditor;
