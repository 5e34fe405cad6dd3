//! One sealing: leaves that are committed and visible get dense indices, the trees grow, checkpoints are written. All in one
//! transaction, without a lock that any writer takes: late, aborted and long transactions leave no gap and stall nobody.

use super::continuity::Continuity;
use super::entry::Entry;
use super::{plan, publish, tree};
use batchcortex_ledger::global::GLOBAL;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Most leaves that one transaction seals: bounds its memory and how long its result stays invisible.
pub const MOST: i64 = 100_000;

/// How long the leaves of a damaged tree are left alone before it is looked at again.
const RETRY: Duration = Duration::from_secs(60);

thread_local! {
    /// Organisations whose tree cannot grow, and until when their leaves are left in the queue.
    static DAMAGED: RefCell<BTreeMap<[u8; 16], Instant>> = const { RefCell::new(BTreeMap::new()) };
    /// When the global log could not go on: until when nothing is sealed.
    static HELD: Cell<Option<Instant>> = const { Cell::new(None) };
    /// What the server's log has been told of them.
    static TOLD: RefCell<BTreeMap<[u8; 16], String>> = const { RefCell::new(BTreeMap::new()) };
}

/// Looks at damaged trees again now: somebody asks for sealing, and may have mended them.
pub fn retry_damaged() {
    DAMAGED.with_borrow_mut(BTreeMap::clear);
    HELD.set(HELD.get().map(|_| Instant::now()));
}

/// Seals what waits, up to [`MOST`] leaves, and returns how many. The leaves of an organisation whose tree is damaged, or not what was signed
/// last, go on waiting, and verify names the damage: nothing is sealed on top of it, and nobody else is held up. Behind such a global log all
/// leaves wait.
///
/// # Errors
/// Says why the global log cannot go on: the transaction is to be rolled back, and [`hold`] to be called.
pub fn pass(client: &mut SpiClient<'_>) -> Result<usize, String> {
    // Looked at before any leaf is taken: it may stay so for days.
    match HELD.get() {
        None => {}
        Some(until) if until > Instant::now() => return Ok(0),
        Some(_) => {
            Continuity::read(client)?;
            HELD.set(None);
            goes_on(GLOBAL);
        }
    }
    // A database where nothing happens costs one look at an empty table, and no transaction id.
    let query = "select exists (select from batchcortex.ledger_queue)";
    if plan::select(client, query).first().get_one().unwrap_or_report() != Some(true) {
        return Ok(0);
    }
    match take(client) {
        entries if entries.is_empty() => Ok(0),
        entries => seal(client, entries),
    }
}

/// Logs whose tree is damaged, so that their leaves wait.
pub fn damaged() -> usize {
    DAMAGED.with_borrow(BTreeMap::len) + usize::from(HELD.get().is_some())
}

/// Seals nothing for a while.
pub fn hold(damage: String) {
    HELD.set(Some(Instant::now() + RETRY));
    tell(
        GLOBAL,
        format!("nothing is sealed, run batchcortex.verify: the global log cannot go on: {damage}"),
    );
}

fn seal(client: &mut SpiClient<'_>, entries: Vec<Entry>) -> Result<usize, String> {
    let continuity = Continuity::read(client)?;
    let mut by_org: BTreeMap<[u8; 16], Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        by_org.entry(entry.org_id).or_default().push(entry);
    }
    let (mut sealed, mut heads) = (0, Vec::new());
    for (org_id, mut entries) in by_org {
        entries.sort_by_key(|entry| entry.recorded_at);
        let grown = match org_id {
            // Queued by hand.
            GLOBAL => Err("no record is a leaf of the global log".to_owned()),
            _ => continuity
                .head(client, org_id)
                .and_then(|head| tree::extend(client, org_id, head.as_ref(), &entries)),
        };
        match grown {
            Ok(head) => {
                goes_on(org_id);
                sealed += entries.len();
                heads.push(head);
            }
            Err(damage) => {
                put_back(client, &entries);
                leave_alone(org_id, damage);
            }
        }
    }
    if !heads.is_empty() {
        publish::publish(client, &continuity, heads)?;
    }
    Ok(sealed)
}

/// Leaves a log's leaves in the queue for a while.
fn leave_alone(org_id: [u8; 16], damage: String) {
    DAMAGED.with_borrow_mut(|damaged| damaged.insert(org_id, Instant::now() + RETRY));
    if org_id != GLOBAL {
        let org = Uuid::from_bytes(org_id);
        tell(
            org_id,
            format!(
                "nothing is sealed of organisation {org}, run batchcortex.verify: its log cannot go on: {damage}"
            ),
        );
    }
}

/// Tells the server's log once.
fn tell(org_id: [u8; 16], damage: String) {
    TOLD.with_borrow_mut(|told| {
        if told.get(&org_id) != Some(&damage) {
            warning!("pg_batchcortex: {damage}");
            told.insert(org_id, damage);
        }
    });
}

fn goes_on(org_id: [u8; 16]) {
    if TOLD.with_borrow_mut(|told| told.remove(&org_id)).is_some() {
        log!("pg_batchcortex: the log {} goes on", Uuid::from_bytes(org_id));
    }
}

fn put_back(client: &mut SpiClient<'_>, entries: &[Entry]) {
    let packed: Vec<Vec<u8>> = entries.iter().map(Entry::pack).collect();
    let query = "insert into batchcortex.ledger_queue (entry) select unnest($1::bytea[])";
    client.update(query, None, &[packed.into()]).unwrap_or_report();
}

fn take(client: &mut SpiClient<'_>) -> Vec<Entry> {
    let left_alone: Vec<Vec<u8>> = DAMAGED.with_borrow_mut(|damaged| {
        damaged.retain(|_, until| *until > Instant::now());
        damaged.keys().map(|org_id| org_id.to_vec()).collect()
    });
    let condition = if left_alone.is_empty() {
        ""
    } else {
        "where substr(entry, 1, 16) <> all ($2)"
    };
    client
        .update(
            &format!(
                "delete from batchcortex.ledger_queue
                  where ctid = any (array(select ctid from batchcortex.ledger_queue {condition} limit $1)) returning entry"
            ),
            None,
            if left_alone.is_empty() { vec![MOST.into()] } else { vec![MOST.into(), left_alone.into()] }.as_slice(),
        )
        .unwrap_or_report()
        .filter_map(|row| row.get::<&[u8]>(1).unwrap_or_report().and_then(Entry::unpack))
        .collect()
}
