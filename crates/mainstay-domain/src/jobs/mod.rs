//! Jobs: what is to be done, how it went, and what the store does with it.
//!
//! A job's body is inserted once. Each try ends in one attempt row, key (tenant, job, attempt): that key is the
//! fence. The state of a job is derived from its last attempt; nothing is ever updated on the way of a job that succeeds.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Category, StoreResult},
    id::{BindingId, EndpointId, EventId, JobId, ReceiptId, ReplayId, TenantId},
    intake::Blob,
    time::Timestamp,
};

pub mod breaker;
pub mod headers;
pub mod health;
pub mod http_out;
pub mod loss;
pub mod retry;
pub mod secret;
pub mod settings;

pub use loss::Loss;

/// A queue's small number; its name is kept once, in its own table.
pub type QueueNumber = i32;

/// A job that is to be inserted.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it waits.
    pub queue: QueueNumber,
    /// Priority band: 0 first.
    pub band: i16,
    /// What is to be done, e.g. `endpoint.deliver`, `billing.record`, `noop`.
    pub kind: String,
    /// The event that made it.
    pub event: Option<EventId>,
    /// The binding that made it. A job is unique by (event, binding, replay).
    pub binding: Option<BindingId>,
    /// The replay that made it.
    pub replay: Option<ReplayId>,
    /// The endpoint it is pushed to.
    pub endpoint: Option<EndpointId>,
    /// Its own payload; `None` when the event's payload is meant.
    pub payload: Option<Bytes>,
    /// Not before.
    pub run_at: Option<Timestamp>,
    /// Its own retry policy as JSON; `None`: the endpoint's, else the handler's default.
    pub retry: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What the engine holds of a job in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobRef {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which.
    pub job: JobId,
    /// Where it waits.
    pub queue: QueueNumber,
    /// Its priority band.
    pub band: i16,
    /// Not before; `None`: at once.
    pub due: Option<Timestamp>,
    /// The last attempt that was recorded; 0 when there is none. The next one is this plus one.
    pub attempt: i32,
    /// Tries that count towards the policy's maximum; starts again at 0 when a person runs it again.
    pub tries: i32,
    /// Whether its last attempts were lost with their process.
    pub loss: Loss,
}

/// A job's body, loaded to carry it out.
#[derive(Debug, Clone, PartialEq)]
pub struct JobBody {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which.
    pub job: JobId,
    /// What is to be done.
    pub kind: String,
    /// The event that made it.
    pub event: Option<EventBody>,
    /// The endpoint it goes to.
    pub endpoint: Option<EndpointId>,
    /// Its own payload.
    pub payload: Option<Bytes>,
    /// Its own retry policy as JSON.
    pub retry: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a handler may want of the event behind its job.
#[derive(Debug, Clone, PartialEq)]
pub struct EventBody {
    /// The event.
    pub id: EventId,
    /// The provider's own id.
    pub provider_id: String,
    /// The provider's type.
    pub kind: String,
    /// The door's name.
    pub source_name: String,
    /// When it was received.
    pub received_at: Timestamp,
    /// When the provider says that it happened.
    pub occurred_at: Option<Timestamp>,
    /// The payload.
    pub payload: Blob,
    /// The request that brought it.
    pub receipt: ReceiptId,
    /// The headers of that request: a JSON object. Built-in handlers do without.
    pub headers: Option<Blob>,
}

/// How an attempt ended. Numbered in the store by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done. The end.
    Succeeded,
    /// Failed; to be tried again at `next_at`.
    Failed,
    /// Failed, and no retry is left or none can help: a dead letter.
    Dead,
    /// Its process died before it could tell; safe to repeat, to be tried again at `next_at`.
    Lost,
    /// It may or may not have taken effect; must be resolved before anything else happens.
    Unknown,
    /// A person stopped it. The end.
    Cancelled,
    /// A person asked for it to be run again: no try of its own, the tries start from 0 at `next_at`.
    Requeued,
    /// A person gave the dead letter up, with a reason. The end.
    Discarded,
}

