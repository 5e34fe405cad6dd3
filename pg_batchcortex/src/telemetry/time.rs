//! OPC UA DateTime (OPC 10000-6 §5.2.2.5): 100 ns since 1601-01-01 00:00 UTC.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

/// Ticks between 1601-01-01 and PostgreSQL's epoch, 2000-01-01.
const EPOCH_TICKS: i64 = 125_911_584_000_000_000;

/// The instant of OPC UA ticks, rounded down to the microsecond. Null for instants outside timestamptz.
#[pg_extern(immutable, strict, parallel_safe)]
pub fn ticks_to_time(ticks: i64) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from((ticks.checked_sub(EPOCH_TICKS)?).div_euclid(10)).ok()
}

/// Ticks of the server's clock, `seconds` ahead.
pub fn ticks_ahead(seconds: i32) -> i64 {
    // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    now * 10 + EPOCH_TICKS + i64::from(seconds) * 10_000_000
}
