//! What the agent is doing, for people and scripts: a JSON file that is replaced in one step.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::durable_file;

/// Figures of a running agent. They count from its start.
#[derive(Debug, Default)]
pub struct Status {
    connected: AtomicBool,
    received: AtomicU64,
    acknowledged: AtomicU64,
    sequence: AtomicU64,
    pending: AtomicU64,
    gaps: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// The content of the status file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether the subscription is running.
    pub connected: bool,
    /// Samples captured since the start.
    pub samples_received: u64,
    /// Samples acknowledged by the API since the start, those of an earlier run included.
    pub samples_acknowledged: u64,
    /// Number of the last acknowledged message; 0 before the first of this run.
    pub sequence: u64,
    /// Samples captured and not acknowledged yet, in memory and in the spool.
    pub pending: u64,
    /// Times that samples may have been lost before they reached the agent; each is in the log.
    pub possible_gaps: u64,
    /// What went wrong last, until something succeeds.
    pub last_error: Option<String>,
}

impl Status {
    /// What it says now.
    pub fn report(&self) -> Report {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        Report {
            connected: self.connected.load(Ordering::Relaxed),
            samples_received: read(&self.received),
            samples_acknowledged: read(&self.acknowledged),
            sequence: read(&self.sequence),
            pending: read(&self.pending),
            possible_gaps: read(&self.gaps),
            last_error: self.error().clone(),
        }
    }

    pub(super) fn connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
        if connected {
            *self.error() = None;
        }
    }

    pub(super) fn received(&self, samples: usize) {
        self.received.fetch_add(samples as u64, Ordering::Relaxed);
        self.pending.fetch_add(samples as u64, Ordering::Relaxed);
    }

    pub(super) fn found_in_spool(&self, samples: usize) {
        self.pending.fetch_add(samples as u64, Ordering::Relaxed);
    }

    pub(super) fn acknowledged(&self, sequence: u64, samples: usize) {
        self.sequence.store(sequence, Ordering::Relaxed);
        self.acknowledged.fetch_add(samples as u64, Ordering::Relaxed);
        self.pending.fetch_sub(samples as u64, Ordering::Relaxed);
        *self.error() = None;
    }

    pub(super) fn possible_gap(&self) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, reason: &str) {
        *self.error() = Some(reason.to_owned());
    }

    fn error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last_error
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Writes the file now.
    pub(super) fn write(&self, path: &Path) {
        let written = serde_json::to_vec(&self.report())
            .map_err(std::io::Error::from)
            .and_then(|mut json| {
                json.push(b'\n');
                durable_file::replace(path, &json)
            });
        // The file is for information: capture goes on without it.
        if let Err(error) = written {
            tracing::warn!("cannot write the status file {}: {error}", path.display());
        }
    }

    /// Writes the file twice a second, for ever.
    pub(super) async fn keep_written(&self, path: &Path) {
        loop {
            self.write(path);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
