//! A witness's memory on a real disk: what is kept, what is believed of it, what stops it, and what a person may decide.

use std::fs;
use std::path::Path;
use std::process::Command;

use batchcortex_edge::agent::config::Config;
use batchcortex_edge::witness::keeper::{Keeper, KeeperError, Outcome, Position, Source};
use batchcortex_edge::witness::settings::WitnessSettings;
use batchcortex_edge::witness::store::StoreError;
use batchcortex_keys::KeyFile;
use batchcortex_ledger::global::{self, Incarnation, Origin};
use batchcortex_ledger::hash::{Hash, leaf_hash, node_hash};
use batchcortex_ledger::merkle::root_of;
use batchcortex_ledger::note::{SignatureType, SignedNote, Signer};
use batchcortex_ledger::witness::{AddCheckpoint, Refusal};
use tempfile::TempDir;

const LOG: &str = "batches.example.com";

fn signer() -> Signer {
    Signer::new(LOG, &[1; 32]).expect("a name")
}

fn settings(directory: &Path) -> WitnessSettings {
    let keys = directory.join("witness.keys");
    if !keys.exists() {
        KeyFile::create(&keys, "w.example", SignatureType::CosignatureV1).expect("a new file");
    }
    let config = directory.join("edge.toml");
    let text = format!(
        "api_url = \"https://api.example\"\n[witness]\nkey_file = \"witness.keys\"\nstate_dir = \"state\"\nlog_keys = [\"{}\"]\n",
        signer().verifier()
    );
    fs::write(&config, text).expect("a directory");
    Config::load_witness(&config).expect("settings")
}

fn origin(number: u32, random: u8) -> Origin {
    let random = [random; 4];
    Origin::new(LOG, 7, Incarnation { number, random }).expect("a name")
}

fn note(origin: &Origin, leaves: &[Hash], sealed: i64, continues: Option<(u64, &str)>) -> SignedNote {
    let text = global::checkpoint(origin, leaves.len() as u64, root_of(leaves), sealed, continues)
        .expect("a checkpoint");
    let mut note = SignedNote::new(text.to_string()).expect("a note");
    note.add(signer().sign(&note));
    note
}

fn leaves(count: u8) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&[i])).collect()
}

fn ask(keeper: &Keeper, old_size: u64, proof: Vec<Hash>, note: &SignedNote, source: Source) -> Outcome {
    let note = note.clone();
    let request = AddCheckpoint {
        old_size,
        proof,
        note,
    };
    keeper.decide(&request, source).expect("a decision")
}

// control: N3
#[test]
fn what_was_cosigned_is_remembered_by_the_next_process() {
    let directory = TempDir::with_prefix("bc-witness-").unwrap();
    let settings = settings(directory.path());
    let (origin, all) = (origin(1, 1), leaves(4));
    let two = note(&origin, &all[..2], 2, None);
    let keeper = Keeper::open(&settings).unwrap();
    let Outcome::Cosigned(signature) = ask(&keeper, 0, vec![], &two, Source::Log) else {
        panic!("the first is believed")
    };
    let mut cosigned = two.clone();
    cosigned.add(signature.clone());
    assert!(cosigned.verify(std::slice::from_ref(keeper.verifier())).is_ok());
    drop(keeper);

    let keeper = Keeper::open(&settings).unwrap();
    let holding = &keeper.holdings().unwrap()[0];
    assert_eq!(
        (holding.size, holding.note.as_deref()),
        (2, Some(cosigned.to_string().as_str()))
    );
    // The same answer as before, so that it can be posted again.
    assert!(matches!(keeper.examine(LOG, &two).unwrap(), Position::Held(again) if again == signature));
    assert!(matches!(
        ask(&keeper, 0, vec![], &two, Source::Anyone),
        Outcome::Refused(Refusal::Conflict { held: 2 })
    ));
    let proof = vec![node_hash(&all[2], &all[3])];
    let four = note(&origin, &all, 4, None);
    assert!(matches!(keeper.examine(LOG, &four).unwrap(), Position::Ahead(2)));
    assert!(matches!(
        ask(&keeper, 2, proof, &four, Source::Log),
        Outcome::Cosigned(_)
    ));
}

