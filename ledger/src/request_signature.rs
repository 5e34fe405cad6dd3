//! Requests signed by a device: a profile of HTTP Message Signatures (RFC 9421) with hmac-sha256
//! (§3.3.3) and a digest of the body (RFC 9530).
//!
//! ```text
//! Content-Digest: sha-256=:<base64>:
//! Signature-Input: device=("@method" "@authority" "@path" "content-digest");created=1700000000;nonce="<base64url of 16 bytes>";keyid="<key id>";alg="hmac-sha256"
//! Signature: device=:<base64>:
//! ```
//!
//! The profile has one spelling: these components in this order, these parameters in this order, one
//! signature, no optional white space. The MAC covers the received spelling (§2.5), so that a
//! verifier never signs its own idea of a header. Whether `created` lies in the accepted window and
//! whether the nonce is new is for the caller to decide: this crate has no clock and no memory.

mod base;
mod error;
mod input;

pub use error::SignatureError;
pub use input::{Parameters, parse_input};

use base::{MessageParts, mac};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use hmac::Mac as _;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::hash::Hash;

/// The length of a device's secret, in bytes.
pub const SECRET_LENGTH: usize = 32;

/// The three headers of a signed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeaders {
    /// The value of `Content-Digest` (RFC 9530 §2).
    pub content_digest: String,
    /// The value of `Signature-Input` (RFC 9421 §4.1).
    pub signature_input: String,
    /// The value of `Signature` (RFC 9421 §4.2).
    pub signature: String,
}

/// The value of `Content-Digest` for a body: `sha-256=:<base64>:` (RFC 9530 §2).
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(body)))
}

/// Signs a request.
///
/// `key` is the device's secret of 32 bytes; `authority` is the Host header as sent; `path` has no
/// query; `created` counts seconds since 1970-01-01 UTC; `nonce` is the unpadded base64url of 16
/// random bytes, new for every request; `keyid` names the secret.
///
/// # Errors
/// [`SignatureError`] when an argument does not fit the profile: what is signed always verifies.
#[allow(clippy::too_many_arguments)] // They are the parts of an HTTP request and of its signature.
pub fn sign(
    key: &[u8],
    method: &str,
    authority: &str,
    path: &str,
    body: &[u8],
    created: i64,
    nonce: &str,
    keyid: &str,
) -> Result<SignedHeaders, SignatureError> {
    let signature_input = input::write(created, nonce, keyid);
    let (_, parameters) = input::parse(&signature_input)?;
    let content_digest = content_digest(body);
    let base = MessageParts::new(method, authority, path, &content_digest)?.signature_base(parameters);
    let signature = mac(key, &base)?.finalize().into_bytes();
    Ok(SignedHeaders {
        content_digest,
        signature: format!("device=:{}:", BASE64_STANDARD.encode(signature)),
        signature_input,
    })
}

/// Checks the signature of a request and the digest of its body, both in constant time.
///
/// `authority` is the Host header as received; the last three are the values of `Content-Digest`,
/// `Signature-Input` and `Signature`. The caller still has to check the time and the nonce.
///
/// # Errors
/// [`SignatureError`], which names what is wrong. Nothing of the request may be used then.
#[allow(clippy::too_many_arguments)] // They are the parts of an HTTP request and of its signature.
pub fn verify<'a>(
    key: &[u8],
    method: &str,
    authority: &str,
    path: &str,
    body: &[u8],
    content_digest: &str,
    signature_input: &'a str,
    signature: &str,
) -> Result<Parameters<'a>, SignatureError> {
    let (values, parameters) = input::parse(signature_input)?;
    let digest = binary(content_digest, "sha-256=:").ok_or(SignatureError::ContentDigestSyntax)?;
    let given = binary(signature, "device=:").ok_or(SignatureError::SignatureSyntax)?;
    let base = MessageParts::new(method, authority, path, content_digest)?.signature_base(parameters);
    mac(key, &base)?
        .verify_slice(&given)
        .map_err(|_| SignatureError::SignatureMismatch)?;
    if bool::from(Sha256::digest(body).ct_eq(&digest)) {
        Ok(values)
    } else {
        Err(SignatureError::ContentDigestMismatch)
    }
}

/// The 32 bytes of `<prefix><base64>:`, in their one spelling (RFC 9651 §3.3.5).
fn binary(value: &str, prefix: &str) -> Option<Hash> {
    let encoded = value.strip_prefix(prefix)?.strip_suffix(':')?;
    BASE64_STANDARD.decode(encoded).ok()?.try_into().ok()
}
