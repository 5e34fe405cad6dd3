//! The body of POST /v1/ingest: one message of a device.

use crate::error::{self, Refusal};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Largest body in bytes.
pub const LARGEST: usize = 8 * 1024 * 1024;
/// Most samples of one segment.
pub const MOST_SAMPLES: usize = 100_000;

/// One message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message<'a> {
    /// The device that sends it; must be the one whose key signed it.
    pub device_id: String,
    /// Number of the message, from 1 without gaps.
    pub sequence: i64,
    /// Number of the batch that the samples belong to.
    pub batch: Option<String>,
    /// Samples by tag.
    #[serde(borrow)]
    pub segments: Vec<Segment<'a>>,
}

/// A run of samples of one tag.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment<'a> {
    /// Name of the tag on the device's equipment.
    pub tag: String,
    /// Name of the OPC UA built-in type.
    pub data_type: String,
    /// Number of the first sample, per device and tag from 1 without gaps.
    pub first_sample: i64,
    /// Source times: 100 ns since 1601-01-01 UTC.
    pub source_ticks: Vec<i64>,
    /// Values in the form of the type, or null.
    #[serde(borrow)]
    pub values: &'a RawValue,
    /// Raw OPC UA StatusCodes.
    pub status: Vec<u32>,
}

/// Values in the form in which they are stored.
pub enum Values {
    /// Double and Float.
    Numbers(Vec<Option<f64>>),
    /// Signed and unsigned integers that fit 64 bits signed.
    Integers(Vec<Option<i64>>),
    /// Boolean.
    Booleans(Vec<Option<bool>>),
    /// Everything else.
    Texts(Vec<Option<String>>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Numbers(v) => v.len(),
            Values::Integers(v) => v.len(),
            Values::Booleans(v) => v.len(),
            Values::Texts(v) => v.len(),
        }
    }
}

/// Reads a body. The message names the place, never the content.
pub fn parse(body: &[u8]) -> Result<Message<'_>, Refusal> {
    if body.len() > LARGEST {
        return Err(Refusal::new(
            error::TOO_LARGE,
            format!("the body has {} bytes, at most {LARGEST} are taken", body.len()),
        ));
    }
    let message: Message<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
    if message.sequence < 1 {
        return Err(Refusal::new(error::UNACCEPTABLE, "sequence starts at 1"));
    }
    if message.segments.is_empty() {
        return Err(Refusal::new(
            error::UNACCEPTABLE,
            "a message has at least one segment",
        ));
    }
    Ok(message)
}

fn malformed(fault: &serde_json::Error) -> Refusal {
    let (line, column) = (fault.line(), fault.column());
    let kind = match fault.classify() {
        serde_json::error::Category::Data => "does not have the shape of a message",
        serde_json::error::Category::Eof => "ends too early",
        _ => "is not JSON",
    };
    Refusal::new(
        error::MALFORMED,
        format!("the body {kind}, at line {line} column {column}"),
    )
    .hint("The format is specified in docs/format.md.")
}

/// Checks a segment against the tag's type and form, and reads its values. Nothing is cast: a value of another type is
/// refused.
pub fn values(
    segment: &Segment<'_>,
    data_type: &str,
    form: &str,
    latest_ticks: i64,
) -> Result<Values, Refusal> {
    let tag = &segment.tag;
    let count = segment.source_ticks.len();
    if segment.data_type != data_type {
        return Err(mismatch(
            tag,
            format!("is {data_type}, the segment says {}", segment.data_type),
        ));
    }
    if count == 0 || count > MOST_SAMPLES {
        return Err(Refusal::new(
            error::UNACCEPTABLE,
            format!("a segment of tag {tag:?} has {count} samples, 1 to {MOST_SAMPLES} are taken"),
        ));
    }
    if segment.first_sample < 1 {
        return Err(Refusal::new(
            error::UNACCEPTABLE,
            format!("first_sample of tag {tag:?} starts at 1"),
        ));
    }
    if let Some(i) = segment
        .source_ticks
        .iter()
        .position(|ticks| *ticks > latest_ticks)
    {
        return Err(Refusal::new(
            error::FUTURE,
            format!(
                "sample {} of tag {tag:?} has a source time that has not come yet",
                i + 1
            ),
        )
        .hint("Set the clock of the equipment or of the device right."));
    }
    let raw = segment.values.get();
    let values = match form {
        "number" => Values::Numbers(numbers(raw, tag, data_type)?),
        "integer" => Values::Integers(integers(raw, tag, data_type)?),
        "boolean" => Values::Booleans(read(raw, tag, data_type)?),
        _ => Values::Texts(texts(raw, tag, data_type)?),
    };
    if values.len() != count || segment.status.len() != count {
        return Err(Refusal::new(
            error::UNACCEPTABLE,
            format!(
                "tag {tag:?} has {count} source times, {} values and {} status codes",
                values.len(),
                segment.status.len()
            ),
        ));
    }
    Ok(values)
}

