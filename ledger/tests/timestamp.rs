//! Time stamps: the query in its bytes, responses of OpenSSL, and any bytes at all.

use batchcortex_ledger::timestamp::{TokenError, imprint, nonce, query, read, read_over};
use proptest::prelude::*;

const RESPONSE: &str = include_str!("data/timestamp.response.hex");

fn response() -> Vec<u8> {
    hex::decode(RESPONSE.trim()).expect("hexadecimal digits")
}

#[test]
fn a_query_is_over_sha_256_with_a_nonce_and_asks_for_the_certificate() {
    let query = query("note\n").expect("a query");
    // A nonce with leading zeros is shorter in DER; this one has none.
    assert!(nonce("note\n") >> 56 > 0);
    let expected = format!(
        "30430201013031300d060960864801650304020105000420{}0208{:016x}0101ff",
        hex::encode(imprint("note\n")),
        nonce("note\n")
    );
    assert_eq!(hex::encode(&query), expected);
}

#[test]
fn a_response_of_openssl_is_read() {
    let token = read(&response()).expect("a token");
    assert_eq!(token.imprint, imprint("note\n"));
    assert_eq!(token.nonce.as_deref(), Some(&nonce("note\n").to_be_bytes()[..]));
    assert_eq!(token.policy, "1.2.3.4.1");
    assert!(token.time > 1_700_000_000_000_000);
    assert_eq!(read_over("note\n", &response()), Ok(token));
    assert_eq!(read_over("another\n", &response()), Err(TokenError::Imprint));
}

#[test]
fn a_refusal_says_why() {
    // status rejection (2), a text
    let refused = hex::decode("300d300b02010230060c04476f6e65").expect("hexadecimal digits");
    let Err(TokenError::NotGranted { status: 2, text }) = read(&refused) else {
        panic!("{:?}", read(&refused));
    };
    assert_eq!(text, "Gone");
}

#[test]
fn anything_before_or_after_is_refused() {
    let whole = response();
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{end}");
    }
    assert!(read(&[&whole[..], &[0]].concat()).is_err());
    assert!(read(&[&[0], &whole[..]].concat()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_altered_response_panics(at in 0..2000usize, byte in any::<u8>()) {
        let mut bytes = response();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = read(&bytes);
    }
}
