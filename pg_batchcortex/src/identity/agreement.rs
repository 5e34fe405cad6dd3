//! Terms, privacy notice and accountability statement: which versions an organisation requires, and who accepted them.

use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

use super::credential::{self, Kind};
use super::unscoped::unscoped;

/// Versions that a person says they accept.
#[derive(Clone, Copy, Default)]
pub struct Accepted<'a> {
    /// Of the terms.
    pub terms: Option<&'a str>,
    /// Of the privacy notice.
    pub privacy: Option<&'a str>,
    /// Of the accountability statement.
    pub accountability: Option<&'a str>,
}

/// The newest version of each kind is the one that is required.
const CURRENT: &str = "select distinct on (a.kind) a.kind, a.version, a.content from batchcortex.agreement a
                        where a.org_id = $1 order by a.kind, a.published_at desc";

/// What is required and neither accepted before nor in `offered`, as a JSON array of kind, version and content; none when
/// nothing is missing.
pub fn missing(org_id: Uuid, user_id: Option<Uuid>, offered: Accepted<'_>) -> Option<String> {
    Spi::get_one_with_args::<String>(
        &format!(
            "select json_agg(json_build_object('kind', c.kind, 'version', c.version, 'content', c.content) order by c.kind)::text
               from ({CURRENT}) c
              where c.version is distinct from case c.kind when 'terms' then $3 when 'privacy' then $4 else $5 end
                and not exists (select from batchcortex.agreement_acceptance a
                                 where a.org_id = $1 and a.user_id = $2 and a.kind = c.kind and a.version = c.version)"
        ),
        &[
            org_id.into(),
            user_id.into(),
            offered.terms.into(),
            offered.privacy.into(),
            offered.accountability.into(),
        ],
    )
    .unwrap_or_report()
}

/// Keeps what a person accepts of what is required, a row and an event each. The person is bound to the transaction.
pub fn record(org_id: Uuid, user_id: Uuid, offered: Accepted<'_>) {
    Spi::run_with_args(
        &format!(
            "with accepted as (
                 insert into batchcortex.agreement_acceptance (org_id, user_id, kind, version)
                 select $1, $2, c.kind, c.version from ({CURRENT}) c
                  where c.version = case c.kind when 'terms' then $3 when 'privacy' then $4 else $5 end
                 on conflict do nothing
                 returning kind, version)
             select batchcortex.log_event('agreement.accepted', 'agreement', a.kind || ' ' || a.version,
                        after => json_build_object('kind', a.kind, 'version', a.version, 'user_id', $2))
               from accepted a order by a.kind"
        ),
        &[
            org_id.into(),
            user_id.into(),
            offered.terms.into(),
            offered.privacy.into(),
            offered.accountability.into(),
        ],
    )
    .unwrap_or_report();
}

/// What someone who holds an invitation must accept to use it: JSON array of kind, version and content; null for an
/// invitation that is unknown, used or expired, and when nothing is required.
#[pg_extern(stable, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn invitation_agreements(invitation: Option<&str>) -> Option<String> {
    let digest = invitation.and_then(|text| credential::digest(Kind::Invitation, text))?;
    unscoped(|| {
        let org_id = Spi::get_one_with_args::<Uuid>(
            "select (select org_id from batchcortex.invitation
                      where token_sha256 = $1 and redeemed_at is null and expires_at > clock_timestamp())",
            &[digest.to_vec().into()],
        )
        .unwrap_or_report()?;
        missing(org_id, None, Accepted::default())
    })
}
