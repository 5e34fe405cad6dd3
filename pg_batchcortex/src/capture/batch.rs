//! What one statement has changed so far, kept until it ends or until it is much, and then stored at once.
//!
//! A batch belongs to the (sub)transaction that its statement runs in. What happens in a savepoint below it, for instance in an
//! exception block of another trigger, is stored at once and by itself, so that it is rolled back with that savepoint and the
//! batch is not.

use crate::error::{self, Refusal};
use crate::event::bulk::{Draft, Events};
use crate::event::stamp::Actor;
use crate::identity::binding;
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};

/// Rows and bytes after which a statement's changes are stored although it goes on.
const MOST_ROWS: usize = 1024;
const MOST_BYTES: usize = 1 << 20;

#[derive(Default)]
struct Batch {
    events: Events,
    /// Statements on tracked tables that are under way in `transaction`.
    depth: u32,
    transaction: pg_sys::SubTransactionId,
    /// Who acted when the first event came, and the binding that said so.
    actor: Option<Actor>,
    binding: Vec<u8>,
}

thread_local! {
    static BATCH: RefCell<Batch> = RefCell::default();
    static LISTENING: Cell<bool> = const { Cell::new(false) };
}

fn transaction() -> pg_sys::SubTransactionId {
    // SAFETY: reads the state of the transaction.
    unsafe { pg_sys::GetCurrentSubTransactionId() }
}

/// A statement on a tracked table begins.
pub fn begin() {
    listen();
    BATCH.with_borrow_mut(|batch| {
        if batch.depth == 0 && batch.events.is_empty() {
            batch.transaction = transaction();
            batch.depth = 1;
        } else if batch.transaction == transaction() {
            batch.depth += 1;
        }
    });
}

/// A statement on a tracked table has ended: everything that waits is stored.
pub fn end() -> Result<(), Refusal> {
    let ours = BATCH.with_borrow_mut(|batch| {
        let ours = batch.depth > 0 && batch.transaction == transaction();
        if ours {
            batch.depth -= 1;
        }
        ours
    });
    if ours { flush() } else { Ok(()) }
}

/// Adds one event to the statement's; outside of a statement it is stored at once.
///
/// `org_id` is the organisation that the row names.
pub fn add(org_id: Option<[u8; 16]>, mut draft: Draft<'_>) -> Result<(), Refusal> {
    let (waits, same) = BATCH.with_borrow(|batch| {
        let waits = batch.depth > 0 && batch.transaction == transaction();
        (waits, batch.actor.is_some() && batch.binding == binding::packed())
    });
    if !waits {
        let actor = Actor::of_transaction()?;
        draft.org_id = actor.log_of_row(org_id)?;
        let mut events = Events::default();
        events.push(&draft)?;
        return events.store(&actor);
    }
    if !same {
        // Someone else acts from here on.
        flush()?;
        let actor = Actor::of_transaction()?;
        BATCH.with_borrow_mut(|batch| {
            batch.actor = Some(actor);
            batch.binding.clear();
            batch.binding.extend_from_slice(binding::packed());
        });
    }
    // Looking an organisation up runs a query, which must find the batch unborrowed.
    let actor = BATCH.with_borrow_mut(|batch| batch.actor.take());
    let log = actor.as_ref().map(|actor| actor.log_of_row(org_id));
    let full = BATCH.with_borrow_mut(|batch| {
        batch.actor = actor;
        draft.org_id = log.ok_or_else(|| Refusal::new(error::FORGED, "nobody acts"))??;
        batch.events.push(&draft)?;
        Ok::<_, Refusal>(batch.events.len() >= MOST_ROWS || batch.events.size() >= MOST_BYTES)
    })?;
    if full { flush() } else { Ok(()) }
}

fn flush() -> Result<(), Refusal> {
    // Storing fires no trigger, but it may run code of others (an index, an error context): the batch is not borrowed meanwhile.
    let (mut events, actor) =
        BATCH.with_borrow_mut(|batch| (std::mem::take(&mut batch.events), batch.actor.take()));
    if let Some(actor) = actor.as_ref().filter(|_| !events.is_empty()) {
        events.store(actor)?;
    }
    events.clear();
    BATCH.with_borrow_mut(|batch| {
        batch.actor = actor;
        batch.events = events;
        if batch.depth == 0 {
            batch.actor = None;
        }
    });
    Ok(())
}

/// Once a session: a transaction that ends takes its batch along.
fn listen() {
    if LISTENING.replace(true) {
        return;
    }
    // SAFETY: the callbacks are guarded and stay loaded with the library.
    unsafe {
        pg_sys::RegisterXactCallback(Some(transaction_ends), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(savepoint_ends), std::ptr::null_mut());
    }
}

/// What waits when a statement has no end of its own is stored before the commit, or there is none.
unsafe fn settle() {
    if BATCH.with_borrow(|batch| batch.events.is_empty()) {
        return;
    }
    // SAFETY: called before the commit, while the transaction can still write and fail.
    unsafe {
        error::raising(|| {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            flush()?;
            pg_sys::PopActiveSnapshot();
            Ok(pg_sys::Datum::from(0usize))
        });
    }
}

fn forget() {
    BATCH.with_borrow_mut(|batch| {
        batch.events.clear();
        batch.depth = 0;
        batch.actor = None;
    });
}

unsafe extern "C-unwind" fn transaction_ends(event: pg_sys::XactEvent::Type, _: *mut std::ffi::c_void) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT | pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => {
            // SAFETY: before the commit.
            unsafe { settle() }
        }
        pg_sys::XactEvent::XACT_EVENT_COMMIT
        | pg_sys::XactEvent::XACT_EVENT_ABORT
        | pg_sys::XactEvent::XACT_EVENT_PREPARE => forget(),
        _ => {}
    }
}

unsafe extern "C-unwind" fn savepoint_ends(
    event: pg_sys::SubXactEvent::Type,
    savepoint: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _: *mut std::ffi::c_void,
) {
    if BATCH.with_borrow(|batch| batch.transaction != savepoint) {
        return;
    }
    match event {
        // SAFETY: before the savepoint is released.
        pg_sys::SubXactEvent::SUBXACT_EVENT_PRE_COMMIT_SUB => unsafe { settle() },
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB | pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            forget()
        }
        _ => {}
    }
}
