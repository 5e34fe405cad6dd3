//! The program as an auditor runs it: exit codes, what it prints, and how much memory it takes.
//!
//! control: A19, N1

#[path = "../../ledger/tests/common/evidence.rs"]
#[allow(dead_code)] // The ledger's own tests use more of it.
mod world;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use batchcortex_ledger::cosignature::Cosigner;
use batchcortex_ledger::evidence::{Line, leaf_line};
use batchcortex_ledger::hash::leaf_hash;
use batchcortex_ledger::note::Signer;
use tempfile::TempDir;
use world::{WITNESSES, World, record};

struct Desk {
    directory: TempDir,
    world: World,
}

impl Desk {
    fn new() -> Self {
        Desk {
            directory: TempDir::new().expect("a directory"),
            world: World::new(40, 2, 5),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, lines: &[String]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, lines.join("\n") + "\n").expect("a file");
        path
    }

    fn key(&self) -> String {
        let key = Signer::new("batches.example.com", &self.world.key).expect("a key");
        key.verifier().to_string()
    }

    fn run(&self, file: &Path, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_bcverify"))
            .arg(file)
            .args(["--log-key", &self.key()])
            .args(more)
            .output()
            .expect("bcverify")
    }
}

fn witness(number: usize) -> String {
    let (name, secret) = &WITNESSES[number];
    Cosigner::new(name, secret).expect("a key").verifier().to_string()
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn complained(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn what_holds_is_summarized() {
    let desk = Desk::new();
    let file = desk.write("whole.jsonl", &desk.world.evidence(|index| index >= 8, &[]));
    let output = desk.run(
        &file,
        &[
            "--witness-key",
            &witness(0),
            "--witness-key",
            &witness(1),
            "--quorum",
            "2",
        ],
    );
    assert_eq!(output.status.code(), Some(0), "{}", complained(&output));
    let text = printed(&output);
    for line in [
        "records:    32 (32 event)",
        "  as hashes 8",
        "  size      40",
        "  sealed    2026-01-02T03:04:05.678901Z",
        "  leaf      2 of 5",
        "signed by:   batches.example.com+",
        "cosigned by: edge.example.org+",
        "cosigned by: auditor+",
        " at 2026-01-02T03:04:06Z",
        "holds:      everything that the file shows",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert_eq!(complained(&output), "");
}

#[test]
fn what_was_altered_is_named_and_exits_with_1() {
    let desk = Desk::new();
    let mut altered = desk.world.clone();
    altered.preimages[17] = record(1000);
    let file = desk.write("altered.jsonl", &altered.evidence(|index| index >= 8, &[]));
    let output = desk.run(&file, &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = printed(&output);
    assert_eq!(
        text.lines().next(),
        Some(
            "wrong_leaf: line 12, leaf 17, event 01010101-0101-0101-0000-0000000003e8: \
             the record does not hash to its leaf: it was altered"
        )
    );
    assert!(text.ends_with("TAMPERED:   1 finding\n"), "{text}");

    // Another key than the one that signed; fewer witnesses than asked for.
    let file = desk.write("whole.jsonl", &desk.world.evidence(|_| true, &[]));
    let stranger = Signer::new("batches.example.com", &[9; 32])
        .expect("a key")
        .verifier()
        .to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_bcverify"))
        .args([file.as_os_str(), "--log-key".as_ref(), stranger.as_ref()])
        .output()
        .expect("bcverify");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed(&output).starts_with("not_signed: line 44: "),
        "{}",
        printed(&output)
    );
    let unknown = Cosigner::new("unknown", &[1; 32])
        .expect("a key")
        .verifier()
        .to_string();
    let output = desk.run(&file, &["--witness-key", &unknown]);
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains("not_witnessed: line 44: 0 of the given witnesses"));
}

#[test]
fn what_cannot_be_read_exits_with_2() {
    let desk = Desk::new();
    let lines = desk.world.evidence(|_| true, &[]);
    let cut = desk.write("cut.jsonl", &lines[..20]);
    let output = desk.run(&cut, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        printed(&output).contains("unreadable: line 21: the file ends early"),
        "{}",
        printed(&output)
    );

    let no_newline = desk.path("no_newline.jsonl");
    fs::write(&no_newline, lines.join("\n")).expect("a file");
    assert_eq!(desk.run(&no_newline, &[]).status.code(), Some(2));
    let mut more = lines.clone();
    more.push(lines[1].clone());
    assert_eq!(
        desk.run(&desk.write("more.jsonl", &more), &[]).status.code(),
        Some(2)
    );
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("binary", &[0xff, 0, 10]),
        ("windows", b"{}\r\n"),
    ] {
        let path = desk.path(name);
        fs::write(&path, bytes).expect("a file");
        assert_eq!(desk.run(&path, &[]).status.code(), Some(2), "{name}");
    }
    assert_eq!(desk.run(&desk.path("absent"), &[]).status.code(), Some(2));
    assert_eq!(desk.run(desk.directory.path(), &[]).status.code(), Some(2));

    // A call that makes no sense.
    let file = desk.write("whole.jsonl", &lines);
    for arguments in [
        &["--quorum", "1"][..],
        &["--witness-key", "nonsense"],
        &["--witness-key", &desk.key()],
        &["--log-key", &witness(0)],
        &["--log-key", "@/nonexistent"],
        &["--old-checkpoint", "/nonexistent"],
        &["--nonsense"],
    ] {
        let output = desk.run(&file, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(printed(&output), "", "{arguments:?}");
        assert!(!complained(&output).is_empty(), "{arguments:?}");
    }
    let without_key = Command::new(env!("CARGO_BIN_EXE_bcverify"))
        .arg(&file)
        .output()
        .expect("bcverify");
    assert_eq!(without_key.status.code(), Some(2));
}

#[test]
fn what_is_no_such_file_is_said_to_be_what_it_is() {
    let desk = Desk::new();
    let key = desk.path("log.vkey");
    fs::write(&key, desk.key()).expect("a file");
    let evidence = desk.write("whole.jsonl", &desk.world.evidence(|_| true, &[]));
    let output = desk.run(&evidence, &["--log-key", key.to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(complained(&output).contains(&format!("@{} reads keys from that file", key.display())));
    for (content, told) in [
        (&b"PGDMP\x01\x0e\x00\x04"[..], "pg_restore -f all.sql"),
        (
            b"--\n-- PostgreSQL database dump\n--\nCOPY public.a (b) FROM stdin;\n1\n\\.\n",
            "there is no ledger",
        ),
    ] {
        let file = desk.path("dump");
        fs::write(&file, content).expect("a file");
        let output = desk.run(&file, &["--dump"]);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(complained(&output).contains(told), "{}", complained(&output));
    }
}

#[test]
fn a_finding_stands_whatever_comes_after_it() {
    let desk = Desk::new();
    let mut altered = desk.world.clone();
    altered.preimages[3] = record(1000);
    let lines = altered.evidence(|_| true, &[]);
    let output = desk.run(&desk.write("altered.jsonl", &lines[..20]), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains("TAMPERED:   1 finding before that"));
}

// control: N3
#[test]
fn old_checkpoints() {
    let desk = Desk::new();
    let old = desk.path("kept");
    fs::write(&old, desk.world.note(3, &[])).expect("a file");
    let keep = ["--old-checkpoint", old.to_str().expect("a path")];
    let file = desk.write("since.jsonl", &desk.world.evidence(|_| false, &[3]));
    let output = desk.run(&file, &keep);
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    assert!(printed(&output).contains(&format!("continues:  {}\n", old.display())));

    // As psql prints it, with a newline of its own; and as an editor of Windows leaves it.
    let note = desk.world.note(3, &[]);
    fs::write(&old, format!("{note}\n")).expect("a file");
    assert_eq!(desk.run(&file, &keep).status.code(), Some(0));
    fs::write(&old, note.replace('\n', "\r\n")).expect("a file");
    let output = desk.run(&file, &keep);
    assert_eq!(output.status.code(), Some(2));
    assert!(complained(&output).contains("byte for byte"));
    fs::write(&old, note).expect("a file");

    let file = desk.write("bare.jsonl", &desk.world.evidence(|_| false, &[]));
    let output = desk.run(&file, &keep);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        printed(&output).contains("export it with since => 3"),
        "{}",
        printed(&output)
    );

    let mut rewritten = desk.world.clone();
    rewritten.global[1] = leaf_hash(b"another past");
    let file = desk.write("rewritten.jsonl", &rewritten.evidence(|_| false, &[3]));
    assert_eq!(desk.run(&file, &[]).status.code(), Some(0), "by itself it holds");
    let output = desk.run(&file, &keep);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed(&output).starts_with("inconsistent: "),
        "{}",
        printed(&output)
    );
}

#[test]
fn records_are_listed() {
    let desk = Desk::new();
    let file = desk.write(
        "some.jsonl",
        &desk.world.evidence(|index| index == 5 || index == 6, &[]),
    );
    let keys = desk.path("keys");
    fs::write(&keys, format!("# the log\n\n{}\n", desk.key())).expect("a file");
    let output = desk.run(&file, &["--list", "--log-key", &format!("@{}", keys.display())]);
    assert_eq!(output.status.code(), Some(0));
    let text = printed(&output);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.starts_with(r#"{"index":5,"kind":"event","fields":{"org_id":""#));
    assert!(complained(&output).contains("holds:"));
}

#[test]
fn help_teaches() {
    let help = |flag: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_bcverify"))
            .arg(flag)
            .output()
            .expect("bcverify");
        assert_eq!(output.status.code(), Some(0));
        printed(&output)
    };
    let text = help("--help");
    for word in [
        "wrong_leaf",
        "--old-checkpoint",
        "Exit:",
        "vouched for",
        "checkpoint_keys()",
    ] {
        assert!(text.contains(word), "{word}");
    }
    assert!(help("-h").lines().count() < 40);
}

/// A file on standard input, longer than the memory that the program may take.
#[test]
fn memory_does_not_grow_with_the_file() {
    let mut world = World::new(1, 0, 1);
    let desk = Desk::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_bcverify"))
        .args(["-", "--log-key", &desk.key()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bcverify");
    let mut input = child.stdin.take().expect("its input");
    let header = world.evidence(|_| true, &[]).remove(0);
    writeln!(input, "{header}").expect("a line");
    let preimages: Vec<Vec<u8>> = (0..1000).map(record).collect();
    for index in 0..150_000u64 {
        let preimage = &preimages[index as usize % 1000];
        let hash = leaf_hash(preimage);
        if index > 0 {
            world.leaves.push(hash);
        }
        writeln!(input, "{}", leaf_line(index, &hash, preimage)).expect("a line");
    }
    input.flush().expect("flushed");
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("its status");
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("its peak");
    let kilobytes: u64 = peak
        .split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number");
    assert!(kilobytes < 16 * 1024, "{kilobytes} kB after 80 MB");

    world.global[0] = leaf_hash(world.checkpoint().as_bytes());
    writeln!(input, "{}", Line::Checkpoint(world.checkpoint())).expect("a line");
    let path = vec![];
    writeln!(input, "{}", Line::Inclusion { index: 0, path }).expect("a line");
    writeln!(input, "{}", Line::Global(world.note(1, &[]))).expect("a line");
    drop(input);
    let output = child.wait_with_output().expect("bcverify");
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}
