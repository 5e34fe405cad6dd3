//! Reading nodes, roots and proofs out of tiles.

use std::cell::RefCell;
use std::collections::HashMap;

use super::{TILE_HEIGHT, TILE_WIDTH, perfect_root, tile_width};
use crate::hash::Hash;
use crate::merkle::{self, NodeSource, ProofError};

/// Where tiles are stored.
pub trait TileSource {
    /// The first `width` hashes of tile `index` of level `level`. A tile that has grown since may be
    /// returned whole: what is past `width` is not looked at. None when the tile is not stored.
    fn tile(&self, level: u8, index: u64, width: u16) -> Option<Vec<Hash>>;
}

/// Tiles by level and index; none where the source has none.
type Fetched = HashMap<(u8, u64), Option<Vec<Hash>>>;

/// The tree of the first `size` leaves in a [`TileSource`]. `size` may lie in the past of the stored
/// tree. Each tile is fetched once and kept, and a proof needs O(log size) of them.
pub struct Tiles<'a, S: TileSource + ?Sized> {
    source: &'a S,
    size: u64,
    fetched: RefCell<Fetched>,
}

impl<'a, S: TileSource + ?Sized> Tiles<'a, S> {
    /// The tree of the first `size` leaves.
    pub fn new(source: &'a S, size: u64) -> Self {
        Tiles {
            source,
            size,
            fetched: RefCell::default(),
        }
    }

    /// The root of the tree (RFC 6962 §2.1).
    ///
    /// # Errors
    /// [`ProofError::MissingNode`] when a tile is not stored.
    pub fn root(&self) -> Result<Hash, ProofError> {
        merkle::root_at(self, self.size)
    }

    /// The audit path of leaf `index`, from the leaf's sibling up (RFC 6962 §2.1.1).
    ///
    /// # Errors
    /// [`ProofError::IndexOutOfRange`]; [`ProofError::MissingNode`] when a tile is not stored.
    pub fn inclusion_proof(&self, index: u64) -> Result<Vec<Hash>, ProofError> {
        merkle::inclusion_proof(self, index, self.size)
    }

    /// The proof that the tree of the first `size1` leaves is the beginning of this one
    /// (RFC 6962 §2.1.2).
    ///
    /// # Errors
    /// [`ProofError::EmptyTree`], [`ProofError::SizesReversed`]; [`ProofError::MissingNode`] when a tile
    /// is not stored.
    pub fn consistency_proof(&self, size1: u64) -> Result<Vec<Hash>, ProofError> {
        merkle::consistency_proof(self, size1, self.size)
    }
}

impl<S: TileSource + ?Sized> NodeSource for Tiles<'_, S> {
    fn node(&self, level: u8, index: u64) -> Option<Hash> {
        let tile_level = level / TILE_HEIGHT;
        let height = u32::from(level % TILE_HEIGHT);
        let per_tile = u64::from(TILE_WIDTH) >> height;
        let tile_index = index / per_tile;
        let first = ((index % per_tile) << height) as usize;

        let mut fetched = self.fetched.borrow_mut();
        let hashes = fetched.entry((tile_level, tile_index)).or_insert_with(|| {
            let width = tile_width(tile_level, tile_index, self.size);
            let mut hashes = self
                .source
                .tile(tile_level, tile_index, width)
                .filter(|_| width > 0)?;
            hashes.truncate(usize::from(width));
            Some(hashes)
        });
        perfect_root(hashes.as_deref()?.get(first..first + (1 << height))?)
    }
}
