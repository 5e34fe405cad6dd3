//! What is to be read of the project's own tables, cut into tasks: a small table is one, a partitioned one is a task for each span of
//! time. Whoever has a processor to spare takes the next.

use super::digest::{Digest, Digester};
use super::whole_query;
use crate::ledger::scan::Scan;
use crate::ledger::verify::sources::Source;
use pgrx::datum::Uuid;
use pgrx::prelude::*;
use serde::{Deserialize, Serialize};

/// Tiles of 256 leaves in a span: so few that what waits to be paired stays in a processor's cache.
const TILES: i64 = 64;

/// Rows of one log.
#[derive(Serialize, Deserialize)]
pub struct Work {
    /// Organisation, text form.
    org_id: String,
    /// Rows recorded before it are left out; microseconds since 2000-01-01 UTC, as the ends.
    from: Option<i64>,
    /// Where spans end, ascending; one more span follows.
    ends: Vec<i64>,
    /// The tables, those that are one task first.
    tables: Vec<Table>,
}

#[derive(Serialize, Deserialize)]
struct Table {
    /// ledger_relation.relation_id.
    id: u32,
    relation: String,
    domain: String,
    key_column: String,
    partitioned: bool,
    #[serde(skip)]
    digester: Option<Digester>,
}

impl Work {
    /// The rows recorded at `from` or later, of those `sources` that are the project's own and can be read. Spans end where tiles from
    /// `first_tile` on do.
    pub fn of(org_id: Uuid, sources: &[Source], first_tile: u64, from: Option<i64>) -> Self {
        let mut tables: Vec<Table> = sources
            .iter()
            .filter(|source| source.hashed && source.readable)
            .map(|source| Table {
                id: source.id,
                relation: source.relation.clone(),
                domain: source.domain.clone(),
                key_column: source.key_columns[0].clone(),
                partitioned: source.partitioned,
                digester: None,
            })
            .collect();
        tables.sort_by_key(|table| table.partitioned);
        Work {
            org_id: org_id.to_string(),
            from,
            ends: ends(org_id, first_tile, from),
            tables,
        }
    }

    /// Number of tasks.
    pub fn tasks(&self) -> u64 {
        let partitioned = self.tables.iter().filter(|table| table.partitioned).count();
        (self.tables.len() - partitioned + partitioned * (self.ends.len() + 1)) as u64
    }

    /// Whether there is so much that parallel workers are worth their start.
    pub fn is_large(&self) -> bool {
        self.ends.len() >= 4
    }

    /// The relations that rows are read of.
    pub fn relations(&self) -> impl Iterator<Item = u32> {
        self.tables.iter().map(|table| table.id)
    }

    /// Hashes the rows of a task: calls `body` with relation and digest. An SPI connection is open.
    pub fn run(&mut self, task: u64, body: &mut dyn FnMut(u32, Digest)) {
        let (table, span) = self.task(task as usize);
        let query = self.query(table, span);
        let Table {
            id,
            relation,
            domain,
            key_column,
            digester,
            ..
        } = &mut self.tables[table];
        whole_query::each(&query, &mut |desc, values, nulls| {
            if digester.is_none() {
                *digester = Digester::new(desc, domain, key_column);
            }
            let Some(digester) = digester else {
                error!(
                    "{relation} has no columns {key_column} uuid, recorded_at timestamptz and leaf_hash bytea"
                );
            };
            // SAFETY: the columns of the table that the digester was made for: nobody changes it while this transaction has a lock on it.
            body(*id, unsafe { digester.digest(values, nulls) });
        });
    }

    /// Table and span of a task.
    fn task(&self, task: usize) -> (usize, Option<usize>) {
        let whole = self.tables.iter().filter(|table| !table.partitioned).count();
        match task.checked_sub(whole) {
            None => (task, None),
            Some(task) => {
                let partitioned = self.tables.len() - whole;
                (whole + task % partitioned, Some(task / partitioned))
            }
        }
    }

    fn query(&self, table: usize, span: Option<usize>) -> String {
        let time = |at: i64| format!("'2000-01-01 00:00:00+00'::timestamptz + '{at} microseconds'::interval");
        let mut query = format!(
            "select * from {} r where r.org_id = '{}'::uuid",
            self.tables[table].relation, self.org_id
        );
        match span.and_then(|span| span.checked_sub(1)) {
            Some(previous) => query += &format!(" and r.recorded_at > {}", time(self.ends[previous])),
            None => query.extend(
                self.from
                    .map(|from| format!(" and r.recorded_at >= {}", time(from))),
            ),
        }
        if let Some(until) = span.and_then(|span| self.ends.get(span)) {
            query += &format!(" and r.recorded_at <= {}", time(*until));
        }
        query
    }
}

/// The times at which about every [`TILES`] tiles end.
fn ends(org_id: Uuid, first_tile: u64, from: Option<i64>) -> Vec<i64> {
    let query = format!(
        "select recorded_to from batchcortex.ledger_tile
          where org_id = $1 and level = 0 and tile_index >= {first_tile} and tile_index % {TILES} = {TILES} - 1 order by tile_index"
    );
    // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    let mut ends = Vec::new();
    let mut last = from.map(|from| from - 1);
    let mut scan = Scan::open(&query, &[*org_id.as_bytes()], 1000);
    while scan.next(|row| {
        let time = row.get(0).map(|datum| datum.value() as i64);
        // One that was tampered with may lie anywhere.
        let fits = |time: &i64| last.is_none_or(|last| last < *time) && *time <= now;
        if let Some(time) = time.filter(fits) {
            ends.push(time);
            last = Some(time);
        }
    }) {}
    scan.close();
    ends
}
