//! The HTTP surface in process, without a database: routing, limits, problems, headers.
//!
//! The pool points at a port where nobody listens, which is also what a database that is down looks like.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode, header};
use batchcortex_api::body::BODY_LIMIT;
use batchcortex_api::database::{Database, Share};
use batchcortex_api::layers::{Limits, service};
use batchcortex_api::request::{Peer, TrustedProxies};
use batchcortex_api::routes::telemetry::INGEST_BODY_LIMIT;
use batchcortex_api::settings::DatabaseSettings;
use serde_json::Value;
use tower::ServiceExt as _;

fn router(limits: Limits) -> Router {
    let nobody = DatabaseSettings("postgres://nobody@127.0.0.1:1/none".parse().unwrap());
    service(
        Database::new(
            nobody,
            Share {
                connections: 4,
                proofs: 2,
            },
            Duration::from_secs(1),
        )
        .unwrap(),
        TrustedProxies::default(),
        limits,
    )
}

fn usual() -> Router {
    router(Limits {
        requests: 8,
        ingests: 2,
    })
}

async fn send(router: Router, mut request: Request<Body>) -> Response<Body> {
    request
        .extensions_mut()
        .insert(Peer(SocketAddr::from(([127, 0, 0, 1], 4711))));
    router.oneshot(request).await.unwrap()
}

fn get(path: &str) -> Request<Body> {
    Request::get(path)
        .header(header::AUTHORIZATION, "Bearer bcs_canary")
        .body(Body::empty())
        .unwrap()
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header(header::AUTHORIZATION, "Bearer bcs_canary")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .unwrap()
}

/// Status and problem document of an answer that must be a problem.
async fn problem(response: Response<Body>) -> (u16, Value) {
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/problem+json"
    );
    let status = response.status();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let document: Value =
        serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap();
    assert_eq!(document["status"], status.as_u16());
    assert_eq!(document["instance"], format!("urn:batchcortex:request:{id}"));
    assert!(
        document["type"]
            .as_str()
            .unwrap()
            .starts_with("urn:batchcortex:problem:")
    );
    assert!(
        !document["title"].as_str().unwrap().is_empty() && !document["detail"].as_str().unwrap().is_empty()
    );
    assert!(!document.to_string().contains("canary"));
    (status.as_u16(), document)
}

