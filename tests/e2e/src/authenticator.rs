//! An authenticator program: one-time passwords of RFC 6238, computed from the secret that a person was shown and from
//! nothing of the server's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// Seconds of a step.
const STEP: u64 = 30;

/// The secret of one account.
#[derive(Debug, Clone)]
pub struct Authenticator {
    secret: Vec<u8>,
}

impl Authenticator {
    /// Takes the secret as it is typed in: base32 (RFC 4648).
    ///
    /// # Errors
    /// When it is none.
    pub fn typed(secret: &str) -> Result<Authenticator> {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let mut bytes = Vec::new();
        let (mut buffer, mut bits) = (0u32, 0);
        for letter in secret.bytes() {
            let value = ALPHABET.iter().position(|&known| known == letter);
            buffer = (buffer << 5) | u32::try_from(value.context("no base32")?)?;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push(u8::try_from((buffer >> bits) & 0xff)?);
            }
        }
        ensure!(bytes.len() >= 16, "a secret of {} bytes", bytes.len());
        Ok(Authenticator { secret: bytes })
    }

    /// The code of the step that is so many after the present one.
    ///
    /// # Errors
    /// When the clock is before 1970.
    pub fn code(&self, steps_ahead: i64) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let step = i64::try_from(now / STEP)? + steps_ahead;
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.secret)?;
        mac.update(&step.to_be_bytes());
        let digest = mac.finalize().into_bytes();
        let at = usize::from(digest[19] & 0xf);
        let number = u32::from_be_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
        Ok(format!("{:06}", (number & 0x7fff_ffff) % 1_000_000))
    }

    /// Waits until the present step lasts for a while, so that a few codes can be used before the next one begins.
    ///
    /// # Errors
    /// When the clock is before 1970.
    pub async fn fresh_step() -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        if now % STEP > 8 {
            tokio::time::sleep(Duration::from_secs(STEP - now % STEP)).await;
        }
        Ok(())
    }
}
