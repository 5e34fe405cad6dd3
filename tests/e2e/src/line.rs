//! The whole line, from plant to database, each part a process that a test can end and start again.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::program::{Api, Plant, PlantStatus, Play, Program};
use crate::recording;
use crate::relay::Relay;
use crate::site::{Site, node_id};
use crate::until;

/// Number of the batch that a line plays.
pub const BATCH: &str = "LOT-1";

/// A running line with one batch. Parts end in the order of the fields: the agent first, the cluster last.
#[derive(Debug)]
pub struct Line {
    agent: Option<Program>,
    config: PathBuf,
    /// The equipment.
    pub plant: Plant,
    /// What the agent posts to.
    pub relay: Relay,
    /// The API.
    pub api: Option<Api>,
    /// The organisation that the batch belongs to.
    pub site: Site,
    /// The batch.
    pub batch: Uuid,
    /// PostgreSQL.
    pub cluster: Cluster,
}

impl Line {
    /// Builds the line up to a plant that waits, and starts the agent: the batch begins to play.
    ///
    /// # Errors
    /// When any part does not start.
    pub async fn start(name: &str, play: &Play, interval: Duration) -> Result<Line> {
        let cluster = Cluster::start(name)?;
        let api = Api::start(&cluster).await?;
        let site = Site::found(&cluster, &api.url(), name).await?;
        let batch = site.batch(BATCH).await?;
        let relay = Relay::start(&api.url()).await?;
        let device = site.device("edge", relay.url()).await?;
        let tags: Vec<(String, String)> = match play {
            Play::Model => Plant::model_tags()?,
            Play::Recording(file) => recording::columns(file)?
                .into_iter()
                .map(|c| (c.tag, c.unit))
                .collect(),
        };
        for (tag, unit) in &tags {
            site.tag(tag, "Double", unit).await?;
        }
        let plant = Plant::start(&cluster, play, interval).await?;

        let mut secret = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(cluster.run().join("secrets/device"))?;
        secret.write_all(hex::encode(&device.secret).as_bytes())?;

        let spool = cluster.run().join("spool");
        if spool.exists() {
            std::fs::remove_dir_all(&spool)?;
        }
        let config = cluster.run().join("edge.toml");
        let mut text = format!(
            "api_url = {:?}\ndevice_id = {:?}\nkey_id = {:?}\nsecret_file = \"secrets/device\"\nspool_dir = \"spool\"\n\
             batch = {BATCH:?}\nflush_interval_ms = 100\n[opcua]\nendpoint = {:?}\n",
            relay.url(),
            device.id.to_string(),
            device.key_id,
            plant.status()?.endpoint
        );
        for (tag, _) in &tags {
            writeln!(
                text,
                "[[opcua.tags]]\nname = {tag:?}\nnode_id = {:?}",
                node_id(tag)
            )?;
        }
        std::fs::write(&config, text)?;

        let mut line = Line {
            agent: None,
            config,
            plant,
            relay,
            api: Some(api),
            site,
            batch,
            cluster,
        };
        line.start_agent()?;
        Ok(line)
    }

    /// Starts the agent, as after a crash.
    ///
    /// # Errors
    /// When it was not built.
    pub fn start_agent(&mut self) -> Result<()> {
        let config = self.config.display().to_string();
        let log = self.cluster.run().join("edge.log");
        self.agent = Some(Program::start(
            "batchcortex-edge",
            &["run", "--config", &config],
            &[],
            &log,
        )?);
        Ok(())
    }

    /// Ends the agent without warning.
    ///
    /// # Errors
    /// When it had ended by itself.
    pub fn kill_agent(&mut self) -> Result<()> {
        self.agent.take().map_or(Ok(()), Program::kill)
    }

    /// Ends the API without warning and starts it again where it was.
    ///
    /// # Errors
    /// When it had ended by itself, or does not come back.
    pub async fn crash_api(&mut self, away: Duration) -> Result<()> {
        if let Some(api) = self.api.take() {
            let port = api.port();
            api.kill()?;
            tokio::time::sleep(away).await;
            self.api = Some(Api::start_on(&self.cluster, port).await?);
        }
        Ok(())
    }

    /// How many samples of the batch the database holds.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stored(&self) -> Result<u64> {
        let row = self
            .cluster
            .superuser()
            .await?
            .query_one(
                "select coalesce(sum(sample_count), 0)::bigint from batchcortex.sample_segment where batch_id = $1",
                &[&self.batch],
            )
            .await?;
        Ok(u64::try_from(row.get::<_, i64>(0))?)
    }

    /// Waits until the batch has been played and every sample of it is stored.
    ///
    /// # Errors
    /// When samples are missing a minute after the plant was done, or when there are too many.
    pub async fn complete(&self) -> Result<PlantStatus> {
        let status = self.plant.row(u64::MAX).await?;
        until("every sample is stored", Duration::from_secs(60), || async {
            let stored = self.stored().await?;
            ensure!(
                stored >= status.samples_emitted,
                "{stored} of {} samples",
                status.samples_emitted
            );
            Ok(Some(()))
        })
        .await?;
        let stored = self.stored().await?;
        ensure!(
            stored == status.samples_emitted,
            "{stored} samples stored, {} emitted",
            status.samples_emitted
        );
        Ok(status)
    }

    /// What `verify()` finds, one line a finding; sealed first, so that the tree covers every record.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn findings(&self) -> Result<Vec<String>> {
        findings(&self.cluster).await
    }
}

/// What `verify()` finds in a cluster, one line a finding: code, relation, record.
///
/// # Errors
/// When the database does not answer.
pub async fn findings(cluster: &Cluster) -> Result<Vec<String>> {
    findings_of(&cluster.superuser().await?).await
}

/// The same for a database.
///
/// # Errors
/// When the database does not answer.
pub async fn findings_of(database: &tokio_postgres::Client) -> Result<Vec<String>> {
    database.query_one("select batchcortex.seal()", &[]).await?;
    let rows = database
        .query(
            "select code, relation, record from batchcortex.verify() order by 1, 2, 3",
            &[],
        )
        .await?;
    let part = |row: &tokio_postgres::Row, i: usize| row.get::<_, Option<String>>(i).unwrap_or_default();
    Ok(rows
        .iter()
        .map(|row| format!("{} {} {}", part(row, 0), part(row, 1), part(row, 2)))
        .collect())
}
