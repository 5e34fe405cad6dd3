//! Evidence files: what holds, what is found, and that no bit of a file can be changed unnoticed.
//!
//! control: A18, A19, N1

mod common;

use batchcortex_ledger::commitment;
use batchcortex_ledger::evidence::{
    Finding, FindingKind, Header, Line, MAX_LINE, Report, Scope, Trust, TrustError, Unreadable, Verifier,
    decode_hex, encode_hex, leaf_line, record_name, show, subtrees,
};
use batchcortex_ledger::hash::leaf_hash;
use batchcortex_ledger::merkle::{CompactRange, ProofError, root_of};
use batchcortex_ledger::note::{Signer, VerifierKey};
use batchcortex_ledger::record::RecordEncoder;
use common::evidence::{ORGANISATION, SEALED, WITNESSES, World, record, witnessed_trust};
use common::{leaves, mth};
use proptest::prelude::*;

/// Verifies lines as a program would: findings, and how it ended.
fn verify<T: AsRef<[u8]>>(trust: &Trust, lines: &[T]) -> (Vec<Finding>, Result<Report, Unreadable>) {
    let mut verifier = Verifier::new(trust.clone());
    let mut findings = Vec::new();
    for line in lines {
        let result = verifier.line(line.as_ref()).map(|_| ());
        findings.extend(verifier.findings());
        if let Err(unreadable) = result {
            return (findings, Err(unreadable));
        }
    }
    (findings, verifier.finish())
}

fn kinds(findings: &[Finding]) -> Vec<FindingKind> {
    findings.iter().map(|finding| finding.kind).collect()
}

#[test]
fn a_whole_log_verifies() {
    let world = World::new(11, 3, 9);
    let (findings, report) = verify(&witnessed_trust(), &world.evidence(|_| true, &[]));
    assert_eq!(findings, []);
    let report = report.expect("readable");
    assert_eq!(report.records, [("event".to_owned(), 11)]);
    assert_eq!((report.size, report.not_shown, report.missing), (11, 0, 0));
    assert_eq!(report.root, mth(&world.leaves));
    let global = report.global.expect("a global checkpoint");
    assert_eq!((global.size, global.root), (9, mth(&world.global)));
    assert_eq!(global.signatures[0].name, "batches.example.com");
    assert_eq!(global.cosignatures[0].name, WITNESSES[0].0);
    assert_eq!(global.cosignatures[0].time, Some(1_767_323_046));
}

