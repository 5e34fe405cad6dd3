//! Checkpoints: of each log that grew, and one of the global log over them, signed when the server has a key.

use super::continuity::Continuity;
use super::entry::Entry;
use super::incarnation::{self, EPOCH};
use super::tree::{self, Head};
use crate::anchor::directory;
use crate::checkpoint_key;
use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::global::{self, GLOBAL, Origin};
use batchcortex_ledger::hash::leaf_hash;
use batchcortex_ledger::note::{SignedNote, Signer};
use pgrx::datum::{TimestampWithTimeZone, Uuid};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;
use std::cell::Cell;

/// How far the last sealing may lie ahead of the clock before the server's log is told, in microseconds.
const AHEAD: i64 = 60_000_000;

thread_local! {
    /// Whether it has been told.
    static AHEAD_TOLD: Cell<bool> = const { Cell::new(false) };
}

/// Writes the checkpoints of the logs that grew, and that of the global log, to which they are added. `continuity`: what the global log was
/// found to be in this transaction.
///
/// # Errors
/// Says what cannot be written or signed: the transaction is to be rolled back.
pub fn publish(client: &mut SpiClient<'_>, continuity: &Continuity, heads: Vec<Head>) -> Result<(), String> {
    checkpoint_key::with_signer(|signer| publish_signed(client, continuity, heads, signer))?
}

fn publish_signed(
    client: &mut SpiClient<'_>,
    continuity: &Continuity,
    mut heads: Vec<Head>,
    signer: Option<&Signer>,
) -> Result<(), String> {
    let sealed_at = now(continuity.sealed_at());
    let (life, link) = incarnation::current(client, sealed_at)?;
    let continues = life
        .continues
        .as_ref()
        .map(|(size, origin)| (*size, origin.as_str()));
    let checkpoint = |origin: &Origin, head: &Head, continues| {
        let time = sealed_at.saturating_add(EPOCH);
        global::checkpoint(origin, head.size as u64, head.root, time, continues).map_err(|e| {
            format!(
                "a checkpoint of {} leaves, sealed at {time} µs since 1970, cannot be written: {e}",
                head.size
            )
        })
    };
    let mut leaves = Vec::with_capacity(heads.len() + 1);
    leaves.extend(link.map(|text| leaf(&text, sealed_at)));
    let mut notes = Vec::with_capacity(heads.len() + 1);
    for head in &heads {
        let checkpoint = checkpoint(&life.origin.of_organisation(head.org_id), head, None)?;
        leaves.push(leaf(&checkpoint.to_string(), sealed_at));
        notes.push(sign(&checkpoint, signer));
    }
    let grown = tree::extend(client, GLOBAL, continuity.global(), &leaves)?;
    notes.push(sign(&checkpoint(&life.origin, &grown, continues)?, signer));
    let (size, note) = (grown.size, notes.last().cloned().flatten());
    let first = size - heads.len() as i64;
    heads.push(grown);
    write(client, &heads, notes, first, life.number, sealed_at);
    directory::keep(&life.origin, size, note.as_deref());
    Ok(())
}

/// The server's clock, microseconds since 2000-01-01 UTC, and never before the last sealing, whose time the newest checkpoint says.
///
/// Times of a log must not go back, and sealing must not wait for a clock: one that was wrong and was put right would stop it until the wrong
/// time has come. So the log goes on under the last time, and the server's log says that it does.
fn now(last: Option<i64>) -> i64 {
    // SAFETY: reads the clock.
    let clock = unsafe { pg_sys::GetCurrentTimestamp() };
    let last = last.unwrap_or(clock);
    let ahead = last.saturating_sub(clock);
    if AHEAD_TOLD.replace(ahead > AHEAD) != (ahead > AHEAD) {
        if ahead > AHEAD {
            warning!(
                "pg_batchcortex: the last sealing says a time {} s ahead of the clock: until then every sealing says the same time",
                ahead / 1_000_000
            );
        } else {
            log!("pg_batchcortex: the clock has come up with the last sealing");
        }
    }
    clock.max(last)
}

/// A leaf of the global log. Which checkpoint it is stands in ledger_checkpoint.global_index: tiles of the global log name no organisation.
fn leaf(text: &str, sealed_at: i64) -> Entry {
    Entry {
        org_id: GLOBAL,
        relation_id: 0,
        recorded_at: sealed_at,
        hash: leaf_hash(text.as_bytes()),
        key: Vec::new(),
    }
}

fn sign(checkpoint: &Checkpoint, signer: Option<&Signer>) -> Option<String> {
    let signer = signer?;
    let mut note = SignedNote::new(checkpoint.to_string()).ok()?;
    note.add(signer.sign(&note));
    Some(note.to_string())
}

fn write(
    client: &mut SpiClient<'_>,
    heads: &[Head],
    notes: Vec<Option<String>>,
    first: i64,
    life: i32,
    sealed_at: i64,
) {
    let orgs: Vec<Uuid> = heads.iter().map(|head| Uuid::from_bytes(head.org_id)).collect();
    let sizes: Vec<i64> = heads.iter().map(|head| head.size).collect();
    let roots: Vec<Vec<u8>> = heads.iter().map(|head| head.root.to_vec()).collect();
    client
        .update(
            "with head as (
                 insert into batchcortex.ledger_tree (org_id, size, root, sealed_at, note)
                 select h.org_id, h.size, h.root, $4, h.note
                   from rows from (unnest($1::uuid[]), unnest($2::bigint[]), unnest($3::bytea[]), unnest($5::text[])) as h (org_id, size, root, note)
                 on conflict (org_id) do update set size = excluded.size, root = excluded.root, sealed_at = excluded.sealed_at, note = excluded.note)
             insert into batchcortex.ledger_checkpoint (org_id, tree_size, root, sealed_at, incarnation, global_index, note)
             select h.org_id, h.size, h.root, $4, $6, case when h.org_id <> $8 then $7 + h.i - 1 end, case when h.org_id = $8 then h.note end
               from rows from (unnest($1::uuid[]), unnest($2::bigint[]), unnest($3::bytea[]), unnest($5::text[])) with ordinality as h (org_id, size, root, note, i)",
            None,
            &[
                orgs.into(),
                sizes.into(),
                roots.into(),
                TimestampWithTimeZone::try_from(sealed_at).ok().into(),
                notes.into(),
                life.into(),
                first.into(),
                Uuid::from_bytes(GLOBAL).into(),
            ],
        )
        .unwrap_or_report();
}
