//! The tree as tiles: C2SP tlog-tiles.
//!
//! Tile `index` of level `level` holds the hashes of up to 256 neighbouring nodes of tree level
//! `8 * level`: leaf hashes at level 0, and above it one hash for each full tile below. Levels inside
//! a tile are computed, not stored, so that a tree takes a little more than 32 bytes a leaf.

mod append;
mod path;
mod source;

pub use append::{Appended, append, compact_range};
pub use path::TileId;
pub use source::{TileSource, Tiles};

use crate::hash::{Hash, node_hash};

/// The number of hashes in a full tile.
pub const TILE_WIDTH: u16 = 256;

/// The number of tree levels that a tile spans.
pub const TILE_HEIGHT: u8 = 8;

/// The most tile levels that a tree of 2^64 - 1 leaves has.
pub const MAX_LEVELS: u8 = 8;

/// Why tiles do not fit the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// A tile of the right edge has not the width that the tree's size asks for.
    #[error(
        "the last tile of level {level} must have {expected} hashes for a tree of {size} leaves, found {found}"
    )]
    EdgeWidth {
        /// The tile level.
        level: usize,
        /// The number of leaves.
        size: u64,
        /// The number of hashes that the size asks for.
        expected: usize,
        /// The number of hashes given.
        found: usize,
    },
    /// The tree would have more than 2^63 - 1 leaves, which PostgreSQL's bigint cannot count.
    #[error("a tree has at most 2^63 - 1 leaves")]
    TooLarge,
}

/// A tile with its hashes; its width is their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The tile level: 0 holds leaf hashes.
    pub level: u8,
    /// The index within the level, from 0.
    pub index: u64,
    /// 1 to 256 hashes, from the left.
    pub hashes: Vec<Hash>,
}

impl Tile {
    /// The bytes as stored and served: the hashes one after another.
    pub fn bytes(&self) -> &[u8] {
        self.hashes.as_flattened()
    }

    /// Where the tile is served.
    pub fn id(&self) -> TileId {
        TileId {
            level: self.level,
            index: self.index,
            width: self.hashes.len() as u16,
        }
    }
}

/// The hashes of a stored tile; none unless the bytes are 1 to 256 whole hashes.
pub fn hashes_of(bytes: &[u8]) -> Option<&[Hash]> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && (1..=usize::from(TILE_WIDTH)).contains(&hashes.len())).then_some(hashes)
}

/// The number of hashes that tile `index` of level `level` has in a tree of `size` leaves: 256 for a
/// full one, 0 when it does not exist.
pub fn tile_width(level: u8, index: u64, size: u64) -> u16 {
    let nodes = size
        .checked_shr(u32::from(level) * u32::from(TILE_HEIGHT))
        .unwrap_or(0);
    let width = index
        .checked_mul(u64::from(TILE_WIDTH))
        .map_or(0, |start| nodes.saturating_sub(start));
    width.min(u64::from(TILE_WIDTH)) as u16
}

/// The partial tiles at the right end of a tree of `size` leaves, lowest level first: what
/// [`append`](fn@append) needs to go on. Levels whose last tile is full have none.
pub fn right_edge(size: u64) -> impl Iterator<Item = TileId> {
    (0..MAX_LEVELS).filter_map(move |level| {
        let index = size
            .checked_shr(u32::from(level + 1) * u32::from(TILE_HEIGHT))
            .unwrap_or(0);
        let width = tile_width(level, index, size);
        (width > 0).then_some(TileId { level, index, width })
    })
}

/// The root of 1, 2, 4, … 256 hashes; none for another number.
fn perfect_root(hashes: &[Hash]) -> Option<Hash> {
    if !hashes.len().is_power_of_two() {
        return None;
    }
    if let [hash] = hashes {
        return Some(*hash);
    }
    let mut nodes = [[0u8; 32]; TILE_WIDTH as usize / 2];
    let mut width = hashes.len() / 2;
    for (node, pair) in nodes.get_mut(..width)?.iter_mut().zip(hashes.as_chunks::<2>().0) {
        *node = node_hash(&pair[0], &pair[1]);
    }
    while width > 1 {
        width /= 2;
        for index in 0..width {
            nodes[index] = node_hash(&nodes[2 * index], &nodes[2 * index + 1]);
        }
    }
    Some(nodes[0])
}
