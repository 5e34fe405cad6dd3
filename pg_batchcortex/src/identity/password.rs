//! Argon2id (RFC 9106) in PHC string format.

use super::password_slot;
use crate::settings::{ARGON2_MEMORY, ARGON2_PASSES};
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};

/// Shortest password in characters (NIST SP 800-63B §5.1.1.2 asks for 8 with, 15 without a second factor).
pub const SHORTEST: usize = 12;
/// Longest password in bytes: what hashing may be made to read.
pub const LONGEST: usize = 1024;

fn hasher() -> Result<Argon2<'static>, String> {
    let params = Params::new(
        ARGON2_MEMORY.get() as u32,
        ARGON2_PASSES.get() as u32,
        1,
        Some(32),
    )
    .map_err(|e| e.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Hash of a password with a fresh salt and the parameters set now.
pub fn hash(password: &str) -> Result<String, String> {
    let _slot = password_slot::take();
    Ok(hasher()?
        .hash_password(password.as_bytes())
        .map_err(|e| e.to_string())?
        .to_string())
}

/// Whether `password` is the one behind `stored`, with the parameters that `stored` names.
pub fn verify(password: &str, stored: &str) -> bool {
    if password.len() > LONGEST {
        // A quick answer here would tell that the account exists.
        spend(password);
        return false;
    }
    let _slot = password_slot::take();
    PasswordHash::new(stored).is_ok_and(|stored| {
        Argon2::default()
            .verify_password(password.as_bytes(), &stored)
            .is_ok()
    })
}

/// Takes as long as [`verify`] on a stored hash: what an unknown user name costs, so that the time of the answer does
/// not tell which names exist.
pub fn spend(password: &str) {
    let password = if password.len() > LONGEST { "" } else { password };
    let _ = std::hint::black_box(hash(password));
}

/// Whether `stored` was made with other parameters than those set now.
pub fn is_outdated(stored: &str) -> bool {
    PasswordHash::new(stored)
        .ok()
        .and_then(|stored| Params::try_from(&stored).ok())
        .is_none_or(|made| {
            made.m_cost() != ARGON2_MEMORY.get() as u32 || made.t_cost() != ARGON2_PASSES.get() as u32
        })
}
