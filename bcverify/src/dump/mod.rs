//! A whole dump in plain format, checked without a database: every record against its leaf, every tree, every checkpoint, the global log,
//! its signatures. The file is read twice; what is kept in memory is about 150 bytes a leaf.

mod allowed; // which statements pg_dump writes
mod copy; // a dump as rows
mod logs; // what the ledger's tables say, checked among themselves
mod rows; // records against their leaves
mod statement; // what stands between the rows, cut where psql cuts it
mod value; // PostgreSQL's text as the bytes of a preimage

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use batchcortex_ledger::evidence::encode_hex;

use crate::arguments::Arguments;
use crate::check::Verdict;
use crate::input::Input;
use crate::print::findings;
use logs::Ledger;
use statement::Piece;

/// Something that does not hold, on one line.
pub struct Found {
    code: &'static str,
    line: u64,
    what: String,
}

impl Found {
    fn new(code: &'static str, line: u64, what: impl Into<String>) -> Self {
        Found {
            code,
            line,
            what: what.into(),
        }
    }
}

/// Checks the dump and prints what was found.
pub fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    anyhow::ensure!(
        arguments.file.as_os_str() != "-",
        "a dump is read twice: give a file, not standard input"
    );
    let mut verdict = Verdict::default();
    let read = check(arguments, &mut |found| {
        verdict.tampered += 1;
        // Text from the dump may hold what acts on a terminal.
        put(&format!(
            "{}: line {}: {}\n",
            found.code,
            found.line,
            clean(&found.what)
        ));
    });
    match (read, verdict.tampered) {
        (Ok(summary), 0) => put(&format!("{summary}holds:      everything that was recomputed\n")),
        (Ok(summary), number) => put(&format!("{summary}TAMPERED:   {}\n", findings(number))),
        (Err(error), 0) => return Err(error),
        // A finding stands whatever came after it.
        (Err(error), number) => put(&format!(
            "unreadable: {error:#}\nTAMPERED:   {} before that\n",
            findings(number)
        )),
    }
    verdict.whole = true;
    Ok(verdict)
}

/// A reader that leaves early is no reason to stop: the exit code counts.
fn put(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Reads the dump twice; gives the summary.
fn check(arguments: &Arguments, print: &mut dyn FnMut(&Found)) -> anyhow::Result<String> {
    let mut print = |found: &Found| print(found);
    let trust = arguments.trust()?;
    anyhow::ensure!(
        !is_archive(&arguments.file)?,
        "{0} is an archive of pg_dump -Fc or -Ft: make it plain with pg_restore -f all.sql {0}",
        arguments.file.display()
    );
    let mut ledger = Ledger::default();
    let mut pieces = Vec::new();
    let parents = copy::read(
        &mut Input::open(&arguments.file)?,
        |block, _| Ledger::wants(&block.table),
        |block, line, fields| ledger.row(&block.table, &block.columns, line, fields),
        |piece| pieces.extend(suspicious(piece)),
    )?;
    for piece in &pieces {
        if let Some(found) = judge(piece, &ledger) {
            print(&found);
        }
    }
    anyhow::ensure!(
        !ledger.is_empty(),
        "there is no ledger in {}: dump the database that keeps the records, with the tables ledger_* of schema batchcortex",
        arguments.file.display()
    );
    let checked = ledger.check(&trust, &mut print);
    let mut rows = rows::Rows::new(&ledger, checked.leaves, parents);
    copy::read(
        &mut Input::open(&arguments.file)?,
        |block, parents| rows::wants(&ledger, &block.table, parents),
        |block, line, fields| rows.row(block, line, &fields, &mut print),
        |_| {},
    )?;
    let counts = rows.finish(&mut print);
    Ok(summary(&ledger, &checked.notes, &counts))
}

/// Whether a file begins as the archives do that pg_restore reads.
fn is_archive(file: &Path) -> anyhow::Result<bool> {
    let mut beginning = Vec::new();
    let opened = File::open(file).with_context(|| file.display().to_string())?;
    // What cannot be read, as a directory, is told by whoever reads it whole.
    let _ = opened.take(8).read_to_end(&mut beginning);
    Ok(beginning.starts_with(b"PGDMP") || beginning == b"toc.dat\0")
}

/// What may be a finding, so that the thousands of statements that are none are not kept.
fn suspicious(piece: Piece) -> Option<Piece> {
    let known = match &piece {
        Piece::Statement { text, .. } => allowed::objection(text, |_| true).is_none(),
        Piece::Command { text, .. } => allowed::is_known_command(text),
    };
    (!known).then_some(piece)
}

/// Whoever restores the dump would run it.
fn judge(piece: &Piece, ledger: &Ledger) -> Option<Found> {
    let (line, text, why) = match piece {
        Piece::Command { line, text } => (*line, text, "no command that pg_dump gives to psql"),
        Piece::Statement { line, text } => {
            let records = |name: &[String]| ledger.relations.contains_key(&name.join("."));
            (*line, text, allowed::objection(text, records)?)
        }
    };
    let shown: String = text.chars().take(120).collect();
    Some(Found::new("foreign_statement", line, format!("{why}: {shown}")))
}

fn summary(ledger: &Ledger, notes: &[String], counts: &rows::Counts) -> String {
    let mut text = String::new();
    let mut put = |label: &str, what: String| {
        let _ = writeln!(text, "{:<12}{}", format!("{label}:"), clean(&what));
    };
    for (kind, number) in &counts.recomputed {
        put("records", format!("{number} {kind}, each recomputed"));
    }
    for (kind, number) in &counts.not_recomputed {
        put(
            "not checked",
            format!(
                "{number} {kind}: leaves whose rows this program does not recompute, or that the dump does not hold"
            ),
        );
    }
    if counts.disposed > 0 {
        put(
            "disposed",
            format!("{} leaves whose records were disposed of", counts.disposed),
        );
    }
    if counts.waiting > 0 {
        put(
            "waiting",
            format!("{} records that wait for their sealing", counts.waiting),
        );
    }
    for log in ledger.heads() {
        let mut root = String::new();
        encode_hex(&log.root, &mut root);
        put("log", format!("{} size {} root {root}", log.name, log.size));
    }
    for note in notes {
        put("global log", note.clone());
    }
    text
}

fn clean(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '\'' | '"' | '\\' => vec![c],
            other => other.escape_debug().collect(),
        })
        .collect()
}
