//! A customer's machine that witnesses: keys, configuration, the running agent, and what it leaves on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::program::{Program, binary};
use crate::{free_port, until};

/// A witness in a directory of its own.
#[derive(Debug)]
pub struct Witness {
    program: Option<Program>,
    directory: PathBuf,
    /// Its public key.
    pub key: String,
    /// Where it answers others.
    pub url: String,
}

impl Witness {
    /// Makes the keys and the configuration of a witness of that name and does not start it. `more` is added to the table `[witness]`.
    ///
    /// # Errors
    /// When the programs were not built.
    pub fn prepare(
        cluster: &Cluster,
        name: &str,
        api_url: &str,
        log_key: &str,
        more: &str,
    ) -> Result<Witness> {
        let directory = cluster.run().join(format!("witness-{name}"));
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        let made = Command::new(binary("batchcortex-keys")?)
            .args(["create", "witness", "--name", &format!("{name}.example")])
            .arg(directory.join("witness.keys"))
            .output()?;
        ensure!(made.status.success(), "{made:?}");
        let key = String::from_utf8(made.stdout)?.trim().to_owned();
        let port = free_port()?;
        // What the command is told goes to a file, a line an alarm.
        let script = directory.join("alarm.sh");
        fs::write(
            &script,
            "echo \"$BATCHCORTEX_ALARM_CODE $BATCHCORTEX_ALARM_LOG $BATCHCORTEX_ALARM_EVIDENCE\" >>\"$1\"\n",
        )?;
        let path = |file: &str| directory.join(file).display().to_string();
        fs::write(
            directory.join("witness.toml"),
            format!(
                "api_url = {api_url:?}\n[witness]\nkey_file = \"witness.keys\"\nstate_dir = \"state\"\nlog_keys = [{log_key:?}]\n\
                 interval_ms = 100\npatience_s = 2\nlisten = \"127.0.0.1:{port}\"\nalarm = [\"/bin/sh\", {:?}, {:?}]\n{more}\n",
                path("alarm.sh"),
                path("alarms"),
            ),
        )?;
        Ok(Witness {
            program: None,
            directory,
            key,
            url: format!("http://127.0.0.1:{port}"),
        })
    }

    /// Starts it, or starts it again.
    ///
    /// # Errors
    /// When it was not built.
    pub fn start(&mut self) -> Result<()> {
        let config = self.config();
        let log = self.directory.join("witness.log");
        self.program = Some(Program::start(
            "batchcortex-edge",
            &["witness", "run", "--config", &config],
            &[],
            &log,
        )?);
        Ok(())
    }

    /// Ends it without warning.
    ///
    /// # Errors
    /// When it had ended by itself.
    pub fn kill(&mut self) -> Result<()> {
        self.program.take().map_or(Ok(()), Program::kill)
    }

    /// What a person asks or tells it.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn command(&self, command: &str, more: &[&str]) -> Result<Output> {
        Ok(Command::new(binary("batchcortex-edge")?)
            .args(["witness", command, "--config", &self.config()])
            .args(more)
            .output()?)
    }

    /// How it stands, and whether it says so by its exit status.
    ///
    /// # Errors
    /// When it does not say.
    pub fn status(&self) -> Result<(bool, Value)> {
        let output = self.command("status", &[])?;
        let report = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{}", String::from_utf8_lossy(&output.stderr)))?;
        Ok((output.status.success(), report))
    }

    /// The size that it has cosigned last.
    ///
    /// # Errors
    /// When it does not say.
    pub fn size(&self) -> Result<u64> {
        self.status()?.1["logs"][0]["size"].as_u64().context("no size")
    }

    /// Lines that the alarm command was told: code, log, file of the evidence.
    pub fn alarms(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join("alarms")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for an alarm and returns its code and the evidence.
    ///
    /// # Errors
    /// When there is none within 30 s, or no evidence.
    pub async fn alarm(&self) -> Result<(String, Value)> {
        let line = until("an alarm", Duration::from_secs(30), || async {
            Ok(self.alarms().pop())
        })
        .await?;
        let mut parts = line.split(' ');
        let code = parts.next().context("no code")?.to_owned();
        let evidence = Path::new(parts.nth(1).context("no evidence")?);
        Ok((code, serde_json::from_slice(&fs::read(evidence)?)?))
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn config(&self) -> String {
        self.directory.join("witness.toml").display().to_string()
    }
}

/// The public key of the log of a cluster.
///
/// # Errors
/// When the server has none.
pub async fn log_key(cluster: &Cluster) -> Result<String> {
    let database = cluster.superuser().await?;
    let row = database
        .query_one("select k from batchcortex.checkpoint_keys() k limit 1", &[])
        .await?;
    Ok(row.get(0))
}
