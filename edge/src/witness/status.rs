//! How a witness stands, for people and machines.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::keeper::{Holding, Keeper, KeeperError};
use super::settings::WitnessSettings;
use crate::durable_file;

/// The file of the running witness's own figures, beside its state.
pub const FILE: &str = "status.json";

/// How a witness stands.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `in order`, `alarm`, `silent` when no checkpoint was verified for long, or ever, or `stale` when no newer one came for longer.
    pub state: &'static str,
    /// Name of the witness.
    pub witness: String,
    /// Its public key.
    pub key: String,
    /// What is held of each log.
    pub logs: Vec<Holding>,
    /// What the running witness saw last.
    #[serde(flatten)]
    pub last: Last,
}

/// What the running witness saw last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Last {
    /// When a checkpoint of the log was verified last, RFC 3339 UTC.
    pub verified_at: Option<String>,
    /// When the log last took a cosignature of this witness, RFC 3339 UTC.
    pub posted_at: Option<String>,
    /// What went wrong last, until it succeeds.
    pub last_error: Option<String>,
    /// Answers so far that were not the log's.
    pub strays: u64,
}

/// The figures of a running witness.
#[derive(Debug, Default)]
pub struct WitnessStatus(Mutex<Last>);

impl WitnessStatus {
    /// What it says now.
    pub fn last(&self) -> Last {
        self.get().clone()
    }

    pub(super) fn verified(&self) {
        self.get().verified_at = Some(now());
    }

    pub(super) fn posted(&self) {
        let mut last = self.get();
        last.posted_at = Some(now());
        last.last_error = None;
    }

    pub(super) fn strayed(&self, reason: &str) {
        let mut last = self.get();
        last.strays += 1;
        last.last_error = Some(reason.to_owned());
    }

    pub(super) fn failed(&self, reason: &str) {
        self.get().last_error = Some(reason.to_owned());
    }

    /// Writes the file for `batchcortex-edge witness status`. It is for information: nothing depends on it.
    pub(super) fn write(&self, settings: &WitnessSettings) {
        let written = serde_json::to_vec(&self.last())
            .map_err(std::io::Error::from)
            .and_then(|json| durable_file::replace(&settings.state_dir.join(FILE), &json));
        if let Err(error) = written {
            tracing::warn!("cannot write the witness's status: {error}");
        }
    }

    fn get(&self) -> std::sync::MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Report {
    /// How a witness stands, with what the running one saw last.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub fn of(keeper: &Keeper, settings: &WitnessSettings, last: Last) -> Result<Self, KeeperError> {
        let logs = keeper.holdings()?;
        let state = if logs.iter().any(|log| log.alarm.is_some()) {
            "alarm"
        } else if is_silent(last.verified_at.as_deref(), settings.silence) {
            "silent"
        } else if let Some(limit) = settings.stale_after
            && logs
                .iter()
                .any(|log| log.log == settings.log_name() && log.is_stale(limit))
        {
            "stale"
        } else {
            "in order"
        };
        Ok(Report {
            state,
            witness: keeper.verifier().name().to_owned(),
            key: keeper.verifier().to_string(),
            logs,
            last,
        })
    }

    /// The same, of whatever witness runs with these settings, or ran last.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub fn from_files(settings: &WitnessSettings) -> Result<Self, KeeperError> {
        let keeper = Keeper::open(settings)?;
        let last = std::fs::read(settings.state_dir.join(FILE))
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default();
        Report::of(&keeper, settings, last)
    }

    /// Whether a person is needed.
    pub fn is_in_order(&self) -> bool {
        self.state == "in order"
    }
}

fn is_silent(verified_at: Option<&str>, limit: Duration) -> bool {
    verified_at
        .and_then(|time| DateTime::parse_from_rfc3339(time).ok())
        .is_none_or(|time| {
            SystemTime::now()
                .duration_since(time.into())
                .is_ok_and(|since| since > limit)
        })
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}
