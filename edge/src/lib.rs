//! The edge of BatchCortex: what stands beside the equipment.
//!
//! [`agent`] reads tags of an OPC UA server and posts what it captured; it has no way to write to equipment.
//! [`plant`] is an OPC UA server that plays a recorded or a modelled batch, for demonstrations and tests.

pub mod agent;
pub mod plant;

mod durable_file;
mod explain;

pub use explain::explain;
