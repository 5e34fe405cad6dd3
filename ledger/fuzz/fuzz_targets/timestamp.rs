//! Answers of a time-stamping authority: DER of strangers.

#![no_main]

use batchcortex_ledger::timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let read = timestamp::read(bytes);
    // What is over a note is read the same without it.
    if let Ok(over) = timestamp::read_over("a note\n", bytes) {
        assert!(read.is_ok_and(|read| read == over));
    }
});
