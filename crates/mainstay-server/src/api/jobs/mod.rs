//! Jobs: listed, shown and submitted here; what a person can do about one is in `act`, how they are shown in `view`.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, http::StatusCode, response::Response};
use mainstay_domain::{
    EventId, JobId, Scope, StoreExt, StoreResult, TenantId, Tx,
    intake::ordering::key_of,
    jobs::{Job, JobFilter, JobOrder, NewJob, QueueNumber},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

mod act;
mod counts;
mod view;

use super::{
    bindings::OnDeadName,
    lines,
    page::{Cursor, Page, limit, page},
    resolve,
    retry::Retry,
};
use crate::{
    access::{
        Caller,
        idempotency::{Done, write},
        reads::InTenant,
    },
    http::{
        Problem,
        extract::{Checks, Id, Input, Params},
        text::Text,
    },
    limits,
    state::App,
    time::Time,
};

pub(crate) use counts::own_queues;
use view::JobView;
pub(crate) use view::{JobStateName, JobWithAttempts, Policies};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(job_list, job_create))
        .routes(routes!(job_get))
        .routes(routes!(act::job_retry))
        .routes(routes!(act::job_cancel))
        .routes(routes!(counts::job_counts))
}

/// The band that jobs of the API wait in.
const BAND: i16 = 1;

/// Which jobs.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobQuery {
    state: Option<JobStateName>,
    /// A queue's name.
    #[param(inline)]
    queue: Option<Text<100>>,
    /// What is to be done.
    #[param(inline)]
    kind: Option<Text<100>>,
    /// A tenant's id or slug.
    #[param(inline)]
    tenant: Option<Text<100>>,
    /// An event's id.
    #[param(inline)]
    event: Option<Text<100>>,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// A queue that there is not: no job can be in it.
const NO_QUEUE: QueueNumber = -1;

async fn queue_filter(app: &App, name: Option<Text<100>>) -> Result<Option<QueueNumber>, Problem> {
    let Some(name) = name else { return Ok(None) };
    let all = app
        .store
        .read(Scope::System("queues"), |tx| {
            Box::pin(async move { tx.queue_list().await })
        })
        .await?;
    let found = all.into_iter().find(|(_, own)| **own == *name);
    Ok(Some(found.map_or(NO_QUEUE, |(number, _)| number)))
}

/// List jobs, newest first
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(JobQuery), responses((status = 200, body = Page<JobView>)))]
async fn job_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<JobQuery>,
) -> Result<Json<Page<JobView>>, Problem> {
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let filter = JobFilter {
        tenant: resolve::tenant_filter(&app, &caller, query.tenant.as_deref()).await?,
        state: query.state.map(Into::into),
        queue: queue_filter(&app, query.queue).await?,
        kind: query.kind.map(Into::into),
        // What is no id belongs to no job.
        event: query.event.map(|text| text.parse().unwrap_or(EventId::NIL)),
        before: cursor.map(|cursor| JobId::from_uuid(cursor.id)),
    };
    let (rows, policies) = app
        .store
        .read(caller.scope(), move |tx| {
            let filter = filter.clone();
            Box::pin(async move {
                Ok((
                    tx.job_list(&filter, limit + 1).await?,
                    Policies::load(tx).await?,
                ))
            })
        })
        .await?;
    let position = |job: &Job| Cursor {
        at: job.created_at,
        id: job.id.uuid(),
    };
    Ok(Json(page(rows, limit, position, |job| {
        JobView::of(job, &policies)
    })))
}

/// Show a job with its attempts
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "`job_…`")),
    responses((status = 200, body = JobWithAttempts)))]
async fn job_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<JobId>,
) -> Result<(Extension<InTenant>, Json<JobWithAttempts>), Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                let Some(found) = with_attempts(tx, id).await? else {
                    return Ok(None);
                };
                let line = match found.is_ordered() {
                    true => tx.line_of(found.tenant(), id).await?,
                    false => None,
                };
                Ok(Some((found, line)))
            })
        })
        .await?;
    let (mut found, line) = found.ok_or_else(|| Problem::not_found("job"))?;
    if let Some(line) = line {
        let names = lines::Names::load(&app, caller.scope()).await?;
        found.stands_in(names.view(line));
    }
    Ok((Extension(InTenant(found.tenant())), Json(found)))
}