proptest! {
    /// Any choice of records, in a tree of any shape: the verifier's root is the naive one of RFC 6962.
    #[test]
    fn any_selection_verifies(size in 1usize..70, chosen in any::<u128>(), global in 1usize..20, at in 0usize..20) {
        let world = World::new(size, at % global, global);
        let shown = |index: usize| chosen >> (index % 128) & 1 == 1;
        let lines = world.evidence(shown, &[]);
        let (findings, report) = verify(&world.trust(), &lines);
        prop_assert_eq!(findings, []);
        let report = report.unwrap();
        prop_assert_eq!(report.root, mth(&world.leaves));
        let records: u64 = report.records.iter().map(|(_, number)| number).sum();
        prop_assert_eq!(records, (0..size).filter(|index| shown(*index)).count() as u64);
        prop_assert_eq!(records + report.not_shown, size as u64);

        // A record that is altered is named, whichever it is; with its leaf altered too, the root fails.
        if let Some(index) = (0..size).find(|index| shown(*index)) {
            let mut altered = world.clone();
            altered.preimages[index] = record(1000);
            let (findings, _) = verify(&world.trust(), &altered.evidence(shown, &[]));
            prop_assert_eq!(kinds(&findings), [FindingKind::WrongLeaf]);
            prop_assert_eq!(findings[0].index, Some(index as u64));
            let line = lines.iter().position(|line| line.contains(&format!("\"leaf\":{{\"index\":{index},"))).unwrap();
            prop_assert_eq!(findings[0].line, line as u64 + 1);
            let mut lines = lines.clone();
            lines[line] = leaf_line(index as u64, &leaf_hash(&record(1000)), &record(1000));
            prop_assert_eq!(kinds(&verify(&world.trust(), &lines).0), [FindingKind::WrongRoot]);
        }
    }

    /// Subtrees tile a gap from the left, each perfect and aligned, O(log n) of them.
    #[test]
    fn gaps_are_tiled(first in 0u64..1 << 40, length in 0u64..1 << 40) {
        let mut next = first;
        let mut count = 0;
        for (start, level) in subtrees(first, first + length) {
            prop_assert_eq!(start, next);
            prop_assert_eq!(start % (1 << level), 0);
            next += 1 << level;
            count += 1;
        }
        prop_assert_eq!(next, first + length);
        prop_assert!(count <= 2 * 41);
    }

    /// Appending by subtrees gives the range that appending leaf by leaf gives.
    #[test]
    fn ranges_from_subtrees(size in 1usize..200, cut in 0usize..200) {
        let leaves = leaves(size);
        let mut range = CompactRange::new();
        for (from, to) in [(0, cut.min(size)), (cut.min(size), size)] {
            for (first, level) in subtrees(from as u64, to as u64) {
                let part = &leaves[first as usize..][..1 << level];
                range.append_subtree(level, mth(part)).unwrap();
            }
        }
        prop_assert_eq!(range.root(), mth(&leaves));
        let mut one_by_one = CompactRange::new();
        one_by_one.extend(leaves);
        prop_assert_eq!(range, one_by_one);
    }

    /// A line has one spelling: what is read displays as it stood.
    #[test]
    fn one_spelling(line in line(), position in any::<prop::sample::Index>(), byte in any::<u8>()) {
        prop_assert_eq!(Line::parse(line.as_bytes()).unwrap().to_string(), line.clone());
        let mut bytes = line.into_bytes();
        let position = position.index(bytes.len());
        bytes[position] = byte;
        if let Ok(line) = Line::parse(&bytes)
            && !matches!(line, Line::Leaf { .. })
        {
            let spelled = line.to_string();
            prop_assert_eq!(spelled.as_bytes(), &bytes[..]);
        }
    }

    #[test]
    fn no_bytes_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4)) {
        let _ = verify(&witnessed_trust(), &lines);
        for line in &lines {
            let _ = (show(0, line), record_name(line));
        }
    }

    #[test]
    fn records_are_shown_whatever_they_hold(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
        const COLUMNS: [&str; 8] = ["org_id", "recorded_at", "reason", "client_ip", "numbers", "texts", "expires_on", "booleans"];
        let mut encoder = batchcortex_ledger::record::RecordEncoder::new("event");
        for (column, value) in COLUMNS.iter().zip(&values) {
            encoder.field(column, value);
        }
        let preimage = encoder.finish().unwrap();
        let line = show(7, &preimage).unwrap();
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(json["fields"].as_object().unwrap().len(), values.len());
        prop_assert!(!line.chars().any(char::is_control));
    }

    #[test]
    fn hexadecimal(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut text = String::new();
        encode_hex(&bytes, &mut text);
        prop_assert_eq!(&text, &hex::encode(&bytes));
        let mut back = Vec::new();
        prop_assert!(decode_hex(text.as_bytes(), &mut back));
        prop_assert_eq!(back, bytes);
    }
}

