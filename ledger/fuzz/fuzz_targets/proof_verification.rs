//! Proofs from strangers: no panic, no proof of what no hash leads to, no tile path with two spellings.

#![no_main]

use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::merkle::{root_from_inclusion, verify_consistency, verify_inclusion};
use batchcortex_ledger::tile::{TileId, right_edge, tile_width};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(tile) = std::str::from_utf8(bytes).ok().and_then(TileId::parse) {
        assert_eq!(tile.to_string().as_bytes(), bytes);
    }
    let Some((first, rest)) = bytes.split_first_chunk() else {
        return;
    };
    let Some((second, rest)) = rest.split_first_chunk() else {
        return;
    };
    let (a, b) = (u64::from_be_bytes(*first), u64::from_be_bytes(*second));
    for tile in right_edge(a) {
        assert_eq!(tile.width, tile_width(tile.level, tile.index, a));
    }
    // One byte a hash: the shape of a proof matters here, not its values.
    let proof: Vec<Hash> = rest.iter().take(200).map(|byte| [*byte; 32]).collect();
    let (leaf, root) = ([1; 32], [2; 32]);
    assert!(verify_inclusion(a, b, &leaf, &proof, &root).is_err());
    assert!(verify_consistency(a, b, &leaf, &root, &proof).is_err());
    if let Ok(root) = root_from_inclusion(a, b, &leaf, &proof) {
        assert!(verify_inclusion(a, b, &leaf, &proof, &root).is_ok());
        assert!(proof.is_empty() || verify_inclusion(a, b, &leaf, &proof[1..], &root).is_err());
    }
});
