//! A plant to read from: an OPC UA server with one bioreactor that plays a batch.
//!
//! - [`recording`]: the batch to play, rows of values with a time each, and the CSV form of it
//! - [`model`]: a fed-batch fermentation that makes such a recording without a file
//! - [`clock`]: the source time of each row
//! - [`server`]: the OPC UA address space and its limits
//! - [`replay`]: one row after the other, and the report of what was emitted

pub mod clock;
pub mod model;
pub mod recording;
pub mod replay;
pub mod server;

/// Namespace of everything that the plant shows.
pub const NAMESPACE_URI: &str = "urn:batchcortex:plant";
