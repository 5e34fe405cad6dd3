//! Leaves in the writer's transaction: hash the row before it is stored, check and queue it after.
//!
//! Hand-written C functions, because they run for every row and work on the tuple itself.

use super::entry::Entry;
use super::worker;
use crate::error::{self, Refusal};
use crate::event::month::month_of;
use crate::row::{Row, bytes_datum, uuid_bytes, uuid_datum, with_varlena};
use batchcortex_ledger::hash::Hash;
use pgrx::{PgTupleDesc, pg_sys};
use std::cell::{Cell, RefCell};
use std::ffi::CStr;

/// Microseconds between 1970-01-01 and PostgreSQL's epoch, 2000-01-01.
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// A trigger that fired for a row, and its arguments: relation id, domain, key column.
pub struct Fired {
    data: *mut pg_sys::TriggerData,
    arguments: [&'static CStr; 3],
}

impl Fired {
    /// # Safety
    /// `fcinfo` must be what PostgreSQL passed to a function.
    pub unsafe fn of(fcinfo: pg_sys::FunctionCallInfo) -> Result<Self, Refusal> {
        // SAFETY: context is null or a node; arguments live as long as the relation is open, that is beyond the call.
        unsafe {
            let data = (*fcinfo).context.cast::<pg_sys::TriggerData>();
            let protocol = |why: &str| Err(Refusal::new("39P01", why));
            if data.is_null() || (*data).type_ != pg_sys::NodeTag::T_TriggerData {
                return protocol("this is a trigger function");
            }
            let event = (*data).tg_event;
            if event & pg_sys::TRIGGER_EVENT_ROW == 0
                || event & pg_sys::TRIGGER_EVENT_OPMASK != pg_sys::TRIGGER_EVENT_INSERT
            {
                return protocol("this trigger function is for rows that are inserted");
            }
            let trigger = (*data).tg_trigger;
            if (*trigger).tgnargs != 3 {
                return protocol("this trigger function takes relation id, domain and key column");
            }
            let argument = |i: usize| CStr::from_ptr(*(*trigger).tgargs.add(i));
            Ok(Fired {
                data,
                arguments: [argument(0), argument(1), argument(2)],
            })
        }
    }

    /// Description of the table's columns.
    pub fn desc<'a>(&self) -> PgTupleDesc<'a> {
        // SAFETY: the relation is open for the duration of the trigger.
        unsafe { PgTupleDesc::from_pg_unchecked((*(*self.data).tg_relation).rd_att) }
    }

    /// The row.
    pub fn tuple(&self) -> pg_sys::HeapTuple {
        // SAFETY: set for every row trigger.
        unsafe { (*self.data).tg_trigtuple }
    }

    /// The table.
    pub fn relation(&self) -> pg_sys::Oid {
        // SAFETY: the relation is open for the duration of the trigger.
        unsafe { (*(*self.data).tg_relation).rd_id }
    }

    fn source(&self) -> Result<Source, Refusal> {
        Source::from_arguments(self.arguments)
    }

