//! A whole dump in plain format, checked without a database: every record against its leaf, every tree, every checkpoint, the global log,
//! its signatures. The file is read twice; what is kept in memory is about 150 bytes a leaf.

mod copy; // a dump as rows
mod logs; // what the ledger's tables say, checked among themselves
mod rows; // records against their leaves
mod value; // PostgreSQL's text as the bytes of a preimage

use std::fmt::Write as _;

use batchcortex_ledger::evidence::encode_hex;

use crate::arguments::Arguments;
use crate::check::Verdict;
use crate::input::Input;
use logs::Ledger;

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
    let trust = arguments.trust()?;
    let mut verdict = Verdict::default();
    let mut print = |found: &Found| {
        verdict.tampered += 1;
        // Text from the dump may hold what acts on a terminal.
        println!("{}: line {}: {}", found.code, found.line, clean(&found.what));
    };
    let mut ledger = Ledger::default();
    let parents = copy::read(
        &mut Input::open(&arguments.file)?,
        |block, _| Ledger::wants(&block.table),
        |block, line, fields| ledger.row(&block.table, &block.columns, line, fields),
    )?;
    let checked = ledger.check(&trust, &mut print);
    let mut rows = rows::Rows::new(&ledger, checked.leaves, parents);
    let input = &mut Input::open(&arguments.file)?;
    copy::read(
        input,
        |block, parents| rows::wants(&ledger, &block.table, parents),
        |block, line, fields| rows.row(block, line, &fields, &mut print),
    )?;
    let counts = rows.finish(&mut print);
    print!("{}", summary(&ledger, &checked.notes, &counts));
    match verdict.tampered {
        0 => println!("holds:      everything that was recomputed"),
        number => println!("TAMPERED:   {number} findings"),
    }
    verdict.whole = true;
    Ok(verdict)
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