fn mismatch(tag: &str, why: String) -> Refusal {
    Refusal::new(error::TYPE_MISMATCH, format!("tag {tag:?} {why}"))
}

fn read<'a, T: Deserialize<'a>>(raw: &'a str, tag: &str, data_type: &str) -> Result<Vec<Option<T>>, Refusal> {
    serde_json::from_str(raw).map_err(|e| {
        mismatch(
            tag,
            format!(
                "takes values of type {data_type} or null; value at column {} is another",
                e.column()
            ),
        )
    })
}

fn numbers(raw: &str, tag: &str, data_type: &str) -> Result<Vec<Option<f64>>, Refusal> {
    let not_finite = || {
        Refusal::new(
            error::NOT_FINITE,
            format!("a value of tag {tag:?} is not a finite number"),
        )
        .hint("Send null with the status that says why.")
    };
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Value(f64),
        Text(String),
    }
    // NaN and Infinity have no JSON number: they come as a text or as a number too large.
    let read: Vec<Option<Number>> = serde_json::from_str(raw).map_err(|e| {
        if e.to_string().contains("out of range") {
            not_finite()
        } else {
            mismatch(
                tag,
                format!(
                    "takes values of type {data_type} or null; value at column {} is another",
                    e.column()
                ),
            )
        }
    })?;
    read.into_iter()
        .map(|value| match value {
            None => Ok(None),
            Some(Number::Value(number)) if number.is_finite() => Ok(Some(number)),
            Some(Number::Value(_)) => Err(not_finite()),
            Some(Number::Text(text)) if text.parse::<f64>().is_ok_and(|n| !n.is_finite()) => {
                Err(not_finite())
            }
            Some(Number::Text(_)) => Err(mismatch(
                tag,
                format!("takes numbers ({data_type}) or null, a text came"),
            )),
        })
        .collect()
}

/// PostgreSQL's text holds no NUL: such a value could be stored, but not dumped and restored as it was.
fn texts(raw: &str, tag: &str, data_type: &str) -> Result<Vec<Option<String>>, Refusal> {
    let read: Vec<Option<String>> = read(raw, tag, data_type)?;
    match read.iter().flatten().find(|text| text.contains('\0')) {
        Some(_) => Err(Refusal::new(
            error::UNACCEPTABLE,
            format!("a value of tag {tag:?} contains U+0000, which text cannot hold"),
        )),
        None => Ok(read),
    }
}

fn integers(raw: &str, tag: &str, data_type: &str) -> Result<Vec<Option<i64>>, Refusal> {
    let (least, most) = match data_type {
        "SByte" => (i64::from(i8::MIN), i64::from(i8::MAX)),
        "Byte" => (0, i64::from(u8::MAX)),
        "Int16" => (i64::from(i16::MIN), i64::from(i16::MAX)),
        "UInt16" => (0, i64::from(u16::MAX)),
        "Int32" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        "UInt32" => (0, i64::from(u32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    let read: Vec<Option<i64>> = read(raw, tag, data_type)?;
    match read
        .iter()
        .flatten()
        .find(|value| !(least..=most).contains(*value))
    {
        Some(_) => Err(mismatch(
            tag,
            format!("is {data_type}, a value lies outside {least} to {most}"),
        )),
        None => Ok(read),
    }
}