async fn with_attempts(tx: &mut dyn Tx, id: JobId) -> StoreResult<Option<JobWithAttempts>> {
    let Some(job) = tx.job_get(id).await? else {
        return Ok(None);
    };
    let (attempts, running) = tx.job_attempts(id).await?;
    let policies = Policies::load(tx).await?;
    Ok(Some(JobWithAttempts::of(job, attempts, running, &policies)))
}

/// A job to submit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewJobInput {
    /// A built-in kind, e.g. `noop`.
    #[schema(min_length = 1, max_length = 100)]
    kind: String,
    /// Where it waits. Left out: the kind's own queue.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    queue: Option<String>,
    /// Whose it is. Left out: the key's tenant, else the default one.
    #[schema(value_type = Option<String>, pattern = "^ten_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    tenant_id: Option<TenantId>,
    /// Handed to the handler as it is.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// Not before.
    run_at: Option<Time>,
    /// Left out: the handler's own.
    retry: Option<Retry>,
    /// Jobs of a tenant and a queue that share it run one at a time, in the order in which they are submitted.
    #[schema(min_length = 1, max_length = 200)]
    ordering_key: Option<String>,
    /// What becomes of the others with its key should it end as a dead letter. Left out: `park`.
    on_dead: Option<OnDeadName>,
}

/// Submit a job
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs", request_body = NewJobInput,
    responses((status = 201, body = JobView)))]
async fn job_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<NewJobInput>,
) -> Result<Response, Problem> {
    let NewJobInput {
        kind,
        queue,
        tenant_id,
        payload,
        run_at,
        retry,
        ordering_key,
        on_dead,
    } = input.value;
    let mut checks = Checks::default();
    if let Some(queue) = &queue {
        checks.slug("/queue", queue);
    }
    let known = app.mainstay.builtin.get(&kind).copied();
    checks.ensure(known.is_some(), "/kind", "is no built-in kind");
    let bytes = payload.as_ref().map_or(0, |payload| payload.get().len());
    let fits = bytes <= limits::JOB_PAYLOAD_BYTES_MAX;
    checks.ensure(
        fits,
        "/payload",
        &format!("must have at most {} bytes", limits::JOB_PAYLOAD_BYTES_MAX),
    );
    if let Some(key) = &ordering_key {
        checks.text("/ordering_key", key, 200);
        let alone = run_at.is_none();
        checks.ensure(
            alone,
            "/run_at",
            "cannot be given with an ordering_key: its turn decides",
        );
    } else {
        let alone = on_dead.is_none();
        checks.ensure(
            alone,
            "/on_dead",
            "means something only with an ordering_key",
        );
    }
    checks.done()?;
    let retry = match retry {
        Some(retry) => {
            Some(serde_json::to_string(&retry.policy("/retry")?).map_err(Problem::internal)?)
        }
        None => None,
    };
    let tenant = resolve::tenant_for_new(&app, &caller, tenant_id).await?;
    let queue = match queue {
        Some(name) => queue_ensure(&app, name).await?,
        None => known.unwrap_or(NO_QUEUE),
    };
    let now = app.clock.now();
    let job = NewJob {
        id: JobId::new(now, &*app.random),
        tenant,
        queue,
        band: BAND,
        kind,
        event: None,
        binding: None,
        replay: None,
        endpoint: None,
        payload: payload.map(|payload| payload.get().to_owned().into()),
        run_at: run_at.map(|time| time.0),
        retry,
        order: ordering_key.map(|key| JobOrder {
            key: key_of(&key),
            on_dead: on_dead.unwrap_or_default().into(),
        }),
        created_at: now,
    };
    let told = caller.audit(&app, "job.create", job.id, None, Some(tenant));
    let id = job.id;
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (job, told) = (job.clone(), told.clone());
        Box::pin(async move {
            tx.job_insert(std::slice::from_ref(&job)).await?;
            tx.audit_insert(&told).await?;
            let Some(job) = tx.job_get(job.id).await? else {
                return Ok(Err(Problem::not_found("job")));
            };
            let policies = Policies::load(tx).await?;
            Done::json(StatusCode::CREATED, &JobView::of(job, &policies)).map(Ok)
        })
    })
    .await?;
    app.store.wake();
    app.mainstay.samples.jobs_changed(&[id]);
    Ok(done)
}

async fn queue_ensure(app: &App, name: String) -> StoreResult<QueueNumber> {
    app.store
        .transact(Scope::System("queue"), move |tx| {
            let name = name.clone();
            Box::pin(async move { tx.queue_ensure(&name).await })
        })
        .await
}
