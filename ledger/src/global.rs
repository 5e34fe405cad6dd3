//! The two levels of logs: one of each organisation, and the global log whose leaves are their checkpoints.
//!
//! A witness follows the global log alone, however many organisations there are, and an organisation proves its records without
//! showing another's. `docs/format.md` says the same in words.

mod file_name;
mod link;
mod origin;
mod text;

pub use file_name::CheckpointFile;
pub use link::{Link, LinkError};
pub use origin::{Incarnation, Origin, OriginError};
pub use text::{checkpoint, continues, sealed_at};

/// Under this id the global log is stored beside those of the organisations: the Max UUID (RFC 9562 §5.10).
pub const GLOBAL: [u8; 16] = [0xff; 16];
