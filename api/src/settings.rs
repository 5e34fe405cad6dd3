//! Settings, from the environment or the command line, and the connection to the database that they name.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use zeroize::Zeroizing;

/// Settings of the service. Each has an environment variable; the database URL has nothing else, because the arguments of a
/// process can be read by everyone on the machine.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Address and port to listen on. Plain HTTP: leave it on loopback behind a reverse proxy that speaks TLS.
    #[arg(
        long,
        env = "BATCHCORTEX_LISTEN",
        default_value = "127.0.0.1:8480",
        value_name = "ADDRESS:PORT"
    )]
    pub listen: SocketAddr,

    /// File that holds the database URL, such as a mounted secret.
    #[arg(long, env = "BATCHCORTEX_DATABASE_URL_FILE", value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,

    /// Connections to the database.
    #[arg(long, env = "BATCHCORTEX_POOL_SIZE", default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub pool_size: u16,

    /// Passwords that are handed to the database at once, half the connections at most; more wait for their turn, 20 s.
    #[arg(long, env = "BATCHCORTEX_MAX_PROOFS", default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub max_proofs: u16,

    /// Seconds that one statement may take in the database.
    #[arg(long, env = "BATCHCORTEX_STATEMENT_TIMEOUT", default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub statement_timeout: u16,

    /// Networks of reverse proxies whose X-Forwarded-For is believed, with commas between them; none by default.
    #[arg(long, env = "BATCHCORTEX_TRUSTED_PROXIES", value_delimiter = ',', value_parser = network, value_name = "CIDR,…")]
    pub trusted_proxies: Vec<IpNet>,

    /// Open client connections; more wait in the kernel's queue.
    #[arg(long, env = "BATCHCORTEX_MAX_CONNECTIONS", default_value_t = 1024, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub max_connections: u16,

    /// Requests in progress; more are answered 503 at once. Those that carry a password are counted by themselves, so that
    /// people who wait for their turn take nobody's place.
    #[arg(long, env = "BATCHCORTEX_MAX_REQUESTS", default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub max_requests: u16,

    /// Ingest requests in progress, each with a body of up to 8 MiB; more are answered 503 at once.
    #[arg(long, env = "BATCHCORTEX_MAX_INGESTS", default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub max_ingests: u16,

    /// Seconds that requests in progress get to finish after SIGTERM.
    #[arg(
        long,
        env = "BATCHCORTEX_DRAIN_SECONDS",
        default_value_t = 30,
        value_name = "SECONDS"
    )]
    pub drain_seconds: u16,

    /// How much goes to the log: error, warn, info (a line for each request) or off.
    #[arg(long, env = "BATCHCORTEX_LOG", default_value = "info", value_name = "LEVEL")]
    pub log: tracing_subscriber::filter::LevelFilter,
}

impl Settings {
    /// Time that one statement may take in the database.
    pub fn statement_timeout(&self) -> Duration {
        Duration::from_secs(self.statement_timeout.into())
    }

    /// Time that requests in progress get to finish after SIGTERM.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds.into())
    }
}

/// A network, or a single address as the network of one.
fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| "expected an address or a network such as 10.0.0.0/8".to_owned())
}

/// Where the database is and who connects. Prints as nothing at all, because it may hold a password.
#[derive(Clone)]
pub struct DatabaseSettings(pub tokio_postgres::Config);

impl fmt::Debug for DatabaseSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseSettings(…)")
    }
}

/// Why the database settings cannot be used. None of the messages repeats a part of the URL.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Both the URL and the file are given.
    #[error("set BATCHCORTEX_DATABASE_URL or BATCHCORTEX_DATABASE_URL_FILE, not both")]
    TwoUrls,
    /// The file cannot be read.
    #[error("cannot read the file named by BATCHCORTEX_DATABASE_URL_FILE ({0})")]
    File(std::io::ErrorKind),
    /// The URL is none.
    #[error(
        "the database URL is not a connection string of PostgreSQL; expected postgres://user@host:port/database"
    )]
    Url,
    /// A variable of the PG family cannot be used.
    #[error("the variable {0} has no usable value")]
    Variable(&'static str),
    /// Nothing names a database.
    #[error(
        "no database: set BATCHCORTEX_DATABASE_URL, BATCHCORTEX_DATABASE_URL_FILE, or PGHOST and its family"
    )]
    Absent,
}

