//! A private PostgreSQL with the extension, one a test.

use std::collections::HashMap;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio_postgres::{Client, NoTls};

use crate::{root, until};

/// A cluster of its own that `scripts/cluster` makes below `.run/e2e/` and that is removed when this value is dropped.
#[derive(Debug)]
pub struct Cluster {
    instance: String,
}

impl Cluster {
    /// Makes a cluster with the extension created and migrated. The name must be unique among all tests.
    ///
    /// # Errors
    /// When nothing is built, or PostgreSQL does not start.
    pub fn start(name: &str) -> Result<Cluster> {
        let cluster = Cluster::place(name)?;
        cluster.resume()?;
        Ok(cluster)
    }

    /// A server alone, without a database of ours: what a dump is restored into.
    ///
    /// # Errors
    /// As for [`Cluster::start`].
    pub fn bare(name: &str) -> Result<Cluster> {
        let cluster = Cluster::place(name)?;
        cluster.serve()?;
        Ok(cluster)
    }

    /// A cluster whose pages carry no checksums.
    ///
    /// # Errors
    /// As for [`Cluster::start`].
    pub fn without_checksums(name: &str) -> Result<Cluster> {
        let cluster = Cluster::place(name)?;
        cluster.script_with("cluster", &[], &[("BATCHCORTEX_CHECKSUMS", "off")])?;
        Ok(cluster)
    }

    /// A cluster from a base backup of another; it is not started yet.
    ///
    /// # Errors
    /// When the backup fails.
    pub fn from_base_backup(name: &str, of: &Cluster, options: &[&str]) -> Result<Cluster> {
        let cluster = Cluster::place(name)?;
        let source = of.data()?;
        let data = source
            .parent()
            .context("a data directory lies in a directory")?
            .with_file_name(name)
            .join("pgdata");
        of.give(&data)?;
        std::fs::create_dir_all(cluster.run())?;
        let path = data.to_str().context("path")?;
        of.call_as_server("pg_basebackup", &[&["-D", path, "-c", "fast"], options].concat())?;
        if !cluster.run().join("pgdata").exists() {
            symlink(&data, cluster.run().join("pgdata"))?;
        }
        Ok(cluster)
    }

