//! What a witness cosigns and what it refuses, against trees computed by definition.

mod common;

use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::cosignature::Cosigner;
use batchcortex_ledger::global::{self, Incarnation, Origin};
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::note::{NoteError, SignedNote, Signer};
use batchcortex_ledger::witness::{
    AddCheckpoint, Log, MAX_PROOF, Refusal, RequestError, Submission, Witness, parse_signatures,
    render_signatures,
};
use common::{leaves, mth, proof};
use proptest::prelude::*;

const NAME: &str = "batches.example.com";

/// The example of C2SP tlog-witness, its proof shortened to two lines.
const EXAMPLE: &str = "old 20852014\n\
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
    jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
    \n\
    example.com/behind-the-sofa\n\
    20852163\n\
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
    \n\
    \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

fn signer() -> Signer {
    Signer::new(NAME, &[1; 32]).expect("a name")
}

fn origin(number: u32, random: u8) -> Origin {
    let incarnation = Incarnation {
        number,
        random: [random; 4],
    };
    Origin::new(NAME, 7, incarnation).expect("a name")
}

/// The log's note over the first `size` leaves, sealed at a time in microseconds.
fn note(
    origin: &Origin,
    leaves: &[Hash],
    size: usize,
    sealed: i64,
    continues: Option<(u64, &str)>,
) -> SignedNote {
    let checkpoint = global::checkpoint(origin, size as u64, mth(&leaves[..size]), sealed, continues)
        .expect("a checkpoint");
    let mut note = SignedNote::new(checkpoint.to_string()).expect("a note");
    note.add(signer().sign(&note));
    note
}

fn request(old: usize, proof: Vec<Hash>, note: SignedNote) -> AddCheckpoint {
    AddCheckpoint {
        old_size: old as u64,
        proof,
        note,
    }
}

/// A witness that has cosigned the first `size` leaves under `origin`.
fn having_seen(origin: &Origin, leaves: &[Hash], size: usize) -> Witness {
    let mut witness = Witness::new(vec![Log::new(NAME, &[signer().verifier().clone()], None, vec![])]);
    if size > 0 {
        let first = request(0, vec![], note(origin, leaves, size, size as i64, None));
        let cosignable = witness.judge(&first).expect("the first is believed");
        witness.advance(&cosignable);
    }
    witness
}

// control: N3
#[test]
fn a_log_that_grows_is_followed() {
    let (origin, leaves) = (origin(1, 1), leaves(40));
    let mut witness = having_seen(&origin, &leaves, 0);
    assert_eq!(witness.logs()[0].held_size(), 0);
    for (old, new) in [(0, 3), (3, 3), (3, 4), (4, 9), (9, 32), (32, 40)] {
        let way = if old == 0 {
            vec![]
        } else {
            proof(old, &leaves[..new])
        };
        let cosignable = witness
            .judge(&request(old, way, note(&origin, &leaves, new, new as i64, None)))
            .unwrap();
        assert_eq!(cosignable.checkpoint.size(), new as u64);
        witness.advance(&cosignable);
        assert_eq!(witness.log(&origin.to_string()).unwrap().held_size(), new as u64);
    }
}

