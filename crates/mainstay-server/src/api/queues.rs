//! Queues: how they stand, who uses them, how much of them may run, and whether they run at all.

use std::{collections::HashMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay_domain::{
    Scope, StoreExt, StoreResult, TenantId, Timestamp,
    access::AuditEntry,
    jobs::{Flow, QueueLimits, QueueNumber, QueueRules},
};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    jobs::own_queues,
    page::{Page, PageQuery, page_of_all},
};
use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, Repeatable, write},
    },
    http::{
        Problem,
        extract::{Input, Named, NoInput, Params},
    },
    state::App,
    stats::Queue,
};

mod view;

use view::{Beside, QueueChange, QueueView};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(queue_list))
        .routes(routes!(queue_get, queue_update))
        .routes(routes!(queue_pause))
        .routes(routes!(queue_resume))
        .routes(routes!(queue_drain))
}

/// The queues that a caller may see. One that the engine has not heard of yet has nothing in it.
async fn seen(app: &App, caller: &Caller) -> Result<Vec<Queue>, Problem> {
    let own = own_queues(app, caller).await?;
    let names = app
        .store
        .read(Scope::System("queues"), |tx| {
            Box::pin(async move { tx.queue_list().await })
        })
        .await?;
    let figures = app.stats.queues(app).await?;
    let mut figures: HashMap<QueueNumber, Queue> =
        figures.into_iter().map(|one| (one.number, one)).collect();
    let own = names
        .into_iter()
        .filter(|(number, _)| own.as_ref().is_none_or(|own| own.contains(number)));
    let queues = own.map(|(number, name)| Queue {
        number,
        name,
        ..figures.remove(&number).unwrap_or_default()
    });
    Ok(queues.collect())
}

async fn found(app: &App, caller: &Caller, name: &str) -> Result<Queue, Problem> {
    let queues = seen(app, caller).await?;
    let found = queues.into_iter().find(|queue| queue.name == name);
    found.ok_or_else(|| Problem::not_found("queue"))
}

/// List queues
///
/// Counted by the engine as of a moment ago, never by a query. A key of one tenant sees the queues of its own endpoints.
#[utoipa::path(get, path = "/v1/queues", tag = "jobs", params(PageQuery),
    responses((status = 200, body = Page<QueueView>)))]
async fn queue_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<QueueView>>, Problem> {
    let mut queues = seen(&app, &caller).await?;
    queues.sort_by(|one, other| one.name.cmp(&other.name));
    let beside = Beside::load(&app, &caller).await?;
    let view = |queue: Queue| beside.view(queue, &caller);
    let id = |queue: &Queue| Uuid::from_u128(queue.number.unsigned_abs().into());
    page_of_all(queues, &query, id, view).map(Json)
}

/// Show a queue
#[utoipa::path(get, path = "/v1/queues/{name}", tag = "jobs", params(("name" = String, Path, description = "its name")),
    responses((status = 200, body = QueueView)))]
async fn queue_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Named(name): Named,
) -> Result<Json<QueueView>, Problem> {
    let queue = found(&app, &caller, &name).await?;
    let beside = Beside::load(&app, &caller).await?;
    Ok(Json(beside.view(queue, &caller)))
}

/// What is to become of a queue's rules.
type Wish = Arc<dyn Fn(QueueRules, Timestamp) -> Result<QueueRules, Problem> + Send + Sync>;

/// Changes what is said of a queue, as `action` in the audit log.
async fn change(
    app: &Arc<App>,
    caller: &Caller,
    name: String,
    action: &str,
    repeatable: Repeatable,
    wish: Wish,
) -> Result<Response, Problem> {
    let queue = Arc::new(found(app, caller, &name).await?);
    let mut beside = Beside::load(app, caller).await?;
    let (number, now) = (queue.number, app.clock.now());
    let of_tenant = tenant_of(app, number).await?;
    let told = caller.audit(app, action, &name, None, None);
    let told = match of_tenant {
        Some(tenant) => in_tenant(told, tenant),
        None => told,
    };
    beside.rules.remove(&number);
    let (beside, own) = (Arc::new(beside), Arc::new(caller.clone()));
    let done = write(app, caller, repeatable, move |tx| {
        let (queue, beside, own) = (Arc::clone(&queue), Arc::clone(&beside), Arc::clone(&own));
        let (told, wish) = (told.clone(), Arc::clone(&wish));
        Box::pin(async move {
            // What is read is what is changed: nobody else is in between.
            tx.config_hold().await?;
            let known = tx.queue_rules_get(number).await?;
            let known = known.unwrap_or_else(|| QueueRules::none(number, now));
            let rules = match wish(known, now) {
                Ok(rules) => rules,
                Err(problem) => return Ok(Err(problem)),
            };
            tx.queue_rules_set(&rules).await?;
            let detail = serde_json::json!({ "flow": rules.flow, "limits": rules.limits });
            tx.audit_insert(&AuditEntry {
                detail: Some(detail.to_string()),
                ..told
            })
            .await?;
            let view = beside.view(Queue::clone(&queue), &own).with(rules);
            Done::json(StatusCode::OK, &view).map(Ok)
        })
    })
    .await?;
    app.configured("queue", &name).await;
    Ok(done)
}

