//! The settings of an agent: one TOML file, and the device secret in a file of its own.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use batchcortex_ledger::request_signature::SECRET_LENGTH;
use reqwest::Url;
use serde::Deserialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::node_address::{NodeAddress, NodeAddressError};
use crate::http::is_loopback;
use crate::witness::settings::{self, WitnessSettings, WitnessSettingsError};

/// The secret of the device: the key of its request signatures. It is wiped from memory when dropped.
pub type Secret = Zeroizing<[u8; SECRET_LENGTH]>;

/// Settings of an agent, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where messages are posted: scheme, host and port, with the path `/`.
    pub api_url: Url,
    /// The enrolled device.
    pub device_id: Uuid,
    /// Name of the device key; it is no secret.
    pub key_id: String,
    /// File with the secret of the device as 64 hexadecimal digits.
    pub secret_file: PathBuf,
    /// Number of the running batch that the samples belong to.
    pub batch: Option<String>,
    /// Directory of messages that were not acknowledged yet.
    pub spool_dir: PathBuf,
    /// Bytes of waiting messages at which the agent stops fetching samples from the server.
    pub spool_limit: u64,
    /// Longest time that a sample waits for its message.
    pub flush_interval: Duration,
    /// Where samples come from.
    pub opcua: OpcUa,
    /// The witness that runs beside the capture.
    pub witness: Option<WitnessSettings>,
}

/// Settings of the OPC UA subscription.
#[derive(Debug, Clone)]
pub struct OpcUa {
    /// Address of the server, `opc.tcp://host:port/path`.
    pub endpoint: String,
    /// Account at the server; without one the session is anonymous.
    pub account: Option<Account>,
    /// Publishing interval asked for.
    pub publishing_interval: Duration,
    /// Sampling interval asked for; zero is the fastest that the server has.
    pub sampling_interval: Duration,
    /// Queue asked for at the server, samples a tag.
    pub queue_size: u32,
    /// What is captured.
    pub tags: Vec<TagAddress>,
}

/// An account at the OPC UA server.
#[derive(Debug, Clone)]
pub struct Account {
    /// Name of the account.
    pub user: String,
    /// File with its password.
    pub password_file: PathBuf,
}

/// A tag and where it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagAddress {
    /// Name of the tag in the record.
    pub name: String,
    /// Node of the OPC UA server.
    pub node: NodeAddress,
}

