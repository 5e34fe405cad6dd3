//! The source times of a replayed batch.

use opcua::types::DateTime;

use super::recording::Recording;

/// 100 ns units of an hour, as OPC UA counts time.
const TICKS_PER_HOUR: f64 = 3_600.0 * 1e7;

/// Source times of a recording: the batch ended when the replay began, so that no value lies in the future.
#[derive(Debug, Clone, Copy)]
pub struct SourceClock {
    start_ticks: i64,
}

impl SourceClock {
    /// Takes the present as the end of the batch, rounded down to a whole second.
    pub fn ending_now(recording: &Recording) -> SourceClock {
        let now = DateTime::now().checked_ticks();
        SourceClock {
            start_ticks: now - now % 10_000_000 - ticks(recording.end_h()),
        }
    }

    /// Source time of a row `time_h` hours into the batch: 100 ns since 1601-01-01 UTC.
    pub fn at(&self, time_h: f64) -> i64 {
        self.start_ticks + ticks(time_h)
    }
}

fn ticks(hours: f64) -> i64 {
    (hours * TICKS_PER_HOUR).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::recording::{Channel, Row};

    #[test]
    fn source_times_are_exact_and_never_in_the_future() {
        let channels = vec![Channel {
            name: "a".into(),
            unit: "-".into(),
        }];
        let rows = [0.2, 0.4, 231.0]
            .map(|time_h| Row {
                time_h,
                values: vec![0.0],
            })
            .to_vec();
        let clock = SourceClock::ending_now(&Recording::new(channels, rows));
        assert_eq!(clock.at(0.4) - clock.at(0.2), 7_200_000_000);
        assert_eq!(clock.at(231.0) - clock.at(0.2), 8_308_800_000_000);
        assert!(clock.at(231.0) <= DateTime::now().checked_ticks());
    }
}
