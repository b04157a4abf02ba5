//! Jobs: what is to be done, how it went, and what a person can do about it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay::jobs::dead_letter;
use mainstay_domain::{
    BindingId, EndpointId, EventId, JobId, ReplayId, Scope, StoreExt, StoreResult, TenantId,
    Timestamp, Tx,
    jobs::{
        Attempt, AttemptStart, DeadLetterFilter, Job, JobFilter, JobState, NewJob, Outcome,
        QueueNumber, retry::RetryPolicy,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    endpoints::settings_of,
    page::{Cursor, Page, limit, page},
    resolve,
    retry::Retry,
};
use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, write},
    },
    http::{
        Code, Problem,
        extract::{Checks, Id, Input, NoInput, OptionalInput, Params},
        text::{Name, Text},
    },
    limits,
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(job_list, job_create))
        .routes(routes!(job_get))
        .routes(routes!(job_retry))
        .routes(routes!(job_cancel))
        .routes(routes!(job_counts))
}

/// The band that jobs of the API wait in.
const BAND: i16 = 1;

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = JobState)]
pub(crate) enum JobStateName {
    /// Ready, not started.
    Waiting,
    /// Not due yet, never tried.
    Scheduled,
    /// Started, without an outcome.
    Running,
    /// Failed, to be tried again.
    Retrying,
    /// Done.
    Done,
    /// A dead letter.
    Dead,
    /// Cancelled, or discarded as a dead letter.
    Cancelled,
}

impl From<JobState> for JobStateName {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Waiting => Self::Waiting,
            JobState::Scheduled => Self::Scheduled,
            JobState::Running => Self::Running,
            JobState::Retrying => Self::Retrying,
            JobState::Done => Self::Done,
            JobState::Dead => Self::Dead,
            JobState::Cancelled => Self::Cancelled,
        }
    }
}

impl From<JobStateName> for JobState {
    fn from(state: JobStateName) -> Self {
        match state {
            JobStateName::Waiting => Self::Waiting,
            JobStateName::Scheduled => Self::Scheduled,
            JobStateName::Running => Self::Running,
            JobStateName::Retrying => Self::Retrying,
            JobStateName::Done => Self::Done,
            JobStateName::Dead => Self::Dead,
            JobStateName::Cancelled => Self::Cancelled,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Outcome)]
pub(crate) enum OutcomeName {
    /// It has not ended.
    Running,
    /// Done.
    Succeeded,
    /// Failed; to be tried again.
    Failed,
    /// Failed; a dead letter.
    Dead,
    /// Its process died before it could tell; safe to repeat.
    Lost,
    /// It may or may not have taken effect.
    Unknown,
    /// A person stopped it.
    Cancelled,
    /// A person asked for it to be run again.
    Requeued,
    /// A person gave it up.
    Discarded,
}

impl From<Outcome> for OutcomeName {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Failed => Self::Failed,
            Outcome::Dead => Self::Dead,
            Outcome::Lost => Self::Lost,
            Outcome::Unknown => Self::Unknown,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Requeued => Self::Requeued,
            Outcome::Discarded => Self::Discarded,
        }
    }
}

/// One unit of work.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobView {
    #[schema(value_type = String)]
    id: JobId,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    /// What is to be done, e.g. `endpoint.deliver`.
    kind: String,
    queue: String,
    state: JobStateName,
    #[schema(value_type = Option<String>)]
    event_id: Option<EventId>,
    #[schema(value_type = Option<String>)]
    binding_id: Option<BindingId>,
    #[schema(value_type = Option<String>)]
    replay_id: Option<ReplayId>,
    #[schema(value_type = Option<String>)]
    endpoint_id: Option<EndpointId>,
    /// The last attempt recorded.
    attempts: i32,
    /// How often it is tried in all.
    max_attempts: i32,
    created_at: Time,
    /// Not before.
    run_at: Option<Time>,
    next_attempt_at: Option<Time>,
    finished_at: Option<Time>,
    last_error: Option<String>,
}