async fn code(router: Router, request: Request<Body>) -> (u16, String) {
    let (status, document) = problem(send(router, request).await).await;
    (status, document["code"].as_str().unwrap().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn an_unknown_route_is_404() {
    for path in [
        "/",
        "/v1",
        "/v1/nothing",
        "/v2/batches",
        "/v1/batches/",
        "/v1/batches/x/y/z",
    ] {
        assert_eq!(code(usual(), get(path)).await, refused(404, "BC404"), "{path}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_with_allow() {
    for (method, path, allow) in [
        ("DELETE", "/v1/batches", "GET,HEAD,POST"),
        ("GET", "/v1/login", "POST"),
        ("OPTIONS", "/v1/ingest", "POST"),
        ("BREW", "/v1/verify", "GET,HEAD"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let response = send(usual(), request).await;
        assert_eq!(response.headers()[header::ALLOW], allow, "{method} {path}");
        assert_eq!(problem(response).await.1["code"], "BC405");
    }
}

#[tokio::test]
async fn bodies_are_checked_before_the_database_is_asked() {
    let batch = |body: &str| post("/v1/batches", body.to_owned());
    assert_eq!(code(usual(), batch("{")).await, refused(400, "BC400"));
    assert_eq!(code(usual(), batch("")).await, refused(400, "BC400"));
    assert_eq!(
        code(usual(), batch(r#"{"number": "1"}"#)).await,
        refused(422, "BC422")
    );
    assert_eq!(
        code(usual(), batch(r#"{"number": 1, "product": "p"}"#)).await,
        refused(422, "BC422")
    );
    assert_eq!(
        code(
            usual(),
            batch(r#"{"number": "1", "product": "p", "state": "ended"}"#)
        )
        .await,
        refused(422, "BC422")
    );
    assert_eq!(code(usual(), batch(r#"["1", "p"]"#)).await, refused(422, "BC422"));
    // Nothing is wrong with this one but the database.
    assert_eq!(
        code(usual(), batch(r#"{"number": "1", "product": "p"}"#)).await,
        refused(503, "BC503")
    );

    let mut plain = batch(r#"{"number": "1", "product": "p"}"#);
    plain
        .headers_mut()
        .insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
    assert_eq!(code(usual(), plain).await, refused(415, "BC415"));
}

#[tokio::test]
async fn query_strings_and_ids_are_checked() {
    let id = "7f3b1c8e-0000-4000-8000-000000000001";
    for path in [
        "/v1/batches?max_rows=many",
        "/v1/batches?rows=1",
        "/v1/batches?before=yesterday",
        "/v1/batches?max_rows=1&max_rows=2",
        "/v1/events?org_id=7f3b1c8e-0000-4000-8000-000000000001",
        "/v1/tags?equipment_id=1",
        "/v1/batches/1",
        "/v1/batches/1'%20or%20true--",
        &format!("/v1/batches/{id}/samples"),
        &format!("/v1/batches/{id}/samples?tag=pH&extra=1"),
    ] {
        assert_eq!(code(usual(), get(path)).await, refused(422, "BC422"), "{path}");
    }
    for path in [
        "/v1/batches?before=2026-03-01T09:15:30%2B01:00&max_rows=5",
        &format!("/v1/batches/{id}/samples?tag=pH"),
    ] {
        assert_eq!(code(usual(), get(path)).await, refused(503, "BC503"), "{path}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_413() {
    let filler = |size: usize| format!(r#"{{"username": "{}", "password": "x"}}"#, "a".repeat(size));
    assert_eq!(
        code(usual(), post("/v1/login", filler(BODY_LIMIT))).await,
        refused(413, "BC413")
    );
    assert_eq!(
        code(usual(), post("/v1/login", filler(BODY_LIMIT - 1000))).await,
        refused(503, "BC503")
    );
    assert_eq!(
        code(usual(), post("/v1/ingest", vec![b' '; INGEST_BODY_LIMIT + 1])).await,
        refused(413, "BC413")
    );
    assert_eq!(
        code(usual(), post("/v1/ingest", vec![b' '; INGEST_BODY_LIMIT])).await,
        refused(503, "BC503")
    );
}

#[tokio::test]
async fn no_route_but_the_open_ones_works_without_a_credential() {
    let document = batchcortex_api::openapi::document();
    let document: Value = serde_json::to_value(&document).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"]
                .as_array()
                .is_none_or(|schemes| schemes.iter().any(|scheme| scheme["device"].is_array()))
            {
                continue;
            }
            let path = [
                "{batch_id}",
                "{user_id}",
                "{session_id}",
                "{invitation_id}",
                "{key_id}",
            ]
            .iter()
            .fold(path.replace("{level}/{*index}", "0/000"), |path, id| {
                path.replace(id, "7f3b1c8e-0000-4000-8000-000000000001")
            });
            let request = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(&path)
                .body(Body::empty())
                .unwrap();
            let response = send(usual(), request).await;
            assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
            assert_eq!(problem(response).await.0, 401, "{method} {path}");
        }
    }
}

/// control: A14
#[tokio::test]
async fn the_routes_without_a_credential_are_known() {
    let document: Value = serde_json::to_value(batchcortex_api::openapi::document()).unwrap();
    let mut open: Vec<String> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"].is_null() {
                open.push(format!("{method} {path}"));
            }
        }
    }
    open.sort();
    assert_eq!(
        open,
        [
            "get /v1/health/live",
            "get /v1/health/ready",
            // The global log: sizes and hashes, for witnesses.
            "get /v1/ledger/global/checkpoint",
            "get /v1/ledger/global/consistency",
            "get /v1/ledger/global/tile/{level}/{*index}",
            "get /v1/openapi.json",
            "post /v1/invitations/accept",
            "post /v1/invitations/agreements",
            "post /v1/ledger/global/cosignatures",
            "post /v1/login",
            "post /v1/login/agreements",
            "post /v1/login/password",
            "post /v1/login/second-factor",
        ]
    );
}

/// control: B3
#[tokio::test]
async fn a_forged_form_with_the_cookie_is_refused() {
    let document: Value = serde_json::to_value(batchcortex_api::openapi::document()).unwrap();
    let mut unsafe_routes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let by_cookie = operation["security"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["cookie"].is_array()));
            if method == "get" || !by_cookie {
                continue;
            }
            unsafe_routes += 1;
            let path = [
                "{batch_id}",
                "{user_id}",
                "{session_id}",
                "{invitation_id}",
                "{key_id}",
            ]
            .iter()
            .fold(path.clone(), |path, id| {
                path.replace(id, "7f3b1c8e-0000-4000-8000-000000000001")
            });
            let forged = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(&path)
                .header(header::COOKIE, "__Host-bc_session=bcs_canary")
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Body::from("a=b"))
                .unwrap();
            assert_eq!(
                code(usual(), forged).await,
                refused(403, "BC403"),
                "{method} {path}"
            );
        }
    }
    assert!(unsafe_routes >= 25);

    let login = r#"{"username": "u", "password": "canary", "delivery": "cookie"}"#;
    assert_eq!(
        code(usual(), post("/v1/login", login)).await,
        refused(403, "BC403")
    );
    let mut meant = post("/v1/logout", "");
    meant.headers_mut().remove(header::AUTHORIZATION);
    meant
        .headers_mut()
        .insert(header::COOKIE, "__Host-bc_session=bcs_canary".parse().unwrap());
    meant
        .headers_mut()
        .insert("x-batchcortex-csrf", "1".parse().unwrap());
    assert_eq!(code(usual(), meant).await, refused(503, "BC503"));
}

/// control: B10
#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    for request in [
        get("/v1/health/live"),
        get("/v1/openapi.json"),
        get("/nothing"),
        get("/v1/whoami"),
        post("/v1/verify", ""),
    ] {
        let path = request.uri().clone();
        let response = send(usual(), request).await;
        let headers = response.headers();
        assert_eq!(headers[header::CACHE_CONTROL], "no-store", "{path}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(
            headers[header::CONTENT_SECURITY_POLICY],
            "default-src 'none'; frame-ancestors 'none'",
            "{path}"
        );
        assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY", "{path}");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer", "{path}");
        assert!(headers.contains_key(header::STRICT_TRANSPORT_SECURITY), "{path}");
        assert!(headers.contains_key("x-request-id"), "{path}");
    }
}

#[tokio::test]
async fn the_request_id_comes_back() {
    let mut request = get("/v1/health/live");
    request
        .headers_mut()
        .insert("x-request-id", "shift-7.a".parse().unwrap());
    assert_eq!(
        send(usual(), request).await.headers()["x-request-id"],
        "shift-7.a"
    );

    let mut request = get("/v1/health/live");
    request
        .headers_mut()
        .insert("x-request-id", "<script>".parse().unwrap());
    assert_ne!(send(usual(), request).await.headers()["x-request-id"], "<script>");
}

/// control: A7, B14
#[tokio::test]
async fn a_database_that_is_down_takes_readiness_but_not_liveness() {
    assert_eq!(
        send(usual(), get("/v1/health/live")).await.status(),
        StatusCode::OK
    );
    let response = send(usual(), get("/v1/health/ready")).await;
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    let (status, document) = problem(response).await;
    assert_eq!(status, 503);
    assert_eq!(document["components"][0]["component"], "database");
    assert_eq!(document["components"][0]["status"], "down");
}

#[tokio::test]
async fn a_burst_is_answered_503_and_liveness_goes_on() {
    let full = || {
        router(Limits {
            requests: 0,
            ingests: 0,
        })
    };
    let response = send(full(), get("/v1/whoami")).await;
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    assert_eq!(problem(response).await.0, 503);
    assert_eq!(
        send(full(), get("/v1/health/live")).await.status(),
        StatusCode::OK
    );

    let no_ingests = || {
        router(Limits {
            requests: 8,
            ingests: 0,
        })
    };
    let (status, document) = problem(send(no_ingests(), post("/v1/ingest", "{}")).await).await;
    assert_eq!(
        (status, document["title"].as_str()),
        (503, Some("The service cannot answer at the moment"))
    );
    assert!(
        document["detail"]
            .as_str()
            .unwrap()
            .starts_with("Too many requests")
    );
}

/// Places are given back: more requests than places, one after the other.
#[tokio::test]
async fn a_place_is_given_back() {
    let router = router(Limits {
        requests: 1,
        ingests: 1,
    });
    for _ in 0..5 {
        let (_, document) = problem(send(router.clone(), post("/v1/ingest", "{}")).await).await;
        assert_eq!(document["detail"], "The database cannot be reached.");
    }
}
