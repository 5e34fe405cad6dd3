//! Inclusion and consistency proofs (RFC 6962 §2.1.1, §2.1.2), made from the stored tiles and checked without them.

use crate::ask;
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::merkle::{self, CompactRange, NodeSource};
use batchcortex_ledger::tile::{self, TileSource, Tiles};
use pgrx::datum::{Array, Uuid};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// The compact range of the first `size` leaves of a log; none when the stored tree is smaller or damaged.
pub fn stored_range(org_id: Uuid, size: u64) -> Option<CompactRange> {
    let source = StoredTiles::reaching(org_id, i64::try_from(size).ok()?)?;
    merkle::range_at(&Tiles::new(&source, size), size).ok()
}

/// Whether a full tile of level 0, given by its root, is the one at `index` of the first `tiles` tiles, whose compact range has the root `whole`.
pub fn is_tile_of(org_id: Uuid, index: u64, tiles: u64, root: &Hash, whole: &Hash) -> bool {
    let source = StoredTiles { org_id };
    let stored = FullTiles(Tiles::new(&source, tiles * u64::from(tile::TILE_WIDTH)));
    merkle::inclusion_proof(&stored, index, tiles)
        .is_ok_and(|proof| merkle::verify_inclusion(index, tiles, root, &proof, whole).is_ok())
}

/// A tree whose leaves are the roots of full tiles.
struct FullTiles<'a>(Tiles<'a, StoredTiles>);

impl NodeSource for FullTiles<'_> {
    fn node(&self, level: u8, index: u64) -> Option<Hash> {
        self.0.node(level.checked_add(tile::TILE_HEIGHT)?, index)
    }
}

/// The tiles of one organisation, as the caller may see them.
pub struct StoredTiles {
    org_id: Uuid,
}

impl StoredTiles {
    /// The tiles of a tree that is known to be there.
    pub fn of(org_id: Uuid) -> Self {
        StoredTiles { org_id }
    }

    /// None when the tree is smaller: the proof of a tree of one leaf is empty and would read no tile.
    fn reaching(org_id: Uuid, size: i64) -> Option<Self> {
        let enough: Option<bool> = ask::one(
            "select exists (select from batchcortex.ledger_tree where org_id = $1 and size >= $2)",
            &[org_id.into(), size.into()],
        );
        (enough == Some(true)).then_some(StoredTiles { org_id })
    }
}

impl TileSource for StoredTiles {
    fn tile(&self, level: u8, index: u64, width: u16) -> Option<Vec<Hash>> {
        Spi::connect(|client| {
            let row = client
                .select(
                    "select hashes from batchcortex.ledger_tile where org_id = $1 and level = $2 and tile_index = $3",
                    Some(1),
                    &[self.org_id.into(), i16::from(level).into(), i64::try_from(index).ok()?.into()],
                )
                .unwrap_or_report()
                .next()?;
            let hashes = tile::hashes_of(row.get::<&[u8]>(1).unwrap_or_report()?)?;
            (hashes.len() >= usize::from(width)).then(|| hashes.to_vec())
        })
    }
}

/// Behind inclusion_proof: null when the index is not below the size, or the stored tree is smaller or damaged.
#[pg_extern(stable, strict, parallel_restricted)]
#[search_path(pg_catalog, pg_temp)]
pub fn make_inclusion_proof(org: Uuid, leaf_index: i64, tree_size: i64) -> Option<Vec<Vec<u8>>> {
    let (index, size) = (u64::try_from(leaf_index).ok()?, u64::try_from(tree_size).ok()?);
    let source = StoredTiles::reaching(org, tree_size)?;
    let proof = Tiles::new(&source, size).inclusion_proof(index).ok()?;
    Some(proof.into_iter().map(|hash| hash.to_vec()).collect())
}

/// Behind consistency_proof: null when the sizes are not in order, or the stored tree is smaller or damaged.
#[pg_extern(stable, strict, parallel_restricted)]
#[search_path(pg_catalog, pg_temp)]
pub fn make_consistency_proof(org: Uuid, size1: i64, size2: i64) -> Option<Vec<Vec<u8>>> {
    let source = StoredTiles::reaching(org, size2)?;
    let (size1, size2) = (u64::try_from(size1).ok()?, u64::try_from(size2).ok()?);
    let proof = Tiles::new(&source, size2).consistency_proof(size1).ok()?;
    Some(proof.into_iter().map(|hash| hash.to_vec()).collect())
}

/// Whether a leaf is in a tree: true only for a valid proof, false for anything else, nulls and malformed values included.
#[pg_extern(immutable, parallel_safe)]
pub fn verify_inclusion(
    leaf_index: Option<i64>,
    tree_size: Option<i64>,
    leaf_hash: Option<&[u8]>,
    proof: Option<Array<'_, &[u8]>>,
    root: Option<&[u8]>,
) -> bool {
    let valid = || {
        let (index, size) = (u64::try_from(leaf_index?).ok()?, u64::try_from(tree_size?).ok()?);
        merkle::verify_inclusion(index, size, &hash(leaf_hash)?, &path(proof)?, &hash(root)?).ok()
    };
    valid().is_some()
}

/// Whether the tree of size2 extends that of size1: true only for a valid proof, false for anything else.
#[pg_extern(immutable, parallel_safe)]
pub fn verify_consistency(
    size1: Option<i64>,
    size2: Option<i64>,
    root1: Option<&[u8]>,
    root2: Option<&[u8]>,
    proof: Option<Array<'_, &[u8]>>,
) -> bool {
    let valid = || {
        let (size1, size2) = (u64::try_from(size1?).ok()?, u64::try_from(size2?).ok()?);
        merkle::verify_consistency(size1, size2, &hash(root1)?, &hash(root2)?, &path(proof)?).ok()
    };
    valid().is_some()
}

fn hash(bytes: Option<&[u8]>) -> Option<Hash> {
    bytes?.try_into().ok()
}

fn path(proof: Option<Array<'_, &[u8]>>) -> Option<Vec<Hash>> {
    proof?.iter().map(hash).collect()
}
