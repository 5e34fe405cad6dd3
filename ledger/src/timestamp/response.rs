//! What a TimeStampResp says.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

use super::{SHA_256, time};
use crate::hash::Hash;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");

/// The longest response that is read: tokens with the whole chain of an authority have some 10 KB.
const LONGEST: usize = 1 << 20;

/// Why a response is no time stamp.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The response is longer than is read.
    #[error("the response is longer than {LONGEST} bytes")]
    TooLong,
    /// The authority has refused; its status and what it says about it.
    #[error("the authority did not grant the time stamp: status {status}{}{text}", if text.is_empty() { "" } else { ", " })]
    NotGranted {
        /// PKIStatus: 2 rejection, 3 waiting, 4 and 5 revocation.
        status: u64,
        /// The first of its texts; empty when it gives none.
        text: String,
    },
    /// The bytes are no TimeStampResp in DER.
    #[error("the response cannot be read: {0}")]
    Syntax(&'static str),
    /// The token is over a digest of another kind.
    #[error("the token is over a digest that is not SHA-256")]
    Digest,
    /// The token is over another note, or another checkpoint of the same log.
    #[error("the token is over something else than this checkpoint")]
    Imprint,
    /// The token answers another query.
    #[error("the token answers another query: its nonce is not the one of the query over this checkpoint")]
    Nonce,
}

/// What a time-stamp token says. Nothing here has checked its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// SHA-256 of what is time-stamped.
    pub imprint: Hash,
    /// When the authority has seen it, microseconds since 1970-01-01 UTC.
    pub time: i64,
    /// The authority's policy, an object identifier.
    pub policy: String,
    /// Serial number of the token, hexadecimal digits.
    pub serial: String,
    /// The nonce of the query, a number big-endian without leading zeros; none when the response has none.
    pub nonce: Option<Vec<u8>>,
}

/// Reads a TimeStampResp.
///
/// # Errors
/// [`TokenError`] unless it is DER, granted, and holds a token of version 1 over a SHA-256 digest.
pub fn read(response: &[u8]) -> Result<Token, TokenError> {
    if response.len() > LONGEST {
        return Err(TokenError::TooLong);
    }
    let mut whole = Parts::of(response)?;
    let mut parts = whole.nested(Tag::Sequence, "a TimeStampResp")?;
    whole.end("after the TimeStampResp")?;
    let mut status = parts.nested(Tag::Sequence, "its status")?;
    let code = number(status.value(Tag::Integer, "its status")?).ok_or(TokenError::Syntax("its status"))?;
    // granted, grantedWithMods
    if code > 1 {
        let text = status
            .nested(Tag::Sequence, "")
            .and_then(|mut texts| texts.value(Tag::Utf8String, ""));
        return Err(TokenError::NotGranted {
            status: code,
            text: text.map(printable).unwrap_or_default(),
        });
    }
    let mut content = parts.nested(Tag::Sequence, "the token")?;
    parts.end("after the token")?;
    content.object(SIGNED_DATA, "the token is no SignedData")?;
    let mut explicit = content.nested(context(0), "the SignedData")?;
    let mut signed = explicit.nested(Tag::Sequence, "the SignedData")?;
    signed.value(Tag::Integer, "version of the SignedData")?;
    signed.value(Tag::Set, "digest algorithms of the SignedData")?;
    let mut encapsulated = signed.nested(Tag::Sequence, "content of the SignedData")?;
    encapsulated.object(TST_INFO, "the content is no TSTInfo")?;
    let mut explicit = encapsulated.nested(context(0), "content of the SignedData")?;
    information(explicit.value(Tag::OctetString, "content of the SignedData")?)
}

/// Reads a TimeStampResp over a note: its imprint must be the note's, its nonce that of the [`query`](super::query) or none.
///
/// # Errors
/// [`TokenError`] as for [`read`]; [`TokenError::Imprint`], [`TokenError::Nonce`].
pub fn read_over(note: &str, response: &[u8]) -> Result<Token, TokenError> {
    let token = read(response)?;
    if token.imprint != super::imprint(note) {
        return Err(TokenError::Imprint);
    }
    let asked = super::nonce(note).to_be_bytes();
    match &token.nonce {
        Some(nonce) if nonce.as_slice() != trimmed(&asked) => Err(TokenError::Nonce),
        _ => Ok(token),
    }
}

