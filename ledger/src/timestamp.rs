//! Time stamps (RFC 3161) over signed notes: the query for an authority, and what its response says.
//!
//! The query and the response are DER. What a response says about its content is read and compared here; that the authority has signed
//! it takes its certificates, and is what `openssl ts -verify` checks.

mod response;
mod time;

pub use response::{Token, TokenError, read, read_over};

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Encode, Tag};
use sha2::{Digest, Sha256};

use crate::hash::Hash;

const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const NONCE: &[u8] = b"batchcortex/timestamp/v1\n";

/// What is time-stamped: SHA-256 of the signed note without cosignatures.
pub fn imprint(note: &str) -> Hash {
    Sha256::digest(note.as_bytes()).into()
}

/// The nonce of the query over a note, a positive number of 63 bits: the first 8 bytes of
/// SHA-256("batchcortex/timestamp/v1" ‖ 0x0A ‖ note) without the highest bit. It follows from the note, so that nothing must be kept
/// between query and response: a response to an earlier query over the same note proves no later time than it says.
pub fn nonce(note: &str) -> u64 {
    let digest = Sha256::new().chain_update(NONCE).chain_update(note).finalize();
    digest[..8]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
        & (u64::MAX >> 1)
}

/// The TimeStampReq over a note, DER: version 1, SHA-256, the nonce, and the wish that the response carries the authority's
/// certificate.
///
/// # Errors
/// None that can come of a note; what the encoder says.
pub fn query(note: &str) -> der::Result<Vec<u8>> {
    let null = AnyRef::new(Tag::Null, &[])?.to_der()?;
    let algorithm = sequence(&[&SHA_256.to_der()?, &null])?;
    let imprint = sequence(&[&algorithm, &OctetStringRef::new(&imprint(note))?.to_der()?])?;
    sequence(&[
        &1u8.to_der()?,
        &imprint,
        &UintRef::new(&nonce(note).to_be_bytes())?.to_der()?,
        &true.to_der()?,
    ])
}

fn sequence(parts: &[&[u8]]) -> der::Result<Vec<u8>> {
    AnyRef::new(Tag::Sequence, &parts.concat())?.to_der()
}
