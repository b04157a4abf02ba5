//! Endpoints: the team's own URLs that jobs are pushed to.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay_domain::{
    EndpointId, Scope, StoreExt, TenantId, Timestamp,
    jobs::{Endpoint, QueueNumber, secret::EndpointSecret},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    page::{Page, PageQuery, page_of_all},
    resolve,
};
use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, write},
    },
    http::{
        Problem,
        extract::{Id, Input, NoInput, Params},
    },
    state::App,
    stats::Figures,
};

mod change;
mod health;
mod secrets;
mod view;

pub(crate) use change::EndpointChange;
use change::NewEndpoint;
pub(super) use secrets::signing_secret;
pub(crate) use view::{BreakerSettings, BreakerState, EndpointView, settings_of};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(endpoint_list, endpoint_create))
        .routes(routes!(endpoint_get, endpoint_update, endpoint_delete))
        .routes(routes!(secrets::endpoint_secret_rotate))
        .routes(routes!(secrets::endpoint_secret_overlap_end))
}

/// An endpoint that was added.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedEndpoint {
    endpoint: EndpointView,
    /// What requests are signed with: `whsec_…`. Shown once.
    secret: Option<String>,
}

/// The name of an endpoint's own queue.
pub(super) fn queue_name(id: EndpointId) -> String {
    format!("endpoint:{id}")
}

/// An endpoint that says nothing yet: what a first change is made to.
pub(super) fn blank(id: EndpointId, tenant: TenantId, now: Timestamp) -> Endpoint {
    Endpoint {
        id,
        tenant,
        name: String::new(),
        url: String::new(),
        queue: QueueNumber::default(),
        enabled: true,
        secrets: Vec::new(),
        headers: BTreeMap::new(),
        settings: String::new(),
        created_at: now,
        updated_at: now,
    }
}

/// List endpoints
#[utoipa::path(get, path = "/v1/endpoints", tag = "jobs", params(PageQuery),
    responses((status = 200, body = Page<EndpointView>)))]
async fn endpoint_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<EndpointView>>, Problem> {
    let all = app
        .store
        .read(caller.scope(), |tx| {
            Box::pin(async move { tx.endpoint_list().await })
        })
        .await?;
    let figures = app.stats.figures(&app).await?;
    page_of_all(
        all,
        &query,
        |one| one.id.uuid(),
        |one| EndpointView::of(one, &figures),
    )
    .map(Json)
}

/// Add an endpoint
///
/// The answer carries the secret that requests are signed with; nothing shows it again.
#[utoipa::path(post, path = "/v1/endpoints", tag = "jobs", request_body = NewEndpoint,
    responses((status = 201, body = CreatedEndpoint)))]
async fn endpoint_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<NewEndpoint>,
) -> Result<Response, Problem> {
    let asked = input.value.tenant_id;
    let change = EndpointChange::from(input.value);
    change.check()?;
    let tenant = resolve::tenant_for_new(&app, &caller, asked).await?;
    let now = app.clock.now();
    let id = EndpointId::new(now, &*app.random);
    let secret = signing_secret(&*app.random);
    // Queues belong to the platform. One that nobody uses in the end costs a row.
    let name = queue_name(id);
    let queue = app
        .store
        .transact(Scope::System("endpoint queue"), move |tx| {
            let name = name.clone();
            Box::pin(async move { tx.queue_ensure(&name).await })
        })
        .await?;
    let endpoint = Endpoint {
        queue,
        secrets: vec![EndpointSecret::new(secret.clone())],
        ..change.apply(blank(id, tenant, now), now)?
    };
    let what = serde_json::json!({ "name": endpoint.name, "url": endpoint.url });
    let told = caller.audit(&app, "endpoint.create", id, Some(what), Some(tenant));
    let done = write(
        &app,
        &caller,
        input.repeatable.hiding(&["/secret"]),
        move |tx| {
            let (endpoint, told, secret) = (endpoint.clone(), told.clone(), secret.clone());
            Box::pin(async move {
                tx.endpoint_insert(&endpoint).await?;
                tx.audit_insert(&told).await?;
                let endpoint = EndpointView::of(endpoint, &Figures::default());
                Done::json(
                    StatusCode::CREATED,
                    &CreatedEndpoint {
                        endpoint,
                        secret: Some(secret),
                    },
                )
                .map(Ok)
            })
        },
    )
    .await?;
    app.configured("endpoint", id).await;
    Ok(done)
}

/// Show an endpoint
#[utoipa::path(get, path = "/v1/endpoints/{id}", tag = "jobs", params(("id" = String, Path, description = "`ep_…`")),
    responses((status = 200, body = EndpointView)))]
async fn endpoint_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<EndpointId>,
) -> Result<Json<EndpointView>, Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move { tx.endpoint_get(id).await })
        })
        .await?;
    let endpoint = found.ok_or_else(|| Problem::not_found("endpoint"))?;
    Ok(Json(EndpointView::of(
        endpoint,
        &app.stats.figures(&app).await?,
    )))
}

/// Change an endpoint
#[utoipa::path(patch, path = "/v1/endpoints/{id}", tag = "jobs",
    params(("id" = String, Path, description = "`ep_…`")), request_body = EndpointChange,
    responses((status = 200, body = EndpointView)))]
async fn endpoint_update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<EndpointId>,
    input: Input<EndpointChange>,
) -> Result<Response, Problem> {
    input.value.check()?;
    let change = Arc::new(input.value);
    let figures = Arc::new(app.stats.figures(&app).await?);
    let (told, now) = (
        caller.audit(&app, "endpoint.update", id, None, None),
        app.clock.now(),
    );
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (change, figures, told) = (Arc::clone(&change), Arc::clone(&figures), told.clone());
        Box::pin(async move {
            // What is read is what is changed: nobody else is in between.
            tx.config_hold().await?;
            let Some(known) = tx.endpoint_get(id).await? else {
                return Ok(Err(Problem::not_found("endpoint")));
            };
            let endpoint = match change.apply(known, now) {
                Ok(endpoint) => endpoint,
                Err(problem) => return Ok(Err(problem)),
            };
            tx.endpoint_update(&endpoint).await?;
            tx.audit_insert(&in_tenant(told, endpoint.tenant)).await?;
            Done::json(StatusCode::OK, &EndpointView::of(endpoint, &figures)).map(Ok)
        })
    })
    .await?;
    app.configured("endpoint", id).await;
    Ok(done)
}

/// Remove an endpoint
///
/// Refused while a binding names it.
#[utoipa::path(delete, path = "/v1/endpoints/{id}", tag = "jobs",
    params(("id" = String, Path, description = "`ep_…`")), responses((status = 204, description = "Removed")))]
async fn endpoint_delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<EndpointId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let told = caller.audit(&app, "endpoint.delete", id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let told = told.clone();
        Box::pin(async move {
            let Some(known) = tx.endpoint_get(id).await? else {
                return Ok(Err(Problem::not_found("endpoint")));
            };
            if !tx.endpoint_delete(known.tenant, id).await? {
                return Ok(Err(Problem::not_found("endpoint")));
            }
            tx.audit_insert(&in_tenant(told, known.tenant)).await?;
            Ok(Ok(Done::nothing()))
        })
    })
    .await?;
    app.configured("endpoint", id).await;
    Ok(done)
}
