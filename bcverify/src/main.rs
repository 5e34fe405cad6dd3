//! Checks evidence of BatchCortex: without a database, without a network, without trust in whoever exported it.
//!
//! Exit: 0 everything holds, 1 something was tampered with, 2 the file cannot be read or the call makes no sense.

mod arguments; // what may be asked
mod check; // one pass over an evidence file
mod dump; // a whole dump of a database
mod input; // lines of a file or of standard input, with a progress bar
mod print; // findings and the summary

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    let run = if arguments.dump { dump::run } else { check::run };
    match run(&arguments) {
        Ok(verdict) => verdict.exit_code(),
        Err(error) => {
            eprintln!("bcverify: {error:#}");
            ExitCode::from(2)
        }
    }
}
