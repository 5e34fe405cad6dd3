//! The leaves of the global log: each is the text of an organisation's checkpoint, or of the beginning of an incarnation.

use super::Finding;
use super::checkpoints::Stated;
use crate::identity::unscoped::unscoped;
use crate::ledger::incarnation::Lives;
use crate::ledger::scan::Scan;
use crate::row::uuid_bytes;
use batchcortex_ledger::global::GLOBAL;
use batchcortex_ledger::hash::{Hash, leaf_hash};
use pgrx::datum::Uuid;
use std::collections::{BTreeMap, VecDeque};

const RELATION: &str = "batchcortex.ledger_checkpoint";

/// The leaf of the global log that is an organisation's first checkpoint of more than `size` leaves; with none, the last one before.
pub fn first_of(org_id: Uuid, size: u64) -> u64 {
    let query = format!(
        "select coalesce((select min(global_index) from {RELATION} where org_id = $1 and tree_size > {size}),
                         (select max(global_index) from {RELATION} where org_id = $1), 0)"
    );
    let mut first = 0;
    let mut scan = Scan::open(&query, &[*org_id.as_bytes()], 1);
    scan.next(|row| first = row.get(0).map_or(0, |datum| datum.value() as u64));
    scan.close();
    first
}

/// What one leaf should be.
struct Statement {
    index: u64,
    record: String,
    leaf: Option<Hash>,
    sealed_at: i64,
}

/// What the leaves should be, in the order of the leaves. All of them, whoever asks: an organisation whose checkpoints were taken away leaves
/// leaves that are none's, and its auditors are to see that.
pub struct Statements<'a> {
    lives: &'a Lives,
    links: BTreeMap<u64, Hash>,
    scan: Scan,
    read_ahead: VecDeque<Statement>,
    /// Organisations that are named to the caller; none when all are.
    named: Option<&'a [Uuid]>,
}

impl<'a> Statements<'a> {
    /// Those from leaf `first` on.
    pub fn open(named: Option<&'a [Uuid]>, first: u64, lives: &'a Lives) -> Self {
        let columns = Stated::COLUMNS;
        let query = format!(
            "select org_id, {columns} from {RELATION} where global_index >= {first} order by global_index"
        );
        Statements {
            links: lives
                .links()
                .map(|(index, text)| (index as u64, leaf_hash(text.as_bytes())))
                .filter(|(index, _)| *index >= first)
                .collect(),
            lives,
            scan: unscoped(|| Scan::open(&query, &[], 1000)),
            read_ahead: VecDeque::new(),
            named,
        }
    }

    fn next_up_to(&mut self, index: u64) -> Option<Statement> {
        if self.read_ahead.is_empty() {
            let (read_ahead, lives, named) = (&mut self.read_ahead, self.lives, self.named);
            self.scan.next(|row| {
                // SAFETY: a uuid column.
                let org_id = row
                    .get(0)
                    .map(|datum| unsafe { uuid_bytes(datum) })
                    .unwrap_or_default();
                let stated = Stated::read(row, 1);
                let org = Uuid::from_bytes(org_id);
                let index = stated.global_index.unwrap_or(0) as u64;
                let record = if named.is_none_or(|named| named.contains(&org)) {
                    format!("{org}/{}", stated.size)
                } else {
                    index.to_string()
                };
                let leaf = stated
                    .checkpoint(org_id, lives)
                    .map(|checkpoint| leaf_hash(checkpoint.to_string().as_bytes()));
                read_ahead.push_back(Statement {
                    index,
                    record,
                    leaf,
                    sealed_at: stated.sealed_at,
                });
            });
        }
        if self.read_ahead.front()?.index > index {
            return None;
        }
        self.read_ahead.pop_front()
    }

    /// Compares leaf `index`. `sealed_at`: when the checkpoint of the global log that first held it was made, which is when the statement was.
    pub fn leaf(&mut self, index: u64, leaf: &Hash, sealed_at: Option<i64>, findings: &mut Vec<Finding>) {
        let mut found = false;
        while let Some(statement) = self.next_up_to(index) {
            found = statement.index == index;
            if statement.leaf != Some(*leaf) || !found {
                let detail = format!("the checkpoint is not leaf {} of the global log", statement.index);
                findings.push(finding("wrong_leaf", RELATION, statement.record, detail));
            } else if sealed_at != Some(statement.sealed_at) {
                let detail = "the checkpoint of the global log that was made with it is gone".to_owned();
                findings.push(finding(
                    "inconsistent_checkpoint",
                    RELATION,
                    statement.record,
                    detail,
                ));
            }
        }
        match self.links.remove(&index) {
            Some(expected) if expected == *leaf && !found => {}
            Some(_) => {
                let detail = format!("the incarnation is not leaf {index} of the global log");
                findings.push(finding(
                    "wrong_leaf",
                    "batchcortex.ledger_incarnation",
                    index.to_string(),
                    detail,
                ));
            }
            None if found => {}
            None => {
                let detail = format!("leaf {index} of the global log is no checkpoint that is recorded");
                findings.push(finding("missing_row", RELATION, index.to_string(), detail));
            }
        }
    }

    /// Statements without a leaf.
    pub fn rest(mut self, findings: &mut Vec<Finding>) {
        while let Some(statement) = self.next_up_to(u64::MAX) {
            let detail = format!(
                "it should be leaf {} of the global log, which is not that large",
                statement.index
            );
            findings.push(finding("row_without_leaf", RELATION, statement.record, detail));
        }
        for index in self.links.into_keys() {
            let detail = format!("it should be leaf {index} of the global log, which is not that large");
            findings.push(finding(
                "row_without_leaf",
                "batchcortex.ledger_incarnation",
                index.to_string(),
                detail,
            ));
        }
        self.scan.close();
    }
}

fn finding(code: &'static str, relation: &str, record: String, detail: String) -> Finding {
    Finding {
        log: Uuid::from_bytes(GLOBAL).to_string(),
        code,
        relation: relation.to_owned(),
        record,
        detail,
    }
}
