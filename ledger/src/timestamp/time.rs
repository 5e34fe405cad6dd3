//! Times as RFC 3161 §2.4.2 writes them.

use chrono::NaiveDateTime;

/// Microseconds since 1970-01-01 UTC of `YYYYMMDDhhmmss[.fraction]Z`; none for anything else. Finer digits are cut off.
pub fn microseconds(text: &str) -> Option<i64> {
    let (seconds, fraction) = match text.strip_suffix('Z')?.split_once('.') {
        None => (text.strip_suffix('Z')?, ""),
        Some((_, fraction)) if fraction.is_empty() || fraction.ends_with('0') => return None,
        Some(parts) => parts,
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.len() != 14 || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let whole = NaiveDateTime::parse_from_str(seconds, "%Y%m%d%H%M%S").ok()?;
    let micros = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(6)
        .fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    whole.and_utc().timestamp_micros().checked_add(micros)
}
