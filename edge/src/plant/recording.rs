//! A batch as rows of values: where a replay comes from.

use std::collections::HashMap;
use std::io::Read;

/// Name of the CSV column that holds the time in hours; it is the time of a row and no tag.
pub const TIME_COLUMN: &str = "time_h";

/// A measured quantity: its name and the text of its engineering unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Name of the tag, unique in the recording.
    pub name: String,
    /// Unit as written in the recording, such as `g/L`.
    pub unit: String,
}

/// Values of all channels at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Time since the start of the batch, hours.
    pub time_h: f64,
    /// One value a channel, in the order of [`Recording::channels`].
    pub values: Vec<f64>,
}

/// A whole batch. It has at least one channel and one row, and time grows from row to row.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    channels: Vec<Channel>,
    rows: Vec<Row>,
}

/// Why a text is not a recording. Lines count from 1, as an editor shows them.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordingError {
    /// No header.
    #[error("the file is empty: expected names in row 1, units in row 2 and values from row 3")]
    Empty,
    /// Only a header, or numbers where units belong.
    #[error("the row of units is missing: row 2 must give the unit of each column, as text")]
    UnitsMissing,
    /// Header and units, and nothing after them.
    #[error("there are no values: the file ends after the row of units")]
    NoRows,
    /// No column gives the time.
    #[error("there is no column named {TIME_COLUMN}: it must give the time of each row in hours")]
    NoTime,
    /// Only the time column.
    #[error("there is no tag: every row needs at least one column besides {TIME_COLUMN}")]
    NoChannel,
    /// A column without a name.
    #[error("column {column} has no name in row 1")]
    Unnamed {
        /// Counted from 1.
        column: usize,
    },
    /// Two columns of one name.
    #[error("column {column} is named {name:?} like column {first}: a tag has one column")]
    Duplicate {
        /// The name.
        name: String,
        /// The earlier column, counted from 1.
        first: usize,
        /// The later column, counted from 1.
        column: usize,
    },
    /// A row of another width than the header.
    #[error("line {line} has {found} columns, row 1 names {expected}")]
    Ragged {
        /// Line of the file.
        line: u64,
        /// Columns of the header.
        expected: usize,
        /// Columns of this row.
        found: usize,
    },
    /// A value that is no finite number.
    #[error("line {line}, column {column} ({name}): {text:?} is not a finite number")]
    NotANumber {
        /// Line of the file.
        line: u64,
        /// Counted from 1.
        column: usize,
        /// Name of the column.
        name: String,
        /// What was found.
        text: String,
    },
    /// Time that stands still or runs backwards.
    #[error("line {line}: {TIME_COLUMN} is {time} after {before}: time must grow from row to row")]
    TimeNotGrowing {
        /// Line of the file.
        line: u64,
        /// Time of this row as written.
        time: String,
        /// Time of the row before.
        before: String,
    },
    /// Not UTF-8, an unclosed quote, or not readable at all.
    #[error("the file cannot be read as CSV: {0}")]
    Unreadable(String),
}

impl From<csv::Error> for RecordingError {
    fn from(error: csv::Error) -> Self {
        RecordingError::Unreadable(error.to_string())
    }
}

impl Recording {
    /// Builds a recording from parts that already have its properties.
    ///
    /// # Panics
    /// When a row has not one value a channel, when there is no channel or row, or when time does not grow.
    pub fn new(channels: Vec<Channel>, rows: Vec<Row>) -> Recording {
        assert!(
            !channels.is_empty() && !rows.is_empty(),
            "a recording has channels and rows"
        );
        assert!(
            rows.iter().all(|row| row.values.len() == channels.len()),
            "one value a channel in each row"
        );
        assert!(
            rows.windows(2).all(|pair| pair[0].time_h < pair[1].time_h),
            "time grows from row to row"
        );
        Recording { channels, rows }
    }

    /// Parses CSV: row 1 names the columns, row 2 gives their units, every further row holds numbers.
    /// A value is the nearest IEEE-754 double of its text; `-0` stays negative zero.
    ///
    /// # Errors
    /// Everything that would make a value, its tag or its time doubtful; see [`RecordingError`].
    pub fn from_csv(source: impl Read) -> Result<Recording, RecordingError> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(source);
        let mut records = reader.records();

        let header = records.next().ok_or(RecordingError::Empty)??;
        let mut names: Vec<String> = header.iter().map(str::to_owned).collect();
        // A byte order mark belongs to the encoding, not to the first name.
        if let Some(rest) = names.first().and_then(|first| first.strip_prefix('\u{feff}')) {
            names[0] = rest.to_owned();
        }
        check_names(&names)?;
        let time_column = names
            .iter()
            .position(|name| name == TIME_COLUMN)
            .ok_or(RecordingError::NoTime)?;
        if names.len() == 1 {
            return Err(RecordingError::NoChannel);
        }

        let units = records.next().ok_or(RecordingError::UnitsMissing)??;
        if units.iter().all(|unit| unit.parse::<f64>().is_ok()) {
            return Err(RecordingError::UnitsMissing);
        }
        check_width(&units, names.len(), 2)?;
        let channels = names
            .iter()
            .zip(units.iter())
            .enumerate()
            .filter(|(column, _)| *column != time_column)
            .map(|(_, (name, unit))| Channel {
                name: name.clone(),
                unit: unit.to_owned(),
            })
            .collect();