// control: N3
#[test]
fn a_memory_that_was_tampered_with_is_not_believed() {
    let directory = TempDir::with_prefix("bc-witness-").unwrap();
    let settings = settings(directory.path());
    let keeper = Keeper::open(&settings).unwrap();
    ask(
        &keeper,
        0,
        vec![],
        &note(&origin(1, 1), &leaves(2), 2, None),
        Source::Log,
    );
    let state = fs::read_dir(&settings.state_dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|kind| kind == "state"))
        .unwrap();
    let text = fs::read_to_string(&state).unwrap();
    // Another size, with the signatures that were there.
    fs::write(&state, text.replacen("\\n2\\n", "\\n1\\n", 1)).unwrap();
    assert!(matches!(Keeper::open(&settings), Err(KeeperError::State { .. })));
    fs::write(&state, &text[..text.len() / 2]).unwrap();
    assert!(matches!(
        Keeper::open(&settings),
        Err(KeeperError::Store(StoreError::Damaged { .. }))
    ));
    // The log's note alone: cosigned by nobody, or by another witness.
    fs::write(&state, &text).unwrap();
    fs::rename(&settings.key_file, settings.key_file.with_extension("old")).unwrap();
    KeyFile::create(&settings.key_file, "w.example", SignatureType::CosignatureV1).unwrap();
    assert!(matches!(Keeper::open(&settings), Err(KeeperError::State { .. })));
    // After a rotation the old key vouches for it.
    fs::rename(settings.key_file.with_extension("old"), &settings.key_file).unwrap();
    KeyFile::rotate(&settings.key_file).unwrap();
    assert_eq!(Keeper::open(&settings).unwrap().holdings().unwrap()[0].size, 2);
}

// control: N3
#[test]
fn an_alarm_stands_until_a_person_decides() {
    let directory = TempDir::with_prefix("bc-witness-").unwrap();
    let settings = settings(directory.path());
    let keeper = Keeper::open(&settings).unwrap();
    let (first, second, all) = (origin(1, 1), origin(2, 2), leaves(4));
    let held = note(&first, &all[..3], 3, None);
    ask(&keeper, 0, vec![], &held, Source::Log);

    // A wrong proof from someone is no alarm, from the log it is.
    let four = note(&first, &all, 4, None);
    let wrong = vec![[9; 32]; 3];
    assert!(matches!(
        ask(&keeper, 3, wrong.clone(), &four, Source::Anyone),
        Outcome::Refused(_)
    ));
    let Outcome::Raised(_, alarm) = ask(&keeper, 3, wrong, &four, Source::Log) else {
        panic!("an alarm")
    };
    let evidence = fs::read_to_string(&alarm.evidence).unwrap();
    assert!(
        evidence.contains("bad_proof")
            && evidence.contains(&root_line(&held))
            && evidence.contains(&root_line(&four))
    );
    // It stands, for a right request and in the next process, too.
    drop(keeper);
    let keeper = Keeper::open(&settings).unwrap();
    let right = vec![all[2], all[3], node_hash(&all[0], &all[1])];
    assert!(matches!(
        ask(&keeper, 3, right.clone(), &four, Source::Log),
        Outcome::Alarmed(_)
    ));
    let decided = keeper
        .accept(LOG, &four, right, "the proxy was at fault", "uid=1")
        .unwrap()
        .unwrap();
    assert_eq!(decided.outcome, "resolved");
    assert_eq!(keeper.holdings().unwrap()[0].size, 4);

    // Another incarnation that lacks what was cosigned: a person may, and not a second time under the old origin.
    let before = first.to_string();
    let restored = note(&second, &leaves(3), 5, Some((2, &before)));
    assert!(matches!(
        keeper.examine(LOG, &restored).unwrap(),
        Position::Not(Outcome::Raised(Refusal::SetBack { held: 4, begun: 2 }, _))
    ));
    assert_eq!(
        keeper
            .accept(LOG, &note(&first, &leaves(2), 6, None), vec![], "no", "uid=1")
            .unwrap()
            .unwrap_err()
            .code(),
        "rollback"
    );
    let decided = keeper
        .accept(LOG, &restored, vec![], "deviation 17", "uid=1")
        .unwrap()
        .unwrap();
    assert_eq!(decided.outcome, "accepted");
    assert!(matches!(
        keeper.accept(LOG, &restored, vec![], "again", "uid=1"),
        Err(KeeperError::NoAlarm { .. })
    ));
    let decisions = fs::read_to_string(settings.state_dir.join("decisions.jsonl")).unwrap();
    assert_eq!(decisions.lines().count(), 2);
    assert!(decisions.contains("deviation 17"));
    assert_eq!(
        fs::read_dir(settings.state_dir.join("evidence")).unwrap().count(),
        2
    );
}

