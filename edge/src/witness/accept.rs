//! What a person does about an alarm.

use std::path::Path;

use batchcortex_ledger::checkpoint::Checkpoint;
use batchcortex_ledger::note::{NoteError, SignedNote};
use batchcortex_ledger::witness::Refusal;

use super::keeper::{Keeper, KeeperError};
use super::log_client::{LogClient, LogError};
use super::settings::WitnessSettings;
use super::store::Decision;

/// Why an alarm stands after all.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The witness.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    /// The log shows no checkpoint.
    #[error("the log shows no checkpoint to accept: {0}")]
    Log(LogError),
    /// The file with a checkpoint.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It holds no checkpoint.
    #[error("that is no signed checkpoint: {0}")]
    Note(#[from] NoteError),
    /// A reason is missing.
    #[error("say why: --reason must not be empty")]
    Reason,
    /// A person cannot decide this.
    #[error("not accepted: {0}; the log must show again what it had signed, or begin a new incarnation")]
    Refused(Refusal),
}

/// Ends the alarm about the log, as far as a person can: see [`Keeper::accept`]. The checkpoint is the newest that the log shows, or that of
/// a file.
///
/// # Errors
/// [`AcceptError`]; then the alarm stands.
pub async fn accept(
    settings: &WitnessSettings,
    reason: &str,
    file: Option<&Path>,
) -> Result<Decision, AcceptError> {
    if reason.trim().is_empty() {
        return Err(AcceptError::Reason);
    }
    let keeper = Keeper::open(settings)?;
    let log = settings.log_name();
    let client = LogClient::new(&settings.api_url).map_err(AcceptError::Client)?;
    let note = match file {
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|source| AcceptError::File {
                path: path.to_owned(),
                source,
            })?;
            SignedNote::parse(&bytes)?
        }
        None => client.checkpoint().await.map_err(AcceptError::Log)?,
    };
    let held = keeper
        .holdings()?
        .into_iter()
        .find(|holding| holding.log == log)
        .map_or(0, |holding| holding.size);
    let size = note
        .text()
        .parse::<Checkpoint>()
        .map_or(0, |checkpoint| checkpoint.size());
    // Without a proof it may still be another incarnation.
    let proof = if held <= size {
        client.consistency(held, size).await.unwrap_or_default()
    } else {
        Vec::new()
    };
    keeper
        .accept(log, &note, proof, reason.trim(), &decider())?
        .map_err(AcceptError::Refused)
}

/// Who decides, as this machine knows them.
fn decider() -> String {
    let user = rustix::process::getuid().as_raw();
    let names: Vec<String> = ["USER", "SUDO_USER"]
        .iter()
        .filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)))
        .collect();
    format!("uid={user} {}", names.join(" ")).trim_end().to_owned()
}
