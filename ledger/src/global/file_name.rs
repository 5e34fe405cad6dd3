//! Names of checkpoints that are kept as files outside of the database.

use std::fmt;
use std::str::FromStr;

use super::{Incarnation, OriginError};

const EXTENSION: &str = ".checkpoint";

/// Name of the file of a checkpoint of the global log: `<incarnation>-<size, 20 digits>.checkpoint`. In the order of their names the
/// files of one incarnation are in the order of their sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CheckpointFile {
    /// Which life of the log. Its random part keeps the logs of several databases of one server apart.
    pub incarnation: Incarnation,
    /// Leaves.
    pub size: u64,
}

impl fmt::Display for CheckpointFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:020}{EXTENSION}", self.incarnation, self.size)
    }
}

impl FromStr for CheckpointFile {
    type Err = OriginError;

    /// Reads a name; only what [`Display`](fmt::Display) writes is one.
    fn from_str(name: &str) -> Result<Self, OriginError> {
        let read = || {
            let (incarnation, size) = name.strip_suffix(EXTENSION)?.rsplit_once('-')?;
            let file = CheckpointFile {
                incarnation: incarnation.parse().ok()?,
                size: size.parse().ok()?,
            };
            (file.to_string() == name).then_some(file)
        };
        read().ok_or(OriginError)
    }
}
