//! Record encoding, hashing, Merkle trees, proofs and request signing, without PostgreSQL.
//!
//! The extension, the edge agent and the offline verifier share this crate, so that they agree byte
//! for byte. Nothing here reads a file, a clock or the network, and no input makes it panic.
//!
//! | module | holds | after |
//! | --- | --- | --- |
//! | [`hash`] | leaf and node hashes | RFC 6962 §2.1 |
//! | [`record`] | the preimage of a record's leaf | `docs/format.md` |
//! | [`column`] | types of the columns of the project's own tables | `docs/format.md` |
//! | [`merkle`] | roots, compact ranges, proofs and their verification | RFC 6962 §2.1, RFC 9162 §2.1 |
//! | [`tile`] | the tree as 256-wide tiles | C2SP tlog-tiles |
//! | [`commitment`] | values named by salted hashes | `docs/format.md` |
//! | [`note`] | text signed by keys with names | C2SP signed-note |
//! | [`checkpoint`] | the signed state of a log | C2SP tlog-checkpoint |
//! | [`global`] | the two levels of logs: origins, texts of checkpoints, incarnations | `docs/format.md` |
//! | [`cosignature`] | what a witness adds to a checkpoint | C2SP tlog-cosignature |
//! | [`witness`] | what a witness cosigns and what it refuses | C2SP tlog-witness |
//! | [`tlog_proof`] | a record's proof in one text | C2SP tlog-proof |
//! | [`evidence`] | records with their proof in one file, verified as it streams | `docs/format.md` |
//! | [`timestamp`] | queries to a time-stamping authority and what it answers | RFC 3161 |
//! | [`request_signature`] | requests that a device signs | RFC 9421, RFC 9530 |

pub mod checkpoint;
pub mod column;
pub mod commitment;
pub mod cosignature;
pub mod evidence;
pub mod global;
pub mod hash;
pub mod merkle;
pub mod note;
pub mod record;
pub mod request_signature;
pub mod tile;
pub mod timestamp;
pub mod tlog_proof;
pub mod witness;
