//! Tiles: paths, widths, appends and proofs against the tree built whole.

mod common;

use std::cell::Cell;
use std::collections::HashMap;

use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::merkle::{ProofError, verify_consistency, verify_inclusion};
use batchcortex_ledger::tile::{
    self, Appended, Tile, TileError, TileId, TileSource, Tiles, compact_range, hashes_of, right_edge,
    tile_width,
};
use common::{leaves, mth, path, proof};
use proptest::prelude::*;

/// Keeps the newest form of each tile, as the database does, and counts what is read.
#[derive(Default)]
struct Store {
    tiles: HashMap<(u8, u64), Vec<Hash>>,
    size: u64,
    edge: Vec<Vec<Hash>>,
    tiles_read: Cell<usize>,
}

impl Store {
    fn append(&mut self, leaves: &[Hash]) -> Appended {
        let appended = tile::append(self.size, &self.edge, leaves).expect("the edge fits");
        for tile in &appended.tiles {
            self.tiles.insert((tile.level, tile.index), tile.hashes.clone());
        }
        self.size = appended.size;
        self.edge = appended.edge.clone();
        appended
    }
}

impl TileSource for Store {
    fn tile(&self, level: u8, index: u64, width: u16) -> Option<Vec<Hash>> {
        self.tiles_read.set(self.tiles_read.get() + 1);
        self.tiles
            .get(&(level, index))
            .filter(|hashes| hashes.len() >= usize::from(width))
            .cloned()
    }
}

#[test]
fn paths_are_those_of_tlog_tiles() {
    let cases = [
        (
            TileId {
                level: 0,
                index: 1_234_067,
                width: 256,
            },
            "tile/0/x001/x234/067",
        ),
        (
            TileId {
                level: 0,
                index: 273,
                width: 112,
            },
            "tile/0/273.p/112",
        ),
        (
            TileId {
                level: 2,
                index: 0,
                width: 1,
            },
            "tile/2/000.p/1",
        ),
        (
            TileId {
                level: 63,
                index: 999,
                width: 256,
            },
            "tile/63/999",
        ),
        (
            TileId {
                level: 1,
                index: 1000,
                width: 256,
            },
            "tile/1/x001/000",
        ),
        (
            TileId {
                level: 0,
                index: u64::MAX,
                width: 255,
            },
            "tile/0/x018/x446/x744/x073/x709/x551/615.p/255",
        ),
    ];
    for (tile, path) in cases {
        assert_eq!(tile.to_string(), path);
        assert_eq!(TileId::parse(path), Some(tile));
    }
    for path in [
        "",
        "/tile/0/000",
        "tile/0",
        "tile/0/",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/x000/001",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/0000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/+01",
        "tile/0/000/",
        "tile/entries/000",
        "tile/0/ 00",
        "tile/0/x1/000",
        "tile/0/é0",
    ] {
        assert_eq!(TileId::parse(path), None, "{path:?}");
    }
}

