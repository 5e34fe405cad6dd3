//! The signature base (RFC 9421 §2.5) and its MAC (§3.3.3).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{SECRET_LENGTH, SignatureError};

/// The covered components, checked: none can end its line and smuggle in another.
pub(super) struct MessageParts<'a> {
    method: &'a str,
    authority: String,
    path: &'a str,
    content_digest: &'a str,
}

impl<'a> MessageParts<'a> {
    pub(super) fn new(
        method: &'a str,
        authority: &str,
        path: &'a str,
        content_digest: &'a str,
    ) -> Result<Self, SignatureError> {
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(SignatureError::Method);
        }
        // Host and port: names, IPv4, IPv6 in brackets, percent-encoding (RFC 3986 §3.2.2).
        let host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(host) {
            return Err(SignatureError::Authority);
        }
        // Segments of RFC 3986 §3.3.
        let segment = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
        if !path.starts_with('/') || !path.bytes().all(segment) {
            return Err(SignatureError::Path);
        }
        // RFC 9421 §2.2.3: the authority is compared in lower case.
        Ok(MessageParts {
            method,
            authority: authority.to_ascii_lowercase(),
            path,
            content_digest,
        })
    }

    /// The signature base with these signature parameters as received.
    pub(super) fn signature_base(&self, parameters: &str) -> String {
        signature_base(
            &[
                ("@method", self.method),
                ("@authority", &self.authority),
                ("@path", self.path),
                ("content-digest", self.content_digest),
            ],
            parameters,
        )
    }
}

/// One line a component, then the parameters, without a newline at the end (RFC 9421 §2.5).
fn signature_base(components: &[(&str, &str)], parameters: &str) -> String {
    let mut base = String::with_capacity(384);
    for (name, value) in components {
        base.extend(["\"", name, "\": ", value, "\n"]);
    }
    base.extend(["\"@signature-params\": ", parameters]);
    base
}

/// HMAC-SHA256 of the signature base.
pub(super) fn mac(key: &[u8], base: &str) -> Result<Hmac<Sha256>, SignatureError> {
    // A shorter key would be padded with zeros, an empty one would let everyone sign.
    if key.len() != SECRET_LENGTH {
        return Err(SignatureError::KeyLength(key.len()));
    }
    keyed(key, base)
}

fn keyed(key: &[u8], base: &str) -> Result<Hmac<Sha256>, SignatureError> {
    let mut mac = Hmac::new_from_slice(key).map_err(|_| SignatureError::KeyLength(key.len()))?;
    mac.update(base.as_bytes());
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine as _};

    use super::*;

    /// RFC 9421 B.2.5, with the shared secret of B.1.5: another profile, the same construction.
    #[test]
    fn the_example_of_rfc_9421_b_2_5() {
        let key = BASE64_STANDARD
            .decode(
                "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==",
            )
            .unwrap();
        let base = signature_base(
            &[
                ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
                ("@authority", "example.com"),
                ("content-type", "application/json"),
            ],
            "(\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\"",
        );
        assert_eq!(
            base,
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
             \"@authority\": example.com\n\
             \"content-type\": application/json\n\
             \"@signature-params\": (\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\""
        );
        let signature = keyed(&key, &base).unwrap().finalize().into_bytes();
        assert_eq!(
            BASE64_STANDARD.encode(signature),
            "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="
        );
    }
}
