//! Registered witnesses against the events that tell of them: a superuser may add a row by hand, and with it a quorum of their own.

use super::Finding;
use crate::identity::unscoped::unscoped;
use crate::ledger::scan::Scan;

/// The newest row of each key, which is what counts, beside its newest event. A disposal of old events tells the newest anew
/// (batchcortex.record_disposal).
const QUERY: &str = "
    with registered as (
        select distinct on (w.verifier_key) w.verifier_key, w.witness || '+' || encode(w.key_id, 'hex') as name, w.active, w.reason
          from batchcortex.ledger_witness w order by w.verifier_key, w.change desc
    ), told as (
        select distinct on (t.verifier_key) t.verifier_key, e.record_id as name, e.action = 'witness.added' as active, e.reason
          from batchcortex.events_log e
         cross join lateral (select coalesce(batchcortex.event_member(coalesce(e.after, e.before)::text, 'verifier_key'), e.record_id) as verifier_key) t
         where e.org_id = '00000000-0000-0000-0000-000000000000' and e.action in ('witness.added', 'witness.retired')
           and e.record_type = 'ledger_witness'
         order by t.verifier_key, e.recorded_at desc, e.event_id desc
    )
    select coalesce(r.name, t.name),
           case when t.name is null then 'no event tells that the witness was ' || case when r.active then 'added' else 'retired' end
                when r.name is null then 'the event witness.' || case when t.active then 'added' else 'retired' end || ' has no row'
                else 'the row differs from the event witness.' || case when t.active then 'added' else 'retired' end end
      from registered r full join told t using (verifier_key)
     where (r.name, r.active, r.reason) is distinct from (t.name, t.active, t.reason)
     order by 1";

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
