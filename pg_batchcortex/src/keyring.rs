//! The server's secret: one file of keys, from which every other key is derived.
//!
//! A line a key, `<id> <64 hex digits>`; the first is the one that new keys are derived from, the others stay for
//! what was derived before. The file belongs to the server's user alone, like PostgreSQL's TLS key.

use crate::settings::{KEY_FILE, in_data_directory, preloading};
use hkdf::Hkdf;
use sha2::Sha256;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::OnceLock;
use zeroize::Zeroizing;

type Key = Zeroizing<[u8; 32]>;

static KEYRING: OnceLock<Result<Vec<(String, Key)>, String>> = OnceLock::new();

/// At server start: makes the file if there is none, reads it, and stops the server if others could read it too.
pub fn prepare() {
    if let Err(fault) = keys() {
        pgrx::ereport!(
            FATAL,
            pgrx::PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
            format!("pg_batchcortex: the key file cannot be used: {fault}")
        );
    }
}

/// The HMAC key of a device key id, 32 bytes, as new devices get it; none when the server has no key file.
pub fn device_key(key_id: &str) -> Option<Key> {
    device_keys(key_id).into_iter().next()
}

/// The same from each master key, the newest first: a device that was enrolled before the ring was rotated has one of the others.
pub fn device_keys(key_id: &str) -> Vec<Key> {
    let masters = keys().unwrap_or_default();
    masters
        .iter()
        .filter_map(|(_, master)| expand(master, "device-hmac", key_id))
        .collect()
}

/// The key under which secrets of second factors are encrypted, with the id of the master key behind it: the newest,
/// or the one that `id` names, so that what an older key sealed stays readable after the keys are rotated.
pub fn second_factor_key(id: Option<&str>) -> Option<(&'static str, Key)> {
    let (id, master) = keys()
        .ok()?
        .iter()
        .find(|(held, _)| id.is_none_or(|id| id == held))?;
    Some((id, expand(master, "totp", "")?))
}

fn expand(master: &Key, purpose: &str, of: &str) -> Option<Key> {
    let mut key = Zeroizing::new([0u8; 32]);
    Hkdf::<Sha256>::new(Some(b"batchcortex/v1"), master.as_ref())
        .expand_multi_info(&[purpose.as_bytes(), b"\0", of.as_bytes()], key.as_mut())
        .ok()?;
    Some(key)
}

fn keys() -> Result<&'static [(String, Key)], &'static String> {
    KEYRING.get_or_init(read).as_deref()
}

fn path() -> Result<PathBuf, String> {
    in_data_directory(&KEY_FILE).ok_or_else(|| "batchcortex.key_file is empty".to_owned())
}

fn read() -> Result<Vec<(String, Key)>, String> {
    let path = path()?;
    let shown = path.display().to_string();
    if preloading() && !path.exists() {
        create(&path).map_err(|e| format!("{shown}: {e}"))?;
    }
    let mut file = File::open(&path).map_err(|e| format!("{shown}: {e}"))?;
    let about = file.metadata().map_err(|e| format!("{shown}: {e}"))?;
    // SAFETY: geteuid cannot fail.
    if about.uid() != unsafe { libc_geteuid() } || about.permissions().mode() & 0o077 != 0 {
        return Err(format!(
            "{shown} must belong to the server's user and have permissions 0600 or less"
        ));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text)
        .map_err(|e| format!("{shown}: {e}"))?;
    let keys: Option<Vec<(String, Key)>> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (id, digits) = line.trim().split_once(' ')?;
            let mut key = Zeroizing::new([0u8; 32]);
            hex::decode_to_slice(digits.trim(), key.as_mut()).ok()?;
            Some((id.to_owned(), key))
        })
        .collect();
    match keys {
        Some(keys) if !keys.is_empty() => Ok(keys),
        _ => Err(format!(
            "{shown} is not a key file: a line a key, its id, a space and 64 hex digits"
        )),
    }
}

fn create(path: &PathBuf) -> std::io::Result<()> {
    let mut key = Zeroizing::new([0u8; 32]);
    getrandom::fill(key.as_mut()).map_err(|_| std::io::Error::other("no random bytes"))?;
    let line = Zeroizing::new(format!("k1 {}\n", hex::encode(key.as_ref())));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

unsafe extern "C" {
    #[link_name = "geteuid"]
    fn libc_geteuid() -> u32;
}
