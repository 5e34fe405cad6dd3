//! The built programs as child processes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::cluster::Cluster;
use crate::http::client;
use crate::site::text;
use crate::{free_port, until};

/// A child process, killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
}

impl Program {
    /// Starts a built program; its output goes to a file, at the end of what is there.
    ///
    /// # Errors
    /// When it was not built.
    pub fn start(name: &str, arguments: &[&str], variables: &[(&str, &str)], log: &Path) -> Result<Program> {
        let file = binary(name)?;
        let log = File::options().create(true).append(true).open(log)?;
        let child = Command::new(file)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Program { child })
    }

    /// Ends the process as a crash of the machine would: no signal that it could handle.
    ///
    /// # Errors
    /// When it had ended by itself before.
    pub fn kill(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the process had ended by itself: {status}");
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the process to end (SIGTERM) and returns whether it ended well.
    ///
    /// # Errors
    /// When it does not end within 30 s.
    pub async fn stop(mut self) -> Result<bool> {
        Command::new("kill")
            .args(["-s", "TERM", &self.child.id().to_string()])
            .status()?;
        for _ in 0..300 {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("the process does not end on SIGTERM");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program as `scripts/build` left it, beside the test program itself.
///
/// # Errors
/// When it was not built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).context("a test program lies in deps/")?;
    let file = folder.join(name);
    if !file.exists() {
        bail!("{name} is not built: run `make build` first, and the tests with --release");
    }
    Ok(file)
}

/// The API, listening on a port of its own.
#[derive(Debug)]
pub struct Api {
    program: Program,
    port: u16,
}

impl Api {
    /// Starts the API against a cluster and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(cluster: &Cluster) -> Result<Api> {
        Self::start_on(cluster, free_port()?).await
    }

    /// The same on a port that is given, as after a crash.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_on(cluster: &Cluster, port: u16) -> Result<Api> {
        let listen = format!("127.0.0.1:{port}");
        let url = cluster.database_url_file();
        let variables = [
            ("BATCHCORTEX_LISTEN", listen.as_str()),
            ("BATCHCORTEX_DATABASE_URL_FILE", url.to_str().context("path")?),
        ];
        let program = Program::start("batchcortex-api", &[], &variables, &cluster.run().join("api.log"))?;
        let api = Api { program, port };
        api.ready().await?;
        Ok(api)
    }

    /// Waits until `/v1/health/ready` says yes.
    ///
    /// # Errors
    /// When it does not within 30 s.
    pub async fn ready(&self) -> Result<()> {
        let url = format!("{}/v1/health/ready", self.url());
        until("the API is ready", Duration::from_secs(30), || async {
            Ok(client()
                .get(&url)
                .send()
                .await?
                .status()
                .is_success()
                .then_some(()))
        })
        .await
    }

    /// Its address, such as `http://127.0.0.1:8480`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it without warning.
    ///
    /// # Errors
    /// When it had ended by itself.
    pub fn kill(self) -> Result<()> {
        self.program.kill()
    }
}

/// What a plant plays.
#[derive(Debug, Clone)]
pub enum Play {
    /// The built-in fermentation.
    Model,
    /// A recorded batch.
    Recording(PathBuf),
}

/// What the plant reports of itself.
#[derive(Debug, Clone, Deserialize)]
pub struct PlantStatus {
    /// Address of the OPC UA server.
    pub endpoint: String,
    /// Rows of the batch.
    pub rows: u64,
    /// Rows played so far.
    pub row: u64,
    /// Tags of the bioreactor.
    pub tags: u64,
    /// Values written so far.
    pub samples_emitted: u64,
    /// Whether the batch has been played.
    pub done: bool,
    /// Source time of the last row: 100 ns since 1601-01-01 UTC.
    pub last_source_ticks: i64,
}

/// The plant: a real OPC UA server that plays a batch once all tags are monitored.
#[derive(Debug)]
pub struct Plant {
    _program: Program,
    status: PathBuf,
}

impl Plant {
    /// Starts a plant and waits until it listens.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start(cluster: &Cluster, play: &Play, interval: Duration) -> Result<Plant> {
        let status = cluster.run().join("plant-status.json");
        let _ = std::fs::remove_file(&status);
        let interval = interval.as_millis().to_string();
        let status_text = status.to_str().context("path")?;
        let mut arguments = vec![
            "--listen",
            "127.0.0.1:0",
            "--interval-ms",
            &interval,
            "--status",
            status_text,
        ];
        arguments.extend(["--wait-for-subscriber", "--hold"]);
        if let Play::Recording(file) = play {
            arguments.extend(["--csv", file.to_str().context("path")?]);
        }
        let program = Program::start(
            "batchcortex-plant",
            &arguments,
            // It is killed in the end and cannot clear up.
            &[("TMPDIR", cluster.run().to_str().context("path")?)],
            &cluster.run().join("plant.log"),
        )?;
        let plant = Plant {
            _program: program,
            status,
        };
        until("the plant listens", Duration::from_secs(30), || async {
            plant.status().map(Some)
        })
        .await?;
        Ok(plant)
    }

    /// Name and unit of each tag of the built-in fermentation.
    ///
    /// # Errors
    /// When the plant was not built.
    pub fn model_tags() -> Result<Vec<(String, String)>> {
        let output = Command::new(binary("batchcortex-plant")?)
            .arg("--list-tags")
            .output()?;
        let lines = std::str::from_utf8(&output.stdout)?.lines();
        lines
            .map(|line| {
                let tag: serde_json::Value = serde_json::from_str(line)?;
                Ok((text(&tag, "name")?.to_owned(), text(&tag, "unit")?.to_owned()))
            })
            .collect()
    }

    /// How far it is.
    ///
    /// # Errors
    /// When there is no report yet.
    pub fn status(&self) -> Result<PlantStatus> {
        Ok(serde_json::from_slice(&std::fs::read(&self.status)?)?)
    }

    /// Waits until the plant has played at least this many rows.
    ///
    /// # Errors
    /// When it has not within two minutes.
    pub async fn row(&self, row: u64) -> Result<PlantStatus> {
        until("the plant plays", Duration::from_secs(120), || async {
            Ok(self
                .status()
                .ok()
                .filter(|status| status.row >= row || status.done))
        })
        .await
    }
}
