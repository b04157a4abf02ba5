//! Jobs and their attempts as the API shows them.

use std::collections::{BTreeMap, HashMap};

use mainstay::jobs::workers::InHand;
use mainstay_domain::{
    BindingId, EndpointId, EventId, JobId, ReplayId, StoreResult, TenantId, Tx,
    jobs::{Attempt, AttemptStart, Job, JobState, Outcome, retry::RetryPolicy},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    api::{bindings::OnDeadName, endpoints::settings_of, lines::LineView},
    time::Time,
};

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
    /// Not at or after. Null where there is none, and once somebody has run it again.
    deadline: Option<Time>,
    next_attempt_at: Option<Time>,
    finished_at: Option<Time>,
    last_error: Option<String>,
    /// The order that it keeps with others, if any.
    order: Option<JobOrderView>,
}

/// The order that a job keeps with others of its queue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobOrder)]
pub(crate) struct JobOrderView {
    /// The ordering key.
    key: String,
    /// Its place: those with lower numbers come first. Numbers are left out.
    position: i64,
    on_dead: OnDeadName,
    /// Whether it waits behind another job with its key.
    waits: bool,
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

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Progress)]
pub(crate) struct ProgressView {
    /// Hundredths that are done.
    #[schema(minimum = 0, maximum = 100)]
    pub(crate) percent: Option<u8>,
    /// In words.
    #[schema(min_length = 1, max_length = 500)]
    pub(crate) note: Option<String>,
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
    /// The person behind it, or the worker that gave the job back.
    by: Option<String>,
    /// The worker that has it or had it.
    worker: Option<String>,
    /// How far it is, or was when it was last said.
    progress: Option<ProgressView>,
    /// What came of it, as its worker said.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
}

/// A job with its history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobWithAttempts {
    #[serde(flatten)]
    job: JobView,
    /// Its own payload, where it has one that is JSON.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// The line that it is the head of, or waits in.
    line: Option<LineView>,
    attempts_list: Vec<AttemptView>,
}

impl JobWithAttempts {
    /// Whose it is.
    pub(crate) const fn tenant(&self) -> TenantId {
        self.job.tenant_id
    }
}

/// What was sent and answered, as the engine keeps it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Exchange {
    request: Option<SentRequest>,
    response: Option<ExchangeResponse>,
    worker: Option<String>,
    progress: Option<ProgressView>,
    result: Option<Box<RawValue>>,
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
            worker: exchange.worker,
            progress: exchange.progress,
            result: exchange.result,
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
            worker: None,
            progress: None,
            result: None,
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
            deadline: job.deadline.map(Into::into),
            next_attempt_at: job.next_at.map(Into::into),
            finished_at: job.finished_at.map(Into::into),
            last_error: job.last_error,
            order: job.order.map(|order| JobOrderView {
                key: order.key,
                position: order.position,
                on_dead: order.on_dead.into(),
                waits: order.waits,
            }),
        }
    }
}

impl JobWithAttempts {
    /// Whether it keeps an order.
    pub(super) const fn is_ordered(&self) -> bool {
        self.job.order.is_some()
    }

    /// The attempt that runs, if one does.
    pub(super) fn running(&self) -> Option<i32> {
        let last = self.attempts_list.last()?;
        (last.outcome == OutcomeName::Running).then_some(last.attempt)
    }

    /// Who has the attempt that runs, and how far it is.
    pub(super) fn in_hand(&mut self, held: InHand) {
        let Some(last) = self.attempts_list.last_mut() else {
            return;
        };
        last.worker = Some(held.worker.name);
        last.progress = held.progress.map(|progress| ProgressView {
            percent: progress.percent,
            note: progress.note,
        });
    }

    /// The line in which it stands.
    pub(super) fn stands_in(&mut self, line: LineView) {
        self.line = Some(line);
    }

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
            line: None,
            attempts_list: attempts
                .into_iter()
                .map(Into::into)
                .chain(running.map(Into::into))
                .collect(),
        }
    }
}
