//! One organisation's log: its rows and its leaves side by side, then tiles, root and checkpoints.

use super::Finding;
use super::beginning::Beginning;
use super::checkpoints::Checkpoints;
use super::disposed::Disposed;
use super::global::Statements;
use super::rows::Hashed;
use super::rows::columns::Columns;
use super::rows::own::Own;
use super::rows::work::Work;
use super::sources::{self, Source};
use crate::ask;
use crate::identity::unscoped::unscoped;
use crate::ledger::entry::Entry;
use crate::ledger::incarnation::Lives;
use crate::ledger::key::Key;
use crate::ledger::records;
use crate::ledger::scan::Scan;
use crate::retention::leaves;
use crate::row::{Row, with_varlena};
use crate::settings::SEAL_OVERDUE;
use batchcortex_ledger::global::GLOBAL;
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::merkle::{self, CompactRange};
use batchcortex_ledger::tile;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// What was checked of one log.
#[derive(Serialize)]
pub struct Summary {
    log: String,
    organisation: Option<String>,
    /// Rows of the source tables.
    pub rows: u64,
    /// Those of the project's own.
    #[serde(skip)]
    pub own_rows: u64,
    /// Parallel workers that hashed rows beside this process.
    workers: usize,
    leaves: u64,
    /// Leaves of tables that cannot be read, which is a finding of its own.
    leaves_unread: u64,
    /// Leaves whose records were disposed of.
    leaves_disposed: u64,
    waiting: u64,
    tree_size: i64,
    root: Option<String>,
    sealed_at: Option<String>,
    checkpoints: u64,
    /// Checkpoints of a server without a key; of the global log alone, which is the one that is signed.
    unsigned: u64,
    /// The newest checkpoint as a signed note.
    checkpoint: Option<String>,
    /// Leaves sealed later than batchcortex.seal_overdue after their records were stored, by the checkpoint that first held them.
    late: Vec<Late>,
}

/// How far a server's clock may be set back between a record and its sealing, in milliseconds.
const CLOCK_SET_BACK: u64 = 60_000;

/// Leaves that one checkpoint sealed late.
#[derive(Serialize)]
struct Late {
    tree_size: i64,
    leaves: u64,
    longest_seconds: u64,
}

impl Summary {
    /// Whether the newest checkpoint is signed.
    pub fn signed(&self) -> bool {
        self.checkpoint.is_some()
    }
}

pub(super) type Record = (u32, Key);

/// Every row and every leaf passes through one: a hash function made for speed, seeded at random in each process.
pub(super) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Rows of the project's own tables that may wait for their leaf: when so many do, no more are read before the next tile.
const AHEAD: usize = 100_000;

/// Rows that wait for their leaf, leaves that wait for their row: what is out of step while both stream by.
#[derive(Default)]
struct Pairing {
    rows: Map<u32, Map<Key, Hash>>,
    leaves: Map<Record, (u64, Hash)>,
    /// Rows that were read, less the leaves of their table that came by: whether rows lag behind.
    lead: Map<u32, i64>,
    /// Rows that were named for their leaf_hash column: that their leaf differs, too, says nothing more.
    named: HashSet<Record>,
}

impl Pairing {
    /// Rows of a table that wait.
    fn waiting(&self, relation: u32) -> usize {
        self.rows.get(&relation).map_or(0, Map::len)
    }

    fn take_row(&mut self, (relation, key): &Record) -> Option<Hash> {
        self.rows.get_mut(relation)?.remove(key)
    }
}

/// The rows of one log, to come.
struct Streams<'a> {
    own: Own,
    others: Vec<(u32, Columns<'a>)>,
}

