//! `batchcortex-plant`: an OPC UA server that plays a batch.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use batchcortex_edge::plant::recording::{Channel, Recording};
use batchcortex_edge::plant::replay::{self, Pace};
use batchcortex_edge::plant::server::{Access, Plant};
use batchcortex_edge::plant::{NAMESPACE_URI, model};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// An OPC UA server that plays a batch, recorded or modelled.
///
/// The server shows one object, Bioreactor, with one read-only Double variable a tag, in the namespace
/// urn:batchcortex:plant. Node ids are the tag names: nsu=urn:batchcortex:plant;s=pH. Each row of the
/// batch sets every variable once; its source time is the time of the row, placed so that the batch ends
/// when the plant starts.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  # play a recorded batch, 25 ms a row, once a client monitors every tag; stay up afterwards
  batchcortex-plant --listen 127.0.0.1:4840 --csv batch_101.csv --wait-for-subscriber --hold

  # play the built-in fermentation: 48 hours, a row each 6 minutes
  batchcortex-plant --duration-h 48 --step-h 0.1

  # what would be played: one JSON object a tag
  batchcortex-plant --csv batch_101.csv --list-tags

CSV: row 1 names the columns, row 2 gives their units, every further row holds numbers.
The column time_h is the time in hours and no tag."
)]
struct Arguments {
    /// Loopback address and port to serve on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4840")]
    listen: SocketAddr,

    /// Recorded batch to play
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "duration_h", "step_h", "seed"])]
    csv: Option<PathBuf>,

    /// Model to play when there is no recording
    #[arg(long, value_enum, default_value_t = Model::FedBatch)]
    model: Model,

    /// Length of the modelled batch, hours
    #[arg(long, value_name = "HOURS", default_value_t = model::Settings::default().duration_h)]
    duration_h: f64,

    /// Time between two rows of the modelled batch, hours
    #[arg(long, value_name = "HOURS", default_value_t = model::Settings::default().step_h)]
    step_h: f64,

    /// Seed of the modelled sensor noise
    #[arg(long, default_value_t = model::Settings::default().seed)]
    seed: u64,

    /// Time between two rows of the replay; 0 plays as fast as the server takes them
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 25)]
    interval_ms: u64,

    /// Hold at row 1 until a client monitors every tag
    #[arg(long)]
    wait_for_subscriber: bool,

    /// File that tells how far the replay is, as JSON, replaced in one step
    #[arg(long, value_name = "FILE")]
    status: Option<PathBuf>,

    /// Stay up after the last row until SIGTERM
    #[arg(long)]
    hold: bool,

    /// Ask for this account instead of serving everyone; its password is the content of --password-file
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,

    /// File with the password of --user
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,

    /// Print the tags as JSON, one a line, and play nothing
    #[arg(long)]
    list_tags: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Model {
    /// A fed-batch fermentation with ten tags
    FedBatch,
}

impl Arguments {
    fn recording(&self) -> Result<Recording> {
        if let Some(path) = &self.csv {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            return Recording::from_csv(file)
                .with_context(|| format!("{} is no recorded batch", path.display()));
        }
        let Model::FedBatch = self.model;
        Ok(model::fed_batch(model::Settings {
            duration_h: self.duration_h,
            step_h: self.step_h,
            seed: self.seed,
        })?)
    }

    fn access(&self) -> Result<Access> {
        let (Some(user), Some(file)) = (&self.user, &self.password_file) else {
            return Ok(Access::Anonymous);
        };
        let password = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the password file {}", file.display()))?;
        Ok(Access::Account {
            user: user.clone(),
            password: password.trim_end().to_owned(),
        })
    }
}

fn list(channels: &[Channel]) {
    for Channel { name, unit } in channels {
        let tag = serde_json::json!({
            "name": name,
            "unit": unit,
            "data_type": "Double",
            "node_id": format!("nsu={NAMESPACE_URI};s={name}"),
        });
        println!("{tag}");
    }
}

async fn serve(arguments: Arguments) -> Result<()> {
    let recording = arguments.recording()?;
    if arguments.list_tags {
        list(recording.channels());
        return Ok(());
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let plant = Plant::start(arguments.listen, &recording, &arguments.access()?).await?;
    println!(
        "{} serves {} tags, {} rows",
        plant.endpoint(),
        recording.channels().len(),
        recording.rows().len()
    );
    let pace = Pace {
        interval: Duration::from_millis(arguments.interval_ms),
        wait_for_subscriber: arguments.wait_for_subscriber,
    };
    let play = async {
        let report = replay::play(&plant, &recording, pace, arguments.status.as_deref()).await?;
        println!(
            "played {} rows of {} tags: {} samples",
            report.row, report.tags, report.samples_emitted
        );
        if arguments.hold {
            std::future::pending::<()>().await;
        }
        // Subscribers fetch what is still queued for them.
        tokio::time::sleep(Duration::from_secs(2)).await;
        anyhow::Ok(())
    };
    let ended = tokio::select! {
        ended = play => ended,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    plant.stop().await;
    ended
}

/// Warnings, except those about the certificate that a server without encryption does not have.
const QUIET: &str = "warn,opcua_server::server=error,opcua_crypto::certificate_store=off,\
    opcua_core::comms::secure_channel=off";

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("BATCHCORTEX_LOG").unwrap_or_else(|_| EnvFilter::new(QUIET));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match serve(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("batchcortex-plant: {}", batchcortex_edge::explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
