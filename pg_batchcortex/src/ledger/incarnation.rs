//! Which life of the log this is. After a restore to an earlier point, a promotion of a replica that lagged, a copy or a new key name,
//! other records may come under sizes that were signed already; they are signed under another origin, which links to the one before.

use super::scan::Scan;
use super::tree::{self, Head};
use crate::anchor::directory;
use crate::checkpoint_key;
use crate::row::{Row, with_varlena};
use batchcortex_ledger::global::{GLOBAL, Incarnation, Link, Origin};
use batchcortex_ledger::hash::empty_root;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL's time begins.
pub const EPOCH: i64 = 946_684_800_000_000;

/// A row of batchcortex.ledger_incarnation.
#[derive(Clone)]
pub struct Life {
    /// Its number.
    pub number: i32,
    /// The global log's origin.
    pub origin: Origin,
    /// Size and origin that it continues.
    pub continues: Option<(u64, String)>,
}

impl Life {
    /// Whether the log had a key then, so that its checkpoints are signed.
    pub fn is_named(&self) -> bool {
        self.origin.log_name() != checkpoint_key::UNNAMED
    }
}

/// All lives of the log, as verification reads them.
pub struct Lives(BTreeMap<i32, Begun>);

/// A life, and what the first leaf of it says.
struct Begun {
    life: Life,
    size: u64,
    index: i64,
    link: String,
}

impl Lives {
    /// Reads them through an open SPI connection, in the caller's snapshot.
    pub fn read() -> Self {
        let query = "select incarnation, origin, previous, begun_size, begun_root, began_at, global_index from batchcortex.ledger_incarnation";
        let mut lives = BTreeMap::new();
        let mut scan = Scan::open(query, &[], 1000);
        while scan.next(|row| {
            // One that cannot be read names no life: its checkpoints are found to have none, and the leaf that tells of it is nobody's.
            if let Some(begun) = Begun::read(row) {
                lives.insert(begun.life.number, begun);
            }
        }) {}
        scan.close();
        Lives(lives)
    }

    /// One of them.
    pub fn get(&self, number: i32) -> Option<&Life> {
        self.0.get(&number).map(|begun| &begun.life)
    }

    /// The one of that number and random part.
    pub fn named(&self, incarnation: Incarnation) -> Option<&Life> {
        self.get(i32::try_from(incarnation.number).ok()?)
            .filter(|life| life.origin.incarnation() == incarnation)
    }

    /// Size of the global log when the next one began; none for the one that goes on.
    pub fn end(&self, number: i32) -> Option<u64> {
        let next = self.0.range(number.checked_add(1)?..).next();
        next.map(|(_, begun)| begun.size)
    }

    /// Whether the log had a key then, so that its checkpoints are signed.
    pub fn is_named(&self, number: i32) -> bool {
        self.get(number).is_some_and(Life::is_named)
    }

    /// Whether the log had a key in any life before that one.
    pub fn was_named_before(&self, number: i32) -> bool {
        self.0
            .keys()
            .any(|earlier| *earlier < number && self.is_named(*earlier))
    }

    /// Leaf index in the global log and text of each one's beginning.
    pub fn links(&self) -> impl Iterator<Item = (i64, &str)> {
        self.0.values().map(|begun| (begun.index, begun.link.as_str()))
    }
}

impl Begun {
    /// None for what no sealer writes: whoever changes a row behind broken glass can make it say anything.
    fn read(row: &Row<'_>) -> Option<Self> {
        let number = |i| row.get(i).map(|datum| datum.value() as i64);
        let bytes = |i| {
            row.get(i)
                // SAFETY: text and bytea columns.
                .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) })
        };
        let previous = bytes(2).map(String::from_utf8).transpose().ok()?;
        let link = Link {
            origin: String::from_utf8(bytes(1)?).ok()?,
            previous: previous.clone(),
            size: u64::try_from(number(3)?).ok()?,
            root: bytes(4)?.try_into().ok()?,
            began_at: number(5)?.checked_add(EPOCH)?,
        };
        let index = number(6).filter(|index| *index >= 0)?;
        let mut text = String::new();
        // A time that no text can say.
        write!(text, "{link}").ok()?;
        let life = Life {
            number: i32::try_from(number(0)?).ok()?,
            origin: link.origin.parse().ok()?,
            continues: previous.map(|previous| (link.size, previous)),
        };
        Some(Begun {
            life,
            size: link.size,
            index,
            link: text,
        })
    }
}

/// What tells one life from another: name of the key, system identifier, timeline, database.
#[derive(PartialEq, Eq)]
struct Circumstances {
    log_name: String,
    system: u64,
    timeline: i64,
    database: u32,
}

impl Circumstances {
    fn now(client: &mut SpiClient<'_>) -> Self {
        // The control file learns of a new timeline at the next checkpoint; the name of the segment that is written now has it.
        let query = "select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint";
        let timeline = client.update(query, None, &[]).unwrap_or_report().first();
        Circumstances {
            log_name: checkpoint_key::log_name().to_owned(),
            // SAFETY: reads a number that is fixed while the server runs.
            system: unsafe { pg_sys::GetSystemIdentifier() },
            timeline: timeline.get_one().unwrap_or_report().unwrap_or(0),
            // SAFETY: set in every process that is connected to a database.
            database: unsafe { pg_sys::MyDatabaseId.to_u32() },
        }
    }
}

