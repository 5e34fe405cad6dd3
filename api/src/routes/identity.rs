//! Joining, signing in and out, who is calling; what people and administrators decide about accounts.

mod account;
mod agreement;
mod api_key;
mod cookie;
mod invitation;
mod login;
mod member;
mod outcome;
mod policy;
mod second_factor;
mod session;

use utoipa_axum::router::OpenApiRouter;

pub use agreement::Agreement;

use crate::database::Database;

pub(crate) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .merge(session::routes())
        .merge(second_factor::routes())
        .merge(agreement::routes())
        .merge(invitation::routes())
        .merge(member::routes())
        .merge(policy::routes())
        .merge(api_key::routes())
}

/// Routes that have a password checked ([`Database::prove`]).
pub(crate) fn proofs() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .merge(login::proofs())
        .merge(invitation::proofs())
        .merge(session::proofs())
        .merge(account::proofs())
        .merge(second_factor::proofs())
}
