//! Files of keys. They belong to one user alone, are replaced in one step, and no error shows a secret.
//!
//! | module | holds |
//! | --- | --- |
//! | [`key_file`] | the key that signs a log's checkpoints or a witness's cosignatures, and its older ones |
//! | [`ring`] | the server's ring of HMAC keys (`batchcortex.key_file`) |
//! | [`private_file`] | what both have in common: owner, permissions, atomic replacement |

pub mod key_file;
pub mod private_file;
pub mod ring;

pub use key_file::{KeyFile, KeyFileError};
pub use private_file::PrivateFileError;
