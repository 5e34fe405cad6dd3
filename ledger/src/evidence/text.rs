//! Words and times in evidence.

use chrono::{DateTime, SecondsFormat};

/// Whether `text` is a time as evidence and checkpoints write it: `2026-01-02T03:04:05.678901Z`, UTC.
pub fn is_instant(text: &str) -> bool {
    DateTime::parse_from_rfc3339(text)
        .is_ok_and(|time| instant(time.timestamp_micros()).as_deref() == Some(text))
}

/// Microseconds since 1970-01-01 UTC as evidence writes them; none for years that chrono cannot count.
pub fn instant(microseconds: i64) -> Option<String> {
    Some(DateTime::from_timestamp_micros(microseconds)?.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// A uuid in its one spelling: lower case, with hyphens.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

/// A uuid's 16 bytes in that spelling.
pub(super) fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        super::encode_hex(&[*byte], &mut text);
    }
    text
}

/// What the exporter was asked for, as it says. Nothing vouches for it: what a file proves is what its
/// leaves are, and how many leaves it does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// One record, by its uuid.
    Record(String),
    /// A batch, by its uuid and its number.
    Batch(String, String),
    /// Records from a time on and before another; none where the range is open.
    Time(Option<String>, Option<String>),
}

impl Scope {
    /// Reads a header's scope.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        let id = |text: &str| is_uuid(text).then(|| text.to_owned());
        let time = |text: &str| match text {
            "-" => Some(None),
            _ => is_instant(text).then(|| Some(text.to_owned())),
        };
        match kind {
            "all" => (text == "all").then_some(Scope::All),
            "record" => id(rest).map(Scope::Record),
            "batch" => {
                let (batch, number) = rest.split_once(' ')?;
                Some(Scope::Batch(id(batch)?, number.to_owned()))
            }
            "time" => {
                let (from, until) = rest.split_once(' ')?;
                Some(Scope::Time(time(from)?, time(until)?))
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let open = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".to_owned());
        match self {
            Scope::All => write!(f, "all"),
            Scope::Record(id) => write!(f, "record {id}"),
            Scope::Batch(id, number) => write!(f, "batch {id} {number}"),
            Scope::Time(from, until) => write!(f, "time {} {}", open(from), open(until)),
        }
    }
}
