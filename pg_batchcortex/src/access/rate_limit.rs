//! Budgets of requests in shared memory: one for all backends and so for all API processes, and outside of transactions, so that
//! a rollback does not give back what was spent.
//!
//! The table is bounded: [`SETS`] sets of [`WAYS`] entries, chosen by a hash that a secret of the server's start goes into, so that
//! nobody can aim at another's set. A full set gives up the entry whose budget is whole soonest, which is the oldest.

use super::gcra::{self, Arrival};
use crate::settings::{RATE_API_KEY, RATE_AUTHENTICATION, RATE_GENERAL, RATE_SIGN_OFF};
use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgLwLock, pg_shmem_init};
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicBool, Ordering};

const SETS: usize = 2048;
const WAYS: usize = 8;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Attempts to prove who one is, of one address or of one user name.
    Authentication,
    /// Attempts to sign, of one person.
    SignOff,
    /// Requests of one person.
    General,
    /// Requests of one API key.
    ApiKey,
}

impl Budget {
    /// Requests a minute; 0 for no limit.
    fn per_minute(self) -> i32 {
        match self {
            Budget::Authentication => RATE_AUTHENTICATION.get(),
            Budget::SignOff => RATE_SIGN_OFF.get(),
            Budget::General => RATE_GENERAL.get(),
            Budget::ApiKey => RATE_API_KEY.get(),
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "authentication" => Some(Budget::Authentication),
            "sign_off" => Some(Budget::SignOff),
            "general" => Some(Budget::General),
            "api_key" => Some(Budget::ApiKey),
            _ => None,
        }
    }
}

/// A request beyond its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Seconds to wait, rounded up, at least 1.
    pub wait_seconds: i32,
    /// The first since one was admitted: what is worth an entry in a log.
    pub first: bool,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    key: [u8; 16],
    /// Theoretical arrival time, microseconds since 2000-01-01; 0 when the entry is free.
    tat: i64,
    refusing: bool,
}

#[derive(Clone, Copy)]
struct Table {
    secret: [u8; 32],
    sets: [[Entry; WAYS]; SETS],
}

impl Default for Table {
    fn default() -> Self {
        let mut secret = [0; 32];
        crate::identity::credential::random(&mut secret);
        Table {
            secret,
            sets: [[Entry::default(); WAYS]; SETS],
        }
    }
}

// SAFETY: plain numbers, valid in every process.
unsafe impl PGRXSharedMemory for Table {}

// SAFETY: the name is used for this lock alone.
static TABLE: PgLwLock<Table> = unsafe { PgLwLock::new(c"batchcortex_budgets") };
static PRESENT: AtomicBool = AtomicBool::new(false);

/// At preload: shared memory. Without it nothing is limited, and health() says that the library is down.
pub fn register() {
    pg_shmem_init!(TABLE);
    PRESENT.store(true, Ordering::Relaxed);
}

/// Spends one of the budget of `subject`.
///
/// # Errors
/// When there is none left; nothing is spent then.
pub fn spend(budget: Budget, subject: &[u8]) -> Result<(), Exceeded> {
    let per_minute = budget.per_minute();
    if per_minute == 0 || !PRESENT.load(Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    let mut table = TABLE.exclusive();
    let hash = Sha256::new()
        .chain_update(table.secret)
        .chain_update([budget as u8])
        .chain_update(subject)
        .finalize();
    let set = usize::from(u16::from_le_bytes([hash[0], hash[1]])) % SETS;
    let mut key = [0; 16];
    key.copy_from_slice(&hash[16..]);
    let entry = find(&mut table.sets[set], key);
    match gcra::arrive(entry.tat, now, i64::from(per_minute)) {
        Arrival::Admitted(tat) => {
            *entry = Entry {
                key,
                tat,
                refusing: false,
            };
            Ok(())
        }
        Arrival::Refused(wait) => {
            let first = !std::mem::replace(&mut entry.refusing, true);
            Err(Exceeded {
                wait_seconds: ((wait + 999_999) / 1_000_000).clamp(1, 60) as i32,
                first,
            })
        }
    }
}

/// The entry of `key`, or the oldest of the set, which it takes over.
fn find(set: &mut [Entry; WAYS], key: [u8; 16]) -> &mut Entry {
    let at = match set.iter().position(|entry| entry.tat != 0 && entry.key == key) {
        Some(at) => at,
        None => {
            let oldest = (0..WAYS).min_by_key(|at| set[*at].tat).unwrap_or(0);
            set[oldest] = Entry {
                key,
                ..Entry::default()
            };
            oldest
        }
    };
    &mut set[at]
}

/// Spends one of a budget ('authentication', 'sign_off', 'general', 'api_key'): 0, or the seconds to wait when none is left.
#[pg_extern(volatile, parallel_unsafe)]
pub fn spend_budget(budget: &str, subject: &str) -> i32 {
    let Some(budget) = Budget::named(budget) else {
        error!("unknown budget: expected authentication, sign_off, general or api_key");
    };
    match spend(budget, subject.as_bytes()) {
        Ok(()) => 0,
        Err(exceeded) => exceeded.wait_seconds,
    }
}

/// Entries that the table of budgets has room for, and how many of them are not whole now.
#[pg_extern(volatile, parallel_unsafe)]
pub fn budget_table() -> TableIterator<'static, (name!(capacity, i32), name!(in_use, i32))> {
    let in_use = if PRESENT.load(Ordering::Relaxed) {
        // SAFETY: reads the clock.
        let now = unsafe { pg_sys::GetCurrentTimestamp() };
        let table = TABLE.share();
        table
            .sets
            .iter()
            .flatten()
            .filter(|entry| entry.tat > now)
            .count()
    } else {
        0
    };
    TableIterator::once(((SETS * WAYS) as i32, in_use as i32))
}
