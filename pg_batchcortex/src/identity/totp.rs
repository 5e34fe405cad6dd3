//! Time-based one-time passwords: RFC 6238 over HMAC-SHA-1, six digits, steps of 30 seconds. That is what every
//! authenticator program speaks; others (SHA-256, eight digits) many of them take and then ignore.

use hmac::{Hmac, KeyInit, Mac};
use pgrx::prelude::*;
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// Bytes of a secret: the output size of SHA-1, as RFC 4226 §4 (R6) recommends.
pub const SECRET_BYTES: usize = 20;
/// Seconds of a step (RFC 6238 §4.1, X).
pub const STEP: i64 = 30;
/// Steps by which the two clocks may differ, to either side (RFC 6238 §5.2).
const DRIFT: i64 = 1;
/// Digits of a code.
const DIGITS: u32 = 6;

/// The code of a step (RFC 4226 §5.3).
pub fn code(secret: &[u8], step: i64, digits: u32) -> Option<String> {
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(secret).ok()?;
    mac.update(&step.to_be_bytes());
    let tag = mac.finalize().into_bytes();
    let at = usize::from(tag[19] & 0x0f);
    let number = u32::from_be_bytes([tag[at], tag[at + 1], tag[at + 2], tag[at + 3]]) & 0x7fff_ffff;
    let width = usize::try_from(digits).ok()?;
    Some(format!("{:0width$}", number % 10u32.checked_pow(digits)?))
}

/// The step whose code `presented` is, among those near `now` (seconds since 1970) and after `used`: a code that was
/// accepted once, and every older one, is refused (RFC 6238 §5.2).
pub fn accepted_step(secret: &[u8], presented: &str, now: i64, used: Option<i64>) -> Option<i64> {
    let current = now.div_euclid(STEP);
    let mut found = None;
    // All steps are compared, whichever fits.
    for step in (current - DRIFT)..=(current + DRIFT) {
        let expected = code(secret, step, DIGITS)?;
        let fits = bool::from(expected.as_bytes().ct_eq(presented.as_bytes()));
        if fits && used.is_none_or(|used| step > used) {
            found = Some(step);
        }
    }
    found
}

/// Whether a text has the form of a code; anything else is taken for a recovery code.
pub fn looks_like_code(text: &str) -> bool {
    text.len() == DIGITS as usize && text.bytes().all(|b| b.is_ascii_digit())
}

/// The secret as an authenticator program reads it (otpauth URI, Key Uri Format).
pub fn uri(secret: &str, username: &str) -> String {
    format!(
        "otpauth://totp/BatchCortex:{}?secret={secret}&issuer=BatchCortex&algorithm=SHA1&digits={DIGITS}&period={STEP}",
        percent_encode(username)
    )
}

/// RFC 4648 §6 without padding.
pub fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let mut group = [0u8; 8];
        group[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(group);
        for i in 0..(chunk.len() * 8).div_ceil(5) {
            let index = (bits >> (35 - 5 * i)) & 0x1f;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The one-time password of a secret at a time (seconds since 1970): RFC 6238 with SHA-1 and steps of 30 seconds.
#[pg_extern(immutable, parallel_safe)]
pub fn totp_code(secret: &[u8], at: i64, digits: default!(i32, 6)) -> Option<String> {
    let digits = u32::try_from(digits)
        .ok()
        .filter(|digits| (6..=8).contains(digits))?;
    code(secret, at.div_euclid(STEP), digits)
}

/// The step of a code that would be accepted; null for a code that is wrong, too old, or of a step that was used.
#[pg_extern(immutable, parallel_safe)]
pub fn totp_step(secret: &[u8], presented: &str, at: i64, used: i64) -> Option<i64> {
    accepted_step(secret, presented, at, Some(used))
}

/// A secret as people type it into an authenticator program: base32 (RFC 4648) without padding.
#[pg_extern(immutable, parallel_safe)]
pub fn totp_text(secret: &[u8]) -> String {
    base32(secret)
}
