//! A query run to its end in this process, each row taken where it lies in its page: nothing is copied.

use pgrx::prelude::*;
use pgrx::{PgTupleDesc, pg_sys};
use std::ffi::CString;

/// Receives the rows. C calls it through its first member.
#[repr(C)]
struct Receiver<'a> {
    functions: pg_sys::DestReceiver,
    desc: pg_sys::TupleDesc,
    body: &'a mut Body<'a>,
}

/// Takes a row: what its columns are, their values, which of them are null.
pub type Body<'a> = dyn FnMut(&PgTupleDesc<'_>, &[pg_sys::Datum], &[bool]) + 'a;

/// Calls `body` with each row, under the caller's snapshot. An SPI connection is open.
pub fn each<'a>(query: &str, body: &'a mut Body<'a>) {
    let query = CString::new(query).unwrap_or_default();
    let mut receiver = Receiver {
        functions: pg_sys::DestReceiver {
            receiveSlot: Some(receive),
            rStartup: Some(startup),
            rShutdown: Some(nothing),
            rDestroy: Some(nothing),
            mydest: pg_sys::CommandDest::DestNone,
        },
        desc: std::ptr::null_mut(),
        body,
    };
    let options = pg_sys::SPIExecuteOptions {
        // Under the snapshot of the calling query: one for the whole verification.
        read_only: true,
        dest: (&raw mut receiver).cast(),
        ..Default::default()
    };
    // SAFETY: the receiver outlives the call; errors leave through it. Without cursor options the plan has no parallel part.
    unsafe {
        let plan = pg_sys::SPI_prepare_cursor(query.as_ptr(), 0, std::ptr::null_mut(), 0);
        if plan.is_null() || pg_sys::SPI_execute_plan_extended(plan, &raw const options) < 0 {
            let said = pg_sys::SPI_result;
            error!("rows cannot be read: SPI says {said}");
        }
        pg_sys::SPI_freeplan(plan);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    this: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: called by the executor with a filled slot and the receiver of `each`, whose startup came first; a slot has one value and
    // one null flag a column.
    unsafe {
        let this = &mut *this.cast::<Receiver<'_>>();
        let desc = PgTupleDesc::from_pg_unchecked(this.desc);
        if usize::try_from((*slot).tts_nvalid).is_ok_and(|valid| valid < desc.len()) {
            pg_sys::slot_getsomeattrs_int(slot, desc.len() as i32);
        }
        let values = std::slice::from_raw_parts((*slot).tts_values, desc.len());
        let nulls = std::slice::from_raw_parts((*slot).tts_isnull, desc.len());
        (this.body)(&desc, values, nulls);
    }
    true
}

unsafe extern "C-unwind" fn startup(this: *mut pg_sys::DestReceiver, _: i32, desc: pg_sys::TupleDesc) {
    // SAFETY: called by the executor with the receiver of `each`; the description lives as long as the query.
    unsafe { (*this.cast::<Receiver<'_>>()).desc = desc };
}

unsafe extern "C-unwind" fn nothing(_: *mut pg_sys::DestReceiver) {}
