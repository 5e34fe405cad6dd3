-- Verification asks the audit trail what must be protected and who signed in: a few kinds of events among all of them. The index holds those
-- alone, so that a verification since a known size costs the same beside a large audit trail as beside a small one.

create index events_log_told on batchcortex.events_log (org_id, action, recorded_at)
 where action in ('schema.structure', 'table.protected', 'table.tracked', 'table.untracked', 'table.altered', 'table.soft_deletable',
                  'witness.added', 'witness.retired', 'session.opened', 'session.rotated', 'session.elevated', 'ledger.incarnation_requested');

-- A leaf's number of its table has two bytes in the list of a tile: a number that does not fit would hold up the sealing of the log.
alter table batchcortex.ledger_relation
    add constraint ledger_relation_number check (relation_id between 1 and 65535),
    alter column relation_id set maxvalue 65535;
