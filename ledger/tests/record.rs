//! The record preimage: its bytes, its decoder, and that no two records share it.

use batchcortex_ledger::hash::leaf_hash;
use batchcortex_ledger::record::{MAX_FIELDS, PREFIX, RecordEncoder, RecordError, check, decode};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn encode(domain: &str, fields: &[(String, Vec<u8>)]) -> Result<Vec<u8>, RecordError> {
    let mut encoder = RecordEncoder::new(domain);
    for (name, value) in fields {
        encoder.field(name, value);
    }
    encoder.finish()
}

// control: A19
#[test]
fn a_leaf_can_be_recomputed_by_hand() {
    let mut encoder = RecordEncoder::new("event");
    encoder
        .field("action", b"start")
        .field("n", &(-2i32).to_be_bytes())
        .field("empty", b"");
    let preimage = encoder.finish().unwrap();
    let by_hand = b"batchcortex/record/v1\n\
        \x05event\
        \x06action\x00\x00\x00\x05start\
        \x01n\x00\x00\x00\x04\xff\xff\xff\xfe\
        \x05empty\x00\x00\x00\x00";
    assert_eq!(preimage, by_hand);
    let expected: [u8; 32] = Sha256::new()
        .chain_update([0])
        .chain_update(by_hand)
        .finalize()
        .into();
    assert_eq!(leaf_hash(&preimage), expected);
}

#[test]
fn the_buffer_is_reused_without_allocating() {
    let mut buffer = Vec::with_capacity(4096);
    let address = buffer.as_ptr();
    for row in 0..10u64 {
        let mut encoder = RecordEncoder::with_buffer("event", buffer);
        encoder
            .field("row", &row.to_be_bytes())
            .field("text", &[b'x'; 1000]);
        let (leaf, returned) = encoder.leaf_hash().unwrap();
        assert_eq!(leaf, leaf_hash(&returned));
        buffer = returned;
        assert_eq!(buffer.as_ptr(), address);
    }
}

#[test]
fn what_does_not_fit_is_refused_and_never_truncated() {
    let long = "x".repeat(256);
    let fields = |name: &str| encode("event", &[(name.to_owned(), vec![])]);
    assert_eq!(encode("", &[]), Err(RecordError::NameLength(0)));
    assert_eq!(encode(&long, &[]), Err(RecordError::NameLength(256)));
    assert_eq!(fields(""), Err(RecordError::NameLength(0)));
    assert_eq!(fields(&long), Err(RecordError::NameLength(256)));
    assert!(fields(&long[..255]).is_ok());

    let many: Vec<_> = (0..=MAX_FIELDS).map(|n| (format!("c{n}"), vec![])).collect();
    assert_eq!(encode("event", &many), Err(RecordError::TooManyFields));
    let most = encode("event", &many[..MAX_FIELDS]).unwrap();
    assert_eq!(decode(&most).unwrap().fields.len(), MAX_FIELDS);
    let one_more = [most.as_slice(), b"\x01z\0\0\0\0"].concat();
    assert_eq!(decode(&one_more), Err(RecordError::TooManyFields));
}

#[test]
fn malformed_records_are_named() {
    let with = |tail: &[u8]| [PREFIX, tail].concat();
    assert_eq!(decode(b""), Err(RecordError::Prefix));
    assert_eq!(
        decode(b"batchcortex/record/v2\n\x05event"),
        Err(RecordError::Prefix)
    );
    assert_eq!(decode(&with(b"")), Err(RecordError::Truncated(22)));
    assert_eq!(decode(&with(b"\x00")), Err(RecordError::NameLength(0)));
    assert_eq!(decode(&with(b"\x05even")), Err(RecordError::Truncated(27)));
    assert_eq!(decode(&with(b"\x01\xff")), Err(RecordError::NotUtf8(23)));
    assert_eq!(
        decode(&with(b"\x01e\x01a\0\0\0\x02x")),
        Err(RecordError::Truncated(31))
    );
    assert_eq!(
        decode(&with(b"\x01e\x01a\xff\xff\xff\xffx")),
        Err(RecordError::Truncated(31))
    );
    assert_eq!(
        decode(&with(b"\x01e\x01a\0\0\0\0\x01a\0\0\0\0")),
        Err(RecordError::DuplicateField(30))
    );
}

fn records() -> impl Strategy<Value = (String, Vec<(String, Vec<u8>)>)> {
    let fields = proptest::collection::btree_map(
        "[a-zäß_]{1,12}",
        proptest::collection::vec(any::<u8>(), 0..40),
        0..8,
    )
    .prop_map(|fields| fields.into_iter().collect::<Vec<_>>())
    .prop_shuffle();
    ("[a-z_]{1,20}", fields)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    // control: A19
    #[test]
    fn decoding_gives_back_what_was_encoded((domain, fields) in records()) {
        let preimage = encode(&domain, &fields).unwrap();
        let record = decode(&preimage).unwrap();
        prop_assert_eq!(record.domain, &domain);
        let decoded: Vec<_> = record.fields.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect();
        prop_assert_eq!(&decoded, &fields);
        for (name, value) in &fields {
            prop_assert_eq!(record.value(name), Some(value.as_slice()));
        }
        prop_assert_eq!(record.value("NULL"), None);
    }

    // control: A18
    #[test]
    fn each_altered_bit_alters_the_leaf((domain, fields) in records(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let preimage = encode(&domain, &fields).unwrap();
        let mut altered = preimage.clone();
        altered[at.index(preimage.len())] ^= 1 << bit;
        prop_assert_ne!(leaf_hash(&altered), leaf_hash(&preimage));
    }

    /// Names that are alike, repeated, odd and many: the quick check and the decoder are of one mind.
    #[test]
    fn check_accepts_what_decode_accepts(
        names in proptest::collection::vec("[ab]{0,2}(name|0123456|é)?", 0..40),
        cut in 0usize..600, damage in any::<(u16, u8)>(),
    ) {
        let mut bytes = [PREFIX, b"\x05event"].concat();
        for name in &names {
            bytes.push(name.len() as u8);
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b"\0\0\0\x01x");
        }
        prop_assert_eq!(check(&bytes), decode(&bytes).map(|record| record.domain));
        let part = &bytes[..bytes.len().min(cut)];
        prop_assert_eq!(check(part), decode(part).map(|record| record.domain));
        let position = usize::from(damage.0) % bytes.len();
        bytes[position] = damage.1;
        prop_assert_eq!(check(&bytes), decode(&bytes).map(|record| record.domain));
    }


    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..60), prefixed in any::<bool>()) {
        let bytes = if prefixed { [PREFIX, &bytes].concat() } else { bytes };
        prop_assert_eq!(check(&bytes), decode(&bytes).map(|record| record.domain));
        if let Ok(record) = decode(&bytes) {
            let fields: Vec<_> = record.fields.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect();
            prop_assert_eq!(encode(record.domain, &fields).unwrap(), bytes);
        }
    }
}
