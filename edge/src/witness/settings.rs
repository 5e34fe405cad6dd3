//! The settings of a witness: the table `[witness]` of the agent's configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use batchcortex_ledger::note::{NoteError, SignatureType, VerifierKey};
use reqwest::Url;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use serde::Deserialize;

use crate::http::is_loopback;

/// Settings of a witness, checked.
#[derive(Debug, Clone)]
pub struct WitnessSettings {
    /// The API whose log is followed.
    pub api_url: Url,
    /// File of the witness's keys, as `batchcortex-keys create witness` makes it.
    pub key_file: PathBuf,
    /// Keys of the logs, by which their checkpoints are believed. The log at `api_url` is that of the first one's name.
    pub log_keys: Vec<VerifierKey>,
    /// Directory of what the witness must not forget.
    pub state_dir: PathBuf,
    /// How often the newest checkpoint is asked for.
    pub interval: Duration,
    /// How long an answer may be older than what was cosigned, or a proof be missing, before that is an alarm.
    pub patience: Duration,
    /// How long no checkpoint may be verified before that is an alarm.
    pub silence: Duration,
    /// How long no newer checkpoint may come before that is an alarm; none for a log that may stand still for any time.
    pub stale_after: Option<Duration>,
    /// Command that is run when an alarm is raised: program and arguments, without a shell.
    pub alarm: Option<Vec<String>>,
    /// Where requests of others to cosign are answered (C2SP tlog-witness), and the status is shown.
    pub listen: Option<SocketAddr>,
    /// Other witnesses that are asked to cosign.
    pub feeds: Vec<Feed>,
}

/// Another witness.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Its submission prefix.
    pub url: Url,
    /// The key that it cosigns with.
    pub key: VerifierKey,
}

/// What is wrong with the settings of a witness, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum WitnessSettingsError {
    /// A public key cannot be read.
    #[error("witness.{setting}: {key:?}: {source}")]
    Key {
        /// The setting.
        setting: &'static str,
        /// The text.
        key: String,
        /// What is wrong with it.
        source: NoteError,
    },
    /// A log's key where a witness's is needed, or the reverse.
    #[error("witness.{setting}: {key:?} is not the key of a {expected}")]
    Kind {
        /// The setting.
        setting: &'static str,
        /// The text.
        key: String,
        /// `log` or `witness`.
        expected: &'static str,
    },
    /// Nothing to believe.
    #[error(
        "witness.log_keys is empty: give the public key of the log, as `batchcortex-keys public` prints it"
    )]
    NoLogKeys,
    /// A number outside its range.
    #[error("witness.{key} is {value}: it must be from {least} to {most}")]
    Range {
        /// Key in the file.
        key: &'static str,
        /// What was found.
        value: u64,
        /// Least value accepted.
        least: u64,
        /// Largest value accepted.
        most: u64,
    },
    /// No program, or one that another PATH would find elsewhere.
    #[error("witness.alarm must name a program, by its absolute path")]
    Alarm,
    /// A command that would fail when it is needed.
    #[error(
        "witness.alarm: {program} cannot be run by this user ({what}): name a program that is there and executable, or leave the setting out"
    )]
    AlarmProgram {
        /// The program.
        program: String,
        /// What is wrong with it.
        what: String,
    },
    /// A witness that cannot be asked.
    #[error("witness.feed.url {0:?} must be https://host/prefix; http is accepted to loopback only")]
    FeedUrl(String),
}

/// The table as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    key_file: PathBuf,
    log_keys: Vec<String>,
    state_dir: PathBuf,
    #[serde(default = "defaults::interval_ms")]
    interval_ms: u64,
    #[serde(default = "defaults::patience_s")]
    patience_s: u64,
    #[serde(default = "defaults::silence_s")]
    silence_s: u64,
    #[serde(default = "defaults::stale_after_s")]
    stale_after_s: u64,
    alarm: Option<Vec<String>>,
    listen: Option<SocketAddr>,
    #[serde(default)]
    feed: Vec<FeedTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedTable {
    url: String,
    key: String,
}

