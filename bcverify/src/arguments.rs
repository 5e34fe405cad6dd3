//! The command line.

use std::path::PathBuf;

use anyhow::Context as _;
use batchcortex_ledger::evidence::Trust;
use batchcortex_ledger::note::VerifierKey;
use clap::Parser;

const HELP: &str = "\
What it takes to believe a file:
  FILE         what batchcortex.export_evidence() or GET /v1/evidence gave you.
  --log-key    the public key of the log. Get it once, from a place that the operator cannot change later: your contract, the
               commissioning report, a colleague at another customer. A key from the same mail as the file proves nothing.
               select batchcortex.checkpoint_keys() and `batchcortex-keys public FILE` print it.
  --witness-key  the public key of a witness: a machine of yours that has followed the log and cosigned it. With it, even
               someone who holds the log's key cannot show you one history and everyone else another.
  --old-checkpoint  a checkpoint that you kept:
               psql -XqAt -o kept.checkpoint -c \"select batchcortex.latest_checkpoint('ffffffff-ffff-ffff-ffff-ffffffffffff')\"
               The file must continue that log: ask for it with export_evidence(..., since => size of that checkpoint).

Examples:
  bcverify batch.jsonl --log-key batches.example.com+606ca4ab+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4
  bcverify batch.jsonl --log-key \"$LOG\" --witness-key \"$OURS\" --witness-key \"$THEIRS\" --quorum 1
  bcverify --list batch.jsonl --log-key \"$LOG\" | jq -r 'select(.kind == \"event\") | .fields.action'
  bcverify --dump all.sql --log-key \"$LOG\" --old-checkpoint kept.checkpoint      (pg_dump -f all.sql, docs/ledger.md)

Output, on standard output: one line a finding (code: line, leaf, record: what), then the summary. Codes:
  wrong_leaf      a record was altered            missing_record  the log has its leaf, the database had no record
  not_a_record    the bytes of a leaf are none    out_of_order    leaves are left out or come twice
  wrong_opening   a value is not the one that its record commits to
  wrong_organisation  a record of another organisation stands in this one's log
  wrong_size, wrong_root   the leaves are not those of the checkpoint
  wrong_origin    the file mixes logs             not_included    the checkpoint is not in the global log
  not_signed      by no given key of the log      not_witnessed   by too few of the given witnesses
  inconsistent    the log does not continue an old checkpoint: rewritten, or restored to an earlier time
  not_shown       the file has no proof for an old checkpoint (exit 2)
Of a dump besides: row_without_leaf, wrong_tile, inconsistent_checkpoint, as batchcortex.verify() has them, and
  foreign_statement   restoring the dump would run something that pg_dump does not write

What is vouched for: the bytes of each record shown, its place in the organisation's log, that log's origin, size, root and
time of sealing, and the same of the global log. Not: scope and exported_at of the first line, records that stand as hashes
only (the summary counts them), and signatures by keys that you did not give. docs/format.md has all of it.

Exit: 0 everything holds; 1 at least one finding; 2 the file cannot be read, or does not show what was asked.";

/// Check a file of evidence: no database, no network.
#[derive(Debug, Parser)]
#[command(version, after_long_help = HELP, after_help = "--help says what the keys are for, and what the findings mean.")]
pub struct Arguments {
    /// The evidence, or - for standard input.
    pub file: PathBuf,

    /// A key of the log, `<name>+<id>+<base64>`, or @FILE with one a line. Older keys may be given as well.
    #[arg(long = "log-key", value_name = "VKEY", required = true)]
    log_keys: Vec<String>,

    /// A key of a witness, in the same form.
    #[arg(long = "witness-key", value_name = "VKEY")]
    witness_keys: Vec<String>,

    /// How many witnesses must have cosigned: without it, all whose keys are given. Keys of one name are one witness.
    #[arg(long, value_name = "N")]
    quorum: Option<usize>,

    /// A signed checkpoint of the global log that you kept. The evidence must continue it.
    #[arg(long = "old-checkpoint", value_name = "FILE")]
    old_checkpoints: Vec<PathBuf>,

    /// FILE is a dump in plain format (pg_dump): check every record of BatchCortex's own tables in it, every tree, and the global log.
    /// Rows of other protected tables are counted, and said to be unchecked. Statements that pg_dump does not write are named.
    #[arg(long, conflicts_with = "list")]
    pub dump: bool,

    /// Print each record on a line of JSON before the findings and the summary, which then go to standard error. Believe the
    /// records only when the exit code is 0.
    #[arg(long)]
    pub list: bool,
}

impl Arguments {
    /// The keys and old checkpoints, read.
    pub fn trust(&self) -> anyhow::Result<Trust> {
        let mut trust = Trust::new(
            keys(&self.log_keys, "--log-key")?,
            keys(&self.witness_keys, "--witness-key")?,
            self.quorum,
        )?;
        for file in &self.old_checkpoints {
            let name = file.display().to_string();
            let note = std::fs::read(file).with_context(|| name.clone())?;
            anyhow::ensure!(
                !note.contains(&b'\r'),
                "{name}: its lines end as those of Windows: keep a checkpoint byte for byte"
            );
            trust
                .remember(&name, without_blank_end(&note))
                .with_context(|| name.clone())?;
        }
        Ok(trust)
    }
}

/// psql ends what it prints with a newline of its own, which would be an empty signature line.
fn without_blank_end(note: &[u8]) -> &[u8] {
    let mut note = note;
    while let Some(shorter) = note
        .strip_suffix(b"\n")
        .filter(|shorter| shorter.ends_with(b"\n"))
    {
        note = shorter;
    }
    note
}

fn keys(given: &[String], option: &str) -> anyhow::Result<Vec<VerifierKey>> {
    let mut keys = Vec::new();
    for text in given {
        let Some(file) = text.strip_prefix('@') else {
            let key = text.trim().parse().with_context(|| match std::fs::exists(text) {
                Ok(true) => format!("{option} {text}: @{text} reads keys from that file"),
                _ => format!("{option} {text}"),
            });
            keys.push(key?);
            continue;
        };
        let lines = std::fs::read_to_string(file).with_context(|| format!("{option} {text}"))?;
        let lines = lines
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            keys.push(line.parse().with_context(|| format!("{option} {text}: {line}"))?);
        }
    }
    Ok(keys)
}
