//! Extending a tree of tiles.

use super::{TILE_HEIGHT, TILE_WIDTH, Tile, TileError, perfect_root};
use crate::hash::Hash;
use crate::merkle::CompactRange;

/// What an append changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The number of leaves now.
    pub size: u64,
    /// The root of the tree now (RFC 6962 §2.1).
    pub root: Hash,
    /// The tiles that are new or have grown, by level and index. A tile that has grown replaces the
    /// partial tile of the same level and index.
    pub tiles: Vec<Tile>,
    /// The right edge now, for the next append.
    pub edge: Vec<Vec<Hash>>,
}

/// Appends leaves to a tree of `size` leaves, by their hashes.
///
/// `edge` holds, level by level from 0, the hashes of the partial tile at the right end; an empty
/// vector where the level's last tile is full. Levels above the last need not be given. The cost is
/// O(new leaves + log size): one hash a leaf, and one edge tile a level for the root.
///
/// # Errors
/// [`TileError::EdgeWidth`] when the edge does not fit the size; [`TileError::TooLarge`].
pub fn append(size: u64, edge: &[Vec<Hash>], leaves: &[Hash]) -> Result<Appended, TileError> {
    check_edge(size, edge)?;
    let size_now = size
        .checked_add(leaves.len() as u64)
        .filter(|size| i64::try_from(*size).is_ok())
        .ok_or(TileError::TooLarge)?;

    let full = usize::from(TILE_WIDTH);
    let mut tiles = Vec::with_capacity(leaves.len() / full + usize::from(super::MAX_LEVELS));
    let mut edge = edge.to_vec();
    let mut incoming = leaves.to_vec();
    let mut level = 0u8;
    while !incoming.is_empty() {
        if edge.len() <= usize::from(level) {
            edge.push(Vec::new());
        }
        let partial = &mut edge[usize::from(level)];
        let mut index = size
            .checked_shr(u32::from(level + 1) * u32::from(TILE_HEIGHT))
            .unwrap_or(0);
        let mut above = Vec::with_capacity(incoming.len() / full + 1);
        let mut rest = incoming.as_slice();
        while !rest.is_empty() {
            let (taken, left) = rest.split_at(rest.len().min(full - partial.len()));
            partial.extend_from_slice(taken);
            rest = left;
            if partial.len() == full {
                above.extend(perfect_root(partial));
                tiles.push(Tile {
                    level,
                    index,
                    hashes: std::mem::take(partial),
                });
                index += 1;
            } else {
                tiles.push(Tile {
                    level,
                    index,
                    hashes: partial.clone(),
                });
            }
        }
        incoming = above;
        level += 1;
    }

    let root = compact_range(size_now, &edge)?.root();
    Ok(Appended {
        size: size_now,
        root,
        tiles,
        edge,
    })
}

/// The compact range of a tree of `size` leaves from its right edge (as for [`append`]): the way to the
/// root of every size while leaves stream in.
///
/// # Errors
/// [`TileError::EdgeWidth`] when the edge does not fit the size; [`TileError::TooLarge`].
pub fn compact_range(size: u64, edge: &[Vec<Hash>]) -> Result<CompactRange, TileError> {
    check_edge(size, edge)?;
    let mut nodes = Vec::with_capacity(size.count_ones() as usize);
    // A partial tile of w hashes holds the subtrees of the eight size bits of its level.
    for partial in edge.iter().rev() {
        let mut range = CompactRange::new();
        range.extend(partial.iter().copied());
        nodes.extend_from_slice(range.nodes());
    }
    CompactRange::from_nodes(size, nodes).map_err(|_| TileError::TooLarge)
}

fn check_edge(size: u64, edge: &[Vec<Hash>]) -> Result<(), TileError> {
    for level in 0..edge.len().max(usize::from(super::MAX_LEVELS)) {
        let nodes = u32::try_from(level * usize::from(TILE_HEIGHT))
            .ok()
            .and_then(|shift| size.checked_shr(shift))
            .unwrap_or(0);
        let expected = (nodes % u64::from(TILE_WIDTH)) as usize;
        let found = edge.get(level).map_or(0, Vec::len);
        if found != expected {
            return Err(TileError::EdgeWidth {
                level,
                size,
                expected,
                found,
            });
        }
    }
    Ok(())
}
