//! Record encoding, hashing, Merkle trees, proofs and request signing, without PostgreSQL.
