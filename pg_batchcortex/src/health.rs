//! What is up, for load balancers and people.

use crate::anchor::directory;
use crate::checkpoint_key;
use crate::ledger::worker;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// One row a component: library, schema, sealer, and the checkpoint directory where there is one; 'up' or 'down' and a line that says more.
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
        (
            component.to_owned(),
            if up { "up" } else { "down" }.to_owned(),
            detail,
        )
    };
    let preloaded = worker::available();
    let library = if preloaded {
        format!("pg_batchcortex {}", env!("CARGO_PKG_VERSION"))
    } else {
        "not in shared_preload_libraries: nothing is sealed".to_owned()
    };
    let migrated = Spi::get_one::<bool>("select to_regclass('batchcortex.schema_migration') is not null")
        .unwrap_or_report()
        == Some(true);
    let schema = if migrated {
        let version =
            Spi::get_one::<i32>("select max(version) from batchcortex.schema_migration").unwrap_or_report();
        format!("migration {}", version.unwrap_or(0))
    } else {
        "run CALL batchcortex.migrate()".to_owned()
    };
    let sealer = worker::sealer();
    let sealing = match &sealer {
        Some(sealer) if sealer.damaged > 0 => {
            format!(
                "the trees of {} logs are damaged, run batchcortex.verify",
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
        None => "no sealer runs for this database".to_owned(),
    };
    let directory = directory::state(sealer.as_ref().map_or(0, |sealer| sealer.directory));
    let mut rows = vec![
        row("library", preloaded, library),
        row("schema", migrated, schema),
        row(
            "sealer",
            sealer.is_some_and(|sealer| sealer.damaged == 0),
            sealing,
        ),
    ];
    rows.extend(directory.map(|(up, detail)| row("checkpoint directory", up, detail)));
    TableIterator::new(rows)
}
