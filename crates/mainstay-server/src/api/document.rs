//! The OpenAPI document: what every route has in common is added here, so that no route can forget it.

use std::sync::LazyLock;

use axum::{
    http::{HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use utoipa::{
    OpenApi as _,
    openapi::{
        Components, ContentBuilder, HeaderBuilder, HttpMethod, ObjectBuilder, OpenApi, PathItem,
        Ref, RefOr, Response as Described, ResponseBuilder,
        extensions::ExtensionsBuilder,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::{AdditionalProperties, Schema, Type},
        security::{
            ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
        },
    },
};

use crate::{
    access::needs::{self, Kind, Need},
    http::problem::ProblemBody,
    stream,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Mainstay",
        description = "The reliability backend: webhooks in, jobs done, dead letters seen.\n\nTimes are RFC 3339 in UTC \
            with microseconds. Ids are texts with a prefix. Errors are RFC 9457 problems with a stable `code`, explained \
            in `/docs/errors`. Lists are pages: pass `next_cursor` as `cursor` until it is null.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        crate::intake::accept,
        crate::intake::challenge,
        crate::health::livez,
        crate::health::readyz,
        crate::metrics::metrics,
        openapi_get,
    ),
    components(schemas(ProblemBody, stream::Tick, stream::ChangeView, super::follow::FollowedEvent)),
    tags(
        (name = "access", description = "Who may do what: sessions, tenants, users, keys, the audit log"),
        (name = "intake", description = "Sources, bindings, events, requests that were refused, replay"),
        (name = "jobs", description = "Jobs, endpoints, schedules, dead letters"),
        (name = "watch", description = "What is going on: overview, stream, health"),
    )
)]
struct Base;

/// This document
#[utoipa::path(get, path = "/v1/openapi.json", tag = "watch",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
#[expect(dead_code, reason = "the route is made where the document is known")]
fn openapi_get() {}

/// The document before any route is in it.
pub(crate) fn base() -> OpenApi {
    Base::openapi()
}

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = super::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
});

/// The document as it is served and committed.
pub(crate) fn text() -> &'static str {
    &TEXT
}

/// The document as an answer.
pub(crate) fn response(text: &'static str) -> Response {
    let mut response = text.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// Adds to every operation what the frame around it does: access, limits, idempotency, and their problems.
pub(crate) fn complete(openapi: &mut OpenApi) {
    let components = openapi.components.get_or_insert_with(Components::new);
    components.add_security_scheme(
        "key",
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("An API key: `msk_…`"))
                .build(),
        ),
    );
    components.add_security_scheme(
        "session",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            "mainstay_session",
            "A browser's session; over TLS the cookie is named `__Host-mainstay`. Writes need an `Origin` of our own.",
        ))),
    );
    for name in CLOSED {
        if let Some(RefOr::T(Schema::OneOf(variants))) = components.schemas.get_mut(name) {
            variants.items.iter_mut().for_each(close);
        }
    }
    for (path, item) in &mut openapi.paths.paths {
        for (method, operation) in operations(item) {
            frame(path, &method, operation);
        }
    }
}

/// Schemas with variants whose unknown fields are refused: the derive describes that of structs alone.
const CLOSED: [&str; 2] = ["NewHandler", "RetryPolicy"];

fn close(variant: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::Object(object)) = variant {
        object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    }
}

fn operations(item: &mut PathItem) -> Vec<(HttpMethod, &mut Operation)> {
    [
        (HttpMethod::Get, item.get.as_mut()),
        (HttpMethod::Post, item.post.as_mut()),
        (HttpMethod::Patch, item.patch.as_mut()),
        (HttpMethod::Put, item.put.as_mut()),
        (HttpMethod::Delete, item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.map(|operation| (method, operation)))
    .collect()
}

fn frame(path: &str, method: &HttpMethod, operation: &mut Operation) {
    for (status, description) in problems(path, method, operation) {
        operation
            .responses
            .responses
            .entry(status.to_owned())
            .or_insert_with(|| ResponseBuilder::new().description(description).into());
    }
    let need = need(path, method);
    let remembered = need.is_some_and(|need| need.kind == Kind::Change);
    let role = need.and_then(|need| need.role);
    let counted = role.is_some();
    if let Some(role) = role {
        let extension = ExtensionsBuilder::new()
            .add("x-role", role.as_str())
            .build();
        operation
            .extensions
            .get_or_insert_default()
            .merge(extension);
        let least = format!("Takes the role `{}`.", role.as_str());
        let told = operation.description.take();
        operation.description = Some(match told {
            Some(told) if !told.is_empty() => format!("{told}\n\n{least}"),
            _ => least,
        });
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            answer(status, remembered, counted, response);
        }
    }
}

/// What calling it needs, as `access` declares it; nothing outside of the API.
fn need(path: &str, method: &HttpMethod) -> Option<Need> {
    let method = match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
        _ => return None,
    };
    needs::of(&method, path)
}

