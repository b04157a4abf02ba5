//! Jobs: listed, shown and submitted here; what a person can do about one is in `act`, how they are shown in `view`.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, http::StatusCode, response::Response};
use mainstay::intake::DELIVER;
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
mod bulk;
mod counts;
mod deadline;
mod full;
mod unique;
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
pub(crate) use deadline::EXPIRES_SECS_MAX;
use unique::{Submission, UniqueInput, submit};
use view::JobView;
pub(crate) use view::{JobStateName, JobWithAttempts, Policies, ProgressView};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(job_list, job_create))
        .routes(routes!(bulk::job_create_bulk))
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
    let workers = app.mainstay.engine.workers();
    let held = found
        .running()
        .and_then(|attempt| workers.holder(id, attempt));
    if let Some(held) = held {
        found.in_hand(held);
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
    /// What is to be done: a kind of the team's own, for its workers, e.g. `invoice.render`; or a built-in one, e.g. `noop`.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,99}$")]
    kind: String,
    /// Where it waits: workers ask for the jobs of a queue. Left out: a built-in kind's own queue.
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
    /// Not at or after: a job that has not begun by then ends as a dead letter with the code `expired`, and no try goes on
    /// beyond it.
    deadline: Option<Time>,
    /// The same, so many seconds from now.
    #[schema(minimum = 1, maximum = 31_536_000)]
    expires_in_secs: Option<i64>,
    /// Left out: the handler's own.
    retry: Option<Retry>,
    /// Jobs of a tenant and a queue that share it run one at a time, in the order in which they are submitted.
    #[schema(min_length = 1, max_length = 200)]
    ordering_key: Option<String>,
    /// What becomes of the others with its key should it end as a dead letter. Left out: `park`.
    on_dead: Option<OnDeadName>,
    /// There is to be one of it: what becomes of it when there is another with its key.
    unique: Option<UniqueInput>,
}

/// Submit a job
///
/// To a queue of which more waits than its limits allow: 429 with the code `queue_full`.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs", request_body = NewJobInput,
    responses((status = 201, body = JobView), (status = 200, description = "There is one with its key already", body = JobView)))]
async fn job_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<NewJobInput>,
) -> Result<Response, Problem> {
    let tenant = resolve::tenant_for_new(&app, &caller, input.value.tenant_id).await?;
    let one = new_job(&app, &caller, tenant, input.value, "").await?;
    let full = full::full(&app, std::slice::from_ref(&one)).await?;
    let id = one.job.id;
    let told = caller.audit(&app, "job.create", id, None, Some(tenant));
    let (by, now) = (caller.actor(), app.clock.now());
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (one, told, by) = (one.clone(), told.clone(), by.clone());
        let full = full.clone();
        Box::pin(async move {
            // Here, so that one that is repeated gets its answer.
            if let Some(full) = full {
                return Ok(Err(full));
            }
            let submitted = submit(tx, &one, &by, now).await?;
            if !submitted.existing {
                tx.audit_insert(&told).await?;
            }
            let Some(job) = tx.job_get(submitted.id).await? else {
                return Ok(Err(Problem::not_found("job")));
            };
            let policies = Policies::load(tx).await?;
            let status = match submitted.existing {
                true => StatusCode::OK,
                false => StatusCode::CREATED,
            };
            Done::json(status, &JobView::of(job, &policies)).map(Ok)
        })
    })
    .await?;
    app.store.wake();
    app.mainstay.samples.jobs_changed(&[id]);
    Ok(done)
}

/// A job of a tenant's as it was asked for; `at` points to where that stands in the request.
async fn new_job(
    app: &App,
    caller: &Caller,
    tenant: TenantId,
    input: NewJobInput,
    at: &str,
) -> Result<Submission, Problem> {
    let NewJobInput {
        kind,
        queue,
        tenant_id: _,
        payload,
        run_at,
        deadline,
        expires_in_secs,
        retry,
        ordering_key,
        on_dead,
        unique,
    } = input;
    let place = |field: &str| format!("{at}/{field}");
    let mut checks = Checks::default();
    if let Some(queue) = &queue {
        checks.slug(&place("queue"), queue);
    }
    let known = app.mainstay.builtin.get(&kind).copied();
    let named = known.is_some() || is_kind(&kind);
    let delivers = kind == DELIVER;
    checks.ensure(
        !delivers,
        &place("kind"),
        "is for endpoints: bindings and replays make such jobs",
    );
    checks.ensure(
        named,
        &place("kind"),
        "must be 1 to 100 lower-case letters, digits, '.', '-' or '_', beginning with a letter or digit",
    );
    checks.ensure(
        known.is_some() || queue.is_some(),
        &place("queue"),
        "must be given: this kind is not built in, so its job waits for a worker that asks for the jobs of a queue",
    );
    let bytes = payload.as_ref().map_or(0, |payload| payload.get().len());
    let fits = bytes <= limits::JOB_PAYLOAD_BYTES_MAX;
    checks.ensure(
        fits,
        &place("payload"),
        &format!("must have at most {} bytes", limits::JOB_PAYLOAD_BYTES_MAX),
    );
    if let Some(key) = &ordering_key {
        checks.text(&place("ordering_key"), key, 200);
        let alone = run_at.is_none();
        checks.ensure(
            alone,
            &place("run_at"),
            "cannot be given with an ordering_key: its turn decides",
        );
    } else {
        let alone = on_dead.is_none();
        checks.ensure(
            alone,
            &place("on_dead"),
            "means something only with an ordering_key",
        );
    }
    if let Some(unique) = &unique {
        unique.check(
            &mut checks,
            &place("unique"),
            ordering_key.is_some(),
            run_at.is_some(),
        );
    }
    let now = app.clock.now();
    let expires = (deadline, expires_in_secs);
    let deadline = deadline::deadline(expires, run_at, now, &mut checks, place);
    checks.done()?;
    let retry = match retry {
        Some(retry) => Some(
            serde_json::to_string(&retry.policy(&place("retry"))?).map_err(Problem::internal)?,
        ),
        None => None,
    };
    let queue = match queue {
        Some(name) => {
            let at = place("queue");
            app.workers.number(app, caller, &name, &at).await?
        }
        None => known.unwrap_or(NO_QUEUE),
    };
    let builtin = app.mainstay.builtin.values().any(|own| *own == queue);
    if builtin != known.is_some() {
        let detail = match builtin {
            true => "is a queue of built-in jobs: no worker takes what waits there",
            false => "is a queue of workers: a built-in job waits in a queue of built-in ones",
        };
        return Err(Problem::field(place("queue"), detail));
    }
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
        deadline,
        retry,
        order: ordering_key.map(|key| JobOrder {
            key: key_of(&key),
            on_dead: on_dead.unwrap_or_default().into(),
        }),
        created_at: now,
    };
    Ok(Submission {
        job,
        unique: unique.map(Into::into),
    })
}

/// A name of the team's own for what is to be done.
pub(crate) fn is_kind(kind: &str) -> bool {
    let inside =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    let begins = kind
        .bytes()
        .next()
        .is_some_and(|byte| inside(byte) && byte.is_ascii_alphanumeric());
    begins && kind.len() <= 100 && kind.bytes().all(inside)
}
