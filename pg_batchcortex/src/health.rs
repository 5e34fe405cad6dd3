//! What is up, for load balancers and people.

use crate::anchor::directory;
use crate::ask;
use crate::checkpoint_key;
use crate::identity::unscoped::unscoped;
use crate::ledger::worker;
use crate::settings::WITNESS_QUORUM;
use pgrx::prelude::*;

/// One row a component: library, schema, sealer, the checkpoint directory where there is one, witness; 'up', 'lagging' or 'down' and a line
/// that says more.
#[pg_extern(stable, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn health() -> TableIterator<
    'static,
    (
        name!(component, String),
        name!(status, String),
        name!(detail, String),
    ),
> {
    let row = |component: &str, up: bool, detail: String| {
        let status = if up { "up" } else { "down" };
        (component.to_owned(), status.to_owned(), detail)
    };
    let preloaded = worker::available();
    let library = if preloaded {
        format!("pg_batchcortex {}", env!("CARGO_PKG_VERSION"))
    } else {
        "not in shared_preload_libraries: nothing is sealed".to_owned()
    };
    let migrated = ask::one::<bool>(
        "select to_regclass('batchcortex.schema_migration') is not null",
        &[],
    ) == Some(true);
    let schema = if migrated {
        // Whoever may ask for health need not be able to read the table.
        let version: Option<i32> =
            unscoped(|| ask::one("select max(version) from batchcortex.schema_migration", &[]));
        format!("migration {}", version.unwrap_or(0))
    } else {
        "run CALL batchcortex.migrate()".to_owned()
    };
    let sealer = worker::sealer();
    // SAFETY: asks whether this server replays another's log.
    let replica = unsafe { pg_sys::RecoveryInProgress() };
    let sealing = match &sealer {
        Some(sealer) if sealer.damaged > 0 => {
            format!(
                "{} logs cannot go on and their leaves wait: run batchcortex.verify, the server's log says why",
                sealer.damaged
            )
        }
        Some(sealer) => format!(
            "{} leaves since the server started; checkpoints {}",
            sealer.leaves,
            match checkpoint_key::verifiers().first() {
                Some(key) => format!("signed by {} {}", key.name(), key.id()),
                None => "not signed, the server has no key".to_owned(),
            }
        ),
        None if replica => "the primary seals, this is a replica".to_owned(),
        None => "no sealer runs for this database".to_owned(),
    };
    let directory = directory::state(sealer.as_ref().map_or(0, |sealer| sealer.directory));
    let mut rows = vec![
        row("library", preloaded, library),
        row("schema", migrated, schema),
        row(
            "sealer",
            sealer.map_or(replica, |sealer| sealer.damaged == 0),
            sealing,
        ),
    ];
    rows.extend(directory.map(|(up, detail)| row("checkpoint directory", up, detail)));
    rows.extend(witness());
    TableIterator::new(rows)
}

/// Time after which a checkpoint that the quorum has not cosigned counts as lagging, in seconds.
const WITNESS_PATIENCE: i64 = 60;

/// Whether the witnesses keep up. `lagging` is no reason to turn requests away: records are sealed all the same.
fn witness() -> Option<(String, String, String)> {
    let there: Option<bool> = ask::one(
        "select to_regclass('batchcortex.ledger_cosignature') is not null",
        &[],
    );
    if there != Some(true) {
        return None;
    }
    let quorum = WITNESS_QUORUM.get();
    let (active, covered) = ask::two::<i64, i64>(
        "select (select count(distinct w.witness) from batchcortex.witnesses() w where w.active), batchcortex.witnessed_size($1)",
        &[quorum.into()],
    );
    let (active, covered) = (active.unwrap_or(0), covered.unwrap_or(0));
    // The oldest checkpoint that the quorum has not cosigned, and the newest one.
    let behind: i64 = ask::one(
        "select extract(epoch from clock_timestamp() - k.sealed_at)::bigint from batchcortex.ledger_checkpoint k
          where k.org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff' and k.tree_size > $1 order by k.tree_size limit 1",
        &[covered.into()],
    )
    .unwrap_or(0);
    let (status, detail) = if active == 0 {
        (
            "up",
            "no witness is registered: nobody else holds what was signed (batchcortex.add_witness)"
                .to_owned(),
        )
    } else if behind > WITNESS_PATIENCE {
        (
            "lagging",
            format!(
                "{quorum} of {active} witnesses have cosigned up to size {covered}; what was sealed {behind} s ago is not"
            ),
        )
    } else {
        (
            "up",
            format!("{quorum} of {active} witnesses have cosigned up to size {covered}"),
        )
    };
    Some(("witness".to_owned(), status.to_owned(), detail))
}
