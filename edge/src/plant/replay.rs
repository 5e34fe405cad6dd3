//! Plays a recording on a [`Plant`], row by row, and reports what was emitted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::recording::Recording;
use super::server::Plant;
use crate::durable_file;

/// How a recording is played.
#[derive(Debug, Clone, Copy)]
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

/// Plays every row once.
///
/// Row 1 is what the variables have held since the plant opened: a client that subscribes before the
/// replay moves receives it as the initial value of each monitored item, so that it gets exactly one
/// sample a row and variable.
///
/// # Errors
/// When the status file cannot be written, or when the server ends before the recording.
pub async fn play(plant: &Plant, recording: &Recording, pace: Pace, status: Option<&Path>) -> Result<Report> {
    let clock = plant.clock();
    let tags = recording.channels().len();
    let rows = recording.rows();
    let mut report = Report {
        endpoint: plant.endpoint().to_owned(),
        rows: rows.len(),
        row: 1,
        tags,
        samples_emitted: tags,
        done: rows.len() == 1,
        first_source_ticks: clock.at(rows[0].time_h),
        last_source_ticks: clock.at(recording.end_h()),
    };
    let mut status = StatusFile::new(status);
    status.write(&report)?;
    while pace.wait_for_subscriber && !plant.is_monitored() {
        anyhow::ensure!(
            !plant.has_ended(),
            "the OPC UA server ended before anyone subscribed"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let mut pulse = tokio::time::interval(pace.interval.max(Duration::from_micros(1)));
    // A late row is followed by the next one at once: the recording keeps its length.
    pulse.set_missed_tick_behavior(MissedTickBehavior::Burst);
    pulse.reset();
    for (row, number) in rows.iter().zip(1..).skip(1) {
        if pace.interval.is_zero() {
            tokio::task::yield_now().await;
        } else {
            pulse.tick().await;
        }
        anyhow::ensure!(
            !plant.has_ended(),
            "the OPC UA server ended before row {number} of {}",
            rows.len()
        );
        plant.emit(row);
        report.row = number;
        report.samples_emitted = number * tags;
        report.done = number == rows.len();
        status.write(&report)?;
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
