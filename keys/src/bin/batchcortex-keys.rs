//! `batchcortex-keys`: makes the files of keys that servers and witnesses sign with.

use std::path::PathBuf;
use std::process::ExitCode;

use batchcortex_keys::{KeyFile, ring};
use batchcortex_ledger::note::SignatureType;
use clap::{Parser, Subcommand, ValueEnum};

/// Makes the files of keys of BatchCortex and changes the keys in them for new ones.
///
/// Run it as the user who will read the file: the server's for a checkpoint key or a ring, the agent's for a witness key. Files get
/// permissions 0600 and are replaced in one step; no secret is ever printed.
#[derive(Parser)]
#[command(
    version,
    after_help = "Printed are public keys, as witnesses, auditors and bcverify take them (for a ring: the keys' ids), the current one first.\n\
        Exit status: 0 when done, 1 when not, and then nothing has changed; 2 for a wrong call."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new key, in a file that does not exist yet
    Create {
        /// What it signs
        kind: Kind,
        /// Name of the log or of the witness, such as batches.example.com or witness.example.com/plant-7
        #[arg(long)]
        name: String,
        /// The file
        file: PathBuf,
    },
    /// Sign with a new key from now on; the old one's public half stays in the file
    Rotate {
        /// The file
        file: PathBuf,
    },
    /// Print the public keys of a file
    Public {
        /// The file
        file: PathBuf,
    },
    /// The ring of HMAC keys that batchcortex.key_file names
    Ring {
        #[command(subcommand)]
        command: RingCommand,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Checkpoints of a server's logs
    Checkpoint,
    /// Cosignatures of a witness
    Witness,
}

#[derive(Subcommand)]
enum RingCommand {
    /// Make a ring of one key, in a file that does not exist yet
    Create {
        /// The file
        file: PathBuf,
    },
    /// Derive from a new key from now on; the old ones stay in the file
    Rotate {
        /// The file
        file: PathBuf,
    },
}

fn run(command: Command) -> Result<String, Box<dyn std::error::Error>> {
    Ok(match command {
        Command::Create { kind, name, file } => {
            let kind = match kind {
                Kind::Checkpoint => SignatureType::Ed25519,
                Kind::Witness => SignatureType::CosignatureV1,
            };
            KeyFile::create(&file, &name, kind)?.to_string()
        }
        Command::Rotate { file } => KeyFile::rotate(&file)?.to_string(),
        Command::Public { file } => KeyFile::read(&file)?.to_string(),
        Command::Ring { command } => {
            let file = match command {
                RingCommand::Create { file } => ring::create(&file).map(|_| file)?,
                RingCommand::Rotate { file } => ring::rotate(&file).map(|_| file)?,
            };
            ring::read_ids(&file)?
                .iter()
                .map(|id| format!("{id}\n"))
                .collect()
        }
    })
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("batchcortex-keys: {error}");
            ExitCode::FAILURE
        }
    }
}
