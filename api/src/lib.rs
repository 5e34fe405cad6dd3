//! HTTP over the functions of `batchcortex_api`, and nothing else: the database decides.
//!
//! A request passes [`layers`] (admission, origin, problem rendering, headers, log), is read by a handler in [`routes`], and
//! becomes one transaction in [`database`].

pub mod body;
pub mod database;
pub mod layers;
pub mod lines;
pub mod openapi;
pub mod problem;
pub mod request;
pub mod routes;
pub mod server;
pub mod settings;
pub mod wire;
