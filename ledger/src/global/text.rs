//! What checkpoints of BatchCortex say beyond origin, size and root.

use super::Origin;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::Hash;
use chrono::{DateTime, SecondsFormat};

const SEALED: &str = "sealed ";
const CONTINUES: &str = "continues ";

/// A checkpoint with its extension lines: when it was sealed (microseconds since 1970-01-01 UTC), and, for the global log of a later
/// incarnation, the size of the tree and the origin that it continues.
///
/// # Errors
/// [`CheckpointError::Time`] for a time beyond the year 9999; [`CheckpointError::EmptyTree`]; [`CheckpointError::Line`].
pub fn checkpoint(
    origin: &Origin,
    size: u64,
    root: Hash,
    sealed_at: i64,
    continues: Option<(u64, &str)>,
) -> Result<Checkpoint, CheckpointError> {
    let checkpoint = Checkpoint::new(&origin.to_string(), size, root)?.with_extension(&format!(
        "{SEALED}{}",
        time(sealed_at).ok_or(CheckpointError::Time)?
    ))?;
    match continues {
        None => Ok(checkpoint),
        Some((size, previous)) => checkpoint.with_extension(&format!("{CONTINUES}{size} {previous}")),
    }
}

/// When the checkpoint says that it was sealed, microseconds since 1970-01-01 UTC.
pub fn sealed_at(checkpoint: &Checkpoint) -> Option<i64> {
    parse_time(checkpoint.extensions().first()?.strip_prefix(SEALED)?)
}

/// The size and the origin of the log that the checkpoint's log continues; none in the first incarnation.
pub fn continues(checkpoint: &Checkpoint) -> Option<(u64, &str)> {
    let (size, origin) = checkpoint
        .extensions()
        .get(1)?
        .strip_prefix(CONTINUES)?
        .split_once(' ')?;
    Some((crate::checkpoint::parse_decimal(size)?, origin))
}

/// RFC 3339 in UTC with microseconds; none beyond the year 9999, which RFC 3339 cannot write.
pub(super) fn time(microseconds: i64) -> Option<String> {
    let time = DateTime::from_timestamp_micros(microseconds)?.to_rfc3339_opts(SecondsFormat::Micros, true);
    (time.len() == "2000-01-01T00:00:00.000000Z".len()).then_some(time)
}

pub(super) fn parse_time(text: &str) -> Option<i64> {
    let microseconds = DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros();
    // One spelling alone.
    (time(microseconds).as_deref() == Some(text)).then_some(microseconds)
}
