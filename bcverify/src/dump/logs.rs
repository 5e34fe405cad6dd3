//! What the ledger's tables say, and whether they agree: tiles with what is below them, heads and checkpoints with the leaves, checkpoints
//! of organisations with the global log, and its checkpoints with their signatures.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Context as _;
use batchcortex_ledger::evidence::{GlobalCheckpoint, Trust, unix_time};
use batchcortex_ledger::global::{self, GLOBAL, Link, Origin};
use batchcortex_ledger::hash::{Hash, leaf_hash};
use batchcortex_ledger::merkle::CompactRange;
use batchcortex_ledger::note::Verified;
use batchcortex_ledger::record::OWN_RELATIONS;
use batchcortex_ledger::tile;

use super::Found;
use super::copy::Fields;
use super::value;

/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH: i64 = 946_684_800_000_000;

/// A table whose rows are leaves.
pub struct Relation {
    /// Its number in tiles.
    pub id: u32,
    /// Domain of its preimages.
    pub domain: String,
    /// Whether it is one of the project's own.
    pub own: bool,
    /// Column that names a record.
    pub key: String,
}

/// A leaf of an organisation's log.
pub struct Place {
    /// The organisation.
    pub org: [u8; 16],
    /// From 0.
    pub index: u64,
    /// The leaf.
    pub hash: Hash,
    /// Whether its record has come.
    pub seen: bool,
}

/// Leaves of the project's own tables by table and key, and the number of the others by table.
#[derive(Default)]
pub struct Leaves {
    pub own: HashMap<(u32, [u8; 16]), Place>,
    pub others: BTreeMap<u32, u64>,
}

/// What was checked.
pub struct Checked {
    pub leaves: Leaves,
    pub notes: Vec<String>,
}

/// A log's head, for the summary.
pub struct Head {
    pub name: String,
    pub size: u64,
    pub root: Hash,
}

/// The ledger's tables.
#[derive(Default)]
pub struct Ledger {
    pub relations: HashMap<String, Relation>,
    pub disposals: Vec<([u8; 16], u32, i64, i64)>,
    /// Entries of the queue: organisation, table, key. None when the dump does not hold the queue.
    pub waiting: Option<HashSet<(u32, Vec<u8>)>>,
    logs: BTreeMap<[u8; 16], Log>,
    lives: BTreeMap<i32, Life>,
    cosignatures: HashMap<(i32, i64), Vec<String>>,
}

#[derive(Default)]
struct Log {
    tiles: BTreeMap<(u8, u64), Tile>,
    head: Option<(u64, u64, Hash)>,
    checkpoints: Vec<Sealed>,
}

struct Tile {
    line: u64,
    hashes: Vec<Hash>,
    records: Vec<u8>,
}

struct Sealed {
    line: u64,
    size: u64,
    root: Hash,
    sealed_at: i64,
    incarnation: i32,
    global_index: Option<u64>,
    note: Option<String>,
}

struct Life {
    line: u64,
    link: Link,
    global_index: u64,
}

const TABLES: [&str; 8] = [
    "batchcortex.ledger_relation",
    "batchcortex.ledger_queue",
    "batchcortex.ledger_tree",
    "batchcortex.ledger_tile",
    "batchcortex.ledger_checkpoint",
    "batchcortex.ledger_incarnation",
    "batchcortex.ledger_cosignature",
    "batchcortex.partition_disposal",
];

impl Ledger {
    /// Whether nothing of a ledger was read.
    pub fn is_empty(&self) -> bool {
        self.relations.is_empty() && self.logs.is_empty() && self.lives.is_empty()
    }

    /// Whether the rows of a table are needed.
    pub fn wants(table: &str) -> bool {
        TABLES.contains(&table)
    }

    /// Takes a row.
    pub fn row(&mut self, table: &str, columns: &[String], line: u64, fields: Fields) -> anyhow::Result<()> {
        if table == "batchcortex.ledger_queue" {
            self.waiting.get_or_insert_default();
        }
        let row = Row { columns, fields };
        self.take(table, &row, line)
            .with_context(|| format!("line {line}: a row of {table} cannot be read"))
    }

