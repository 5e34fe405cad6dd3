//! Plays a recording on a [`Plant`], row by row, and reports what was emitted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use opcua::types::DateTime;
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::recording::Recording;
use super::server::Plant;
use crate::durable_file;

/// 100 ns units of an hour, as OPC UA counts time.
const TICKS_PER_HOUR: f64 = 3_600.0 * 1e7;

/// How a recording is played.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Time between two rows; zero plays as fast as the server takes them.
    pub interval: Duration,
    /// Row 1 stands still until a client monitors every variable.
    pub wait_for_subscriber: bool,
}

/// What the plant has done so far; the content of the status file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// URL of the server.
    pub endpoint: String,
    /// Rows of the recording.
    pub rows: usize,
    /// Rows emitted so far.
    pub row: usize,
    /// Variables of the server.
    pub tags: usize,
    /// Values emitted so far: rows times variables.
    pub samples_emitted: usize,
    /// Whether the last row was emitted.
    pub done: bool,
    /// Source time of row 1: 100 ns since 1601-01-01 UTC.
    pub first_source_ticks: i64,
    /// Source time of the last row.
    pub last_source_ticks: i64,
}

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

/// Plays every row once.
///
/// Row 1 is what the variables hold when the plant opens: a client that subscribes before the replay
/// moves receives it as the initial value of each monitored item, so that it gets exactly one sample a
/// row and variable.
///
/// # Errors
/// When the status file cannot be written, or when the server ends before the recording.
pub async fn play(
    plant: &Plant,
    recording: &Recording,
    pace: &Pace,
    status: Option<&Path>,
) -> Result<Report> {
    let clock = SourceClock::ending_now(recording);
    let tags = recording.channels().len();
    let mut report = Report {
        endpoint: plant.endpoint().to_owned(),
        rows: recording.rows().len(),
        row: 0,
        tags,
        samples_emitted: 0,
        done: false,
        first_source_ticks: clock.at(recording.rows()[0].time_h),
        last_source_ticks: clock.at(recording.end_h()),
    };
    let mut writer = StatusFile::new(status);

    let mut pulse = tokio::time::interval(pace.interval.max(Duration::from_micros(1)));
    // A late row is followed by the next one at once: the recording keeps its length.
    pulse.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for (index, row) in recording.rows().iter().enumerate() {
        if index == 1 {
            while pace.wait_for_subscriber && !plant.is_monitored() {
                anyhow::ensure!(
                    !plant.has_ended(),
                    "the OPC UA server ended before anyone subscribed"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            pulse.reset();
        }
        if index > 0 {
            if pace.interval.is_zero() {
                tokio::task::yield_now().await;
            } else {
                pulse.tick().await;
            }
        }
        anyhow::ensure!(
            !plant.has_ended(),
            "the OPC UA server ended at row {} of {}",
            index + 1,
            report.rows
        );
        plant.emit(&row.values, DateTime::from(clock.at(row.time_h)));
        report.row = index + 1;
        report.samples_emitted = report.row * tags;
        report.done = report.row == report.rows;
        writer.write(&report)?;
    }
    Ok(report)
}

/// The status file, written at most every tenth of a second and always at the ends.
struct StatusFile {
    path: Option<PathBuf>,
    written: Option<tokio::time::Instant>,
}

impl StatusFile {
    fn new(path: Option<&Path>) -> StatusFile {
        StatusFile {
            path: path.map(Path::to_path_buf),
            written: None,
        }
    }

    fn write(&mut self, report: &Report) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let recent = self
            .written
            .is_some_and(|at| at.elapsed() < Duration::from_millis(100));
        if recent && !report.done {
            return Ok(());
        }
        let mut json = serde_json::to_vec(report).context("the report has no JSON form")?;
        json.push(b'\n');
        durable_file::replace(path, &json)
            .with_context(|| format!("cannot write the status file {}", path.display()))?;
        self.written = Some(tokio::time::Instant::now());
        Ok(())
    }
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
