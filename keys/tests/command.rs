//! The command: what it prints, what it never prints, and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use batchcortex_ledger::note::{SignatureType, VerifierKey};

fn run(arguments: &[&str], file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_batchcortex-keys"))
        .args(arguments)
        .arg(file)
        .output()
        .expect("the program runs and prints UTF-8")
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the program runs and prints UTF-8")
}

#[test]
fn keys_are_made_rotated_and_shown_without_their_secrets() {
    let directory = tempfile::TempDir::with_prefix("bc-keys-").expect("the program runs and prints UTF-8");
    for (kind, signature_type) in [
        ("checkpoint", SignatureType::Ed25519),
        ("witness", SignatureType::CosignatureV1),
    ] {
        let file = directory.path().join(kind);
        let mut secrets = Vec::new();
        let mut outputs = Vec::new();
        let mut remember = || {
            let text = fs::read_to_string(&file).unwrap();
            let line = text.lines().next().unwrap();
            assert!(line.starts_with("PRIVATE+KEY+name.example+"));
            secrets.push(line.splitn(5, '+').nth(4).unwrap().to_owned());
        };
        outputs.push(run(&["create", kind, "--name", "name.example"], &file));
        remember();
        outputs.push(run(&["rotate"], &file));
        remember();
        outputs.push(run(&["public"], &file));
        assert!(outputs.iter().all(|output| output.status.success()));
        let keys = |output: &Output| -> Vec<VerifierKey> {
            printed(output)
                .lines()
                .map(|line| line.parse().unwrap())
                .collect()
        };
        let (made, rotated, shown) = (keys(&outputs[0]), keys(&outputs[1]), keys(&outputs[2]));
        assert_eq!((made.len(), rotated.len()), (1, 2));
        assert_eq!(rotated[1], made[0]);
        assert_eq!(rotated, shown);
        assert!(shown.iter().all(|key| key.signature_type() == signature_type));

        outputs.push(run(&["create", kind, "--name", "name.example"], &file));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        outputs.push(run(&["public"], &file));
        outputs.push(run(&["rotate"], &file));
        assert!(outputs[3..].iter().all(|output| output.status.code() == Some(1)));
        for output in &outputs {
            let all = [&output.stdout[..], &output.stderr[..]].concat();
            let all = String::from_utf8(all).unwrap();
            assert!(!all.contains("PRIVATE"), "{all}");
            assert!(
                secrets.iter().all(|secret| !all.contains(secret.as_str())),
                "{all}"
            );
        }
    }
}

#[test]
fn a_ring_shows_the_ids_of_its_keys_alone() {
    let directory = tempfile::TempDir::with_prefix("bc-keys-").unwrap();
    let file = directory.path().join("ring");
    assert_eq!(printed(&run(&["ring", "create"], &file)), "k1\n");
    assert_eq!(printed(&run(&["ring", "rotate"], &file)), "k2\nk1\n");
    let again = run(&["ring", "create"], &file);
    assert_eq!(again.status.code(), Some(1));
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("never overwritten"), "{said}");
}

#[test]
fn a_wrong_call_changes_nothing() {
    let directory = tempfile::TempDir::with_prefix("bc-keys-").unwrap();
    let file = directory.path().join("key");
    assert_eq!(run(&["create", "checkpoint"], &file).status.code(), Some(2));
    assert_eq!(
        run(&["create", "checkpoint", "--name", "two words"], &file)
            .status
            .code(),
        Some(1)
    );
    assert!(!file.exists());
}
