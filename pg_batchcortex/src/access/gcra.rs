//! The generic cell rate algorithm (ITU-T I.371 §A, virtual scheduling), in microseconds.
//!
//! A budget is one number, the theoretical arrival time: when the budget will be whole again. Whoever stays below the rate never
//! waits; a whole minute's budget may be spent at once and then comes back evenly.

/// A minute, in microseconds.
pub const MINUTE: i64 = 60_000_000;

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Within the rate; the theoretical arrival time from now on.
    Admitted(i64),
    /// Beyond it, and how long until the next one is admitted.
    Refused(i64),
}

/// An arrival at `now` under a rate of `per_minute` (at least 1), with the theoretical arrival time `tat` of the one before.
pub fn arrive(tat: i64, now: i64, per_minute: i64) -> Arrival {
    let interval = MINUTE / per_minute.max(1);
    // No arrival can be further ahead than a minute: the clock was set back, and nobody waits for it to catch up.
    let start = tat.clamp(now, now.saturating_add(MINUTE));
    let next = start.saturating_add(interval);
    match next - now {
        ahead if ahead > MINUTE => Arrival::Refused(ahead - MINUTE),
        _ => Arrival::Admitted(next),
    }
}
