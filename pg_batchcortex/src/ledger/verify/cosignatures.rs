//! Cosignatures of witnesses, checked once more, and who the witnesses are.

use super::Finding;
use super::checkpoints::Stated;
use crate::ledger::incarnation::Lives;
use crate::ledger::scan::Scan;
use crate::ledger::witness::cosigned_at;
use crate::row::with_varlena;
use batchcortex_ledger::global::GLOBAL;
use batchcortex_ledger::note::{NoteSignature, VerifierKey};
use pgrx::datum::Uuid;
use pgrx::pg_sys;

const RELATION: &str = "batchcortex.ledger_cosignature";

/// Each cosignature of a tree of `from` leaves or more against its checkpoint and the key that was registered for it.
pub fn check(from: u64, lives: &Lives, findings: &mut Vec<Finding>) {
    let keys = keys();
    let columns = Stated::COLUMNS
        .split(", ")
        .map(|column| format!("k.{column}"))
        .collect::<Vec<_>>()
        .join(", ");
    let query = format!(
        "select s.tree_size, s.witness, s.key_id, s.incarnation, s.cosigned_at, s.line, {columns}
           from {RELATION} s
           left join batchcortex.ledger_checkpoint k on k.org_id = $1 and k.tree_size = s.tree_size
          where s.tree_size >= {from}
          order by s.tree_size, s.witness, s.key_id"
    );
    let mut scan = Scan::open(&query, &[GLOBAL], 1000);
    while scan.next(|row| {
        let number = |i: usize| row.get(i).map_or(0, |datum| datum.value() as i64);
        let bytes = |i: usize| {
            // SAFETY: text and bytea columns.
            row.get(i)
                .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) })
                .unwrap_or_default()
        };
        let text = |i: usize| String::from_utf8(bytes(i)).unwrap_or_default();
        let (size, witness, key_id) = (number(0), text(1), bytes(2));
        let checked = || -> Result<(), String> {
            if row.get(6).is_none() {
                return Err("no checkpoint of that size is there".to_owned());
            }
            let stated = Stated::read(row, 6);
            let checkpoint = stated
                .checkpoint(GLOBAL, lives)
                .ok_or("the checkpoint of that size cannot be read")?;
            let signature = NoteSignature::parse(&text(5)).map_err(|error| error.to_string())?;
            if signature.name != witness || signature.key_id.0[..] != key_id {
                return Err("the line is another witness's".to_owned());
            }
            let key = keys
                .iter()
                .find(|key| key.name() == witness && key.id().0[..] == key_id)
                .ok_or("no such witness is registered")?;
            let at = cosigned_at(&signature, &checkpoint.to_string(), key).ok_or(
                "the signature does not hold for the checkpoint: it is over another root, or altered",
            )?;
            if at.into_inner() != number(4) || i64::from(stated.incarnation()) != number(3) {
                return Err("time or incarnation are not those of the signature".to_owned());
            }
            Ok(())
        };
        if let Err(detail) = checked() {
            findings.push(Finding {
                log: Uuid::from_bytes(GLOBAL).to_string(),
                code: "wrong_cosignature",
                relation: RELATION.to_owned(),
                record: format!("{size} {witness}+{}", hex::encode(&key_id)),
                detail,
            });
        }
    }) {}
    scan.close();
}

/// Every key that was ever registered.
fn keys() -> Vec<VerifierKey> {
    let mut keys = Vec::new();
    let mut scan = Scan::open("select verifier_key from batchcortex.ledger_witness", &[], 1000);
    while scan.next(|row| {
        // SAFETY: a text column.
        let text = row
            .get(0)
            .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) });
        let key = text.and_then(|text| String::from_utf8(text).ok()?.parse().ok());
        keys.extend(key);
    }) {}
    scan.close();
    keys
}

/// Each witness with the newest size that it has cosigned, and how long ago.
pub fn witnesses() -> serde_json::Value {
    let query = "select json_agg(json_build_object('witness', w.witness, 'key', w.verifier_key, 'active', w.active, 'newest_size', w.newest_size,
                        'cosigned_at', to_char(w.cosigned_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                        'age_seconds', extract(epoch from clock_timestamp() - w.received_at)::bigint) order by w.witness, w.verifier_key)::text
                   from batchcortex.witnesses() w";
    let mut json = None;
    // SAFETY: one SPI connection for the cursor; closed below, or by the abort of the transaction.
    unsafe { pg_sys::SPI_connect() };
    let mut scan = Scan::open(query, &[], 1);
    scan.next(|row| {
        // SAFETY: a text column.
        json = row
            .get(0)
            .map(|datum| unsafe { with_varlena(datum, <[u8]>::to_vec) });
    });
    scan.close();
    // SAFETY: as above.
    unsafe { pg_sys::SPI_finish() };
    json.and_then(|json| serde_json::from_slice(&json).ok())
        .unwrap_or_else(|| serde_json::json!([]))
}
