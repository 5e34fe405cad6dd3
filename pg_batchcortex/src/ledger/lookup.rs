//! Which leaf a record is.

use super::incarnation::EPOCH;
use super::records;
use pgrx::datum::{TimestampWithTimeZone, Uuid};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// The leaf of a record of the project's own tables, whose key is a UUID of version 7: organisation, relation and index from 0; no row
/// while it waits for sealing. The time in the key narrows the search to the tiles of that time.
#[pg_extern(stable, strict, parallel_restricted)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
pub fn leaf_of(
    record: Uuid,
) -> TableIterator<
    'static,
    (
        name!(org_id, Uuid),
        name!(relation_id, i32),
        name!(leaf_index, i64),
    ),
> {
    let key = *record.as_bytes();
    let milliseconds = key[..6]
        .iter()
        .fold(0i64, |sum, byte| sum << 8 | i64::from(*byte));
    let from = milliseconds * 1000 - EPOCH;
    let (Ok(from), Ok(until)) = (
        TimestampWithTimeZone::try_from(from),
        TimestampWithTimeZone::try_from(from + 999),
    ) else {
        return TableIterator::new(Vec::new());
    };
    let query = "select t.org_id, t.tile_index, t.records from batchcortex.ledger_tree h
                   join batchcortex.ledger_tile t on t.org_id = h.org_id and t.level = 0 and t.recorded_to >= $2 and t.recorded_from <= $3
                  where position($1 in t.records) > 0";
    let found = Spi::connect(|client| {
        let mut found = Vec::new();
        let arguments = [key.to_vec().into(), from.into(), until.into()];
        for row in client.select(query, None, &arguments).unwrap_or_report() {
            let (Some(org_id), Some(tile), Some(list)) = (
                row.get::<Uuid>(1).unwrap_or_report(),
                row.get::<i64>(2).unwrap_or_report(),
                row.get::<&[u8]>(3).unwrap_or_report(),
            ) else {
                continue;
            };
            let listed = records::parse(list).unwrap_or_default();
            let places = listed
                .iter()
                .enumerate()
                .filter(|(_, (_, listed))| *listed == key);
            found.extend(places.map(|(i, (relation, _))| (org_id, *relation as i32, tile * 256 + i as i64)));
        }
        found
    });
    TableIterator::new(found)
}
