//! The API under `/v1`: one file per group of routes, and the OpenAPI document that is made from them.
//!
//! How to add a route: write the handler with its `#[utoipa::path]` in the file of its group, name it in that file's
//! `router`, run `mainstay openapi > docs/openapi.json`. Access needs nothing: see [`crate::access::guard`].

use std::sync::Arc;

use axum::{Router, middleware, routing::get};
use utoipa_axum::router::OpenApiRouter;

pub(crate) mod audit;
pub(crate) mod bindings;
mod breakers;
pub(crate) mod configuration;
mod conflicts;
pub(crate) mod dead_letters;
pub(crate) mod document;
pub(crate) mod endpoints;
pub(crate) mod events;
pub(crate) mod follow;
#[cfg(test)]
mod fuzz;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod lines;
mod nodes;
pub(crate) mod page;
mod queues;
pub(crate) mod receipts;
pub(crate) mod replays;
pub(crate) mod resolve;
pub(crate) mod retry;
pub(crate) mod sagas;
pub(crate) mod schedules;
pub(crate) mod sessions;
pub(crate) mod sources;
pub(crate) mod sql;
pub(crate) mod tenants;
pub(crate) mod timeline;
pub(crate) mod users;
pub(crate) mod vault;
pub(crate) mod waiting;
pub(crate) mod watch;
pub(crate) mod workers;

use crate::{access, nodes::forward, state::App};

fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(document::base())
        .merge(sessions::router())
        .merge(audit::router())
        .merge(tenants::router())
        .merge(users::router())
        .merge(keys::router())
        .merge(vault::router())
        .merge(sources::router())
        .merge(endpoints::router())
        .merge(bindings::router())
        .merge(breakers::router())
        .merge(configuration::router())
        .merge(events::router())
        .merge(follow::router())
        .merge(waiting::router())
        .merge(receipts::router())
        .merge(replays::router())
        .merge(timeline::router())
        .merge(jobs::router())
        .merge(dead_letters::router())
        .merge(queues::router())
        .merge(lines::router())
        .merge(schedules::router())
        .merge(sagas::router())
        .merge(workers::router())
        .merge(nodes::router())
        .merge(watch::router())
        .merge(sql::router())
}

/// The routes without a guard: for whoever puts another one before them.
pub(crate) fn unguarded() -> Router<Arc<App>> {
    routes().split_for_parts().0
}

/// The routes, with access guarded. What only the owner of the jobs can answer is asked there, after that.
pub(crate) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    let router = unguarded();
    let served = document::text();
    let document = get(move || async move { document::response(served) });
    router
        .route("/v1/openapi.json", document)
        .route_layer(middleware::from_fn_with_state(Arc::clone(app), forward))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(app),
            access::guard,
        ))
}

/// The OpenAPI document.
pub(crate) fn openapi() -> utoipa::openapi::OpenApi {
    let (_, mut openapi) = routes().split_for_parts();
    document::complete(&mut openapi);
    openapi
}

/// The OpenAPI document as it is served and committed: what `mainstay openapi` prints.
pub(crate) fn openapi_json() -> String {
    document::text().to_owned()
}
