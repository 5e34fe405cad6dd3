//! Compact ranges: all that is needed of a tree to extend it and to know its root.

use super::ProofError;
use crate::hash::{Hash, empty_root, node_hash};

/// The roots of the perfect subtrees that a tree consists of, from the left (largest) to the right:
/// one for each bit set in the size. Leaves are appended in O(1) hashes on average; the root of every
/// size on the way costs O(log size).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    nodes: Vec<Hash>,
}

impl CompactRange {
    /// The range of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The range of a tree of `size` leaves from the nodes that [`nodes`](Self::nodes) gave.
    ///
    /// # Errors
    /// [`ProofError::WrongNodes`] unless there is one node for each bit set in `size`;
    /// [`ProofError::TooLarge`] from 2^63 leaves.
    pub fn from_nodes(size: u64, nodes: Vec<Hash>) -> Result<Self, ProofError> {
        if i64::try_from(size).is_err() {
            return Err(ProofError::TooLarge);
        }
        let expected = size.count_ones() as usize;
        if nodes.len() != expected {
            return Err(ProofError::WrongNodes {
                size,
                expected,
                found: nodes.len(),
            });
        }
        Ok(CompactRange { size, nodes })
    }

    /// Appends a leaf by its hash.
    pub fn append(&mut self, leaf: Hash) {
        let mut node = leaf;
        // Each trailing one bit is a perfect subtree that the new one completes.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.nodes.push(node);
        self.size = self.size.wrapping_add(1);
    }

    /// Appends 2^`level` leaves by the root of their perfect subtree.
    ///
    /// # Errors
    /// [`ProofError::Misaligned`] unless the size is a multiple of 2^`level`; [`ProofError::TooLarge`].
    pub fn append_subtree(&mut self, level: u8, root: Hash) -> Result<(), ProofError> {
        let width = 1u64.checked_shl(u32::from(level)).ok_or(ProofError::TooLarge)?;
        if !self.size.is_multiple_of(width) {
            return Err(ProofError::Misaligned {
                size: self.size,
                level,
            });
        }
        let size = self.size.checked_add(width);
        let size = size
            .filter(|size| i64::try_from(*size).is_ok())
            .ok_or(ProofError::TooLarge)?;
        let mut node = root;
        for _ in 0..(self.size >> level).trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.nodes.push(node);
        self.size = size;
        Ok(())
    }

    /// The Merkle Tree Hash of the leaves so far (RFC 6962 §2.1).
    pub fn root(&self) -> Hash {
        let mut nodes = self.nodes.iter().rev();
        match nodes.next() {
            None => empty_root(),
            Some(last) => nodes.fold(*last, |right, left| node_hash(left, &right)),
        }
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, from the left.
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }
}

impl Extend<Hash> for CompactRange {
    fn extend<T: IntoIterator<Item = Hash>>(&mut self, leaves: T) {
        for leaf in leaves {
            self.append(leaf);
        }
    }
}

/// The Merkle Tree Hash of the leaves with these hashes (RFC 6962 §2.1).
pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut range = CompactRange::new();
    range.extend(leaves.iter().copied());
    range.root()
}
