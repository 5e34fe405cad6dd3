//! The key that signs checkpoints. The postmaster reads the file once and keeps its public halves, which every process inherits; the
//! secret is read by the sealer alone. Without the file checkpoints are not signed, and the server says so.

use crate::settings::{CHECKPOINT_KEY_FILE, in_data_directory};
use batchcortex_keys::{KeyFile, KeyFileError};
use batchcortex_ledger::note::{Signer, VerifierKey};
use pgrx::prelude::*;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The log's name on a server without a key.
pub const UNNAMED: &str = "batchcortex";

static VERIFIERS: OnceLock<Vec<VerifierKey>> = OnceLock::new();

thread_local! {
    static SIGNER: std::cell::OnceCell<Option<Signer>> = const { std::cell::OnceCell::new() };
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

fn read_verifiers() -> Result<Vec<VerifierKey>, KeyFileError> {
    match path() {
        Some(path) if path.exists() => Ok(KeyFile::read(&path)?.verifiers().to_vec()),
        _ => Ok(Vec::new()),
    }
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

/// Calls `body` with the secret key; with none when the server has no key, or another one than when it started.
pub fn with_signer<R>(body: impl FnOnce(Option<&Signer>) -> R) -> R {
    SIGNER.with(|signer| body(signer.get_or_init(read_signer).as_ref()))
}

fn read_signer() -> Option<Signer> {
    let newest = verifiers().first()?;
    let file = match KeyFile::read(&path()?) {
        Ok(file) => file,
        Err(fault) => {
            warning!("pg_batchcortex: checkpoints are not signed: {fault}");
            return None;
        }
    };
    let signer = file.signer();
    if signer.as_ref().map(Signer::verifier) != Some(newest) {
        warning!(
            "pg_batchcortex: checkpoints are not signed: the checkpoint key file was changed since the server started; restart it"
        );
        return None;
    }
    signer
}

fn path() -> Option<PathBuf> {
    in_data_directory(&CHECKPOINT_KEY_FILE)
}
