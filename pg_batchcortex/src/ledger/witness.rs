//! Keys and cosignatures of witnesses, read and checked.

use super::incarnation::EPOCH;
use batchcortex_ledger::note::{NoteSignature, SignatureType, SignedNote, VerifierKey};
use batchcortex_ledger::witness::Submission;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

/// Name, id and kind of a public key; no row when the text is none.
#[pg_extern(immutable, parallel_safe)]
pub fn read_verifier_key(
    key: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(name, String),
        name!(key_id, Vec<u8>),
        name!(kind, &'static str),
    ),
> {
    let key: Option<VerifierKey> = key.and_then(|key| key.parse().ok());
    TableIterator::new(key.map(|key| {
        let kind = match key.signature_type() {
            SignatureType::Ed25519 => "log",
            SignatureType::CosignatureV1 => "witness",
        };
        (key.name().to_owned(), key.id().0.to_vec(), kind)
    }))
}

/// Size and signature lines of what a witness posts; no row when the text is no such thing.
#[pg_extern(immutable, parallel_safe)]
pub fn read_submission(
    submission: Option<&str>,
) -> TableIterator<'static, (name!(tree_size, i64), name!(lines, Vec<String>))> {
    let read = || {
        let submission = Submission::parse(submission?).ok()?;
        let lines = submission.signatures.iter().map(ToString::to_string).collect();
        Some((i64::try_from(submission.size).ok()?, lines))
    };
    TableIterator::new(read())
}

/// Whether a signature line is that of one of the keys over a checkpoint's text: `valid`, `wrong` or `unknown`.
#[pg_extern(immutable, parallel_safe)]
#[allow(clippy::type_complexity)]
pub fn check_cosignature(
    line: &str,
    checkpoint: &str,
    verifier_keys: Vec<String>,
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(witness, Option<String>),
        name!(key_id, Option<Vec<u8>>),
        name!(cosigned_at, Option<TimestampWithTimeZone>),
        name!(line, String),
    ),
> {
    let row = |outcome, signature: Option<&NoteSignature>, at| {
        TableIterator::once((
            outcome,
            signature.map(|signature| signature.name.clone()),
            signature.map(|signature| signature.key_id.0.to_vec()),
            at,
            line.to_owned(),
        ))
    };
    let Ok(signature) = NoteSignature::parse(line) else {
        return row("unknown", None, None);
    };
    let known = verifier_keys
        .iter()
        .filter_map(|key| key.parse::<VerifierKey>().ok())
        .find(|key| key.name() == signature.name && key.id() == signature.key_id);
    match known {
        None => row("unknown", Some(&signature), None),
        Some(key) => match cosigned_at(&signature, checkpoint, &key) {
            Some(at) => row("valid", Some(&signature), Some(at)),
            None => row("wrong", Some(&signature), None),
        },
    }
}

/// When the key says that it cosigned the text; none when it did not, or at no time that a clock shows.
pub fn cosigned_at(
    signature: &NoteSignature,
    checkpoint: &str,
    key: &VerifierKey,
) -> Option<TimestampWithTimeZone> {
    let mut note = SignedNote::new(checkpoint).ok()?;
    note.add(signature.clone());
    let seconds = note.verify(std::slice::from_ref(key)).ok()?.first()?.time?;
    // A cosignature has a time: 0 stands for none (C2SP tlog-witness). Nothing beyond the year 9999 can be written.
    let seconds = i64::try_from(seconds)
        .ok()
        .filter(|seconds| (1..253_402_300_800).contains(seconds))?;
    TimestampWithTimeZone::try_from(seconds * 1_000_000 - EPOCH).ok()
}
