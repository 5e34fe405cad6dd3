//! The device's request signature: its bytes, and that nothing signed can be altered.

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use batchcortex_ledger::request_signature::{
    Parameters, SignatureError, SignedHeaders, content_digest, parse_input, sign, verify,
};
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use sha2::Sha256;

const KEY: [u8; 32] = [7; 32];
const NONCE: &str = "AAECAwQFBgcICQoLDA0ODw";

fn signed() -> SignedHeaders {
    sign(
        &KEY,
        "POST",
        "Example.com:8480",
        "/v1/ingest",
        b"{\"hello\": \"world\"}",
        1_700_000_000,
        NONCE,
        "bcd_1",
    )
    .expect("the arguments fit the profile")
}

fn check(
    key: &[u8],
    method: &str,
    authority: &str,
    path: &str,
    body: &[u8],
    h: &SignedHeaders,
) -> Result<(), SignatureError> {
    verify(
        key,
        method,
        authority,
        path,
        body,
        &h.content_digest,
        &h.signature_input,
        &h.signature,
    )
    .map(|_| ())
}

// control: A19
#[test]
fn the_signature_is_the_mac_of_a_base_written_by_hand() {
    let headers = signed();
    // The digest is the example of RFC 9530 appendix B for this body.
    assert_eq!(
        headers.content_digest,
        "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
    );
    assert_eq!(
        headers.signature_input,
        "device=(\"@method\" \"@authority\" \"@path\" \"content-digest\");created=1700000000;\
         nonce=\"AAECAwQFBgcICQoLDA0ODw\";keyid=\"bcd_1\";alg=\"hmac-sha256\""
    );
    let base = "\"@method\": POST\n\
        \"@authority\": example.com:8480\n\
        \"@path\": /v1/ingest\n\
        \"content-digest\": sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:\n\
        \"@signature-params\": (\"@method\" \"@authority\" \"@path\" \"content-digest\");created=1700000000;\
        nonce=\"AAECAwQFBgcICQoLDA0ODw\";keyid=\"bcd_1\";alg=\"hmac-sha256\"";
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).unwrap();
    mac.update(base.as_bytes());
    let expected = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(headers.signature, format!("device=:{expected}:"));

    let parameters = verify(
        &KEY,
        "POST",
        "example.com:8480",
        "/v1/ingest",
        b"{\"hello\": \"world\"}",
        &headers.content_digest,
        &headers.signature_input,
        &headers.signature,
    );
    assert_eq!(
        parameters,
        Ok(Parameters {
            created: 1_700_000_000,
            nonce: NONCE,
            keyid: "bcd_1"
        })
    );
}

#[test]
fn another_request_is_refused() {
    let h = signed();
    let body = b"{\"hello\": \"world\"}";
    let mismatch = Err(SignatureError::SignatureMismatch);
    assert_eq!(
        check(&KEY, "POST", "EXAMPLE.com:8480", "/v1/ingest", body, &h),
        Ok(())
    );
    assert_eq!(
        check(&[8; 32], "POST", "example.com:8480", "/v1/ingest", body, &h),
        mismatch
    );
    assert_eq!(
        check(&KEY, "PUT", "example.com:8480", "/v1/ingest", body, &h),
        mismatch
    );
    assert_eq!(
        check(&KEY, "POST", "example.com", "/v1/ingest", body, &h),
        mismatch
    );
    assert_eq!(
        check(&KEY, "POST", "example.com:8480", "/v1/ingest/", body, &h),
        mismatch
    );
    let other = Err(SignatureError::ContentDigestMismatch);
    assert_eq!(
        check(&KEY, "POST", "example.com:8480", "/v1/ingest", b"{}", &h),
        other
    );

    let swapped = SignedHeaders {
        content_digest: content_digest(b"{}"),
        ..h.clone()
    };
    assert_eq!(
        check(&KEY, "POST", "example.com:8480", "/v1/ingest", b"{}", &swapped),
        mismatch
    );
    for key in [&[][..], &KEY[..31], &[7; 33], &[7; 64]] {
        let length = Err(SignatureError::KeyLength(key.len()));
        assert_eq!(
            check(key, "POST", "example.com:8480", "/v1/ingest", body, &h),
            length
        );
    }
}