/// The tenant of a queue's endpoint.
async fn tenant_of(app: &App, queue: QueueNumber) -> StoreResult<Option<TenantId>> {
    let endpoints = app
        .store
        .read(Scope::System("queues"), |tx| {
            Box::pin(async move { tx.endpoint_list().await })
        })
        .await?;
    let mut of = endpoints.into_iter().filter(|one| one.queue == queue);
    Ok(of.next().map(|endpoint| endpoint.tenant))
}

/// Change how much of a queue may run
///
/// It holds for the next job that begins; what runs is not stopped. A limit is kept over restarts too: a new owner of the
/// engine begins with empty buckets, and counts what its predecessor had under way for as long as an attempt may last.
#[utoipa::path(patch, path = "/v1/queues/{name}", tag = "jobs", params(("name" = String, Path, description = "its name")),
    request_body = QueueChange, responses((status = 200, body = QueueView)))]
async fn queue_update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Named(name): Named,
    input: Input<QueueChange>,
) -> Result<Response, Problem> {
    let wanted = input.value;
    wanted.apply(QueueLimits::default())?;
    let wish: Wish = Arc::new(move |known, now| {
        let limits = wanted.apply(known.limits.clone())?;
        Ok(QueueRules {
            limits,
            updated_at: now,
            ..known
        })
    });
    change(&app, &caller, name, "queue.update", input.repeatable, wish).await
}

fn flow(flow: Flow) -> Wish {
    Arc::new(move |known, now| {
        let flow_at = match known.flow == flow {
            // Whoever asks twice to drain means the first time.
            true => known.flow_at,
            false => now,
        };
        Ok(QueueRules {
            flow,
            flow_at,
            updated_at: now,
            ..known
        })
    })
}

/// Pause a queue
///
/// Nothing of it is started; what runs comes to its end, and what comes waits.
#[utoipa::path(post, path = "/v1/queues/{name}/pause", tag = "jobs",
    params(("name" = String, Path, description = "its name")), responses((status = 200, body = QueueView)))]
async fn queue_pause(
    State(app): State<Arc<App>>,
    caller: Caller,
    Named(name): Named,
    input: NoInput,
) -> Result<Response, Problem> {
    let wish = flow(Flow::Paused);
    change(&app, &caller, name, "queue.pause", input.repeatable, wish).await
}

/// Let a queue run again
#[utoipa::path(post, path = "/v1/queues/{name}/resume", tag = "jobs",
    params(("name" = String, Path, description = "its name")), responses((status = 200, body = QueueView)))]
async fn queue_resume(
    State(app): State<Arc<App>>,
    caller: Caller,
    Named(name): Named,
    input: NoInput,
) -> Result<Response, Problem> {
    let wish = flow(Flow::Running);
    change(&app, &caller, name, "queue.resume", input.repeatable, wish).await
}

/// Drain a queue
///
/// What was made until now runs, to its end, retries included; what comes later waits until the queue is resumed.
#[utoipa::path(post, path = "/v1/queues/{name}/drain", tag = "jobs",
    params(("name" = String, Path, description = "its name")), responses((status = 200, body = QueueView)))]
async fn queue_drain(
    State(app): State<Arc<App>>,
    caller: Caller,
    Named(name): Named,
    input: NoInput,
) -> Result<Response, Problem> {
    let wish = flow(Flow::Draining);
    change(&app, &caller, name, "queue.drain", input.repeatable, wish).await
}
