//! Roots and proofs against the recursive definitions of RFC 6962 §2.1.

mod common;

use batchcortex_ledger::hash::{Hash, empty_root, leaf_hash};
use batchcortex_ledger::merkle::{
    CompactRange, ProofError, consistency_proof, inclusion_proof, range_at, root_at, root_from_inclusion,
    root_of, verify_consistency, verify_inclusion,
};
use common::{leaves, mth, path, proof};
use proptest::prelude::*;

/// The leaves and roots that Certificate Transparency implementations have used since RFC 6962 as
/// their known answers: one root for each size from 0.
const KNOWN_LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const KNOWN_ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn known_roots() {
    let leaves: Vec<Hash> = KNOWN_LEAVES
        .iter()
        .map(|leaf| leaf_hash(&hex::decode(leaf).unwrap()))
        .collect();
    let mut range = CompactRange::new();
    assert_eq!(hex::encode(empty_root()), KNOWN_ROOTS[0]);
    for size in 0..=leaves.len() {
        assert_eq!(hex::encode(range.root()), KNOWN_ROOTS[size]);
        assert_eq!(hex::encode(root_of(&leaves[..size])), KNOWN_ROOTS[size]);
        assert_eq!(hex::encode(mth(&leaves[..size])), KNOWN_ROOTS[size]);
        leaves.get(size).into_iter().for_each(|leaf| range.append(*leaf));
    }
}

// control: N1
#[test]
fn every_proof_of_small_trees_is_the_rfc_s_and_verifies() {
    let all = leaves(70);
    for size in 1..=all.len() {
        let tree = &all[..size];
        let root = mth(tree);
        assert_eq!(root_at(tree, size as u64), Ok(root));
        assert_eq!(range_at(tree, size as u64).map(|range| range.root()), Ok(root));
        for (index, leaf) in tree.iter().enumerate() {
            let made = inclusion_proof(tree, index as u64, size as u64).unwrap();
            assert_eq!(made, path(index, tree), "leaf {index} of {size}");
            verify_inclusion(index as u64, size as u64, leaf, &made, &root).unwrap();
        }
        for older in 1..=size {
            let made = consistency_proof(tree, older as u64, size as u64).unwrap();
            assert_eq!(made, proof(older, tree), "{older} in {size}");
            verify_consistency(older as u64, size as u64, &mth(&tree[..older]), &root, &made).unwrap();
        }
    }
}

#[test]
fn what_does_not_exist_has_no_proof() {
    let tree = leaves(7);
    let tree = tree.as_slice();
    assert_eq!(
        inclusion_proof(tree, 7, 7),
        Err(ProofError::IndexOutOfRange { index: 7, size: 7 })
    );
    assert_eq!(
        inclusion_proof(tree, 0, 0),
        Err(ProofError::IndexOutOfRange { index: 0, size: 0 })
    );
    assert_eq!(
        inclusion_proof(tree, 0, 9),
        Err(ProofError::MissingNode { level: 0, index: 8 })
    );
    assert_eq!(
        consistency_proof(tree, 3, 2),
        Err(ProofError::SizesReversed { size1: 3, size2: 2 })
    );
    assert_eq!(consistency_proof(tree, 0, 2), Err(ProofError::EmptyTree));
    assert_eq!(root_at(tree, 0), Ok(empty_root()));
    assert!(root_at(tree, u64::MAX).is_err());
    assert!(range_at(tree, u64::MAX).is_err());
    assert!(inclusion_proof(tree, u64::MAX - 1, u64::MAX).is_err());
    assert!(consistency_proof(tree, u64::MAX - 1, u64::MAX).is_err());
}

#[test]
fn a_compact_range_asks_for_the_nodes_of_its_size() {
    assert!(CompactRange::from_nodes(3, leaves(1)).is_err());
    assert!(CompactRange::from_nodes(0, leaves(1)).is_err());
    assert_eq!(
        CompactRange::from_nodes(u64::MAX, leaves(64)),
        Err(ProofError::TooLarge)
    );
    let most = CompactRange::from_nodes(i64::MAX as u64, leaves(63)).unwrap();
    let mut one_more = most.clone();
    one_more.append([0; 32]);
    assert_eq!(one_more.nodes().len(), 1);
    for size in 0..40 {
        let mut range = CompactRange::new();
        range.extend(leaves(size));
        let again = CompactRange::from_nodes(size as u64, range.nodes().to_vec()).unwrap();
        assert_eq!(again, range);
        assert_eq!(again.size(), size as u64);
    }
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>()
}