    /// Puts the leaf hash of `row` into it and gives the tuple to store.
    pub fn seal_in(&self, row: &mut Row<'_>, leaf_hash: usize) -> Result<pg_sys::Datum, Refusal> {
        self.source()?.seal(row, leaf_hash)?;
        let tuple = row.form();
        // SAFETY: a fresh tuple of the relation.
        unsafe { (*tuple).t_tableOid = self.relation() };
        Ok(pg_sys::Datum::from(tuple))
    }
}

/// A table whose rows are leaves, as the arguments of its triggers describe it.
pub struct Source {
    relation_id: u32,
    domain: &'static str,
    key_column: &'static str,
}

impl Source {
    fn from_arguments([id, domain, key_column]: [&'static CStr; 3]) -> Result<Self, Refusal> {
        let id = id.to_str().ok().and_then(|text| text.parse().ok());
        Ok(Source {
            relation_id: id
                .ok_or_else(|| Refusal::new("39P01", "the relation id of the trigger is not a number"))?,
            domain: domain.to_str().unwrap_or(""),
            key_column: key_column.to_str().unwrap_or(""),
        })
    }

    /// From the table's own trigger: a table that has lost it takes no record.
    ///
    /// # Safety
    /// `relation` must be open, and stay open while the source is used.
    pub unsafe fn of(relation: pg_sys::Relation) -> Result<Self, Refusal> {
        // SAFETY: the trigger descriptor is null or holds numtriggers triggers with NUL-terminated names and arguments.
        unsafe {
            let triggers = (*relation).trigdesc;
            let count = if triggers.is_null() {
                0
            } else {
                (*triggers).numtriggers as usize
            };
            for i in 0..count {
                let trigger = (*triggers).triggers.add(i);
                if CStr::from_ptr((*trigger).tgname) == c"leaf_enqueue" && (*trigger).tgnargs == 3 {
                    let argument = |i: usize| CStr::from_ptr(*(*trigger).tgargs.add(i));
                    return Source::from_arguments([argument(0), argument(1), argument(2)]);
                }
            }
        }
        Err(Refusal::new(
            error::UNAVAILABLE,
            "the table's trigger leaf_enqueue is missing: its records would not be sealed",
        )
        .hint("batchcortex.verify() lists what is missing."))
    }

    /// Puts the leaf hash of `row` into it.
    pub fn seal(&self, row: &mut Row<'_>, leaf_hash: usize) -> Result<Hash, Refusal> {
        let hash = row
            .leaf(self.domain, Some(leaf_hash))
            .map_err(|e| Refusal::new(error::TOO_LARGE, e))?;
        row.set(leaf_hash, Some(bytes_datum(&hash)));
        Ok(hash)
    }

    /// Queues the leaf of a stored row.
    pub fn enqueue(&self, row: &Row<'_>, hash: Hash) -> Result<(), Refusal> {
        append_to_queue(&self.entry(row, hash)?);
        worker::want();
        Ok(())
    }

    /// The leaf of a row as it waits in the queue.
    pub fn entry(&self, row: &Row<'_>, hash: Hash) -> Result<Entry, Refusal> {
        let missing = || Refusal::new(error::FORGED, "a record came without organisation, key or time");
        let columns = columns(row, self.key_column)?;
        // SAFETY: organisation and key are uuid columns.
        unsafe {
            Ok(Entry {
                org_id: uuid_bytes(row.get(columns.org_id).ok_or_else(missing)?),
                relation_id: self.relation_id,
                recorded_at: row.get(columns.recorded_at).ok_or_else(missing)?.value() as i64,
                hash,
                key: uuid_bytes(row.get(columns.key).ok_or_else(missing)?).to_vec(),
            })
        }
    }
}

/// Columns that every source of leaves has.
#[derive(Clone, Copy)]
struct Columns {
    org_id: usize,
    key: usize,
    recorded_at: usize,
    leaf_hash: usize,
}

thread_local!(static COLUMNS: Cell<Option<(pg_sys::Oid, Columns)>> = const { Cell::new(None) });

/// Found by name once and kept for the row type that was last written: columns of a source of leaves do not move.
fn columns(row: &Row<'_>, key_column: &str) -> Result<Columns, Refusal> {
    let kind = row.desc.oid();
    if let Some((known, columns)) = COLUMNS.get()
        && known == kind
    {
        return Ok(columns);
    }
    let columns = Columns {
        org_id: position(row, "org_id")?,
        key: position(row, key_column)?,
        recorded_at: position(row, "recorded_at")?,
        leaf_hash: position(row, "leaf_hash")?,
    };
    COLUMNS.set(Some((kind, columns)));
    Ok(columns)
}

/// BEFORE INSERT: sets the key (UUID version 7), recorded_at and leaf_hash.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn leaf_stamp(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by PostgreSQL as a trigger; Fired::of checks that it is.
    unsafe {
        error::raising(|| {
            let fired = Fired::of(fcinfo)?;
            let desc = fired.desc();
            let mut row = Row::of(&desc, fired.tuple());
            let columns = columns(&row, fired.source()?.key_column)?;
            let now = time_of_record(row.get(columns.recorded_at));
            row.set(columns.recorded_at, Some(pg_sys::Datum::from(now)));
            row.set(columns.key, Some(uuid_datum(&uuid_v7(now))));
            fired.seal_in(&mut row, columns.leaf_hash)
        })
    }
}

crate::function_info!(pg_finfo_leaf_stamp);

/// AFTER INSERT: the row as it was stored must still have the leaf that it was given, and then waits for sealing.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn leaf_enqueue(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by PostgreSQL as a trigger; Fired::of checks that it is.
    unsafe {
        error::raising(|| {
            let fired = Fired::of(fcinfo)?;
            let desc = fired.desc();
            let row = Row::of(&desc, fired.tuple());
            let source = fired.source()?;
            let leaf_hash = columns(&row, source.key_column)?.leaf_hash;
            let hash = row
                .leaf(source.domain, Some(leaf_hash))
                .map_err(|e| Refusal::new(error::TOO_LARGE, e))?;
            if !row
                .get(leaf_hash)
                .is_some_and(|stored| with_varlena(stored, |stored| stored == hash))
            {
                // Another BEFORE trigger ran after leaf_stamp, or leaf_stamp did not run.
                return Err(Refusal::new(
                    error::FORGED,
                    "the row was changed on its way into the table: its leaf hash is not its own",
                )
                .hint("Remove the trigger that changes rows of this table."));
            }
            source.enqueue(&row, hash)?;
            Ok(pg_sys::Datum::from(0usize))
        })
    }
}

