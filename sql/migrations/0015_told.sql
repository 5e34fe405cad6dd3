-- Verification asks the audit trail what must be protected and who signed in: a few kinds of events among all of them. The index holds those
-- alone, so that a verification since a known size costs the same beside a large audit trail as beside a small one.

create index events_log_told on batchcortex.events_log (org_id, action, recorded_at)
 where action in ('schema.structure', 'table.protected', 'table.tracked', 'table.untracked', 'table.altered', 'table.soft_deletable',
                  'witness.added', 'witness.retired', 'session.opened', 'session.rotated', 'session.elevated', 'ledger.incarnation_requested');
