//! Anchors: what says outside of the database how far the log had come, so that a database that is put back, or rebuilt as a whole,
//! does not pass for the one that was.

pub mod directory; // checkpoints as files, written after each sealing and compared when a sealer starts
pub mod file; // one of these files
pub mod timestamp; // RFC 3161 over checkpoints
