//! Hashes of the Merkle tree: RFC 6962 §2.1 over SHA-256.
//!
//! Leaves and inner nodes carry different first bytes, so that no inner node can be passed off as a
//! leaf (second-preimage resistance, RFC 6962 §2.1).

use sha2::{Digest, Sha256};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// First byte of what a leaf hash covers (RFC 6962 §2.1).
pub const LEAF_PREFIX: u8 = 0x00;

/// First byte of what a node hash covers (RFC 6962 §2.1).
pub const NODE_PREFIX: u8 = 0x01;

/// The hash of a leaf: SHA-256(0x00 ‖ preimage), RFC 6962 §2.1.
pub fn leaf_hash(preimage: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([LEAF_PREFIX]);
    hasher.update(preimage);
    hasher.finalize().into()
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right), RFC 6962 §2.1.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    // One contiguous input: three small updates cost more than this copy.
    let mut input = [NODE_PREFIX; 65];
    input[1..33].copy_from_slice(left);
    input[33..].copy_from_slice(right);
    Sha256::digest(input).into()
}

/// The root of the tree without leaves: SHA-256 of nothing (RFC 6962 §2.1).
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}
