//! The `Signature-Input` header (RFC 9421 §4.1), in the profile's one spelling.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

use super::SignatureError;

const LABEL: &str = "device=";
const COMPONENTS: &str = "(\"@method\" \"@authority\" \"@path\" \"content-digest\")";

/// What `Signature-Input` says, as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters<'a> {
    /// When the device signed, in seconds since 1970-01-01 UTC by the device's clock.
    pub created: i64,
    /// The unpadded base64url of 16 bytes; one spelling for each value, fit for a unique index.
    pub nonce: &'a str,
    /// Which secret signed.
    pub keyid: &'a str,
}

/// Reads the value of `Signature-Input`. Nothing in it may be believed before
/// [`verify`](super::verify) has succeeded; the key id is needed to find the secret for that.
///
/// # Errors
/// [`SignatureError`], naming the first part that is not as the profile spells it.
pub fn parse_input(signature_input: &str) -> Result<Parameters<'_>, SignatureError> {
    parse(signature_input).map(|(values, _)| values)
}

/// The values, and the signature parameters as the MAC covers them (RFC 9421 §2.3).
pub(super) fn parse(signature_input: &str) -> Result<(Parameters<'_>, &str), SignatureError> {
    let parameters = signature_input
        .strip_prefix(LABEL)
        .ok_or(SignatureError::Components)?;
    let rest = parameters
        .strip_prefix(COMPONENTS)
        .and_then(|rest| rest.strip_prefix(";created="))
        .ok_or(SignatureError::Components)?;

    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (created, rest) = rest.split_at(digits);
    // RFC 9651 §3.3.1: at most 15 digits. No leading zero: one spelling for each value.
    if digits == 0 || digits > 15 || (digits > 1 && created.starts_with('0')) {
        return Err(SignatureError::Created);
    }
    let created = created.parse().map_err(|_| SignatureError::Created)?;

    let (nonce, rest) = string(rest, ";nonce=\"").ok_or(SignatureError::Nonce)?;
    if BASE64_URL_SAFE_NO_PAD
        .decode(nonce)
        .ok()
        .is_none_or(|nonce| nonce.len() != 16)
    {
        return Err(SignatureError::Nonce);
    }
    let (keyid, rest) = string(rest, ";keyid=\"").ok_or(SignatureError::KeyId)?;
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if keyid.is_empty() || keyid.len() > 64 || !keyid.bytes().all(name) {
        return Err(SignatureError::KeyId);
    }
    if rest != ";alg=\"hmac-sha256\"" {
        return Err(SignatureError::Algorithm);
    }
    Ok((
        Parameters {
            created,
            nonce,
            keyid,
        },
        parameters,
    ))
}

/// The header's value. It is a valid one only if [`parse`] reads it.
pub(super) fn write(created: i64, nonce: &str, keyid: &str) -> String {
    format!("{LABEL}{COMPONENTS};created={created};nonce=\"{nonce}\";keyid=\"{keyid}\";alg=\"hmac-sha256\"")
}

/// What stands between `prefix` and the next quotation mark, and what follows.
fn string<'a>(text: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    text.strip_prefix(prefix)?.split_once('"')
}