fn line() -> impl Strategy<Value = String> {
    let hash = any::<[u8; 32]>;
    let path = || prop::collection::vec(any::<[u8; 32]>(), 0..4);
    prop_oneof![
        (any::<u64>(), any::<u8>(), hash()).prop_map(|(first, level, hash)| Line::Subtree {
            first,
            level,
            hash
        }
        .to_string()),
        (any::<u64>(), hash(), prop::collection::vec(any::<u8>(), 0..80))
            .prop_map(|(index, hash, preimage)| leaf_line(index, &hash, &preimage)),
        (any::<u64>(), hash(), any::<String>()).prop_map(|(index, hash, record)| Line::Missing {
            index,
            hash,
            record
        }
        .to_string()),
        any::<String>().prop_map(|text| Line::Checkpoint(text).to_string()),
        any::<String>().prop_map(|text| Line::Global(text).to_string()),
        (any::<u64>(), path()).prop_map(|(index, path)| Line::Inclusion { index, path }.to_string()),
        (any::<u64>(), path()).prop_map(|(size, path)| Line::Consistency { size, path }.to_string()),
    ]
}

/// What a reader of the file relies on. It leaves out `scope` and `exported_at`, which nothing vouches
/// for, and cannot see signatures by keys that were not given.
fn vouched_for(report: &Report, records: &[(u64, Vec<u8>)]) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        report.origin.clone(),
        (report.size, report.root, report.sealed_at.clone()),
        report.global_index,
        report.global.clone(),
        report.records.clone(),
        (report.not_shown, report.missing),
        report.consistent_with.clone(),
        records.to_vec(),
    )
}

/// Index and preimage of each record.
type Records = Vec<(u64, Vec<u8>)>;

/// Verifies a whole file; none unless everything holds.
fn accepted(trust: &Trust, file: &[u8]) -> Option<(Report, Records)> {
    let mut verifier = Verifier::new(trust.clone());
    let mut records = Vec::new();
    for line in file.strip_suffix(b"\n")?.split(|byte| *byte == b'\n') {
        if let Some(leaf) = verifier.line(line).ok()? {
            records.push((leaf.index, leaf.preimage.to_vec()));
        }
        if verifier.findings().next().is_some() {
            return None;
        }
    }
    Some((verifier.finish().ok()?, records))
}

#[test]
fn no_bit_can_be_changed_unnoticed() {
    let world = World::new(13, 5, 7);
    let mut trust = witnessed_trust();
    trust
        .remember("old", world.note(6, &[]).as_bytes())
        .expect("an old checkpoint");
    let lines = world.evidence(|index| index == 4 || index == 5 || index == 11, &[6]);
    let mut file = lines.join("\n").into_bytes();
    file.push(b'\n');
    let (report, records) = accepted(&trust, &file).expect("the file as it was exported");
    assert_eq!(report.consistent_with, ["old"]);
    let expected = vouched_for(&report, &records);

    // Where a change may pass: the values of scope and exported_at, and the signature of the witness whose
    // key was not given. Nothing else in the file.
    let text = std::str::from_utf8(&file).expect("text");
    let mut free = vec![false; file.len()];
    let mut allow = |from: usize, to: usize| free[from..to].fill(true);
    let scope = text.find("\"scope\":\"").expect("a scope") + 9;
    allow(scope, scope + text[scope..].find('"').expect("its end"));
    let exported = text.find("\"exported_at\":\"").expect("a time") + 15;
    allow(exported, exported + SEALED.len());
    let stranger = text.find("— auditor ").expect("the other witness");
    allow(
        stranger,
        stranger + text[stranger..].find("\\n").expect("its end"),
    );

    let mut passed = 0;
    for position in 0..file.len() {
        for bit in 0..8 {
            file[position] ^= 1 << bit;
            if let Some((report, records)) = accepted(&trust, &file) {
                assert!(
                    free[position],
                    "bit {bit} of byte {position} was changed unnoticed"
                );
                assert_eq!(vouched_for(&report, &records), expected);
                passed += 1;
            }
            file[position] ^= 1 << bit;
        }
    }
    // The test would say nothing if every change were refused before it was looked at.
    assert!(passed > 20, "{passed}");
}

