//! `batchcortex-edge`: the agent beside the equipment.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use batchcortex_edge::agent::config::Config;
use batchcortex_edge::agent::session::Connection;
use batchcortex_edge::agent::{self, tags};
use batchcortex_edge::witness::accept;
use batchcortex_edge::witness::status::Report;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Reads tags of an OPC UA server and posts what it captured to the BatchCortex API.
///
/// The agent only reads: it has no path that writes to equipment or calls its methods. It opens connections
/// to the OPC UA server and to the API, and accepts none unless `witness.listen` says so. Each sample is on disk before the OPC UA server
/// may forget it, and stays there until the API has acknowledged it.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
A configuration (paths are relative to its directory):
  api_url = \"https://batch.example\"         # http only to loopback
  device_id = \"0194e7a2-4c1d-7000-8000-000000000001\"
  key_id = \"bcd_…\"                          # shown when the device was enrolled
  secret_file = \"device.secret\"             # 64 hexadecimal digits, mode 0600
  batch = \"B-2026-001\"                      # optional
  spool_dir = \"/var/lib/batchcortex-edge\"
  spool_limit_mib = 1024                    # optional
  flush_interval_ms = 1000                  # optional

  [opcua]
  endpoint = \"opc.tcp://127.0.0.1:4840/\"
  publishing_interval_ms = 100              # optional
  sampling_interval_ms = 0                  # optional; 0 is the fastest that the server has
  queue_size = 10000                        # optional; samples a tag queued at the server
  user = \"reader\"                           # optional, with password_file
  password_file = \"opcua.password\"
  tags = [
    { name = \"pH\", node_id = \"nsu=urn:batchcortex:plant;s=pH\" },
  ]

  [witness]                                 # optional: cosigns the log's checkpoints
  key_file = \"witness.keys\"               # made by `batchcortex-keys create witness --name NAME FILE`
  log_keys = [\"batches.example.com+…\"]    # public keys of the log, handed over on paper
  state_dir = \"/var/lib/batchcortex-witness\"
  interval_ms = 1000                        # optional
  patience_s = 60                           # optional; how long an answer may lag behind
  silence_s = 300                           # optional; how long nothing may be verified
  stale_after_s = 604800                    # optional; how long the log may stand still; 0: for ever
  alarm = [\"/usr/local/bin/page\", \"qa\"]  # optional; an executable file, told by BATCHCORTEX_ALARM_LOG, _CODE, _TEXT, _EVIDENCE
  listen = \"127.0.0.1:8490\"               # optional: POST /add-checkpoint, GET /status
  [[witness.feed]]                          # optional: another witness (C2SP tlog-witness)
  url = \"https://witness.example/\"
  key = \"witness.example/w1+…\"

Log: BATCHCORTEX_LOG sets the level, such as debug or batchcortex_edge=trace. No secret is logged.
Exit status: 0 when told to stop (SIGTERM, SIGINT), 1 when a person is needed."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Capture and post until told to stop
    Run {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// File that tells what the agent is doing, as JSON, replaced in one step
        #[arg(long, value_name = "FILE")]
        status: Option<PathBuf>,
    },
    /// Check a configuration and the secret without connecting
    Check {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// The witness by itself, and what a person asks and tells it
    Witness {
        #[command(subcommand)]
        command: WitnessCommand,
    },
    /// List the variables of an OPC UA server, ready for opcua.tags
    Browse {
        /// Address of the server
        #[arg(long, value_name = "URL", default_value = "opc.tcp://127.0.0.1:4840/")]
        endpoint: String,
        /// Most variables to list
        #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
        limit: usize,
    },
}

#[derive(Subcommand)]
enum WitnessCommand {
    /// Witness without capturing, until told to stop; of the configuration only api_url and [witness] are needed
    Run {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print how the witness stands, as JSON; exit status 0 in order, 1 when a person is needed
    Status {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// End an alarm: when the log shows again what it had signed, or another incarnation of it is taken as it is.
    /// The decision is recorded; the evidence stays
    Accept {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Why
        #[arg(long)]
        reason: String,
        /// File with the checkpoint to accept, instead of the newest that the log shows
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
}

async fn witness(command: &WitnessCommand) -> Result<bool> {
    match command {
        WitnessCommand::Run { config } => {
            let settings = Config::load_witness(config)?;
            batchcortex_edge::witness::run(settings, told_to_stop()?).await?;
        }
        WitnessCommand::Status { config } => {
            let report = Report::from_files(&Config::load_witness(config)?)?;
            println!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(report.is_in_order());
        }
        WitnessCommand::Accept {
            config,
            reason,
            checkpoint,
        } => {
            let settings = Config::load_witness(config)?;
            let decision = accept::accept(&settings, reason, checkpoint.as_deref()).await?;
            println!("{}", serde_json::to_string_pretty(&decision)?);
        }
    }
    Ok(true)
}

fn check(path: &std::path::Path) -> Result<()> {
    let config = Config::load(path)?;
    config.secret()?;
    if let Some(account) = &config.opcua.account {
        account.password()?;
    }
    println!(
        "{}: {} tags of {}",
        path.display(),
        config.opcua.tags.len(),
        config.opcua.endpoint
    );
    if let Some(witness) = &config.witness {
        let keys = batchcortex_keys::KeyFile::read(&witness.key_file)?;
        ensure!(
            keys.cosigner().is_some(),
            "{} holds the key of a log, not of a witness",
            witness.key_file.display()
        );
        witness.check_alarm()?;
        println!("witnesses {} as {}", witness.log_name(), keys.name());
    }
    println!(
        "posts to {} as device {} with key {}",
        config.api_url, config.device_id, config.key_id
    );
    Ok(())
}

async fn browse(endpoint: &str, limit: usize) -> Result<()> {
    // The library keeps certificates in a directory, also when there are none.
    let pki = tempfile::TempDir::with_prefix("batchcortex-edge-")?;
    let mut connection = Connection::open(endpoint, None, "urn:batchcortex:edge:browse", pki.path()).await?;
    let ready = tokio::time::timeout(Duration::from_secs(15), connection.ready()).await;
    ensure!(
        matches!(ready, Ok(true)),
        "{endpoint} does not open an anonymous session"
    );
    let offers = tokio::time::timeout(tags::PATIENCE, tags::browse(connection.session(), limit))
        .await
        .context("the server did not list its variables in time")??;
    for offer in &offers {
        let tag = &offer.tag;
        let entry = format!(
            "{{ name = {:?}, node_id = {:?} }},",
            tag.name,
            offer.address.to_string()
        );
        let access = if tag.writable { "WRITABLE" } else { "read only" };
        let (unit, data_type) = (
            tag.unit.as_deref().unwrap_or("no unit"),
            tag.data_type.unwrap_or("other type"),
        );
        println!("{entry:<70} # {data_type}, {unit}, {access}");
    }
    eprintln!("{} variables", offers.len());
    connection.close().await;
    Ok(())
}

async fn run(path: &std::path::Path, status: Option<&std::path::Path>) -> Result<()> {
    Ok(agent::run(Config::load(path)?, status, told_to_stop()?).await?)
}

/// True once the process is told to stop.
fn told_to_stop() -> Result<watch::Receiver<bool>> {
    let (sender, stop) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop");
        sender.send_replace(true);
        // The channel stays open: its end is not a stop.
        std::future::pending::<()>().await;
    });
    Ok(stop)
}

/// The agent's own words, and of the OPC UA library only what the agent cannot see: it speaks of every
/// answer that is not Good, also of those that are expected.
const QUIET: &str = "warn,batchcortex_edge=info,\
    opcua_client=off,opcua_client::session::event_loop=warn,opcua_core=off,opcua_crypto::certificate_store=off";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("BATCHCORTEX_LOG").unwrap_or_else(|_| EnvFilter::new(QUIET));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let done = match &arguments.command {
        Command::Run { config, status } => run(config, status.as_deref()).await,
        Command::Check { config } => check(config),
        Command::Browse { endpoint, limit } => browse(endpoint, *limit).await,
        Command::Witness { command } => match witness(command).await {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("batchcortex-edge: {}", batchcortex_edge::explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
