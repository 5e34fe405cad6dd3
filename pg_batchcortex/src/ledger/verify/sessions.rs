//! Sessions, which are no leaves because they change: each is compared with the events that say who signed in. A row that somebody put
//! into the table acts as that person, so it must be named.

use super::Finding;
use crate::ask;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// Every session has the event of its opening, by the person whose it is; its token is the one of its newest event; and it does not
/// outlive what was recorded. What is stored of the token is compared where the caller may read it, else its fingerprint.
fn query(token: &str) -> String {
    format!(
        "with told as (
             select e.org_id, e.record_id, e.action, e.recorded_at, e.actor_kind, e.actor_id,
                    batchcortex.event_member(e.after::text, 'user_id') as user_id, batchcortex.event_member(e.after::text, 'fingerprint') as fingerprint,
                    timestamptz '2000-01-01 00:00:00+00' + batchcortex.event_time(e.after::text, 'expires_at') * interval '1 microsecond' as expires_at
               from batchcortex.events_log e
              where e.record_type = 'session' and e.action in ('session.opened', 'session.rotated', 'session.elevated')
                and ($1 is null or e.org_id = $1)
         ), opened as (
             select distinct on (org_id, record_id) * from told where action = 'session.opened' order by org_id, record_id, recorded_at
         ), newest as (
             select distinct on (org_id, record_id) * from told order by org_id, record_id, recorded_at desc
         )
         select s.org_id::text, s.session_id::text,
                case when o.record_id is null then 'session_without_event' else 'changed_session' end,
                case when o.record_id is null then 'nobody signed in for this session: it has no event session.opened'
                     when o.actor_kind <> 'user' or o.actor_id is distinct from s.user_id or o.user_id is distinct from s.user_id::text
                         then 'the session is of another person than its event session.opened'
                     when n.actor_kind <> 'user' or n.actor_id is distinct from s.user_id or n.fingerprint is distinct from encode({token}, 'hex')
                         then 'the token is not the one of the event ' || n.action
                     else 'the session ends later than its event says' end
           from batchcortex.session s
           left join opened o on o.org_id = s.org_id and o.record_id = s.session_id::text
           left join newest n on n.org_id = s.org_id and n.record_id = s.session_id::text
          where ($1 is null or s.org_id = $1)
            -- The events of a session that ended long ago may have been disposed of; a session that still lives has its own.
            and not exists (select from batchcortex.partition_disposal d
                             where d.org_id = s.org_id and d.relation = 'events_log' and s.created_at >= d.recorded_from and s.created_at < d.recorded_to
                               and s.expires_at < d.recorded_at)
            and (o.record_id is null or o.actor_kind <> 'user' or o.actor_id is distinct from s.user_id or o.user_id is distinct from s.user_id::text
                 or n.actor_kind <> 'user' or n.actor_id is distinct from s.user_id or n.fingerprint is distinct from encode({token}, 'hex')
                 or o.expires_at is null or s.expires_at > o.expires_at)
          order by 1, 2"
    )
}

const READABLE: &str = "select has_column_privilege('batchcortex.session', 'token_sha256', 'select')";

/// Findings about the sessions that the caller may see, or those of one organisation.
pub fn check(org: Option<Uuid>) -> Vec<Finding> {
    let readable = ask::one::<bool>(READABLE, &[]) == Some(true);
    let query = query(if readable {
        "sha256(s.token_sha256)"
    } else {
        "s.fingerprint"
    });
    Spi::connect(|client| {
        client
            .select(&query, None, &[org.into()])
            .unwrap_or_report()
            .map(|row| {
                let text = |i| row.get::<String>(i).unwrap_or_report().unwrap_or_default();
                Finding {
                    log: text(1),
                    code: match text(3).as_str() {
                        "session_without_event" => "session_without_event",
                        _ => "changed_session",
                    },
                    relation: "batchcortex.session".to_owned(),
                    record: text(2),
                    detail: text(4),
                }
            })
            .collect()
    })
}