/// Organisations whose log the caller may see, without the global log: those that exist, those that have a tree, those that have rows; or the one asked
/// for. Who sees none is told so: no finding would read as intact.
pub fn all(only: Option<Uuid>, sources: &[Source]) -> Vec<Uuid> {
    if only.is_some_and(|only| *only.as_bytes() == GLOBAL) {
        // It is no organisation's, and every verification ends with it.
        return Vec::new();
    }
    let known = "select exists (select from batchcortex.organisation where org_id = $1) or exists (select from batchcortex.ledger_tree where org_id = $1)";
    if let Some(org) = only.filter(|org| ask::one(known, &[(*org).into()]) == Some(true)) {
        return vec![org];
    }
    let visible: Vec<Uuid> = every(sources)
        .into_iter()
        .filter(|org| *org.as_bytes() != GLOBAL && only.is_none_or(|only| only == *org))
        .collect();
    // SAFETY: a catalog look-up.
    let superuser = unsafe { pg_sys::superuser() };
    if let Some(org) = only.filter(|_| visible.is_empty() && superuser) {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("there is no organisation {org}, and nothing of one is left"),
            "batchcortex.organisation lists them; without an argument every log is verified."
        );
    }
    if visible.is_empty() && !superuser {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "there is no log that you may read",
            "An auditor reads the organisations that batchcortex.grant_auditor has granted to the login, for as long as it holds."
        );
    }
    visible
}

fn every(sources: &[Source]) -> Vec<Uuid> {
    let mut query = "select org_id from batchcortex.organisation union select org_id from batchcortex.ledger_tree
                     union select distinct org_id from batchcortex.ledger_checkpoint union select org_id from batchcortex.ledger_tile where level = 0 and tile_index = 0"
        .to_owned();
    for source in sources
        .iter()
        .filter(|source| source.hashed && source.readable && source.named)
    {
        // Skips from organisation to organisation along the primary key instead of reading every row.
        query += &format!(
            " union (with recursive seen (org_id) as (
                  (select org_id from {0} order by org_id limit 1)
                  union all
                  select (select s.org_id from {0} s where s.org_id > seen.org_id order by s.org_id limit 1) from seen where seen.org_id is not null)
              select org_id from seen where org_id is not null)",
            source.relation
        );
    }
    let organisations = |query: &str| -> Vec<Uuid> {
        Spi::connect(|client| {
            let rows = client.select(query, None, &[]).unwrap_or_report();
            rows.filter_map(|row| row.get(1).unwrap_or_report()).collect()
        })
    };
    let mut every = organisations(&query);
    // SAFETY: a catalog look-up.
    if unsafe { pg_sys::superuser() } {
        // Of whom others' tables have rows, though nothing else has; what cannot be read is found where the rows are.
        for source in sources.iter().filter(|source| !source.hashed && source.readable) {
            let Some(column) = &source.org_column else {
                continue;
            };
            let column = pgrx::spi::quote_identifier(column);
            let query = format!(
                "select distinct {column} from {} where {column} is not null",
                source.relation
            );
            every.extend(source.read_whole(|| organisations(&query)).unwrap_or_default());
        }
    }
    every.sort_unstable_by_key(|org| *org.as_bytes());
    every.dedup();
    every
}

