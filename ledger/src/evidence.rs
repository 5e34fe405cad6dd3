//! Evidence: records of one organisation with everything that proves them, in one file of JSON Lines.
//!
//! ```text
//! {"evidence":"batchcortex/v1","origin":"…","scope":"all","exported_at":"…"}
//! {"subtree":{"first":0,"level":12,"hash":"…"}}                 leaves that are not part of the evidence
//! {"leaf":{"index":4096,"hash":"…","preimage":"…"}}             a record
//! {"opening":{"index":4096,"field":"after.username","salt":"…","value":"…"}}  a value that it commits to
//! {"missing":{"index":4097,"hash":"…","record":"event …"}}      a leaf whose record the database no longer has
//! {"checkpoint":"…"}                                            the organisation's log, its size and root
//! {"inclusion":{"index":17,"path":["…"]}}                       that checkpoint in the global log
//! {"consistency":{"size":9,"path":["…"]}}                       an earlier state of the global log
//! {"global":"…"}                                                the global log, signed and cosigned
//! ```
//!
//! The file is a walk over the organisation's tree from the first leaf to the last. What is not shown is
//! replaced by the roots of perfect, aligned subtrees, so that a [`Verifier`] keeps a compact range and
//! needs O(log n) memory however long the file is.
//!
//! A line has one spelling, that of [`Line`]'s `Display`: anything else is unreadable. So every byte of
//! a file either is covered by a hash or a signature, or is one of the few that nothing vouches for:
//! `scope` and `exported_at` in the first line, signatures by keys that the verifier was not given, and
//! proofs of consistency with sizes that it was not asked about. See `docs/format.md`.

mod finding;
mod hex;
mod line;
mod show;
mod text;
mod trust;
mod verify;
mod walk;

pub use finding::{Finding, FindingKind, Unreadable};
pub use hex::{decode as decode_hex, encode as encode_hex};
pub use line::{Header, Line, LineError, MAX_LINE, leaf_line};
pub use show::{record_name, show, unix_time};
pub use text::{Scope, instant, is_instant};
pub use trust::{GlobalCheckpoint, OldCheckpoint, Trust, TrustError};
pub use verify::{Leaf, Report, Verifier};
pub use walk::subtrees;