#[test]
fn the_specification_s_example_of_70000_leaves() {
    let size = 70_000;
    assert_eq!(tile_width(0, 272, size), 256);
    assert_eq!(tile_width(0, 273, size), 112);
    assert_eq!(tile_width(0, 274, size), 0);
    assert_eq!(tile_width(1, 0, size), 256);
    assert_eq!(tile_width(1, 1, size), 17);
    assert_eq!(tile_width(2, 0, size), 1);
    assert_eq!(tile_width(3, 0, size), 0);
    let edge: Vec<String> = right_edge(size).map(|tile| tile.to_string()).collect();
    assert_eq!(edge, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
    let edge: Vec<String> = right_edge(256).map(|tile| tile.to_string()).collect();
    assert_eq!(edge, ["tile/1/000.p/1"]);
    assert_eq!(right_edge(0).count(), 0);
    assert_eq!(right_edge(u64::MAX).count(), 8);
}

#[test]
fn a_tree_of_70000_leaves_in_uneven_steps() {
    let all = leaves(70_000);
    let mut store = Store::default();
    let mut step = 1;
    while store.size < all.len() as u64 {
        let start = store.size as usize;
        let end = (start + step).min(all.len());
        let appended = store.append(&all[start..end]);
        assert_eq!(appended.size, end as u64);
        // The tiles that the tree's shape names, at the widths that it names, and no others.
        for tile in &appended.tiles {
            assert_eq!(
                tile.hashes.len(),
                usize::from(tile_width(tile.level, tile.index, appended.size))
            );
        }
        let most = (end - start) / 255 + 8;
        assert!(
            appended.tiles.len() <= most,
            "{} tiles for {} leaves",
            appended.tiles.len(),
            end - start
        );
        step = step * 5 / 3 + 1;
    }
    assert_eq!(store.tiles.len(), 274 + 2 + 1);
    let hashes: usize = store.tiles.values().map(Vec::len).sum();
    assert!(hashes * 32 < all.len() * 33, "tiles take {} bytes", hashes * 32);
    let last = &store.tiles[&(0, 273)];
    assert_eq!(last.len(), 112);
    assert_eq!(last[111], all[69_999]);
    assert_eq!(store.tiles[&(1, 0)][3], mth(&all[3 * 256..4 * 256]));
    assert_eq!(store.tiles[&(2, 0)][0], mth(&all[..65_536]));
    assert_eq!(Tiles::new(&store, 70_000).root().unwrap(), mth(&all));
    assert_eq!(Tiles::new(&store, 65_537).root().unwrap(), mth(&all[..65_537]));

    // Proofs of the present and of the past read a handful of tiles.
    for (index, size) in [
        (0, 70_000),
        (69_999, 70_000),
        (65_535, 65_536),
        (12_345, 54_321),
        (0, 1),
    ] {
        store.tiles_read.set(0);
        let made = Tiles::new(&store, size).inclusion_proof(index).unwrap();
        assert!(
            store.tiles_read.get() <= 5,
            "{} tiles read",
            store.tiles_read.get()
        );
        verify_inclusion(
            index,
            size,
            &all[index as usize],
            &made,
            &mth(&all[..size as usize]),
        )
        .unwrap();
    }
    for (size1, size2) in [(1, 70_000), (65_536, 70_000), (54_321, 65_537), (69_999, 70_000)] {
        store.tiles_read.set(0);
        let made = Tiles::new(&store, size2).consistency_proof(size1).unwrap();
        assert!(
            store.tiles_read.get() <= 8,
            "{} tiles read",
            store.tiles_read.get()
        );
        let roots = (mth(&all[..size1 as usize]), mth(&all[..size2 as usize]));
        verify_consistency(size1, size2, &roots.0, &roots.1, &made).unwrap();
    }
}

#[test]
fn an_edge_that_does_not_fit_is_refused() {
    let one = leaves(1);
    let edge = |level, expected, found, size| {
        Err(TileError::EdgeWidth {
            level,
            size,
            expected,
            found,
        })
    };
    assert_eq!(tile::append(1, &[], &one), edge(0, 1, 0, 1));
    assert_eq!(
        tile::append(0, std::slice::from_ref(&one), &one),
        edge(0, 0, 1, 0)
    );
    assert_eq!(tile::append(256, &[vec![]], &one), edge(1, 1, 0, 256));
    assert_eq!(
        tile::append(0, &[vec![], vec![], one.clone()], &one),
        edge(2, 0, 1, 0)
    );
    assert_eq!(tile::append(0, &vec![vec![]; 40], &[]).unwrap().tiles, []);
    assert!(compact_range(u64::MAX, &[]).is_err());
    let widest: Vec<Vec<Hash>> = (0..8)
        .map(|level| leaves(if level == 7 { 127 } else { 255 }))
        .collect();
    assert_eq!(
        tile::append(i64::MAX as u64, &widest, &one),
        Err(TileError::TooLarge)
    );
    assert_eq!(compact_range(i64::MAX as u64, &widest).unwrap().nodes().len(), 63);
}

#[test]
fn stored_bytes_are_whole_hashes() {
    let tile = Tile {
        level: 0,
        index: 5,
        hashes: leaves(3),
    };
    assert_eq!(tile.bytes().len(), 96);
    assert_eq!(hashes_of(tile.bytes()), Some(tile.hashes.as_slice()));
    assert_eq!(tile.id().to_string(), "tile/0/005.p/3");
    assert_eq!(hashes_of(&[]), None);
    assert_eq!(hashes_of(&[0; 33]), None);
    assert_eq!(hashes_of(&[0; 32 * 257]), None);
    assert!(hashes_of(&[0; 32 * 256]).is_some());
}

#[test]
fn a_missing_tile_is_named_and_a_short_one_is_no_panic() {
    let mut store = Store::default();
    store.append(&leaves(300));
    store.tiles.remove(&(0, 1));
    assert_eq!(
        Tiles::new(&store, 300).inclusion_proof(0),
        Err(ProofError::MissingNode { level: 2, index: 74 })
    );

    struct Short;
    impl TileSource for Short {
        fn tile(&self, _: u8, _: u64, _: u16) -> Option<Vec<Hash>> {
            Some(vec![[0; 32]])
        }
    }
    assert!(Tiles::new(&Short, 300).root().is_err());
    assert!(Tiles::new(&Short, u64::MAX).inclusion_proof(77).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn appends_and_proofs_agree_with_the_rfc(
        steps in proptest::collection::vec(0usize..700, 1..6), at in any::<prop::sample::Index>(),
        past in any::<prop::sample::Index>(), older in any::<prop::sample::Index>(),
    ) {
        let all = leaves(steps.iter().sum::<usize>() + 1);
        let mut store = Store::default();
        store.append(&all[..1]);
        for step in steps {
            let start = store.size as usize;
            let mut range = compact_range(store.size, &store.edge).unwrap();
            let appended = store.append(&all[start..start + step]);
            prop_assert_eq!(appended.root, mth(&all[..start + step]));
            prop_assert_eq!(appended.tiles.is_empty(), step == 0);
            range.extend(all[start..start + step].iter().copied());
            prop_assert_eq!(range.root(), appended.root);
        }
        let size = past.index(all.len()) + 1;
        let tree = &all[..size];
        let tiles = Tiles::new(&store, size as u64);
        prop_assert_eq!(tiles.root().unwrap(), mth(tree));
        let index = at.index(size);
        prop_assert_eq!(tiles.inclusion_proof(index as u64).unwrap(), path(index, tree));
        let older = older.index(size) + 1;
        prop_assert_eq!(tiles.consistency_proof(older as u64).unwrap(), proof(older, tree));
    }

    #[test]
    fn tile_paths_read_back(level in 0u8..=63, index in any::<u64>(), width in 1u16..=256) {
        let tile = TileId { level, index, width };
        prop_assert_eq!(TileId::parse(&tile.to_string()), Some(tile));
    }

    #[test]
    fn no_path_makes_the_parser_panic(path in "(tile/)?[0-9x/.p€-]{0,30}") {
        if let Some(tile) = TileId::parse(&path) {
            prop_assert_eq!(tile.to_string(), path);
        }
    }
}
