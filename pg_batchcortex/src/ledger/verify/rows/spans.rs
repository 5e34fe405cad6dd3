//! Rows of the project's own tables, a span of time after the other: within a span in any order, so that PostgreSQL may hash them with
//! parallel workers; one after the other, so that a verification holds no more than a span in memory.

use super::Hashed;
use crate::ledger::digest::Digest;
use crate::ledger::key::Key;
use crate::ledger::scan::Scan;
use crate::ledger::verify::sources::Source;
use crate::ledger::verify::whole_query;
use crate::row::with_varlena;
use pgrx::datum::Uuid;

/// Tiles of 256 leaves in a span.
const TILES: i64 = 200;

/// Where the spans of a log begin and end, microseconds since 2000-01-01 UTC.
pub struct Bounds {
    /// Rows recorded before it are left out.
    from: Option<i64>,
    /// The ends, ascending, about every [`TILES`] tiles; one more span follows.
    ends: Vec<i64>,
}

/// Those of the rows recorded at `from` or later, whose leaves are in tiles from `first_tile` on.
pub fn bounds(org_id: Uuid, first_tile: u64, from: Option<i64>) -> Bounds {
    let query = format!(
        "select recorded_to from batchcortex.ledger_tile
          where org_id = $1 and level = 0 and tile_index >= {first_tile} and tile_index % {TILES} = {TILES} - 1 order by tile_index"
    );
    let mut bounds: Vec<i64> = from.map(|from| from - 1).into_iter().collect();
    let mut scan = Scan::open(&query, &[*org_id.as_bytes()], 1000);
    while scan.next(|row| {
        let time = row.get(0).map(|datum| datum.value() as i64);
        bounds.extend(time.filter(|time| bounds.last().is_none_or(|last| last < time)));
    }) {}
    scan.close();
    let skipped = usize::from(from.is_some());
    Bounds {
        from,
        ends: bounds.split_off(skipped),
    }
}

/// The rows of one table in one log.
pub struct Spans<'a> {
    source: &'a Source,
    org_id: Uuid,
    bounds: &'a Bounds,
    /// The span to be read next; past the bounds there is one more.
    next: usize,
}

impl<'a> Spans<'a> {
    /// Nothing is read yet.
    pub fn new(source: &'a Source, org_id: Uuid, bounds: &'a Bounds) -> Self {
        Spans {
            source,
            org_id,
            bounds,
            next: 0,
        }
    }

    /// Hashes the rows of the next span; false when there is none.
    pub fn next(&mut self, mut body: impl FnMut(Hashed)) -> bool {
        if self.next > self.bounds.ends.len() {
            return false;
        }
        let time = |at: i64| format!("'2000-01-01 00:00:00+00'::timestamptz + '{at} microseconds'::interval");
        let literal = |text: &str| pgrx::spi::quote_literal(text);
        let mut query = format!(
            "select batchcortex.row_digest(r, {}, {}) from {} r where r.org_id = '{}'::uuid",
            literal(&self.source.domain),
            literal(&self.source.key_columns[0]),
            self.source.relation,
            self.org_id
        );
        match self.next.checked_sub(1) {
            Some(previous) => query += &format!(" and r.recorded_at > {}", time(self.bounds.ends[previous])),
            None => query.extend(
                self.bounds
                    .from
                    .map(|from| format!(" and r.recorded_at >= {}", time(from))),
            ),
        }
        if let Some(until) = self.bounds.ends.get(self.next) {
            query += &format!(" and r.recorded_at <= {}", time(*until));
        }
        self.next += 1;
        whole_query::each(&query, &mut |datum| {
            // SAFETY: row_digest gives bytea.
            if let Some(digest) = unsafe { with_varlena(datum, Digest::unpack) } {
                body(Hashed {
                    key: Key::Uuid(digest.key),
                    leaf: digest.leaf,
                    agrees: digest.agrees,
                    timely: digest.timely,
                });
            }
        });
        true
    }
}