#[test]
fn no_component_can_smuggle_in_a_line() {
    let with = |method: &str, authority: &str, path: &str| {
        sign(&KEY, method, authority, path, b"", 0, NONCE, "k").map(|_| ())
    };
    for method in ["", "post", "POST\n", "GET /", "\"@path\"", "MÉTHODE"] {
        assert_eq!(with(method, "h", "/"), Err(SignatureError::Method), "{method:?}");
    }
    for authority in ["", "h\n", "h h", "h/", "user@h", "h\"", "hé", "h\\"] {
        assert_eq!(
            with("GET", authority, "/"),
            Err(SignatureError::Authority),
            "{authority:?}"
        );
    }
    for path in [
        "",
        "v1",
        "/v1?x=1",
        "/v1#x",
        "/v 1",
        "/\n\"@path\": /other",
        "/é",
        "/\u{7f}",
        "/\"",
    ] {
        assert_eq!(with("GET", "h", path), Err(SignatureError::Path), "{path:?}");
    }
    assert_eq!(with("GET", "[::1]:8480", "/v1/a%20b/~c"), Ok(()));
    assert_eq!(with("GET", "127.0.0.1:8480", "/"), Ok(()));
}

#[test]
fn only_the_profile_s_spelling_is_read() {
    let good = signed().signature_input;
    assert_eq!(parse_input(&good).unwrap().keyid, "bcd_1");
    let long = "k".repeat(65);
    let cases: &[(&str, &str, SignatureError)] = &[
        ("device=", "sig1=", SignatureError::Components),
        ("device=", " device=", SignatureError::Components),
        ("\"@path\" ", "", SignatureError::Components),
        ("\"@path\"", "\"@path\" \"date\"", SignatureError::Components),
        (
            "\"@method\" \"@authority\"",
            "\"@authority\" \"@method\"",
            SignatureError::Components,
        ),
        ("\"@path\"", "\"@path\";req", SignatureError::Components),
        ("\" \"", "\"  \"", SignatureError::Components),
        (";created=", "; created=", SignatureError::Components),
        (";created=1700000000", "", SignatureError::Components),
        ("=1700000000", "=", SignatureError::Created),
        ("=1700000000", "=01700000000", SignatureError::Created),
        ("=1700000000", "=-1", SignatureError::Created),
        ("=1700000000", "=+1", SignatureError::Created),
        ("=1700000000", "=1.5", SignatureError::Nonce),
        ("=1700000000", "=1000000000000000", SignatureError::Created),
        (
            "=1700000000",
            "=99999999999999999999999999999",
            SignatureError::Created,
        ),
        (";nonce", ";expires=1700000300;nonce", SignatureError::Nonce),
        ("AAECAwQFBgcICQoLDA0ODw", "", SignatureError::Nonce),
        (
            "AAECAwQFBgcICQoLDA0ODw",
            "AAECAwQFBgcICQoLDA0ODx",
            SignatureError::Nonce,
        ), // trailing bits
        (
            "AAECAwQFBgcICQoLDA0ODw",
            "AAECAwQFBgcICQoLDA0ODw==",
            SignatureError::Nonce,
        ),
        (
            "AAECAwQFBgcICQoLDA0ODw",
            "AAECAwQFBgcICQoLDA0O/w",
            SignatureError::Nonce,
        ),
        (
            "AAECAwQFBgcICQoLDA0ODw",
            "AAECAwQFBgcICQoLDA0",
            SignatureError::Nonce,
        ),
        (
            "AAECAwQFBgcICQoLDA0ODw",
            "AAECAwQFBgcICQoLDA0ODxAR",
            SignatureError::Nonce,
        ),
        ("bcd_1", "", SignatureError::KeyId),
        ("bcd_1", "bcd 1", SignatureError::KeyId),
        ("bcd_1", "bcd_é", SignatureError::KeyId),
        ("bcd_1", "bcd\\\"_1", SignatureError::KeyId),
        ("bcd_1", &long, SignatureError::KeyId),
        (
            ";keyid",
            ";nonce=\"AAECAwQFBgcICQoLDA0ODw\";keyid",
            SignatureError::KeyId,
        ),
        (";alg=\"hmac-sha256\"", "", SignatureError::Algorithm),
        ("hmac-sha256", "ed25519", SignatureError::Algorithm),
        (
            ";alg=\"hmac-sha256\"",
            ";alg=\"hmac-sha256\";tag=\"x\"",
            SignatureError::Algorithm,
        ),
        (
            ";alg=\"hmac-sha256\"",
            ";alg=\"hmac-sha256\", other=()",
            SignatureError::Algorithm,
        ),
        (
            ";alg=\"hmac-sha256\"",
            ";alg=\"hmac-sha256\" ",
            SignatureError::Algorithm,
        ),
    ];
    for (from, to, error) in cases {
        let input = good.replacen(from, to, 1);
        assert_ne!(input, good);
        assert_eq!(parse_input(&input), Err(*error), "{input}");
    }
}

