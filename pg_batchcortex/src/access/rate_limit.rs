//! Budgets of requests in shared memory: one for all backends and so for all API processes, and outside of transactions, so that
//! a rollback does not give back what was spent.

use super::budget_table::{SETS, Table, WAYS};
use super::gcra::Arrival;
use crate::settings::{RATE_API_KEY, RATE_AUTHENTICATION, RATE_GENERAL, RATE_PUBLIC, RATE_SIGN_OFF};
use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgLwLock, pg_shmem_init};
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Requests without a credential, of one address.
    Public,
}

impl Budget {
    /// Requests a minute; 0 for no limit.
    fn per_minute(self) -> i32 {
        match self {
            Budget::Authentication => RATE_AUTHENTICATION.get(),
            Budget::SignOff => RATE_SIGN_OFF.get(),
            Budget::General => RATE_GENERAL.get(),
            Budget::ApiKey => RATE_API_KEY.get(),
            Budget::Public => RATE_PUBLIC.get(),
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "authentication" => Some(Budget::Authentication),
            "sign_off" => Some(Budget::SignOff),
            "general" => Some(Budget::General),
            "api_key" => Some(Budget::ApiKey),
            "public" => Some(Budget::Public),
            _ => None,
        }
    }
}

/// A request beyond its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Seconds to wait, rounded up, at least 1.
    pub wait_seconds: i32,
}

impl Default for Table {
    fn default() -> Self {
        let mut secret = [0; 32];
        crate::identity::credential::random(&mut secret);
        Table::new(secret)
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
    let mut table = TABLE.exclusive();
    let place = table.place(budget as u8, subject);
    match table.arrive(place, now(), i64::from(per_minute)) {
        Arrival::Admitted(_) => Ok(()),
        Arrival::Refused(wait) => Err(Exceeded {
            wait_seconds: ((wait + 999_999) / 1_000_000).clamp(1, 60) as i32,
        }),
    }
}

/// Whether a refusal is the first since one was admitted, and so worth an entry in a log; from now on it is not.
pub fn report(budget: Budget, subject: &[u8]) -> bool {
    if !PRESENT.load(Ordering::Relaxed) {
        return false;
    }
    let mut table = TABLE.exclusive();
    let place = table.place(budget as u8, subject);
    table.report(place)
}

/// Microseconds since 2000-01-01.
fn now() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// Spends one of a budget ('authentication', 'sign_off', 'general', 'api_key', 'public'): 0, or the seconds to wait when none is left.
#[pg_extern(volatile, parallel_unsafe)]
pub fn spend_budget(budget: &str, subject: &str) -> i32 {
    let Some(budget) = Budget::named(budget) else {
        error!("unknown budget: expected authentication, sign_off, general, api_key or public");
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
        TABLE.share().in_use(now())
    } else {
        0
    };
    TableIterator::once(((SETS * WAYS) as i32, in_use as i32))
}