/// What was sent in an attempt.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct SentRequest {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
}

impl Default for SentRequest {
    fn default() -> Self {
        Self {
            method: "POST".into(),
            url: String::new(),
            headers: BTreeMap::new(),
        }
    }
}

/// One try of a job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(crate) struct AttemptView {
    attempt: i32,
    outcome: OutcomeName,
    started_at: Time,
    finished_at: Option<Time>,
    duration_ms: Option<i64>,
    /// What kind of failure.
    category: Option<&'static str>,
    /// Its stable code.
    code: Option<String>,
    /// What went wrong.
    error: Option<String>,
    /// The HTTP status of the answer.
    status: Option<i32>,
    request: Option<SentRequest>,
    /// The beginning of the answer.
    response_excerpt: Option<String>,
    next_attempt_at: Option<Time>,
    /// The person behind it.
    by: Option<String>,
}

/// A job with its history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobWithAttempts {
    #[serde(flatten)]
    job: JobView,
    /// Its own payload, where it has one that is JSON.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    attempts_list: Vec<AttemptView>,
}

/// What was sent and answered, as the engine keeps it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Exchange {
    request: Option<SentRequest>,
    response: Option<ExchangeResponse>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ExchangeResponse {
    excerpt: Option<String>,
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        let exchange: Exchange = attempt
            .exchange
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let tried = !matches!(
            attempt.outcome,
            Outcome::Cancelled | Outcome::Requeued | Outcome::Discarded
        );
        Self {
            attempt: attempt.attempt,
            outcome: attempt.outcome.into(),
            started_at: attempt.started_at.into(),
            finished_at: Some(attempt.finished_at.into()),
            duration_ms: tried.then(|| attempt.finished_at.ms_since(attempt.started_at).max(0)),
            category: attempt.category.map(mainstay_domain::Category::as_str),
            code: attempt.code,
            error: attempt.error,
            status: attempt.status,
            request: exchange.request,
            response_excerpt: exchange.response.and_then(|response| response.excerpt),
            next_attempt_at: attempt.next_at.map(Into::into),
            by: attempt.by,
        }
    }
}

impl From<AttemptStart> for AttemptView {
    fn from(start: AttemptStart) -> Self {
        Self {
            attempt: start.attempt,
            outcome: OutcomeName::Running,
            started_at: start.at.into(),
            finished_at: None,
            duration_ms: None,
            category: None,
            code: None,
            error: None,
            status: None,
            request: None,
            response_excerpt: None,
            next_attempt_at: None,
            by: None,
        }
    }
}

/// How often jobs are tried, by their endpoint.
pub(crate) struct Policies(HashMap<EndpointId, i32>);

impl Policies {
    /// Reads the endpoints in the scope.
    pub(crate) async fn load(tx: &mut dyn Tx) -> StoreResult<Self> {
        let endpoints = tx.endpoint_list().await?;
        let tries = endpoints
            .into_iter()
            .map(|one| (one.id, settings_of(&one).retry.attempts_max()));
        Ok(Self(tries.collect()))
    }

    fn attempts_max(&self, job: &Job) -> i32 {
        let own = job
            .retry
            .as_deref()
            .and_then(|text| serde_json::from_str::<RetryPolicy>(text).ok());
        match (own, job.endpoint) {
            (Some(policy), _) => policy.attempts_max(),
            (None, Some(endpoint)) => self
                .0
                .get(&endpoint)
                .copied()
                .unwrap_or_else(|| RetryPolicy::endpoint().attempts_max()),
            (None, None) if job.event.is_some() => RetryPolicy::inbound().attempts_max(),
            (None, None) => RetryPolicy::default().attempts_max(),
        }
    }
}