#[test]
fn digests_and_signatures_have_one_spelling() {
    let good = signed();
    let body = b"{\"hello\": \"world\"}";
    let check = |h: &SignedHeaders| check(&KEY, "POST", "example.com:8480", "/v1/ingest", body, h);
    for (from, to) in [
        ("sha-256", "sha-512"),
        ("sha-256", "SHA-256"),
        ("=:", "="),
        ("E=:", "E="),
        ("E=:", "E:"),
        ("E=:", "F=:"),
        ("E=:", "E=:, sha-512=::"),
        ("sha-256=:", " sha-256=:"),
        ("X48E", ""),
    ] {
        let h = SignedHeaders {
            content_digest: good.content_digest.replacen(from, to, 1),
            ..good.clone()
        };
        assert_eq!(
            check(&h),
            Err(SignatureError::ContentDigestSyntax),
            "{}",
            h.content_digest
        );
    }
    for signature in [
        String::new(),
        "device=::".into(),
        good.signature.replace("device", "sig1"),
        format!(" {}", good.signature),
        format!("{}, {0}", good.signature),
        good.signature.replace("=:", "="),
        good.signature[..good.signature.len() - 1].into(),
    ] {
        let h = SignedHeaders {
            signature,
            ..good.clone()
        };
        assert_eq!(check(&h), Err(SignatureError::SignatureSyntax), "{}", h.signature);
    }
}

#[test]
fn every_flipped_bit_of_the_headers_is_refused() {
    let good = signed();
    let body = b"{\"hello\": \"world\"}";
    let fields: [fn(&mut SignedHeaders) -> &mut String; 3] = [
        |h| &mut h.content_digest,
        |h| &mut h.signature_input,
        |h| &mut h.signature,
    ];
    for field in fields {
        for bit in 0..field(&mut good.clone()).len() * 8 {
            let mut h = good.clone();
            let mut bytes = field(&mut h).clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(text) = String::from_utf8(bytes) else {
                continue;
            };
            *field(&mut h) = text;
            assert!(
                check(&KEY, "POST", "example.com:8480", "/v1/ingest", body, &h).is_err(),
                "bit {bit}: {h:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_signed_verifies(
        key in any::<[u8; 32]>(), method in "[A-Z]{1,8}", authority in "[a-zA-Z0-9.-]{1,20}(:[0-9]{1,5})?",
        path in "/[a-z0-9/_.~-]{0,30}", body in proptest::collection::vec(any::<u8>(), 0..200),
        created in 0i64..=999_999_999_999_999, nonce in any::<[u8; 16]>(), keyid in "[A-Za-z0-9_.-]{1,64}",
    ) {
        let nonce = BASE64_URL_SAFE_NO_PAD.encode(nonce);
        let h = sign(&key, &method, &authority, &path, &body, created, &nonce, &keyid).unwrap();
        let parameters = verify(
            &key, &method, &authority.to_uppercase(), &path, &body, &h.content_digest, &h.signature_input, &h.signature,
        );
        prop_assert_eq!(parameters, Ok(Parameters { created, nonce: &nonce, keyid: &keyid }));
        let mut altered = body.clone();
        altered.push(0);
        prop_assert_eq!(check(&key, &method, &authority, &path, &altered, &h), Err(SignatureError::ContentDigestMismatch));
    }

    #[test]
    fn what_does_not_fit_is_never_signed(created in any::<i64>(), nonce in ".{0,30}", keyid in ".{0,70}") {
        let Ok(h) = sign(&KEY, "GET", "h", "/", b"", created, &nonce, &keyid) else { return Ok(()) };
        prop_assert_eq!(parse_input(&h.signature_input), Ok(Parameters { created, nonce: &nonce, keyid: &keyid }));
    }

    #[test]
    fn no_header_makes_the_verifier_panic(digest in ".{0,60}", input in ".{0,200}", signature in ".{0,60}") {
        prop_assert!(parse_input(&input).is_err());
        prop_assert!(verify(&KEY, "GET", "h", "/", b"", &digest, &input, &signature).is_err());
        let good = signed();
        prop_assert!(verify(&KEY, "GET", "h", "/", b"", &digest, &good.signature_input, &signature).is_err());
    }
}