/// What is wrong with the settings, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not readable.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no TOML, or holds an unknown, missing or ill-typed key.
    #[error("{path} is not a configuration: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Place and reason.
        message: String,
    },
    /// Samples would cross a network in the clear.
    #[error("api_url {0} must be https: http is accepted to 127.0.0.0/8, [::1] and localhost only")]
    Unencrypted(Url),
    /// The URL of the API says more than scheme, host and port.
    #[error("api_url {0:?} must be https://host or https://host:port, without account, path and query")]
    ApiUrl(String),
    /// The OPC UA endpoint is of another protocol.
    #[error("opcua.endpoint {0:?} must be opc.tcp://host:port/path")]
    Endpoint(String),
    /// A key identifier that cannot stand in a signature.
    #[error("key_id must have 1 to 64 letters, digits, '_', '-' and '.'")]
    KeyId,
    /// A number outside its range.
    #[error("{key} is {value}: it must be from {least} to {most}")]
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
    /// Nothing to capture.
    #[error("opcua.tags is empty: name at least one tag")]
    NoTags,
    /// A tag without a name, or a batch number without text.
    #[error("{0} must not be empty")]
    EmptyText(&'static str),
    /// Two tags of one name, or one node captured twice.
    #[error("tags {first:?} and {second:?} are the same {what}: each tag and each node appears once")]
    Duplicate {
        /// `name` or `node_id`.
        what: &'static str,
        /// Name of the earlier tag.
        first: String,
        /// Name of the later tag.
        second: String,
    },
    /// A node that is not addressed by namespace URI.
    #[error("tag {tag:?}: {source}")]
    Node {
        /// Name of the tag.
        tag: String,
        /// What is wrong with the address.
        source: NodeAddressError,
    },
    /// The witness's part.
    #[error(transparent)]
    Witness(#[from] WitnessSettingsError),
    /// A command about the witness, and a configuration without one.
    #[error("{path} has no table [witness]")]
    NoWitness {
        /// The file.
        path: PathBuf,
    },
    /// An account without a password file, or the reverse.
    #[error("opcua.user and opcua.password_file go together: give both or neither")]
    Account,
    /// Others can read the secret.
    #[error("{path} has mode {mode:04o}: others could use the secret in it; run chmod 600 {path}")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The secret is under another user's control.
    #[error("{path} belongs to user {owner}, the agent runs as user {user}: the secret must be its own")]
    Owner {
        /// The file.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who runs the agent.
        user: u32,
    },
    /// Not a file, or not a secret. What it holds is not repeated.
    #[error("{path} must be a file with the device secret as 64 hexadecimal digits, and nothing else")]
    Secret {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    api_url: String,
    device_id: Uuid,
    key_id: String,
    secret_file: PathBuf,
    batch: Option<String>,
    spool_dir: PathBuf,
    #[serde(default = "defaults::spool_limit_mib")]
    spool_limit_mib: u64,
    #[serde(default = "defaults::flush_interval_ms")]
    flush_interval_ms: u64,
    opcua: OpcUaTable,
    witness: Option<settings::Table>,
}

/// What a witness alone needs of a configuration.
#[derive(Deserialize)]
struct WitnessDocument {
    api_url: String,
    witness: Option<settings::Table>,
    /// The rest belongs to the capture.
    #[serde(flatten)]
    _others: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpcUaTable {
    endpoint: String,
    user: Option<String>,
    password_file: Option<PathBuf>,
    #[serde(default = "defaults::publishing_interval_ms")]
    publishing_interval_ms: u64,
    #[serde(default)]
    sampling_interval_ms: u64,
    #[serde(default = "defaults::queue_size")]
    queue_size: u64,
    tags: Vec<TagTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TagTable {
    name: String,
    node_id: String,
}

mod defaults {
    pub(super) fn spool_limit_mib() -> u64 {
        1024
    }
    pub(super) fn flush_interval_ms() -> u64 {
        1_000
    }
    pub(super) fn publishing_interval_ms() -> u64 {
        100
    }
    pub(super) fn queue_size() -> u64 {
        10_000
    }
}

impl Config {
    /// Reads and checks a configuration file. Paths in it are relative to its directory.
    ///
    /// # Errors
    /// The first thing that is wrong with it; see [`ConfigError`].
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        Config::check(read_document(path)?, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads and checks the witness's part of a configuration file, in which the capture's part may be missing.
    ///
    /// # Errors
    /// As for [`Config::load`], and when there is no such part.
    pub fn load_witness(path: &Path) -> Result<WitnessSettings, ConfigError> {
        let document: WitnessDocument = read_document(path)?;
        let table = document.witness.ok_or_else(|| ConfigError::NoWitness {
            path: path.to_owned(),
        })?;
        let api_url = check_api_url(&document.api_url)?;
        Ok(table.check(api_url, path.parent().unwrap_or(Path::new("")))?)
    }

    fn check(document: Document, base: &Path) -> Result<Config, ConfigError> {
        let api_url = check_api_url(&document.api_url)?;
        if !is_key_id(&document.key_id) {
            return Err(ConfigError::KeyId);
        }
        if document
            .batch
            .as_deref()
            .is_some_and(|batch| batch.trim().is_empty())
        {
            return Err(ConfigError::EmptyText("batch"));
        }
        let range = |key, value, least, most| {
            if (least..=most).contains(&value) {
                return Ok(value);
            }
            Err(ConfigError::Range {
                key,
                value,
                least,
                most,
            })
        };
        let spool_limit = range("spool_limit_mib", document.spool_limit_mib, 1, 1 << 20)? << 20;
        let flush = range("flush_interval_ms", document.flush_interval_ms, 10, 60_000)?;

        let opcua = document.opcua;
        let host = opcua.endpoint.strip_prefix("opc.tcp://").unwrap_or("");
        if host.is_empty() || host.starts_with(['/', ':']) || host.contains(char::is_whitespace) {
            return Err(ConfigError::Endpoint(opcua.endpoint));
        }
        let account = match (opcua.user, opcua.password_file) {
            (Some(user), Some(file)) => Some(Account {
                user,
                password_file: base.join(file),
            }),
            (None, None) => None,
            _ => return Err(ConfigError::Account),
        };
        let publishing = range(
            "opcua.publishing_interval_ms",
            opcua.publishing_interval_ms,
            1,
            60_000,
        )?;
        let sampling = range(
            "opcua.sampling_interval_ms",
            opcua.sampling_interval_ms,
            0,
            3_600_000,
        )?;
        let queue_size = range("opcua.queue_size", opcua.queue_size, 1, u64::from(u32::MAX))?;

        let witness = document
            .witness
            .map(|table| table.check(api_url.clone(), base))
            .transpose()?;
        Ok(Config {
            api_url,
            device_id: document.device_id,
            key_id: document.key_id,
            secret_file: base.join(document.secret_file),
            batch: document.batch,
            spool_dir: base.join(document.spool_dir),
            spool_limit,
            flush_interval: Duration::from_millis(flush),
            opcua: OpcUa {
                endpoint: opcua.endpoint,
                account,
                publishing_interval: Duration::from_millis(publishing),
                sampling_interval: Duration::from_millis(sampling),
                queue_size: queue_size as u32,
                tags: check_tags(opcua.tags)?,
            },
            witness,
        })
    }

    /// Reads the device secret.
    ///
    /// # Errors
    /// When the file is not a regular file of the agent's own user with mode 0600, or when its content is no
    /// secret.
    pub fn secret(&self) -> Result<Secret, ConfigError> {
        let path = &self.secret_file;
        let text = read_private(path)?;
        let malformed = || ConfigError::Secret { path: path.clone() };
        let mut secret = Secret::default();
        hex::decode_to_slice(text.trim_end(), secret.as_mut_slice()).map_err(|_| malformed())?;
        Ok(secret)
    }
}

impl Account {
    /// Reads the password of the account.
    ///
    /// # Errors
    /// When the file is not a regular file of the agent's own user with mode 0600.
    pub fn password(&self) -> Result<Zeroizing<String>, ConfigError> {
        let text = read_private(&self.password_file)?;
        Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn read_document<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })
}

/// Reads a small file that nobody else may read. Mode and owner are those of the opened file, so that
/// it cannot be exchanged between the check and the reading.
fn read_private(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let unreadable = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(ConfigError::Secret {
            path: path.to_owned(),
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & !0o600 != 0 {
        return Err(ConfigError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(ConfigError::Owner {
            path: path.to_owned(),
            owner: metadata.uid(),
            user,
        });
    }
    let mut text = Zeroizing::new(String::with_capacity(1024));
    file.take(1024).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn check_api_url(text: &str) -> Result<Url, ConfigError> {
    let malformed = || ConfigError::ApiUrl(text.to_owned());
    let url = Url::parse(text).map_err(|_| malformed())?;
    let bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !bare || url.host_str().is_none() {
        return Err(malformed());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(ConfigError::Unencrypted(url)),
        _ => Err(malformed()),
    }
}

fn is_key_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

fn check_tags(tables: Vec<TagTable>) -> Result<Vec<TagAddress>, ConfigError> {
    if tables.is_empty() {
        return Err(ConfigError::NoTags);
    }
    let mut tags: Vec<TagAddress> = Vec::with_capacity(tables.len());
    for table in tables {
        if table.name.trim().is_empty() {
            return Err(ConfigError::EmptyText("the name of a tag"));
        }
        let node = table.node_id.parse().map_err(|source| ConfigError::Node {
            tag: table.name.clone(),
            source,
        })?;
        for earlier in &tags {
            let what = match () {
                () if earlier.name == table.name => "name",
                () if earlier.node == node => "node_id",
                () => continue,
            };
            return Err(ConfigError::Duplicate {
                what,
                first: earlier.name.clone(),
                second: table.name,
            });
        }
        tags.push(TagAddress {
            name: table.name,
            node,
        });
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const GOOD: &str = r#"
        api_url = "http://127.0.0.1:8480"
        device_id = "0194e7a2-4c1d-7000-8000-000000000001"
        key_id = "bcd_1"
        secret_file = "device.secret"
        spool_dir = "spool"
        [opcua]
        endpoint = "opc.tcp://127.0.0.1:4840/"
        tags = [{ name = "pH", node_id = "nsu=urn:plant;s=pH" }]
    "#;

    fn check(text: &str) -> Result<Config, String> {
        let document = toml::from_str(text).map_err(|error| error.to_string())?;
        Config::check(document, Path::new("/etc/edge")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_short_file_is_enough() {
        let config = check(GOOD).unwrap();
        assert_eq!(config.secret_file, Path::new("/etc/edge/device.secret"));
        assert_eq!(config.flush_interval, Duration::from_secs(1));
        assert_eq!(config.opcua.queue_size, 10_000);
        assert_eq!(config.batch, None);
    }

    #[test]
    fn wrong_settings_are_refused() {
        let cases = [
            ("key_id =", "secret = \"00\"\nkey_id =", "unknown field `secret`"),
            ("spool_dir = \"spool\"", "", "missing field `spool_dir`"),
            ("-000000000001", "", "UUID"),
            ("http://127.0.0.1:8480", "http://plant.example", "must be https"),
            (
                "http://127.0.0.1:8480",
                "http://127.0.0.1.example",
                "must be https",
            ),
            (
                "http://127.0.0.1:8480",
                "https://api.example/v1",
                "without account, path",
            ),
            (
                "http://127.0.0.1:8480",
                "https://me:pw@api.example",
                "without account, path",
            ),
            ("http://127.0.0.1:8480", "ftp://127.0.0.1", "must be https"),
            ("bcd_1", "bcd 1", "key_id must have"),
            ("opc.tcp://127.0.0.1:4840/", "http://127.0.0.1", "must be opc.tcp"),
            ("spool_dir", "batch = \" \"\nspool_dir", "batch must not be empty"),
            (
                "spool_dir",
                "flush_interval_ms = 0\nspool_dir",
                "from 10 to 60000",
            ),
            ("endpoint", "queue_size = 0\nendpoint", "from 1 to"),
            ("endpoint", "user = \"reader\"\nendpoint", "go together"),
            ("nsu=urn:plant;s=pH", "ns=2;s=pH", "namespace URI"),
            (
                "[{ name = \"pH\", node_id = \"nsu=urn:plant;s=pH\" }]",
                "[]",
                "tags is empty",
            ),
            (
                "[{",
                "[{ name = \"pH\", node_id = \"nsu=urn:plant;s=T\" }, {",
                "the same name",
            ),
            (
                "[{",
                "[{ name = \"T\", node_id = \"nsu=urn:plant;s=pH\" }, {",
                "the same node_id",
            ),
        ];
        for (from, to, expected) in cases {
            let error = check(&GOOD.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(expected), "{to:?}: {error}");
        }
    }

    #[test]
    fn https_goes_anywhere_and_http_stays_here() {
        for url in [
            "https://api.example",
            "http://localhost:1",
            "http://[::1]:8480",
            "http://127.1.2.3",
        ] {
            assert!(check_api_url(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn the_secret_is_one_users_own() {
        let directory = std::env::temp_dir().join(format!("bc-secret-{}", Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        let mut config = check(GOOD).unwrap();
        config.secret_file = directory.join("device.secret");
        let write = |text: &str, mode| {
            std::fs::write(&config.secret_file, text).unwrap();
            std::fs::set_permissions(&config.secret_file, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let digits = "0123456789abcdef".repeat(4);

        assert!(matches!(config.secret(), Err(ConfigError::Read { .. })));
        write(&format!("{digits}\n"), 0o600);
        assert_eq!(hex::encode(config.secret().unwrap().as_slice()), digits);
        for mode in [0o640, 0o604, 0o700, 0o4600] {
            write(&digits, mode);
            assert!(
                matches!(config.secret(), Err(ConfigError::Mode { .. })),
                "{mode:o}"
            );
        }
        for text in [
            "",
            "abc",
            &digits[1..],
            &format!("{digits}00"),
            &format!("x{}", &digits[1..]),
        ] {
            write(text, 0o600);
            let error = config.secret().unwrap_err().to_string();
            assert!(error.contains("64 hexadecimal digits"), "{error}");
            assert!(
                text.is_empty() || !error.contains(text),
                "the error repeats the secret"
            );
        }
        config.secret_file = directory.clone();
        assert!(matches!(
            config.secret(),
            Err(ConfigError::Secret { .. } | ConfigError::Read { .. })
        ));
        if rustix::process::geteuid().is_root() {
            config.secret_file = directory.join("foreign");
            std::fs::write(&config.secret_file, &digits).unwrap();
            std::fs::set_permissions(&config.secret_file, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(&config.secret_file, Some(65_534), None).unwrap();
            assert!(matches!(config.secret(), Err(ConfigError::Owner { .. })));
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
