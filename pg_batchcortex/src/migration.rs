//! The steps that `migrate()` applies, compiled into the library that needs them.

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
