//! Telling people, on a way that the server has no part in: this machine's log, and a command of the customer's choice.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::store::Alarm;

/// Longest time that the command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the command is told, by environment variables of these names.
#[derive(Debug)]
pub struct Message<'a> {
    /// `BATCHCORTEX_ALARM_LOG`: name of the log.
    pub log: &'a str,
    /// `BATCHCORTEX_ALARM_CODE`: what kind.
    pub code: &'a str,
    /// `BATCHCORTEX_ALARM_TEXT`: the same in words.
    pub text: &'a str,
    /// `BATCHCORTEX_ALARM_EVIDENCE`: the file to keep; empty when there is none.
    pub evidence: Option<&'a Path>,
}

impl<'a> From<&'a Alarm> for Message<'a> {
    fn from(alarm: &'a Alarm) -> Self {
        Message {
            log: &alarm.log,
            code: &alarm.code,
            text: &alarm.explanation,
            evidence: Some(&alarm.evidence),
        }
    }
}

/// Logs the alarm and runs the command, program and arguments as they are: no shell sees a text that came over the network.
pub async fn tell(command: Option<&[String]>, message: Message<'_>) {
    tracing::error!(
        log = message.log,
        code = message.code,
        evidence = message.evidence.map(|path| path.display().to_string()),
        "ALARM: {}",
        message.text
    );
    let Some([program, arguments @ ..]) = command else {
        return;
    };
    let spawned = Command::new(program)
        .args(arguments)
        .env("BATCHCORTEX_ALARM_LOG", message.log)
        .env("BATCHCORTEX_ALARM_CODE", message.code)
        .env("BATCHCORTEX_ALARM_TEXT", message.text)
        .env(
            "BATCHCORTEX_ALARM_EVIDENCE",
            message.evidence.unwrap_or(Path::new("")),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let ended = match spawned {
        Ok(mut child) => tokio::time::timeout(PATIENCE, child.wait()).await,
        Err(error) => {
            tracing::error!("the alarm command {program} cannot be run: {error}");
            return;
        }
    };
    match ended {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => tracing::error!("the alarm command {program} failed: {status}"),
        Ok(Err(error)) => tracing::error!("the alarm command {program} failed: {error}"),
        Err(_) => {
            tracing::error!("the alarm command {program} did not end within {PATIENCE:?} and was killed")
        }
    }
}