/// The life that this sealing belongs to, and, if it begins with it, the text of the leaf that says so. `sealed_at` is in microseconds
/// since 2000-01-01 UTC.
///
/// # Errors
/// Says why no life can go on or begin.
pub fn current(client: &mut SpiClient<'_>, sealed_at: i64) -> Result<(Life, Option<String>), String> {
    let now = Circumstances::now(client);
    match newest(client)? {
        // A directory outside of the database has told the sealer that more was signed under that origin than is here.
        Some((life, then))
            if then == now && !directory::rolled_back(&life.origin) && !is_asked(client, &life.origin) =>
        {
            Ok((life, None))
        }
        before => begin(client, now, before.map(|(life, _)| life), sealed_at),
    }
}

/// Whether somebody has asked that this life ends.
pub fn ends(client: &mut SpiClient<'_>, life: Option<&Life>) -> bool {
    life.is_some_and(|life| is_asked(client, &life.origin))
}

/// Whether somebody has asked that the log goes on under another origin than this.
fn is_asked(client: &mut SpiClient<'_>, origin: &Origin) -> bool {
    let query = "select exists (select from batchcortex.ledger_incarnation_request where origin = $1)";
    let asked = client.update(query, None, &[origin.to_string().into()]);
    asked.unwrap_or_report().first().get_one().unwrap_or_report() == Some(true)
}

/// Every life of the log, oldest first, as the sealer reads them.
pub fn lives(client: &mut SpiClient<'_>) -> Result<Vec<Life>, String> {
    let query = "select incarnation, origin, previous, begun_size from batchcortex.ledger_incarnation order by incarnation";
    let mut lives = Vec::new();
    for row in client.update(query, None, &[]).unwrap_or_report() {
        let origin: String = row.get(2).unwrap_or_report().unwrap_or_default();
        let previous: Option<String> = row.get(3).unwrap_or_report();
        let size: i64 = row.get(4).unwrap_or_report().unwrap_or(-1);
        lives.push(Life {
            number: row.get(1).unwrap_or_report().unwrap_or(0),
            origin: origin
                .parse()
                .map_err(|_| format!("the origin of an incarnation cannot be read: {origin}"))?,
            continues: continues(size, previous)?,
        });
    }
    Ok(lives)
}

/// The size and the origin that a life continues.
fn continues(size: i64, previous: Option<String>) -> Result<Option<(u64, String)>, String> {
    let size = u64::try_from(size).map_err(|_| format!("an incarnation began with {size} leaves"))?;
    Ok(previous.map(|previous| (size, previous)))
}

/// The newest life of the log; none before the first sealing.
///
/// # Errors
/// Says why it cannot be read.
pub fn newest_life(client: &mut SpiClient<'_>) -> Result<Option<Life>, String> {
    Ok(newest(client)?.map(|(life, _)| life))
}

fn newest(client: &mut SpiClient<'_>) -> Result<Option<(Life, Circumstances)>, String> {
    let query =
        "select incarnation, origin, previous, begun_size, system_identifier, timeline, database::bigint
                   from batchcortex.ledger_incarnation order by incarnation desc limit 1";
    let Some(row) = client.update(query, None, &[]).unwrap_or_report().next() else {
        return Ok(None);
    };
    let number = |i| row.get::<i64>(i).unwrap_or_report().unwrap_or(-1);
    let text: String = row.get(2).unwrap_or_report().unwrap_or_default();
    let origin: Origin = text
        .parse()
        .map_err(|_| format!("the origin of an incarnation cannot be read: {text}"))?;
    let then = Circumstances {
        log_name: origin.log_name().to_owned(),
        system: number(5) as u64,
        timeline: number(6),
        database: number(7) as u32,
    };
    let life = Life {
        number: row.get(1).unwrap_or_report().unwrap_or(0),
        origin,
        continues: continues(number(4), row.get(3).unwrap_or_report())?,
    };
    Ok(Some((life, then)))
}

fn begin(
    client: &mut SpiClient<'_>,
    now: Circumstances,
    before: Option<Life>,
    sealed_at: i64,
) -> Result<(Life, Option<String>), String> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|_| "the operating system gives no random bytes")?;
    let number = before
        .as_ref()
        .map_or(Some(1), |life| life.number.checked_add(1))
        .filter(|number| *number > 0)
        .ok_or("no incarnation can come after the newest one's number")?;
    let incarnation = Incarnation {
        number: number as u32,
        random,
    };
    let origin = Origin::new(&now.log_name, now.system, incarnation).map_err(|_| {
        format!(
            "the name of the checkpoint key cannot name a log: {}",
            now.log_name
        )
    })?;
    let (size, root) =
        tree::head(client, GLOBAL).map_or((0, empty_root()), |head: Head| (head.size, head.root));
    let link = Link {
        origin: origin.to_string(),
        previous: before.map(|life| life.origin.to_string()),
        size: size as u64,
        root,
        began_at: sealed_at.saturating_add(EPOCH),
    };
    let mut text = String::new();
    write!(text, "{link}").map_err(|_| "the time of its last sealing lies beyond the year 9999")?;
    client
        .update(
            "insert into batchcortex.ledger_incarnation
                    (incarnation, origin, previous, system_identifier, timeline, database, began_at, begun_size, begun_root, global_index)
             values ($1, $2, $3, $4, $5, $6::oid, $7, $8, $9, $8)",
            None,
            &[
                number.into(),
                link.origin.clone().into(),
                link.previous.clone().into(),
                (now.system as i64).into(),
                now.timeline.into(),
                i64::from(now.database).into(),
                TimestampWithTimeZone::try_from(sealed_at).ok().into(),
                size.into(),
                root.to_vec().into(),
            ],
        )
        .unwrap_or_report();
    log!("pg_batchcortex: the log goes on as {}", link.origin);
    let life = Life {
        number,
        origin,
        continues: link.previous.clone().map(|previous| (link.size, previous)),
    };
    Ok((life, Some(text)))
}
