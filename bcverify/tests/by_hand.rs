//! The commands that docs/format.md §11 gives, run as they stand there.
//!
//! control: A19, N1

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The blocks of a language in the section.
fn blocks(language: &str) -> Vec<String> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format.md");
    let document = fs::read_to_string(document).expect("the document");
    let section = document
        .split("\n## 11. Evidence by hand\n")
        .nth(1)
        .expect("the section");
    let section = section.split("\n## ").next().expect("its text");
    let fence = format!("\n```{language}\n");
    section
        .split(&fence)
        .skip(1)
        .filter_map(|block| block.split("\n```").next())
        .map(|block| format!("{block}\n"))
        .collect()
}

/// What the documented commands print about a file.
fn by_hand(evidence: &str) -> String {
    let desk = TempDir::new().expect("a directory");
    fs::write(desk.path().join("evidence.jsonl"), evidence).expect("a file");
    fs::copy(fixtures().join("log.vkey"), desk.path().join("log.vkey")).expect("the key");
    let output = Command::new("bash")
        .args(["-c", &blocks("bash")[0]])
        .current_dir(desk.path())
        .output()
        .expect("bash");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!complaint.contains("not found"), "{complaint}");
    String::from_utf8(output.stdout).expect("text")
}

fn evidence() -> String {
    fs::read_to_string(fixtures().join("evidence.jsonl")).expect("the file")
}

fn bcverify(more: &[&str]) -> Option<i32> {
    let status = Command::new(env!("CARGO_BIN_EXE_bcverify"))
        .args(["evidence.jsonl", "--log-key", "@log.vkey"])
        .args(more)
        .current_dir(fixtures())
        .output();
    status.expect("bcverify").status.code()
}

#[test]
fn the_documented_commands_confirm_the_file_as_bcverify_does() {
    assert_eq!(by_hand(&evidence()), blocks("text")[0]);
    assert_eq!(bcverify(&[]), Some(0));
    assert_eq!(bcverify(&["--old-checkpoint", "kept.checkpoint"]), Some(0));
}

#[test]
fn the_documented_commands_find_what_is_altered() {
    let whole = evidence();
    // "second weighing" becomes "second weighinh"; another hash of a subtree; another path; another time in the signed text.
    for (from, to, line) in [
        (
            "7365636f6e64207765696768696e67",
            "7365636f6e64207765696768696e68",
            0,
        ),
        ("\"level\":0,\"hash\":\"", "\"level\":0,\"hash\":\"0", 1),
        ("\"path\":[\"", "\"path\":[\"0", 2),
        ("25653Z\\n\\n", "25654Z\\n\\n", 3),
    ] {
        assert!(whole.contains(from), "{from}");
        let mut altered = whole.replacen(from, to, 1);
        if line == 1 || line == 2 {
            // A digit more at the front, one less behind.
            let end = altered.find(to).expect("it") + to.len() + 63;
            altered.replace_range(end..=end, "");
        }
        let found = by_hand(&altered);
        let expected = blocks("text")[0].clone();
        for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
            assert_eq!(found != expected, number == line, "{to}: {found}");
        }
    }
}
