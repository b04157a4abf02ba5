//! Who may call which route, in one place: a route that is not declared here is closed to everybody, and a test walks
//! every route with every role.
//!
//! `docs/access.md` says the same for people. The OpenAPI document gets it from here, as `x-role` of each operation.

use axum::http::Method;
use mainstay_domain::access::{RateClass, Role};

/// What calling a route is, for the audit log and for repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Looks at what is configured and how things stand.
    Look,
    /// Looks at what came in or went out: the audit log says so, under this action, before the answer is given.
    Read(&'static str),
    /// Changes something: in the log in the transaction of the change, and safe to repeat with an `Idempotency-Key`.
    Change,
    /// What a worker does with the jobs in its hands: told in their histories, under its name and its key's, and not in the log.
    /// It is safe to repeat by itself.
    Handle,
    /// A write by its method that changes nothing of the installation's: signing in and out, a statement that reads.
    Ask,
}

/// What one route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// The least role that may call it; none: anybody.
    pub(crate) role: Option<Role>,
    /// What calling it is.
    pub(crate) kind: Kind,
    /// What it counts as.
    pub(crate) class: RateClass,
}

struct Route {
    method: Method,
    path: &'static str,
    need: Need,
}

const fn route(method: Method, path: &'static str, role: Option<Role>, kind: Kind) -> Route {
    let class = match kind {
        Look | Read(_) => RateClass::Reads,
        Change | Ask => RateClass::Writes,
        Handle => Work,
    };
    Route {
        method,
        path,
        need: Need { role, kind, class },
    }
}

