//! One sealing: leaves that are committed and visible get dense indices, the tree grows, a checkpoint is written. All in one
//! transaction, without a lock that any writer takes: late, aborted and long transactions leave no gap and stall nobody.

use super::entry::Entry;
use super::records;
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::tile;
use pgrx::datum::{TimestampWithTimeZone, Uuid};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;
use std::collections::BTreeMap;

/// Most leaves that one transaction seals: bounds its memory and how long its result stays invisible.
pub const MOST: i64 = 100_000;

/// Seals what waits, up to [`MOST`] leaves; returns how many. The leaves of an organisation whose tree is damaged go on
/// waiting, and verify names the damage: nothing is sealed on top of it, and nobody else is held up.
pub fn pass(client: &mut SpiClient<'_>) -> usize {
    let taken = take(client);
    let mut sealed = 0;
    let mut by_org: BTreeMap<[u8; 16], Vec<Entry>> = BTreeMap::new();
    for entry in taken {
        by_org.entry(entry.org_id).or_default().push(entry);
    }
    for (org_id, mut entries) in by_org {
        entries.sort_by_key(|entry| entry.recorded_at);
        match extend(client, Uuid::from_bytes(org_id), &entries) {
            Ok(()) => sealed += entries.len(),
            Err(damage) => {
                warning!(
                    "the tree of organisation {} is damaged and cannot grow, run batchcortex.verify: {damage}",
                    Uuid::from_bytes(org_id)
                );
                put_back(client, &entries);
            }
        }
    }
    sealed
}

fn put_back(client: &mut SpiClient<'_>, entries: &[Entry]) {
    let packed: Vec<Vec<u8>> = entries.iter().map(Entry::pack).collect();
    let query = "insert into batchcortex.ledger_queue (entry) select unnest($1::bytea[])";
    client.update(query, None, &[packed.into()]).unwrap_or_report();
}

fn take(client: &mut SpiClient<'_>) -> Vec<Entry> {
    client
        .update(
            "delete from batchcortex.ledger_queue
              where ctid = any (array(select ctid from batchcortex.ledger_queue limit $1)) returning entry",
            None,
            &[MOST.into()],
        )
        .unwrap_or_report()
        .filter_map(|row| row.get::<&[u8]>(1).unwrap_or_report().and_then(Entry::unpack))
        .collect()
}

/// The right end of a tree as it is stored.
struct Edge {
    hashes: Vec<Vec<Hash>>,
    records: Vec<u8>,
    recorded: Option<(i64, i64)>,
}

/// Nothing is written unless the stored edge of the tree fits its head.
fn extend(client: &mut SpiClient<'_>, org_id: Uuid, entries: &[Entry]) -> Result<(), String> {
    let size = client
        .update(
            "select size from batchcortex.ledger_tree where org_id = $1",
            None,
            &[org_id.into()],
        )
        .unwrap_or_report()
        .next()
        .and_then(|row| row.get::<i64>(1).unwrap_or_report())
        .unwrap_or(0);
    let edge = read_edge(client, org_id, size);
    let leaves: Vec<Hash> = entries.iter().map(|entry| entry.hash).collect();
    let grown = tile::append(size as u64, &edge.hashes, &leaves).map_err(|e| e.to_string())?;
    let kept = (size % i64::from(tile::TILE_WIDTH)) as usize;
    if records::end_of(&edge.records, kept) != Some(edge.records.len()) {
        return Err("the list of records of its last tile does not fit the tile".to_owned());
    }
    write_tiles(client, org_id, &grown.tiles, size as usize, &edge, entries);
    client
        .update(
            "with head as (
                 insert into batchcortex.ledger_tree (org_id, size, root, sealed_at) values ($1, $2, $3, clock_timestamp())
                 on conflict (org_id) do update set size = excluded.size, root = excluded.root, sealed_at = excluded.sealed_at
                 returning org_id, size, root, sealed_at)
             insert into batchcortex.ledger_checkpoint (org_id, tree_size, root, sealed_at) select * from head",
            None,
            &[org_id.into(), (grown.size as i64).into(), grown.root.to_vec().into()],
        )
        .unwrap_or_report();
    Ok(())
}

