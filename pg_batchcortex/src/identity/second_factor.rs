//! Second factors of a person: a TOTP secret, encrypted at rest, and recovery codes, of which only hashes are kept.

use super::binding;
use super::credential::random;
use super::proof;
use super::totp;
use super::unscoped::unscoped;
use crate::keyring;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 24;
const RECOVERY_CODES: usize = 10;

/// What a presented second factor is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// None is enrolled.
    Absent,
    /// One is enrolled and none was presented.
    Awaited,
    /// It holds, and is used up.
    Right,
    /// It holds, and is the first code of an enrolment, which it confirms.
    Confirmed,
    /// It does not hold.
    Wrong,
}

struct Enrolled {
    key_id: String,
    sealed: Vec<u8>,
    confirmed: bool,
    last_step: Option<i64>,
    now: i64,
}

/// What is shown once at enrolment.
pub struct Shown {
    pub uri: String,
    pub secret: String,
    pub recovery_codes: Vec<String>,
}

/// Judges a second factor. One that holds is used up: a code's step is kept, a recovery code is marked. The first code
/// of an enrolment that was not confirmed yet confirms it.
pub fn check(user_id: Uuid, presented: Option<&str>) -> Factor {
    let presented = presented.map(str::trim).filter(|text| !text.is_empty());
    let Some(enrolled) = find(user_id) else {
        return Factor::Absent;
    };
    let Some(presented) = presented else {
        return if enrolled.confirmed {
            Factor::Awaited
        } else {
            Factor::Absent
        };
    };
    let holds = if totp::looks_like_code(presented) {
        use_code(user_id, &enrolled, presented)
    } else {
        enrolled.confirmed && use_recovery_code(user_id, presented)
    };
    match (holds, enrolled.confirmed) {
        (true, true) => Factor::Right,
        (true, false) => Factor::Confirmed,
        (false, true) => Factor::Wrong,
        (false, false) => Factor::Absent,
    }
}

/// Makes a secret and recovery codes; they hold from the first code on that proves the secret has arrived. None when a
/// confirmed secret exists, or the server has no key to encrypt with.
pub fn enrol(user_id: Uuid, username: &str) -> Option<Shown> {
    if find(user_id).is_some_and(|enrolled| enrolled.confirmed) {
        return None;
    }
    let mut secret = Zeroizing::new([0u8; totp::SECRET_BYTES]);
    random(secret.as_mut());
    let (key_id, sealed) = seal(user_id, secret.as_ref())?;
    let recovery_codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
    let digests: Vec<Vec<u8>> = recovery_codes.iter().map(|code| digest(code)).collect();
    Spi::run_with_args(
        "with secret as (
             insert into batchcortex.totp (user_id, key_id, sealed) values ($1, $2, $3)
             on conflict (user_id) do update set key_id = excluded.key_id, sealed = excluded.sealed, enrolled_at = clock_timestamp(), last_step = null),
         old as (delete from batchcortex.recovery_code where user_id = $1)
         insert into batchcortex.recovery_code (user_id, code_sha256) select $1, unnest($4::bytea[])",
        &[user_id.into(), key_id.into(), sealed.into(), digests.into()],
    )
    .unwrap_or_report();
    let text = totp::base32(secret.as_ref());
    Some(Shown {
        uri: totp::uri(&text, username),
        secret: text,
        recovery_codes,
    })
}

fn use_code(user_id: Uuid, enrolled: &Enrolled, presented: &str) -> bool {
    let Some(secret) = open(user_id, &enrolled.key_id, &enrolled.sealed) else {
        return false;
    };
    let Some(step) = totp::accepted_step(&secret, presented, enrolled.now, enrolled.last_step) else {
        return false;
    };
    // A secret that an older key sealed moves to the newest one, so that old keys can be retired.
    let newest = keyring::second_factor_key(None).map(|(id, _)| id);
    let resealed = (newest != Some(enrolled.key_id.as_str()))
        .then(|| seal(user_id, &secret))
        .flatten();
    let (key_id, sealed) = resealed.unzip();
    Spi::run_with_args(
        "update batchcortex.totp
            set last_step = $2, confirmed_at = coalesce(confirmed_at, clock_timestamp()), key_id = coalesce($3, key_id), sealed = coalesce($4, sealed)
          where user_id = $1",
        &[user_id.into(), step.into(), key_id.into(), sealed.into()],
    )
    .unwrap_or_report();
    true
}

fn use_recovery_code(user_id: Uuid, presented: &str) -> bool {
    Spi::get_one_with_args::<bool>(
        "with used as (update batchcortex.recovery_code set used_at = clock_timestamp()
                        where user_id = $1 and code_sha256 = $2 and used_at is null returning 1)
         select exists (select from used)",
        &[user_id.into(), digest(presented).into()],
    )
    .unwrap_or_report()
        == Some(true)
}

