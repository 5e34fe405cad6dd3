//! The log of the caller's organisation as a tiled log, and proofs from it: with a credential only.

use axum::extract::State;
use axum::response::Response;
use tokio_postgres::types::Type;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::tiled::{Cache, Leaf, Proof, Sizes, Tile, note_answer, proof, tile_answer};
use crate::body::{Json, Query};
use crate::database::{Call, Database};
use crate::openapi::ReadProblems;
use crate::problem::Problem;
use crate::request::Caller;

pub(super) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(checkpoint))
        .routes(routes!(tile))
        .routes(routes!(inclusion))
        .routes(routes!(consistency))
}

/// The newest checkpoint of the organisation's log
///
/// A signed note (C2SP tlog-checkpoint). It is a leaf of the global log, whose checkpoints witnesses cosign.
#[utoipa::path(
    get, path = "/v1/ledger/checkpoint", operation_id = "log_checkpoint", tag = "ledger",
    responses((status = 200, description = "The signed note", body = String, content_type = "text/plain"), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn checkpoint(State(database): State<Database>, caller: Caller) -> Result<Response, Problem> {
    let call = Call {
        sql: "select batchcortex_api.log_checkpoint()",
        parameters: &[],
    };
    let [rows] = database.request(&caller, [call]).await?;
    note_answer(rows)
}

/// A tile of the organisation's log
///
/// As for the global log: up to 256 hashes of 32 bytes, `tile/<level>/<index>[.p/<width>]` (C2SP tlog-tiles).
#[utoipa::path(
    get, path = "/v1/ledger/tile/{level}/{*index}", operation_id = "log_tile", tag = "ledger",
    params(
        ("level" = String, Path, description = "0 for leaf hashes"),
        ("index" = String, Path, description = "Such as `000`, `x001/x234/067` or `012.p/8`"),
    ),
    responses((status = 200, description = "The hashes", body = Vec<u8>, content_type = "application/octet-stream"), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn tile(State(database): State<Database>, tile: Tile, caller: Caller) -> Result<Response, Problem> {
    let call = Call {
        sql: "select batchcortex_api.log_tile($1, $2, $3)",
        parameters: &[
            (&tile.level, Type::INT4),
            (&tile.index, Type::INT8),
            (&tile.width, Type::INT4),
        ],
    };
    let [rows] = database.request(&caller, [call]).await?;
    tile_answer(rows, Cache::Private)
}

/// Inclusion proof of the organisation's log
///
/// That a leaf is in the tree of a size, now or in the past (RFC 6962 §2.1.1).
#[utoipa::path(
    get, path = "/v1/ledger/inclusion", operation_id = "log_inclusion", tag = "ledger", params(Leaf),
    responses((status = 200, description = "The proof, from the leaf's sibling upwards", body = Proof), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn inclusion(
    State(database): State<Database>,
    caller: Caller,
    Query(leaf): Query<Leaf>,
) -> Result<Json<Proof>, Problem> {
    let call = Call {
        sql: "select batchcortex_api.log_inclusion($1, $2)",
        parameters: &[(&leaf.leaf, Type::INT8), (&leaf.size, Type::INT8)],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(proof(rows)?))
}

/// Consistency proof of the organisation's log
///
/// That the tree of `from` leaves is the beginning of that of `to` (RFC 6962 §2.1.2).
#[utoipa::path(
    get, path = "/v1/ledger/consistency", operation_id = "log_consistency", tag = "ledger", params(Sizes),
    responses((status = 200, description = "The proof", body = Proof), ReadProblems),
    security(("bearer" = []), ("cookie" = []))
)]
async fn consistency(
    State(database): State<Database>,
    caller: Caller,
    Query(sizes): Query<Sizes>,
) -> Result<Json<Proof>, Problem> {
    let call = Call {
        sql: "select batchcortex_api.log_consistency($1, $2)",
        parameters: &[(&sizes.from, Type::INT8), (&sizes.to, Type::INT8)],
    };
    let [rows] = database.request(&caller, [call]).await?;
    Ok(Json(proof(rows)?))
}