// control: N3
#[test]
fn refusals_are_those_of_the_specification() {
    let (origin, leaves) = (origin(1, 1), leaves(40));
    let witness = having_seen(&origin, &leaves, 10);
    let good = |new| note(&origin, &leaves, new, 99, None);
    let judge = |request| witness.judge(&request).unwrap_err();

    let stranger = Signer::new(NAME, &[2; 32]).unwrap();
    let mut unknown = SignedNote::new(good(20).text()).unwrap();
    unknown.add(stranger.sign(&unknown));
    let refusal = judge(request(10, proof(10, &leaves[..20]), unknown));
    assert_eq!((refusal.status(), refusal.code()), (403, "signature"));

    // A signature of a trusted key that does not hold, beside one that does or alone: the whole note is refused.
    let mut forged = SignedNote::new(good(20).text()).unwrap();
    forged.add(signer().sign(&good(21)));
    assert_eq!(judge(request(10, proof(10, &leaves[..20]), forged)).status(), 403);

    let elsewhere = Signer::new("other.example", &[1; 32]).unwrap();
    let mut other = SignedNote::new(
        Checkpoint::new("other.example", 20, mth(&leaves[..20]))
            .unwrap()
            .to_string(),
    )
    .unwrap();
    other.add(elsewhere.sign(&other));
    assert_eq!(judge(request(10, vec![], other)), Refusal::UnknownOrigin);
    // An organisation's log is not the witness's to follow.
    let organisation = origin.of_organisation([3; 16]);
    assert_eq!(
        judge(request(10, vec![], note(&organisation, &leaves, 20, 1, None))).status(),
        404
    );

    assert_eq!(
        judge(request(21, vec![], good(20))),
        Refusal::OldSize { old: 21, size: 20 }
    );
    assert_eq!(judge(request(21, vec![], good(20))).status(), 400);
    for old in [0, 9, 11] {
        let refusal = judge(request(old, vec![], good(20)));
        assert_eq!((refusal.status(), refusal), (409, Refusal::Conflict { held: 10 }));
    }
    let way = proof(10, &leaves[..20]);
    for wrong in [
        vec![],
        way[1..].to_vec(),
        proof(11, &leaves[..20]),
        [&way[..], &way[..1]].concat(),
    ] {
        let refusal = judge(request(10, wrong, good(20)));
        assert_eq!(
            (refusal.status(), refusal.code(), refusal.convicts()),
            (422, "bad_proof", false)
        );
    }
    let fresh = having_seen(&origin, &leaves, 0);
    assert_eq!(
        fresh.judge(&request(0, way, good(20))).unwrap_err(),
        Refusal::NoProofNeeded
    );
    let mut empty = SignedNote::new(format!("{origin}\n0\n{}\n", "A".repeat(43) + "=")).unwrap();
    empty.add(signer().sign(&empty));
    assert_eq!(judge(request(0, vec![], empty)), Refusal::EmptyTree);
}

// control: N3
#[test]
fn a_rewritten_history_is_never_cosigned() {
    let (origin, leaves) = (origin(1, 1), leaves(40));
    let witness = having_seen(&origin, &leaves, 10);
    let mut rewritten = leaves.clone();
    rewritten[4] = [9; 32];

    // Of the same size: a fork that the two notes prove.
    let refusal = witness
        .judge(&request(10, vec![], note(&origin, &rewritten, 10, 99, None)))
        .unwrap_err();
    assert_eq!((refusal.status(), refusal.convicts()), (422, true));
    assert_eq!(refusal, Refusal::Fork { size: 10 });
    // Of any larger size, with every proof that the forger can make.
    for size in 11..=40 {
        for way in [proof(10, &rewritten[..size]), proof(10, &leaves[..size])] {
            let refusal = witness
                .judge(&request(10, way, note(&origin, &rewritten, size, 99, None)))
                .unwrap_err();
            assert_eq!(refusal.code(), "bad_proof", "{size}");
        }
    }
}

// control: N3
#[test]
fn a_log_that_was_set_back_is_told_from_one_that_lags() {
    let (origin, leaves) = (origin(1, 1), leaves(40));
    let witness = having_seen(&origin, &leaves, 10);
    let log = &witness.logs()[0];
    let checkpoint = |sealed| log.open(&note(&origin, &leaves, 7, sealed, None)).unwrap().0;
    let rollback = |later| {
        Err(Refusal::Rollback {
            held: 10,
            offered: 7,
            later,
        })
    };
    assert_eq!(log.follows(&checkpoint(7)), rollback(false));
    assert_eq!(log.follows(&checkpoint(11)), rollback(true));
    assert!(rollback(true).unwrap_err().convicts() && !rollback(false).unwrap_err().convicts());
    // Submitted by a stranger both are answered as any request from another size. The later one is evidence, whoever brings it, and from
    // whatever size; the earlier one is an old checkpoint, no more.
    for sealed in [7, 11] {
        let offered = note(&origin, &leaves, 7, sealed, None);
        let answers = [(0, 409), (7, 409), (10, 400), (11, 400)];
        for (old, status) in answers {
            let refusal = witness.judge(&request(old, vec![], offered.clone())).unwrap_err();
            assert_eq!(refusal.status(), status, "{old}");
        }
        assert_eq!(
            witness.denial(&offered),
            rollback(true).err().filter(|_| sealed == 11)
        );
    }
}

