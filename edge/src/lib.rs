//! The edge of BatchCortex: what stands beside the equipment.
//!
//! [`agent`] reads tags of an OPC UA server and posts what it captured; it has no way to write to equipment.
//! [`witness`] follows the log that the samples end in, cosigns its checkpoints, and raises an alarm when history was changed.
//! [`plant`] is an OPC UA server that plays a recorded or a modelled batch, for demonstrations and tests.

pub mod agent;
pub mod plant;
pub mod witness;

mod durable_file;
mod explain;
mod http;

pub use explain::explain;
