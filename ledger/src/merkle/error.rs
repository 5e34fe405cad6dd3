//! Why a proof cannot be made, or proves nothing.

/// Why a proof cannot be made, or proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree has no leaf of that index.
    #[error("leaf {index} does not exist in a tree of {size} leaves")]
    IndexOutOfRange {
        /// The index asked for, from 0.
        index: u64,
        /// The number of leaves.
        size: u64,
    },
    /// The older tree is larger than the newer one.
    #[error("a tree of {size1} leaves cannot be the beginning of one of {size2}")]
    SizesReversed {
        /// The size of the older tree.
        size1: u64,
        /// The size of the newer tree.
        size2: u64,
    },
    /// The older tree is empty: it is the beginning of every tree, and a proof of that says nothing.
    #[error("a consistency proof from the empty tree proves nothing")]
    EmptyTree,
    /// The proof has more or fewer hashes than the tree's shape asks for.
    #[error("the proof has {found} hashes, the shape of the tree asks for {expected}")]
    WrongLength {
        /// The number of hashes that the tree's shape asks for.
        expected: usize,
        /// The number of hashes given.
        found: usize,
    },
    /// The proof does not lead to the root (or, for consistency, not to the older root).
    #[error("the proof does not lead to the given root")]
    RootMismatch,
    /// The stored tree lacks a node that the proof needs.
    #[error("node {index} of level {level} is missing from the stored tree")]
    MissingNode {
        /// The level, 0 for leaves.
        level: u8,
        /// The index within the level, from 0.
        index: u64,
    },
    /// A compact range needs one node for each bit set in its size.
    #[error("a range of {size} leaves needs {expected} nodes, found {found}")]
    WrongNodes {
        /// The number of leaves.
        size: u64,
        /// The number of nodes that the size asks for.
        expected: usize,
        /// The number of nodes given.
        found: usize,
    },
    /// A perfect subtree begins at a multiple of its width.
    #[error("a subtree of 2^{level} leaves cannot follow {size} leaves")]
    Misaligned {
        /// The number of leaves before it.
        size: u64,
        /// The subtree's level.
        level: u8,
    },
    /// The tree has more than 2^63 - 1 leaves, which PostgreSQL's bigint cannot count.
    #[error("a tree has at most 2^63 - 1 leaves")]
    TooLarge,
}
