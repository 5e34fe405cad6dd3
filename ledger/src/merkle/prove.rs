//! Proofs made from stored nodes: RFC 6962 §2.1.1 and §2.1.2.

use std::ops::Range;

use super::{CompactRange, ProofError};
use crate::hash::{Hash, empty_root, node_hash};

/// A stored tree that gives the roots of its perfect subtrees.
pub trait NodeSource {
    /// The root of the leaves `index << level .. (index + 1) << level`; none when it is not stored.
    fn node(&self, level: u8, index: u64) -> Option<Hash>;
}

/// Leaf hashes in memory.
impl NodeSource for [Hash] {
    fn node(&self, level: u8, index: u64) -> Option<Hash> {
        let width = 1usize.checked_shl(u32::from(level))?;
        let start = usize::try_from(index).ok()?.checked_mul(width)?;
        let leaves = self.get(start..start.checked_add(width)?)?;
        Some(super::root_of(leaves))
    }
}

/// The root of the first `size` leaves (RFC 6962 §2.1), from O(log size) nodes.
///
/// # Errors
/// [`ProofError::MissingNode`] when a node is not stored.
pub fn root_at<S: NodeSource + ?Sized>(source: &S, size: u64) -> Result<Hash, ProofError> {
    match size {
        0 => Ok(empty_root()),
        _ => range_root(source, 0..size),
    }
}

/// The compact range of the first `size` leaves, from the nodes for the bits set in `size`.
///
/// # Errors
/// [`ProofError::MissingNode`] when a node is not stored; [`ProofError::TooLarge`] from 2^63 leaves.
pub fn range_at<S: NodeSource + ?Sized>(source: &S, size: u64) -> Result<CompactRange, ProofError> {
    let mut nodes = Vec::new();
    let mut start = 0;
    for level in (0..64u8).rev().filter(|level| size >> level & 1 == 1) {
        let index = start >> level;
        let node = source.node(level, index);
        nodes.push(node.ok_or(ProofError::MissingNode { level, index })?);
        start += 1 << level;
    }
    CompactRange::from_nodes(size, nodes)
}

/// The audit path of leaf `index` in the tree of the first `size` leaves, from the leaf's sibling up
/// (RFC 6962 §2.1.1), from O(log size) nodes. `size` may lie in the past of the stored tree.
///
/// # Errors
/// [`ProofError::IndexOutOfRange`]; [`ProofError::MissingNode`] when a node is not stored.
pub fn inclusion_proof<S: NodeSource + ?Sized>(
    source: &S,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutOfRange { index, size });
    }
    // PATH(m, D[n]) from the root down, then turned round.
    let mut proof = Vec::new();
    let mut range = 0..size;
    while range.end - range.start > 1 {
        let middle = range.start + split(range.end - range.start);
        let (sibling, next) = if index < middle {
            (middle..range.end, range.start..middle)
        } else {
            (range.start..middle, middle..range.end)
        };
        proof.push(range_root(source, sibling)?);
        range = next;
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `size1` leaves is the beginning of the tree of `size2` leaves
/// (RFC 6962 §2.1.2), from O(log size2) nodes. Empty for equal sizes.
///
/// # Errors
/// [`ProofError::EmptyTree`] for `size1` 0, [`ProofError::SizesReversed`] when `size1` is larger,
/// [`ProofError::MissingNode`] when a node is not stored.
pub fn consistency_proof<S: NodeSource + ?Sized>(
    source: &S,
    size1: u64,
    size2: u64,
) -> Result<Vec<Hash>, ProofError> {
    if size1 > size2 {
        return Err(ProofError::SizesReversed { size1, size2 });
    }
    if size1 == 0 {
        return Err(ProofError::EmptyTree);
    }
    // SUBPROOF(m, D[n], b) from the root down, then turned round; b says that the verifier already
    // knows the subtree's root, because it is the whole older tree.
    let mut proof = Vec::new();
    let mut range = 0..size2;
    let mut known = true;
    while range.end != size1 {
        let middle = range.start + split(range.end - range.start);
        if size1 <= middle {
            proof.push(range_root(source, middle..range.end)?);
            range.end = middle;
        } else {
            proof.push(range_root(source, range.start..middle)?);
            range.start = middle;
            known = false;
        }
    }
    if !known {
        proof.push(range_root(source, range)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The largest power of two smaller than `size` (RFC 6962 §2.1), for `size` above 1.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// MTH(D[range]) for a range as the recursion of RFC 6962 §2.1 produces it: its start is a multiple
/// of its length rounded up to a power of two, so that each bit of its length is a stored node.
fn range_root<S: NodeSource + ?Sized>(source: &S, range: Range<u64>) -> Result<Hash, ProofError> {
    let mut rest = range.end - range.start;
    let mut end = range.end;
    let mut root: Option<Hash> = None;
    while rest > 0 {
        // From the right, smallest subtree first.
        let level = rest.trailing_zeros() as u8;
        end -= 1 << level;
        rest -= 1 << level;
        let index = end >> level;
        let left = source
            .node(level, index)
            .ok_or(ProofError::MissingNode { level, index })?;
        root = Some(match root {
            None => left,
            Some(right) => node_hash(&left, &right),
        });
    }
    root.ok_or(ProofError::EmptyTree)
}
