//! The API process: command line, log, runtime.

use std::io::Write as _;

use anyhow::Context as _;
use batchcortex_api::database::{Database, Share};
use batchcortex_api::layers::{self, Limits};
use batchcortex_api::request::TrustedProxies;
use batchcortex_api::settings::{DatabaseSettings, Settings};
use batchcortex_api::{openapi, server};
use clap::{Parser, Subcommand};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// HTTP service of BatchCortex.
///
/// Translates each request to one transaction on the functions of the schema batchcortex_api and back. It keeps no state, so
/// that any number of processes may serve one database. Without a command it serves.
#[derive(Parser)]
#[command(version, after_help = DATABASE_HELP, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Command {
    /// Answer requests until SIGTERM or SIGINT, then finish those in progress (the default)
    #[command(after_help = DATABASE_HELP)]
    Serve(#[command(flatten)] Settings),
    /// Print the OpenAPI document; needs no database
    Openapi,
}

const DATABASE_HELP: &str = "\
Database:
  BATCHCORTEX_DATABASE_URL   postgres://user:password@host:port/database (environment only: arguments are public)
  BATCHCORTEX_DATABASE_URL_FILE   a file that holds the URL
  PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE   when neither is set
The login needs membership of the role batchcortex_api and nothing else. PgBouncer in transaction mode may stand in between.";

fn main() -> anyhow::Result<()> {
    let line = CommandLine::parse();
    match line.command {
        None => serve(line.settings),
        Some(Command::Serve(settings)) => serve(settings),
        Some(Command::Openapi) => {
            let document = openapi::document()
                .to_pretty_json()
                .context("the OpenAPI document")?;
            writeln!(std::io::stdout(), "{document}").context("standard output")
        }
    }
}

#[tokio::main]
async fn serve(settings: Settings) -> anyhow::Result<()> {
    start_log(settings.log);
    let connection = DatabaseSettings::read(&settings, |name| std::env::var(name).ok())?;
    let share = Share {
        connections: settings.pool_size.into(),
        proofs: settings.max_proofs.into(),
    };
    let database = Database::new(connection, share, settings.statement_timeout())?;
    let limits = Limits {
        requests: settings.max_requests.into(),
        ingests: settings.max_ingests.into(),
    };
    let router = layers::service(
        database.clone(),
        TrustedProxies::new(settings.trusted_proxies.clone()),
        limits,
    );
    let stop = server::stop_signal().context("signal handlers")?;
    server::run(router, &settings, stop).await?;
    database.close();
    Ok(())
}

/// JSON lines on standard output, from this crate alone.
///
/// Libraries are silenced, whatever the level: the PostgreSQL driver logs the parameters of statements, among them passwords
/// and tokens, and HTTP libraries log headers.
fn start_log(level: LevelFilter) {
    let ours = Targets::new().with_target("batchcortex_api", level);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false);
    tracing_subscriber::registry().with(ours).with(lines).init();
    // The message of a panic may quote data; its place does not.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(target: "batchcortex_api", place, "panic");
    }));
}
