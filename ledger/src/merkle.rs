//! Merkle trees of RFC 6962 §2.1: roots, proofs and their verification.
//!
//! Indices and sizes count leaves, from 0. A node is named by its level (0 for leaves) and its index
//! within the level: node (level, index) is the root of the leaves
//! `index << level .. (index + 1) << level`, all of them present.

mod compact_range;
mod error;
mod prove;
mod verify;

pub use compact_range::{CompactRange, root_of};
pub use error::ProofError;
pub use prove::{NodeSource, consistency_proof, inclusion_proof, range_at, root_at};
pub use verify::{root_from_inclusion, verify_consistency, verify_inclusion};
