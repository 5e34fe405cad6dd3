//! Before a log grows: what is stored must be what was signed last. Whoever rewrote tiles, heads and checkpoints, however consistently, would
//! else have their work signed by the server itself with the next record. Each check reads O(log n).
//!
//! Every leaf of an organisation is bound by its newest checkpoint, that one by its leaf of the global log, and the global log by the
//! signature on its own newest checkpoint.

use super::incarnation::{self, EPOCH, Life};
use super::plan;
use super::proof::{StoredTiles, stored_range};
use super::signature::{Fault, signed};
use super::tree::{self, Head};
use crate::checkpoint_key;
use batchcortex_ledger::checkpoint::{Checkpoint, CheckpointError};
use batchcortex_ledger::global::{self, GLOBAL};
use batchcortex_ledger::hash::{Hash, leaf_hash};
use batchcortex_ledger::merkle;
use batchcortex_ledger::tile::{TileSource, Tiles};
use pgrx::datum::{TimestampWithTimeZone, Uuid};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::spi::{SpiClient, SpiHeapTupleData};
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The global log, found to be what was signed last.
pub struct Continuity {
    lives: Vec<Life>,
    global: Option<Head>,
    sealed_at: Option<i64>,
    tiles: GlobalTiles,
}

/// Tiles of the global log, each read once: the newest checkpoints of many organisations are close to each other there.
#[derive(Default)]
struct GlobalTiles(RefCell<HashMap<(u8, u64), Vec<Hash>>>);

impl TileSource for GlobalTiles {
    fn tile(&self, level: u8, index: u64, width: u16) -> Option<Vec<Hash>> {
        let mut read = self.0.borrow_mut();
        match read.entry((level, index)) {
            Entry::Occupied(tile) => Some(tile.get().clone()),
            Entry::Vacant(place) => {
                let tile = StoredTiles::of(Uuid::from_bytes(GLOBAL)).tile(level, index, width)?;
                Some(place.insert(tile).clone())
            }
        }
    }
}

/// A row of batchcortex.ledger_checkpoint.
struct Row {
    size: i64,
    root: Hash,
    sealed_at: i64,
    incarnation: i32,
    global_index: Option<i64>,
    note: Option<String>,
    /// What the log's head says, in batchcortex.ledger_tree.
    head_sealed_at: Option<i64>,
}

impl Continuity {
    /// Reads and checks the global log, and that what comes next can be signed.
    ///
    /// # Errors
    /// Says what does not agree.
    pub fn read(client: &mut SpiClient<'_>) -> Result<Self, String> {
        checkpoint_key::with_signer(|_| ())?;
        let lives = incarnation::lives(client)?;
        let (global, tiles) = (tree::head(client, GLOBAL), GlobalTiles::default());
        let newest = newest(client, GLOBAL)?;
        agree(client, GLOBAL, global.as_ref(), newest.as_ref())?;
        tree::sound_edge(client, GLOBAL, global.as_ref())?;
        let Some(newest) = newest else {
            let query = "select exists (select from batchcortex.ledger_incarnation) or exists (select from batchcortex.ledger_checkpoint)";
            return match client
                .update(query, None, &[])
                .unwrap_or_report()
                .first()
                .get_one()
            {
                Ok(Some(false)) => Ok(Continuity {
                    lives,
                    global,
                    sealed_at: None,
                    tiles,
                }),
                _ => Err("it is empty, and incarnations or checkpoints of it are recorded".to_owned()),
            };
        };
        if lives.last().map(|life| life.number) != Some(newest.incarnation) {
            return Err("its newest checkpoint is not of the newest incarnation".to_owned());
        }
        if !checkpoint_key::verifiers().is_empty() {
            signed_before(client, &lives, &newest)?;
        } else if newest.note.is_some() && !incarnation::ends(client, lives.last()) {
            // What is unsigned in a signed log looks forged for good: somebody must have wanted it.
            return Err(
                "it is signed, and this server has no key: put the file of the checkpoint key back and restart, or call batchcortex.new_incarnation to go on without one"
                    .to_owned(),
            );
        }
        Ok(Continuity {
            lives,
            global,
            sealed_at: Some(newest.sealed_at),
            tiles,
        })
    }

    /// The head of the global log; none when it has no leaf yet.
    pub fn global(&self) -> Option<&Head> {
        self.global.as_ref()
    }

    /// When it was last sealed, as its newest checkpoint says: microseconds since 2000-01-01 UTC.
    pub fn sealed_at(&self) -> Option<i64> {
        self.sealed_at
    }

    /// The head of an organisation's log, whose newest checkpoint is a leaf of the global log; none when it has no leaf yet.
    ///
    /// # Errors
    /// Says what does not agree.
    pub fn head(&self, client: &mut SpiClient<'_>, org_id: [u8; 16]) -> Result<Option<Head>, String> {
        let head = tree::head(client, org_id);
        let newest = newest(client, org_id)?;
        agree(client, org_id, head.as_ref(), newest.as_ref())?;
        let Some(newest) = newest else { return Ok(head) };
        let checkpoint = checkpoint(&self.lives, org_id, &newest)?;
        let included = || {
            let global = self.global.as_ref()?;
            let (index, size) = (u64::try_from(newest.global_index?).ok()?, global.size as u64);
            let proof = Tiles::new(&self.tiles, size).inclusion_proof(index).ok()?;
            let leaf = leaf_hash(checkpoint.to_string().as_bytes());
            merkle::verify_inclusion(index, size, &leaf, &proof, &global.root).ok()
        };
        match included() {
            Some(()) => Ok(head),
            None => Err("its newest checkpoint is no leaf of the global log".to_owned()),
        }
    }
}

