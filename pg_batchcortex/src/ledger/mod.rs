//! The ledger: rows become leaves in the writer's transaction, a worker seals them into each organisation's Merkle
//! tree, and verification recomputes all of it.

pub mod continuity; // whether what is stored is what was signed last
pub mod entry; // a leaf that waits, packed
pub mod evidence; // records with everything that proves them, in one file
pub mod foreign; // rows of tables that are not the project's
pub mod incarnation; // lives of the log
pub mod key; // the name of a record
pub mod leaf; // the trigger functions that hash and queue rows
pub mod lookup; // which leaf a record is
mod own_settings; // what no database sets for the sealer
mod plan; // statements that the sealer plans once
pub mod preimage; // the preimage of a row, for whoever wants to recompute
pub mod proof; // inclusion and consistency proofs
pub mod publish; // checkpoints and the global log over them
pub mod records; // which record each leaf of a tile stands for
pub mod scan; // rows in batches under the caller's snapshot
pub mod seal; // one pass: waiting leaves become part of their trees
pub mod signature; // the server's signature on a stored checkpoint
pub mod tree; // a stored tree that grows
pub mod verify; // rows, leaves, tiles and checkpoints against each other
pub mod witness; // keys and cosignatures of witnesses
pub mod worker; // the processes that seal
