//! What devices send: proven by their key, taken exactly once, stored as captured.

pub mod ingest; // from a signed request to stored segments
pub mod message; // the body: its format and its limits
pub mod proof; // whose request it is
pub mod time; // OPC UA ticks