crate::function_info!(pg_finfo_leaf_enqueue);

/// Appends to ledger_queue directly: no plan, no index, no trigger, and no privilege that the writer would need.
pub fn append_to_queue(entry: &Entry) {
    // SAFETY: a tuple of the table's one bytea column is formed and inserted in the current transaction.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"batchcortex".as_ptr(), false);
        let queue = pg_sys::get_relname_relid(c"ledger_queue".as_ptr(), schema);
        let relation = pg_sys::table_open(queue, pg_sys::RowExclusiveLock as i32);
        let mut value = bytes_datum(&entry.pack());
        let mut null = false;
        let tuple = pg_sys::heap_form_tuple((*relation).rd_att, &raw mut value, &raw mut null);
        pg_sys::simple_heap_insert(relation, tuple);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        pg_sys::heap_freetuple(tuple);
        pg_sys::pfree(value.cast_mut_ptr());
    }
}

/// Queues packed leaves of stored rows, all at once, in the current memory context.
pub fn queue(entries: &[Vec<u8>]) {
    worker::want();
    // SAFETY: tuples of the table's one bytea column are inserted in the current transaction; the table stays open meanwhile.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"batchcortex".as_ptr(), false);
        let queue = pg_sys::get_relname_relid(c"ledger_queue".as_ptr(), schema);
        let relation = pg_sys::table_open(queue, pg_sys::RowExclusiveLock as i32);
        let [one] = entries else {
            queue_all(relation, entries);
            return pg_sys::table_close(relation, pg_sys::NoLock as i32);
        };
        let mut value = bytes_datum(one);
        let mut null = false;
        let tuple = pg_sys::heap_form_tuple((*relation).rd_att, &raw mut value, &raw mut null);
        pg_sys::simple_heap_insert(relation, tuple);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
    }
}

unsafe fn queue_all(relation: pg_sys::Relation, entries: &[Vec<u8>]) {
    // SAFETY: the caller has opened and locked the queue.
    unsafe {
        let mut slots: Vec<*mut pg_sys::TupleTableSlot> = entries
            .iter()
            .map(|entry| {
                let slot =
                    pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsVirtual);
                (*slot).tts_values.write(bytes_datum(entry));
                (*slot).tts_isnull.write(false);
                pg_sys::ExecStoreVirtualTuple(slot)
            })
            .collect();
        pg_sys::heap_multi_insert(
            relation,
            slots.as_mut_ptr(),
            slots.len() as i32,
            pg_sys::GetCurrentCommandId(true),
            0,
            std::ptr::null_mut(),
        );
        for slot in slots {
            pg_sys::ExecDropSingleTupleTableSlot(slot);
        }
    }
}

/// Position of a column that a source of leaves must have.
pub fn position(row: &Row<'_>, name: &str) -> Result<usize, Refusal> {
    row.position(name).ok_or_else(|| {
        Refusal::new(error::UNAVAILABLE, format!("the table has no column {name}"))
            .hint("Run CALL batchcortex.migrate().")
    })
}

/// The server's time of a record, in microseconds since 2000-01-01 UTC. Whatever was given is overwritten, but for one case: the column's
/// default chose the partition a moment ago, and the month has ended since; then that moment stays.
pub fn time_of_record(given: Option<pg_sys::Datum>) -> i64 {
    const MOMENT: i64 = 10_000_000;
    // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    match given.map(|datum| datum.value() as i64) {
        Some(given) if (now - MOMENT..=now).contains(&given) && month_of(given) != month_of(now) => given,
        _ => now,
    }
}

/// UUID version 7 (RFC 9562 §5.7) of a time in microseconds since 2000-01-01 UTC: 48 bits of Unix milliseconds, the
/// fraction of the millisecond in 12 bits (§6.2 method 3), 62 random bits.
pub fn uuid_v7(microseconds: i64) -> [u8; 16] {
    uuid_of(microseconds, draw())
}

/// UUIDs version 7 that sort in the order in which they were made, within one microsecond too (RFC 9562 §6.2 method 2: the random
/// part of the one before, and a random number more).
pub struct TimeOrdered {
    last: i64,
    random: u64,
}

