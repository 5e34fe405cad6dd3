//! The checkpoints of a log in the order of their sizes: compared with the leaves while the tree grows, and with what was signed.

use super::log::Check;
use crate::ledger::incarnation::{EPOCH, Lives};
use crate::ledger::scan::Scan;
use crate::ledger::signature::{Fault, Signatures, signed};
use crate::row::with_varlena;
use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::global::{self, GLOBAL};
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::merkle::CompactRange;
use pgrx::datum::Uuid;
use std::collections::{BTreeMap, VecDeque};

const RELATION: &str = "batchcortex.ledger_checkpoint";

/// A row of batchcortex.ledger_checkpoint.
pub struct Stated {
    /// Tree size.
    pub size: i64,
    root: Vec<u8>,
    /// Microseconds since 2000-01-01 UTC.
    pub sealed_at: i64,
    incarnation: i32,
    /// Leaf of the global log.
    pub global_index: Option<i64>,
    note: Option<String>,
}

impl Stated {
    /// Columns of a query for [`Stated::read`], in its order.
    pub const COLUMNS: &'static str = "tree_size, root, sealed_at, incarnation, global_index, note";

    /// Reads the columns from `first` on.
    pub fn read(row: &crate::row::Row<'_>, first: usize) -> Self {
        let number = |i: usize| row.get(first + i).map(|datum| datum.value() as i64);
        let bytes = |i: usize| {
            // SAFETY: root is a bytea column, note a text column.
            row.get(first + i)
                .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) })
        };
        Stated {
            size: number(0).unwrap_or(0),
            root: bytes(1).unwrap_or_default(),
            sealed_at: number(2).unwrap_or(0),
            incarnation: number(3).unwrap_or(0) as i32,
            global_index: number(4),
            note: bytes(5).and_then(|note| String::from_utf8(note).ok()),
        }
    }

    /// The incarnation that it says it was sealed in.
    pub fn incarnation(&self) -> i32 {
        self.incarnation
    }

    /// The checkpoint of log `org_id` that the row tells of; none when its incarnation is unknown or its root no hash.
    pub fn checkpoint(&self, org_id: [u8; 16], lives: &Lives) -> Option<Checkpoint> {
        let life = lives.get(self.incarnation)?;
        let root: Hash = self.root.as_slice().try_into().ok()?;
        let (origin, continues) = match org_id {
            GLOBAL => (life.origin.clone(), life.continues.as_ref()),
            _ => (life.origin.of_organisation(org_id), None),
        };
        let continues = continues.map(|(size, origin)| (*size, origin.as_str()));
        global::checkpoint(&origin, self.size as u64, root, self.sealed_at + EPOCH, continues).ok()
    }
}

/// What was read of a log's checkpoints.
#[derive(Default)]
pub struct Tally {
    /// Checkpoints.
    pub read: u64,
    /// Those of a server without a key.
    pub unsigned: u64,
}

/// A stream over them.
pub struct Checkpoints<'a> {
    org_id: [u8; 16],
    lives: &'a Lives,
    /// Size from which on they are read.
    after: u64,
    scan: Scan,
    read_ahead: VecDeque<Stated>,
    /// The last one that was compared.
    last: Option<Stated>,
    signatures: Signatures,
    /// Keys that this server does not know, with the first size that one has signed and how many it has.
    unknown_keys: BTreeMap<String, (i64, u64)>,
    tally: Tally,
}

