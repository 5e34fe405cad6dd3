//! The checkpoint directory: signed checkpoints of the global log as files, on storage that the database's machine cannot take back.
//!
//! A file is written after the commit of its sealing. When a sealer starts, the newest file says how far the log had come: if the
//! database holds less, or something else, an older or another state was put in its place, and the log goes on as a new incarnation
//! before anything is signed.

use super::file::{self, Unusable};
use crate::checkpoint_key;
use crate::ledger::proof::stored_range;
use crate::ledger::{incarnation, tree};
use crate::settings::{CHECKPOINT_DIRECTORY, CHECKPOINT_INTERVAL, in_data_directory};
use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::global::{CheckpointFile, GLOBAL, Origin};
use batchcortex_ledger::hash::empty_root;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Error number for what the operating system gives no number.
const OTHER: i32 = 5; // EIO

thread_local! {
    /// The newest checkpoint that was sealed and is not written yet.
    static WAITING: RefCell<Option<(CheckpointFile, String)>> = const { RefCell::new(None) };
    /// When a file was last written, or could not be.
    static TRIED: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Whether the directory has been compared with the log since this sealer started.
    static COMPARED: Cell<bool> = const { Cell::new(false) };
    /// Last error number; 0 when there was none.
    static FAILING: Cell<i32> = const { Cell::new(0) };
    /// Origin under which more or something else was signed than the database holds.
    static ROLLED_BACK: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The directory; none when the setting is empty.
pub fn path() -> Option<PathBuf> {
    in_data_directory(&CHECKPOINT_DIRECTORY)
}

/// Keeps the newest signed checkpoint of the global log for [`tend`]. Called in the transaction that seals: if it fails, so does the
/// process, and nothing is written.
pub fn keep(origin: &Origin, size: i64, note: Option<&str>) {
    if let Some(note) = note.filter(|_| path().is_some()) {
        let name = CheckpointFile {
            incarnation: origin.incarnation(),
            size: size as u64,
        };
        WAITING.replace(Some((name, note.to_owned())));
    }
}

/// Whether nothing more may be signed under this origin.
pub fn rolled_back(origin: &Origin) -> bool {
    ROLLED_BACK.with_borrow(|rolled_back| rolled_back.as_deref() == Some(&*origin.to_string()))
}

/// Outside of a transaction: compares the directory with the log, once; writes the checkpoint that waits, when it is due. Returns the
/// error number of what failed last, 0 when the directory works.
pub fn tend() -> i32 {
    let Some(directory) = path() else { return 0 };
    let due = TRIED
        .get()
        .is_none_or(|tried| tried.elapsed() >= Duration::from_secs(CHECKPOINT_INTERVAL.get() as u64));
    let waits = due && WAITING.with_borrow(Option::is_some);
    if COMPARED.get() && !waits {
        return FAILING.get();
    }
    let done = if COMPARED.get() {
        Ok(())
    } else {
        compare(&directory)
    };
    let done = done.and_then(|()| {
        COMPARED.set(true);
        if waits { write(&directory) } else { Ok(()) }
    });
    let fault = done
        .as_ref()
        .err()
        .map_or(0, |e| e.raw_os_error().unwrap_or(OTHER));
    match done {
        Err(e) if FAILING.get() != fault => {
            warning!(
                "pg_batchcortex: no checkpoint can be kept in {}: {e}",
                directory.display()
            );
        }
        Ok(()) if FAILING.get() != 0 => {
            log!(
                "pg_batchcortex: checkpoints are kept in {} again",
                directory.display()
            );
        }
        _ => {}
    }
    FAILING.set(fault);
    fault
}

fn write(directory: &Path) -> io::Result<()> {
    TRIED.set(Some(Instant::now()));
    WAITING.with_borrow_mut(|waiting| {
        if let Some((name, note)) = waiting {
            file::write(directory, *name, note)?;
        }
        *waiting = None;
        Ok(())
    })
}

/// Names of the checkpoints in the directory, without an order.
pub fn list(directory: &Path) -> io::Result<Vec<CheckpointFile>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        names.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<CheckpointFile>().ok()),
        );
    }
    Ok(names)
}