fn root_line(note: &SignedNote) -> String {
    note.text().lines().nth(2).expect("a root").to_owned()
}

// control: N3
#[test]
fn decisions_of_many_at_once_are_one_history() {
    let directory = TempDir::with_prefix("bc-witness-").unwrap();
    let settings = settings(directory.path());
    let origin = origin(1, 1);
    // Two histories of each size, brought by eight at once: of each size one at most is cosigned, and all of one history.
    let outcomes: Vec<(bool, bool)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (settings, origin) = (&settings, &origin);
                scope.spawn(move || {
                    let keeper = Keeper::open(settings).unwrap();
                    let forged = thread % 2 == 1;
                    let mut own = leaves(2);
                    if forged {
                        own[0] = [9; 32];
                    }
                    let outcome = ask(&keeper, 0, vec![], &note(origin, &own, 1, None), Source::Anyone);
                    (forged, matches!(outcome, Outcome::Cosigned(_)))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(
        outcomes.iter().filter(|(_, cosigned)| *cosigned).count(),
        1,
        "{outcomes:?}"
    );
}

#[test]
fn the_command_says_how_it_stands() {
    let directory = TempDir::with_prefix("bc-witness-").unwrap();
    let settings = settings(directory.path());
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_batchcortex-edge"))
            .args(["witness"])
            .args(arguments)
            .arg("--config")
            .arg(directory.path().join("edge.toml"))
            .output()
            .unwrap()
    };
    let status = run(&["status"]);
    assert_eq!(status.status.code(), Some(1), "nothing was ever verified");
    assert!(
        String::from_utf8(status.stdout)
            .unwrap()
            .contains("\"state\": \"silent\"")
    );
    assert!(!run(&["accept", "--reason", " "]).status.success());
    fs::write(
        &settings.key_file,
        KeyFile::create(&directory.path().join("log"), LOG, SignatureType::Ed25519)
            .map(|_| fs::read(directory.path().join("log")).unwrap())
            .unwrap(),
    )
    .unwrap();
    let wrong = run(&["status"]);
    assert!(
        String::from_utf8(wrong.stderr)
            .unwrap()
            .contains("create witness")
    );
}

#[test]
fn the_command_names_every_setting_and_wants_an_alarm_that_can_be_run() {
    let directory = TempDir::with_prefix("bc-witness-").unwrap();
    settings(directory.path());
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_batchcortex-edge"))
            .args(arguments)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (_, help) = run(&["--help"]);
    for setting in [
        "key_file",
        "log_keys",
        "state_dir",
        "interval_ms",
        "patience_s",
        "silence_s",
        "stale_after_s",
        "alarm",
        "listen",
    ] {
        assert!(help.contains(&format!("\n  {setting} = ")), "{setting}: {help}");
    }
    let config = directory.path().join("edge.toml");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, good + "alarm = [\"/nonexistent/page\", \"qa\"]\n").unwrap();
    let config = config.display().to_string();
    let (status, said) = run(&["witness", "run", "--config", &config]);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("witness.alarm: /nonexistent/page cannot be run by this user (No such file")
            && said.contains("or leave the setting out"),
        "{said}"
    );
    // Asking how it stands needs no alarm.
    let (_, said) = run(&["witness", "status", "--config", &config]);
    assert!(said.contains("\"state\": \"silent\""), "{said}");
}