impl Route {
    /// The same, counted as another class.
    const fn counts_as(mut self, class: RateClass) -> Self {
        self.need.class = class;
        self
    }
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;
const ANYBODY: Option<Role> = None;
const VIEWER: Option<Role> = Some(Role::Viewer);
const OPERATOR: Option<Role> = Some(Role::Operator);
const ADMIN: Option<Role> = Some(Role::Admin);
const OWNER: Option<Role> = Some(Role::Owner);
use Kind::{Ask, Change, Handle, Look, Read};
use RateClass::Work;

#[rustfmt::skip]
static ROUTES: &[Route] = &[
    route(POST, "/v1/session", ANYBODY, Ask),
    route(GET, "/v1/health", ANYBODY, Look),
    route(GET, "/v1/openapi.json", ANYBODY, Look),

    route(GET, "/v1/session", VIEWER, Look),
    route(DELETE, "/v1/session", VIEWER, Ask),
    route(GET, "/v1/overview", VIEWER, Look),
    route(GET, "/v1/stream", VIEWER, Look).counts_as(Work),
    route(POST, "/v1/sql", OWNER, Ask),

    route(GET, "/v1/audit", VIEWER, Look),
    route(GET, "/v1/audit/head", VIEWER, Look),
    route(GET, "/v1/audit/export", OWNER, Read("audit.export")),
    route(GET, "/v1/tenants", VIEWER, Look),
    route(POST, "/v1/tenants", OWNER, Change),
    route(GET, "/v1/tenants/{id}", VIEWER, Look),
    route(DELETE, "/v1/tenants/{id}", OWNER, Change),
    route(POST, "/v1/tenants/{id}/erase", OWNER, Change),
    route(GET, "/v1/vault", VIEWER, Look),
    route(GET, "/v1/vault/keys", VIEWER, Look),
    route(POST, "/v1/vault/rotations", OWNER, Change),
    route(GET, "/v1/users", VIEWER, Look),
    route(POST, "/v1/users", OWNER, Change),
    route(PATCH, "/v1/users/{id}", OWNER, Change),
    route(DELETE, "/v1/users/{id}", OWNER, Change),
    route(POST, "/v1/users/{id}/link", OWNER, Change),
    route(GET, "/v1/keys", VIEWER, Look),
    route(POST, "/v1/keys", OWNER, Change),
    route(PATCH, "/v1/keys/{id}", ADMIN, Change),
    route(DELETE, "/v1/keys/{id}", OWNER, Change),

    route(GET, "/v1/sources", VIEWER, Look),
    route(POST, "/v1/sources", ADMIN, Change),
    route(GET, "/v1/sources/{id}", VIEWER, Look),
    route(PATCH, "/v1/sources/{id}", ADMIN, Change),
    route(DELETE, "/v1/sources/{id}", ADMIN, Change),
    route(GET, "/v1/sources/{id}/drift", VIEWER, Look),
    route(POST, "/v1/sources/{id}/drift/acknowledge", OPERATOR, Change),
    route(GET, "/v1/sources/{id}/expected", VIEWER, Look),
    route(POST, "/v1/sources/{id}/expected/acknowledge", OPERATOR, Change),
    route(GET, "/v1/sources/{id}/expected/rules", VIEWER, Look),
    route(GET, "/v1/sources/{id}/rhythm", VIEWER, Look),
    route(GET, "/v1/sources/{id}/rhythm/signals", VIEWER, Look),
    route(GET, "/v1/sources/{id}/links", VIEWER, Look),
    route(POST, "/v1/sources/{id}/links", ADMIN, Change),
    route(DELETE, "/v1/sources/{id}/links/{link_id}", ADMIN, Change),
    route(GET, "/v1/sources/{id}/objects", VIEWER, Look),
    route(POST, "/v1/sources/{id}/reverify", OPERATOR, Change),
    route(GET, "/v1/sources/{id}/schemas", VIEWER, Look),
    route(POST, "/v1/sources/{id}/schemas", ADMIN, Change),
    route(GET, "/v1/sources/{id}/schemas/{schema_id}", VIEWER, Look),
    route(DELETE, "/v1/sources/{id}/schemas/{schema_id}", ADMIN, Change),
    route(POST, "/v1/sources/{id}/secrets", ADMIN, Change),
    route(DELETE, "/v1/sources/{id}/secrets/{secret_id}", ADMIN, Change),
    route(GET, "/v1/sources/{id}/waiting", VIEWER, Look),
    route(GET, "/v1/endpoints", VIEWER, Look),
    route(POST, "/v1/endpoints", ADMIN, Change),
    route(GET, "/v1/endpoints/{id}", VIEWER, Look),
    route(PATCH, "/v1/endpoints/{id}", ADMIN, Change),
    route(DELETE, "/v1/endpoints/{id}", ADMIN, Change),
    route(POST, "/v1/endpoints/{id}/secret", ADMIN, Change),
    route(DELETE, "/v1/endpoints/{id}/secret/previous", ADMIN, Change),
    route(GET, "/v1/bindings", VIEWER, Look),
    route(POST, "/v1/bindings", ADMIN, Change),
    route(GET, "/v1/bindings/{id}", VIEWER, Look),
    route(PATCH, "/v1/bindings/{id}", ADMIN, Change),
    route(DELETE, "/v1/bindings/{id}", ADMIN, Change),
    route(GET, "/v1/breakers", VIEWER, Look),
    route(GET, "/v1/breakers/{name}", VIEWER, Look),
    route(GET, "/v1/breakers/{name}/history", VIEWER, Look),
    route(POST, "/v1/breakers/{name}/open", OPERATOR, Change),
    route(POST, "/v1/breakers/{name}/close", OPERATOR, Change),
    route(POST, "/v1/breakers/{name}/auto", OPERATOR, Change),
    route(GET, "/v1/configuration", VIEWER, Read("configuration.export")),
    route(POST, "/v1/configuration/apply", ADMIN, Change),

    route(GET, "/v1/events", VIEWER, Look),
    route(GET, "/v1/events/follow", VIEWER, Read("event.follow")).counts_as(Work),
    route(GET, "/v1/events/{id}", VIEWER, Read("event.read")),
    route(GET, "/v1/events/{id}/filter", VIEWER, Read("event.filter")),
    route(GET, "/v1/events/{id}/payload", VIEWER, Read("event.read")),
    route(GET, "/v1/timeline", VIEWER, Look),
    route(GET, "/v1/waiting-events", VIEWER, Look),
    route(GET, "/v1/waiting-events/{id}", VIEWER, Read("event.read")),
    route(GET, "/v1/waiting-events/{id}/payload", VIEWER, Read("event.read")),
    route(GET, "/v1/receipts", VIEWER, Look),
    route(GET, "/v1/receipts/{id}", VIEWER, Read("receipt.read")),
    route(GET, "/v1/replays", VIEWER, Look),
    route(POST, "/v1/replays", OPERATOR, Change),
    route(GET, "/v1/replays/{id}", VIEWER, Look),
    route(POST, "/v1/replays/{id}/pause", OPERATOR, Change),
    route(POST, "/v1/replays/{id}/resume", OPERATOR, Change),
    route(POST, "/v1/replays/{id}/stop", OPERATOR, Change),
    route(GET, "/v1/job-counts", VIEWER, Look),
    route(GET, "/v1/storage", VIEWER, Look),
    route(GET, "/v1/jobs", VIEWER, Look),
    route(POST, "/v1/jobs", OPERATOR, Change).counts_as(Work),
    route(GET, "/v1/jobs/{id}", VIEWER, Read("job.read")),
    route(POST, "/v1/jobs/{id}/cancel", OPERATOR, Change),
    route(POST, "/v1/jobs/{id}/retry", OPERATOR, Change),
    route(POST, "/v1/jobs/bulk", OPERATOR, Change).counts_as(Work),
    route(GET, "/v1/workers", VIEWER, Look),
    route(POST, "/v1/workers/heartbeat", OPERATOR, Handle),
    route(POST, "/v1/workers/pull", OPERATOR, Handle),
    route(POST, "/v1/workers/report", OPERATOR, Handle),
    route(GET, "/v1/nodes", VIEWER, Look),
    route(GET, "/v1/queues", VIEWER, Look),
    route(GET, "/v1/queues/{name}", VIEWER, Look),
    route(PATCH, "/v1/queues/{name}", ADMIN, Change),
    route(POST, "/v1/queues/{name}/pause", OPERATOR, Change),
    route(POST, "/v1/queues/{name}/resume", OPERATOR, Change),
    route(POST, "/v1/queues/{name}/drain", OPERATOR, Change),
    route(GET, "/v1/lines", VIEWER, Look),
    route(GET, "/v1/lines/{id}", VIEWER, Look),
    route(POST, "/v1/lines/{id}/release", OPERATOR, Change),
    route(GET, "/v1/schedules", VIEWER, Look),
    route(POST, "/v1/schedules", ADMIN, Change),
    route(POST, "/v1/schedules/preview", VIEWER, Ask),
    route(GET, "/v1/schedules/{id}", VIEWER, Look),
    route(PATCH, "/v1/schedules/{id}", ADMIN, Change),
    route(DELETE, "/v1/schedules/{id}", ADMIN, Change),
    route(GET, "/v1/schedules/{id}/runs", VIEWER, Look),
    route(POST, "/v1/schedules/{id}/pause", OPERATOR, Change),
    route(POST, "/v1/schedules/{id}/resume", OPERATOR, Change),
    route(POST, "/v1/schedules/{id}/run", OPERATOR, Change),
    route(GET, "/v1/sagas", VIEWER, Look),
    route(POST, "/v1/sagas", ADMIN, Change),
    route(GET, "/v1/sagas/{id}", VIEWER, Look),
    route(DELETE, "/v1/sagas/{id}", ADMIN, Change),
    route(POST, "/v1/sagas/{id}/versions", ADMIN, Change),
    route(POST, "/v1/sagas/{id}/runs", OPERATOR, Change).counts_as(Work),
    route(GET, "/v1/saga-runs", VIEWER, Look),
    route(GET, "/v1/saga-runs/{id}", VIEWER, Read("saga_run.read")),
    route(POST, "/v1/saga-runs/{id}/cancel", OPERATOR, Change),
    route(POST, "/v1/saga-runs/{id}/decide", OPERATOR, Change),
    route(POST, "/v1/saga-runs/{id}/retry", OPERATOR, Change),
    route(GET, "/v1/dead-letters", VIEWER, Look),
    route(POST, "/v1/dead-letters/discard", OPERATOR, Change),
    route(GET, "/v1/dead-letters/export", VIEWER, Read("dead_letter.export")),
    route(GET, "/v1/dead-letters/groups", VIEWER, Look),
    route(POST, "/v1/dead-letters/retry", OPERATOR, Change),
];

/// What the route with this template needs. None is declared for what nobody has thought about: it stays closed.
pub(crate) fn of(method: &Method, path: &str) -> Option<Need> {
    let method = if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    ROUTES
        .iter()
        .find(|route| route.method == *method && route.path == path)
        .map(|route| route.need)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_of_the_document_is_declared_once_and_nothing_else_is() {
        let document: serde_json::Value =
            serde_json::from_str(crate::api::document::text()).expect("the document is JSON");
        let mut served = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("there are paths") {
            if path.starts_with("/v1/") {
                for method in item.as_object().expect("operations").keys() {
                    served.insert((method.to_uppercase(), path.clone()));
                }
            }
        }
        let declared: BTreeSet<_> = ROUTES
            .iter()
            .map(|route| (route.method.to_string(), route.path.to_owned()))
            .collect();
        assert_eq!(declared.len(), ROUTES.len(), "a route is declared twice");
        let missing: Vec<_> = served.difference(&declared).collect();
        assert!(
            missing.is_empty(),
            "say in access/needs.rs who may call {missing:?}"
        );
        let gone: Vec<_> = declared.difference(&served).collect();
        assert!(gone.is_empty(), "there is no route {gone:?}");
    }

    #[test]
    fn what_changes_something_is_no_viewers_and_what_looks_is_no_write() {
        for route in ROUTES {
            let write = !route.method.is_safe();
            let fits = match route.need.kind {
                Look | Read(_) => !write,
                Change | Handle => write && route.need.role > VIEWER,
                Ask => write,
            };
            assert!(fits, "{} {}", route.method, route.path);
        }
    }

    #[test]
    fn what_nobody_declared_is_declared_for_nobody() {
        assert_eq!(of(&Method::PUT, "/v1/events"), None);
        assert_eq!(of(&Method::GET, "/v1/nothing"), None);
        assert_eq!(
            of(&Method::HEAD, "/v1/events"),
            of(&Method::GET, "/v1/events")
        );
    }
}
