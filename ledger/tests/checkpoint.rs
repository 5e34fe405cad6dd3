//! Checkpoints, cosignatures and tlog-proofs, with known answers that OpenSSL made.

mod common;

use batchcortex_ledger::checkpoint::{self, Checkpoint, CheckpointError, Cosigned};
use batchcortex_ledger::cosignature::{Cosigner, MAX_TIME};
use batchcortex_ledger::hash::{Hash, empty_root};
use batchcortex_ledger::merkle::ProofError;
use batchcortex_ledger::note::{NoteError, SignedNote, Signer, VerifierKey};
use batchcortex_ledger::tlog_proof::{TlogProof, TlogProofError};
use common::{leaves, mth, path};
use proptest::prelude::*;

/// The secret 00 01 02 … 1f, and what OpenSSL signs with it: Ed25519 is deterministic.
const LOG_KEY: &str = "example.com/log+d455c521+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
const WITNESS_KEY: &str = "witness.example/w1+e75f6532+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
const SIGNED: &str = "example.com/log\n\
    1\n\
    bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n\
    \n\
    \u{2014} example.com/log 1FXFIXUfqnq/ZjNhHo3eh9IjaQF3UXwTyb1+K+0yX/9hp1ynw8Z1VAa8DQPujBOr5aPCxtLmxxPxLhAaVE1rXVB1IQA=\n\
    \u{2014} witness.example/w1 519lMgAAAABkGFDLvwW2pSH3pFc/75C0wheUrQnsjTqG3PMNltqXLCgAqBfORjoLnfk09Icm0bu72YyVaKvgZKCoyVBXotdr60juDQ==\n";

fn secret() -> [u8; 32] {
    std::array::from_fn(|byte| byte as u8)
}

fn keys(key: &str) -> Vec<VerifierKey> {
    vec![key.parse().expect("a verifier key")]
}

fn open(note: &str) -> Result<Cosigned, CheckpointError> {
    checkpoint::open(
        note.as_bytes(),
        "example.com/log",
        &keys(LOG_KEY),
        &keys(WITNESS_KEY),
    )
}

// control: N3
#[test]
fn what_openssl_signed_and_cosigned_is_what_we_sign_and_cosign() {
    let signer = Signer::new("example.com/log", &secret()).unwrap();
    let cosigner = Cosigner::new("witness.example/w1", &secret()).unwrap();
    assert_eq!(signer.verifier().to_string(), LOG_KEY);
    assert_eq!(cosigner.verifier().to_string(), WITNESS_KEY);

    let mut root = [0; 32];
    hex::decode_to_slice(
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        &mut root,
    )
    .unwrap();
    let checkpoint = Checkpoint::new("example.com/log", 1, root).unwrap();
    let mut note = SignedNote::new(checkpoint.to_string()).unwrap();
    note.add(signer.sign(&note));
    note.add(cosigner.cosign(&note, 1_679_315_147).unwrap());
    assert_eq!(note.to_string(), SIGNED);

    let opened = open(SIGNED).unwrap();
    assert_eq!(opened.checkpoint, checkpoint);
    assert_eq!(opened.witnesses(), 1);
    assert_eq!(opened.cosignatures[0].time, Some(1_679_315_147));
    assert!(format!("{cosigner:?}").contains("witness.example/w1"));
}

#[test]
fn a_witness_cannot_stand_in_for_the_log() {
    let (log, cosignature) = SIGNED.rsplit_once("\u{2014} witness").unwrap();
    assert_eq!(open(log).unwrap().witnesses(), 0);
    let text = SIGNED.split_once("\u{2014}").unwrap().0;
    let cosigned = format!("{text}\u{2014} witness{cosignature}");
    assert_eq!(open(&cosigned), Err(CheckpointError::NotSigned));
    // The types of the keys count, not the lists in which they were given.
    let swapped = checkpoint::open(
        SIGNED.as_bytes(),
        "example.com/log",
        &keys(WITNESS_KEY),
        &keys(LOG_KEY),
    );
    assert_eq!(swapped, Err(CheckpointError::Note(NoteError::NoKnownKey)));
    let other = checkpoint::open(SIGNED.as_bytes(), "example.com/other", &keys(LOG_KEY), &[]);
    assert_eq!(
        other,
        Err(CheckpointError::Origin {
            expected: "example.com/other".into()
        })
    );
    assert_eq!(
        checkpoint::open(b"", "example.com/log", &[], &[]),
        Err(CheckpointError::Note(NoteError::NoSignatures))
    );
}

// control: A18
#[test]
fn every_flipped_bit_of_a_cosigned_checkpoint_is_refused() {
    let whole = open(SIGNED).unwrap();
    for bit in 0..SIGNED.len() * 8 {
        let mut altered = SIGNED.as_bytes().to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        let Ok(opened) = checkpoint::open(&altered, "example.com/log", &keys(LOG_KEY), &keys(WITNESS_KEY))
        else {
            continue;
        };
        // A flipped name makes a stranger of the witness; the log still vouches for the checkpoint.
        assert_eq!(opened.checkpoint, whole.checkpoint, "bit {bit}");
        assert_eq!(opened.witnesses(), 0, "bit {bit}");
    }
}

