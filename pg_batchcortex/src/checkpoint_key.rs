//! The key that signs checkpoints. The postmaster reads the file once and keeps its public halves, which every process inherits; the
//! secret is read by the sealer alone. Without the file checkpoints are not signed, and the server says so.

use crate::settings::{CHECKPOINT_KEY_FILE, DEFAULT_CHECKPOINT_KEY_FILE, in_data_directory};
use batchcortex_keys::{KeyFile, KeyFileError};
use batchcortex_ledger::note::{Signer, VerifierKey};
use pgrx::prelude::*;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The log's name on a server without a key.
pub const UNNAMED: &str = "batchcortex";

static VERIFIERS: OnceLock<Vec<VerifierKey>> = OnceLock::new();

thread_local! {
    static SIGNER: std::cell::OnceCell<Signer> = const { std::cell::OnceCell::new() };
}

/// At server start: reads the public keys, and stops the server if others could read the file, or if it is no key file.
pub fn prepare() {
    match read_verifiers() {
        Ok(keys) => {
            if keys.is_empty() {
                log!(
                    "pg_batchcortex: no checkpoint key: checkpoints are not signed, and witnesses have nothing to cosign (batchcortex.checkpoint_key_file, batchcortex-keys create)"
                );
            }
            let _ = VERIFIERS.set(keys);
        }
        Err(fault) => {
            ereport!(
                FATAL,
                PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
                format!("pg_batchcortex: the checkpoint key file cannot be used: {fault}")
            );
        }
    }
}

/// The public keys, newest first; none on a server without a key.
pub fn verifiers() -> &'static [VerifierKey] {
    // A session that loads the library by itself, because the server does not, must still verify.
    VERIFIERS.get_or_init(|| read_verifiers().unwrap_or_default())
}

/// Only a server that names no file, or that leaves the name at its default where there is none, has no key: one that cannot reach its file
/// would else go on unsigned.
fn read_verifiers() -> Result<Vec<VerifierKey>, KeyFileError> {
    let Some(path) = path() else {
        return Ok(Vec::new());
    };
    let missing = std::fs::symlink_metadata(&path).is_err_and(|e| e.kind() == ErrorKind::NotFound);
    if missing && CHECKPOINT_KEY_FILE.get().as_deref() == Some(DEFAULT_CHECKPOINT_KEY_FILE) {
        return Ok(Vec::new());
    }
    Ok(KeyFile::read(&path)?.verifiers().to_vec())
}

/// The public keys as C2SP verifier keys, newest first: what an auditor or a witness is given. No row on a server without a key.
#[pg_extern(stable, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
pub fn checkpoint_keys() -> SetOfIterator<'static, String> {
    SetOfIterator::new(verifiers().iter().map(ToString::to_string))
}

/// The name of the key, which is the name of the log.
pub fn log_name() -> &'static str {
    verifiers().first().map_or(UNNAMED, VerifierKey::name)
}

/// Calls `body` with the secret key; with none when the server has no key.
///
/// # Errors
/// Says why a server that has a key cannot sign now: it seals nothing then, for what is unsigned in a signed log looks forged for good.
pub fn with_signer<R>(body: impl FnOnce(Option<&Signer>) -> R) -> Result<R, String> {
    SIGNER.with(|signer| {
        if signer.get().is_none()
            && let Some(newest) = verifiers().first()
        {
            let _ = signer.set(read_signer(newest)?);
        }
        Ok(body(signer.get()))
    })
}

fn read_signer(newest: &VerifierKey) -> Result<Signer, String> {
    let path = path().ok_or("batchcortex.checkpoint_key_file names no file any more")?;
    let file = KeyFile::read(&path).map_err(|fault| fault.to_string())?;
    file.signer()
        .filter(|signer| signer.verifier() == newest)
        .ok_or_else(|| "the checkpoint key file was changed since the server started: restart it".to_owned())
}

fn path() -> Option<PathBuf> {
    in_data_directory(&CHECKPOINT_KEY_FILE)
}
