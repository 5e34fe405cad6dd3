//! The proof cases of transparency-dev/merkle (tests/data/rfc6962), one JSON object a line. Half of them must be refused. The test `vectors`
//! of tests/e2e asks the SQL functions the same.

use std::fs;
use std::path::PathBuf;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::merkle::{verify_consistency, verify_inclusion};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inclusion {
    leaf_idx: u64,
    tree_size: u64,
    root: String,
    leaf_hash: String,
    proof: Option<Vec<String>>,
    want_err: bool,
    case: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consistency {
    size1: u64,
    size2: u64,
    root1: String,
    root2: String,
    proof: Option<Vec<String>>,
    want_err: bool,
    case: String,
}

fn cases<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/rfc6962")
        .join(file);
    let text = fs::read_to_string(&path).expect("the cases");
    let cases: Vec<T> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a case is one JSON object a line"))
        .collect();
    assert!(!cases.is_empty());
    cases
}

/// None when it is not 32 bytes: what an interface that takes bytes refuses before verifying.
fn hash(text: &str) -> Option<Hash> {
    BASE64_STANDARD
        .decode(text)
        .expect("binary fields are base64")
        .try_into()
        .ok()
}

fn hashes(proof: &Option<Vec<String>>) -> Option<Vec<Hash>> {
    proof.iter().flatten().map(|text| hash(text)).collect()
}

// control: N1
#[test]
fn inclusion_cases() {
    for case in cases::<Inclusion>("inclusion.jsonl") {
        let verified = (|| {
            let (leaf, root) = (hash(&case.leaf_hash)?, hash(&case.root)?);
            verify_inclusion(case.leaf_idx, case.tree_size, &leaf, &hashes(&case.proof)?, &root).ok()
        })();
        assert_eq!(verified.is_none(), case.want_err, "{}", case.case);
    }
}

// control: N1
#[test]
fn consistency_cases() {
    for case in cases::<Consistency>("consistency.jsonl") {
        let verified = (|| {
            let (root1, root2) = (hash(&case.root1)?, hash(&case.root2)?);
            verify_consistency(case.size1, case.size2, &root1, &root2, &hashes(&case.proof)?).ok()
        })();
        assert_eq!(verified.is_none(), case.want_err, "{}", case.case);
    }
}
