//! Values that a record names by a salted hash, so that they can be erased and the record's leaf stays what it is.

use sha2::{Digest, Sha256};

use crate::evidence::encode_hex;
use crate::hash::Hash;

const DOMAIN: &[u8] = b"batchcortex/commitment/v1\n";
const PREFIX: &str = "sha256:";

/// Length of a salt in bytes.
pub const SALT: usize = 32;

/// SHA-256("batchcortex/commitment/v1" ‖ 0x0A ‖ salt ‖ value in UTF-8). Without the salt it says nothing about the value, however few
/// values there may be.
pub fn commit(salt: &[u8; SALT], value: &str) -> Hash {
    let hash = Sha256::new().chain_update(DOMAIN).chain_update(salt);
    hash.chain_update(value).finalize().into()
}

/// How a record writes a commitment: `sha256:` and 64 hexadecimal digits.
pub fn text(commitment: &Hash) -> String {
    let mut text = PREFIX.to_owned();
    encode_hex(commitment, &mut text);
    text
}
