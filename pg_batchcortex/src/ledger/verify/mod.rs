//! Verification: every row recomputed and compared with its leaf, every leaf with its tile, every tile with the root, every
//! checkpoint with the leaves up to its size. One pass over rows and leaves, one snapshot, memory for what is out of step only.

mod beginning; // what an incremental verification leaves out
mod capture; // triggers of tracked tables as they should be
mod checkpoints; // what checkpoints say, and who signed it
mod cosignatures; // what witnesses have signed
mod directory; // files of the checkpoint directory
pub mod disposed; // leaves whose records were disposed of
mod global; // the global log's leaves against the checkpoints that they are
mod log; // one organisation's log
pub mod protection; // triggers and row security as they should be
mod requests; // ends of incarnations against their events
mod rows; // rows of the source tables, as leaves
mod sessions; // sessions against their events
pub mod sources; // which tables these are
mod timestamps; // time stamps against the checkpoints that they are over
pub mod told; // events that tell of all this: reading them, and the index that finds them
pub mod tracked; // tracked tables as the log tells
mod unreadable; // pages that PostgreSQL cannot read
mod waiting; // leaves that wait too long
mod witnesses; // registered witnesses against their events

use crate::assign;
use crate::checkpoint_key;
use crate::ledger::incarnation::Lives;
use crate::ledger::proof::stored_range;
use crate::ledger::worker;
use crate::settings::WITNESS_QUORUM;
use batchcortex_ledger::global::GLOBAL;
use batchcortex_ledger::hash::{Hash, empty_root};
use beginning::Beginning;
use global::Statements;
use log::Summary;
use pgrx::datum::{Json, Uuid};
use pgrx::prelude::*;
use std::collections::HashSet;
use std::ffi::CStr;
use std::time::Instant;
use unreadable::Indexes;

/// Something that is not as it was recorded.
pub struct Finding {
    /// Organisation whose log it concerns, text form; `installation` for the server as a whole.
    pub log: String,
    /// Kind of finding.
    pub code: &'static str,
    /// Table concerned.
    pub relation: String,
    /// Key of the record, leaf index or tree size concerned.
    pub record: String,
    /// What was expected and what was found.
    pub detail: String,
}

type Rows<'a> = TableIterator<
    'a,
    (
        name!(log, String),
        name!(code, String),
        name!(relation, String),
        name!(record, String),
        name!(detail, String),
    ),
>;

struct Verification {
    findings: Vec<Finding>,
    logs: Vec<Summary>,
    directory: Option<directory::Summary>,
    timestamps: u64,
    seconds: f64,
}

/// A size of a log's tree and its root, as an earlier verification found them or a checkpoint kept outside says.
struct Known {
    size: u64,
    root: Hash,
}

fn run(org: Option<Uuid>, known: Option<&Known>) -> Verification {
    let started = Instant::now();
    // SAFETY: one SPI connection for all cursors; closed below, or by the abort of the transaction.
    unsafe { pg_sys::SPI_connect() };
    let mut done = assign::during(&OWN_SETTINGS, || {
        unreadable::or_without_indexes(|indexes| check(org, known, indexes))
    });
    // SAFETY: as above.
    unsafe { pg_sys::SPI_finish() };
    done.seconds = started.elapsed().as_secs_f64();
    done
}

/// What would write the texts of the catalog in another way, or read those of a query so.
const OWN_SETTINGS: [(&CStr, &CStr); 2] = [
    (c"quote_all_identifiers", c"off"),
    (c"standard_conforming_strings", c"on"),
];

fn check(org: Option<Uuid>, known: Option<&Known>, indexes: Indexes) -> Verification {
    let mut findings = protection::check();
    findings.extend(sessions::check(org));
    findings.extend(capture::check());
    let sources = sources::read(&mut findings);
    sources::compare_with_log(&mut findings);
    findings.extend(tracked::check());
    findings.extend(witnesses::check());
    findings.extend(requests::check());
    // SAFETY: a catalog look-up.
    let superuser = unsafe { pg_sys::superuser() };
    let everything = superuser && org.is_none();
    let visible = log::all(org, &sources);
    findings.extend(waiting::check((!everything).then_some(visible.as_slice())));
    if everything && indexes == Indexes::Used {
        findings.extend(told::check());
    }
    let lives = Lives::read();
    let own = sources::own(&sources);
    let (mut logs, mut first_statement) = (Vec::new(), 0);
    for org_id in visible.iter().copied() {
        let beginning = known.map_or_else(Beginning::default, |known| {
            begin(org_id, known, &own, &mut findings)
        });
        if beginning.size > 0 {
            first_statement = global::first_of(org_id, beginning.size);
        }
        logs.push(log::check(
            org_id,
            beginning,
            &sources,
            &lives,
            None,
            &mut findings,
        ));
    }
    let global = Uuid::from_bytes(GLOBAL);
    let beginning = Beginning::of_global(first_statement).unwrap_or_default();
    let named = (!superuser).then_some(visible.as_slice());
    let statements = Statements::open(named, beginning.size, &lives);
    cosignatures::check(beginning.size, &lives, &mut findings);
    logs.push(log::check(
        global,
        beginning,
        &sources,
        &lives,
        Some(statements),
        &mut findings,
    ));
    if everything {
        findings.extend(rows::outside(&sources, logs.iter().map(|log| log.own_rows).sum()));
    }
    let timestamps = timestamps::check(&mut findings);
    let directory = directory::check(&mut findings);
    Verification {
        findings,
        logs,
        directory,
        timestamps,
        seconds: 0.0,
    }
}

