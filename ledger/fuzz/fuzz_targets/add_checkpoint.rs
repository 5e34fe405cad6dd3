//! Whatever a stranger posts to a witness: what parses is written back unchanged, and nothing is cosigned that the log's key has not signed.

#![no_main]

use std::sync::LazyLock;

use batchcortex_ledger::note::VerifierKey;
use batchcortex_ledger::witness::{AddCheckpoint, Log, Witness};
use libfuzzer_sys::fuzz_target;

static KEYS: LazyLock<Vec<VerifierKey>> = LazyLock::new(|| {
    vec![
        "a+606ca4ab+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
            .parse()
            .expect("a verifier key"),
    ]
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = AddCheckpoint::parse(bytes) else {
        return;
    };
    if !request.note.signatures().is_empty() {
        assert_eq!(request.to_string().as_bytes(), bytes);
    }
    let witness = Witness::new(vec![Log::new("a", &KEYS, None, Vec::new())]);
    assert!(witness.judge(&request).is_err());
    assert!(witness.denial(&request.note).is_none());
});