impl<'a> Checkpoints<'a> {
    /// Opens those of more than `after` leaves.
    pub fn open(org_id: Uuid, after: u64, lives: &'a Lives) -> Self {
        let query = format!(
            "select {} from {RELATION} where org_id = $1 and tree_size > {after} order by tree_size",
            Stated::COLUMNS
        );
        Checkpoints {
            org_id: *org_id.as_bytes(),
            lives,
            after,
            scan: Scan::open(&query, &[*org_id.as_bytes()], 1000),
            read_ahead: VecDeque::new(),
            last: None,
            signatures: Signatures::default(),
            unknown_keys: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// Size and time, microseconds since 2000-01-01 UTC, of the checkpoint that first held a leaf that comes next.
    pub fn of_leaf(&mut self, index: u64) -> Option<(i64, i64)> {
        self.read_more();
        let next = self.read_ahead.front()?;
        (next.size as u64 > index).then_some((next.size, next.sealed_at))
    }

    /// Whether one that comes next has fewer than `size` leaves.
    pub fn any_below(&mut self, size: u64) -> bool {
        self.read_more();
        self.read_ahead
            .front()
            .is_some_and(|next| (next.size as u64) < size)
    }

    fn read_more(&mut self) {
        if self.read_ahead.is_empty() {
            let read_ahead = &mut self.read_ahead;
            self.scan.next(|row| read_ahead.push_back(Stated::read(row, 0)));
        }
    }

    /// The next one, if its size is at most `size`.
    fn next_up_to(&mut self, size: u64) -> Option<Stated> {
        self.read_more();
        if self.read_ahead.front()?.size as u64 > size {
            return None;
        }
        self.tally.read += 1;
        self.read_ahead.pop_front()
    }

    /// Compares those of the tree's size so far.
    pub fn at(&mut self, check: &mut Check<'_>, range: &CompactRange) {
        while let Some(stated) = self.next_up_to(range.size()) {
            if stated.root != range.root() {
                let detail = format!(
                    "the checkpoint says {}, the leaves give {}",
                    hex::encode(&stated.root),
                    hex::encode(range.root())
                );
                check.find(
                    "inconsistent_checkpoint",
                    RELATION,
                    stated.size.to_string(),
                    detail,
                );
            }
            self.statement(check, &stated);
            self.last = Some(stated);
        }
    }

    /// What one says beside size and root.
    fn statement(&mut self, check: &mut Check<'_>, stated: &Stated) {
        let mut find = |code, detail: String| check.find(code, RELATION, stated.size.to_string(), detail);
        if self
            .last
            .as_ref()
            .is_some_and(|last| last.sealed_at > stated.sealed_at)
        {
            find(
                "inconsistent_checkpoint",
                "it was sealed before the checkpoint before it".to_owned(),
            );
        }
        let Some(checkpoint) = stated.checkpoint(self.org_id, self.lives) else {
            let detail = format!("no incarnation {} of the log is recorded", stated.incarnation);
            return find("inconsistent_checkpoint", detail);
        };
        if self.org_id != GLOBAL {
            return;
        }
        match stated.note.as_deref() {
            Some(note) => match self.signatures.add(stated.size, note, &checkpoint) {
                Ok(faults) => self.faults(check, faults),
                Err(fault) => self.faults(check, vec![(stated.size, fault)]),
            },
            None if self.lives.is_named(stated.incarnation) => {
                find(
                    "bad_signature",
                    "the checkpoint of a log with a key is not signed".to_owned(),
                );
            }
            None if self.lives.was_named_before(stated.incarnation) => find(
                "bad_signature",
                "the checkpoint is of a log without a key, which had one before".to_owned(),
            ),
            None => self.tally.unsigned += 1,
        }
    }

    /// What is wrong with signatures, by the sizes of their checkpoints.
    fn faults(&mut self, check: &mut Check<'_>, faults: Vec<(i64, Fault)>) {
        for (size, fault) in faults {
            match fault {
                Fault::UnknownKey(key) => self.unknown_keys.entry(key).or_insert((size, 0)).1 += 1,
                Fault::Wrong(detail) => check.find("bad_signature", RELATION, size.to_string(), detail),
            }
        }
    }

    /// Those beyond the leaves, and the head: when it says that it was sealed, and its signed note.
    pub fn rest(
        mut self,
        check: &mut Check<'_>,
        leaves: u64,
        sealed_at: Option<i64>,
        note: Option<&str>,
    ) -> Tally {
        let wrong_time = match (&self.last, sealed_at) {
            (Some(last), Some(sealed_at)) => last.sealed_at != sealed_at,
            // The sealer writes a head with its first checkpoint.
            (None, Some(_)) => leaves == 0,
            (_, None) => false,
        };
        if wrong_time {
            check.find(
                "inconsistent_checkpoint",
                "batchcortex.ledger_tree",
                leaves.to_string(),
                "the head was not sealed with the newest checkpoint".to_owned(),
            );
        }
        let faults = self.signatures.check();
        self.faults(check, faults);
        if let Some(checkpoint) = self
            .last
            .as_ref()
            .and_then(|last| last.checkpoint(self.org_id, self.lives))
        {
            let named = self
                .lives
                .is_named(self.last.as_ref().map_or(0, |last| last.incarnation));
            let held = match note {
                Some(note) => signed(note, &checkpoint),
                None if named => Err(Fault::Wrong(
                    "the newest checkpoint of a log with a key is not signed".to_owned(),
                )),
                None => Ok(()),
            };
            let detail = match held {
                Err(Fault::Wrong(detail)) => Some(detail),
                Err(Fault::UnknownKey(key)) if !self.unknown_keys.contains_key(&key) => {
                    Some(format!("signed by {key}, which is no key of this server"))
                }
                _ => None,
            };
            if let Some(detail) = detail {
                check.find(
                    "bad_signature",
                    "batchcortex.ledger_tree",
                    checkpoint.size().to_string(),
                    detail,
                );
            }
        }
        for (key, (first, count)) in std::mem::take(&mut self.unknown_keys) {
            let detail = format!(
                "{count} checkpoints from this one on are signed by {key}, which is no key of this server: its public half belongs into the file of the checkpoint key"
            );
            check.find("bad_signature", RELATION, first.to_string(), detail);
        }
        let mut covered =
            leaves == self.after || self.last.as_ref().is_some_and(|last| last.size as u64 == leaves);
        while let Some(stated) = self.next_up_to(u64::MAX) {
            covered = true;
            let detail = format!(
                "the checkpoint is of {} leaves, the tiles hold {leaves}",
                stated.size
            );
            check.find(
                "inconsistent_checkpoint",
                RELATION,
                stated.size.to_string(),
                detail,
            );
        }
        if !covered {
            let detail = format!("no checkpoint says the tree's size of {leaves} leaves");
            check.find("inconsistent_checkpoint", RELATION, leaves.to_string(), detail);
        }
        self.scan.close();
        self.tally
    }
}
