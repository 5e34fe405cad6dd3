//! Evidence from strangers: no panic, a line has one spelling, and no file holds under a key that has
//! signed nothing.

#![no_main]

use std::sync::LazyLock;

use batchcortex_ledger::evidence::{Header, Line, Trust, Verifier, record_name, show};
use libfuzzer_sys::fuzz_target;

static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let key = "a+606ca4ab+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4".parse();
    Trust::new(vec![key.expect("a verifier key")], vec![], None).expect("trust")
});

fuzz_target!(|bytes: &[u8]| {
    let mut verifier = Verifier::new(TRUST.clone());
    let (mut whole, mut found) = (true, 0);
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(header) = Header::parse(line) {
            assert_eq!(header.to_string().as_bytes(), line);
        }
        match Line::parse(line) {
            // Digits of a preimage are checked when they are decoded.
            Ok(Line::Leaf { .. }) | Err(_) => {}
            Ok(line_read) => assert_eq!(line_read.to_string().as_bytes(), line),
        }
        if whole {
            match verifier.line(line) {
                Ok(Some(leaf)) => {
                    let _ = (show(leaf.index, leaf.preimage), record_name(leaf.preimage));
                }
                Ok(None) => {}
                Err(_) => whole = false,
            }
            found += verifier.findings().count();
        }
    }
    assert!(!whole || found > 0 || verifier.finish().is_err());
});
