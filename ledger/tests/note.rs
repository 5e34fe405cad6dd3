//! Signed notes: the specification's example, strict parsing, and every flipped bit.

use batchcortex_ledger::note::{
    MAX_SIGNATURES, NoteError, NoteSignature, PrivateKey, SignatureType, SignedNote, Signer, VerifierKey,
};
use proptest::prelude::*;

/// The example of C2SP signed-note.
const VERIFIER: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\
    \n\
    \u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn known() -> Vec<VerifierKey> {
    vec![VERIFIER.parse().expect("the example's key")]
}

#[test]
fn the_example_of_the_specification_verifies() {
    let note = SignedNote::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    let verified = note.verify(&known()).unwrap();
    assert_eq!(verified.len(), 1);
    assert_eq!(verified[0].name, "example.com/foo");
    assert_eq!(verified[0].key_id.to_string(), "530d903a");
    assert_eq!(verified[0].time, None);
    assert_eq!(note.to_string(), NOTE);
    assert_eq!(known()[0].to_string(), VERIFIER);
    assert_eq!(known()[0].name(), "example.com/foo");
    assert_eq!(known()[0].signature_type(), SignatureType::Ed25519);
}

// control: A18
#[test]
fn every_flipped_bit_of_a_note_is_refused() {
    let second = Signer::new("second.example/key", &[2; 32]).unwrap();
    let mut note = SignedNote::parse(NOTE.as_bytes()).unwrap();
    note.add(second.sign(&note));
    let bytes = note.to_string().into_bytes();
    let known = [known(), vec![second.verifier().clone()]].concat();
    let whole = note.verify(&known).unwrap();
    assert_eq!(whole.len(), 2);
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let Ok(parsed) = SignedNote::parse(&altered) else {
            continue;
        };
        let verified = parsed.verify(&known);
        let many = [note.clone(), parsed.clone(), note.clone()];
        assert_eq!(
            SignedNote::all_verify(&many, &known),
            verified.is_ok(),
            "bit {bit}"
        );
        let Ok(verified) = verified else {
            continue;
        };
        // A flipped key name makes a stranger of one signer; the other vouches for the same text.
        assert_eq!(parsed.text(), note.text(), "bit {bit}");
        assert!(
            verified.len() < whole.len() && verified.iter().all(|one| whole.contains(one)),
            "bit {bit}"
        );
    }
}

// control: A18
#[test]
fn many_notes_verify_together_as_each_does() {
    let signers = [1, 2, 3].map(|seed| Signer::new(&format!("log.example/{seed}"), &[seed; 32]).unwrap());
    let known: Vec<VerifierKey> = signers[..2]
        .iter()
        .map(|signer| signer.verifier().clone())
        .collect();
    let mut notes: Vec<SignedNote> = (0..300)
        .map(|i| {
            let mut note = SignedNote::new(format!("note {i}\n")).unwrap();
            note.add(signers[i % 2].sign(&note));
            note
        })
        .collect();
    assert!(SignedNote::all_verify(&notes, &known));
    assert!(SignedNote::all_verify(&[], &known));
    // A stranger's signature beside is ignored; alone it is none. A key that is there twice is left to verify().
    let stranger = signers[2].sign(&notes[7]);
    notes[7].add(stranger);
    assert!(SignedNote::all_verify(&notes, &known));
    assert!(!SignedNote::all_verify(&notes, &known[..1]));
    assert!(!SignedNote::all_verify(
        &notes,
        &[known.clone(), known.clone()].concat()
    ));
    // Signatures of two notes that change places, in one place or another.
    for place in [0, 150, 298] {
        let mut swapped = notes.clone();
        let mut other = SignedNote::new(notes[place].text()).unwrap();
        other.add(notes[(place + 2) % 300].signatures()[0].clone());
        swapped[place] = other;
        assert!(!SignedNote::all_verify(&swapped, &known), "{place}");
    }
}