/// The newest checkpoint of a log.
fn newest(client: &mut SpiClient<'_>, org_id: [u8; 16]) -> Result<Option<Row>, String> {
    let query = "select tree_size, root, sealed_at, incarnation, global_index, note,
                        (select t.sealed_at from batchcortex.ledger_tree t where t.org_id = $1)
                   from batchcortex.ledger_checkpoint where org_id = $1 order by tree_size desc limit 1";
    plan::update(client, query, &[Uuid::from_bytes(org_id).into()])
        .next()
        .map(row)
        .transpose()
}

/// The newest checkpoint of the global log that is signed.
fn newest_signed(client: &mut SpiClient<'_>) -> Result<Option<Row>, String> {
    let query = "select tree_size, root, sealed_at, incarnation, global_index, note,
                        (select t.sealed_at from batchcortex.ledger_tree t where t.org_id = $1)
                   from batchcortex.ledger_checkpoint where org_id = $1 and note is not null order by tree_size desc limit 1";
    plan::update(client, query, &[Uuid::from_bytes(GLOBAL).into()])
        .next()
        .map(row)
        .transpose()
}

fn row(row: SpiHeapTupleData<'_>) -> Result<Row, String> {
    let root: Option<&[u8]> = row.get(2).unwrap_or_report();
    let time = |i| {
        row.get::<TimestampWithTimeZone>(i)
            .unwrap_or_report()
            .map(TimestampWithTimeZone::into_inner)
    };
    Ok(Row {
        size: row.get(1).unwrap_or_report().unwrap_or(0),
        root: root
            .and_then(|root| root.try_into().ok())
            .ok_or("its newest checkpoint has no root")?,
        sealed_at: time(3).unwrap_or(0),
        incarnation: row.get(4).unwrap_or_report().unwrap_or(0),
        global_index: row.get(5).unwrap_or_report(),
        note: row.get(6).unwrap_or_report(),
        head_sealed_at: time(7),
    })
}

/// A log ends where its newest checkpoint says; one without any has no tile either.
fn agree(
    client: &mut SpiClient<'_>,
    org_id: [u8; 16],
    head: Option<&Head>,
    newest: Option<&Row>,
) -> Result<(), String> {
    match (head, newest) {
        (Some(head), Some(newest))
            if (head.size, head.root) == (newest.size, newest.root)
                && newest.head_sealed_at == Some(newest.sealed_at) =>
        {
            Ok(())
        }
        (None, None) => {
            let query = "select exists (select from batchcortex.ledger_tile where org_id = $1)";
            let tiles = plan::update(client, query, &[Uuid::from_bytes(org_id).into()]);
            match tiles.first().get_one() {
                Ok(Some(false)) => Ok(()),
                _ => Err("it has tiles and neither head nor checkpoint".to_owned()),
            }
        }
        _ => Err("its head is not what its newest checkpoint says".to_owned()),
    }
}

fn checkpoint(lives: &[Life], org_id: [u8; 16], row: &Row) -> Result<Checkpoint, String> {
    let life = lives
        .iter()
        .find(|life| life.number == row.incarnation)
        .ok_or("its newest checkpoint is of no incarnation that is recorded")?;
    let (origin, continues) = match org_id {
        GLOBAL => (life.origin.clone(), life.continues.as_ref()),
        _ => (life.origin.of_organisation(org_id), None),
    };
    let continues = continues.map(|(size, origin)| (*size, origin.as_str()));
    global::checkpoint(
        &origin,
        row.size as u64,
        row.root,
        row.sealed_at.saturating_add(EPOCH),
        continues,
    )
    .map_err(|e| match e {
        CheckpointError::Time => "its newest checkpoint says a time that no checkpoint can say".to_owned(),
        other => other.to_string(),
    })
}

/// The newest checkpoint of the global log is signed. One of a time without a key is not: then the newest that is signed, if the log ever
/// had a key, must be the beginning of what is stored.
fn signed_before(client: &mut SpiClient<'_>, lives: &[Life], newest_of_all: &Row) -> Result<(), String> {
    let before;
    let row = if newest_of_all.note.is_some() {
        newest_of_all
    } else if lives.last().is_some_and(Life::is_named) {
        return Err("its newest checkpoint is not signed".to_owned());
    } else {
        before = newest_signed(client)?;
        match &before {
            Some(row) => row,
            None if lives.iter().any(Life::is_named) => {
                return Err("it had a key, and no checkpoint of it is signed".to_owned());
            }
            None => return Ok(()),
        }
    };
    let checkpoint = checkpoint(lives, GLOBAL, row)?;
    signed(row.note.as_deref().unwrap_or_default(), &checkpoint).map_err(|fault| match fault {
        Fault::UnknownKey(key) => format!(
            "its newest signed checkpoint is signed by {key}, which is no key of this server: its public half belongs into the file of the checkpoint key"
        ),
        Fault::Wrong(detail) => format!("its newest signed checkpoint: {detail}"),
    })?;
    if row.size < newest_of_all.size
        && stored_range(Uuid::from_bytes(GLOBAL), row.size as u64).map(|range| range.root()) != Some(row.root)
    {
        return Err("what was signed is not the beginning of it".to_owned());
    }
    Ok(())
}
