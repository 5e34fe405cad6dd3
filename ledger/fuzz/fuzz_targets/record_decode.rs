//! Whatever decodes as a record encodes to the same bytes: a leaf has one preimage.

#![no_main]

use batchcortex_ledger::record::{PREFIX, RecordEncoder, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode(bytes);
    let preimage = [PREFIX, bytes].concat();
    if let Ok(record) = decode(&preimage) {
        let mut encoder = RecordEncoder::new(record.domain);
        for field in &record.fields {
            encoder.field(field.name, field.value);
        }
        assert_eq!(encoder.finish().as_deref(), Ok(preimage.as_slice()));
    }
});
