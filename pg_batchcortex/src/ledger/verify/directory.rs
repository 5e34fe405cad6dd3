//! The files of the checkpoint directory against the stored log.

use super::Finding;
use crate::anchor::directory;
use crate::anchor::file::{self, Unusable};
use crate::ledger::incarnation::Lives;
use crate::ledger::proof::stored_range;
use crate::ledger::scan::Scan;
use crate::row::with_varlena;
use batchcortex_ledger::global::{CheckpointFile, GLOBAL};
use pgrx::datum::Uuid;
use pgrx::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

const RELATION: &str = "batchcortex.checkpoint_directory";

/// What was seen of the directory.
#[derive(serde::Serialize)]
pub struct Summary {
    /// Checkpoints of this database's logs.
    files: usize,
    /// Checkpoints of logs that this database does not know: other databases of the server keep theirs in the same directory.
    of_others: usize,
    /// Size of the largest checkpoint of the incarnation that goes on.
    newest: Option<u64>,
    /// Why it could not be read.
    problem: Option<String>,
}

/// Compares them; none without a directory, and on a replica, which may lag behind the files.
pub fn check(findings: &mut Vec<Finding>) -> Option<Summary> {
    let path = directory::path()?;
    // SAFETY: reads the state of the server.
    if unsafe { pg_sys::RecoveryInProgress() } {
        return None;
    }
    let mut summary = Summary {
        files: 0,
        of_others: 0,
        newest: None,
        problem: None,
    };
    // Listed before the log is read: a file is written after its sealing has committed.
    let names = match directory::list(&path) {
        Ok(names) => names,
        Err(fault) => {
            findings.push(Finding {
                log: "installation".to_owned(),
                code: "weakened_protection",
                relation: "server".to_owned(),
                record: "batchcortex.checkpoint_directory".to_owned(),
                detail: format!("the directory cannot be read: {fault}"),
            });
            summary.problem = Some(fault.to_string());
            return Some(summary);
        }
    };
    // SAFETY: the snapshot is pushed and popped around reads; an error unwinds it with the transaction.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) };
    compare(&path, names, &mut summary, findings);
    // SAFETY: as above.
    unsafe { pg_sys::PopActiveSnapshot() };
    Some(summary)
}

/// What was signed and is not in the stored log, of one origin.
struct Lost {
    files: usize,
    size: u64,
    why: String,
}

fn compare(path: &Path, names: Vec<CheckpointFile>, summary: &mut Summary, findings: &mut Vec<Finding>) {
    let lives = Lives::read();
    let mut waiting: BTreeMap<u64, Vec<CheckpointFile>> = BTreeMap::new();
    for name in names {
        let Some(life) = lives.named(name.incarnation) else {
            summary.of_others += 1;
            continue;
        };
        summary.files += 1;
        if lives.end(life.number).is_none() {
            summary.newest = summary.newest.max(Some(name.size));
        }
        waiting.entry(name.size).or_default().push(name);
    }
    let head = equal_ones_off(path, &mut waiting);
    let mut lost: HashMap<String, Lost> = HashMap::new();
    for name in waiting.into_values().flatten() {
        examine(path, name, &lives, head, &mut lost, findings);
    }
    for (origin, lost) in lost {
        let detail = format!(
            "{}: {} ({} files of the checkpoint directory)",
            origin, lost.why, lost.files
        );
        findings.push(finding("rolled_back", lost.size.to_string(), detail));
    }
}

/// Takes off the files that are, byte by byte, what the database has for their size; returns the size of the stored log. A file whose
/// writing was interrupted is the beginning of it.
fn equal_ones_off(path: &Path, waiting: &mut BTreeMap<u64, Vec<CheckpointFile>>) -> u64 {
    let query =
        "select tree_size, note from batchcortex.ledger_checkpoint where org_id = $1 order by tree_size";
    let mut scan = Scan::open(query, &[GLOBAL], 1000);
    let mut head = 0;
    while scan.next(|row| {
        let size = row.get(0).map_or(0, |datum| datum.value() as u64);
        head = head.max(size);
        let Some(files) = waiting.get_mut(&size) else {
            return;
        };
        // SAFETY: a text column.
        let note = row
            .get(1)
            .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) })
            .unwrap_or_default();
        files.retain(|name| !file::read(path, *name).is_ok_and(|bytes| note.starts_with(&bytes)));
    }) {}
    scan.close();
    head
}

fn examine(
    path: &Path,
    name: CheckpointFile,
    lives: &Lives,
    head: u64,
    lost: &mut HashMap<String, Lost>,
    findings: &mut Vec<Finding>,
) {
    let stated = file::read(path, name)
        .map_err(|fault| Unusable::Unreadable(format!("it cannot be read: {fault}")))
        .and_then(|bytes| file::parse(name, &bytes));
    let stated = match stated {
        Ok(stated) => stated,
        Err(Unusable::Unreadable(detail)) => {
            return findings.push(finding("bad_checkpoint_file", name.to_string(), detail));
        }
        Err(Unusable::BadSignature(detail)) => {
            return findings.push(finding("bad_signature", name.to_string(), detail));
        }
    };
    let there = stated.checkpoint;
    let Some(life) = lives
        .named(name.incarnation)
        .filter(|life| life.origin.to_string() == there.origin())
    else {
        let detail = format!("it is of another log, {}", there.origin());
        return findings.push(finding("bad_checkpoint_file", name.to_string(), detail));
    };
    if !stated.signed && lives.is_named(life.number) {
        let detail = "no key of this server has signed it".to_owned();
        findings.push(finding("bad_signature", name.to_string(), detail));
    }
    let here = lives.end(life.number).unwrap_or(head);
    let why = if there.size() > here {
        format!(
            "it was signed with {} leaves, the database holds {here}",
            there.size()
        )
    } else if stored_range(Uuid::from_bytes(GLOBAL), there.size()).map(|range| range.root())
        != Some(*there.root())
    {
        format!(
            "what was signed with {} leaves is not what the database holds",
            there.size()
        )
    } else {
        return;
    };
    let lost = lost.entry(there.origin().to_owned()).or_insert(Lost {
        files: 0,
        size: 0,
        why: String::new(),
    });
    lost.files += 1;
    if there.size() >= lost.size {
        (lost.size, lost.why) = (there.size(), why);
    }
}

fn finding(code: &'static str, record: String, detail: String) -> Finding {
    Finding {
        log: Uuid::from_bytes(GLOBAL).to_string(),
        code,
        relation: RELATION.to_owned(),
        record,
        detail,
    }
}
