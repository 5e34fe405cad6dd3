//! The agent: from an OPC UA subscription to acknowledged messages.
//!
//! ```text
//! session ─ subscription ─▶ capture ─▶ message ─▶ spool ─▶ uplink ─▶ API
//! ```
//!
//! - [`config`]: settings, the secret and the node addresses ([`node_address`])
//! - [`session`]: the connection to the OPC UA server; [`tags`]: what it offers
//! - [`subscription`]: notifications in their order, acknowledged when they are on disk
//! - [`capture`]: the loop over all of that
//! - [`sample`], [`message`]: values and the numbered messages made of them
//! - [`spool`]: messages on disk until they are acknowledged
//! - [`uplink`]: signed requests to the API
//! - [`status`]: what the agent is doing
//!
//! Nothing here listens: every connection goes out. Nothing writes: of the OPC UA services only
//! those that read, browse and subscribe are used.

pub mod capture;
pub mod config;
pub mod message;
pub mod node_address;
pub mod sample;
pub mod session;
pub mod spool;
pub mod status;
pub mod subscription;
pub mod tags;
pub mod uplink;

mod run;

pub use run::{RunError, run};
