//! Who is calling: credentials, sessions, and the identity bound to a transaction.

pub mod account; // change of password, unlocking
pub mod agreement; // terms, privacy notice, accountability statement
pub mod api_key; // programs
pub mod attempt_budget; // how often a proof may be tried
pub mod binding; // the setting that only the extension can write
pub mod credential; // opaque tokens
pub mod invitation; // joining
pub mod lent; // tables of others, read in the name of their owners
pub mod log_redaction; // credentials stay out of the log
pub mod login; // password to session
pub mod password; // Argon2id
pub mod password_policy; // which passwords are acceptable, and how long
pub mod password_slot; // how many passwords are checked at once
pub mod proof; // one proof of a person: counted, locked, recorded
pub mod request; // session to transaction
pub mod second_factor; // TOTP secrets and recovery codes
pub mod totp; // RFC 6238
pub mod unique_row; // one row by a unique index, without a plan
pub mod unscoped; // look-ups before an organisation is known