#[test]
fn no_file_is_whole_without_its_last_byte_or_line() {
    let world = World::new(6, 1, 3);
    let lines = world.evidence(|index| index > 2, &[]);
    for count in 0..lines.len() {
        let (_, report) = verify(&world.trust(), &lines[..count]);
        let unreadable = report.expect_err("cut off");
        assert_eq!(unreadable.line, count as u64 + 1);
        assert!(unreadable.why.contains("ends early"), "{unreadable}");
    }
    for line in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(line);
        let (findings, report) = verify(&world.trust(), &without);
        assert!(!findings.is_empty() || report.is_err(), "without line {line}");
        let mut twice = lines.clone();
        twice.insert(line, lines[line].clone());
        let (findings, report) = verify(&world.trust(), &twice);
        assert!(!findings.is_empty() || report.is_err(), "line {line} twice");
    }
}

#[test]
fn every_break_of_the_walk_is_found() {
    let world = World::new(12, 0, 1);
    let mut lines = world.evidence(|_| true, &[]);
    lines.swap(2, 3); // leaves 1 and 2
    let (findings, report) = verify(&world.trust(), &lines);
    assert!(report.is_ok());
    assert_eq!(kinds(&findings), [FindingKind::OutOfOrder; 3]);
    assert!(
        findings[0].detail.contains("leaves 1 to 1 are not in the file"),
        "{}",
        findings[0]
    );

    let mut short = world.evidence(|_| true, &[]);
    short.remove(12);
    let (findings, _) = verify(&world.trust(), &short);
    assert_eq!(kinds(&findings), [FindingKind::WrongSize]);
}

#[test]
fn a_missing_record_is_found_by_name() {
    let world = World::new(5, 0, 1);
    let mut lines = world.evidence(|_| true, &[]);
    let gone = Line::Missing {
        index: 2,
        hash: world.leaves[2],
        record: "event 0199\u{1b}[2J".to_owned(),
    };
    lines[3] = gone.to_string();
    let (findings, report) = verify(&world.trust(), &lines);
    assert_eq!(kinds(&findings), [FindingKind::MissingRecord]);
    assert_eq!(
        findings[0].to_string(),
        "missing_record: line 4, leaf 2, event 0199\\u{1b}[2J: the log has its leaf, the database had no such record"
    );
    assert_eq!(report.expect("readable").missing, 1);
}

#[test]
fn bytes_that_are_no_record_are_found() {
    let mut world = World::new(3, 0, 1);
    world.preimages[1] = b"batchcortex/record/v2\n".to_vec();
    world.seal();
    let (findings, _) = verify(&world.trust(), &world.evidence(|_| true, &[]));
    assert_eq!(kinds(&findings), [FindingKind::NotARecord]);
}

#[test]
fn what_nobody_known_has_signed() {
    let world = World::new(3, 1, 2);
    let lines = world.evidence(|_| true, &[]);
    let stranger = Signer::new("batches.example.com", &[9; 32]).expect("a key");
    let trust = Trust::new(vec![stranger.verifier().clone()], vec![], None).expect("trust");
    assert_eq!(kinds(&verify(&trust, &lines).0), [FindingKind::NotSigned]);

    // A key signs for logs of its own name only.
    let renamed = Signer::new("elsewhere.example.com", &[7; 32]).expect("a key");
    let trust = Trust::new(vec![renamed.verifier().clone()], vec![], None).expect("trust");
    assert_eq!(kinds(&verify(&trust, &lines).0), [FindingKind::NotSigned]);
    let mut other = world.clone();
    other.global_origin = other.global_origin.replace("batches.", "elsewhere.");
    let mut both = world.trust();
    both = Trust::new(
        vec![
            renamed.verifier().clone(),
            Signer::new("batches.example.com", &world.key)
                .expect("a key")
                .verifier()
                .clone(),
        ],
        vec![],
        None,
    )
    .unwrap_or(both);
    let mut mixed = lines.clone();
    *mixed.last_mut().expect("a line") = other.evidence(|_| true, &[]).pop().expect("a line");
    assert_eq!(kinds(&verify(&both, &mixed).0), [FindingKind::WrongOrigin]);
}