        let mut rows: Vec<Row> = Vec::new();
        for record in records {
            let record = record?;
            let line = record.position().map_or(0, csv::Position::line);
            check_width(&record, names.len(), line)?;
            let mut time_h = 0.0;
            let mut values = Vec::with_capacity(names.len() - 1);
            for (column, text) in record.iter().enumerate() {
                let value = number(text).ok_or_else(|| RecordingError::NotANumber {
                    line,
                    column: column + 1,
                    name: names[column].clone(),
                    text: text.to_owned(),
                })?;
                if column == time_column {
                    time_h = value;
                } else {
                    values.push(value);
                }
            }
            if let Some(before) = rows.last()
                && time_h <= before.time_h
            {
                return Err(RecordingError::TimeNotGrowing {
                    line,
                    time: record[time_column].to_owned(),
                    before: before.time_h.to_string(),
                });
            }
            rows.push(Row { time_h, values });
        }
        if rows.is_empty() {
            return Err(RecordingError::NoRows);
        }
        Ok(Recording { channels, rows })
    }

    /// What is measured, in the order of the values of a row.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// The rows in the order of time.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Time of the last row, hours.
    pub fn end_h(&self) -> f64 {
        self.rows.last().map_or(0.0, |row| row.time_h)
    }
}

fn check_names(names: &[String]) -> Result<(), RecordingError> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (index, name) in names.iter().enumerate() {
        if name.trim().is_empty() {
            return Err(RecordingError::Unnamed { column: index + 1 });
        }
        if let Some(first) = seen.insert(name, index + 1) {
            return Err(RecordingError::Duplicate {
                name: name.clone(),
                first,
                column: index + 1,
            });
        }
    }
    Ok(())
}

fn check_width(record: &csv::StringRecord, expected: usize, line: u64) -> Result<(), RecordingError> {
    if record.len() == expected {
        return Ok(());
    }
    let line = record.position().map_or(line, csv::Position::line);
    Err(RecordingError::Ragged {
        line,
        expected,
        found: record.len(),
    })
}

/// `NaN` and `inf` parse as floats in Rust, but no sensor was taken to have said them.
fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Recording, RecordingError> {
        Recording::from_csv(text.as_bytes())
    }

    #[test]
    fn reads_names_units_and_values() {
        let recording = parse("a,time_h,b\ng/L,h,-\n1,0.2,2.5\n3,0.4,4e-300\n").unwrap();
        assert_eq!(
            recording.channels(),
            [
                Channel {
                    name: "a".into(),
                    unit: "g/L".into()
                },
                Channel {
                    name: "b".into(),
                    unit: "-".into()
                }
            ]
        );
        assert_eq!(
            recording.rows()[1],
            Row {
                time_h: 0.4,
                values: vec![3.0, 4e-300]
            }
        );
        assert_eq!(recording.end_h(), 0.4);
    }

    // control: A22
    #[test]
    fn a_value_is_the_double_nearest_to_its_text() {
        let recording = parse("time_h,a,b\nh,-,-\n1,-0,2.230721965e-25\n").unwrap();
        assert_eq!(recording.rows()[0].values[0].to_bits(), (-0.0f64).to_bits());
        assert_eq!(
            recording.rows()[0].values[1].to_bits(),
            2.230721965e-25f64.to_bits()
        );
    }

    #[test]
    fn bad_files_are_refused_with_the_place() {
        let cases: [(&str, RecordingError); 14] = [
            ("", RecordingError::Empty),
            ("time_h,a\n", RecordingError::UnitsMissing),
            ("time_h,a\n0.2,1\n0.4,2\n", RecordingError::UnitsMissing),
            ("time_h,a\nh,g/L\n", RecordingError::NoRows),
            ("t,a\nh,g/L\n1,2\n", RecordingError::NoTime),
            ("time_h\nh\n1\n", RecordingError::NoChannel),
            ("time_h,\nh,g/L\n1,2\n", RecordingError::Unnamed { column: 2 }),
            (
                "time_h,a,a\nh,g/L,g/L\n1,2,3\n",
                RecordingError::Duplicate {
                    name: "a".into(),
                    first: 2,
                    column: 3,
                },
            ),
            (
                "time_h,a\nh\n1,2\n",
                RecordingError::Ragged {
                    line: 2,
                    expected: 2,
                    found: 1,
                },
            ),
            (
                "time_h,a\nh,g/L\n1,2\n2,3,4\n",
                RecordingError::Ragged {
                    line: 4,
                    expected: 2,
                    found: 3,
                },
            ),
            (
                "time_h,a\nh,g/L\n1,2\n2,3x\n",
                RecordingError::NotANumber {
                    line: 4,
                    column: 2,
                    name: "a".into(),
                    text: "3x".into(),
                },
            ),
            (
                "time_h,a\nh,g/L\n1,NaN\n",
                RecordingError::NotANumber {
                    line: 3,
                    column: 2,
                    name: "a".into(),
                    text: "NaN".into(),
                },
            ),
            (
                "time_h,a\nh,g/L\n1,\n",
                RecordingError::NotANumber {
                    line: 3,
                    column: 2,
                    name: "a".into(),
                    text: "".into(),
                },
            ),
            (
                "time_h,a\nh,g/L\n1,2\n1.0,3\n",
                RecordingError::TimeNotGrowing {
                    line: 4,
                    time: "1.0".into(),
                    before: "1".into(),
                },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap_err(), expected, "for {text:?}");
        }
        assert!(matches!(
            Recording::from_csv(&b"time_h,a\nh,\xff\n1,2\n"[..]),
            Err(RecordingError::Unreadable(_))
        ));
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
        assert_eq!(
            parse("\u{feff}time_h,a\r\nh,g/L\r\n1,2\r\n").unwrap(),
            parse("time_h,a\nh,g/L\n1,2\n").unwrap()
        );
    }
}
