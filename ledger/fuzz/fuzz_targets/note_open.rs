//! Whatever parses is written back unchanged, and nothing opens under a key that has signed nothing.

#![no_main]

use std::sync::LazyLock;

use batchcortex_ledger::checkpoint::{self, Checkpoint};
use batchcortex_ledger::note::{SignedNote, VerifierKey};
use batchcortex_ledger::tlog_proof::TlogProof;
use libfuzzer_sys::fuzz_target;

static KEYS: LazyLock<Vec<VerifierKey>> = LazyLock::new(|| {
    [
        "a+606ca4ab+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
        "a+2727a2b9+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
    ]
    .iter()
    .map(|key| key.parse().expect("a verifier key"))
    .collect()
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
        assert!(note.verify(&KEYS).is_err());
    }
    assert!(checkpoint::open(bytes, "a", &KEYS, &KEYS).is_err());
    if let Ok(proof) = TlogProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
        assert!(proof.verify(&[0; 32], "a", &KEYS, &KEYS).is_err());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(checkpoint) = text.parse::<Checkpoint>() {
            assert_eq!(checkpoint.to_string(), text);
        }
        if let Ok(key) = text.parse::<VerifierKey>() {
            assert_eq!(key.to_string(), text);
        }
    }
});
