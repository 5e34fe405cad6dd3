//! A small log of two levels, and the evidence that a server would write about it.

use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::cosignature::Cosigner;
use batchcortex_ledger::evidence::{Header, Line, Scope, Trust, leaf_line, subtrees};
use batchcortex_ledger::hash::{Hash, leaf_hash};
use batchcortex_ledger::merkle::{consistency_proof, inclusion_proof, root_of};
use batchcortex_ledger::note::{SignedNote, Signer};
use batchcortex_ledger::record::RecordEncoder;

pub const GLOBAL: &str = "batches.example.com/0123456789abcdef/1-00c0ffee";
pub const ORGANISATION: &str = "2b2b2b2b-2b2b-2b2b-2b2b-2b2b2b2b2b2b";
pub const SEALED: &str = "2026-01-02T03:04:05.678901Z";

/// The organisation's log inside a global log of which the rest is made up.
#[derive(Clone)]
pub struct World {
    pub preimages: Vec<Vec<u8>>,
    pub leaves: Vec<Hash>,
    pub global: Vec<Hash>,
    pub index: usize,
    pub global_origin: String,
    pub origin: String,
    pub sealed_at: String,
    pub key: [u8; 32],
}

/// An event with a value of its own.
pub fn record(number: u64) -> Vec<u8> {
    let mut encoder = RecordEncoder::new("event");
    encoder.field("org_id", &[0x2b; 16]);
    let mut id = [0x01; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    encoder.field("event_id", &id);
    encoder.field(
        "recorded_at",
        &(820_000_000_000_000 + number as i64).to_be_bytes(),
    );
    encoder.field("action", b"app.weighed");
    encoder.field("after", br#"{"kg": 12.50, "by": "M\u00fcller"}"#);
    encoder.finish().expect("a record")
}

impl World {
    /// `size` records; the checkpoint is leaf `index` of `global` leaves.
    pub fn new(size: usize, index: usize, global: usize) -> Self {
        let mut world = World {
            preimages: (0..size as u64).map(record).collect(),
            leaves: Vec::new(),
            global: (0..global as u64)
                .map(|n| leaf_hash(&[&b"global"[..], &n.to_be_bytes()].concat()))
                .collect(),
            index,
            global_origin: GLOBAL.to_owned(),
            origin: format!("{GLOBAL}/{ORGANISATION}"),
            sealed_at: SEALED.to_owned(),
            key: [7; 32],
        };
        world.seal();
        world
    }

    /// Hashes the records and puts the checkpoint into the global log.
    pub fn seal(&mut self) {
        self.leaves = self
            .preimages
            .iter()
            .map(|preimage| leaf_hash(preimage))
            .collect();
        self.global[self.index] = leaf_hash(self.checkpoint().as_bytes());
    }

    pub fn checkpoint(&self) -> String {
        let size = self.leaves.len() as u64;
        Checkpoint::new(&self.origin, size, root_of(&self.leaves))
            .and_then(|checkpoint| checkpoint.with_extension(&format!("sealed {}", self.sealed_at)))
            .expect("a checkpoint")
            .to_string()
    }

    /// The signed checkpoint of the first `size` leaves of the global log.
    pub fn note(&self, size: usize, witnesses: &[(&str, [u8; 32])]) -> String {
        self.note_with(size, witnesses, &[])
    }

    pub fn note_with(&self, size: usize, witnesses: &[(&str, [u8; 32])], lines: &[&str]) -> String {
        let mut checkpoint = Checkpoint::new(&self.global_origin, size as u64, root_of(&self.global[..size]))
            .and_then(|checkpoint| checkpoint.with_extension(&format!("sealed {}", self.sealed_at)))
            .expect("a checkpoint");
        for line in lines {
            checkpoint = checkpoint.with_extension(line).expect("a line");
        }
        let mut note = SignedNote::new(checkpoint.to_string()).expect("a note");
        let name = self.global_origin.rsplitn(3, '/').last().expect("a name");
        note.add(Signer::new(name, &self.key).expect("a key").sign(&note));
        for (name, secret) in witnesses {
            let cosigner = Cosigner::new(name, secret).expect("a key");
            note.add(cosigner.cosign(&note, 1_767_323_046).expect("a cosignature"));
        }
        note.to_string()
    }

    /// Evidence of the leaves for which `shown` holds.
    pub fn evidence(&self, shown: impl Fn(usize) -> bool, since: &[usize]) -> Vec<String> {
        let scope = Scope::Batch(ORGANISATION.to_owned(), "B 1".to_owned());
        let mut lines = vec![Header::new(&self.origin, &scope, SEALED).to_string()];
        let mut gap = 0;
        let fill = |lines: &mut Vec<String>, from: usize, to: usize| {
            for (first, level) in subtrees(from as u64, to as u64) {
                let (start, width) = (first as usize, 1usize << level);
                let hash = root_of(&self.leaves[start..start + width]);
                lines.push(Line::Subtree { first, level, hash }.to_string());
            }
        };
        for index in (0..self.leaves.len()).filter(|index| shown(*index)) {
            fill(&mut lines, gap, index);
            lines.push(leaf_line(
                index as u64,
                &self.leaves[index],
                &self.preimages[index],
            ));
            gap = index + 1;
        }
        fill(&mut lines, gap, self.leaves.len());
        lines.push(Line::Checkpoint(self.checkpoint()).to_string());
        let path = inclusion_proof(&self.global[..], self.index as u64, self.global.len() as u64);
        lines.push(
            Line::Inclusion {
                index: self.index as u64,
                path: path.expect("a path"),
            }
            .to_string(),
        );
        for size in since {
            let path = consistency_proof(&self.global[..], *size as u64, self.global.len() as u64);
            lines.push(
                Line::Consistency {
                    size: *size as u64,
                    path: path.expect("a path"),
                }
                .to_string(),
            );
        }
        lines.push(Line::Global(self.note(self.global.len(), &WITNESSES)).to_string());
        lines
    }

    /// Trust in the log's key.
    pub fn trust(&self) -> Trust {
        let key = Signer::new("batches.example.com", &self.key).expect("a key");
        Trust::new(vec![key.verifier().clone()], vec![], None).expect("trust")
    }
}

pub const WITNESSES: [(&str, [u8; 32]); 2] = [("edge.example.org", [11; 32]), ("auditor", [12; 32])];

/// Trust in the log's key and in the first witness.
pub fn witnessed_trust() -> Trust {
    let log = Signer::new("batches.example.com", &[7; 32]).expect("a key");
    let witness = Cosigner::new(WITNESSES[0].0, &WITNESSES[0].1).expect("a key");
    Trust::new(
        vec![log.verifier().clone()],
        vec![witness.verifier().clone()],
        None,
    )
    .expect("trust")
}
