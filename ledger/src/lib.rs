//! Record encoding, hashing, Merkle trees, proofs and request signing, without PostgreSQL.
//!
//! The extension, the edge agent and the offline verifier share this crate, so that they agree byte
//! for byte. Nothing here reads a file, a clock or the network, and no input makes it panic.
//!
//! | module | holds | after |
//! | --- | --- | --- |
//! | [`hash`] | leaf and node hashes | RFC 6962 §2.1 |
//! | [`record`] | the preimage of a record's leaf | `docs/format.md` |
//! | [`merkle`] | roots, compact ranges, proofs and their verification | RFC 6962 §2.1, RFC 9162 §2.1 |
//! | [`tile`] | the tree as 256-wide tiles | C2SP tlog-tiles |
//! | [`request_signature`] | requests that a device signs | RFC 9421, RFC 9530 |

pub mod hash;
pub mod merkle;
pub mod record;
pub mod request_signature;
pub mod tile;