impl Outcome {
    /// All of them, in the order in which the store numbers them.
    pub const ALL: [Self; 8] = [
        Self::Succeeded,
        Self::Failed,
        Self::Dead,
        Self::Lost,
        Self::Unknown,
        Self::Cancelled,
        Self::Requeued,
        Self::Discarded,
    ];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
            Self::Cancelled => "cancelled",
            Self::Requeued => "requeued",
            Self::Discarded => "discarded",
        }
    }

    /// Whether nothing comes after it by itself.
    pub const fn ends(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Dead | Self::Cancelled | Self::Discarded
        )
    }
}

/// The one state vocabulary of jobs, derived from the last attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
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

impl JobState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Scheduled,
        Self::Running,
        Self::Retrying,
        Self::Done,
        Self::Dead,
        Self::Cancelled,
    ];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A job as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The queue's name.
    pub queue: String,
    /// What is to be done.
    pub kind: String,
    /// The event that made it.
    pub event: Option<EventId>,
    /// The binding that made it.
    pub binding: Option<BindingId>,
    /// The replay that made it.
    pub replay: Option<ReplayId>,
    /// The endpoint it is pushed to.
    pub endpoint: Option<EndpointId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Not before.
    pub run_at: Option<Timestamp>,
    /// How it stands.
    pub state: JobState,
    /// The last attempt recorded; 0 when none.
    pub attempts: i32,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What the last attempt said.
    pub last_error: Option<String>,
    /// Its own payload.
    pub payload: Option<Bytes>,
    /// Its own retry policy as JSON.
    pub retry: Option<String>,
}

/// The start of an attempt that leaves the process. Committed before anything is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptStart {
    /// Whose job.
    pub tenant: TenantId,
    /// Which job.
    pub job: JobId,
    /// Where it waits.
    pub queue: QueueNumber,
    /// Which attempt.
    pub attempt: i32,
    /// How many tries were counted before this one.
    pub tries: i32,
    /// When.
    pub at: Timestamp,
}

/// The outcome of one attempt, as it is recorded and as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Whose job.
    pub tenant: TenantId,
    /// Which job.
    pub job: JobId,
    /// Which attempt: the fence.
    pub attempt: i32,
    /// Tries that count towards the maximum, this one included.
    pub tries: i32,
    /// The queue, so that retries are found by queue.
    pub queue: QueueNumber,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// When to try again.
    pub next_at: Option<Timestamp>,
    /// What kind of failure.
    pub category: Option<Category>,
    /// The stable code of the failure.
    pub code: Option<String>,
    /// What went wrong, in a sentence.
    pub error: Option<String>,
    /// The HTTP status of the answer.
    pub status: Option<i32>,
    /// What was sent and answered: JSON `{request: {method,url,headers}, response: {headers, excerpt}}`, bounded.
    pub exchange: Option<String>,
    /// The person behind a cancellation, a run-again or a discarding.
    pub by: Option<String>,
}

/// A dead letter, listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The job.
    pub job: JobId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The attempt that ended it.
    pub attempt: i32,
    /// Its queue.
    pub queue: QueueNumber,
    /// What was to be done.
    pub kind: String,
    /// The endpoint it was to be pushed to.
    pub endpoint: Option<EndpointId>,
    /// The event behind it.
    pub event: Option<EventId>,
    /// The event's type.
    pub event_kind: Option<String>,
    /// When it died.
    pub died_at: Timestamp,
    /// What kind of failure the last one was.
    pub category: Category,
    /// Its stable code.
    pub code: String,
    /// What went wrong, in a sentence.
    pub error: String,
    /// The HTTP status of the last answer.
    pub status: Option<i32>,
}

