//! Lines of a file, one at a time, and how far it is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read};
use std::path::Path;

use anyhow::Context as _;
use batchcortex_ledger::evidence::MAX_LINE;
use indicatif::{ProgressBar, ProgressStyle};

/// Reading in pieces that keep a disk busy and fit a cache.
const BUFFER: usize = 256 * 1024;

/// The bar moves after so many bytes: asking it for each line would cost more than the line.
const STEP: u64 = 8 * 1024 * 1024;

/// Where lines come from.
pub struct Input {
    reader: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
    read: u64,
    drawn: u64,
    bar: ProgressBar,
}

impl Input {
    /// Opens a file, or standard input for `-`. A bar is drawn on a terminal only.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let (source, size): (Box<dyn Read>, _) = if path == Path::new("-") {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            let metadata = file.metadata().with_context(|| path.display().to_string())?;
            anyhow::ensure!(!metadata.is_dir(), "{} is a directory", path.display());
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        };
        Ok(Input {
            reader: BufReader::with_capacity(BUFFER, source),
            line: Vec::new(),
            read: 0,
            drawn: 0,
            bar: bar(size),
        })
    }

    /// The next line without its newline; none at the end. A last line without a newline is an error: the file was cut.
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let most = MAX_LINE as u64 + 2;
        let read = self
            .reader
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut self.line)?;
        self.read += read as u64;
        if self.read - self.drawn >= STEP {
            self.drawn = self.read;
            self.bar.set_position(self.read);
        }
        match self.line.split_last() {
            None => {
                self.bar.finish_and_clear();
                Ok(None)
            }
            Some((b'\n', line)) => Ok(Some(line)),
            Some(_) if self.line.len() as u64 == most => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a line is longer than a gigabyte",
            )),
            Some(_) => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the last line has no newline: the file was cut",
            )),
        }
    }

    /// Takes the bar away while something else is printed.
    pub fn pause<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

fn bar(size: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match size {
        Some(size) => (
            ProgressBar::new(size),
            "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        ),
        None => (ProgressBar::no_length(), "{spinner} {bytes} {bytes_per_sec}"),
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