#[test]
fn witnesses_and_quorum() {
    let world = World::new(3, 1, 2);
    let lines = world.evidence(|_| true, &[]);
    let log = || {
        vec![
            Signer::new("batches.example.com", &world.key)
                .expect("a key")
                .verifier()
                .clone(),
        ]
    };
    let witness = |name: &str, secret: u8| -> VerifierKey {
        batchcortex_ledger::cosignature::Cosigner::new(name, &[secret; 32])
            .expect("a key")
            .verifier()
            .clone()
    };
    let (known, absent) = (witness(WITNESSES[0].0, 11), witness("absent", 13));
    for (witnesses, quorum, expected) in [
        (vec![known.clone()], None, vec![]),
        (
            vec![known.clone(), absent.clone()],
            None,
            vec![FindingKind::NotWitnessed],
        ),
        (vec![known.clone(), absent.clone()], Some(1), vec![]),
        (vec![absent.clone()], Some(0), vec![]),
        (vec![absent.clone()], None, vec![FindingKind::NotWitnessed]),
        // A witness that has changed its key is one witness.
        (vec![known.clone(), witness(WITNESSES[0].0, 14)], None, vec![]),
    ] {
        let trust = Trust::new(log(), witnesses, quorum).expect("trust");
        assert_eq!(kinds(&verify(&trust, &lines).0), expected);
    }
    assert!(matches!(
        Trust::new(log(), vec![known.clone()], Some(2)),
        Err(TrustError::Quorum { quorum: 2, known: 1 })
    ));
    assert!(matches!(
        Trust::new(vec![], vec![], None),
        Err(TrustError::NoLogKey)
    ));
    assert!(matches!(
        Trust::new(vec![known.clone()], vec![], None),
        Err(TrustError::NotALogKey(_))
    ));
    assert!(matches!(
        Trust::new(log(), log(), None),
        Err(TrustError::NotAWitnessKey(_))
    ));
}

// control: N3
#[test]
fn an_old_checkpoint_convicts_whoever_holds_the_key() {
    let world = World::new(8, 6, 9);
    let old = world.note(4, &[]);
    let trusting = |note: &str| {
        let mut trust = world.trust();
        trust
            .remember("kept", note.as_bytes())
            .expect("an old checkpoint");
        trust
    };
    // The same history: with its proof it holds, without it nothing is shown.
    assert_eq!(verify(&trusting(&old), &world.evidence(|_| true, &[4])).0, []);
    assert_eq!(
        kinds(&verify(&trusting(&old), &world.evidence(|_| true, &[])).0),
        [FindingKind::NotShown]
    );
    assert_eq!(
        verify(&trusting(&world.note(9, &[])), &world.evidence(|_| true, &[])).0,
        []
    );

    // History rewritten before the old checkpoint, every tree rebuilt, all of it signed with the stolen key.
    let mut rewritten = world.clone();
    rewritten.global[2] = leaf_hash(b"another past");
    rewritten.preimages[3] = record(999);
    rewritten.seal();
    let lines = rewritten.evidence(|_| true, &[4]);
    assert_eq!(verify(&world.trust(), &lines).0, [], "by itself it holds");
    assert_eq!(
        kinds(&verify(&trusting(&old), &lines).0),
        [FindingKind::Inconsistent]
    );
    let same_size = trusting(&world.note(9, &[]));
    assert_eq!(kinds(&verify(&same_size, &lines).0), [FindingKind::Inconsistent]);

    // Rolled back: a smaller log, sealed later. An export that is merely older shows nothing.
    let mut shorter = world.clone();
    shorter.global.truncate(7);
    shorter.sealed_at = "2026-02-01T00:00:00.000000Z".to_owned();
    shorter.seal();
    let lines = shorter.evidence(|_| true, &[]);
    assert_eq!(kinds(&verify(&same_size, &lines).0), [FindingKind::Inconsistent]);
    let mut earlier = shorter.clone();
    earlier.sealed_at = "2026-01-01T00:00:00.000000Z".to_owned();
    earlier.seal();
    assert_eq!(
        kinds(&verify(&same_size, &earlier.evidence(|_| true, &[])).0),
        [FindingKind::NotShown]
    );

    // What is not signed by a known key of its log is not taken as an old checkpoint.
    let mut stranger = world.clone();
    stranger.key = [8; 32];
    let mut trust = world.trust();
    assert!(matches!(
        trust.remember("forged", stranger.note(4, &[]).as_bytes()),
        Err(TrustError::Checkpoint(_))
    ));
    assert!(trust.remember("organisation", b"x").is_err());
}