// control: N3
#[test]
fn what_two_notes_prove_does_not_depend_on_the_request() {
    let (first, second, leaves) = (origin(1, 1), origin(2, 2), leaves(40));
    let before = first.to_string();
    let witness = having_seen(&first, &leaves, 10);
    let mut rewritten = leaves.clone();
    rewritten[4] = [9; 32];
    let denial = |note: &SignedNote| witness.denial(note).map(|refusal| refusal.code());

    assert_eq!(denial(&note(&first, &rewritten, 10, 10, None)), Some("fork"));
    assert_eq!(denial(&note(&first, &leaves, 20, 9, None)), Some("backdated"));
    let missing = note(&second, &leaves, 20, 99, Some((9, &before)));
    assert_eq!(denial(&missing), Some("set_back"));
    // What needs a proof, what another copy of the server says, and what the log has not signed prove nothing.
    assert_eq!(denial(&note(&first, &rewritten, 20, 99, None)), None);
    assert_eq!(
        denial(&note(&origin(1, 9), &leaves, 20, 99, Some((9, &before)))),
        None
    );
    assert_eq!(denial(&note(&first, &leaves, 10, 10, None)), None);
    let fork = note(&first, &rewritten, 10, 10, None);
    let mut unsigned = SignedNote::new(fork.text()).unwrap();
    assert_eq!(denial(&unsigned), None);
    unsigned.add(Signer::new(NAME, &[2; 32]).unwrap().sign(&unsigned));
    assert_eq!(denial(&unsigned), None);
    let mut damaged = SignedNote::new(fork.text()).unwrap();
    damaged.add(signer().sign(&note(&first, &leaves, 11, 11, None)));
    assert_eq!(denial(&damaged), None);
    assert_eq!(having_seen(&first, &leaves, 0).denial(&fork), None);
}

// control: N3
#[test]
fn sealing_does_not_go_back_in_time() {
    let (first, second, leaves) = (origin(1, 1), origin(2, 2), leaves(40));
    let before = first.to_string();
    let witness = having_seen(&first, &leaves, 10);
    let judge = |note: SignedNote| {
        let size = note.text().parse::<Checkpoint>().unwrap().size() as usize;
        witness.judge(&request(10, proof(10, &leaves[..size]), note))
    };
    let backdated = |offered| Refusal::Backdated { held: 10, offered };
    assert_eq!(
        judge(note(&first, &leaves, 20, 9, None)).unwrap_err(),
        backdated(20)
    );
    assert_eq!(
        judge(note(&first, &leaves, 10, 9, None)).unwrap_err(),
        backdated(10)
    );
    let restored = note(&second, &leaves, 20, 9, Some((10, &before)));
    assert_eq!(judge(restored).unwrap_err(), backdated(20));
    // Nor by leaving the time out.
    let timeless = Checkpoint::new(&before, 20, mth(&leaves[..20])).unwrap();
    let mut timeless = SignedNote::new(timeless.to_string()).unwrap();
    timeless.add(signer().sign(&timeless));
    assert_eq!(judge(timeless).unwrap_err(), backdated(20));
    assert!(backdated(20).convicts() && backdated(20).status() == 422);
    // A clock that stands still is no lie: the sealer keeps the last time then.
    assert!(judge(note(&first, &leaves, 20, 10, None)).is_ok());
    assert!(judge(note(&second, &leaves, 20, 10, Some((10, &before)))).is_ok());
}

// control: N3
#[test]
fn a_new_incarnation_is_followed_when_nothing_is_missing() {
    let (first, second, leaves) = (origin(1, 1), origin(2, 2), leaves(40));
    let before = first.to_string();
    let next = |begun: u64, size| note(&second, &leaves, size, 99, Some((begun, &before)));

    for begun in [10, 12, 19] {
        let mut witness = having_seen(&first, &leaves, 10);
        let cosignable = witness
            .judge(&request(10, proof(10, &leaves[..20]), next(begun, 20)))
            .unwrap();
        witness.advance(&cosignable);
        let log = &witness.logs()[0];
        assert_eq!(log.held().unwrap().origin(), second.to_string());
        // The earlier incarnation, which a copy may go on with, is not followed any more.
        let refusal = witness
            .judge(&request(
                20,
                proof(20, &leaves[..30]),
                note(&first, &leaves, 30, 99, None),
            ))
            .unwrap_err();
        assert_eq!((refusal.code(), refusal.convicts()), ("other_incarnation", false));
    }
    let witness = having_seen(&first, &leaves, 10);
    let judge = |note, size: usize| {
        witness
            .judge(&request(10, proof(10, &leaves[..size]), note))
            .unwrap_err()
    };
    // It begins before what was cosigned: leaves are missing, whatever the proof shows.
    assert_eq!(judge(next(9, 20), 20), Refusal::SetBack { held: 10, begun: 9 });
    assert!(judge(next(9, 20), 20).convicts());
    // It begins at its own end, or does not say what it continues, or is a second one of the same number.
    assert_eq!(judge(next(20, 20), 20).code(), "other_incarnation");
    assert_eq!(
        judge(note(&second, &leaves, 20, 99, None), 20).code(),
        "other_incarnation"
    );
    let twin = note(&origin(1, 9), &leaves, 20, 99, Some((10, &before)));
    assert_eq!(judge(twin, 20).code(), "other_incarnation");
    // It says that nothing is missing, and what it shows is another history.
    let mut rewritten = leaves.clone();
    rewritten[4] = [9; 32];
    let liar = note(&second, &rewritten, 20, 99, Some((10, &before)));
    assert_eq!(judge(liar, 20).code(), "bad_proof");
}

