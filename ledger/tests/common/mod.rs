//! RFC 6962 §2.1 written as the RFC writes it: slow, recursive and obviously right.

#![allow(dead_code)] // Each test binary uses its share.

pub mod evidence;

use batchcortex_ledger::hash::{Hash, leaf_hash};
use sha2::{Digest, Sha256};

/// MTH(D[n]) over leaf hashes.
pub fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(k(leaves.len()));
            Sha256::new()
                .chain_update([1])
                .chain_update(mth(left))
                .chain_update(mth(right))
                .finalize()
                .into()
        }
    }
}

/// PATH(m, D[n]).
pub fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let k = k(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = if m < k {
        (path(m, left), mth(right))
    } else {
        (path(m - k, right), mth(left))
    };
    path.push(sibling);
    path
}

/// PROOF(m, D[n]).
pub fn proof(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    subproof(m, leaves, true)
}

fn subproof(m: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if known { vec![] } else { vec![mth(leaves)] };
    }
    let k = k(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) = if m <= k {
        (subproof(m, left, known), mth(right))
    } else {
        (subproof(m - k, right, false), mth(left))
    };
    proof.push(sibling);
    proof
}

/// The largest power of two smaller than n.
fn k(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// `count` distinct leaf hashes.
pub fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&(n as u64).to_be_bytes())).collect()
}