mod defaults {
    pub(super) fn interval_ms() -> u64 {
        1_000
    }
    pub(super) fn patience_s() -> u64 {
        60
    }
    pub(super) fn silence_s() -> u64 {
        300
    }
    /// A week: longer than a plant stands still over a weekend with holidays around it.
    pub(super) fn stale_after_s() -> u64 {
        604_800
    }
}

impl Table {
    pub(crate) fn check(self, api_url: Url, base: &Path) -> Result<WitnessSettings, WitnessSettingsError> {
        let range = |key, value, least, most| {
            if (least..=most).contains(&value) {
                return Ok(value);
            }
            Err(WitnessSettingsError::Range {
                key,
                value,
                least,
                most,
            })
        };
        if self.log_keys.is_empty() {
            return Err(WitnessSettingsError::NoLogKeys);
        }
        let log_keys = self
            .log_keys
            .into_iter()
            .map(|text| read_key("log_keys", text, SignatureType::Ed25519))
            .collect::<Result<_, _>>()?;
        if self.alarm.as_ref().is_some_and(|argv| {
            !argv
                .first()
                .is_some_and(|program| Path::new(program).is_absolute())
        }) {
            return Err(WitnessSettingsError::Alarm);
        }
        let interval_ms = range("interval_ms", self.interval_ms, 100, 3_600_000)?;
        let pause_s = interval_ms.div_ceil(1000);
        let feeds = self
            .feed
            .into_iter()
            .map(|feed| {
                Ok(Feed {
                    url: check_feed_url(&feed.url)?,
                    key: read_key("feed.key", feed.key, SignatureType::CosignatureV1)?,
                })
            })
            .collect::<Result<_, WitnessSettingsError>>()?;
        Ok(WitnessSettings {
            api_url,
            key_file: base.join(self.key_file),
            log_keys,
            state_dir: base.join(self.state_dir),
            interval: Duration::from_millis(interval_ms),
            // Without patience any answer of a copy that lags behind, or one without its proof for a moment, would stop the cosigning.
            patience: Duration::from_secs(range("patience_s", self.patience_s, 1, 86_400)?),
            // Between two looks nothing can be verified: that is neither silence nor a log that stands still.
            silence: Duration::from_secs(range("silence_s", self.silence_s, pause_s, 604_800)?),
            stale_after: match self.stale_after_s {
                0 => None,
                seconds => Some(Duration::from_secs(range(
                    "stale_after_s",
                    seconds,
                    pause_s,
                    31_536_000,
                )?)),
            },
            alarm: self.alarm,
            listen: self.listen,
            feeds,
        })
    }
}

impl WitnessSettings {
    /// Whether the alarm command is a program that this process may execute: to be asked before a witness begins, since otherwise the
    /// first one to notice would be an alarm. A person who asks or decides something does not need it.
    ///
    /// # Errors
    /// [`WitnessSettingsError::AlarmProgram`].
    pub fn check_alarm(&self) -> Result<(), WitnessSettingsError> {
        let Some(program) = self.alarm.as_ref().and_then(|argv| argv.first()) else {
            return Ok(());
        };
        let failed = |what: String| WitnessSettingsError::AlarmProgram {
            program: program.clone(),
            what,
        };
        let found = std::fs::metadata(program).map_err(|error| failed(error.to_string()))?;
        if !found.is_file() {
            return Err(failed("it is no file".to_owned()));
        }
        accessat(CWD, program, Access::EXEC_OK, AtFlags::EACCESS)
            .map_err(|error| failed(std::io::Error::from(error).to_string()))
    }

    /// The name of the log at the API.
    pub fn log_name(&self) -> &str {
        self.log_keys.first().map_or("", VerifierKey::name)
    }
}

fn read_key(
    setting: &'static str,
    text: String,
    kind: SignatureType,
) -> Result<VerifierKey, WitnessSettingsError> {
    match text.parse::<VerifierKey>() {
        Ok(key) if key.signature_type() == kind => Ok(key),
        Ok(_) => Err(WitnessSettingsError::Kind {
            setting,
            key: text,
            expected: match kind {
                SignatureType::Ed25519 => "log",
                SignatureType::CosignatureV1 => "witness",
            },
        }),
        Err(source) => Err(WitnessSettingsError::Key {
            setting,
            key: text,
            source,
        }),
    }
}