#[test]
fn the_later_of_two_cosignatures_counts_and_the_witness_counts_once() {
    let cosigner = Cosigner::new("witness.example/w1", &secret()).unwrap();
    let new_key = Cosigner::new("witness.example/w1", &[9; 32]).unwrap();
    let note = SignedNote::parse(SIGNED.as_bytes()).unwrap();
    let later = cosigner.cosign(&note, 1_700_000_000).unwrap();
    let rotated = new_key.cosign(&note, 5).unwrap();
    let known = [cosigner.verifier().clone(), new_key.verifier().clone()];
    let bytes = format!("{SIGNED}{later}\n{rotated}\n");
    let opened = checkpoint::open(bytes.as_bytes(), "example.com/log", &keys(LOG_KEY), &known).unwrap();
    let times: Vec<_> = opened.cosignatures.iter().map(|one| one.time).collect();
    assert_eq!(times, [Some(1_700_000_000), Some(5)]);
    assert_eq!(opened.witnesses(), 1);
}

#[test]
fn only_checkpoints_are_cosigned_and_times_have_a_limit() {
    let cosigner = Cosigner::new("witness.example/w1", &secret()).unwrap();
    let prose = SignedNote::new("I owe you everything.\n").unwrap();
    assert_eq!(cosigner.cosign(&prose, 0), Err(CheckpointError::Lines));
    let note = SignedNote::parse(SIGNED.as_bytes()).unwrap();
    assert!(cosigner.cosign(&note, MAX_TIME).is_ok());
    assert_eq!(cosigner.cosign(&note, MAX_TIME + 1), Err(CheckpointError::Time));
}

#[test]
fn malformed_checkpoints_are_named() {
    let root = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=";
    let parse = |text: &str| text.parse::<Checkpoint>().map(|_| ());
    assert_eq!(parse(&format!("o\n1\n{root}\n")), Ok(()));
    assert_eq!(parse(&format!("o\n{}\n{root}\next 1\next 2\n", u64::MAX)), Ok(()));
    for text in ["", "o", "o\n", "o\n1\n", &format!("o\n1\n{root}")] {
        assert_eq!(parse(text), Err(CheckpointError::Lines), "{text:?}");
    }
    for text in [
        format!("\n1\n{root}\n"),
        format!("o\n1\n{root}\n\n"),
        format!("o\r\n1\n{root}\n"),
        format!("o\n1\n{root}\n\next\n"),
    ] {
        assert_eq!(parse(&text), Err(CheckpointError::Line), "{text:?}");
    }
    for size in [
        "",
        "01",
        "00",
        "+1",
        "-1",
        " 1",
        "1 ",
        "1.0",
        "0x1",
        "18446744073709551616",
        "١",
    ] {
        assert_eq!(
            parse(&format!("o\n{size}\n{root}\n")),
            Err(CheckpointError::Size),
            "{size:?}"
        );
    }
    for bad in [
        "",
        "bjQ=",
        &root[..43],
        "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB1=",
        "bjQLnP-zepicpUTmu3gKLHiQHT-zNzh2hRGjBhevoB0=",
    ] {
        assert_eq!(
            parse(&format!("o\n1\n{bad}\n")),
            Err(CheckpointError::Root),
            "{bad:?}"
        );
    }
    assert_eq!(parse(&format!("o\n0\n{root}\n")), Err(CheckpointError::EmptyTree));
    assert!(Checkpoint::new("o", 0, empty_root()).is_ok());
    assert_eq!(Checkpoint::new("", 1, [0; 32]), Err(CheckpointError::Line));
    assert_eq!(Checkpoint::new("o\n", 1, [0; 32]), Err(CheckpointError::Line));
    let good = Checkpoint::new("o", 1, [0; 32]).unwrap();
    assert_eq!(good.clone().with_extension(""), Err(CheckpointError::Line));
    assert_eq!(good.with_extension("a\nb"), Err(CheckpointError::Line));
}

/// A tree of seven leaves, its checkpoint signed and cosigned, and the proof of leaf 5.
fn proof() -> (TlogProof, Hash) {
    let tree = leaves(7);
    let checkpoint = Checkpoint::new("example.com/log", 7, mth(&tree)).expect("a checkpoint");
    let mut note = SignedNote::new(checkpoint.to_string()).expect("a note");
    note.add(
        Signer::new("example.com/log", &secret())
            .expect("a name")
            .sign(&note),
    );
    let cosigner = Cosigner::new("witness.example/w1", &secret()).expect("a name");
    note.add(cosigner.cosign(&note, 1_700_000_000).expect("a checkpoint"));
    let proof = TlogProof {
        extra: None,
        index: 5,
        path: path(5, &tree),
        checkpoint: note.to_string(),
    };
    (proof, tree[5])
}