fn find(user_id: Uuid) -> Option<Enrolled> {
    Spi::connect_mut(|client| {
        let rows = client
            .update(
                "select key_id, sealed, confirmed_at is not null, last_step, floor(extract(epoch from clock_timestamp()))::bigint
                   from batchcortex.totp where user_id = $1 for update",
                Some(1),
                &[user_id.into()],
            )
            .unwrap_or_report();
        if rows.is_empty() {
            return None;
        }
        let row = rows.first();
        Some(Enrolled {
            key_id: row.get(1).unwrap_or_report()?,
            sealed: row.get(2).unwrap_or_report()?,
            confirmed: row.get(3).unwrap_or_report()?,
            last_step: row.get(4).unwrap_or_report(),
            now: row.get(5).unwrap_or_report()?,
        })
    })
}

/// Nonce and ciphertext of a secret, and the id of the key. The account is bound in as associated data, so that a
/// secret copied to another account does not open there.
fn seal(user_id: Uuid, secret: &[u8]) -> Option<(String, Vec<u8>)> {
    let (key_id, key) = keyring::second_factor_key(None)?;
    let mut nonce = [0u8; NONCE_BYTES];
    random(&mut nonce);
    let cipher = XChaCha20Poly1305::new_from_slice(key.as_ref()).ok()?;
    let payload = Payload {
        msg: secret,
        aad: user_id.as_bytes(),
    };
    let ciphertext = cipher.encrypt(&XNonce::from(nonce), payload).ok()?;
    Some((key_id.to_owned(), [nonce.as_slice(), &ciphertext].concat()))
}

fn open(user_id: Uuid, key_id: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (_, key) = keyring::second_factor_key(Some(key_id))?;
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let cipher = XChaCha20Poly1305::new_from_slice(key.as_ref()).ok()?;
    let payload = Payload {
        msg: ciphertext,
        aad: user_id.as_bytes(),
    };
    cipher
        .decrypt(&XNonce::from(*nonce), payload)
        .ok()
        .map(Zeroizing::new)
}

/// 80 random bits: too many to try against a stolen hash, few enough to type.
fn recovery_code() -> String {
    let mut bytes = [0u8; 10];
    random(&mut bytes);
    let text = totp::base32(&bytes).to_lowercase();
    [&text[0..4], &text[4..8], &text[8..12], &text[12..16]].join("-")
}

/// SHA-256 of a recovery code as it was shown, however it is typed.
fn digest(code: &str) -> Vec<u8> {
    let typed: String = code
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    Sha256::digest(typed.as_bytes()).to_vec()
}

/// Gives the person of this transaction a new TOTP secret; no row when a confirmed one exists or there is no key.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn enrol_second_factor(
    username: &str,
) -> TableIterator<
    'static,
    (
        name!(otpauth_uri, String),
        name!(secret, String),
        name!(recovery_codes, Vec<String>),
    ),
> {
    let shown = binding::bound_user().and_then(|user_id| unscoped(|| enrol(user_id, username)));
    TableIterator::new(
        shown
            .into_iter()
            .map(|shown| (shown.uri, shown.secret, shown.recovery_codes)),
    )
}

/// Confirms an enrolment with its first code: 'confirmed'; 'refused' for a wrong code, which is recorded and counts towards the
/// lockout like any proof; 'absent' when there is nothing to confirm.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn confirm_second_factor(code: Option<&str>) -> &'static str {
    const PURPOSE: &str = "second_factor";
    let Some(actor) = binding::bound_person() else {
        return "absent";
    };
    unscoped(|| {
        let Some(person) = actor.id.and_then(|id| proof::find_or_raise(Uuid::from_bytes(id))) else {
            return "absent";
        };
        if find(person.user_id).is_none_or(|enrolled| enrolled.confirmed) {
            return "absent";
        }
        let usable = person.active && !person.locked;
        if usable && check(person.user_id, code) == Factor::Confirmed {
            // The code alone is no whole proof: earlier failures still count.
            proof::noted(&person, PURPOSE, "granted", &actor);
            return "confirmed";
        }
        proof::refused(Some(&person), PURPOSE, &actor);
        "refused"
    })
}

/// Takes the second factor of the person of this transaction away; the caller has asked for a fresh proof.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn remove_second_factor() -> bool {
    let Some(user_id) = binding::bound_user() else {
        return false;
    };
    unscoped(|| {
        Spi::get_one_with_args::<bool>(
            "with codes as (delete from batchcortex.recovery_code where user_id = $1),
                  secret as (delete from batchcortex.totp where user_id = $1 returning 1)
             select exists (select from secret)",
            &[user_id.into()],
        )
        .unwrap_or_report()
            == Some(true)
    })
}

/// How many recovery codes the person of this transaction has left; null without a confirmed second factor.
#[pg_extern(stable, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn recovery_codes_left() -> Option<i64> {
    let user_id = binding::bound_user()?;
    unscoped(|| {
        Spi::get_one_with_args::<i64>(
            "select (select (select count(*) from batchcortex.recovery_code c where c.user_id = t.user_id and c.used_at is null)
                       from batchcortex.totp t where t.user_id = $1 and t.confirmed_at is not null)",
            &[user_id.into()],
        )
        .unwrap_or_report()
    })
}
