//! A private PostgreSQL with the extension, one a test.

use std::collections::HashMap;
use std::path::PathBuf;
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
        let cluster = Cluster {
            instance: format!("e2e/{name}"),
        };
        // An earlier run may have been ended before it could tidy up.
        cluster.script("stop", &["--remove"])?;
        cluster.resume()?;
        Ok(cluster)
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
            .dbname(setting("PGDATABASE")?)
            .user(setting("PGUSER")?);
        self.connect(config).await
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
