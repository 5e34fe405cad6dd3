//! How many passwords are checked at once in the whole server, and so how much memory that takes: every connection could
//! ask for tens of MiB, and whoever has the API's database login opens as many as the server lets in.
//!
//! A slot is held for one Argon2id computation and for nothing else: not while a lock is waited for, not until the end of
//! the transaction. Nothing that could end the process is called while it is held, and a process that dies all the same
//! makes the postmaster start anew, shared memory included.

use crate::settings::MAX_PASSWORD_CHECKS;
use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgLwLock, pg_shmem_init};
use std::sync::atomic::{AtomicBool, Ordering};

/// Longest wait for a slot, in microseconds.
const PATIENCE: i64 = 10_000_000;
/// Pause between two looks, in milliseconds.
const PAUSE: std::ffi::c_long = 5;

#[derive(Clone, Copy, Default)]
struct Running(i32);

// SAFETY: a plain number, valid in every process.
unsafe impl PGRXSharedMemory for Running {}

// SAFETY: the name is used for this lock alone.
static RUNNING: PgLwLock<Running> = unsafe { PgLwLock::new(c"batchcortex_password_checks") };
static PRESENT: AtomicBool = AtomicBool::new(false);

/// At preload: shared memory. Without it nothing is counted, and health() says that the library is down.
pub fn register() {
    pg_shmem_init!(RUNNING);
    PRESENT.store(true, Ordering::Relaxed);
}

/// A place among those who check a password now.
pub struct Slot(());

/// Waits for a slot. After ten seconds the request fails with 53000: nothing was compared, so nothing was tried.
pub fn take() -> Option<Slot> {
    if !PRESENT.load(Ordering::Relaxed) {
        return None;
    }
    // SAFETY: reads the clock.
    let now = || unsafe { pg_sys::GetCurrentTimestamp() };
    let patience = now() + PATIENCE;
    loop {
        pgrx::check_for_interrupts!();
        {
            let mut running = RUNNING.exclusive();
            if running.0 < MAX_PASSWORD_CHECKS.get() {
                running.0 += 1;
                return Some(Slot(()));
            }
        }
        if now() > patience {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                "too many passwords are being checked at this moment"
            );
        }
        const EVENTS: u32 = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        // SAFETY: waits on this process's own latch.
        unsafe {
            pg_sys::WaitLatch(pg_sys::MyLatch, EVENTS as i32, PAUSE, pg_sys::PG_WAIT_EXTENSION);
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        give_back_memory();
        RUNNING.exclusive().0 -= 1;
    }
}

/// The C library keeps what was freed for the next time: each connection that ever checked a password would hold on to the
/// memory of one check for as long as it is open.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: gives free memory back to the system; takes no pointer and may be called at any time.
        unsafe { malloc_trim(0) };
    }
}
