//! Whose request it is: HMAC-SHA256 over the request (RFC 9421) with the key of an enrolled device.

use crate::error::{self, Refusal};
use crate::identity::unscoped::unscoped;
use crate::keyring;
use crate::settings::SIGNATURE_WINDOW;
use batchcortex_ledger::request_signature::{self, SignatureError};
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// The parts of a request that its signature covers, and the signature.
pub struct Request<'a> {
    pub method: &'a str,
    pub authority: &'a str,
    pub path: &'a str,
    pub content_digest: &'a str,
    pub signature_input: &'a str,
    pub signature: &'a str,
    pub body: &'a [u8],
}

/// A device that has proven itself.
#[derive(Clone)]
pub struct Device {
    pub org_id: Uuid,
    pub device_id: Uuid,
    pub equipment_id: Uuid,
    pub name: String,
}

/// A refusal, and the device whose key was named, if it exists: its organisation's log keeps the attempt.
pub struct Unproven {
    pub refusal: Refusal,
    pub claimed: Option<Box<Device>>,
}

/// The device that signed the request.
pub fn device(request: &Request<'_>) -> Result<Device, Unproven> {
    let bad = |fault: SignatureError| {
        Refusal::new(
            error::BAD_SIGNATURE,
            format!("the request signature is not valid: {fault}"),
        )
    };
    let parameters = request_signature::parse_input(request.signature_input).map_err(|e| Unproven {
        refusal: bad(e),
        claimed: None,
    })?;
    let Some(device) = unscoped(|| find(parameters.keyid)) else {
        let refusal = Refusal::new(
            error::UNKNOWN_KEY,
            "the request names a device key that is unknown or revoked",
        );
        return Err(Unproven {
            refusal,
            claimed: None,
        });
    };
    let unproven = |refusal| Unproven {
        refusal,
        claimed: Some(Box::new(device.clone())),
    };
    let keys = keyring::device_keys(parameters.keyid);
    if keys.is_empty() {
        return Err(unproven(Refusal::new(
            error::UNAVAILABLE,
            "the server has no key file; see batchcortex.key_file",
        )));
    }
    let verified = |key: &[u8]| {
        request_signature::verify(
            key,
            request.method,
            request.authority,
            request.path,
            request.body,
            request.content_digest,
            request.signature_input,
            request.signature,
        )
    };
    let mut outcomes = keys.iter().map(|key| verified(key.as_ref()));
    // What the newest key says is told; one of an older key proves the device as well.
    if let Some(Err(fault)) = outcomes.next()
        && !outcomes.any(|outcome| outcome.is_ok())
    {
        return Err(unproven(bad(fault)));
    }
    // After the key has been proven, so that the clock's answer tells a stranger nothing.
    let age = unix_now() - parameters.created;
    if age.abs() > i64::from(SIGNATURE_WINDOW.get()) {
        return Err(unproven(Refusal::new(
            error::STALE_SIGNATURE,
            format!(
                "the request was signed {age} seconds before the server's time, at most {} either way are taken",
                SIGNATURE_WINDOW.get()
            ),
        )));
    }
    Ok(device)
}

fn unix_now() -> i64 {
    // SAFETY: reads the clock; microseconds since 2000-01-01.
    unsafe { pg_sys::GetCurrentTimestamp() / 1_000_000 + 946_684_800 }
}

fn find(key_id: &str) -> Option<Device> {
    Spi::connect(|client| {
        let rows = client
            .select(
                "select d.org_id, d.device_id, d.equipment_id, d.name
                   from batchcortex.device_key k join batchcortex.device d on d.org_id = k.org_id and d.device_id = k.device_id
                  where k.key_id = $1 and k.revoked_at is null and d.revoked_at is null",
                Some(1),
                &[key_id.into()],
            )
            .unwrap_or_report();
        if rows.is_empty() {
            return None;
        }
        let row = rows.first();
        Some(Device {
            org_id: row.get(1).unwrap_or_report()?,
            device_id: row.get(2).unwrap_or_report()?,
            equipment_id: row.get(3).unwrap_or_report()?,
            name: row.get(4).unwrap_or_report()?,
        })
    })
}

/// HMAC key of a device key id, 32 bytes; null when the server has no key file. For enrolment alone.
#[pg_extern(volatile, strict, parallel_unsafe)]
pub fn device_secret(key_id: &str) -> Option<Vec<u8>> {
    keyring::device_key(key_id).map(|key| key.to_vec())
}