/// Sizes with all magnitudes equally likely, the edges of u64 among them.
fn size() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0u32..64, any::<u64>()).prop_map(|(shift, size)| size >> shift),
        Just(u64::MAX),
        0u64..300
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn roots_of_larger_trees(size in 0usize..1200) {
        let tree = leaves(size);
        prop_assert_eq!(root_of(&tree), mth(&tree));
    }

    #[test]
    fn proofs_of_larger_trees(size in 1usize..800, at in any::<prop::sample::Index>(), then in any::<prop::sample::Index>()) {
        let tree = leaves(size);
        let index = at.index(size);
        let older = then.index(size) + 1;
        let made = inclusion_proof(tree.as_slice(), index as u64, size as u64).unwrap();
        prop_assert_eq!(&made, &path(index, &tree));
        let made = consistency_proof(tree.as_slice(), older as u64, size as u64).unwrap();
        prop_assert_eq!(&made, &proof(older, &tree));
        verify_consistency(older as u64, size as u64, &mth(&tree[..older]), &mth(&tree), &made).unwrap();
    }

    // control: A18
    #[test]
    fn an_altered_inclusion_proof_is_refused(
        size in 1usize..200, at in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), bit in 0u8..8,
        other_index in size(), other_size in size(),
    ) {
        let tree = leaves(size);
        let index = at.index(size);
        let (root, leaf) = (mth(&tree), tree[index]);
        let made = path(index, &tree);
        let (index, size) = (index as u64, size as u64);

        let mut altered = [&[leaf][..], &made, &[root]].concat();
        let flat = altered.as_flattened_mut();
        let byte = byte.index(flat.len());
        flat[byte] ^= 1 << bit;
        let last = altered.len() - 1;
        prop_assert_eq!(
            verify_inclusion(index, size, &altered[0], &altered[1..last], &altered[last]),
            Err(ProofError::RootMismatch)
        );
        if other_index != index {
            prop_assert!(verify_inclusion(other_index, size, &leaf, &made, &root).is_err());
        }
        let longer = [&made[..], &[root]].concat();
        prop_assert!(verify_inclusion(index, size, &leaf, &longer, &root).is_err());
        if !made.is_empty() {
            prop_assert!(verify_inclusion(index, size, &leaf, &made[1..], &root).is_err());
            prop_assert!(verify_inclusion(index, size, &leaf, &made[..made.len() - 1], &root).is_err());
        }
        // Another size may have the same path; it may never make the verifier panic.
        let _ = verify_inclusion(index, other_size, &leaf, &made, &root);
    }

    #[test]
    fn an_altered_consistency_proof_is_refused(
        size in 2usize..200, then in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), bit in 0u8..8,
        forked in any::<prop::sample::Index>(),
    ) {
        let tree = leaves(size);
        let older = then.index(size - 1) + 1;
        let (root1, root2) = (mth(&tree[..older]), mth(&tree));
        let made = proof(older, &tree);
        let (size1, size2) = (older as u64, size as u64);

        let mut altered = [&[root1][..], &made, &[root2]].concat();
        let flat = altered.as_flattened_mut();
        let byte = byte.index(flat.len());
        flat[byte] ^= 1 << bit;
        let last = altered.len() - 1;
        prop_assert!(verify_consistency(size1, size2, &altered[0], &altered[last], &altered[1..last]).is_err());

        // A log that rewrote one old leaf and rebuilt everything above it.
        let mut fork = tree.clone();
        fork[forked.index(older)][0] ^= 1;
        prop_assert!(verify_consistency(size1, size2, &root1, &mth(&fork), &proof(older, &fork)).is_err());

        let longer = [&made[..], &[root1]].concat();
        prop_assert!(verify_consistency(size1, size2, &root1, &root2, &longer).is_err());
        prop_assert!(verify_consistency(size1, size2, &root1, &root2, &made[1..]).is_err());
        prop_assert!(verify_consistency(size1 - 1, size2, &root1, &root2, &made).is_err());
        prop_assert!(verify_consistency(size2, size1, &root1, &root2, &made).is_err());
    }

    #[test]
    fn no_input_makes_the_verifiers_panic(
        a in size(), b in size(), leaf in hash(), root in hash(), proof in proptest::collection::vec(hash(), 0..130),
    ) {
        prop_assert!(verify_inclusion(a, b, &leaf, &proof, &root).is_err());
        let _ = root_from_inclusion(a, b, &leaf, &proof);
        prop_assert!(a == b && leaf == root || verify_consistency(a, b, &leaf, &root, &proof).is_err());
    }

    #[test]
    fn a_proof_of_the_right_length_is_read_to_its_end(index in size(), size in size(), leaf in hash()) {
        // The expected length is given back by the error; with it the path must reach a root.
        if let Err(ProofError::WrongLength { expected, .. }) =
            root_from_inclusion(index, size, &leaf, &vec![[0; 32]; 200])
        {
            prop_assert!(expected <= 64);
            prop_assert!(root_from_inclusion(index, size, &leaf, &vec![[7; 32]; expected]).is_ok());
        }
    }
}