    /// A directory of that name inside the data directory, the server's own.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let directory = self.data()?.join(name);
        self.give(&directory)?;
        Ok(directory)
    }

    /// Gives this cluster the keys of another one, as whoever restores its records elsewhere does. The server is to be stopped.
    ///
    /// # Errors
    /// When the other cluster lacks one of them.
    pub fn take_keys_of(&self, other: &Cluster) -> Result<()> {
        let data = self.data()?;
        let owner = std::fs::metadata(&data)?;
        for name in ["pg_batchcortex.keys", "pg_batchcortex.checkpoint_keys"] {
            let to = data.join(name);
            std::fs::copy(other.data()?.join(name), &to)?;
            chown(&to, Some(owner.uid()), Some(owner.gid()))?;
        }
        Ok(())
    }

    fn give(&self, directory: &Path) -> Result<()> {
        let owner = std::fs::metadata(self.data()?)?;
        std::fs::create_dir_all(directory)?;
        std::fs::set_permissions(directory, Permissions::from_mode(0o700))?;
        Ok(chown(directory, Some(owner.uid()), Some(owner.gid()))?)
    }

    /// A cluster whose server lives at another time, such as `-2600d`; [`Cluster::resume`] after [`Cluster::stop`] brings it to today.
    ///
    /// # Errors
    /// As for [`Cluster::start`], and when libfaketime is missing.
    pub fn at_another_time(name: &str, offset: &str) -> Result<Cluster> {
        let cluster = Cluster::place(name)?;
        cluster.script_with("cluster", &[], &[("BATCHCORTEX_CLOCK", offset)])?;
        Ok(cluster)
    }

    fn place(name: &str) -> Result<Cluster> {
        let cluster = Cluster {
            instance: format!("e2e/{name}"),
        };
        // An earlier run may have been ended before it could tidy up.
        cluster.script("stop", &["--remove"])?;
        Ok(cluster)
    }

    /// Starts the server without looking at what databases it holds; does nothing when it runs.
    ///
    /// # Errors
    /// When PostgreSQL does not start.
    pub fn serve(&self) -> Result<()> {
        self.script("cluster", &["--bare"])
    }

    /// Stops the server.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(&self) -> Result<()> {
        self.script("stop", &[])
    }

    /// Adds lines to `postgresql.auto.conf`, where they count from the next start on.
    ///
    /// # Errors
    /// When there is no data directory.
    pub fn configure(&self, lines: &str) -> Result<()> {
        let file = self.data()?.join("postgresql.auto.conf");
        let mut file = std::fs::File::options().append(true).open(file)?;
        Ok(file.write_all(lines.as_bytes())?)
    }

    /// The data directory.
    ///
    /// # Errors
    /// When there is none.
    pub fn data(&self) -> Result<PathBuf> {
        let data = self.run().join("pgdata");
        data.canonicalize()
            .with_context(|| format!("{} does not exist", data.display()))
    }

    /// Runs one of PostgreSQL's client programs (`pg_dump`, `psql`) against the server; returns what it printed.
    ///
    /// # Errors
    /// With what it complained of, when it fails.
    pub fn call(&self, program: &str, arguments: &[&str]) -> Result<String> {
        finish(program, self.program(program)?.args(arguments))
    }

    /// The same as the server's user, which owns the data directories.
    ///
    /// # Errors
    /// With what it complained of, when it fails.
    pub fn call_as_server(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let data = self.data()?;
        let owner = std::fs::metadata(&data)?;
        let mut command = self.program(program)?;
        command.uid(owner.uid()).gid(owner.gid()).current_dir(data);
        finish(program, command.args(arguments))
    }

    fn program(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(self.programs()?.join(program));
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .envs(self.env()?)
            .current_dir("/");
        Ok(command)
    }

    /// Directory of PostgreSQL's programs: the private installation's.
    ///
    /// # Errors
    /// When nothing was started yet.
    pub fn programs(&self) -> Result<PathBuf> {
        let found = std::fs::read_to_string(self.data()?.join("postmaster.opts"))?;
        let server = found
            .split_whitespace()
            .next()
            .context("postmaster.opts is empty")?;
        let folder = PathBuf::from(server.trim_matches('"'));
        Ok(folder
            .parent()
            .context("the server lies in a directory")?
            .to_path_buf())
    }

    /// Starts the server again after a crash; does nothing when it runs.
    ///
    /// # Errors
    /// When PostgreSQL does not start.
    pub fn resume(&self) -> Result<()> {
        self.script("cluster", &[])
    }

    /// Stops the server and starts it behind broken glass: append-only is not enforced, and the logs tell why.
    ///
    /// # Errors
    /// When PostgreSQL does not start.
    pub async fn break_glass(&self, reason: &str) -> Result<()> {
        self.signal("INT").await?;
        self.script_with("cluster", &[], &[("BATCHCORTEX_BREAK_GLASS", reason)])
    }

    /// Directory of this instance: logs, secrets, status files.
    pub fn run(&self) -> PathBuf {
        root().join(".run").join(&self.instance)
    }

    /// File that holds the URL of the API's database login.
    pub fn database_url_file(&self) -> PathBuf {
        self.run().join("secrets/database-url")
    }

    /// A connection as superuser.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn superuser(&self) -> Result<Client> {
        self.superuser_of("batchcortex").await
    }

    /// A connection by another login that the server lets in, over the same socket.
    ///
    /// # Errors
    /// When the server does not answer, or there is no such login.
    pub async fn login(&self, name: &str) -> Result<Client> {
        let mut config = self.socket("batchcortex")?;
        self.connect(config.user(name).to_owned()).await
    }

    /// A connection as superuser to another database.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn superuser_of(&self, database: &str) -> Result<Client> {
        self.connect(self.socket(database)?).await
    }

    fn socket(&self, database: &str) -> Result<tokio_postgres::Config> {
        let env = self.env()?;
        let setting = |name: &str| {
            env.get(name)
                .cloned()
                .with_context(|| format!("no {name} in .run/env"))
        };
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(setting("PGHOST")?)
            .port(setting("PGPORT")?.parse()?)
            .dbname(database)
            .user(setting("PGUSER")?);
        Ok(config)
    }

    /// A connection as the API's login, as a stolen API process would have it.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn service(&self) -> Result<Client> {
        let url = std::fs::read_to_string(self.database_url_file())?;
        self.connect(url.trim().parse()?).await
    }

    async fn connect(&self, config: tokio_postgres::Config) -> Result<Client> {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Sends the postmaster a signal and waits until it is gone: `KILL` is a crash of the server, `QUIT` what
    /// `pg_ctl stop -m immediate` does.
    ///
    /// # Errors
    /// When the server does not run, or survives.
    pub async fn signal(&self, signal: &str) -> Result<()> {
        let client = self.superuser().await?;
        let data: String = client.query_one("show data_directory", &[]).await?.get(0);
        let file = std::fs::read_to_string(PathBuf::from(data).join("postmaster.pid"))?;
        let pid = file.lines().next().context("postmaster.pid is empty")?.to_owned();
        drop(client);
        if !Command::new("kill")
            .args(["-s", signal, &pid])
            .status()?
            .success()
        {
            bail!("cannot signal the postmaster");
        }
        let process = PathBuf::from("/proc").join(&pid);
        until("the postmaster ends", Duration::from_secs(30), || async {
            Ok((!process.exists()).then_some(()))
        })
        .await
    }

    fn env(&self) -> Result<HashMap<String, String>> {
        let text = std::fs::read_to_string(self.run().join("env"))?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect())
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Result<()> {
        self.script_with(name, arguments, &[])
    }

    fn script_with(&self, name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
        let output = Command::new(root().join("scripts").join(name))
            .args(arguments)
            .env("BATCHCORTEX_INSTANCE", &self.instance)
            .envs(variables.iter().copied())
            .output()
            .with_context(|| format!("scripts/{name}"))?;
        if !output.status.success() {
            bail!("scripts/{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

fn finish(program: &str, command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| program.to_owned())?;
    if !output.status.success() {
        bail!(
            "{program}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A failed test leaves its cluster's log behind in the message of the failure, not on the disk.
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.run().join("pgdata/server.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
        if let Err(error) = self.script("stop", &["--remove"]) {
            eprintln!("{error:#}");
        }
    }
}
