//! A query run to its end in one go, which PostgreSQL may do with parallel workers, as it never does for a cursor.

use pgrx::prelude::*;
use std::ffi::CString;

/// Receives the rows. C calls it through its first member.
#[repr(C)]
struct Receiver<'a> {
    functions: pg_sys::DestReceiver,
    body: &'a mut dyn FnMut(pg_sys::Datum),
}

/// Calls `body` with the first column of each row, which must not be null, under the caller's snapshot. An SPI connection is open.
pub fn each(query: &str, body: &mut dyn FnMut(pg_sys::Datum)) {
    let query = CString::new(query).unwrap_or_default();
    let mut receiver = Receiver {
        functions: pg_sys::DestReceiver {
            receiveSlot: Some(receive),
            rStartup: Some(startup),
            rShutdown: Some(nothing),
            rDestroy: Some(nothing),
            mydest: pg_sys::CommandDest::DestNone,
        },
        body,
    };
    let options = pg_sys::SPIExecuteOptions {
        // Under the snapshot of the calling query: one for the whole verification.
        read_only: true,
        dest: (&raw mut receiver).cast(),
        ..Default::default()
    };
    // SAFETY: the receiver outlives the call; errors leave through it.
    unsafe { pg_sys::SPI_execute_extended(query.as_ptr(), &raw const options) };
}

#[pg_guard]
unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    this: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: called by the executor with a filled slot and the receiver of `each`.
    unsafe {
        if (*slot).tts_nvalid < 1 {
            pg_sys::slot_getsomeattrs_int(slot, 1);
        }
        ((*this.cast::<Receiver<'_>>()).body)(*(*slot).tts_values);
    }
    true
}

unsafe extern "C-unwind" fn startup(_: *mut pg_sys::DestReceiver, _: i32, _: pg_sys::TupleDesc) {}

unsafe extern "C-unwind" fn nothing(_: *mut pg_sys::DestReceiver) {}
