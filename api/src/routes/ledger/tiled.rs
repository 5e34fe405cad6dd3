//! What the routes of every tiled log share: names of tiles, answers, proofs.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use batchcortex_ledger::tile::TileId;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use utoipa::{IntoParams, ToSchema};

use crate::database::only;
use crate::problem::{self, Problem};

/// Who may keep a tile. None ever changes, and neither does a part of one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cache {
    /// Anyone.
    Public,
    /// The caller alone, and for as long as the credential is the same: the address names no organisation, so that a browser that two
    /// people sign in with would show one of them the other's.
    Private,
}

impl Cache {
    fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let control = match self {
            Cache::Public => "public, max-age=31536000, immutable",
            Cache::Private => "private, max-age=31536000, immutable",
        };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
        if matches!(self, Cache::Private) {
            headers.insert(header::VARY, HeaderValue::from_static("Authorization, Cookie"));
        }
        headers
    }
}

/// Two sizes of a log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Sizes {
    /// The smaller size, at least 1.
    pub from: i64,
    /// The larger one, at most the log's.
    pub to: i64,
}

/// A leaf and a size of a log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Leaf {
    /// Index of the leaf, from 0.
    pub leaf: i64,
    /// Size of the tree, now or in the past.
    pub size: i64,
}

/// A proof.
#[derive(Serialize, ToSchema)]
pub(super) struct Proof {
    /// Hashes in the order of RFC 6962 §2.1, 32 bytes each, in base64.
    pub path: Vec<String>,
}

/// The tile that the last elements of a path name: level, index in groups of three digits, width if it is a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub level: i32,
    pub index: i64,
    pub width: i32,
}

impl<S: Send + Sync> FromRequestParts<S> for Tile {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = Path::<(String, String)>::from_request_parts(parts, state).await;
        named
            .ok()
            .and_then(|Path((level, rest))| Tile::named(&level, &rest))
            .ok_or_else(|| {
                Problem::new(
                    problem::NOT_FOUND,
                    "A tile is named <level>/<index in groups of three digits, all but the last after an x>[.p/<width>] (C2SP tlog-tiles).",
                )
            })
    }
}

impl Tile {
    /// None for any other spelling, so that a cache holds no tile under two names.
    fn named(level: &str, rest: &str) -> Option<Self> {
        let tile = TileId::parse(&format!("tile/{level}/{rest}"))?;
        Some(Tile {
            level: tile.level.into(),
            index: tile.index.try_into().ok()?,
            width: tile.width.into(),
        })
    }
}

/// A tile's hashes as an answer.
pub(super) fn tile_answer(rows: Vec<Row>, cache: Cache) -> Result<Response, Problem> {
    let hashes: Vec<u8> = only(rows)?.try_get(0)?;
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, cache.headers(), hashes).into_response())
}

/// A signed note as an answer.
pub(super) fn note_answer(rows: Vec<Row>) -> Result<Response, Problem> {
    let note: String = only(rows)?.try_get(0)?;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        // The next one may be there in a second.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, note).into_response())
}

/// A proof as an answer.
pub(super) fn proof(rows: Vec<Row>) -> Result<Proof, Problem> {
    let hashes: Vec<Vec<u8>> = only(rows)?.try_get(0)?;
    Ok(Proof {
        path: hashes.iter().map(|hash| BASE64_STANDARD.encode(hash)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_tile_is_kept_for_that_credential_alone() {
        let own = Cache::Private.headers();
        assert!(
            own[header::CACHE_CONTROL]
                .to_str()
                .unwrap()
                .starts_with("private")
        );
        assert_eq!(own[header::VARY], "Authorization, Cookie");
        // Anyone's is the same for everyone: a shared cache needs one copy of it.
        assert!(!Cache::Public.headers().contains_key(header::VARY));
    }

    #[test]
    fn tiles_have_one_name() {
        let tile = |level, index, width| Some(Tile { level, index, width });
        assert_eq!(Tile::named("0", "000"), tile(0, 0, 256));
        assert_eq!(Tile::named("1", "x001/x234/067.p/8"), tile(1, 1_234_067, 8));
        for (level, rest) in [
            ("0", "0"),
            ("00", "000"),
            ("64", "000"),
            ("0", "x000/001"),
            ("0", "001/234"),
            ("0", "000.p/0"),
            ("0", "000.p/256"),
            ("0", "000.p/08"),
            ("0", "000/"),
            ("entries", "000"),
            ("0", "x999/x999/x999/x999/x999/x999/999"),
        ] {
            assert_eq!(Tile::named(level, rest), None, "{level}/{rest}");
        }
    }
}