/// Which dead letters: for lists, plans and bulk actions alike.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only these jobs.
    pub jobs: Vec<JobId>,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only of this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Only of this event.
    pub event: Option<EventId>,
    /// Only this category.
    pub category: Option<Category>,
    /// Only this code.
    pub code: Option<String>,
    /// Died at or after.
    pub from: Option<Timestamp>,
    /// Died before.
    pub to: Option<Timestamp>,
    /// Only older than this one, by (died_at, job): the cursor.
    pub before: Option<(Timestamp, JobId)>,
}

/// Dead letters that failed alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterGroup {
    /// What kind of failure.
    pub category: Category,
    /// Its stable code.
    pub code: String,
    /// What was to be done.
    pub kind: String,
    /// The endpoint.
    pub endpoint: Option<EndpointId>,
    /// How many.
    pub count: i64,
    /// When the first died.
    pub oldest: Timestamp,
    /// When the last died.
    pub newest: Timestamp,
    /// The error of one of them.
    pub sample_error: String,
}

/// Which jobs to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only of this queue.
    pub queue: Option<QueueNumber>,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only of this event.
    pub event: Option<EventId>,
    /// Only older than this one, by id: the cursor.
    pub before: Option<JobId>,
}

/// The team's own URL that jobs are pushed to.
#[derive(Clone, PartialEq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose it is.
    pub tenant: TenantId,
    /// A name, unique in the tenant.
    pub name: String,
    /// Where to.
    pub url: String,
    /// Its queue: every endpoint has one of its own, so that a dead one holds up nobody else.
    pub queue: QueueNumber,
    /// Whether jobs are pushed. While it is not, they wait.
    pub enabled: bool,
    /// The Standard Webhooks secrets that requests are signed with, newest first.
    pub secrets: Vec<secret::EndpointSecret>,
    /// Headers that the team adds to each request, names in lower case. Their values are secrets.
    pub headers: BTreeMap<String, String>,
    /// Signing, timeouts, limits, retry policy: JSON, checked before it is stored.
    pub settings: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A position in the order of commits, as the store writes it. Opaque.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cursor(pub String);

/// A wish of a person's about a job, left in the store for the engine's owner to find by commit order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Whose job.
    pub tenant: TenantId,
    /// Which job.
    pub job: JobId,
    /// Its queue.
    pub queue: QueueNumber,
    /// What is wished.
    pub kind: SignalKind,
}

/// What a person wished. Numbered in the store by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalKind {
    /// A requeued attempt row has been inserted: the job is to be found among the retries.
    Requeued,
    /// A cancelled attempt row has been inserted: stop if it runs.
    Cancelled,
    /// A discarded attempt row has been inserted: a dead letter less, and nothing to stop.
    Discarded,
}

/// What was committed since the last look.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Discovery {
    /// Jobs, each exactly once over successive cursors; those that are ended already are left out
    /// when `recovering` was asked.
    pub jobs: Vec<JobRef>,
    /// How many jobs were made, by queue: `jobs` plus those left out. None of those that are seen `again`.
    pub created: Vec<(QueueNumber, i64)>,
    /// Wishes about jobs.
    pub signals: Vec<Signal>,
    /// Where to look on from.
    pub cursor: Cursor,
    /// Whether there is more to see at once.
    pub more: bool,
    /// Whether jobs and wishes were seen before, by whoever wrote a cursor that means nothing here (after a restore
    /// into another cluster). They are not to be counted a second time.
    pub again: bool,
    /// Where it begins anew: how the queues that have jobs stand by the rows that will be seen again. What was made or
    /// wished for after the cursor was written is in no counter yet, and cannot be told from the rest any more.
    pub standing: Option<Vec<Standing>>,
}

/// How a queue stands, counted from the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The queue.
    pub queue: QueueNumber,
    /// Jobs that have not ended.
    pub unfinished: i64,
    /// Dead letters that nobody has dealt with.
    pub dead: i64,
}

