//! The bounded table behind the budgets: sets of a few entries each, so that finding one and making room for one cost the same
//! however many there are. It knows no PostgreSQL; [`super::rate_limit`] puts it into shared memory.
//!
//! A set is chosen by a hash that a secret goes into, so that nobody can aim at another's set. A full set gives up the entry whose
//! budget is whole soonest, which is the oldest.

use super::gcra::{self, Arrival};
use sha2::{Digest, Sha256};

/// How many sets there are.
pub const SETS: usize = 2048;
/// Entries of a set.
pub const WAYS: usize = 8;

/// Where a subject is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The set, from 0.
    pub set: usize,
    key: [u8; 16],
}

#[derive(Clone, Copy, Default)]
struct Entry {
    key: [u8; 16],
    /// Theoretical arrival time, microseconds since 2000-01-01; 0 when the entry is free.
    tat: i64,
    reported: bool,
}

/// Budgets that are not whole.
#[derive(Clone, Copy)]
pub struct Table {
    secret: [u8; 32],
    sets: [[Entry; WAYS]; SETS],
}

impl Table {
    /// An empty table whose sets are chosen with `secret`.
    pub fn new(secret: [u8; 32]) -> Self {
        Table {
            secret,
            sets: [[Entry::default(); WAYS]; SETS],
        }
    }

    /// The place of a subject in a budget.
    pub fn place(&self, budget: u8, subject: &[u8]) -> Place {
        let hash = Sha256::new()
            .chain_update(self.secret)
            .chain_update([budget])
            .chain_update(subject)
            .finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&hash[16..]);
        Place {
            set: usize::from(u16::from_le_bytes([hash[0], hash[1]])) % SETS,
            key,
        }
    }

    /// An arrival at `now` (microseconds since 2000-01-01) under a rate of `per_minute`.
    pub fn arrive(&mut self, place: Place, now: i64, per_minute: i64) -> Arrival {
        let entry = self.find(place);
        let arrival = gcra::arrive(entry.tat, now, per_minute);
        if let Arrival::Admitted(tat) = arrival {
            entry.tat = tat;
            entry.reported = false;
        }
        arrival
    }

    /// Marks a refusal as reported: true for the first since an arrival was admitted.
    pub fn report(&mut self, place: Place) -> bool {
        !std::mem::replace(&mut self.find(place).reported, true)
    }

    /// Entries whose budget is not whole at `now`.
    pub fn in_use(&self, now: i64) -> usize {
        self.sets.iter().flatten().filter(|entry| entry.tat > now).count()
    }

    /// The entry of a place, or the oldest of its set, which it takes over.
    fn find(&mut self, place: Place) -> &mut Entry {
        let set = &mut self.sets[place.set];
        let at = match set
            .iter()
            .position(|entry| entry.tat != 0 && entry.key == place.key)
        {
            Some(at) => at,
            None => {
                let oldest = (0..WAYS).min_by_key(|at| set[*at].tat).unwrap_or(0);
                set[oldest] = Entry {
                    key: place.key,
                    ..Entry::default()
                };
                oldest
            }
        };
        &mut set[at]
    }
}