impl TimeOrdered {
    /// None made yet.
    pub fn new() -> Self {
        TimeOrdered {
            last: i64::MIN,
            random: 0,
        }
    }

    /// The next one, at a time in microseconds since 2000-01-01 UTC.
    pub fn next(&mut self, microseconds: i64) -> [u8; 16] {
        let fresh = draw();
        if microseconds == self.last {
            self.random = self.random.wrapping_add(1 + (fresh >> 32));
        } else {
            self.last = microseconds;
            // The highest of the 62 bits is left for what is added.
            self.random = fresh >> 3;
        }
        uuid_of(microseconds, self.random)
    }
}

/// Random bits of identifiers, which keep nothing secret: drawn from the operating system for many at once, since a call costs as much
/// as hashing the record.
fn draw() -> u64 {
    thread_local!(static LEFT: RefCell<([u8; 512], usize)> = const { RefCell::new(([0; 512], 0)) });
    LEFT.with_borrow_mut(|(pool, left)| {
        if *left == 0 {
            // SAFETY: as many writable bytes.
            if !unsafe { pg_sys::pg_strong_random(pool.as_mut_ptr().cast(), pool.len()) } {
                pgrx::error!("the operating system gave no random bytes");
            }
            *left = pool.len();
        }
        *left -= 8;
        u64::from_be_bytes(pool[*left..*left + 8].try_into().unwrap_or_default())
    })
}

fn uuid_of(microseconds: i64, random: u64) -> [u8; 16] {
    let mut uuid = [0u8; 16];
    uuid[..8].copy_from_slice(&time_bits(microseconds));
    uuid[8..].copy_from_slice(&random.to_be_bytes());
    uuid[8] = 0x80 | (uuid[8] & 0x3f);
    uuid
}

fn time_bits(microseconds: i64) -> [u8; 8] {
    let unix = (microseconds + EPOCH_MICROSECONDS).max(0) as u64;
    let fraction = ((unix % 1000) * 4096 / 1000) as u16;
    let mut bits = [0u8; 8];
    bits[..6].copy_from_slice(&(unix / 1000).to_be_bytes()[2..]);
    bits[6..].copy_from_slice(&(0x7000 | fraction).to_be_bytes());
    bits
}

/// Whether a key was made at a time: all of a UUID version 7 but its random bits.
pub fn is_of_time(uuid: &[u8; 16], microseconds: i64) -> bool {
    uuid[..8] == time_bits(microseconds) && uuid[8] & 0xc0 == 0x80
}

pgrx::extension_sql!(
    r"
create function batchcortex.leaf_stamp() returns trigger language c as 'MODULE_PATHNAME', 'leaf_stamp';
create function batchcortex.leaf_enqueue() returns trigger language c as 'MODULE_PATHNAME', 'leaf_enqueue';
create function batchcortex.event_stamp() returns trigger language c as 'MODULE_PATHNAME', 'event_stamp';
comment on function batchcortex.event_stamp() is 'BEFORE INSERT trigger of events_log: sets id, time, actor, address, request and leaf hash to the server''s values.';
create function batchcortex.log_event(action text, record_type text, record_id text, before json default null, after json default null,
    reason text default null, batch_id uuid default null, client_time timestamptz default null, org_id uuid default null)
returns uuid language c volatile parallel unsafe as 'MODULE_PATHNAME', 'log_event';
create function batchcortex.refuse_change() returns trigger language c as 'MODULE_PATHNAME', 'refuse_change';
comment on function batchcortex.refuse_change() is 'BEFORE UPDATE, DELETE or TRUNCATE trigger: refuses with SQLSTATE BC001.';
create function batchcortex.refuse_writers() returns trigger language c as 'MODULE_PATHNAME', 'refuse_writers';
comment on function batchcortex.refuse_writers() is 'BEFORE INSERT, UPDATE, DELETE or TRUNCATE trigger (statement): refuses everyone but the sealer with SQLSTATE BC001.';
create function batchcortex.event_preimage(event record) returns bytea language c immutable strict parallel safe as 'MODULE_PATHNAME', 'event_preimage';
comment on function batchcortex.event_preimage(record) is 'The record preimage of a row of batchcortex.events_log (docs/format.md): sha256(''\x00'' || event_preimage(e)) is its leaf hash.';
create function batchcortex.segment_preimage(segment record) returns bytea language c immutable strict parallel safe as 'MODULE_PATHNAME', 'segment_preimage';
comment on function batchcortex.segment_preimage(record) is 'The record preimage of a row of batchcortex.sample_segment (docs/format.md).';
",
    name = "triggers",
    requires = ["access"]
);