/// Checks one log and adds what it finds. `statements`: what the leaves of the global log stand for; none for any other log.
pub fn check(
    org_id: Uuid,
    beginning: Beginning,
    sources: &[Source],
    lives: &Lives,
    statements: Option<Statements<'_>>,
    findings: &mut Vec<Finding>,
) -> Summary {
    // Of the global log there is no row.
    let of_rows = statements.is_none();
    let disposed = Disposed::read(org_id, sources, findings);
    let mut check = Check {
        log: org_id.to_string(),
        org_id,
        sources,
        findings,
        pairing: Pairing::default(),
        rows: 0,
        own_rows: 0,
        unread: sources.iter().filter(|s| !s.readable).map(|s| s.id).collect(),
        leaves_unread: 0,
        disposed,
        leaves_disposed: 0,
        statements,
        own: sources::own(sources),
        partial: beginning.size > 0,
        made_from: beginning.recorded_from.map(leaves::milliseconds),
        late: Vec::new(),
    };
    let (organisation, tree_size, root, sealed_at, instant, note) = check.head();
    // Before parallel workers run, beside which no subtransaction begins.
    let others = if of_rows { check.others(org_id) } else { Vec::new() };
    let mut rows = Streams {
        own: Own::open(
            Work::of(org_id, sources, beginning.first_tile(), beginning.recorded_from),
            of_rows && !sources.iter().any(|source| source.hashed && source.filtered),
        ),
        others,
    };
    let workers = rows.own.workers();
    check.pairing.leaves = beginning.earlier;
    check
        .pairing
        .leaves
        .retain(|(relation, _), _| !check.unread.contains(relation));
    let mut checkpoints = Checkpoints::open(org_id, beginning.size, lives);

    let mut range = beginning.range;
    let mut above: Vec<Hash> = Vec::new();
    let mut tiles = Scan::open(
        &format!(
            "select tile_index, width, hashes, records, recorded_from, recorded_to from batchcortex.ledger_tile where org_id = $1 and level = 0 and tile_index >= {} order by tile_index",
            range.size() / u64::from(tile::TILE_WIDTH)
        ),
        &[*org_id.as_bytes()],
        64,
    );
    let first_tile = range.size() / u64::from(tile::TILE_WIDTH);
    while tiles.next(|row| {
        check.leaf_tile(
            row,
            tree_size,
            &mut range,
            &mut above,
            &mut rows,
            &mut checkpoints,
        )
    }) {}
    tiles.close();
    while rows.own.next(|relation, row| check.row(relation, row)) {}
    rows.own.close();
    for (relation, mut rows) in rows.others {
        while rows.next(|row| check.row(relation, row)) {}
        rows.close();
    }

    let leaves = range.size();
    check.root(tree_size, root.as_deref(), &range);
    check.upper_tiles(first_tile, above);
    let checkpoints = checkpoints.rest(&mut check, leaves, instant, note.as_deref());
    if let Some(statements) = check.statements.take() {
        statements.rest(check.findings);
    }
    let waiting = check.settle();
    Summary {
        log: check.log.clone(),
        organisation,
        rows: check.rows,
        own_rows: check.own_rows,
        workers,
        leaves,
        leaves_unread: check.leaves_unread,
        leaves_disposed: check.leaves_disposed,
        waiting,
        tree_size,
        root: root.map(hex::encode),
        sealed_at,
        checkpoints: checkpoints.read,
        unsigned: checkpoints.unsigned,
        checkpoint: note,
        late: check.late,
    }
}

pub(super) struct Check<'a> {
    log: String,
    org_id: Uuid,
    sources: &'a [Source],
    findings: &'a mut Vec<Finding>,
    pairing: Pairing,
    rows: u64,
    own_rows: u64,
    /// Relations whose rows cannot be read: their leaves count for the tree alone.
    unread: HashSet<u32>,
    leaves_unread: u64,
    disposed: Disposed,
    leaves_disposed: u64,
    statements: Option<Statements<'a>>,
    /// Relations of the project's own tables, whose keys tell when a record was made.
    own: HashSet<u32>,
    /// Whether earlier leaves are left out.
    partial: bool,
    /// Records made before it are left out, milliseconds since 1970-01-01 UTC.
    made_from: Option<u64>,
    late: Vec<Late>,
}

impl<'a> Check<'a> {
    /// Rows of tables of others. One that cannot be read is found, and its leaves count for the tree alone.
    fn others(&mut self, org_id: Uuid) -> Vec<(u32, Columns<'a>)> {
        let mut others = Vec::new();
        let sources = self.sources;
        for source in sources.iter().filter(|source| !source.hashed && source.readable) {
            match source.read_whole(|| Columns::open(source, org_id)) {
                Ok(rows) => others.extend(rows.map(|rows| (source.id, rows))),
                Err(said) => {
                    self.unread.insert(source.id);
                    let detail = format!("the table cannot be read: {said}");
                    self.find("weakened_protection", &source.relation, String::new(), detail);
                }
            }
        }
        others
    }

    pub(super) fn find(&mut self, code: &'static str, relation: &str, record: String, detail: String) {
        self.findings.push(Finding {
            log: self.log.clone(),
            code,
            relation: relation.to_owned(),
            record,
            detail,
        });
    }

    fn relation(&self, id: u32) -> String {
        self.sources
            .iter()
            .find(|s| s.id == id)
            .map_or_else(|| format!("relation {id}"), |s| s.relation.clone())
    }

    fn find_record(&mut self, code: &'static str, (relation, key): Record, detail: String) {
        let kinds = self
            .sources
            .iter()
            .find(|s| s.id == relation)
            .map_or(&[][..], |s| &s.key_kinds);
        let record = key.text(kinds);
        let relation = self.relation(relation);
        self.find(code, &relation, record, detail);
    }