// control: N3
#[test]
fn a_person_may_accept_a_new_incarnation_and_nothing_else() {
    let (first, second, leaves) = (origin(1, 1), origin(2, 2), leaves(40));
    let before = first.to_string();
    let mut witness = having_seen(&first, &leaves, 10);
    let mut other = leaves.clone();
    other[6] = [9; 32];

    let same = note(&first, &leaves, 20, 99, None);
    assert_eq!(witness.accept(&same).unwrap_err(), Refusal::SameOrigin);
    let fork = note(&first, &other, 10, 99, None);
    assert_eq!(witness.accept(&fork).unwrap_err(), Refusal::SameOrigin);
    let mut unsigned = SignedNote::new(same.text()).unwrap();
    unsigned.add(Signer::new(NAME, &[2; 32]).unwrap().sign(&unsigned));
    assert_eq!(witness.accept(&unsigned).unwrap_err().status(), 403);

    let restored = note(&second, &other, 8, 99, Some((6, &before)));
    let accepted = witness.accept(&restored).unwrap();
    witness.advance(&accepted);
    // From now on it is followed as any other.
    let next = note(&second, &other, 30, 100, Some((6, &before)));
    assert!(witness.judge(&request(8, proof(8, &other[..30]), next)).is_ok());
    // What was cosigned under the first origin stands: nobody can go back to it. Another restore of the old backup can be accepted.
    assert_eq!(witness.logs()[0].past(), [first.to_string()]);
    assert_eq!(
        witness.accept(&note(&first, &leaves, 9, 99, None)).unwrap_err(),
        Refusal::SameOrigin
    );
    let again = note(&origin(2, 7), &leaves, 12, 101, Some((9, &before)));
    assert_eq!(
        witness
            .judge(&request(8, proof(8, &leaves[..12]), again.clone()))
            .unwrap_err()
            .code(),
        "other_incarnation"
    );
    assert!(witness.accept(&again).is_ok());
}

#[test]
fn only_the_logs_own_signatures_are_kept() {
    let (origin, leaves) = (origin(1, 1), leaves(4));
    let mut offered = note(&origin, &leaves, 4, 1, None);
    let other = Cosigner::new("w.example", &[5; 32]).unwrap();
    offered.add(other.cosign(&offered, 1).unwrap());
    let witness = having_seen(&origin, &leaves, 0);
    let cosignable = witness.judge(&request(0, vec![], offered)).unwrap();
    assert_eq!(cosignable.note, note(&origin, &leaves, 4, 1, None));
}

#[test]
fn the_specifications_example_is_read_and_written_back() {
    let request = AddCheckpoint::parse(EXAMPLE.as_bytes()).unwrap();
    assert_eq!((request.old_size, request.proof.len()), (20_852_014, 2));
    assert_eq!(request.to_string(), EXAMPLE);
    let cases = [
        ("old 20852014", "old 020852014", RequestError::OldSize),
        ("old 20852014", "old ", RequestError::OldSize),
        ("old 20852014", "old  1", RequestError::OldSize),
        ("old 20852014", "size 20852014", RequestError::OldSize),
        ("old 20852014", "old 20852014\r", RequestError::OldSize),
        ("kaw=\n", "kaw= \n", RequestError::Hash(2)),
        ("kaw=\n", "kaw\n", RequestError::Hash(2)),
    ];
    for (from, to, expected) in cases {
        let text = EXAMPLE.replacen(from, to, 1);
        assert_eq!(
            AddCheckpoint::parse(text.as_bytes()).unwrap_err(),
            expected,
            "{to:?}"
        );
    }
    let line = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
    let long = |count: usize| EXAMPLE.replacen(line, &line.repeat(count), 1);
    assert!(AddCheckpoint::parse(long(MAX_PROOF - 1).as_bytes()).is_ok());
    assert_eq!(
        AddCheckpoint::parse(long(MAX_PROOF).as_bytes()).unwrap_err(),
        RequestError::ProofLength
    );
    assert_eq!(
        AddCheckpoint::parse(b"old 0\n").unwrap_err(),
        RequestError::BlankLine
    );
    // Without a signature line it is a request, to be refused for that; without its last newline it is none.
    let unsigned = &EXAMPLE[..EXAMPLE.rfind('\u{2014}').unwrap()];
    let read = AddCheckpoint::parse(unsigned.as_bytes()).unwrap();
    assert!(read.note.signatures().is_empty());
    assert_eq!(read.to_string(), unsigned);
    assert_eq!(
        AddCheckpoint::parse(unsigned.trim_end_matches('\n').as_bytes()).unwrap_err(),
        RequestError::Note(NoteError::Text)
    );
    let textual = unsigned.strip_suffix('\n').unwrap();
    assert_eq!(AddCheckpoint::parse(textual.as_bytes()).unwrap(), read);
}

