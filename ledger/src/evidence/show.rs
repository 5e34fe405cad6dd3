//! Records for people: fields by name, values as text.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use chrono::{DateTime, SecondsFormat};

use super::text::{instant, uuid_text};
use crate::column::{self, Kind};
use crate::record::{self, Record};

/// A record on one line of JSON: index, kind, and its fields in the order of the preimage. Uuids, times
/// (UTC) and numbers are shown as such. A column whose type is not known is shown as text where it is
/// printable UTF-8, else as `\x` and hexadecimal. None when the bytes are no record. No character of a
/// value can act on a terminal.
pub fn show(index: u64, preimage: &[u8]) -> Option<String> {
    let record = record::decode(preimage).ok()?;
    let mut line = format!(
        r#"{{"index":{index},"kind":{},"fields":{{"#,
        quoted(record.domain)
    );
    for (position, field) in record.fields.iter().enumerate() {
        if position > 0 {
            line.push(',');
        }
        line.push_str(&quoted(field.name));
        line.push(':');
        let ours = !record.domain.starts_with("table:");
        let kind = ours.then(|| column::kind(field.name)).flatten();
        let known = kind.and_then(|kind| value(kind, field.value));
        line.push_str(&known.unwrap_or_else(|| value_unknown(field.value)));
    }
    line.push_str("}}");
    Some(line)
}

/// A record's kind and id, for findings: for instance `event 0199…`.
pub fn record_name(preimage: &[u8]) -> Option<String> {
    let record = record::decode(preimage).ok()?;
    let key = key_column(&record).and_then(|column| record.value(column));
    let uuid = key.and_then(|key| <&[u8; 16]>::try_from(key).ok());
    let known = match (uuid, record.fields.first()) {
        (Some(uuid), _) => format!("{} {}", record.domain, uuid_text(uuid)),
        (None, Some(field)) => format!(
            "{} {} {}",
            record.domain,
            field.name,
            value_unknown(&field.value[..field.value.len().min(64)])
        ),
        (None, None) => record.domain.to_owned(),
    };
    Some(known)
}

/// The column that names a record of the project's own tables.
fn key_column(record: &Record<'_>) -> Option<&'static str> {
    Some(match record.domain {
        "event" => "event_id",
        "sample_segment" => "segment_id",
        "retention_policy" => "policy_id",
        "batch_retention" => "retention_id",
        "legal_hold" => "hold_id",
        "legal_hold_release" => "release_id",
        "disposal_proposal" => "proposal_id",
        "partition_disposal" => "disposal_id",
        _ => return None,
    })
}

/// Text without characters that would act on a terminal or reorder what is read: they are escaped.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\'' | '"' | '\\' => clean.push(character),
            other => clean.extend(other.escape_debug()),
        }
    }
    clean
}

/// A JSON string in which such characters are escaped as well.
fn quoted(text: &str) -> String {
    let json = serde_json::to_string(text).unwrap_or_default();
    let mut clean = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii_graphic() || character == ' ' || character.escape_debug().len() == 1 {
            clean.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(clean, "\\u{unit:04x}");
            }
        }
    }
    clean
}

fn value(kind: Kind, bytes: &[u8]) -> Option<String> {
    Some(match kind {
        Kind::Uuid => quoted(&uuid_text(bytes.try_into().ok()?)),
        Kind::Time => quoted(&time(i64::from_be_bytes(bytes.try_into().ok()?))),
        Kind::Date => quoted(&date(i64::from(i32::from_be_bytes(bytes.try_into().ok()?)))),
        Kind::Text => quoted(std::str::from_utf8(bytes).ok()?),
        Kind::Int4 | Kind::Int8 => number(bytes)?,
        Kind::Inet => quoted(&address(bytes)?),
        Kind::Bytes => bytes_text(bytes),
        Kind::Int8s => array(bytes, number)?,
        Kind::Float8s => array(bytes, real)?,
        Kind::Booleans => array(bytes, |bytes| match bytes {
            [0] => Some("false".to_owned()),
            [1] => Some("true".to_owned()),
            _ => None,
        })?,
        Kind::Texts => array(bytes, |bytes| Some(quoted(std::str::from_utf8(bytes).ok()?)))?,
    })
}

fn value_unknown(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).ok();
    let printable = |text: &&str| {
        text.chars()
            .all(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\r'))
    };
    text.filter(printable).map_or_else(|| bytes_text(bytes), quoted)
}

fn bytes_text(bytes: &[u8]) -> String {
    let mut text = String::from("\\x");
    super::encode_hex(bytes, &mut text);
    quoted(&text)
}