/// Where to begin: behind what is known, if it is the beginning of the log that is stored.
fn begin(org_id: Uuid, known: &Known, own: &HashSet<u32>, findings: &mut Vec<Finding>) -> Beginning {
    let stored = stored_range(org_id, known.size).map(|range| range.root());
    if known.size == 0 && known.root == empty_root() {
        // Every log begins with it, also one of which nothing is sealed yet.
        return Beginning::default();
    }
    if stored == Some(known.root) {
        let beginning = Beginning::of_log(org_id, known.size, own).unwrap_or_default();
        findings.extend(beginning.wrong_tiles.iter().map(|tile| Finding {
            log: org_id.to_string(),
            code: "wrong_tile",
            relation: "batchcortex.ledger_tile".to_owned(),
            record: format!("0/{tile}"),
            detail: "the tile is not the one that the known root was made from".to_owned(),
        }));
        return beginning;
    }
    findings.push(Finding {
        log: org_id.to_string(),
        code: "inconsistent_checkpoint",
        relation: "batchcortex.ledger_tile".to_owned(),
        record: known.size.to_string(),
        detail: match stored {
            Some(root) => format!(
                "the root of {} leaves is {}, and was {}",
                known.size,
                hex::encode(root),
                hex::encode(known.root)
            ),
            None => format!(
                "the tree is not of {} leaves any more, or its tiles are damaged",
                known.size
            ),
        },
    });
    Beginning::default()
}

/// Checks the logs that the caller may see, or one of them, in one snapshot. One row a finding, none when all is intact.
/// code: wrong_leaf, missing_row, row_without_leaf, wrong_time, wrong_tile, wrong_root, inconsistent_checkpoint, bad_signature, wrong_cosignature,
/// weakened_protection, wrong_disposal, session_without_event, changed_session, sealing_overdue, wrong_timestamp, rolled_back,
/// bad_checkpoint_file, unreadable.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
pub fn verify(
    org: default!(Option<Uuid>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(log, String),
        name!(code, String),
        name!(relation, String),
        name!(record, String),
        name!(detail, String),
    ),
> {
    rows(run(org, None))
}

fn rows<'a>(done: Verification) -> Rows<'a> {
    TableIterator::new(
        done.findings
            .into_iter()
            .map(|f| (f.log, f.code.to_owned(), f.relation, f.record, f.detail)),
    )
}

/// As verify, of what one organisation's log has beyond a size whose root is known, from an earlier verification or a checkpoint kept
/// outside: the tree must still begin with it, and leaves before it are read only where records of the same time are. Records with an
/// earlier time, and disposals, sessions and protection, are checked as they are now.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
pub fn verify_since(
    org: Option<Uuid>,
    tree_size: Option<i64>,
    root: Option<&[u8]>,
) -> TableIterator<
    'static,
    (
        name!(log, String),
        name!(code, String),
        name!(relation, String),
        name!(record, String),
        name!(detail, String),
    ),
> {
    // No row would read as intact: a null is refused like any other value that says nothing.
    let known = || {
        Some(Known {
            size: u64::try_from(tree_size?).ok()?,
            root: Hash::try_from(root?).ok()?,
        })
    };
    let (Some(org), Some(known)) = (org, known()) else {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "an organisation, a size from 0 and a root of 32 bytes are needed"
        );
    };
    rows(run(Some(org), Some(&known)))
}

/// The same check as one JSON document: per log the counts of rows, of the parallel workers that hashed them, of leaves and waiting leaves, tree size, root and checkpoints;
/// findings by code; leaves that were sealed late (batchcortex.seal_overdue) by the checkpoint that first held them; seconds and rows a
/// second.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn verify_report(org: default!(Option<Uuid>, "NULL")) -> Json {
    let done = run(org, None);
    let rows: u64 = done.logs.iter().map(|log| log.rows).sum();
    let mut by_code = serde_json::Map::new();
    for finding in &done.findings {
        let count = by_code.entry(finding.code).or_insert(0.into());
        *count = (count.as_u64().unwrap_or(0) + 1).into();
    }
    Json(serde_json::json!({
        "intact": done.findings.is_empty(),
        "findings": by_code,
        "rows": rows,
        "logs": done.logs,
        "signed": !checkpoint_key::verifiers().is_empty() && done.logs.last().is_some_and(|global| global.signed()),
        "keys": checkpoint_key::verifiers().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "checkpoint_directory": done.directory,
        "timestamps": done.timestamps,
        "witnesses": cosignatures::witnesses(),
        "witness_quorum": WITNESS_QUORUM.get(),
        "sealer": worker::sealer().is_some(),
        "seconds": done.seconds,
        "rows_per_second": if done.seconds > 0.0 { rows as f64 / done.seconds } else { 0.0 },
    }))
}
