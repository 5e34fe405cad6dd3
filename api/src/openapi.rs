//! The OpenAPI document, made from the handlers.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::database::Database;
use crate::layers::Admission;
use crate::problem::{KINDS, ProblemDocument};
use crate::request::SESSION_COOKIE;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "BatchCortex",
        description = "Records of batch manufacturing that nobody can change unnoticed.\n\n\
            Each request is one transaction: it takes effect whole, or answers with a problem (RFC 9457) and has no effect. \
            Times are RFC 3339, in UTC, with microseconds; the time of a record is the server's. Unknown members are refused.\n\n\
            **Sessions.** POST /v1/login issues a token. A program sends it as `Authorization: Bearer …`. A browser asks for \
            `\"delivery\": \"cookie\"` and never sees the token; with the cookie, every method but GET and HEAD needs the \
            header `X-BatchCortex-CSRF: 1`, and a request that another site caused (`Sec-Fetch-Site`) is refused.\n\n\
            **API keys** (`bck_…`) of POST /v1/api-keys are sent as `Authorization: Bearer …` too. A key does what its role may \
            and its scopes name; what is a person's own (sessions, passwords, keys) refuses it with 401.\n\n\
            **Limits.** Beyond the requests a minute of a person, an API key or an address: 429 with Retry-After, one count for \
            all processes.\n\n\
            **Devices** sign each request (RFC 9421, hmac-sha256) over `@method`, `@authority`, `@path` and `content-digest` \
            (RFC 9530) with the parameters created, nonce, keyid and alg and the label `device`. The authority is the header \
            Host as the service receives it: a reverse proxy must pass it on unchanged.\n\n\
            **Request id.** X-Request-Id is taken over when it is 1 to 128 characters of A-Z a-z 0-9 . _ - and made up \
            otherwise; every answer carries it, and the audit trail keeps it.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemDocument)),
    modifiers(&SecuritySchemes),
    tags(
        (name = "health", description = "Liveness and readiness"),
        (name = "identity", description = "Joining, signing in, sessions, second factors, members, policies, API keys"),
        (name = "access", description = "Permissions, the access register and its review"),
        (name = "batch", description = "Batches and their states"),
        (name = "event", description = "The audit trail"),
        (name = "telemetry", description = "Equipment, tags, devices and samples"),
        (name = "ledger", description = "Verification"),
        (name = "redaction", description = "Personal data that records name by a commitment"),
    )
)]
struct Api;

struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "Session token (`bcs_…`) of POST /v1/login, or API key (`bck_…`).",
            ))
            .build();
        let cookie = ApiKeyValue::with_description(
            SESSION_COOKIE,
            "Session cookie of POST /v1/login with `\"delivery\": \"cookie\"`.",
        );
        let device = ApiKeyValue::with_description(
            "Signature",
            "RFC 9421 signature of a device, with the headers Content-Digest and Signature-Input.",
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        components.add_security_scheme("device", SecurityScheme::ApiKey(ApiKey::Header(device)));
    }
}

/// The document of all routes.
pub fn document() -> utoipa::openapi::OpenApi {
    OpenApiRouter::with_openapi(Api::openapi())
        .merge(crate::routes::health::live_routes())
        .merge(crate::routes::all(Admission::new(1)))
        .merge(crate::routes::proofs())
        .into_openapi()
}

pub(crate) fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new().routes(routes!(openapi))
}

/// This document
///
/// Made from the handlers themselves, so that it lists what this process serves.
#[utoipa::path(
    get, path = "/v1/openapi.json", operation_id = "openapi", tag = "health",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json"), OpenProblems)
)]
async fn openapi() -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// Problems of a route that asks for no credential.
pub struct OpenProblems;

impl IntoResponses for OpenProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        problems(&[400, 500, 503, 504])
    }
}

/// Problems of a route that anyone may read.
pub struct PublicReadProblems;

impl IntoResponses for PublicReadProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        problems(&[404, 422, 429, 500, 503, 504])
    }
}

/// Problems of a route that anyone may post to.
pub struct PublicWriteProblems;

impl IntoResponses for PublicWriteProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        problems(&[400, 403, 404, 408, 413, 422, 429, 500, 503, 504])
    }
}

/// Problems of signing in and joining.
pub struct EntryProblems;

impl IntoResponses for EntryProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        problems(&[400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503, 504])
    }
}

/// Problems of a route that reads as the caller.
pub struct ReadProblems;

impl IntoResponses for ReadProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        problems(&[401, 403, 404, 422, 429, 500, 503, 504])
    }
}

/// Problems of a route that exports as the caller.
pub struct ExportProblems;

impl IntoResponses for ExportProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        problems(&[401, 403, 404, 409, 422, 429, 500, 503, 504])
    }
}

/// Problems of a route that writes as the caller.
pub struct WriteProblems;

impl IntoResponses for WriteProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        problems(&[400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504])
    }
}

/// Problems of a route that a device signs.
pub struct DeviceProblems;

impl IntoResponses for DeviceProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        problems(&[400, 401, 403, 408, 409, 413, 422, 429, 500, 503, 504])
    }
}

/// A problem document for each status, with the kinds that come with it.
fn problems(statuses: &[u16]) -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
    statuses
        .iter()
        .map(|status| {
            let kinds = KINDS.iter().filter(|kind| kind.status.as_u16() == *status);
            let description = kinds
                .map(|kind| format!("{} ({})", kind.title, kind.code))
                .collect::<Vec<_>>()
                .join("; ");
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            let response = ResponseBuilder::new()
                .description(description)
                .content("application/problem+json", content)
                .build();
            (status.to_string(), RefOr::T(response))
        })
        .collect()
}