fn number(bytes: &[u8]) -> Option<String> {
    let negative = bytes.first()? & 0x80 != 0;
    let start: i64 = if negative { -1 } else { 0 };
    matches!(bytes.len(), 2 | 4 | 8).then(|| {
        bytes
            .iter()
            .fold(start, |sum, byte| sum << 8 | i64::from(*byte))
            .to_string()
    })
}

fn real(bytes: &[u8]) -> Option<String> {
    let real = f64::from_be_bytes(bytes.try_into().ok()?);
    let shown = format!("{real:?}");
    Some(if real.is_finite() { shown } else { quoted(&shown) })
}

/// A one-dimensional array in PostgreSQL's binary form.
fn array(bytes: &[u8], element: impl Fn(&[u8]) -> Option<String>) -> Option<String> {
    let word = |bytes: &[u8], at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    if word(bytes, 0)? == 0 {
        return (bytes.len() == 12).then(|| "[]".to_owned());
    }
    let count = word(bytes, 12)?;
    let mut rest = bytes.get(20..)?;
    let mut shown = Vec::new();
    for _ in 0..count {
        let length = word(rest, 0)?;
        rest = &rest[4..];
        if length == u32::MAX {
            shown.push("null".to_owned());
            continue;
        }
        let (value, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        shown.push(element(value)?);
        rest = after;
    }
    rest.is_empty().then(|| format!("[{}]", shown.join(",")))
}

fn address(bytes: &[u8]) -> Option<String> {
    let (&[family, prefix, 0, _], address) = bytes.split_first_chunk()? else {
        return None;
    };
    let (address, full) = match family {
        2 => (Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).to_string(), 32),
        3 => (
            Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).to_string(),
            128,
        ),
        _ => return None,
    };
    Some(if prefix == full {
        address
    } else {
        format!("{address}/{prefix}")
    })
}

/// PostgreSQL's epoch, 2000-01-01, in days since 1970-01-01.
const EPOCH_DAYS: i64 = 10_957;

/// Microseconds since 2000-01-01 00:00 UTC as RFC 3339. PostgreSQL counts further than chrono.
fn time(microseconds: i64) -> String {
    match microseconds {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        _ => microseconds
            .checked_add(EPOCH_DAYS * 86_400_000_000)
            .and_then(instant)
            .unwrap_or_else(|| format!("{microseconds} microseconds since 2000-01-01")),
    }
}

/// Days since 2000-01-01 as a date.
fn date(days: i64) -> String {
    let date = (days + EPOCH_DAYS)
        .checked_mul(86_400)
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    date.map_or_else(
        || format!("{days} days since 2000-01-01"),
        |date| date.date_naive().to_string(),
    )
}

/// Seconds since 1970-01-01 00:00 UTC as RFC 3339.
pub fn unix_time(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.map_or_else(
        || format!("{seconds} seconds since 1970-01-01"),
        |time| time.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_dates() {
        assert_eq!(time(0), "2000-01-01T00:00:00.000000Z");
        assert_eq!(time(-1), "1999-12-31T23:59:59.999999Z");
        assert_eq!(time(848_836_234_123_456), "2026-11-24T11:50:34.123456Z");
        assert_eq!(unix_time(1_679_315_147), "2023-03-20T12:25:47Z");
        assert_eq!(unix_time(0), "1970-01-01T00:00:00Z");
        assert_eq!(
            unix_time(u64::MAX),
            "18446744073709551615 seconds since 1970-01-01"
        );
        assert_eq!(
            time(i64::MAX - 1),
            "9223372036854775806 microseconds since 2000-01-01"
        );
        assert_eq!(date(59), "2000-02-29");
        assert_eq!(date(60), "2000-03-01");
        assert_eq!(date(36_525), "2100-01-01");
        assert_eq!(date(-36_524), "1900-01-01");
        assert_eq!(date(-730_119), "0001-01-01");
    }

    #[test]
    fn nothing_acts_on_a_terminal() {
        let hostile = "a\u{1b}[2J\u{9b}\u{202e}\u{7f}\"\\é\u{1F600}";
        for text in [clean(hostile), quoted(hostile)] {
            assert!(
                text.chars()
                    .all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{9b}'),
                "{text}"
            );
            assert!(text.contains('é') && text.contains('\u{1F600}'));
        }
        assert_eq!(
            serde_json::from_str::<String>(&quoted(hostile)).ok().as_deref(),
            Some(hostile)
        );
    }
}
