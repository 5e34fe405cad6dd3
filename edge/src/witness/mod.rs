//! The witness: the customer's own machine remembers what the log has signed, so that nobody can sign something else later.
//!
//! ```text
//! API ── checkpoint, proof ──▶ follow ──▶ keeper ──▶ cosignature ──▶ API
//!                              others ──▶ keeper (serve)      feed ──▶ other witnesses
//! ```
//!
//! - [`settings`]: the table `[witness]` of the configuration
//! - [`store`]: what must not be forgotten, on disk before a cosignature leaves
//! - [`keeper`]: decisions, one at a time: judge, cosign, store
//! - [`log_client`]: the log as the API shows it
//! - [`follow`]: the loop over all of that, `doubt`: what may right itself; [`feed`]: other witnesses; [`serve`]: others who ask
//! - [`alarm`]: refusals that a person must see; [`accept`]: what a person then decides
//! - [`status`]: how it stands

pub mod accept;
pub mod alarm;
pub mod feed;
pub mod follow;
pub mod keeper;
pub mod log_client;
pub mod serve;
pub mod settings;
pub mod status;
pub mod store;

mod doubt;
mod run;

pub use run::{WitnessError, run};