/// C2SP tlog-witness: 404 for an unknown origin, else 403 when no signature from a trusted key is present.
#[test]
fn a_checkpoint_that_nobody_has_signed_is_forbidden() {
    let (origin, leaves) = (origin(1, 1), leaves(40));
    let witness = having_seen(&origin, &leaves, 10);
    let status = |body: String| {
        let request = AddCheckpoint::parse(body.as_bytes()).expect("it can be read");
        witness.judge(&request).unwrap_err().status()
    };
    let text = note(&origin, &leaves, 20, 99, None).text().to_owned();
    for ending in ["", "\n"] {
        assert_eq!(status(format!("old 10\n\n{text}{ending}")), 403);
        assert_eq!(
            status(format!(
                "old 10\n\n{}{ending}",
                text.replacen(NAME, "other.example", 1)
            )),
            404
        );
        assert_eq!(status(format!("old 10\n\nnonsense\n{ending}")), 400);
    }
}

#[test]
fn submissions_are_read_and_written_back() {
    let (origin, leaves) = (origin(1, 1), leaves(4));
    let over = note(&origin, &leaves, 4, 1, None);
    let signatures: Vec<_> = (5..8)
        .map(|seed| {
            Cosigner::new("w.example", &[seed; 32])
                .unwrap()
                .cosign(&over, 1)
                .unwrap()
        })
        .collect();
    let submission = Submission { size: 4, signatures };
    let text = submission.to_string();
    assert!(text.starts_with("size 4\n\n\u{2014} w.example "));
    assert_eq!(Submission::parse(&text).unwrap(), submission);
    let lines = render_signatures(&submission.signatures);
    assert_eq!(parse_signatures(&lines).unwrap(), submission.signatures);
    for bad in [
        "",
        "\n",
        "\n\n",
        "size 4\n\n",
        "size 04\n\nx\n",
        "size 4\n",
        &text[..text.len() - 1],
    ] {
        assert!(Submission::parse(bad).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = AddCheckpoint::parse(&bytes);
        let _ = Submission::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn whatever_parses_is_written_back(at in 0..EXAMPLE.len(), byte in any::<u8>()) {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(request) = AddCheckpoint::parse(&bytes) {
            let mut written = request.to_string().into_bytes();
            // Where nobody has signed, the blank line before the signatures may be missing, too.
            if request.note.signatures().is_empty() && !bytes.ends_with(b"\n\n") {
                prop_assert_eq!(written.pop(), Some(b'\n'));
            }
            prop_assert_eq!(written, bytes);
        }
    }

    /// Over any run of growths and attempts to rewrite, all that was ever cosigned is one history.
    #[test]
    fn what_is_cosigned_is_one_history(steps in proptest::collection::vec((0usize..40, 1usize..=40, any::<bool>()), 1..60)) {
        let (origin, honest) = (origin(1, 1), leaves(40));
        let mut forged = honest.clone();
        forged[0] = [9; 32];
        let mut witness = having_seen(&origin, &honest, 1);
        for (old, new, forge) in steps {
            let tree = if forge { &forged } else { &honest };
            let way = if old == 0 || old > new { vec![] } else { proof(old, &tree[..new]) };
            if let Ok(cosignable) = witness.judge(&request(old, way, note(&origin, tree, new, new as i64, None))) {
                prop_assert_eq!(cosignable.checkpoint.root(), &mth(&honest[..new]));
                witness.advance(&cosignable);
            }
        }
    }
}
