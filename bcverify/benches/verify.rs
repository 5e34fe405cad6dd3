//! How many records a second one core verifies: `cargo bench -p bcverify`. The program itself runs over a file, so that the
//! figure has everything in it: start, reading, hexadecimal, leaves, tree, signatures.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::evidence::{Header, Line, Scope, leaf_line};
use batchcortex_ledger::hash::leaf_hash;
use batchcortex_ledger::merkle::CompactRange;
use batchcortex_ledger::note::{SignedNote, Signer};
use batchcortex_ledger::record::RecordEncoder;
use sha2::{Digest, Sha256};

const RECORDS: u64 = 1_000_000;
const GLOBAL: &str = "bench.example.com/0123456789abcdef/1-00c0ffee";
const SEALED: &str = "2026-01-02T03:04:05.678901Z";

/// A row of the audit trail like most: about 300 bytes.
fn record(buffer: Vec<u8>, number: u64) -> Vec<u8> {
    let mut encoder = RecordEncoder::with_buffer("event", buffer);
    let mut id = [1; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    encoder
        .field("org_id", &[2; 16])
        .field("event_id", &id)
        .field("recorded_at", &number.to_be_bytes())
        .field("actor_kind", b"device")
        .field("actor_name", b"Edge agent of line 2")
        .field("actor_role", b"device")
        .field("action", b"app.weighed")
        .field("record_type", b"weighing")
        .field("record_id", number.to_string().as_bytes())
        .field("after", br#"{"kg": 12.50, "lot": "L-0017", "scale": "W-3"}"#)
        .field("batch_id", &[3; 16]);
    encoder.finish().expect("a record")
}

/// Writes evidence of a whole log and gives the log's key.
fn write(path: &Path) -> String {
    let key = Signer::new("bench.example.com", &[7; 32]).expect("a key");
    let origin = format!("{GLOBAL}/02020202-0202-0202-0202-020202020202");
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    let mut put = |line: String| writeln!(file, "{line}").expect("a line");
    put(Header::new(&origin, &Scope::All, SEALED).to_string());
    let mut tree = CompactRange::new();
    let (mut buffer, mut bytes) = (Vec::new(), 0);
    for number in 0..RECORDS {
        buffer = record(buffer, number);
        bytes += buffer.len();
        let hash = leaf_hash(&buffer);
        tree.append(hash);
        put(leaf_line(number, &hash, &buffer));
    }
    println!("{RECORDS} records of {} bytes", bytes as u64 / RECORDS);
    let sealed = |origin: &str, size, root| {
        let checkpoint = Checkpoint::new(origin, size, root).expect("a checkpoint");
        checkpoint
            .with_extension(&format!("sealed {SEALED}"))
            .expect("a time")
            .to_string()
    };
    let checkpoint = sealed(&origin, RECORDS, tree.root());
    let mut note = SignedNote::new(sealed(GLOBAL, 1, leaf_hash(checkpoint.as_bytes()))).expect("a note");
    note.add(key.sign(&note));
    put(Line::Checkpoint(checkpoint).to_string());
    put(Line::Inclusion {
        index: 0,
        path: vec![],
    }
    .to_string());
    put(Line::Global(note.to_string()).to_string());
    key.verifier().to_string()
}

fn main() {
    // `cargo test --all-targets` runs this too, and has no use for figures of a debug build.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("evidence.jsonl");
    let key = write(&path);
    let size = path.metadata().expect("a size").len() as f64;
    let report = |what: &str, seconds: f64| {
        let rate = RECORDS as f64 / seconds;
        println!(
            "{what:<44} {rate:>12.0} records/s {:>8.0} MB/s",
            size / seconds / 1e6
        );
    };
    // In turn, so that a slow minute slows all of them; the first round also warms the page cache.
    for _ in 0..4 {
        let begun = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_bcverify"))
            .args([path.as_os_str(), "--log-key".as_ref(), key.as_ref()])
            .stdout(Stdio::null())
            .status()
            .expect("bcverify");
        let seconds = begun.elapsed().as_secs_f64();
        assert!(status.success());
        report("bcverify", seconds);

        let mut lines = BufReader::with_capacity(256 * 1024, File::open(&path).expect("the file"));
        let (mut hasher, mut line) = (Sha256::new(), Vec::new());
        let begun = Instant::now();
        while lines.read_until(b'\n', &mut line).expect("a line") > 0 {
            hasher.update(&line);
            line.clear();
        }
        std::hint::black_box(hasher.finalize());
        report(
            "beside it, SHA-256 of the same file",
            begun.elapsed().as_secs_f64(),
        );
    }
}
