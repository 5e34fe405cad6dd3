//! Records against their leaves.

use std::collections::{BTreeMap, HashMap, HashSet};

use batchcortex_ledger::column;
use batchcortex_ledger::hash::leaf_hash;
use batchcortex_ledger::record::RecordEncoder;

use super::Found;
use super::copy::{Block, Fields};
use super::logs::{Leaves, Ledger, Relation, name};
use super::value;

/// Milliseconds from 1970-01-01 to 2000-01-01.
const EPOCH_MILLISECONDS: i64 = 946_684_800_000;

/// How many of what.
#[derive(Default)]
pub struct Counts {
    pub recomputed: BTreeMap<String, u64>,
    pub not_recomputed: BTreeMap<String, u64>,
    pub disposed: u64,
    pub waiting: u64,
}

/// The rows of a dump, as they come.
pub struct Rows<'a> {
    ledger: &'a Ledger,
    leaves: Leaves,
    parents: HashMap<String, String>,
    held: HashSet<u32>,
    counts: Counts,
}

/// The table that the rows of a block belong to, when they are records of the project's own tables.
fn relation<'a>(ledger: &'a Ledger, table: &str, parents: &HashMap<String, String>) -> Option<&'a Relation> {
    let table = parents.get(table).map_or(table, String::as_str);
    ledger.relations.get(table).filter(|relation| relation.own)
}

/// Whether the rows of a table are records of the project's own.
pub fn wants(ledger: &Ledger, table: &str, parents: &HashMap<String, String>) -> bool {
    relation(ledger, table, parents).is_some()
}

impl<'a> Rows<'a> {
    /// Before the first row.
    pub fn new(ledger: &'a Ledger, leaves: Leaves, parents: HashMap<String, String>) -> Self {
        Rows {
            ledger,
            leaves,
            parents,
            held: HashSet::new(),
            counts: Counts::default(),
        }
    }

    /// Recomputes a row.
    pub fn row(
        &mut self,
        block: &Block,
        line: u64,
        fields: &Fields,
        print: &mut impl FnMut(&Found),
    ) -> anyhow::Result<()> {
        let Some(relation) = relation(self.ledger, &block.table, &self.parents) else {
            return Ok(());
        };
        self.held.insert(relation.id);
        let mut encoder = RecordEncoder::new(&relation.domain);
        let (mut key, mut org, mut carried) = (None, None, None);
        for (column, text) in block.columns.iter().zip(fields) {
            let Some(text) = text else { continue };
            if column == "leaf_hash" {
                carried = value::bytes(text);
                continue;
            }
            let Some(bytes) = column::kind(column).and_then(|kind| value::encode(kind, text)) else {
                anyhow::bail!(
                    "line {line}: column {column} of {} holds what this program cannot read",
                    block.table
                );
            };
            if *column == relation.key {
                key = <[u8; 16]>::try_from(bytes.as_slice()).ok();
            }
            if column == "org_id" {
                org = <[u8; 16]>::try_from(bytes.as_slice()).ok();
            }
            encoder.field(column, &bytes);
        }
        let (Some(key), Some(org)) = (key, org) else {
            anyhow::bail!(
                "line {line}: a row of {} has no key or no organisation",
                block.table
            );
        };
        *self.counts.recomputed.entry(relation.domain.clone()).or_default() += 1;
        let what = format!("{} {}", relation.domain, name(&key));
        // What cannot be encoded cannot have been hashed when it was written.
        let leaf = encoder
            .finish()
            .map(|preimage| leaf_hash(&preimage))
            .unwrap_or_default();
        match self.leaves.own.get_mut(&(relation.id, key)) {
            Some(place) if place.seen => {
                print(&Found::new(
                    "row_without_leaf",
                    line,
                    format!("{what} is there twice"),
                ));
            }
            Some(place) => {
                place.seen = true;
                if place.hash != leaf || place.org != org {
                    print(&Found::new(
                        "wrong_leaf",
                        line,
                        format!(
                            "leaf {}, {what}: the record does not hash to its leaf: it was altered",
                            place.index
                        ),
                    ));
                } else if carried.as_deref() != Some(&leaf[..]) {
                    print(&Found::new(
                        "wrong_leaf",
                        line,
                        format!(
                            "leaf {}, {what}: the hash that the record carries is not its own",
                            place.index
                        ),
                    ));
                }
            }
            None => match &self.ledger.waiting {
                Some(waiting)
                    if relation.domain != "partition_disposal"
                        && waiting.contains(&(relation.id, key.to_vec())) =>
                {
                    self.counts.waiting += 1;
                }
                // A dump without the queue does not say what waits. A disposal that nobody signed hides nothing.
                None if relation.domain != "partition_disposal" => self.counts.waiting += 1,
                _ => print(&Found::new(
                    "row_without_leaf",
                    line,
                    format!("{what} was never sealed and does not wait for it"),
                )),
            },
        }
        Ok(())
    }

    /// After the last row: leaves without a record.
    pub fn finish(mut self, print: &mut impl FnMut(&Found)) -> Counts {
        let domain = |id: u32| {
            let relation = self.ledger.relations.values().find(|relation| relation.id == id);
            relation.map_or_else(
                || format!("leaves of relation {id}"),
                |relation| relation.domain.clone(),
            )
        };
        for (id, number) in &self.leaves.others {
            *self.counts.not_recomputed.entry(domain(*id)).or_default() += number;
        }
        let mut missing: Vec<_> = self.leaves.own.iter().filter(|(_, place)| !place.seen).collect();
        missing.sort_by_key(|(_, place)| (place.org, place.index));
        for ((id, key), place) in missing {
            let own = self
                .ledger
                .relations
                .values()
                .any(|relation| relation.id == *id && relation.own);
            if !own {
                // A table of someone else's whose key is as long as a uuid.
                *self.counts.not_recomputed.entry(domain(*id)).or_default() += 1;
            } else if self
                .ledger
                .disposals
                .iter()
                .any(|disposal| covers(disposal, &place.org, *id, key))
            {
                self.counts.disposed += 1;
            } else if !self.held.contains(id) {
                *self.counts.not_recomputed.entry(domain(*id)).or_default() += 1;
            } else {
                let what = format!(
                    "log {}, leaf {}, {} {}: the log has its leaf, the dump has no such record",
                    name(&place.org),
                    place.index,
                    domain(*id),
                    name(key)
                );
                print(&Found::new("missing_record", 0, what));
            }
        }
        self.counts
    }
}

/// Whether a disposal tells of a record, whose key is a UUID version 7.
fn covers(
    (org, relation, from, to): &([u8; 16], u32, i64, i64),
    place: &[u8; 16],
    id: u32,
    key: &[u8; 16],
) -> bool {
    let milliseconds = key[..6]
        .iter()
        .fold(0i64, |sum, byte| sum << 8 | i64::from(*byte));
    let bound = |time: &i64| time.div_euclid(1000) + EPOCH_MILLISECONDS;
    org == place && *relation == id && (bound(from)..bound(to)).contains(&milliseconds)
}
