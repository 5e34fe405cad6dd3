//! The way around the guard, for the day when it stands in the way of rescuing a database: a setting that takes a restart, and
//! that every organisation's log tells of before anyone can connect.

use crate::ledger::worker;
use crate::settings::BREAK_GLASS;
use pgrx::pg_sys;
use std::time::{Duration, Instant};

/// How long a connection waits for the logs to tell.
const PATIENCE: Duration = Duration::from_secs(50);

static mut PREVIOUS: Authentication = None;

type Authentication = Option<unsafe extern "C-unwind" fn(port: *mut pg_sys::Port, status: std::ffi::c_int)>;

unsafe extern "C-unwind" {
    static mut ClientAuthentication_hook: Authentication;
}

/// At preload: connections wait until every log tells of the broken glass.
pub fn install() {
    // SAFETY: single-threaded start of the server; the hook that was there is kept and called on.
    unsafe {
        PREVIOUS = ClientAuthentication_hook;
        ClientAuthentication_hook = Some(authenticated);
    }
}

unsafe extern "C-unwind" fn authenticated(port: *mut pg_sys::Port, status: std::ffi::c_int) {
    // SAFETY: called by PostgreSQL once a connection; the pointer goes on unchanged.
    unsafe {
        if let Some(previous) = PREVIOUS {
            previous(port, status);
        }
        crate::error::raising(|| {
            wait_for_the_record();
            Ok(pg_sys::Datum::from(0usize))
        });
    }
}

fn wait_for_the_record() {
    // A standby writes nothing, and so has nothing to refuse; no sealer runs while pg_upgrade is at work.
    // SAFETY: reads shared memory and a plain global.
    if reason().is_none() || unsafe { pg_sys::RecoveryInProgress() || pg_sys::IsBinaryUpgrade } {
        return;
    }
    let begun = Instant::now();
    while !worker::glass_recorded_everywhere() {
        if begun.elapsed() > PATIENCE {
            pgrx::error!(
                "the server was started with batchcortex.break_glass, and not every log could be told: see the server's log"
            );
        }
        std::thread::sleep(Duration::from_millis(20));
        pgrx::check_for_interrupts!();
    }
}

/// The reason with which the server was started behind broken glass; none when it was not.
pub fn reason() -> Option<String> {
    let reason = BREAK_GLASS.get()?.into_string().ok()?;
    (!reason.trim().is_empty()).then_some(reason)
}

/// Whether the guard lets everything pass: the glass is broken, and this database's logs say so already.
pub fn is_open() -> bool {
    // Asked for every statement that changes something: the usual answer must cost nothing.
    if BREAK_GLASS.get().is_none() {
        return false;
    }
    reason().is_some() && worker::glass_recorded()
}
