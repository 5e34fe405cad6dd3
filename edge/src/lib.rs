//! The edge of BatchCortex: what stands beside the equipment.
//!
//! [`plant`] is an OPC UA server that plays a recorded or a modelled batch, for demonstrations and tests.

pub mod plant;

mod durable_file;
