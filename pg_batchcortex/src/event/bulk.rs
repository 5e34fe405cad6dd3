//! Many events at once: what a statement on a tracked table makes is stored, hashed and queued as [`super::append`] does it for one,
//! with pages, index state and leaves shared.

use super::append;
use super::stamp::{Actor, Columns};
use super::target::Target;
use crate::error::{self, Refusal};
use crate::ledger::leaf::{self, TimeOrdered};
use crate::row::Row;
use pgrx::{PgMemoryContexts, PgTupleDesc, pg_sys};
use std::cell::Cell;
use std::mem::MaybeUninit;

/// How many rows are stored together.
const CHUNK: usize = 128;

/// The largest text that a column can hold.
const MAX_TEXT: usize = 0x3fff_ffff - pg_sys::VARHDRSZ;

/// Events that wait to be stored. Their texts lie in one buffer, each with PostgreSQL's header in front, so that they are stored
/// from there.
#[derive(Default)]
pub struct Events {
    text: Vec<u64>,
    list: Vec<Event>,
}

struct Event {
    org_id: [u8; 16],
    at: i64,
    /// Positions in the buffer; none for null.
    action: usize,
    record_type: usize,
    record_id: usize,
    before: Option<usize>,
    after: Option<usize>,
    reason: Option<usize>,
}

/// One event, as it is put with the others.
pub struct Draft<'a> {
    /// Log that it goes to.
    pub org_id: [u8; 16],
    /// When it happened, microseconds since 2000-01-01 UTC.
    pub at: i64,
    /// What was done.
    pub action: &'a str,
    /// Kind of record.
    pub record_type: &'a str,
    /// Which record.
    pub record_id: &'a [u8],
    /// JSON text.
    pub before: Option<&'a [u8]>,
    /// JSON text.
    pub after: Option<&'a [u8]>,
    /// Why.
    pub reason: Option<&'a str>,
}

impl Events {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes that they take.
    pub fn size(&self) -> usize {
        self.text.len() * size_of::<u64>()
    }

    /// Forgets all, keeps the memory for the next ones unless it is much.
    pub fn clear(&mut self) {
        self.list.clear();
        self.text.clear();
        self.text.shrink_to(1 << 18);
    }

