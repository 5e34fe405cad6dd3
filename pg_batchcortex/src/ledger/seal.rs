//! One sealing: leaves that are committed and visible get dense indices, the trees grow, checkpoints are written. All in one
//! transaction, without a lock that any writer takes: late, aborted and long transactions leave no gap and stall nobody.

use super::entry::Entry;
use super::{publish, tree};
use batchcortex_ledger::global::GLOBAL;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Most leaves that one transaction seals: bounds its memory and how long its result stays invisible.
pub const MOST: i64 = 100_000;

/// How long the leaves of a damaged tree are left alone before it is looked at again.
const RETRY: Duration = Duration::from_secs(60);

thread_local! {
    /// Organisations whose tree cannot grow, and until when their leaves are left in the queue.
    static DAMAGED: RefCell<BTreeMap<[u8; 16], Instant>> = const { RefCell::new(BTreeMap::new()) };
}

/// What one pass did.
pub struct Pass {
    /// Leaves sealed.
    pub sealed: usize,
    /// Logs whose tree is damaged: their leaves wait.
    pub damaged: usize,
}

/// Looks at damaged trees again now: somebody asks for sealing, and may have mended them.
pub fn retry_damaged() {
    DAMAGED.with_borrow_mut(BTreeMap::clear);
}

/// Seals what waits, up to [`MOST`] leaves. The leaves of an organisation whose tree is damaged go on waiting, and verify names the
/// damage: nothing is sealed on top of it, and nobody else is held up. A damaged global log stops all sealing.
pub fn pass(client: &mut SpiClient<'_>) -> Pass {
    let mut by_org: BTreeMap<[u8; 16], Vec<Entry>> = BTreeMap::new();
    for entry in take(client) {
        by_org.entry(entry.org_id).or_default().push(entry);
    }
    let (mut sealed, mut heads) = (0, Vec::new());
    for (org_id, mut entries) in by_org {
        entries.sort_by_key(|entry| entry.recorded_at);
        let grown = match org_id {
            GLOBAL => Err("no record is a leaf of the global log".to_owned()),
            _ => tree::extend(client, org_id, &entries),
        };
        match grown {
            Ok(head) => {
                sealed += entries.len();
                heads.push(head);
            }
            Err(damage) => {
                warning!(
                    "the tree of organisation {} is damaged and cannot grow, run batchcortex.verify: {damage}",
                    Uuid::from_bytes(org_id)
                );
                put_back(client, &entries);
                DAMAGED.with_borrow_mut(|damaged| damaged.insert(org_id, Instant::now() + RETRY));
            }
        }
    }
    if !heads.is_empty() {
        publish::publish(client, heads);
    }
    Pass {
        sealed,
        damaged: DAMAGED.with_borrow(BTreeMap::len),
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
