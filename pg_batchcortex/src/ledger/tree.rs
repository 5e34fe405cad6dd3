//! A stored tree that grows: its right edge is read, new leaves are appended, the tiles that changed are written.

use super::entry::Entry;
use super::{plan, records};
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::tile;
use pgrx::datum::{TimestampWithTimeZone, Uuid};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::spi::SpiClient;

/// Size and root of a log's tree.
pub struct Head {
    /// Organisation, or the global log.
    pub org_id: [u8; 16],
    /// Leaves.
    pub size: i64,
    /// RFC 6962 root.
    pub root: Hash,
}

/// The head of a log as it is stored; none when it has no leaf yet.
pub fn head(client: &mut SpiClient<'_>, org_id: [u8; 16]) -> Option<Head> {
    let query = "select size, root from batchcortex.ledger_tree where org_id = $1";
    let row = plan::update(client, query, &[Uuid::from_bytes(org_id).into()]).next()?;
    Some(Head {
        org_id,
        size: row.get(1).unwrap_or_report()?,
        root: row.get::<&[u8]>(2).unwrap_or_report()?.try_into().ok()?,
    })
}

/// Appends leaves to the tree whose head was read and checked, and writes the tiles that they change; the caller writes the head that this
/// returns. Nothing is written unless the stored edge of the tree fits its head.
pub fn extend(
    client: &mut SpiClient<'_>,
    org_id: [u8; 16],
    before: Option<&Head>,
    entries: &[Entry],
) -> Result<Head, String> {
    let size = before.map_or(0, |head| head.size);
    let org = Uuid::from_bytes(org_id);
    let edge = sound_edge(client, org_id, before)?;
    let leaves: Vec<Hash> = entries.iter().map(|entry| entry.hash).collect();
    let grown = tile::append(size as u64, &edge.hashes, &leaves).map_err(|e| e.to_string())?;
    write_tiles(client, org, &grown.tiles, size as usize, &edge, entries)?;
    Ok(Head {
        org_id,
        size: grown.size as i64,
        root: grown.root,
    })
}

/// The right end of a tree, which must give the root of its head.
pub fn sound_edge(client: &mut SpiClient<'_>, org_id: [u8; 16], head: Option<&Head>) -> Result<Edge, String> {
    let size = head.map_or(0, |head| head.size);
    let edge = read_edge(client, Uuid::from_bytes(org_id), size);
    if let Some(head) = head {
        let range = tile::compact_range(size as u64, &edge.hashes).map_err(|e| e.to_string())?;
        if range.root() != head.root {
            return Err("its last tiles do not give the root of its head".to_owned());
        }
    }
    let kept = (size % i64::from(tile::TILE_WIDTH)) as usize;
    if records::end_of(&edge.records, kept) != Some(edge.records.len()) {
        return Err("the list of records of its last tile does not fit the tile".to_owned());
    }
    Ok(edge)
}

/// The right end of a tree as it is stored.
pub struct Edge {
    hashes: Vec<Vec<Hash>>,
    records: Vec<u8>,
    recorded: Option<(i64, i64)>,
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
    let query = "select t.level, t.hashes, t.records, t.recorded_from, t.recorded_to
                   from unnest($2::smallint[], $3::bigint[]) as e (level, tile_index)
                   join batchcortex.ledger_tile t on t.org_id = $1 and t.level = e.level and t.tile_index = e.tile_index";
    let rows = plan::update(client, query, &[org_id.into(), levels.into(), indices.into()]);
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
) -> Result<(), String> {
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
                return Err(format!(
                    "a record of relation {} waits, whose number or whose key of {} bytes is too large for the list of a tile",
                    entry.relation_id,
                    entry.key.len()
                ));
            }
            let (from, to) = span.unwrap_or((entry.recorded_at, entry.recorded_at));
            span = Some((from.min(entry.recorded_at), to.max(entry.recorded_at)));
        }
        lists.push(Some(list));
        from_times.push(span.map(|(from, _)| time(from)).transpose()?);
        to_times.push(span.map(|(_, to)| time(to)).transpose()?);
    }
    plan::update(
        client,
        "insert into batchcortex.ledger_tile (org_id, level, tile_index, width, hashes, records, recorded_from, recorded_to)
         select $1, t.* from unnest($2::smallint[], $3::bigint[], $4::integer[], $5::bytea[], $6::bytea[], $7::timestamptz[], $8::timestamptz[]) as t
         on conflict (org_id, level, tile_index) do update
            set width = excluded.width, hashes = excluded.hashes, records = excluded.records,
                recorded_from = excluded.recorded_from, recorded_to = excluded.recorded_to",
        &[
            org_id.into(),
            levels.into(),
            indices.into(),
            widths.into(),
            hashes.into(),
            lists.into(),
            from_times.into(),
            to_times.into(),
        ],
    );
    Ok(())
}

fn time(microseconds: i64) -> Result<TimestampWithTimeZone, String> {
    TimestampWithTimeZone::try_from(microseconds).map_err(|_| "a record's time is out of range".to_owned())
}