impl DatabaseSettings {
    /// Reads the URL from `BATCHCORTEX_DATABASE_URL` or the file, else `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`,
    /// `PGDATABASE`.
    ///
    /// # Errors
    ///
    /// [`SettingsError`], without any part of the URL.
    pub fn read(
        settings: &Settings,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let url = variable("BATCHCORTEX_DATABASE_URL")
            .filter(|url| !url.is_empty())
            .map(Zeroizing::new);
        let mut config = match (url, &settings.database_url_file) {
            (Some(_), Some(_)) => return Err(SettingsError::TwoUrls),
            (Some(url), None) => parse(&url)?,
            (None, Some(file)) => {
                let text =
                    std::fs::read_to_string(file).map_err(|error| SettingsError::File(error.kind()))?;
                parse(Zeroizing::new(text).trim())?
            }
            (None, None) => from_family(variable)?,
        };
        config.application_name("batchcortex-api");
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(5));
        }
        // A database host that vanished without a word must not hold a request for the kernel's quarter of an hour.
        config
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(Duration::from_secs(30));
        Ok(Self(config))
    }
}

fn parse(url: &str) -> Result<tokio_postgres::Config, SettingsError> {
    let config: tokio_postgres::Config = url.parse().map_err(|_| SettingsError::Url)?;
    if config.get_hosts().is_empty() {
        Err(SettingsError::Url)
    } else {
        Ok(config)
    }
}

/// The variables that libpq reads.
fn from_family(variable: impl Fn(&str) -> Option<String>) -> Result<tokio_postgres::Config, SettingsError> {
    let mut config = tokio_postgres::Config::new();
    let host = variable("PGHOST")
        .filter(|host| !host.is_empty())
        .ok_or(SettingsError::Absent)?;
    config.host(host);
    if let Some(port) = variable("PGPORT") {
        config.port(port.parse().map_err(|_| SettingsError::Variable("PGPORT"))?);
    }
    config.user(variable("PGUSER").ok_or(SettingsError::Variable("PGUSER"))?);
    if let Some(password) = variable("PGPASSWORD") {
        config.password(password);
    }
    if let Some(database) = variable("PGDATABASE") {
        config.dbname(database);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn settings(arguments: &[&str]) -> Settings {
        Line::parse_from(std::iter::once(&"batchcortex-api").chain(arguments)).settings
    }

    fn variables<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn it_listens_on_loopback_and_trusts_no_proxy_by_default() {
        let settings = settings(&[]);
        assert!(settings.listen.ip().is_loopback());
        assert!(settings.trusted_proxies.is_empty());
    }

    #[test]
    fn networks_are_read() {
        let settings = settings(&["--trusted-proxies", "10.0.0.0/8, 192.0.2.1,2001:db8::/32"]);
        let expected: Vec<IpNet> = ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        assert_eq!(settings.trusted_proxies, expected);
        assert!(Line::try_parse_from(["batchcortex-api", "--trusted-proxies", "proxy.example"]).is_err());
    }

    #[test]
    fn the_database_is_named_in_one_way() {
        let url = variables(&[
            (
                "BATCHCORTEX_DATABASE_URL",
                "postgres://api:pw@db.example:5433/plant",
            ),
            ("PGHOST", "other"),
        ]);
        let config = DatabaseSettings::read(&settings(&[]), url).unwrap().0;
        assert_eq!(
            (config.get_user(), config.get_dbname(), config.get_ports()),
            (Some("api"), Some("plant"), &[5433][..])
        );

        let family = variables(&[
            ("PGHOST", "/run/postgresql"),
            ("PGPORT", "5433"),
            ("PGUSER", "api"),
            ("PGDATABASE", "plant"),
        ]);
        let config = DatabaseSettings::read(&settings(&[]), family).unwrap().0;
        assert_eq!(
            (config.get_user(), config.get_ports()),
            (Some("api"), &[5433][..])
        );

        let both = variables(&[("BATCHCORTEX_DATABASE_URL", "postgres://a@b/c")]);
        assert!(matches!(
            DatabaseSettings::read(&settings(&["--database-url-file", "f"]), both),
            Err(SettingsError::TwoUrls)
        ));
        assert!(matches!(
            DatabaseSettings::read(&settings(&[]), variables(&[])),
            Err(SettingsError::Absent)
        ));
    }

    /// control: B9
    #[test]
    fn the_database_url_is_never_printed() {
        let url = "postgres://api:canary@db.example/plant";
        let read =
            DatabaseSettings::read(&settings(&[]), variables(&[("BATCHCORTEX_DATABASE_URL", url)])).unwrap();
        assert!(!format!("{read:?}").contains("canary"));
        for broken in [
            "postgres://api:canary@db.example:port/plant",
            "canary",
            "postgres://api:canary@h/d?canary=1",
        ] {
            let refused =
                DatabaseSettings::read(&settings(&[]), variables(&[("BATCHCORTEX_DATABASE_URL", broken)]));
            let refused = refused.unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("canary"), "{broken}");
        }
    }
}
