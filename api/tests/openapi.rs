//! The OpenAPI document: complete for every route, and the same as the one that is published in the repository.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use serde_json::Value;

fn document() -> Value {
    serde_json::to_value(batchcortex_api::openapi::document()).unwrap()
}

fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

#[test]
fn every_operation_is_described() {
    let document = document();
    let mut ids = std::collections::BTreeSet::new();
    for (route, operation) in operations(&document) {
        let id = operation["operationId"]
            .as_str()
            .unwrap_or_else(|| panic!("{route}: no operationId"));
        assert!(ids.insert(id.to_owned()), "{route}: operationId {id} is taken");
        assert!(
            operation["summary"]
                .as_str()
                .is_some_and(|summary| !summary.is_empty()),
            "{route}: no summary"
        );
        assert!(
            operation["tags"].as_array().is_some_and(|tags| tags.len() == 1),
            "{route}: not one tag"
        );

        let responses = operation["responses"].as_object().unwrap();
        assert!(
            responses.keys().any(|status| status.starts_with('2')),
            "{route}: no success"
        );
        for status in ["500", "503"] {
            assert!(responses.contains_key(status), "{route}: no {status}");
        }
        for (status, response) in responses.iter().filter(|(status, _)| !status.starts_with('2')) {
            let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{route} {status}");
            assert!(
                response["description"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{route} {status}"
            );
        }
        if let Some(schemes) = operation["security"].as_array() {
            assert!(
                !schemes.is_empty() && responses.contains_key("401"),
                "{route}: no 401"
            );
        }
        if operation["requestBody"].is_object() {
            assert!(
                responses.contains_key("400")
                    && responses.contains_key("413")
                    && responses.contains_key("422"),
                "{route}"
            );
        }
    }
}

#[test]
fn every_reference_has_its_target() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| match value {
                Value::String(target) if name == "$ref" => found.push(target),
                _ => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for target in found {
        assert!(
            document.pointer(target.strip_prefix('#').unwrap()).is_some(),
            "{target}"
        );
    }
}

#[test]
fn the_routes_are_those_of_the_first_release() {
    let document = document();
    let routes: Vec<String> = operations(&document).map(|(route, _)| route).collect();
    for route in [
        "get /v1/health/live",
        "get /v1/health/ready",
        "post /v1/login",
        "post /v1/logout",
        "get /v1/whoami",
        "get /v1/batches",
        "post /v1/batches",
        "get /v1/batches/{batch_id}",
        "post /v1/batches/{batch_id}/start",
        "post /v1/batches/{batch_id}/end",
        "get /v1/events",
        "post /v1/events",
        "get /v1/batches/{batch_id}/events",
        "get /v1/batches/{batch_id}/samples",
        "get /v1/equipment",
        "post /v1/equipment",
        "get /v1/tags",
        "post /v1/tags",
        "post /v1/devices",
        "post /v1/ingest",
        "get /v1/ingest/position",
        "post /v1/invitations",
        "post /v1/invitations/accept",
        "get /v1/verify",
        "get /v1/evidence",
        "get /v1/openapi.json",
    ] {
        assert!(routes.iter().any(|known| known == route), "{route}");
    }
}

/// Clients are generated from the published document: a change of it is seen in review, not in production.
#[test]
fn the_published_document_is_current() {
    let published: Value = serde_json::from_str(include_str!("../openapi.json")).unwrap();
    assert!(
        published == document(),
        "api/openapi.json is out of date; write it anew with: cargo run -p batchcortex-api -- openapi > api/openapi.json"
    );
}
