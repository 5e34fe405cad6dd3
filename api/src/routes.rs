//! Routes: a module for each capability, with the handlers and what OpenAPI says of them side by side.
//!
//! JSON members carry the names of the SQL columns and parameters that they stand for.

pub mod access;
pub mod batch;
pub mod event;
pub mod health;
pub mod identity;
pub mod ledger;
pub mod redaction;
pub mod telemetry;

use tokio_postgres::Row;
use utoipa_axum::router::OpenApiRouter;

use crate::database::Database;
use crate::layers::Admission;
use crate::problem::Problem;

/// All routes but liveness, which must answer when these are too busy, and [`proofs`].
pub fn all(ingests: Admission) -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .merge(health::routes())
        .merge(identity::routes())
        .merge(access::routes())
        .merge(batch::routes())
        .merge(event::routes())
        .merge(telemetry::routes(ingests))
        .merge(ledger::routes())
        .merge(redaction::routes())
        .merge(crate::openapi::routes())
}

/// Routes that have a password checked, and may wait for it.
pub fn proofs() -> OpenApiRouter<Database> {
    identity::proofs()
}

/// Reads a structure from the columns of the same names.
macro_rules! from_row {
    ($name:ident { $($column:ident),* $(,)? }) => {
        impl TryFrom<tokio_postgres::Row> for $name {
            type Error = tokio_postgres::Error;

            fn try_from(row: tokio_postgres::Row) -> Result<Self, Self::Error> {
                Ok(Self { $($column: row.try_get(stringify!($column))?),* })
            }
        }
    };
}
use from_row;

/// Why something is done.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Reason {
    /// Why; it stands in the audit trail.
    reason: String,
}

/// Rows of a page when the caller does not say.
fn hundred() -> i32 {
    100
}

/// All rows as structures.
fn all_rows<T: TryFrom<Row, Error = tokio_postgres::Error>>(rows: Vec<Row>) -> Result<Vec<T>, Problem> {
    Ok(rows.into_iter().map(T::try_from).collect::<Result<_, _>>()?)
}