fn information(bytes: &[u8]) -> Result<Token, TokenError> {
    let mut whole = Parts::of(bytes)?;
    let mut info = whole.nested(Tag::Sequence, "the TSTInfo")?;
    whole.end("after the TSTInfo")?;
    if number(info.value(Tag::Integer, "version of the TSTInfo")?) != Some(1) {
        return Err(TokenError::Syntax("the TSTInfo is not of version 1"));
    }
    let policy = object(info.value(Tag::ObjectIdentifier, "policy of the TSTInfo")?)
        .ok_or(TokenError::Syntax("policy of the TSTInfo"))?;
    let mut imprint = info.nested(Tag::Sequence, "message imprint")?;
    let mut algorithm = imprint.nested(Tag::Sequence, "message imprint")?;
    if object(algorithm.value(Tag::ObjectIdentifier, "message imprint")?) != Some(SHA_256) {
        return Err(TokenError::Digest);
    }
    let digest = imprint.value(Tag::OctetString, "message imprint")?;
    let serial = info.value(Tag::Integer, "serial number")?;
    let moment = info.value(Tag::GeneralizedTime, "time of the TSTInfo")?;
    // accuracy, ordering, nonce, tsa, extensions: each may be missing.
    let mut nonce = None;
    while let Some(part) = info.next()? {
        if part.tag() == Tag::Integer {
            nonce = Some(trimmed(part.value()).to_vec());
        }
    }
    Ok(Token {
        imprint: digest.try_into().map_err(|_| TokenError::Digest)?,
        time: std::str::from_utf8(moment)
            .ok()
            .and_then(time::microseconds)
            .ok_or(TokenError::Syntax("time of the TSTInfo"))?,
        policy: policy.to_string(),
        serial: trimmed(serial).iter().map(|byte| format!("{byte:02x}")).collect(),
        nonce,
    })
}

/// The parts of a constructed value, from left to right.
struct Parts<'a>(SliceReader<'a>);

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, TokenError> {
        let reader = SliceReader::new(bytes).map_err(|_| TokenError::Syntax("its length"))?;
        Ok(Parts(reader))
    }

    fn next(&mut self) -> Result<Option<AnyRef<'a>>, TokenError> {
        if self.0.is_finished() {
            return Ok(None);
        }
        let part = AnyRef::decode(&mut self.0);
        part.map(Some).map_err(|_| TokenError::Syntax("not DER"))
    }

    fn value(&mut self, tag: Tag, what: &'static str) -> Result<&'a [u8], TokenError> {
        match self.next()? {
            Some(part) if part.tag() == tag => Ok(part.value()),
            _ => Err(TokenError::Syntax(what)),
        }
    }

    fn nested(&mut self, tag: Tag, what: &'static str) -> Result<Parts<'a>, TokenError> {
        Parts::of(self.value(tag, what)?)
    }

    fn object(&mut self, wanted: ObjectIdentifier, what: &'static str) -> Result<(), TokenError> {
        let found = object(self.value(Tag::ObjectIdentifier, what)?);
        (found == Some(wanted))
            .then_some(())
            .ok_or(TokenError::Syntax(what))
    }

    fn end(&mut self, what: &'static str) -> Result<(), TokenError> {
        match self.next()? {
            None => Ok(()),
            Some(_) => Err(TokenError::Syntax(what)),
        }
    }
}

fn context(number: u8) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber::new(number),
    }
}

fn object(value: &[u8]) -> Option<ObjectIdentifier> {
    ObjectIdentifier::from_bytes(value).ok()
}

/// A number without leading zeros; one zero for zero.
fn trimmed(value: &[u8]) -> &[u8] {
    let zeros = value.iter().take_while(|byte| **byte == 0).count();
    &value[zeros.min(value.len().saturating_sub(1))..]
}

/// A number that is not negative and has at most 63 bits.
fn number(value: &[u8]) -> Option<u64> {
    let fits = (1..=8).contains(&value.len()) && value[0] < 0x80;
    fits.then(|| {
        value
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    })
}

/// What an authority says, for a message: its beginning, without control characters.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
