//! Time stamps (RFC 3161) over checkpoints of the global log: the query for an authority, and what its response says.

use crate::error;
use crate::ledger::incarnation::EPOCH;
use batchcortex_ledger::timestamp::{self, TokenError};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

/// Behind timestamp_query: the TimeStampReq (DER) over a signed note.
#[pg_extern(immutable, strict, parallel_safe)]
pub fn make_timestamp_query(note: &str) -> Vec<u8> {
    timestamp::query(note).unwrap_or_else(|e| error!("the query cannot be written: {e}"))
}

/// Behind add_timestamp: what a TimeStampResp says, and whether it is a response to the query over the note. sqlstate and problem are set
/// when it is not.
#[pg_extern(immutable, strict, parallel_safe)]
#[allow(clippy::type_complexity)]
pub fn read_timestamp(
    note: &str,
    response: &[u8],
) -> TableIterator<
    'static,
    (
        name!(generated_at, Option<TimestampWithTimeZone>),
        name!(policy, Option<String>),
        name!(serial, Option<String>),
        name!(sqlstate, Option<String>),
        name!(problem, Option<String>),
    ),
> {
    let refused =
        |sqlstate: &str, problem: String| (None, None, None, Some(sqlstate.to_owned()), Some(problem));
    TableIterator::once(match timestamp::read_over(note, response) {
        Ok(token) => match TimestampWithTimeZone::try_from(token.time - EPOCH) {
            Ok(time) => (Some(time), Some(token.policy), Some(token.serial), None, None),
            Err(_) => refused(error::UNACCEPTABLE, "the token's time is out of range".to_owned()),
        },
        Err(fault @ (TokenError::Syntax(_) | TokenError::TooLong)) => {
            refused(error::MALFORMED, fault.to_string())
        }
        Err(fault) => refused(error::UNACCEPTABLE, fault.to_string()),
    })
}