impl JobView {
    pub(crate) fn of(job: Job, policies: &Policies) -> Self {
        Self {
            max_attempts: policies.attempts_max(&job),
            id: job.id,
            tenant_id: job.tenant,
            kind: job.kind,
            queue: job.queue,
            state: job.state.into(),
            event_id: job.event,
            binding_id: job.binding,
            replay_id: job.replay,
            endpoint_id: job.endpoint,
            attempts: job.attempts,
            created_at: job.created_at.into(),
            run_at: job.run_at.map(Into::into),
            next_attempt_at: job.next_at.map(Into::into),
            finished_at: job.finished_at.map(Into::into),
            last_error: job.last_error,
        }
    }
}

impl JobWithAttempts {
    pub(crate) fn of(
        mut job: Job,
        attempts: Vec<Attempt>,
        running: Option<AttemptStart>,
        policies: &Policies,
    ) -> Self {
        let payload = job.payload.take();
        Self {
            payload: payload.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
            job: JobView::of(job, policies),
            attempts_list: attempts
                .into_iter()
                .map(Into::into)
                .chain(running.map(Into::into))
                .collect(),
        }
    }
}

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
) -> Result<Json<JobWithAttempts>, Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move { with_attempts(tx, id).await })
        })
        .await?;
    found.map(Json).ok_or_else(|| Problem::not_found("job"))
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

/// What became of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobEnded {
    #[schema(value_type = String)]
    id: JobId,
    state: JobStateName,
}

/// Run a dead letter again
///
/// Its tries start from the beginning.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry", tag = "jobs", params(("id" = String, Path, description = "`job_…`")),
    responses((status = 200, body = JobEnded)))]
async fn job_retry(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<JobId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let (by, now) = (caller.actor(), app.clock.now());
    let told = caller.audit(&app, "job.retry", id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (told, by) = (told.clone(), by.clone());
        Box::pin(async move {
            let Some(job) = tx.job_get(id).await? else {
                return Ok(Err(Problem::not_found("job")));
            };
            let filter = DeadLetterFilter {
                jobs: vec![id],
                ..DeadLetterFilter::default()
            };
            let letters = tx.dead_letter_list(&filter, 1).await?;
            let attempts: Vec<Attempt> = letters
                .iter()
                .map(|letter| dead_letter::attempt(letter, &dead_letter::End::Retry, &by, now))
                .collect();
            if attempts.is_empty() || tx.dead_letter_end(&attempts).await? == 0 {
                let detail = format!(
                    "only a dead letter can be run again; this job is {}",
                    job.state.as_str()
                );
                return Ok(Err(Problem::new(Code::StateConflict, detail)));
            }
            tx.audit_insert(&in_tenant(told, job.tenant)).await?;
            Done::json(
                StatusCode::OK,
                &JobEnded {
                    id,
                    state: JobStateName::Retrying,
                },
            )
            .map(Ok)
        })
    })
    .await?;
    app.store.wake();
    app.mainstay.samples.jobs_changed(&[id]);
    app.mainstay.samples.changed("dead_letter", &[id]);
    Ok(done)
}

/// Why a job is stopped.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CancelInput {
    #[schema(value_type = Option<Name<500>>)]
    reason: Option<String>,
}

/// Cancel a job that has not ended
///
/// An attempt that is under way may still reach the endpoint; nothing is started any more.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs",
    params(("id" = String, Path, description = "`job_…`")), request_body = CancelInput,
    responses((status = 200, body = JobEnded)))]
async fn job_cancel(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<JobId>,
    input: OptionalInput<CancelInput>,
) -> Result<Response, Problem> {
    let reason = input.value.reason;
    if let Some(reason) = &reason {
        let mut checks = Checks::default();
        checks.text("/reason", reason, 500);
        checks.done()?;
    }
    let (by, now) = (caller.actor(), app.clock.now());
    let told = caller.audit(&app, "job.cancel", id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (told, by, reason) = (told.clone(), by.clone(), reason.clone());
        Box::pin(async move {
            let Some(job) = tx.job_get(id).await? else {
                return Ok(Err(Problem::not_found("job")));
            };
            let ended = || {
                let detail = format!("this job has ended: it is {}", job.state.as_str());
                Ok(Err(Problem::new(Code::StateConflict, detail)))
            };
            if matches!(
                job.state,
                JobState::Done | JobState::Dead | JobState::Cancelled
            ) {
                return ended();
            }
            let queue = tx.queue_ensure(&job.queue).await?;
            let (attempts, running) = tx.job_attempts(id).await?;
            let attempt = cancelled(&job, queue, next(&attempts, running), by, reason, now);
            if !tx.job_cancel(&attempt).await? {
                return ended();
            }
            tx.audit_insert(&in_tenant(told, job.tenant)).await?;
            Done::json(
                StatusCode::OK,
                &JobEnded {
                    id,
                    state: JobStateName::Cancelled,
                },
            )
            .map(Ok)
        })
    })
    .await?;
    app.store.wake();
    app.mainstay.samples.jobs_changed(&[id]);
    Ok(done)
}

