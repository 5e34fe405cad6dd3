//! Why a request's signature does not hold.

/// Why a request's signature does not hold. No variant carries a secret or a byte of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The secret is not 32 bytes long.
    #[error("a device secret has 32 bytes, this one has {0}")]
    KeyLength(usize),
    /// The request's method is not an upper-case token.
    #[error("the method must be upper-case letters")]
    Method,
    /// The authority is empty or has characters that no host and port have.
    #[error("the authority must be a host and an optional port")]
    Authority,
    /// The path does not begin with a slash, or has a query or characters that no path has.
    #[error("the path must begin with a slash and have no query")]
    Path,
    /// `Content-Digest` is not `sha-256=:<base64 of 32 bytes>:`.
    #[error("Content-Digest must be sha-256=:<base64 of 32 bytes>:")]
    ContentDigestSyntax,
    /// `Signature` is not `device=:<base64 of 32 bytes>:`.
    #[error("Signature must be device=:<base64 of 32 bytes>:")]
    SignatureSyntax,
    /// `Signature-Input` does not begin with the label and the components of the profile.
    #[error(
        "Signature-Input must begin with device=(\"@method\" \"@authority\" \"@path\" \"content-digest\");created="
    )]
    Components,
    /// The parameter `created` is no whole number of seconds from 0 to 999999999999999.
    #[error("the parameter created must be a whole number of seconds since 1970-01-01 UTC")]
    Created,
    /// The parameter `nonce` is missing or is not the base64url of 16 bytes.
    #[error("the parameter nonce must follow created and be the unpadded base64url of 16 bytes")]
    Nonce,
    /// The parameter `keyid` is missing or has other than 1 to 64 letters, digits, `_`, `-` and `.`.
    #[error("the parameter keyid must follow nonce and have 1 to 64 letters, digits, _, - or .")]
    KeyId,
    /// The parameter `alg` is missing, another algorithm, or something follows it.
    #[error("the last parameter must be alg=\"hmac-sha256\"")]
    Algorithm,
    /// The MAC is not that of this request under this secret.
    #[error("the signature is not that of this request")]
    SignatureMismatch,
    /// The signature holds, but the body is not the one that was signed.
    #[error("the body does not have the signed Content-Digest")]
    ContentDigestMismatch,
}