/// A lane: the jobs of a tenant in one band of one queue, in the order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// The queue.
    pub queue: QueueNumber,
    /// The band.
    pub band: i16,
    /// The tenant.
    pub tenant: TenantId,
}

/// A key in the order of times: due, then tenant, then job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DueKey {
    /// When.
    pub due: Timestamp,
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub job: JobId,
}

impl DueKey {
    /// Before every key.
    pub const MIN: Self = Self {
        due: Timestamp::from_micros(i64::MIN),
        tenant: TenantId::NIL,
        job: JobId::NIL,
    };
}

/// How a queue stands, by count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueueTally {
    /// Jobs ever made.
    pub created: i64,
    /// Jobs that are done.
    pub done: i64,
    /// Jobs that died (each time).
    pub dead: i64,
    /// Dead letters that a person ran again.
    pub revived: i64,
    /// Jobs that a person ended (a dead letter that is discarded counts here and no longer as dead).
    pub cancelled: i64,
    /// Attempts that failed and are to be repeated.
    pub failed: i64,
}

/// What the engine's owner writes down every few seconds, to begin from after a crash.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// The last tally record that is included.
    pub sequence: i64,
    /// The epoch of the owner that wrote it.
    pub epoch: i64,
    /// When.
    pub at: Timestamp,
    /// The rest: the engine's own JSON.
    pub body: String,
}

/// The store's verbs of jobs.
#[async_trait]
pub trait JobsTx: Send {
    /// The number of a queue, made when it is new. At most 10,000 queues.
    async fn queue_ensure(&mut self, name: &str) -> StoreResult<QueueNumber>;
    /// All queues.
    async fn queue_list(&mut self) -> StoreResult<Vec<(QueueNumber, String)>>;

    /// Adds an endpoint. Conflict when the tenant has one of that name.
    async fn endpoint_insert(&mut self, endpoint: &Endpoint) -> StoreResult<()>;
    /// Changes everything but id, tenant and queue.
    async fn endpoint_update(&mut self, endpoint: &Endpoint) -> StoreResult<bool>;
    /// Removes an endpoint; refused as a reference while a binding names it.
    async fn endpoint_delete(&mut self, tenant: TenantId, id: EndpointId) -> StoreResult<bool>;
    /// One endpoint.
    async fn endpoint_get(&mut self, id: EndpointId) -> StoreResult<Option<Endpoint>>;
    /// All endpoints in the scope, by name.
    async fn endpoint_list(&mut self) -> StoreResult<Vec<Endpoint>>;

    /// Inserts jobs. A job whose (event, binding, replay) exists is left out. Answers how many were inserted.
    async fn job_insert(&mut self, jobs: &[NewJob]) -> StoreResult<i64>;
    /// One job.
    async fn job_get(&mut self, id: JobId) -> StoreResult<Option<Job>>;
    /// Jobs, newest first.
    async fn job_list(&mut self, filter: &JobFilter, limit: i64) -> StoreResult<Vec<Job>>;
    /// The attempts of a job, in order, with one that has started and not ended as the last.
    async fn job_attempts(
        &mut self,
        id: JobId,
    ) -> StoreResult<(Vec<Attempt>, Option<AttemptStart>)>;