    /// Adds one.
    pub fn push(&mut self, draft: &Draft<'_>) -> Result<(), Refusal> {
        let event = Event {
            org_id: draft.org_id,
            at: draft.at,
            action: self.put(draft.action.as_bytes())?,
            record_type: self.put(draft.record_type.as_bytes())?,
            record_id: self.put(draft.record_id)?,
            before: draft.before.map(|text| self.put(text)).transpose()?,
            after: draft.after.map(|text| self.put(text)).transpose()?,
            reason: draft.reason.map(|text| self.put(text.as_bytes())).transpose()?,
        };
        self.list.push(event);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        if bytes.len() > MAX_TEXT {
            return Err(Refusal::new(
                error::TOO_LARGE,
                "the row is too large to be recorded: its text form takes more than 1 GB",
            ));
        }
        let at = self.text.len();
        let size = bytes.len() + pg_sys::VARHDRSZ;
        self.text.resize(at + size.div_ceil(size_of::<u64>()), 0);
        // SAFETY: `size` bytes of the buffer begin at `at`, aligned for a header of four bytes.
        unsafe {
            let varlena = self.text.as_mut_ptr().add(at).cast::<pg_sys::varlena>();
            pgrx::varlena::set_varsize_4b(varlena, size as i32);
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                varlena.cast::<u8>().add(pg_sys::VARHDRSZ),
                bytes.len(),
            );
        }
        Ok(at)
    }

    fn datum(&self, at: usize) -> pg_sys::Datum {
        pg_sys::Datum::from(self.text[at..].as_ptr())
    }

    /// Stores them all in the order in which they were added, each in its month, and queues their leaves.
    pub fn store(&self, actor: &Actor) -> Result<(), Refusal> {
        let mut context = PgMemoryContexts::new("captured events");
        let mut rest = self.list.as_slice();
        while let Some(first) = rest.first() {
            let month = append::partition(first.at)?;
            let same = rest
                .iter()
                .take_while(|event| append::same_month(first.at, event.at))
                .count()
                .max(1);
            // SAFETY: the relation is open and locked for writing until its rows are stored.
            unsafe {
                let relation = pg_sys::table_open(month, pg_sys::RowExclusiveLock as i32);
                self.store_month(relation, &rest[..same], actor, &mut context)?;
                pg_sys::table_close(relation, pg_sys::NoLock as i32);
            }
            rest = &rest[same..];
        }
        Ok(())
    }

    unsafe fn store_month(
        &self,
        relation: pg_sys::Relation,
        events: &[Event],
        actor: &Actor,
        context: &mut PgMemoryContexts,
    ) -> Result<(), Refusal> {
        // SAFETY: the relation stays open; slots live until the end, what they point to until their chunk is stored.
        unsafe {
            let source = leaf::Source::of(relation)?;
            let desc = PgTupleDesc::from_pg_unchecked((*relation).rd_att);
            let mut row = Row::empty(&desc);
            let columns = Columns::of((*relation).rd_id, &row)?;
            let own = Own::of((*relation).rd_id, &row)?;
            actor.put(&mut row, &columns);
            let mut target = Target::open(relation);
            let mut slots = target.slots(events.len().min(CHUNK));
            let mut ids = TimeOrdered::new();
            let mut keys = [MaybeUninit::<[u8; 16]>::uninit(); CHUNK];
            let mut entries = Vec::with_capacity(slots.len());
            for chunk in events.chunks(CHUNK) {
                entries.clear();
                let stored: Result<(), Refusal> = context.switch_to(|_| {
                    for ((event, slot), key) in chunk.iter().zip(&slots).zip(&mut keys) {
                        let key = pg_sys::Datum::from(std::ptr::from_mut(key.write(ids.next(event.at))));
                        row.set(columns.org_id, Some(pg_sys::Datum::from(event.org_id.as_ptr())));
                        row.set(columns.event_id, Some(key));
                        row.set(columns.recorded_at, Some(pg_sys::Datum::from(event.at)));
                        row.set(own.action, Some(self.datum(event.action)));
                        row.set(own.record_type, Some(self.datum(event.record_type)));
                        row.set(own.record_id, Some(self.datum(event.record_id)));
                        row.set(own.before, event.before.map(|at| self.datum(at)));
                        row.set(own.after, event.after.map(|at| self.datum(at)));
                        row.set(own.reason, event.reason.map(|at| self.datum(at)));
                        let hash = source.seal(&mut row, columns.leaf_hash)?;
                        entries.push(source.entry(&row, hash)?.pack());
                        let slot = *slot;
                        if let Some(clear) = (*(*slot).tts_ops).clear {
                            clear(slot);
                        }
                        std::ptr::copy_nonoverlapping(
                            row.values.as_ptr(),
                            (*slot).tts_values,
                            row.values.len(),
                        );
                        std::ptr::copy_nonoverlapping(
                            row.nulls.as_ptr(),
                            (*slot).tts_isnull,
                            row.nulls.len(),
                        );
                        pg_sys::ExecStoreVirtualTuple(slot);
                    }
                    target.insert_all(&mut slots[..chunk.len()]);
                    leaf::queue(&entries);
                    Ok(())
                });
                stored?;
                context.reset();
            }
            target.close();
            Ok(())
        }
    }
}

/// Columns that the event itself fills.
#[derive(Clone, Copy)]
struct Own {
    action: usize,
    record_type: usize,
    record_id: usize,
    before: usize,
    after: usize,
    reason: usize,
}

thread_local!(static OWN: Cell<Option<(pg_sys::Oid, Own)>> = const { Cell::new(None) });

impl Own {
    /// Found by name once and kept for the table that was last written: columns of events_log do not move.
    fn of(relation: pg_sys::Oid, row: &Row<'_>) -> Result<Self, Refusal> {
        if let Some((known, own)) = OWN.get()
            && known == relation
        {
            return Ok(own);
        }
        let own = Own {
            action: leaf::position(row, "action")?,
            record_type: leaf::position(row, "record_type")?,
            record_id: leaf::position(row, "record_id")?,
            before: leaf::position(row, "before")?,
            after: leaf::position(row, "after")?,
            reason: leaf::position(row, "reason")?,
        };
        OWN.set(Some((relation, own)));
        Ok(own)
    }
}
