//! Routes: a module for each capability, with the handlers and what OpenAPI says of them side by side.

pub mod health;

use utoipa_axum::router::OpenApiRouter;

use crate::database::Database;
use crate::layers::Admission;

/// All routes but liveness, which must answer when these are too busy.
pub fn all(_: Admission) -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .merge(health::routes())
        .merge(crate::openapi::routes())
}
