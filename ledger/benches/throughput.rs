//! What one core does in a second: `cargo bench -p batchcortex-ledger`.

use std::cell::Cell;
use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use batchcortex_ledger::hash::{Hash, leaf_hash};
use batchcortex_ledger::merkle::verify_inclusion;
use batchcortex_ledger::record::{RecordEncoder, decode};
use batchcortex_ledger::request_signature;
use batchcortex_ledger::tile::{self, TileSource, Tiles};

/// Runs `work`, which does `units` of something, for about a second.
fn rate(what: &str, units: u64, mut work: impl FnMut()) {
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < Duration::from_secs(1) {
        work();
        done += units;
    }
    println!(
        "{what:<58} {:>12.0} /s",
        done as f64 / start.elapsed().as_secs_f64()
    );
}

/// The newest form of each tile.
#[derive(Default)]
struct Store {
    tiles: HashMap<(u8, u64), Vec<Hash>>,
    size: u64,
    edge: Vec<Vec<Hash>>,
    read: Cell<usize>,
}

impl Store {
    fn append(&mut self, leaves: &[Hash]) {
        let appended = tile::append(self.size, &self.edge, leaves).expect("the edge fits");
        for tile in appended.tiles {
            self.tiles.insert((tile.level, tile.index), tile.hashes);
        }
        (self.size, self.edge) = (appended.size, appended.edge);
    }
}

impl TileSource for Store {
    fn tile(&self, level: u8, index: u64, _: u16) -> Option<Vec<Hash>> {
        self.read.set(self.read.get() + 1);
        self.tiles.get(&(level, index)).cloned()
    }
}

/// A row like those of the audit trail: eighteen columns, about 500 bytes.
fn encode(buffer: Vec<u8>, row: u64) -> RecordEncoder {
    let mut encoder = RecordEncoder::with_buffer("event", buffer);
    encoder.field("row", &row.to_be_bytes());
    for column in [
        "event_id",
        "org_id",
        "recorded_at",
        "actor_kind",
        "actor_id",
        "actor_name",
        "actor_role",
        "action",
        "record_type",
        "record_id",
        "before",
        "after",
        "reason",
        "batch_id",
        "client_ip",
        "user_agent",
        "request_id",
    ] {
        encoder.field(column, &[b'x'; 16]);
    }
    encoder
}

fn records() {
    let preimage = encode(Vec::new(), 0).finish().expect("a record");
    println!("one record: {} bytes", preimage.len());
    rate("leaf_hash of one record", 1000, || {
        for _ in 0..1000 {
            black_box(leaf_hash(black_box(&preimage)));
        }
    });
    let mut buffer = Vec::new();
    rate("encode and leaf_hash, buffer reused", 1000, || {
        for row in 0..1000 {
            let (leaf, used) = encode(std::mem::take(&mut buffer), row)
                .leaf_hash()
                .expect("a record");
            black_box(leaf);
            buffer = used;
        }
    });
    rate("decode and leaf_hash", 1000, || {
        for _ in 0..1000 {
            black_box((decode(black_box(&preimage)).is_ok(), leaf_hash(&preimage)));
        }
    });
}

fn trees() {
    let leaves: Vec<Hash> = (0..10_000u64).map(|n| leaf_hash(&n.to_be_bytes())).collect();
    let mut store = Store::default();
    store.append(&leaves);
    let extend = |what: &str, store: &Store, count: usize| {
        rate(what, count as u64, || {
            black_box(tile::append(store.size, &store.edge, &leaves[..count]).expect("the edge fits"));
        });
    };
    extend("append leaves, 10,000 a step", &store, 10_000);
    extend("append leaves, 100 a step, at 10 thousand leaves", &store, 100);
    while store.size < 10_000_000 {
        store.append(&leaves);
    }
    extend("append leaves, 100 a step, at 10 million leaves", &store, 100);
    let hashes: usize = store.tiles.values().map(Vec::len).sum();
    println!(
        "tiles at 10 million leaves: {:.2} bytes a leaf",
        hashes as f64 * 32.0 / store.size as f64
    );

    let index = 7_654_321;
    let size = store.size;
    let tiles = Tiles::new(&store, size);
    let (proof, root) = (
        tiles.inclusion_proof(index).expect("a proof"),
        tiles.root().expect("a root"),
    );
    let leaf = leaf_hash(&(index % 10_000).to_be_bytes());
    store.read.set(0);
    let made = Tiles::new(&store, size).inclusion_proof(index).expect("a proof");
    println!(
        "an inclusion proof at 10 million leaves: {} hashes from {} tiles",
        made.len(),
        store.read.get()
    );
    rate("inclusion proofs from tiles at 10 million leaves", 1, || {
        black_box(Tiles::new(&store, size).inclusion_proof(index).expect("a proof"));
    });
    rate("consistency proofs from tiles at 10 million leaves", 1, || {
        black_box(
            Tiles::new(&store, size)
                .consistency_proof(index)
                .expect("a proof"),
        );
    });
    rate("verify_inclusion at 10 million leaves", 100, || {
        for _ in 0..100 {
            verify_inclusion(index, size, &leaf, &proof, &root).expect("the proof holds");
        }
    });
}

fn requests() {
    let (key, body, nonce) = ([7; 32], vec![b'x'; 4096], "AAECAwQFBgcICQoLDA0ODw");
    let sign = || {
        request_signature::sign(
            &key,
            "POST",
            "localhost:8480",
            "/v1/ingest",
            &body,
            1,
            nonce,
            "bcd_1",
        )
    };
    let h = sign().expect("the arguments fit");
    rate("verify the signature of a request of 4 KiB", 10, || {
        for _ in 0..10 {
            let verified = request_signature::verify(
                &key,
                "POST",
                "localhost:8480",
                "/v1/ingest",
                &body,
                &h.content_digest,
                &h.signature_input,
                &h.signature,
            );
            verified.expect("the signature holds");
        }
    });
}

fn main() {
    // `cargo test --all-targets` runs this too, and has no use for figures of a debug build.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    records();
    trees();
    requests();
}