#[test]
fn strangers_are_ignored_and_known_keys_must_be_right() {
    let signer = Signer::new("log.example", &[1; 32]).unwrap();
    let stranger = Signer::new("stranger.example", &[2; 32]).unwrap();
    let same_name = Signer::new("log.example", &[3; 32]).unwrap();
    let known = [signer.verifier().clone()];
    let mut note = SignedNote::new("text\n").unwrap();
    assert_eq!(note.verify(&known), Err(NoteError::NoKnownKey));
    note.add(stranger.sign(&note));
    note.add(same_name.sign(&note));
    assert_eq!(note.verify(&known), Err(NoteError::NoKnownKey));
    assert_eq!(note.verify(&[]), Err(NoteError::NoKnownKey));
    note.add(signer.sign(&note));
    assert_eq!(note.verify(&known).unwrap().len(), 1);
    // Signing again replaces.
    note.add(signer.sign(&note));
    assert_eq!(note.signatures().len(), 3);

    let bad = NoteSignature {
        signature: stranger.sign(&note).signature,
        ..signer.sign(&note)
    };
    let mut forged = SignedNote::parse(note.to_string().replace("text", "tekst").as_bytes()).unwrap();
    let refused = Err(NoteError::BadSignature {
        name: "log.example".into(),
        key_id: signer.verifier().id(),
    });
    assert_eq!(forged.verify(&known), refused);
    forged.add(bad.clone());
    assert_eq!(forged.verify(&known), refused);
    // A good signature does not make up for a bad one by the same key.
    let doubled = SignedNote::parse(format!("{note}{bad}\n").as_bytes()).unwrap();
    assert_eq!(doubled.verify(&known), refused);
    // One key signs twice: it counts once.
    let twice = SignedNote::parse(format!("{note}{}\n", signer.sign(&note)).as_bytes()).unwrap();
    assert_eq!(twice.verify(&known).unwrap().len(), 1);
}

#[test]
fn malformed_notes_are_named() {
    let parse = |text: &str| SignedNote::parse(text.as_bytes()).map(|_| ());
    let line = NOTE.lines().last().unwrap();
    assert_eq!(SignedNote::parse(b"\xff\n\n"), Err(NoteError::NotUtf8));
    assert_eq!(parse(""), Err(NoteError::NoSignatures));
    assert_eq!(parse("text\n"), Err(NoteError::NoSignatures));
    assert_eq!(parse("text\n\n"), Err(NoteError::NoSignatures));
    assert_eq!(parse(&NOTE.replace("\n\n", "\n")), Err(NoteError::NoSignatures));
    assert_eq!(parse(NOTE.trim_end()), Err(NoteError::SignatureLine));
    assert_eq!(parse(&format!("{NOTE}\n")), Err(NoteError::NoSignatures));
    assert_eq!(parse(&format!("{NOTE}more\n")), Err(NoteError::SignatureLine));
    assert_eq!(parse(&NOTE.replace("is an", "is\tan")), Err(NoteError::Text));
    assert_eq!(parse(&NOTE.replace("\n", "\r\n")), Err(NoteError::Text));
    assert_eq!(
        parse(&NOTE.replace('\u{2014}', "-")),
        Err(NoteError::SignatureLine)
    );
    assert_eq!(
        parse(&NOTE.replace("\u{2014} ", "\u{2014}")),
        Err(NoteError::SignatureLine)
    );
    assert_eq!(
        parse(&NOTE.replace("example.com/foo", "example.com/+foo")),
        Err(NoteError::Name)
    );
    assert_eq!(
        parse(&NOTE.replace("example.com/foo", "example.com/\u{a0}foo")),
        Err(NoteError::Name)
    );
    assert_eq!(parse(&NOTE.replace("example.com/foo", "")), Err(NoteError::Name));
    assert_eq!(parse(&NOTE.replace("aQM=", "aQM")), Err(NoteError::SignatureLine));
    assert_eq!(
        parse(&NOTE.replace("aQM=", "aQN=")),
        Err(NoteError::SignatureLine),
        "trailing bits"
    );
    assert_eq!(
        parse("text\n\n\u{2014} name Uw2QOg==\n"),
        Err(NoteError::SignatureLine),
        "an id and no signature"
    );
    let with = |count: usize| format!("text\n\n{}", format!("{line}\n").repeat(count));
    assert_eq!(parse(&with(MAX_SIGNATURES)), Ok(()));
    assert_eq!(
        parse(&with(MAX_SIGNATURES + 1)),
        Err(NoteError::TooManySignatures)
    );
    assert_eq!(SignedNote::new("no newline"), Err(NoteError::Text));
    assert_eq!(SignedNote::new("bell\u{7}\n"), Err(NoteError::Text));
    // Blank lines belong to the text; the last one ends it.
    let poem = SignedNote::parse(format!("one\n\ntwo\n\n{line}\n").as_bytes()).unwrap();
    assert_eq!(poem.text(), "one\n\ntwo\n");
}