    /// What was committed after `cursor` (an empty one: from the beginning), at most `limit` jobs. Hot path, system scope.
    /// With `recovering`, jobs that have an outcome already are left out of `jobs`. In all that loads jobs a start
    /// without an outcome does not count: the attempt may be a dead owner's, and whoever starts it next is refused.
    async fn job_discover(
        &mut self,
        cursor: &Cursor,
        recovering: bool,
        limit: i64,
    ) -> StoreResult<Discovery>;
    /// Jobs of a lane without an outcome and without a `run_at`, ids above `after`, only what `seen` covers, in order.
    async fn lane_refill(
        &mut self,
        lane: Lane,
        after: JobId,
        seen: &Cursor,
        limit: i64,
    ) -> StoreResult<Vec<JobRef>>;
    /// Jobs of a queue without an outcome and with a `run_at`, keys above `after` and due at or before `until`, only what `seen` covers.
    async fn delayed_refill(
        &mut self,
        queue: QueueNumber,
        after: DueKey,
        until: Timestamp,
        seen: &Cursor,
        limit: i64,
    ) -> StoreResult<Vec<JobRef>>;
    /// Jobs of a queue whose last attempt asks for another, keys above `after` and due at or before `until`, in order.
    async fn retry_refill(
        &mut self,
        queue: QueueNumber,
        after: DueKey,
        until: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<JobRef>>;
    /// Attempts started at or after `since` that have neither an outcome nor a later attempt.
    async fn attempt_unfinished(
        &mut self,
        since: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<AttemptStart>>;

    /// The bodies of jobs, in any order; a job that is gone is missing. The request's headers only when they are asked
    /// for: they are a look-up for each. Hot path.
    async fn job_bodies(
        &mut self,
        jobs: &[(TenantId, JobId)],
        headers: bool,
    ) -> StoreResult<Vec<JobBody>>;
    /// Records starts. Answers, per start, whether it may go on: not when that attempt has a start or an outcome already.
    async fn attempt_start(&mut self, starts: &[AttemptStart]) -> StoreResult<Vec<bool>>;
    /// Records outcomes; the deltas go into a tally record under `sequence`. Conflict when any attempt has an outcome
    /// already, or the sequence number was used (its record may be gone: a checkpoint includes it): then nothing of the
    /// transaction may stay. Hot path.
    async fn attempt_settle(
        &mut self,
        attempts: &[Attempt],
        tally: Option<&TallyRecord>,
    ) -> StoreResult<()>;

    /// Lists a job as a dead letter. In the transaction of the attempt that ended it.
    async fn dead_letter_insert(&mut self, letter: &DeadLetter) -> StoreResult<()>;
    /// Dead letters, newest first.
    async fn dead_letter_list(
        &mut self,
        filter: &DeadLetterFilter,
        limit: i64,
    ) -> StoreResult<Vec<DeadLetter>>;
    /// How many there are, and how alike.
    async fn dead_letter_groups(
        &mut self,
        filter: &DeadLetterFilter,
    ) -> StoreResult<Vec<DeadLetterGroup>>;
    /// Ends dead letters: writes the given attempt rows (requeued or discarded), removes the jobs from the list and
    /// leaves signals. Those that are no longer dead letters are left out. Answers how many were ended.
    async fn dead_letter_end(&mut self, attempts: &[Attempt]) -> StoreResult<i64>;
    /// Cancels a job that has not ended: writes the attempt row and leaves a signal. False when it has ended.
    async fn job_cancel(&mut self, attempt: &Attempt) -> StoreResult<bool>;

    /// The last checkpoint.
    async fn checkpoint_load(&mut self) -> StoreResult<Option<Checkpoint>>;
    /// Writes a checkpoint and drops the tally records that it includes. Conflict when a later epoch wrote one.
    async fn checkpoint_save(&mut self, checkpoint: &Checkpoint) -> StoreResult<()>;
    /// Tally records after `sequence`, in order.
    async fn tally_since(&mut self, sequence: i64) -> StoreResult<Vec<TallyRecord>>;

    /// The breakers that are not closed, or have failures counted.
    async fn breaker_list(&mut self) -> StoreResult<Vec<(QueueNumber, breaker::Breaker)>>;
    /// Writes a breaker down.
    async fn breaker_save(
        &mut self,
        queue: QueueNumber,
        breaker: &breaker::Breaker,
    ) -> StoreResult<()>;
}

/// The change of the counters that a batch of outcomes made. One row per batch, insert only, dropped by checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TallyRecord {
    /// One more than the last, over all epochs: a second fence against an owner that was replaced.
    pub sequence: i64,
    /// JSON: queue number to deltas.
    pub body: String,
}
