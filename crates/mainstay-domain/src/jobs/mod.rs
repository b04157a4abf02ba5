//! Jobs: what is to be done, and how it went.
//!
//! A job's body is inserted once. Each try ends in one attempt row, key (tenant, job, attempt): that key is the
//! fence. The state of a job is derived from its last attempt; nothing is ever updated on the way of a job that succeeds.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::Category,
    id::{BindingId, EndpointId, EventId, JobId, ReceiptId, ReplayId, TenantId},
    intake::Blob,
    time::Timestamp,
};

pub mod breaker;
pub mod headers;
pub mod health;
pub mod http_out;
pub mod line;
pub mod loss;
pub mod pressure;
pub mod queue;
pub mod rate;
pub mod retry;
pub mod secret;
pub mod settings;
mod store;
pub mod unique;

pub use line::{JobOrder, JobPlace, Line, LineEnd, LineFilter, OnDead, ParkedCount};
pub use loss::Loss;
pub use queue::{Flow, QueueLimits, QueueRules};
pub use store::{
    Checkpoint, Cursor, Discovery, DueKey, JobsTx, Lane, QueueTally, Signal, SignalKind, Standing,
    TallyRecord,
};

/// A queue's small number; its name is kept once, in its own table.
pub type QueueNumber = i32;

/// A job that is to be inserted.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its id. The first job that is made together with an event has the event's: one index less has to be written for
    /// it to be found by its event.
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
    /// It is not begun at or after it, and no try goes on beyond it.
    pub deadline: Option<Timestamp>,
    /// Its own retry policy as JSON; `None`: the endpoint's, else the handler's default.
    pub retry: Option<String>,
    /// The order that it keeps with others of its queue. Such a job has no `run_at` of its own.
    pub order: Option<JobOrder>,
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
    /// Not at or after.
    pub deadline: Option<Timestamp>,
    /// The last attempt that was recorded; 0 when there is none. The next one is this plus one.
    pub attempt: i32,
    /// Tries that count towards the policy's maximum; starts again at 0 when a person runs it again.
    pub tries: i32,
    /// Whether its last attempts were lost with their process.
    pub loss: Loss,
    /// Whether it keeps an order: its end is another's turn.
    pub ordered: bool,
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
    /// No try goes on beyond it.
    pub deadline: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Jobs of a lane as they were read to wait in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LaneJobs {
    /// The jobs, in order.
    pub jobs: Vec<JobRef>,
    /// Bodies of some of them: small ones, of jobs that no event made.
    pub bodies: Vec<JobBody>,
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
    /// Not at or after. Gone once somebody has run it again.
    pub deadline: Option<Timestamp>,
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
    /// The order that it keeps, if any.
    pub order: Option<JobPlace>,
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
    /// For how long a worker holds it without a sign of life, in milliseconds; `None` where no worker does.
    pub lease_ms: Option<i32>,
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
