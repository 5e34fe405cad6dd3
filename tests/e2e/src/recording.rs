//! Recorded batches as their files hold them: the text of each value, read apart from the plant's own reader.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::root;

/// One column of a recorded batch.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name of the tag (row 1).
    pub tag: String,
    /// Unit (row 2).
    pub unit: String,
    /// The values in the order of the rows, each the file's text read as f64.
    pub values: Vec<f64>,
}

/// Reads the columns of a recorded batch, the time left out.
///
/// # Errors
/// When the file is none.
pub fn columns(file: &Path) -> Result<Vec<Column>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    let rows: Vec<csv::StringRecord> = rows.records().collect::<Result<_, _>>()?;
    ensure!(rows.len() > 2, "{}: no rows", file.display());
    let mut columns = Vec::new();
    for (number, tag) in rows[0].iter().enumerate().filter(|(_, tag)| *tag != "time_h") {
        let values = rows[2..]
            .iter()
            .map(|row| Ok(row.get(number).context("short row")?.parse::<f64>()?));
        columns.push(Column {
            tag: tag.to_owned(),
            unit: rows[1].get(number).unwrap_or_default().to_owned(),
            values: values.collect::<Result<_>>()?,
        });
    }
    Ok(columns)
}

/// The recorded batches to replay: the project's own, of values that are hard to keep, and an industrial one where the
/// data set lies beside the checkout.
pub fn files() -> Vec<PathBuf> {
    let own = root().join("tests/e2e/recordings/hard_values.csv");
    let industrial = root().join("../shared/data/indpensim/batch_101.csv");
    [own, industrial]
        .into_iter()
        .filter(|file| file.exists())
        .collect()
}
