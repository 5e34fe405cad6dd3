//! Values as PostgreSQL's text output writes them, as the bytes of a preimage (docs/format.md §2).

use std::net::IpAddr;

use batchcortex_ledger::column::Kind;
use chrono::{DateTime, FixedOffset, NaiveDate};

/// Microseconds from 1970-01-01 to 2000-01-01, and the days.
const EPOCH: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i64 = 10_957;

/// The bytes of a value; none when the text is no value of the type.
pub fn encode(kind: Kind, text: &str) -> Option<Vec<u8>> {
    Some(match kind {
        Kind::Uuid => uuid(text)?.to_vec(),
        Kind::Time => time(text)?.to_be_bytes().to_vec(),
        Kind::Date => date(text)?.to_be_bytes().to_vec(),
        Kind::Text => text.as_bytes().to_vec(),
        Kind::Int4 => text.parse::<i32>().ok()?.to_be_bytes().to_vec(),
        Kind::Int8 => text.parse::<i64>().ok()?.to_be_bytes().to_vec(),
        Kind::Inet => inet(text)?,
        Kind::Bytes => bytes(text)?,
        Kind::Int8s => array(text, 20, |text| {
            Some(text.parse::<i64>().ok()?.to_be_bytes().to_vec())
        })?,
        Kind::Float8s => array(text, 701, |text| {
            Some(text.parse::<f64>().ok()?.to_be_bytes().to_vec())
        })?,
        Kind::Booleans => array(text, 16, |text| match text {
            "t" => Some(vec![1]),
            "f" => Some(vec![0]),
            _ => None,
        })?,
        Kind::Texts => array(text, 25, |text| Some(text.as_bytes().to_vec()))?,
    })
}

/// The 16 bytes of a uuid.
pub fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.split('-').collect();
    (digits.len() == 32).then_some(())?;
    Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
}

/// `\x` and hexadecimal.
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    batchcortex_ledger::evidence::decode_hex(text.strip_prefix("\\x")?.as_bytes(), &mut bytes)
        .then_some(bytes)
}

/// Microseconds since 2000-01-01 UTC of a time in DateStyle ISO, in whatever zone the dump was made.
pub fn time(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(i64::MAX),
        "-infinity" => return Some(i64::MIN),
        _ => {}
    }
    // chrono wants the minutes of the offset.
    let (rest, sign, offset) = match text.rfind(['+', '-']) {
        Some(at) if at > 10 => (&text[..at], &text[at..=at], &text[at + 1..]),
        _ => return None,
    };
    let offset = match offset.len() {
        2 => format!("{offset}:00"),
        _ => offset.to_owned(),
    };
    let time: DateTime<FixedOffset> =
        DateTime::parse_from_rfc3339(&format!("{}{sign}{offset}", rest.replacen(' ', "T", 1))).ok()?;
    Some(time.timestamp_micros() - EPOCH)
}

fn date(text: &str) -> Option<i32> {
    let days = text
        .parse::<NaiveDate>()
        .ok()?
        .signed_duration_since(NaiveDate::default());
    i32::try_from(days.num_days() - EPOCH_DAYS).ok()
}

fn inet(text: &str) -> Option<Vec<u8>> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let (family, full, octets) = match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => (2, 32, address.octets().to_vec()),
        IpAddr::V6(address) => (3, 128, address.octets().to_vec()),
    };
    let mut bytes = vec![family, prefix.unwrap_or(full), 0, octets.len() as u8];
    bytes.extend_from_slice(&octets);
    Some(bytes)
}

/// A one-dimensional array in PostgreSQL's binary form.
fn array(text: &str, element_type: u32, encode: impl Fn(&str) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let elements = elements(text)?;
    let mut bytes = Vec::with_capacity(20 + 12 * elements.len());
    let mut word = |word: u32| bytes.extend_from_slice(&word.to_be_bytes());
    if elements.is_empty() {
        [0, 0, element_type].into_iter().for_each(word);
        return Some(bytes);
    }
    let nulls = elements.iter().any(Option::is_none);
    [
        1,
        u32::from(nulls),
        element_type,
        u32::try_from(elements.len()).ok()?,
        1,
    ]
    .into_iter()
    .for_each(&mut word);
    for element in elements {
        match element {
            None => bytes.extend_from_slice(&u32::MAX.to_be_bytes()),
            Some(element) => {
                let value = encode(&element)?;
                bytes.extend_from_slice(&u32::try_from(value.len()).ok()?.to_be_bytes());
                bytes.extend_from_slice(&value);
            }
        }
    }
    Some(bytes)
}

/// The elements of `{1,NULL,"a \"b\""}`.
pub fn elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    if inner.is_empty() {
        return Some(elements);
    }
    let mut characters = inner.chars();
    loop {
        let (mut element, mut quoted, mut in_quotes, mut more) = (String::new(), false, false, false);
        while let Some(character) = characters.next() {
            match character {
                '"' => {
                    quoted = true;
                    in_quotes = !in_quotes;
                }
                '\\' => element.push(characters.next()?),
                ',' if !in_quotes => {
                    more = true;
                    break;
                }
                other => element.push(other),
            }
        }
        if in_quotes {
            return None;
        }
        elements.push((quoted || element != "NULL").then_some(element));
        if !more {
            return Some(elements);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_each_type() {
        let hex = |kind, text: &str| {
            let mut digits = String::new();
            batchcortex_ledger::evidence::encode_hex(&encode(kind, text)?, &mut digits);
            Some(digits)
        };
        let same = |kind, text: &str, expected: &str| {
            assert_eq!(hex(kind, text).as_deref(), Some(expected), "{text}")
        };
        same(Kind::Time, "2000-01-01 00:00:00+00", "0000000000000000");
        same(Kind::Time, "2000-01-01 05:30:00.000001+05:30", "0000000000000001");
        same(Kind::Time, "1999-12-31 19:00:00-05", "0000000000000000");
        same(Kind::Date, "2026-01-02", "0000251a");
        same(Kind::Inet, "10.0.0.1", "022000040a000001");
        same(Kind::Inet, "10.0.0.0/8", "020800040a000000");
        same(Kind::Inet, "::1", "0380001000000000000000000000000000000001");
        same(Kind::Bytes, "\\x00ff", "00ff");
        same(Kind::Int4, "-2", "fffffffe");
        same(Kind::Int8s, "{}", "000000000000000000000014");
        same(
            Kind::Float8s,
            "{-0,NULL}",
            "0000000100000001000002bd0000000200000001000000088000000000000000ffffffff",
        );
        same(
            Kind::Texts,
            "{\"a\\\"b\",\"NULL\"}",
            "000000010000000000000019000000020000000100000003612262000000044e554c4c",
        );
        same(
            Kind::Booleans,
            "{t,f}",
            "000000010000000000000010000000020000000100000001010000000100",
        );
        for (kind, wrong) in [
            (Kind::Time, "yesterday"),
            (Kind::Uuid, "x"),
            (Kind::Int8, "1.5"),
            (Kind::Inet, "a"),
            (Kind::Texts, "{\"a}"),
        ] {
            assert_eq!(encode(kind, wrong), None);
        }
    }
}