/// The prefix, with a slash at its end so that a path can be joined to it.
fn check_feed_url(text: &str) -> Result<Url, WitnessSettingsError> {
    let malformed = || WitnessSettingsError::FeedUrl(text.to_owned());
    let mut url = Url::parse(text).map_err(|_| malformed())?;
    let bare = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && url.host_str().is_some();
    let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    if !bare || !safe {
        return Err(malformed());
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    fn check(text: &str) -> Result<WitnessSettings, String> {
        let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
        table
            .check(
                Url::parse("https://api.example").map_err(|error| error.to_string())?,
                Path::new("/etc/edge"),
            )
            .map_err(|error| error.to_string())
    }

    fn good() -> String {
        format!("key_file = \"w.keys\"\nlog_keys = [\"{LOG}\"]\nstate_dir = \"/var/lib/w\"\n")
    }

    #[test]
    fn a_short_table_is_enough() {
        let settings = check(&good()).unwrap();
        assert_eq!(settings.log_name(), "PeterNeumann");
        assert_eq!(settings.key_file, Path::new("/etc/edge/w.keys"));
        assert_eq!(settings.interval, Duration::from_secs(1));
        assert_eq!(settings.stale_after, Some(Duration::from_secs(604_800)));
        let off = check(&(good() + "stale_after_s = 0\n")).unwrap();
        assert_eq!(off.stale_after, None);
        assert!(settings.listen.is_none() && settings.feeds.is_empty() && settings.alarm.is_none());
    }

    #[test]
    fn the_alarm_command_must_be_a_program_that_can_be_run() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::TempDir::with_prefix("bc-alarm-").unwrap();
        let page = directory.path().join("page");
        std::fs::write(&page, "#!/bin/sh\n").unwrap();
        let run = |program: &Path| {
            let settings = check(&(good() + &format!("alarm = [{program:?}, \"qa\"]\n"))).unwrap();
            settings.check_alarm().map_err(|error| error.to_string())
        };
        let refused = |program: &Path, what: &str| {
            let error = run(program).unwrap_err();
            assert!(
                error.contains(what) && error.contains("name a program that is there and executable"),
                "{error}"
            );
        };
        refused(Path::new("/nonexistent/page"), "No such file");
        refused(directory.path(), "it is no file");
        refused(&page, "Permission denied");
        std::fs::set_permissions(&page, std::fs::Permissions::from_mode(0o755)).unwrap();
        run(&page).unwrap();
        assert!(check(&good()).unwrap().check_alarm().is_ok());
    }

    #[test]
    fn wrong_settings_are_refused() {
        let feed = |url: &str, key: &str| format!("{}[[feed]]\nurl = \"{url}\"\nkey = \"{key}\"\n", good());
        for (text, expected) in [
            (good().replace(LOG, "x"), "a verifier key must be"),
            (
                good().replace(&format!("\"{LOG}\""), ""),
                "witness.log_keys is empty",
            ),
            (good() + "interval_ms = 10\n", "from 100 to"),
            (
                good() + "patience_s = 0\n",
                "patience_s is 0: it must be from 1 to 86400",
            ),
            (good() + "patience_s = 86401\n", "from 1 to 86400"),
            (
                good() + "silence_s = 0\n",
                "silence_s is 0: it must be from 1 to 604800",
            ),
            (
                good() + "interval_ms = 600000\n",
                "silence_s is 300: it must be from 600 to 604800",
            ),
            (good() + "stale_after_s = 31536001\n", "from 1 to 31536000"),
            (
                good() + "interval_ms = 600000\nsilence_s = 1800\nstale_after_s = 599\n",
                "stale_after_s is 599: it must be from 600 to 31536000",
            ),
            (good() + "alarm = []\n", "absolute path"),
            (good() + "alarm = [\"page\"]\n", "absolute path"),
            (good() + "secret = \"x\"\n", "unknown field"),
            (feed("https://w.example/x", LOG), "is not the key of a witness"),
            (feed("http://w.example/x", LOG), "must be https"),
            (feed("https://me:pw@w.example/", LOG), "must be https"),
        ] {
            let error = check(&text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