/// The number that the next outcome is recorded under: an attempt that runs is fenced by taking its number.
fn next(attempts: &[Attempt], running: Option<AttemptStart>) -> i32 {
    let recorded = attempts.last().map_or(0, |last| last.attempt);
    running.map_or(recorded + 1, |start| start.attempt.max(recorded + 1))
}

fn cancelled(
    job: &Job,
    queue: QueueNumber,
    attempt: i32,
    by: String,
    reason: Option<String>,
    now: Timestamp,
) -> Attempt {
    Attempt {
        tenant: job.tenant,
        job: job.id,
        attempt,
        tries: 0,
        queue,
        outcome: Outcome::Cancelled,
        started_at: now,
        finished_at: now,
        next_at: None,
        category: None,
        code: None,
        error: reason,
        status: None,
        exchange: None,
        by: Some(by),
    }
}

/// How many jobs of a queue are in which state.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct QueueCounts {
    /// Ready, or not due yet.
    waiting: i64,
    /// Under way.
    active: i64,
    /// Failed, to be tried again.
    retrying: i64,
    /// Done, since the beginning.
    completed: i64,
    /// Dead letters.
    failed: i64,
}

/// How many jobs there are, by queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobCounts {
    queues: BTreeMap<String, QueueCounts>,
    timestamp: Time,
}

/// Count jobs by queue
///
/// A key of one tenant sees the queues of its own endpoints.
#[utoipa::path(get, path = "/v1/job-counts", tag = "jobs", responses((status = 200, body = JobCounts)))]
async fn job_counts(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<JobCounts>, Problem> {
    let own = own_queues(&app, &caller).await?;
    let queues = app.stats.queues(&app).await?;
    let seen = queues
        .into_iter()
        .filter(|queue| own.as_ref().is_none_or(|own| own.contains(&queue.number)));
    let counts = seen.map(|queue| {
        let counts = QueueCounts {
            waiting: queue.waiting + queue.scheduled,
            active: queue.running,
            retrying: queue.retrying,
            completed: queue.tally.done,
            failed: queue.dead,
        };
        (queue.name, counts)
    });
    Ok(Json(JobCounts {
        queues: counts.collect(),
        timestamp: app.clock.now().into(),
    }))
}

/// The queues that a bound caller may see: its own endpoints'. Others are shared with other tenants.
pub(crate) async fn own_queues(
    app: &App,
    caller: &Caller,
) -> Result<Option<Vec<QueueNumber>>, Problem> {
    if caller.tenant.is_none() {
        return Ok(None);
    }
    let endpoints = app
        .store
        .read(caller.scope(), |tx| {
            Box::pin(async move { tx.endpoint_list().await })
        })
        .await?;
    Ok(Some(
        endpoints
            .into_iter()
            .map(|endpoint| endpoint.queue)
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancellation_takes_the_number_of_the_attempt_that_runs() {
        let start = AttemptStart {
            tenant: TenantId::NIL,
            job: JobId::NIL,
            queue: 1,
            attempt: 1,
            tries: 0,
            at: Timestamp::EPOCH,
        };
        assert_eq!(next(&[], None), 1);
        assert_eq!(next(&[], Some(start)), 1);
    }
}