fn verify(proof: &TlogProof, leaf: &Hash) -> Result<Cosigned, TlogProofError> {
    proof.verify(leaf, "example.com/log", &keys(LOG_KEY), &keys(WITNESS_KEY))
}

// control: N1
#[test]
fn a_proof_verifies_from_its_text_alone() {
    let (proof, leaf) = proof();
    let text = proof.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 5\n"));
    assert_eq!(text.split_once("\n\n").unwrap().0.lines().count(), 2 + 3);
    let again = TlogProof::parse(text.as_bytes()).unwrap();
    assert_eq!(again, proof);
    assert_eq!(verify(&again, &leaf).unwrap().witnesses(), 1);
    assert_eq!(
        verify(&again, &[0; 32]),
        Err(TlogProofError::Inclusion(ProofError::RootMismatch))
    );

    let extra = TlogProof {
        extra: Some(b"context".to_vec()),
        ..proof
    };
    let text = extra.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra Y29udGV4dA==\nindex 5\n"));
    assert_eq!(TlogProof::parse(text.as_bytes()), Ok(extra));
}

// control: N1
#[test]
fn every_flipped_bit_of_a_proof_is_refused() {
    let (proof, leaf) = proof();
    let text = proof.to_string();
    let whole = verify(&proof, &leaf).unwrap();
    for bit in 0..text.len() * 8 {
        let mut altered = text.as_bytes().to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        let Ok(parsed) = TlogProof::parse(&altered) else {
            continue;
        };
        let Ok(opened) = verify(&parsed, &leaf) else {
            continue;
        };
        assert_eq!(opened.checkpoint, whole.checkpoint, "bit {bit}");
        assert_eq!(
            (parsed.index, &parsed.path),
            (proof.index, &proof.path),
            "bit {bit}"
        );
        assert_eq!(opened.witnesses(), 0, "bit {bit}");
    }
}

#[test]
fn malformed_proofs_are_named() {
    let (proof, _) = proof();
    let text = proof.to_string();
    let line = |text: &str| match TlogProof::parse(text.as_bytes()) {
        Err(TlogProofError::Syntax { line, .. }) => line,
        other => panic!("expected a syntax error, found {other:?}"),
    };
    assert_eq!(line(""), 1);
    assert_eq!(line("c2sp.org/tlog-proof@v1\nindex 5\n"), 1);
    assert_eq!(line(&text.replace("@v1", "@v2")), 1);
    assert_eq!(line(&format!("\n\n{text}")), 1);
    assert_eq!(line(&text.replace("index 5", "index 05")), 2);
    assert_eq!(line(&text.replace("index 5", "index")), 2);
    assert_eq!(line(&text.replace("index 5", "index 5\nindex 5")), 3);
    assert_eq!(line(&text.replace("index 5", "extra !\nindex 5")), 2);
    assert_eq!(
        line(&text.replace("index 5", "extra AA==\nextra AA==\nindex 5")),
        3
    );
    assert_eq!(line(&text.replace("index 5", "extra AA==\nindex x")), 3);
    assert_eq!(line(&text.replace("index 5", "index 5\nAA==")), 3);
    let hash = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n";
    assert_eq!(
        line(&text.replace("index 5\n", &format!("index 5\n{}", hash.repeat(70)))),
        68
    );
    assert_eq!(
        TlogProof::parse(b"\xff"),
        Err(TlogProofError::Syntax {
            line: 1,
            expected: "UTF-8"
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn checkpoints_read_back(origin in "[a-zé/. +]{1,30}", size in 1u64.., root in any::<[u8; 32]>(), lines in proptest::collection::vec("[a-z ]{1,20}", 0..3)) {
        let mut checkpoint = Checkpoint::new(&origin, size, root).unwrap();
        for line in &lines {
            checkpoint = checkpoint.with_extension(line).unwrap();
        }
        let again: Checkpoint = checkpoint.to_string().parse().unwrap();
        prop_assert_eq!(&again, &checkpoint);
        prop_assert_eq!((again.origin(), again.size(), again.root(), again.extensions()), (&*origin, size, &root, &*lines));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "(.{0,45}\n){0,6}", header in any::<bool>()) {
        if let Ok(checkpoint) = text.parse::<Checkpoint>() {
            prop_assert_eq!(checkpoint.to_string(), text.as_str());
        }
        let text = if header { format!("c2sp.org/tlog-proof@v1\nindex 0\n{text}") } else { text };
        if let Ok(proof) = TlogProof::parse(text.as_bytes()) {
            prop_assert_eq!(proof.to_string(), text);
            prop_assert!(verify(&proof, &[0; 32]).is_err());
        }
    }
}
