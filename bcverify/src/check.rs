//! One pass over an evidence file.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use batchcortex_ledger::evidence::{Finding, Report, Unreadable, Verifier, show};

use crate::arguments::Arguments;
use crate::input::Input;
use crate::print::Printer;

/// How it ended.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Findings that speak of tampering.
    pub tampered: u64,
    /// Demands that the file does not meet.
    pub not_shown: u64,
    /// Where reading ended early, and why.
    pub unreadable: Option<Unreadable>,
    /// What was checked.
    pub report: Option<Report>,
    /// Whether everything was read.
    pub whole: bool,
}

impl Verdict {
    /// 0 everything holds; 1 a finding, which stands whatever came after it; 2 unreadable, or not shown.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Verdict { tampered: 1.., .. } => ExitCode::from(1),
            Verdict {
                not_shown: 0,
                unreadable: None,
                whole: true,
                ..
            } => ExitCode::SUCCESS,
            _ => ExitCode::from(2),
        }
    }

    fn count(&mut self, finding: &Finding) {
        if finding.kind.is_tampering() {
            self.tampered += 1;
        } else {
            self.not_shown += 1;
        }
    }
}

/// Checks the file and prints what was found.
pub fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let trust = arguments.trust()?;
    let mut input = Input::open(&arguments.file)?;
    let printer = Printer::new(arguments.list);
    let mut records = io::BufWriter::new(io::stdout().lock());
    let mut verifier = Verifier::new(trust);
    let mut verdict = Verdict::default();
    loop {
        let line = match input.next() {
            Ok(None) => break,
            Ok(Some(line)) => line,
            Err(error) => {
                verdict.unreadable = Some(Unreadable {
                    line: verifier.lines() + 1,
                    why: error.to_string(),
                });
                break;
            }
        };
        match verifier.line(line) {
            Ok(Some(leaf)) if arguments.list => {
                if let Some(shown) = show(leaf.index, leaf.preimage) {
                    writeln!(records, "{shown}").context("standard output")?;
                }
            }
            Ok(_) => {}
            Err(unreadable) => verdict.unreadable = Some(unreadable),
        }
        let findings = verifier.findings();
        if findings.len() > 0 {
            records.flush().context("standard output")?;
            let findings: Vec<Finding> = findings.collect();
            findings.iter().for_each(|finding| verdict.count(finding));
            input.pause(|| printer.findings(&findings, &mut records))?;
        }
        if verdict.unreadable.is_some() {
            break;
        }
    }
    if verdict.unreadable.is_none() {
        match verifier.finish() {
            Ok(report) => {
                verdict.report = Some(report);
                verdict.whole = true;
            }
            Err(unreadable) => verdict.unreadable = Some(unreadable),
        }
    }
    records.flush().context("standard output")?;
    input.pause(|| printer.summary(&verdict, &mut records))?;
    records.flush().context("standard output")?;
    Ok(verdict)
}