#[test]
fn malformed_verifier_keys_are_named() {
    let parse = |text: &str| text.parse::<VerifierKey>().map(|_| ());
    assert_eq!(parse(""), Err(NoteError::VerifierKey));
    assert_eq!(parse("name+530d903a"), Err(NoteError::VerifierKey));
    assert_eq!(
        parse(&VERIFIER.replace("530d903a", "530D903A")),
        Err(NoteError::VerifierKey)
    );
    assert_eq!(
        parse(&VERIFIER.replace("530d903a", "+30d903a")),
        Err(NoteError::VerifierKey)
    );
    assert_eq!(
        parse(&VERIFIER.replace("530d903a", "530d903")),
        Err(NoteError::VerifierKey)
    );
    assert!(matches!(
        parse(&VERIFIER.replace("530d903a", "530d903b")),
        Err(NoteError::KeyId { .. })
    ));
    assert!(matches!(
        parse(&VERIFIER.replace("foo", "bar")),
        Err(NoteError::KeyId { .. })
    ));
    assert_eq!(
        parse(&VERIFIER.replace("+Aeky", "+Beky")),
        Err(NoteError::SignatureType(5))
    );
    assert_eq!(parse(&format!("{VERIFIER}=")), Err(NoteError::VerifierKey));
    assert_eq!(
        parse(&VERIFIER[..VERIFIER.len() - 4]),
        Err(NoteError::VerifierKey)
    );
    assert_eq!(
        parse(&VERIFIER.replace("example.com/foo", "")),
        Err(NoteError::Name)
    );
    assert_eq!(
        parse(&VERIFIER.replace("example.com/foo", "a b")),
        Err(NoteError::Name)
    );
    // The neutral element: a key under which a signature fits any message.
    let mut weak = [0; 32];
    weak[0] = 1;
    assert_eq!(
        VerifierKey::new("log", SignatureType::Ed25519, &weak),
        Err(NoteError::PublicKey)
    );
    assert_eq!(
        VerifierKey::new("log", SignatureType::Ed25519, &[2; 32]),
        Err(NoteError::PublicKey)
    );
}

#[test]
fn no_secret_is_displayed() {
    let signer = Signer::new("log.example", &[0xab; 32]).unwrap();
    let shown = format!("{signer:?}").to_lowercase();
    assert!(!shown.contains("abab") && !shown.contains("171, 171"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_signed_verifies(text in "([a-zé ]{0,20}\n){1,5}", name in "[a-z./0-9é]{1,20}", secret in any::<[u8; 32]>()) {
        let signer = Signer::new(&name, &secret).unwrap();
        let mut note = SignedNote::new(text).unwrap();
        note.add(signer.sign(&note));
        let again = SignedNote::parse(note.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&again, &note);
        prop_assert_eq!(again.verify(&[signer.verifier().clone()]).unwrap().len(), 1);
        prop_assert_eq!(&signer.verifier().to_string().parse::<VerifierKey>().unwrap(), signer.verifier());
    }

    #[test]
    fn whatever_parses_is_written_back(bytes in "(.{0,20}\n){0,3}\n(\u{2014} [a-z]{0,3} [A-Za-z0-9+/]{8}\n){0,3}") {
        if let Ok(note) = SignedNote::parse(bytes.as_bytes()) {
            prop_assert_eq!(note.to_string(), bytes);
            prop_assert_eq!(note.verify(&known()), Err(NoteError::NoKnownKey));
        }
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
        let _ = SignedNote::parse(&bytes);
        let _ = text.parse::<VerifierKey>();
    }
}

/// The example of Go's sumdb/note.
const PRIVATE: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

#[test]
fn a_private_key_has_one_text_and_its_public_half() {
    let key: PrivateKey = PRIVATE.parse().unwrap();
    assert_eq!(key.verifier().to_string(), PUBLIC);
    assert_eq!(key.to_text().as_str(), PRIVATE);
    assert!(key.cosigner().is_none());
    let signer = key.signer().unwrap();
    let mut note = SignedNote::new("text\n").unwrap();
    note.add(signer.sign(&note));
    assert!(note.verify(&[PUBLIC.parse().unwrap()]).is_ok());

    let witness = PrivateKey::new("w.example", SignatureType::CosignatureV1, &[7; 32]).unwrap();
    let again: PrivateKey = witness.to_text().parse().unwrap();
    assert_eq!(again.verifier(), witness.verifier());
    assert!(again.signer().is_none());
    assert_eq!(again.cosigner().unwrap().verifier(), witness.verifier());
    assert!(!format!("{witness:?} {key:?}").contains("AYEKFALV"));
}

proptest! {
    #[test]
    fn damaged_private_keys_are_refused_without_repeating_them(at in 0..PRIVATE.len(), byte in 0x21u8..0x7f) {
        let mut bytes = PRIVATE.as_bytes().to_vec();
        bytes[at] = byte;
        let text = String::from_utf8(bytes).unwrap();
        match text.parse::<PrivateKey>() {
            Ok(key) => prop_assert!(text == PRIVATE && key.to_text().as_str() == PRIVATE),
            Err(error) => prop_assert!(!error.to_string().contains("EKFALVFGyNhPJEMzD1")),
        }
    }
}
