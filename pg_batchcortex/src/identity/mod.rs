//! Who is calling: credentials, sessions, and the identity bound to a transaction.

pub mod binding; // the setting that only the extension can write
pub mod credential; // opaque tokens
pub mod invitation; // joining
pub mod login; // password to session
pub mod password; // Argon2id
pub mod request; // session to transaction
pub mod unscoped; // look-ups before an organisation is known