#[test]
fn an_organisation_that_was_quiet_since_the_last_incarnation() {
    let mut world = World::new(3, 1, 4);
    world.global_origin = world.global_origin.replace("/1-00c0ffee", "/2-0badcafe");
    assert_eq!(verify(&world.trust(), &world.evidence(|_| true, &[])).0, []);
    // Another log of the same number is another log.
    world.global_origin = world.global_origin.replace("/2-", "/1-");
    assert_eq!(
        kinds(&verify(&world.trust(), &world.evidence(|_| true, &[])).0),
        [FindingKind::WrongOrigin]
    );
}

#[test]
fn lines_with_another_spelling_are_unreadable() {
    let hash = "00".repeat(32);
    let good = format!(r#"{{"subtree":{{"first":8,"level":3,"hash":"{hash}"}}}}"#);
    assert!(Line::parse(good.as_bytes()).is_ok());
    for bad in [
        good.replace(":8", ": 8"),
        good.replace(":8", ":08"),
        good.replace(":8", ":-8"),
        good.replace(":8", ":18446744073709551616"),
        good.replace(":3", ":256"),
        good.replace("00\"", "0A\""),
        good.replace("hash", "Hash"),
        format!("{good} "),
        format!(" {good}"),
        good.replace("\"first\":8,\"level\":3", "\"level\":3,\"first\":8"),
        r#"{"checkpoint":"\u0061"}"#.to_owned(),
        r#"{"checkpoint":"a","checkpoint":"a"}"#.to_owned(),
        r#"{"inclusion":{"path":[],"index":1}}"#.to_owned(),
        r#"{"inclusion":{"index":1,"path":["00"]}}"#.to_owned(),
        r#"{"inclusion":{"index":1.0,"path":[]}}"#.to_owned(),
        r#"{"opening":{"index":1}}"#.to_owned(),
        String::new(),
    ] {
        assert!(Line::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let long = format!(
        r#"{{"inclusion":{{"index":1,"path":[{}]}}}}"#,
        vec![format!("\"{hash}\""); 129].join(",")
    );
    assert!(Line::parse(long.as_bytes()).is_err());
    assert!(Line::parse(&vec![b'x'; MAX_LINE + 1]).is_err());
}

#[test]
fn headers_and_origins() {
    let origin = format!("{}/{ORGANISATION}", common::evidence::GLOBAL);
    let header = Header::new(&origin, &Scope::All, SEALED);
    assert_eq!(Header::parse(header.to_string().as_bytes()), Ok(header.clone()));
    for (from, to) in [
        ("batchcortex/v1", "batchcortex/v2"),
        ("\"all\"", "\"All\""),
        ("\"all\"", "\"record x\""),
        (SEALED, "2026-01-02 03:04:05Z"),
        (",\"scope\"", ", \"scope\""),
    ] {
        assert!(
            Header::parse(header.to_string().replace(from, to).as_bytes()).is_err(),
            "{to}"
        );
    }
    for scope in [
        Scope::All,
        Scope::Record(ORGANISATION.to_owned()),
        Scope::Batch(ORGANISATION.to_owned(), "B 17 \" é".to_owned()),
        Scope::Time(None, Some(SEALED.to_owned())),
    ] {
        assert_eq!(Scope::parse(&scope.to_string()), Some(scope));
    }
    // The header names an organisation's log.
    let global = Header::new(common::evidence::GLOBAL, &Scope::All, SEALED).to_string();
    let (_, report) = verify(&witnessed_trust(), &[global]);
    assert_eq!(report.expect_err("no organisation").line, 1);
}

#[test]
fn a_subtree_must_be_aligned() {
    let mut range = CompactRange::new();
    range.append([1; 32]);
    assert!(matches!(
        range.append_subtree(1, [2; 32]),
        Err(ProofError::Misaligned { size: 1, level: 1 })
    ));
    assert!(matches!(
        CompactRange::new().append_subtree(63, [0; 32]),
        Err(ProofError::TooLarge)
    ));
    assert!(matches!(
        CompactRange::new().append_subtree(200, [0; 32]),
        Err(ProofError::TooLarge)
    ));
    let mut large = CompactRange::new();
    large.append_subtree(62, [0; 32]).expect("half of it all");
    assert_eq!(large.append_subtree(62, [0; 32]), Err(ProofError::TooLarge));
    assert_eq!(root_of(&[]), CompactRange::new().root());
}

#[test]
fn a_record_of_another_organisation_is_found() {
    let of = |domain: &str, org: Option<&[u8]>| {
        let mut encoder = RecordEncoder::new(domain);
        encoder.field("event_id", &[0x02; 16]);
        if let Some(org) = org {
            encoder.field("org_id", org);
        }
        encoder.finish().expect("a record")
    };
    let sealed_in = |origin: &str, preimage: Vec<u8>| {
        let mut world = World::new(5, 1, 4);
        world.preimages = vec![preimage];
        world.origin = format!("{}/{origin}", common::evidence::GLOBAL);
        world.seal();
        let (findings, report) = verify(&world.trust(), &world.evidence(|_| true, &[]));
        assert!(report.is_ok());
        findings
    };
    // The log, its tree and its signatures are in order: what the record says of itself is not.
    for preimage in [
        of("event", Some(&[0x2c; 16])),
        of("sample_segment", Some(&[0; 16])),
        of("event", Some(&[0x2b; 15])),
        of("event", None),
    ] {
        let findings = sealed_in(ORGANISATION, preimage);
        assert_eq!(kinds(&findings), [FindingKind::WrongOrganisation]);
        assert_eq!(findings[0].index, Some(0));
    }
    let findings = sealed_in(ORGANISATION, of("event", Some(&[0x2c; 16])));
    assert_eq!(
        findings[0].to_string(),
        "wrong_organisation: line 2, leaf 0, event 02020202-0202-0202-0202-020202020202: \
         the record is one of organisation 2c2c2c2c-2c2c-2c2c-2c2c-2c2c2c2c2c2c, \
         the log is that of 2b2b2b2b-2b2b-2b2b-2b2b-2b2b2b2b2b2b"
    );
    assert!(findings[0].kind.is_tampering());
    // The installation's own log; tables of someone else, which may call anything org_id or have no organisation.
    let installation = "00000000-0000-0000-0000-000000000000";
    assert_eq!(sealed_in(installation, of("event", Some(&[0; 16]))), []);
    assert_eq!(
        kinds(&sealed_in(installation, of("event", Some(&[0x2b; 16])))),
        [FindingKind::WrongOrganisation]
    );
    for org in [None, Some(&b"17"[..]), Some(&[0x2c; 16])] {
        assert_eq!(sealed_in(ORGANISATION, of("table:weighing.scale", org)), []);
    }
}

#[test]
fn an_event_is_shown_by_its_fields() {
    let shown = show(5, &record(3)).expect("a record");
    assert_eq!(
        shown,
        concat!(
            r#"{"index":5,"kind":"event","fields":{"org_id":"2b2b2b2b-2b2b-2b2b-2b2b-2b2b2b2b2b2b","#,
            r#""event_id":"01010101-0101-0101-0000-000000000003","recorded_at":"2025-12-25T17:46:40.000003Z","#,
            r#""action":"app.weighed","after":"{\"kg\": 12.50, \"by\": \"M\\u00fcller\"}"}}"#
        )
    );
    assert_eq!(
        record_name(&record(3)).as_deref(),
        Some("event 01010101-0101-0101-0000-000000000003")
    );
    assert_eq!(show(0, b"nothing"), None);
}

/// A log whose third record names a person by a commitment, and the evidence with its opening.
fn committed() -> (World, Vec<String>) {
    let mut encoder = RecordEncoder::new("event");
    encoder.field("org_id", &[0x2b; 16]);
    encoder.field("event_id", &[0x02; 16]);
    encoder.field("recorded_at", &820_000_000_000_002i64.to_be_bytes());
    encoder.field("action", b"member.invited");
    let name = commitment::text(&commitment::commit(&[9; 32], "ada@example.org"));
    let after = format!(r#"{{"username" : "{name}", "role_name" : "qa"}}"#);
    encoder.field("after", after.as_bytes());
    let mut world = World::new(5, 1, 4);
    world.preimages[2] = encoder.finish().expect("a record");
    world.seal();
    let mut lines = world.evidence(|_| true, &[]);
    lines.insert(4, opening(2, "after.username", [9; 32], "ada@example.org"));
    (world, lines)
}

fn opening(index: u64, field: &str, salt: [u8; 32], value: &str) -> String {
    Line::Opening {
        index,
        field: field.to_owned(),
        salt,
        value: value.to_owned(),
    }
    .to_string()
}

// control: B29, N8
#[test]
fn a_value_is_proven_by_its_opening_and_the_root_does_not_need_it() {
    let (world, mut lines) = committed();
    let (findings, report) = verify(&world.trust(), &lines);
    assert_eq!(findings, []);
    let report = report.expect("readable");
    assert_eq!(report.openings, 1);
    lines.remove(4);
    let (findings, erased) = verify(&world.trust(), &lines);
    assert_eq!(findings, []);
    assert_eq!(erased.expect("readable").root, report.root);
}

// control: B29, N8
#[test]
fn an_opening_of_another_value_or_in_another_place_is_refused() {
    let (world, lines) = committed();
    for other in [
        opening(2, "after.username", [9; 32], "eve@example.org"),
        opening(2, "after.username", [8; 32], "ada@example.org"),
        opening(2, "after.role_name", [9; 32], "ada@example.org"),
        opening(2, "before.username", [9; 32], "ada@example.org"),
        opening(2, "after", [9; 32], "ada@example.org"),
        opening(2, "", [9; 32], ""),
    ] {
        let mut lines = lines.clone();
        lines[4] = other;
        let (findings, report) = verify(&world.trust(), &lines);
        assert_eq!(kinds(&findings), [FindingKind::WrongOpening]);
        assert!(report.is_ok());
    }
    for (from, to) in [(4, 3), (4, 5), (4, 1), (4, 7)] {
        let mut lines = lines.clone();
        let line = lines.remove(from);
        lines.insert(to, line);
        let (_, report) = verify(&world.trust(), &lines);
        assert!(report.is_err(), "{to}");
    }
    for bit in 0..8 * lines[4].len() {
        let mut altered: Vec<Vec<u8>> = lines.iter().map(|line| line.clone().into_bytes()).collect();
        altered[4][bit / 8] ^= 1 << (bit % 8);
        let (findings, report) = verify(&world.trust(), &altered);
        assert!(report.is_err() || !findings.is_empty(), "bit {bit}");
    }
}

// control: N8
#[test]
fn a_commitment_is_the_sha_256_that_the_format_says() {
    // printf 'batchcortex/commitment/v1\n' ; 32 bytes 0x09 ; printf 'ada@example.org' | sha256sum
    let bytes = [&b"batchcortex/commitment/v1\n"[..], &[9; 32], b"ada@example.org"].concat();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&bytes);
    assert_eq!(commitment::commit(&[9; 32], "ada@example.org")[..], digest[..]);
}
