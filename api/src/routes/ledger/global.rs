//! The global log as anyone may read it (C2SP tlog-tiles), and where witnesses post what they have cosigned.
//!
//! Its leaves are the checkpoints of organisations. Served are sizes and hashes, which tell nothing about an organisation, so that a
//! witness needs no credential that could be taken away. Entry bundles (`tile/entries/…`) are not served: they would show the
//! other organisations' checkpoints, and with them who is there and how much each records.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use tokio_postgres::types::Type;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::tiled::{Cache, Proof, Sizes, Tile, note_answer, proof, tile_answer};
use crate::body::{self, Json, Query};
use crate::database::{Call, Database, only};
use crate::openapi::{PublicReadProblems, PublicWriteProblems};
use crate::problem::{self, Problem};
use crate::request::Origin;

/// Largest body: a hundred signature lines.
const SUBMISSION_LIMIT: usize = 64 * 1024;

pub(super) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(checkpoint))
        .routes(routes!(tile))
        .routes(routes!(consistency))
        .routes(routes!(cosign))
}

/// The newest checkpoint of the global log
///
/// A signed note (C2SP tlog-checkpoint) with the cosignatures that it has so far. No credential is needed. The prefix of the tiled log is
/// `/v1/ledger/global`.
#[utoipa::path(
    get, path = "/v1/ledger/global/checkpoint", operation_id = "global_checkpoint", tag = "ledger",
    responses((status = 200, description = "The signed note", body = String, content_type = "text/plain"), PublicReadProblems)
)]
async fn checkpoint(State(database): State<Database>, origin: Origin) -> Result<Response, Problem> {
    let call = Call {
        sql: "select batchcortex_api.global_checkpoint($1)",
        parameters: &[(&origin.client_ip, Type::INET)],
    };
    note_answer(database.call(call).await?)
}

/// A tile of the global log
///
/// Up to 256 hashes of 32 bytes (C2SP tlog-tiles): `tile/<level>/<index>[.p/<width>]`, the index in groups of three digits, all but the last
/// after an `x`. A tile, and each part of one, never changes. No credential is needed. There are no entry bundles: they would show
/// the checkpoints of organisations.
#[utoipa::path(
    get, path = "/v1/ledger/global/tile/{level}/{*index}", operation_id = "global_tile", tag = "ledger",
    params(
        ("level" = String, Path, description = "0 for leaf hashes"),
        ("index" = String, Path, description = "Such as `000`, `x001/x234/067` or `012.p/8`"),
    ),
    responses((status = 200, description = "The hashes", body = Vec<u8>, content_type = "application/octet-stream"), PublicReadProblems)
)]
async fn tile(State(database): State<Database>, tile: Tile, origin: Origin) -> Result<Response, Problem> {
    let call = Call {
        sql: "select batchcortex_api.global_tile($1, $2, $3, $4)",
        parameters: &[
            (&tile.level, Type::INT4),
            (&tile.index, Type::INT8),
            (&tile.width, Type::INT4),
            (&origin.client_ip, Type::INET),
        ],
    };
    tile_answer(database.call(call).await?, Cache::Public)
}

/// Consistency proof of the global log
///
/// That the tree of `from` leaves is the beginning of that of `to` (RFC 6962 §2.1.2). No credential is needed; whoever has the tiles can make
/// it as well.
#[utoipa::path(
    get, path = "/v1/ledger/global/consistency", operation_id = "global_consistency", tag = "ledger", params(Sizes),
    responses((status = 200, description = "The proof", body = Proof), PublicReadProblems)
)]
async fn consistency(
    State(database): State<Database>,
    origin: Origin,
    Query(sizes): Query<Sizes>,
) -> Result<Json<Proof>, Problem> {
    let call = Call {
        sql: "select batchcortex_api.global_consistency($1, $2, $3)",
        parameters: &[
            (&sizes.from, Type::INT8),
            (&sizes.to, Type::INT8),
            (&origin.client_ip, Type::INET),
        ],
    };
    let rows = database
        .call(call)
        .await
        .map_err(|problem| no_such_trees(problem, &sizes))?;
    Ok(Json(proof(rows)?))
}

/// The functions of the ledger speak to whoever asks for a log of their own; here it is everyone's.
fn no_such_trees(problem: Problem, sizes: &Sizes) -> Problem {
    if problem.kind() != problem::NOT_FOUND {
        return problem;
    }
    Problem::new(
        problem::NOT_FOUND,
        format!(
            "no trees of {} and of {} leaves of the global log. `from` is at least 1 and at most `to`, which is at most the newest checkpoint's size.",
            sizes.from, sizes.to
        ),
    )
    .because("SQLSTATE BC404")
}

/// Post cosignatures
///
/// The body is text: a line `size <n>` with the size of the checkpoint, an empty line, and signature lines as a witness answers them (C2SP
/// tlog-witness). Lines of witnesses that are not registered are passed over; if there is no other, 403. One that does not hold: 422, and
/// nothing is stored. Repeating is harmless. No credential is needed: the signatures are one.
#[utoipa::path(
    post, path = "/v1/ledger/global/cosignatures", operation_id = "add_cosignatures", tag = "ledger",
    request_body(content = String, content_type = "text/plain", example = "size 20852163\n\n— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH…\n"),
    responses((status = 200, description = "Stored, or there already"), PublicWriteProblems)
)]
async fn cosign(
    State(database): State<Database>,
    origin: Origin,
    request: Request,
) -> Result<StatusCode, Problem> {
    let body = body::bytes(request, SUBMISSION_LIMIT).await?;
    // PostgreSQL's text has no NUL.
    let submission = std::str::from_utf8(&body)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| Problem::new(problem::MALFORMED, "The body must be text in UTF-8."))?;
    let call = Call {
        sql: "select batchcortex_api.add_cosignatures($1, $2)",
        parameters: &[(&submission, Type::TEXT), (&origin.client_ip, Type::INET)],
    };
    only(database.call(call).await?)?;
    Ok(StatusCode::OK)
}
