//! A Signature-Input that is read has one spelling, and nothing verifies under a key that has signed
//! nothing.

#![no_main]

use batchcortex_ledger::request_signature::{content_digest, parse_input, sign, verify};
use libfuzzer_sys::fuzz_target;

const KEY: [u8; 32] = [7; 32];

fuzz_target!(|text: &str| {
    let spelt = format!("device=(\"@method\" \"@authority\" \"@path\" \"content-digest\");created={text}");
    for input in [text, &spelt] {
        if let Ok(parameters) = parse_input(input) {
            let signed = sign(
                &KEY,
                "GET",
                "h",
                "/",
                b"",
                parameters.created,
                parameters.nonce,
                parameters.keyid,
            )
            .expect("what is read can be signed");
            assert_eq!(signed.signature_input, input);
            let digest = content_digest(b"");
            assert!(verify(&KEY, "GET", "h", "/", b"", &digest, input, &signed.signature).is_ok());
            assert!(verify(&[8; 32], "GET", "h", "/", b"", &digest, input, &signed.signature).is_err());
        }
        let _ = verify(&KEY, input, input, input, b"", input, input, input);
    }
});