/// What every answer of a status has.
fn answer(status: &str, remembered: bool, counted: bool, response: &mut Described) {
    let mut header = |name: &str, kind: Type, description: &str| {
        let header = HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(kind)))
            .description(Some(description));
        response
            .headers
            .entry(name.to_owned())
            .or_insert_with(|| header.build().into());
    };
    header(
        "x-request-id",
        Type::String,
        "The request's name in our log",
    );
    if counted && (status == "429" || status.starts_with('2')) {
        header(
            "ratelimit-policy",
            Type::String,
            "How many requests the caller may make (`q`) in how many seconds (`w`)",
        );
        header(
            "ratelimit",
            Type::String,
            "How many are left (`r`), and seconds until they are counted anew (`t`)",
        );
    }
    match status {
        "401" => header("www-authenticate", Type::String, "What to come with"),
        "405" => header("allow", Type::String, "What is possible instead"),
        "429" | "503" => header(
            "retry-after",
            Type::Integer,
            "Seconds to wait, where they are known",
        ),
        _ if remembered && status.starts_with('2') => header(
            "idempotency-replayed",
            Type::String,
            "`true` where the answer is the one that was given before",
        ),
        _ => {}
    }
    if response.content.is_empty() && status >= "400" {
        let content = ContentBuilder::new()
            .schema(Some(RefOr::Ref(Ref::from_schema_name("Problem"))))
            .build();
        response
            .content
            .insert("application/problem+json".into(), content.into());
    }
}

fn problems(
    path: &str,
    method: &HttpMethod,
    operation: &mut Operation,
) -> Vec<(&'static str, &'static str)> {
    let write = *method != HttpMethod::Get;
    let need = need(path, method);
    let open = need.is_some_and(|need| need.role.is_none());
    let remembered = need.is_some_and(|need| need.kind == Kind::Change);
    let with_body = operation.request_body.is_some();
    let parameters = operation
        .parameters
        .as_ref()
        .is_some_and(|list| !list.is_empty());
    let mut problems = vec![
        (
            "500",
            "A defect of ours; the log has the details under the answer's `x-request-id`",
        ),
        (
            "503",
            "The database does not answer, or there is too much at once; try again later",
        ),
    ];
    // Outside of the API each operation says itself what else it answers.
    if !path.starts_with("/v1/") {
        return problems;
    }
    if with_body || parameters || write {
        problems.push((
            "400",
            "Something in the request is wrong; `errors` says what",
        ));
    }
    if write {
        problems.push(("408", "The body did not arrive in time"));
        problems.push(("413", "The body is too large"));
    }
    if with_body {
        problems.push(("415", "The body is not JSON"));
    }
    if !open {
        operation.security = Some(
            ["key", "session"]
                .map(|name| SecurityRequirement::new(name, Vec::<String>::new()))
                .to_vec(),
        );
        problems.push(("401", "Nobody is signed in, or the key is unknown"));
        problems.push(("403", "The role or the key's tenant does not allow this"));
        problems.push((
            "429",
            "More requests in a minute than one caller may make; wait for `Retry-After`",
        ));
    }
    if path.contains('{') || with_body {
        problems.push(("404", "There is no such thing in reach"));
    }
    if remembered {
        problems.push((
            "409",
            "Not possible in this state, or the same request is still under way",
        ));
        problems.push((
            "422",
            "The `Idempotency-Key` came with another request before",
        ));
        operation
            .parameters
            .get_or_insert_default()
            .push(idempotency_key());
    }
    problems
}

fn idempotency_key() -> RefOr<Parameter> {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(crate::limits::IDEMPOTENCY_KEY_MAX))
        .pattern(Some("^[!-~]+$"));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(utoipa::openapi::Required::False)
        .description(Some(
            "Makes the write safe to repeat: the same key with the same request takes effect once in 24 hours. An \
             answer that is repeated carries `Idempotency-Replayed: true`; what it showed once it does not show again.",
        ))
        .schema(Some(schema))
        .build()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_the_served_one() {
        let committed = include_str!("../../../../docs/openapi.json");
        assert!(
            committed == text(),
            "docs/openapi.json is stale: cargo run -p mainstay-server -- openapi > docs/openapi.json"
        );
    }

    #[test]
    fn every_operation_has_an_id_a_tag_and_an_answer() {
        let document: serde_json::Value =
            serde_json::from_str(text()).expect("the document is JSON");
        assert_eq!(document["openapi"], "3.1.0");
        let paths = document["paths"].as_object().expect("there are paths");
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in paths {
            for (method, operation) in item.as_object().expect("operations") {
                let id = operation["operationId"].as_str().unwrap_or_default();
                assert!(
                    ids.insert(id.to_owned()),
                    "{method} {path}: the id {id} is used twice"
                );
                assert!(
                    operation["tags"]
                        .as_array()
                        .is_some_and(|tags| tags.len() == 1),
                    "{method} {path}"
                );
                let answers = operation["responses"].as_object().expect("answers");
                assert!(
                    answers.keys().any(|status| status.starts_with('2')),
                    "{method} {path}"
                );
            }
        }
    }
}