    fn take(&mut self, table: &str, row: &Row<'_>, line: u64) -> Option<()> {
        match table.strip_prefix("batchcortex.")? {
            "ledger_relation" => {
                let keys = value::elements(row.get("key_columns")?)?;
                let table = row.get("relation")?.to_owned();
                // What BatchCortex's own tables are is not for the dump to say.
                let own = OWN_RELATIONS.iter().find(|(_, own, _)| *own == table);
                let relation = Relation {
                    id: row.number("relation_id")?,
                    domain: own.map_or_else(
                        || row.get("domain").map(str::to_owned),
                        |(domain, ..)| Some((*domain).to_owned()),
                    )?,
                    own: own.is_some(),
                    key: own.map_or_else(
                        || keys.into_iter().next().flatten(),
                        |(.., key)| Some((*key).to_owned()),
                    )?,
                };
                self.relations.insert(table, relation);
            }
            "ledger_queue" => {
                // Organisation 16, table 4, time 8, hash 32, key.
                let entry = value::bytes(row.get("entry")?)?;
                let relation = u32::from_be_bytes(entry.get(16..20)?.try_into().ok()?);
                let key = entry.get(60..)?.to_vec();
                self.waiting.get_or_insert_default().insert((relation, key));
            }
            "ledger_tree" => {
                let head = (line, row.number("size")?, row.hash("root")?);
                self.log(row)?.head = Some(head);
            }
            "ledger_tile" => {
                let place = (row.number("level")?, row.number("tile_index")?);
                let tile = Tile {
                    line,
                    hashes: tile::hashes_of(&value::bytes(row.get("hashes")?)?)?.to_vec(),
                    records: row.get("records").map_or(Some(Vec::new()), value::bytes)?,
                };
                self.log(row)?.tiles.insert(place, tile);
            }
            "ledger_checkpoint" => {
                let sealed = Sealed {
                    line,
                    size: row.number("tree_size")?,
                    root: row.hash("root")?,
                    sealed_at: value::time(row.get("sealed_at")?)?,
                    incarnation: row.number("incarnation")?,
                    global_index: row.get("global_index").map(str::parse).transpose().ok()?,
                    note: row.get("note").map(str::to_owned),
                };
                self.log(row)?.checkpoints.push(sealed);
            }
            "ledger_incarnation" => {
                let life = Life {
                    line,
                    global_index: row.number("global_index")?,
                    link: Link {
                        origin: row.get("origin")?.to_owned(),
                        previous: row.get("previous").map(str::to_owned),
                        size: row.number("begun_size")?,
                        root: row.hash("begun_root")?,
                        began_at: value::time(row.get("began_at")?)? + EPOCH,
                    },
                };
                self.lives.insert(row.number("incarnation")?, life);
            }
            "ledger_cosignature" => {
                let of = (row.number("incarnation")?, row.number("tree_size")?);
                let line = row.get("line")?.trim_end_matches('\n').to_owned();
                self.cosignatures.entry(of).or_default().push(line);
            }
            "partition_disposal" => {
                if let Some(relation) = row.get("relation_id") {
                    let time = |column| row.get(column).and_then(value::time);
                    self.disposals.push((
                        value::uuid(row.get("org_id")?)?,
                        relation.parse().ok()?,
                        time("recorded_from")?,
                        time("recorded_to")?,
                    ));
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn log(&mut self, row: &Row<'_>) -> Option<&mut Log> {
        Some(self.logs.entry(value::uuid(row.get("org_id")?)?).or_default())
    }

    /// The heads of the logs.
    pub fn heads(&self) -> impl Iterator<Item = Head> {
        self.logs.iter().filter_map(|(org, log)| {
            let (_, size, root) = log.head?;
            Some(Head {
                name: name(org),
                size,
                root,
            })
        })
    }

    /// Checks all of it, and gives the leaves that records must have.
    pub fn check(&self, trust: &Trust, print: &mut impl FnMut(&Found)) -> Checked {
        let mut leaves = Leaves::default();
        let mut global = Vec::new();
        for (org, log) in &self.logs {
            let hashes = log.check(&name(org), print);
            if *org == GLOBAL {
                global = hashes;
            } else {
                let covered = log
                    .checkpoints
                    .iter()
                    .map(|sealed| sealed.size)
                    .max()
                    .unwrap_or(0);
                if covered != hashes.len() as u64 {
                    let what = format!(
                        "log {}: {} leaves, and its checkpoints cover {covered} of them",
                        name(org),
                        hashes.len()
                    );
                    print(&Found::new("not_signed", 0, what));
                }
                log.place(org, &hashes, &mut leaves, print);
            }
        }
        let notes = self.check_global(&global, trust, print);
        Checked { leaves, notes }
    }

    /// The global log: which of its leaves the dump accounts for, and who signed it.
    fn check_global(&self, leaves: &[Hash], trust: &Trust, print: &mut impl FnMut(&Found)) -> Vec<String> {
        let mut accounted = HashSet::new();
        let mut expect = |line: u64, index: u64, text: &str, what: &str, print: &mut dyn FnMut(&Found)| {
            let found = usize::try_from(index).ok().and_then(|index| leaves.get(index));
            if found != Some(&leaf_hash(text.as_bytes())) || !accounted.insert(index) {
                print(&Found::new(
                    "not_included",
                    line,
                    format!("{what} is not leaf {index} of the global log"),
                ));
            }
        };
        for life in self.lives.values() {
            expect(
                life.line,
                life.global_index,
                &life.link.to_string(),
                &life.link.origin,
                print,
            );
        }
        for (org, log) in self.logs.iter().filter(|(org, _)| **org != GLOBAL) {
            for sealed in &log.checkpoints {
                let what = format!("the checkpoint of {} of {} leaves", name(org), sealed.size);
                match (self.text(sealed, Some(*org)), sealed.global_index) {
                    (Some(text), Some(index)) => expect(sealed.line, index, &text, &what, print),
                    _ => print(&Found::new(
                        "wrong_origin",
                        sealed.line,
                        format!("{what} names no life of the log, or no leaf"),
                    )),
                }
            }
        }
        let others = leaves.len().saturating_sub(accounted.len());
        let mut notes = vec![format!(
            "{} leaves, of which {others} are checkpoints of organisations that the dump does not hold",
            leaves.len()
        )];
        self.check_signatures(leaves.len() as u64, trust, print, &mut notes);
        self.check_old(leaves, trust, print, &mut notes);
        notes
    }

    fn check_signatures(
        &self,
        leaves: u64,
        trust: &Trust,
        print: &mut impl FnMut(&Found),
        notes: &mut Vec<String>,
    ) {
        let Some(global) = self.logs.get(&GLOBAL) else {
            print(&Found::new(
                "not_signed",
                0,
                "the dump holds no global log: nothing is signed",
            ));
            return;
        };
        let (mut signed, mut witnessed) = (None, None);
        for sealed in &global.checkpoints {
            let what = format!("the checkpoint of the global log of {} leaves", sealed.size);
            let Some(text) = self.text(sealed, None) else {
                print(&Found::new(
                    "wrong_origin",
                    sealed.line,
                    format!("{what} names no life of the log"),
                ));
                continue;
            };
            let Some(note) = &sealed.note else {
                print(&Found::new(
                    "not_signed",
                    sealed.line,
                    format!("{what} has no signature"),
                ));
                continue;
            };
            let mut note = note.clone();
            for line in self
                .cosignatures
                .get(&(sealed.incarnation, sealed.size as i64))
                .into_iter()
                .flatten()
            {
                if !note.lines().any(|known| known == line) {
                    note.push_str(line);
                    note.push('\n');
                }
            }
            if !note.starts_with(&format!("{text}\n")) {
                print(&Found::new(
                    "not_signed",
                    sealed.line,
                    format!("{what} is signed with another text"),
                ));
                continue;
            }
            match GlobalCheckpoint::open(note.as_bytes(), trust.log_keys(), trust.witness_keys()) {
                Err(error) => print(&Found::new("not_signed", sealed.line, format!("{what}: {error}"))),
                Ok(opened) => {
                    let names: HashSet<&str> = opened.cosignatures.iter().map(|c| c.name.as_str()).collect();
                    if names.len() >= trust.quorum()
                        && witnessed.as_ref().is_none_or(|(size, _)| *size < sealed.size)
                    {
                        witnessed = Some((sealed.size, opened.cosignatures.clone()));
                    }
                    if signed
                        .as_ref()
                        .is_none_or(|(size, ..): &(u64, _, _)| *size < sealed.size)
                    {
                        signed = Some((sealed.size, opened.sealed_at, opened.signatures));
                    }
                }
            }
        }
        // Signatures vouch for what they cover, and for nothing that comes after it.
        let covered = signed.as_ref().map_or(0, |(size, ..)| *size);
        if covered != leaves {
            print(&Found::new(
                "not_signed",
                0,
                format!(
                    "the global log has {leaves} leaves, and signatures by given keys cover {covered} of them"
                ),
            ));
        }
        if let Some((size, sealed_at, keys)) = signed {
            notes.push(format!(
                "newest checkpoint {size} leaves, sealed {sealed_at}, signed by {}",
                list(&keys)
            ));
        }
        match witnessed {
            Some((size, keys)) if trust.quorum() > 0 => {
                notes.push(format!(
                    "newest checkpoint with {} witnesses {size} leaves, cosigned by {}",
                    trust.quorum(),
                    list(&keys)
                ));
            }
            None if trust.quorum() > 0 => print(&Found::new(
                "not_witnessed",
                0,
                format!(
                    "no checkpoint has cosignatures of {} of the given witnesses",
                    trust.quorum()
                ),
            )),
            _ => {}
        }
    }

    fn check_old(
        &self,
        leaves: &[Hash],
        trust: &Trust,
        print: &mut impl FnMut(&Found),
        notes: &mut Vec<String>,
    ) {
        for old in trust.old_checkpoints() {
            let known = &old.checkpoint;
            let beginning = usize::try_from(known.size)
                .ok()
                .and_then(|size| leaves.get(..size));
            let mut range = CompactRange::new();
            range.extend(beginning.unwrap_or_default().iter().copied());
            if beginning.is_some() && range.root() == known.root {
                notes.push(format!("continues {}", old.name));
            } else {
                let what = format!(
                    "the log of {} ({} leaves, sealed {}) is not the beginning of this one ({} leaves)",
                    old.name,
                    known.size,
                    known.sealed_at,
                    leaves.len()
                );
                print(&Found::new("inconsistent", 0, what));
            }
        }
    }

    /// The text of a checkpoint.
    fn text(&self, sealed: &Sealed, org: Option<[u8; 16]>) -> Option<String> {
        let link = &self.lives.get(&sealed.incarnation)?.link;
        let origin: Origin = link.origin.parse().ok()?;
        let continues = link.previous.as_deref().map(|previous| (link.size, previous));
        let (origin, continues) = match org {
            Some(org) => (origin.of_organisation(org), None),
            None => (origin, continues),
        };
        let text = global::checkpoint(
            &origin,
            sealed.size,
            sealed.root,
            sealed.sealed_at + EPOCH,
            continues,
        );
        Some(text.ok()?.to_string())
    }
}

impl Log {
    /// The leaves, after every tile, the head and every checkpoint were compared with them.
    fn check(&self, name: &str, print: &mut impl FnMut(&Found)) -> Vec<Hash> {
        let mut leaves: Vec<Hash> = Vec::new();
        for ((_, index), tile) in self.tiles.range((0, 0)..(1, 0)) {
            if *index * u64::from(tile::TILE_WIDTH) != leaves.len() as u64 {
                print(&Found::new(
                    "wrong_tile",
                    tile.line,
                    format!("log {name}: tiles of leaves before tile {index} are missing or not full"),
                ));
                break;
            }
            leaves.extend_from_slice(&tile.hashes);
        }
        if let Ok(grown) = tile::append(0, &[], &leaves) {
            for tile in grown.tiles {
                let stored = self.tiles.get(&(tile.level, tile.index));
                if stored.is_none_or(|stored| stored.hashes != tile.hashes) {
                    let line = stored.map_or(0, |stored| stored.line);
                    print(&Found::new(
                        "wrong_tile",
                        line,
                        format!(
                            "log {name}: tile {} of level {} is not what is below it",
                            tile.index, tile.level
                        ),
                    ));
                }
            }
            match self.head {
                Some((_, size, root)) if (size, root) == (grown.size, grown.root) => {}
                Some((line, size, _)) => print(&Found::new(
                    "wrong_root",
                    line,
                    format!(
                        "log {name}: the head of {size} leaves is not what the {} leaves give",
                        leaves.len()
                    ),
                )),
                None => print(&Found::new("wrong_root", 0, format!("log {name} has no head"))),
            }
        }
        let mut sizes: Vec<&Sealed> = self.checkpoints.iter().collect();
        sizes.sort_by_key(|sealed| sealed.size);
        let mut range = CompactRange::new();
        for sealed in sizes {
            let (from, to) = (
                range.size() as usize,
                usize::try_from(sealed.size).unwrap_or(usize::MAX),
            );
            if let Some(more) = leaves.get(from..to) {
                range.extend(more.iter().copied());
            }
            if (range.size(), range.root()) != (sealed.size, sealed.root) {
                let what = format!(
                    "log {name}: the checkpoint of {} leaves has not the root that they give",
                    sealed.size
                );
                print(&Found::new("inconsistent_checkpoint", sealed.line, what));
            }
        }
        leaves
    }

    /// Which record each leaf stands for.
    fn place(&self, org: &[u8; 16], hashes: &[Hash], leaves: &mut Leaves, print: &mut impl FnMut(&Found)) {
        for ((_, tile_index), tile) in self.tiles.range((0, 0)..(1, 0)) {
            let first = tile_index * u64::from(tile::TILE_WIDTH);
            let mut rest = tile.records.as_slice();
            let mut count = 0;
            while let Some((relation, key, after)) = record(rest) {
                let index = first + count;
                if let (Ok(key), Some(hash)) = (<[u8; 16]>::try_from(key), hashes.get(index as usize)) {
                    let place = Place {
                        org: *org,
                        index,
                        hash: *hash,
                        seen: false,
                    };
                    if leaves.own.insert((relation, key), place).is_some() {
                        print(&Found::new(
                            "wrong_tile",
                            tile.line,
                            format!("leaf {index} stands for a record that has a leaf already"),
                        ));
                    }
                } else {
                    *leaves.others.entry(relation).or_default() += 1;
                }
                rest = after;
                count += 1;
            }
            if !rest.is_empty() || count != tile.hashes.len() as u64 {
                print(&Found::new(
                    "wrong_tile",
                    tile.line,
                    format!("log {}: the list of records does not fit the tile", name(org)),
                ));
            }
        }
    }
}

/// A row by the names of its columns.
struct Row<'a> {
    columns: &'a [String],
    fields: Fields,
}

impl Row<'_> {
    fn get(&self, column: &str) -> Option<&str> {
        let position = self.columns.iter().position(|name| name == column)?;
        self.fields.get(position)?.as_deref()
    }

    fn number<T: std::str::FromStr>(&self, column: &str) -> Option<T> {
        self.get(column)?.parse().ok()
    }

    fn hash(&self, column: &str) -> Option<Hash> {
        value::bytes(self.get(column)?)?.try_into().ok()
    }
}

/// The next record of a tile's list: table, key, and what follows.
fn record(list: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (relation, rest) = list.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((u32::from(u16::from_be_bytes(*relation)), key, rest))
}

fn list(keys: &[Verified]) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|key| match key.time {
            Some(time) => format!("{}+{} at {}", key.name, key.key_id, unix_time(time)),
            None => format!("{}+{}", key.name, key.key_id),
        })
        .collect();
    keys.join(", ")
}

/// A log's name for people.
pub fn name(org: &[u8; 16]) -> String {
    if *org == GLOBAL {
        return "global".to_owned();
    }
    let digits: String = org.iter().map(|byte| format!("{byte:02x}")).collect();
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}
