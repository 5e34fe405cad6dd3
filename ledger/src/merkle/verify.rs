//! Verification of proofs: RFC 9162 §2.1.3.2 and §2.1.4.2. Proofs come from strangers: sizes, indices
//! and lengths are taken as hostile.

use super::ProofError;
use crate::hash::{Hash, node_hash};

/// Checks that the leaf with hash `leaf` is leaf `leaf_index` (from 0) of the tree of `size` leaves
/// that has this root. The proof goes from the leaf's sibling up (RFC 9162 §2.1.3.2).
///
/// # Errors
/// [`ProofError`] when the proof does not show that.
pub fn verify_inclusion(
    leaf_index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    same(&root_from_inclusion(leaf_index, size, leaf, proof)?, root)
}

/// The root that an inclusion proof leads to: what [`verify_inclusion`] compares.
///
/// # Errors
/// [`ProofError`] when the leaf does not exist or the proof's length does not fit the tree.
pub fn root_from_inclusion(
    leaf_index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
) -> Result<Hash, ProofError> {
    if leaf_index >= size {
        return Err(ProofError::IndexOutOfRange {
            index: leaf_index,
            size,
        });
    }
    expect_length(inclusion_length(leaf_index, size), proof)?;
    let mut node = leaf_index;
    let mut last = size - 1;
    let mut hash = *leaf;
    for sibling in proof {
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // A last node without a right sibling rises until it is a right child.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    Ok(hash)
}

/// Checks that the tree of `size1` leaves and root `root1` is the beginning of the tree of `size2`
/// leaves and root `root2` (RFC 9162 §2.1.4.2). For equal sizes the proof is empty and the roots are
/// the same.
///
/// # Errors
/// [`ProofError`] when the proof does not show that.
pub fn verify_consistency(
    size1: u64,
    size2: u64,
    root1: &Hash,
    root2: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if size1 > size2 {
        return Err(ProofError::SizesReversed { size1, size2 });
    }
    if size1 == 0 {
        return Err(ProofError::EmptyTree);
    }
    if size1 == size2 {
        expect_length(0, proof)?;
        return same(root1, root2);
    }
    expect_length(consistency_length(size1, size2), proof)?;
    let mut node = size1 - 1;
    let mut last = size2 - 1;
    let risen = node.trailing_ones();
    node >>= risen;
    last >>= risen;
    // A complete older tree is itself the first node; the proof then leaves it out.
    let (seed, rest) = match proof.split_first() {
        Some((first, rest)) if !size1.is_power_of_two() => (*first, rest),
        _ => (*root1, proof),
    };
    let (mut older, mut newer) = (seed, seed);
    for sibling in rest {
        if node & 1 == 1 || node == last {
            older = node_hash(sibling, &older);
            newer = node_hash(sibling, &newer);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            newer = node_hash(&newer, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    same(&older, root1)?;
    same(&newer, root2)
}

fn same(found: &Hash, expected: &Hash) -> Result<(), ProofError> {
    if found == expected {
        Ok(())
    } else {
        Err(ProofError::RootMismatch)
    }
}

fn expect_length(expected: usize, proof: &[Hash]) -> Result<(), ProofError> {
    if proof.len() == expected {
        Ok(())
    } else {
        Err(ProofError::WrongLength {
            expected,
            found: proof.len(),
        })
    }
}

/// Siblings on the way up: every level below the one where the paths of the leaf and of the last leaf
/// meet has one, and above it there is one for each left neighbour.
fn inclusion_length(index: u64, size: u64) -> usize {
    let inner = bits(index ^ (size - 1));
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    (inner + border) as usize
}

/// As for the inclusion of the older tree's last perfect subtree, and that subtree itself unless the
/// verifier has it already.
fn consistency_length(size1: u64, size2: u64) -> usize {
    let level = size1.trailing_zeros();
    let path = inclusion_length((size1 - 1) >> level, ((size2 - 1) >> level) + 1);
    path + usize::from(!size1.is_power_of_two())
}

fn bits(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}