/// What was signed beyond what the database holds.
struct Lost {
    origin: String,
    there: Checkpoint,
    here: tree::Head,
}

fn compare(directory: &Path) -> io::Result<()> {
    let names = list(directory)?;
    let lost = BackgroundWorker::transaction(|| {
        let lost = find_lost(directory, names)?;
        if let Some(lost) = &lost {
            tell(lost);
        }
        io::Result::Ok(lost)
    })?;
    if let Some(lost) = lost {
        warning!(
            "pg_batchcortex: an older or another state of the database was put back: {} was signed with {} leaves, here are {}; the log goes on under another origin",
            lost.origin,
            lost.there.size(),
            lost.here.size
        );
        ROLLED_BACK.replace(Some(lost.origin));
    }
    Ok(())
}

/// The newest usable file of the incarnation that goes on, if it says more than, or another thing than, the stored log.
fn find_lost(directory: &Path, mut names: Vec<CheckpointFile>) -> io::Result<Option<Lost>> {
    let newest = Spi::connect_mut(|client| {
        // One that cannot be read does not go on either: the comparison is made when it was mended.
        let Some(life) = incarnation::newest_life(client).map_err(io::Error::other)? else {
            return Ok(None);
        };
        let head = tree::head(client, GLOBAL).unwrap_or(tree::Head {
            org_id: GLOBAL,
            size: 0,
            root: empty_root(),
        });
        io::Result::Ok(Some((life.origin, head)))
    })?;
    let Some((origin, here)) = newest else {
        return Ok(None);
    };
    names.retain(|name| name.incarnation == origin.incarnation());
    names.sort_unstable_by_key(|name| std::cmp::Reverse(name.size));
    let origin = origin.to_string();
    for name in names {
        let bytes = file::read(directory, name)?;
        let there = match file::parse(name, &bytes) {
            Ok(stated) => stated.checkpoint,
            Err(Unusable::Unreadable(detail) | Unusable::BadSignature(detail)) => {
                warning!(
                    "pg_batchcortex: {}: {detail}",
                    directory.join(name.to_string()).display()
                );
                continue;
            }
        };
        // The same numbers in a log of another name: not this one.
        if there.origin() != origin {
            continue;
        }
        let fits = there.size() <= here.size as u64
            && stored_range(Uuid::from_bytes(GLOBAL), there.size())
                .is_none_or(|range| range.root() == *there.root());
        return Ok((!fits).then_some(Lost { origin, there, here }));
    }
    Ok(None)
}

/// The event of the installation's log.
fn tell(lost: &Lost) {
    let state =
        |size: u64, root: &[u8]| pgrx::Json(serde_json::json!({"size": size, "root": hex::encode(root)}));
    Spi::run_with_args(
        "select batchcortex.log_event('ledger.rolled_back', 'ledger', $1, $2, $3, 'the checkpoint directory holds a later or another state of the log',
                                      org_id => '00000000-0000-0000-0000-000000000000')",
        &[
            lost.origin.clone().into(),
            state(lost.there.size(), lost.there.root()).into(),
            state(lost.here.size as u64, &lost.here.root).into(),
        ],
    )
    .unwrap_or_report();
}

/// For health(): whether checkpoints are kept, and a line that says more; none without a directory.
pub fn state(failing: i32) -> Option<(bool, String)> {
    let directory = path()?;
    Some(match failing {
        _ if checkpoint_key::verifiers().is_empty() => (
            false,
            "nothing is kept: the server has no key that signs checkpoints".to_owned(),
        ),
        0 => (true, format!("checkpoints are kept in {}", directory.display())),
        fault => (
            false,
            format!(
                "no checkpoint can be kept in {}: {}",
                directory.display(),
                io::Error::from_raw_os_error(fault)
            ),
        ),
    })
}
