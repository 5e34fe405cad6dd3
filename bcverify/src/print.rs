//! What is printed. Text from the file reaches the terminal through the ledger's `Display`s only, which escape what could
//! act on it, or is of a form that was checked.

use std::fmt::Write as _;
use std::io::{self, Write};

use anyhow::Context as _;
use batchcortex_ledger::evidence::{Finding, GlobalCheckpoint, encode_hex, unix_time};
use batchcortex_ledger::note::Verified;

use crate::check::Verdict;

/// Prints findings and the summary to standard output, or to standard error while that lists records.
pub struct Printer {
    listing: bool,
}

impl Printer {
    /// `listing`: standard output has the records.
    pub fn new(listing: bool) -> Self {
        Printer { listing }
    }

    /// One line a finding.
    pub fn findings(&self, findings: &[Finding], out: &mut impl Write) -> anyhow::Result<()> {
        let mut text = String::new();
        for finding in findings {
            let _ = writeln!(text, "{finding}");
        }
        self.put(&text, out)
    }

    /// What was checked and who vouches for it.
    pub fn summary(&self, verdict: &Verdict, out: &mut impl Write) -> anyhow::Result<()> {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = summarize(verdict, &mut text);
        self.put(&text, out)
    }

    fn put(&self, text: &str, out: &mut impl Write) -> anyhow::Result<()> {
        if self.listing {
            io::stderr().write_all(text.as_bytes()).context("standard error")
        } else {
            out.write_all(text.as_bytes()).context("standard output")
        }
    }
}

fn summarize(verdict: &Verdict, text: &mut String) -> std::fmt::Result {
    if let Some(report) = &verdict.report {
        let shown: u64 = report.records.iter().map(|(_, number)| number).sum();
        let kinds: Vec<String> = report
            .records
            .iter()
            .map(|(kind, number)| format!("{number} {}", kind.escape_debug()))
            .collect();
        writeln!(
            text,
            "scope:      {} (as the exporter says)",
            report.scope.escape_debug()
        )?;
        writeln!(text, "exported:   {} (as the exporter says)", report.exported_at)?;
        writeln!(text, "log:        {}", report.origin.escape_debug())?;
        writeln!(text, "  size      {}", report.size)?;
        writeln!(text, "  root      {}", hex(&report.root))?;
        writeln!(text, "  sealed    {}", report.sealed_at)?;
        match kinds.len() {
            0 => writeln!(text, "records:    0")?,
            _ => writeln!(text, "records:    {shown} ({})", kinds.join(", "))?,
        }
        writeln!(text, "  as hashes {}", report.not_shown)?;
        if report.openings > 0 {
            writeln!(
                text,
                "  opened    {} values that records commit to",
                report.openings
            )?;
        }
        if report.missing > 0 {
            writeln!(text, "  missing   {}", report.missing)?;
        }
        if let Some(global) = &report.global {
            global_log(global, report.global_index, text)?;
        }
        for name in &report.consistent_with {
            writeln!(text, "continues:  {}", name.escape_debug())?;
        }
    }
    match (&verdict.unreadable, verdict.tampered, verdict.not_shown) {
        (Some(unreadable), ..) => {
            writeln!(text, "unreadable: {unreadable}")?;
            if verdict.tampered > 0 {
                writeln!(text, "TAMPERED:   {} before that", findings(verdict.tampered))?;
            }
        }
        (None, 0, 0) => writeln!(text, "holds:      everything that the file shows")?,
        (None, 0, not_shown) => writeln!(text, "NOT SHOWN:  {not_shown}")?,
        (None, tampered, _) => writeln!(text, "TAMPERED:   {}", findings(tampered))?,
    }
    Ok(())
}

/// How many.
pub fn findings(number: u64) -> String {
    format!("{number} finding{}", if number == 1 { "" } else { "s" })
}

fn global_log(global: &GlobalCheckpoint, index: u64, text: &mut String) -> std::fmt::Result {
    writeln!(text, "global log: {}", global.origin.to_string().escape_debug())?;
    writeln!(text, "  leaf      {index} of {}", global.size)?;
    writeln!(text, "  root      {}", hex(&global.root))?;
    writeln!(text, "  sealed    {}", global.sealed_at)?;
    if let Some((size, origin)) = &global.continues {
        writeln!(text, "  continues {} from {size} leaves", origin.escape_debug())?;
    }
    keys("signed by", &global.signatures, text)?;
    keys("cosigned by", &global.cosignatures, text)
}

fn keys(what: &str, keys: &[Verified], text: &mut String) -> std::fmt::Result {
    if keys.is_empty() {
        return writeln!(text, "{:<13}nobody whose key was given", format!("{what}:"));
    }
    for key in keys {
        write!(
            text,
            "{:<13}{}+{}",
            format!("{what}:"),
            key.name.escape_debug(),
            key.key_id
        )?;
        match key.time {
            Some(time) => writeln!(text, " at {}", unix_time(time))?,
            None => writeln!(text)?,
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    encode_hex(bytes, &mut text);
    text
}
