//! The steps that `migrate()` applies, compiled into the library that needs them.

use crate::protection::{guard, mark};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use sha2::{Digest, Sha256};

const STEPS: &[(&str, &str)] = &[
    ("identity", include_str!("../../sql/migrations/0001_identity.sql")),
    ("ledger", include_str!("../../sql/migrations/0002_ledger.sql")),
    ("event", include_str!("../../sql/migrations/0003_event.sql")),
    ("batch", include_str!("../../sql/migrations/0004_batch.sql")),
    (
        "telemetry",
        include_str!("../../sql/migrations/0005_telemetry.sql"),
    ),
    ("people", include_str!("../../sql/migrations/0006_people.sql")),
    ("access", include_str!("../../sql/migrations/0007_access.sql")),
    (
        "session",
        include_str!("../../sql/migrations/0008_identity_session.sql"),
    ),
    ("capture", include_str!("../../sql/migrations/0009_capture.sql")),
    (
        "retention",
        include_str!("../../sql/migrations/0010_retention.sql"),
    ),
    ("witness", include_str!("../../sql/migrations/0011_witness.sql")),
    ("anchor", include_str!("../../sql/migrations/0012_anchor.sql")),
    (
        "redaction",
        include_str!("../../sql/migrations/0013_redaction.sql"),
    ),
    ("keeping", include_str!("../../sql/migrations/0014_keeping.sql")),
    ("told", include_str!("../../sql/migrations/0015_told.sql")),
    ("comments", include_str!("../../sql/migrations/0016_comments.sql")),
];

/// Steps of this library, in order: number from 1, name, SQL statements, SHA-256 of the statements.
#[pg_extern(immutable, parallel_safe)]
#[allow(clippy::type_complexity)]
pub fn migrations() -> TableIterator<
    'static,
    (
        name!(version, i32),
        name!(name, &'static str),
        name!(statements, &'static str),
        name!(sha256, Vec<u8>),
    ),
> {
    TableIterator::new(
        (1..)
            .zip(STEPS)
            .map(|(version, (name, sql))| (version, *name, *sql, Sha256::digest(sql.as_bytes()).to_vec())),
    )
}

/// Runs one step that has not been applied. A step may alter what is guarded, so nobody else's code may run in between: event triggers
/// in a language of SQL would.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn apply_migration(version: i32) {
    let applied = Spi::get_one_with_args::<bool>(
        "select exists (select from batchcortex.schema_migration m where m.version = $1)",
        &[version.into()],
    );
    let step = usize::try_from(version - 1).ok().and_then(|i| STEPS.get(i));
    let Some((_, statements)) = step.filter(|_| applied.unwrap_or_report() == Some(false)) else {
        error!("there is no step {version} to apply");
    };
    if mark::any() {
        let foreign = Spi::get_one::<String>(
            "select string_agg(quote_ident(e.evtname), ', ')
               from pg_event_trigger e join pg_proc p on p.oid = e.evtfoid join pg_language l on l.oid = p.prolang
              -- internal and c by number: names can be changed.
              where e.evtenabled <> 'D' and l.oid not in (12, 13)",
        );
        if let Some(names) = foreign.unwrap_or_report() {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("event triggers would run while guarded tables are altered: {names}"),
                "ALTER EVENT TRIGGER … DISABLE for the time of the migration."
            );
        }
    }
    guard::migrating(|| Spi::run(statements)).unwrap_or_report();
}