    /// Through a scan, like the tiles: a plain query would see a newer head once the transaction has written something.
    #[allow(clippy::type_complexity)]
    fn head(
        &self,
    ) -> (
        Option<String>,
        i64,
        Option<Vec<u8>>,
        Option<String>,
        Option<i64>,
        Option<String>,
    ) {
        let bytes = |row: &Row<'_>, i: usize| {
            row.get(i)
                // SAFETY: the columns read are text and bytea.
                .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) })
        };
        let text = |row: &Row<'_>, i: usize| bytes(row, i).and_then(|bytes| String::from_utf8(bytes).ok());
        let org_id = [*self.org_id.as_bytes()];
        let mut name = (org_id[0] == GLOBAL).then(|| "global log".to_owned());
        let mut scan = Scan::open(
            "select name from batchcortex.organisation where org_id = $1",
            &org_id,
            1,
        );
        scan.next(|row| name = text(row, 0));
        scan.close();
        let (mut size, mut root, mut sealed_at, mut instant, mut note) = (0, None, None, None, None);
        let mut scan = Scan::open(
            "select size, root, to_char(sealed_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), note, sealed_at from batchcortex.ledger_tree where org_id = $1",
            &org_id,
            1,
        );
        scan.next(|row| {
            size = row.get(0).map_or(0, |datum| datum.value() as i64);
            root = bytes(row, 1);
            sealed_at = text(row, 2);
            note = text(row, 3);
            instant = row.get(4).map(|datum| datum.value() as i64);
        });
        scan.close();
        (name, size, root, sealed_at, instant, note)
    }

    /// A level-0 tile: its leaves extend the tree, meet their rows, and are what checkpoints were made over.
    fn leaf_tile(
        &mut self,
        row: &Row<'_>,
        tree_size: i64,
        range: &mut CompactRange,
        above: &mut Vec<Hash>,
        rows: &mut Streams<'_>,
        checkpoints: &mut Checkpoints<'_>,
    ) {
        let full = u64::from(tile::TILE_WIDTH);
        let number = |i: usize| row.get(i).map_or(0, |datum| datum.value() as i64);
        let (index, width) = (number(0), number(1) as i32 as u64);
        let expected = range.size() / full;
        if index as u64 != expected || !range.size().is_multiple_of(full) {
            self.find(
                "wrong_tile",
                "batchcortex.ledger_tile",
                format!("0/{index}"),
                format!(
                    "the tile after {} leaves should be 0/{expected}, and every tile before it full",
                    range.size()
                ),
            );
        }
        let bytes = |i: usize| {
            // SAFETY: hashes and records are bytea columns.
            row.get(i)
                .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) })
                .unwrap_or_default()
        };
        let (hashes, list) = (bytes(2), bytes(3));
        let hashes = tile::hashes_of(&hashes).unwrap_or_default();
        let Some(listed) = records::parse(&list)
            .filter(|listed| listed.len() == hashes.len() && hashes.len() as u64 == width)
        else {
            let detail = format!(
                "{} hashes, a width of {width} and the list of records do not fit each other",
                hashes.len()
            );
            self.find(
                "wrong_tile",
                "batchcortex.ledger_tile",
                format!("0/{index}"),
                detail,
            );
            return;
        };
        self.times(index, [number(4), number(5)], &listed);
        self.feed(&listed, rows);
        let begin = range.size();
        let whole = hashes.len() as u64 == full;
        // A tile in which no checkpoint ends joins the tree as one node.
        let joins_whole = whole && begin.is_multiple_of(full) && !checkpoints.any_below(begin + full);
        for (leaf_index, (hash, (relation, key))) in (begin..).zip(hashes.iter().zip(listed)) {
            let sealing = checkpoints.of_leaf(leaf_index);
            if let Some((size, sealed_at)) = sealing {
                self.note_time(relation, key, size, sealed_at);
            }
            if let Some(statements) = &mut self.statements {
                let sealed_at = sealing.map(|(_, sealed_at)| sealed_at);
                statements.leaf(leaf_index, hash, sealed_at, self.findings);
            } else if self.unread.contains(&relation) {
                self.leaves_unread += 1;
            } else {
                self.leaf((relation, Key::of(key)), leaf_index, *hash);
            }
            if !joins_whole {
                range.append(*hash);
                checkpoints.at(self, range);
            }
        }
        if whole {
            let root = merkle::root_of(hashes);
            above.push(root);
            if joins_whole && range.append_subtree(tile::TILE_HEIGHT, root).is_ok() {
                checkpoints.at(self, range);
            }
        }
        if index as u64 * full + width > tree_size as u64 {
            let detail = format!("the tile has leaves beyond the tree's size of {tree_size}");
            self.find(
                "wrong_tile",
                "batchcortex.ledger_tile",
                format!("0/{index}"),
                detail,
            );
        }
    }

    /// The times of a tile, by which records and their leaves are looked up, are those of its records, as far as their keys tell them.
    fn times(&mut self, index: i64, [from, to]: [i64; 2], listed: &[(u32, &[u8])]) {
        let told: Vec<u64> = listed
            .iter()
            .filter(|(relation, _)| self.own.contains(relation))
            .filter_map(|(_, key)| leaves::time_of(key))
            .collect();
        let (Some(first), Some(last)) = (told.iter().min(), told.iter().max()) else {
            return;
        };
        let (from, to) = (leaves::milliseconds(from), leaves::milliseconds(to));
        let fits = match told.len() == listed.len() {
            true => (from, to) == (*first, *last),
            false => from <= *first && *last <= to,
        };
        if !fits {
            self.find(
                "wrong_tile",
                "batchcortex.ledger_tile",
                format!("0/{index}"),
                "the tile's times are not those of its records".to_owned(),
            );
        }
    }

    /// Counts a leaf that was sealed long after its record was stored, and names one that was sealed before, as far as the key tells when
    /// that was.
    fn note_time(&mut self, relation: u32, key: &[u8], tree_size: i64, sealed_at: i64) {
        let Some(time) = leaves::time_of(key).filter(|_| self.own.contains(&relation)) else {
            return;
        };
        let sealed = leaves::milliseconds(sealed_at);
        if time > sealed + CLOCK_SET_BACK {
            let detail = format!(
                "the record's time is {} s after its sealing: it is forged",
                (time - sealed) / 1000
            );
            self.find_record("wrong_time", (relation, Key::of(key)), detail);
        }
        let seconds = sealed.saturating_sub(time) / 1000;
        if seconds <= SEAL_OVERDUE.get() as u64 {
            return;
        }
        match self.late.last_mut().filter(|late| late.tree_size == tree_size) {
            Some(late) => {
                late.leaves += 1;
                late.longest_seconds = late.longest_seconds.max(seconds);
            }
            None => self.late.push(Late {
                tree_size,
                leaves: 1,
                longest_seconds: seconds,
            }),
        }
    }

    /// Reads about as many rows of each table as the tile has leaves of it, so that both sides stay in step.
    fn feed(&mut self, listed: &[(u32, &[u8])], rows: &mut Streams<'_>) {
        let leaves_of = |id: u32| listed.iter().filter(|(relation, _)| *relation == id).count();
        for (id, rows) in &mut rows.others {
            if self.pairing.waiting(*id) < leaves_of(*id) {
                let _ = rows.next(|row| self.row(*id, row));
            }
        }
        let own = rows.own.relations();
        for id in &own {
            // Rows are counted, not those that wait: some wait for a leaf far away, or for none.
            *self.pairing.lead.entry(*id).or_default() -= leaves_of(*id) as i64;
            while self.pairing.lead.get(id).is_some_and(|lead| *lead < 0)
                && own.iter().map(|id| self.pairing.waiting(*id)).sum::<usize>() < AHEAD
                && rows.own.next(|relation, row| self.row(relation, row))
            {}
        }
    }

    fn row(&mut self, relation: u32, row: Hashed) {
        self.rows += 1;
        self.own_rows += u64::from(self.own.contains(&relation));
        *self.pairing.lead.entry(relation).or_default() += 1;
        let record = (relation, row.key);
        if !row.agrees {
            self.find_record(
                "wrong_leaf",
                record.clone(),
                "the row does not hash to its leaf_hash column".to_owned(),
            );
            self.pairing.named.insert(record.clone());
        }
        if !row.timely {
            self.find_record(
                "wrong_time",
                record.clone(),
                "the row's id was not made at its recorded_at: one of them is forged".to_owned(),
            );
        }
        match self.pairing.leaves.remove(&record) {
            Some((index, leaf)) => self.compare(record, index, leaf, row.leaf),
            None => {
                if self
                    .pairing
                    .rows
                    .entry(relation)
                    .or_default()
                    .insert(record.1.clone(), row.leaf)
                    .is_some()
                {
                    self.find_record(
                        "row_without_leaf",
                        record,
                        "two rows carry this key, at most one is a leaf".to_owned(),
                    );
                }
            }
        }
    }

    fn leaf(&mut self, record: Record, index: u64, leaf: Hash) {
        let disposed = self.disposed.covers(record.0, &record.1);
        match self.pairing.take_row(&record) {
            Some(_) if disposed => self.find_undisposed(record),
            Some(row) => self.compare(record, index, leaf, row),
            None if disposed => self.leaves_disposed += 1,
            None => {
                if let Some((first, _)) = self.pairing.leaves.insert(record.clone(), (index, leaf)) {
                    self.find_record(
                        "missing_row",
                        record,
                        format!("leaf {first} and leaf {index} stand for the same record"),
                    );
                }
            }
        }
    }

    fn find_undisposed(&mut self, record: Record) {
        let detail = "the record was disposed of, and is there".to_owned();
        self.find_record("wrong_disposal", record, detail);
    }

    fn compare(&mut self, record: Record, index: u64, leaf: Hash, row: Hash) {
        if leaf != row && !self.pairing.named.contains(&record) {
            self.find_record(
                "wrong_leaf",
                record,
                format!("the row does not hash to leaf {index} of the ledger"),
            );
        }
    }

    fn root(&mut self, tree_size: i64, root: Option<&[u8]>, range: &CompactRange) {
        let head = root.map_or_else(|| "no head".to_owned(), hex::encode);
        if range.size() != tree_size as u64 {
            let detail = format!(
                "the head says {tree_size} leaves, the tiles hold {}",
                range.size()
            );
            self.find(
                "wrong_root",
                "batchcortex.ledger_tree",
                tree_size.to_string(),
                detail,
            );
        } else if range.size() > 0 && root != Some(&range.root()[..]) {
            let detail = format!(
                "the head says {head}, the leaves give {}",
                hex::encode(range.root())
            );
            self.find(
                "wrong_root",
                "batchcortex.ledger_tree",
                tree_size.to_string(),
                detail,
            );
        }
    }

    /// Tiles above level 0 hold nothing but hashes of the level below. `hashes`: roots of the full tiles of level 0 from `offset` on.
    fn upper_tiles(&mut self, mut offset: u64, mut hashes: Vec<Hash>) {
        let full = usize::from(tile::TILE_WIDTH);
        let mut expected: HashMap<(i16, i64), Vec<Hash>> = HashMap::new();
        let mut first = [0; tile::MAX_LEVELS as usize + 1];
        for level in 1..=i16::from(tile::MAX_LEVELS) {
            let kept = offset as usize % full;
            offset /= full as u64;
            first[level as usize] = offset as i64;
            // What stands to the left in the same tile was there before.
            let mut entries = self.stored_tile(level, offset as i64);
            entries.truncate(kept);
            entries.extend(hashes);
            let mut above = Vec::with_capacity(entries.len() / full);
            for (index, chunk) in (offset as i64..).zip(entries.chunks(full)) {
                expected.insert((level, index), chunk.to_vec());
                if chunk.len() == full {
                    above.push(merkle::root_of(chunk));
                }
            }
            hashes = above;
        }
        let mut scan = Scan::open(
            "select level, tile_index, hashes from batchcortex.ledger_tile where org_id = $1 and level > 0",
            &[*self.org_id.as_bytes()],
            64,
        );
        let mut wrong = Vec::new();
        while scan.next(|row| {
            let level = row.get(0).map_or(0, |datum| datum.value() as i16);
            let index = row.get(1).map_or(0, |datum| datum.value() as i64);
            // SAFETY: hashes is a bytea column.
            let stored = row
                .get(2)
                .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) })
                .unwrap_or_default();
            if index >= first.get(level as usize).copied().unwrap_or(0)
                && expected.remove(&(level, index)).as_deref() != tile::hashes_of(&stored)
            {
                wrong.push((
                    level,
                    index,
                    "the tile does not hold the hashes of the tiles below it",
                ));
            }
        }) {}
        scan.close();
        wrong.extend(
            expected
                .into_keys()
                .map(|(level, index)| (level, index, "the tile is missing")),
        );
        wrong.sort_unstable();
        for (level, index, detail) in wrong {
            self.find(
                "wrong_tile",
                "batchcortex.ledger_tile",
                format!("{level}/{index}"),
                detail.to_owned(),
            );
        }
    }

    /// The hashes of a tile; none when it is not stored.
    fn stored_tile(&self, level: i16, index: i64) -> Vec<Hash> {
        let query = format!(
            "select hashes from batchcortex.ledger_tile where org_id = $1 and level = {level} and tile_index = {index}"
        );
        let mut hashes = Vec::new();
        let mut scan = Scan::open(&query, &[*self.org_id.as_bytes()], 1);
        scan.next(|row| {
            // SAFETY: a bytea column.
            let stored = row
                .get(0)
                .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) });
            hashes = stored
                .as_deref()
                .and_then(tile::hashes_of)
                .unwrap_or_default()
                .to_vec();
        });
        scan.close();
        hashes
    }

    /// Rows without a sealed leaf must be waiting for sealing, and leaves must have had a row. Returns how many wait.
    fn settle(&mut self) -> u64 {
        let mut waiting = 0;
        for entry in queued(*self.org_id.as_bytes()) {
            waiting += 1;
            if self.unread.contains(&entry.relation_id) {
                continue;
            }
            // Its row is among those that are left out.
            let earlier = |time: u64| self.made_from.is_some_and(|from| time < from);
            if self.own.contains(&entry.relation_id) && leaves::time_of(&entry.key).is_some_and(earlier) {
                continue;
            }
            let record = (entry.relation_id, Key::of(&entry.key));
            match self.pairing.take_row(&record) {
                Some(row) if row == entry.hash => {}
                Some(_) => self.find_record(
                    "wrong_leaf",
                    record,
                    "the row does not hash to its leaf that waits for sealing".to_owned(),
                ),
                None => self.find_record(
                    "missing_row",
                    record,
                    "a leaf waits for sealing, its row is gone".to_owned(),
                ),
            }
        }
        let pairing = std::mem::take(&mut self.pairing);
        let mut leaves: Vec<_> = pairing.leaves.into_iter().collect();
        leaves.sort_unstable_by_key(|(_, (index, _))| *index);
        for (record, (index, _)) in leaves {
            self.find_record(
                "missing_row",
                record,
                format!("leaf {index} of the ledger has no row"),
            );
        }
        let mut rows: Vec<Record> = pairing
            .rows
            .into_iter()
            .flat_map(|(relation, rows)| rows.into_keys().map(move |key| (relation, key)))
            .collect();
        rows.sort_unstable();
        for record in rows {
            // Rows of protected tables carry no time: which of them are leaves of the part that is left out is not known.
            if self.partial
                && self
                    .sources
                    .iter()
                    .any(|source| source.id == record.0 && !source.hashed)
            {
                continue;
            }
            if self.disposed.covers(record.0, &record.1) {
                self.find_undisposed(record);
                continue;
            }
            let detail = "the row is in no leaf of the ledger and none waits for it".to_owned();
            // No tile names it, so neither is it named to who may not read the table.
            if self
                .sources
                .iter()
                .any(|source| source.id == record.0 && !source.named)
            {
                let relation = self.relation(record.0);
                self.find("row_without_leaf", &relation, String::new(), detail);
                continue;
            }
            self.find_record("row_without_leaf", record, detail);
        }
        waiting
    }
}

/// Leaves of an organisation that wait for sealing, in the snapshot of the verification.
fn queued(org_id: [u8; 16]) -> Vec<Entry> {
    let mut found = Vec::new();
    // The queue belongs to no organisation; only entries of a log that the caller is verifying are kept.
    unscoped(|| {
        let mut scan = Scan::open("select entry from batchcortex.ledger_queue", &[], 10_000);
        while scan.next(|row| {
            // SAFETY: entry is a bytea column.
            let entry = row
                .get(0)
                .and_then(|datum| unsafe { with_varlena(datum, Entry::unpack) });
            found.extend(entry.filter(|entry| entry.org_id == org_id));
        }) {}
        scan.close();
    });
    found
}
