//! Registered witnesses against the events that tell of them: a superuser may add a row by hand, and with it a quorum of their own.

use super::Finding;
use crate::identity::unscoped::unscoped;
use crate::ledger::scan::Scan;

/// Rows and events of a key side by side, in their order. Events of a partition that was disposed of explain no row any more, and need none.
const QUERY: &str = "
    with disposed as (
        select coalesce(max(d.recorded_to), '-infinity') as until from batchcortex.partition_disposal d
          join batchcortex.ledger_relation r on r.relation_id = d.relation_id and r.domain = 'event'
         where d.org_id = '00000000-0000-0000-0000-000000000000'
    ), registered as (
        select w.verifier_key, row_number() over (partition by w.verifier_key order by w.changed_at, w.change) as i,
               w.witness || '+' || encode(w.key_id, 'hex') as name, w.active, w.reason
          from batchcortex.ledger_witness w where w.changed_at >= (select until from disposed)
    ), told as (
        select coalesce(e.after, e.before) ->> 'verifier_key' as verifier_key,
               row_number() over (partition by coalesce(e.after, e.before) ->> 'verifier_key' order by e.recorded_at, e.event_id) as i,
               e.record_id as name, e.action = 'witness.added' as active, e.reason
          from batchcortex.events_log e
         where e.org_id = '00000000-0000-0000-0000-000000000000' and e.action in ('witness.added', 'witness.retired')
           and e.record_type = 'ledger_witness'
    )
    select coalesce(r.name, t.name),
           case when t.name is null then 'no event tells that the witness was ' || case when r.active then 'added' else 'retired' end
                when r.name is null then 'the event witness.' || case when t.active then 'added' else 'retired' end || ' has no row'
                else 'the row differs from the event witness.' || case when t.active then 'added' else 'retired' end end
      from registered r full join told t using (verifier_key, i)
     where (r.name, r.active, r.reason) is distinct from (t.name, t.active, t.reason)
     order by 1, i";

/// Where they differ. Inside an SPI connection.
pub fn check() -> Vec<Finding> {
    let mut findings = Vec::new();
    // An auditor does not read the installation's log, which tells of witnesses and no organisation's data.
    unscoped(|| {
        let mut scan = Scan::open(QUERY, &[], 1000);
        while scan.next(|row| {
            let text = |i| String::from_utf8_lossy(&row.bytes(i)).into_owned();
            findings.push(Finding {
                log: "installation".to_owned(),
                code: "weakened_protection",
                relation: "batchcortex.ledger_witness".to_owned(),
                record: text(0),
                detail: text(1),
            });
        }) {}
        scan.close();
    });
    findings
}