fn read_edge(client: &mut SpiClient<'_>, org_id: Uuid, size: i64) -> Edge {
    let mut edge = Edge {
        hashes: Vec::new(),
        records: Vec::new(),
        recorded: None,
    };
    let (mut levels, mut indices) = (Vec::new(), Vec::new());
    for id in tile::right_edge(size as u64).filter(|id| id.width < tile::TILE_WIDTH) {
        levels.push(i16::from(id.level));
        indices.push(id.index as i64);
    }
    let rows = client
        .update(
            "select t.level, t.hashes, t.records, t.recorded_from, t.recorded_to
               from unnest($2::smallint[], $3::bigint[]) as e (level, tile_index)
               join batchcortex.ledger_tile t on t.org_id = $1 and t.level = e.level and t.tile_index = e.tile_index",
            None,
            &[org_id.into(), levels.into(), indices.into()],
        )
        .unwrap_or_report();
    for row in rows {
        let level = row.get::<i16>(1).unwrap_or_report().unwrap_or(0) as usize;
        let hashes = row
            .get::<&[u8]>(2)
            .unwrap_or_report()
            .and_then(tile::hashes_of)
            .unwrap_or_default();
        if edge.hashes.len() <= level {
            edge.hashes.resize(level + 1, Vec::new());
        }
        edge.hashes[level] = hashes.to_vec();
        if level == 0 {
            edge.records = row.get(3).unwrap_or_report().unwrap_or_default();
            let time = |i| {
                row.get::<TimestampWithTimeZone>(i)
                    .unwrap_or_report()
                    .map(|t| t.into_inner())
            };
            edge.recorded = time(4).zip(time(5));
        }
    }
    edge
}

fn write_tiles(
    client: &mut SpiClient<'_>,
    org_id: Uuid,
    tiles: &[tile::Tile],
    size: usize,
    edge: &Edge,
    entries: &[Entry],
) {
    let count = tiles.len();
    let (mut levels, mut indices, mut widths) = (
        Vec::with_capacity(count),
        Vec::with_capacity(count),
        Vec::with_capacity(count),
    );
    let (mut hashes, mut lists) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut from_times, mut to_times) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for tile in tiles {
        levels.push(i16::from(tile.level));
        indices.push(tile.index as i64);
        widths.push(tile.hashes.len() as i32);
        hashes.push(tile.bytes().to_vec());
        if tile.level > 0 {
            lists.push(None);
            from_times.push(None);
            to_times.push(None);
            continue;
        }
        let first = tile.index as usize * usize::from(tile::TILE_WIDTH);
        let kept = size.saturating_sub(first);
        let new =
            &entries[(first + kept).saturating_sub(size)..(first + tile.hashes.len()).saturating_sub(size)];
        let mut list = if kept > 0 {
            edge.records.clone()
        } else {
            Vec::new()
        };
        let mut span = edge.recorded.filter(|_| kept > 0);
        for entry in new {
            if records::push(&mut list, entry.relation_id, &entry.key).is_none() {
                error!(
                    "the key of a record of relation {} is too long to be sealed",
                    entry.relation_id
                );
            }
            let (from, to) = span.unwrap_or((entry.recorded_at, entry.recorded_at));
            span = Some((from.min(entry.recorded_at), to.max(entry.recorded_at)));
        }
        lists.push(Some(list));
        from_times.push(span.map(|(from, _)| time(from)));
        to_times.push(span.map(|(_, to)| time(to)));
    }
    client
        .update(
            "insert into batchcortex.ledger_tile (org_id, level, tile_index, width, hashes, records, recorded_from, recorded_to)
             select $1, t.* from unnest($2::smallint[], $3::bigint[], $4::integer[], $5::bytea[], $6::bytea[], $7::timestamptz[], $8::timestamptz[]) as t
             on conflict (org_id, level, tile_index) do update
                set width = excluded.width, hashes = excluded.hashes, records = excluded.records,
                    recorded_from = excluded.recorded_from, recorded_to = excluded.recorded_to",
            None,
            &[org_id.into(), levels.into(), indices.into(), widths.into(), hashes.into(), lists.into(), from_times.into(), to_times.into()],
        )
        .unwrap_or_report();
}

fn time(microseconds: i64) -> TimestampWithTimeZone {
    TimestampWithTimeZone::try_from(microseconds)
        .unwrap_or_else(|_| error!("a record's time is out of range"))
}
