//! What the store does with jobs, and what it and the engine tell each other beside the jobs themselves: how far the
//! engine has seen, in which order it reads, and what it counts.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{
    Attempt, AttemptStart, DeadLetter, DeadLetterFilter, DeadLetterGroup, Endpoint, Job, JobBody,
    JobFilter, JobRef, LaneJobs, Line, LineEnd, LineFilter, NewJob, ParkedCount, QueueNumber,
    QueueRules,
    breaker::{Breaker, BreakerChange, BreakerRule, Dependency},
    unique::{UniqueHolder, UniqueKey},
};
use crate::{
    error::StoreResult,
    id::{BreakerChangeId, EndpointId, JobId, LineId, TenantId},
    time::Timestamp,
};

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
    /// The turn of a job in a line has come: it is to be found among the retries.
    Turn,
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

    /// What was said of queues: of all in the system's scope, of its own endpoints' in a tenant's on PostgreSQL.
    async fn queue_rules(&mut self) -> StoreResult<Vec<QueueRules>>;
    /// What was said of one queue, if anything was.
    async fn queue_rules_get(&mut self, queue: QueueNumber) -> StoreResult<Option<QueueRules>>;
    /// Says it. Counts as a change of the configuration.
    async fn queue_rules_set(&mut self, rules: &QueueRules) -> StoreResult<()>;

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

    /// Inserts jobs. A job whose (event, binding, replay) exists is left out. Those that keep an order take their places
    /// in the order in which they are given. Answers how many were inserted.
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

    /// The last attempt of a job that was started, also where somebody has ended the job over it.
    async fn attempt_start_last(&mut self, id: JobId) -> StoreResult<Option<AttemptStart>>;

    /// What was committed after `cursor` (an empty one: from the beginning), at most `limit` jobs. Hot path, system scope.
    /// With `recovering`, jobs that have an outcome already are left out of `jobs`. In all that loads jobs a start
    /// without an outcome does not count: the attempt may be a dead owner's, and whoever starts it next is refused.
    async fn job_discover(
        &mut self,
        cursor: &Cursor,
        recovering: bool,
        limit: i64,
    ) -> StoreResult<Discovery>;
    /// Jobs of a lane without an outcome and without a `run_at`, ids above `after`, only what `seen` covers, in order. With
    /// `bodies`, those of them that cost next to nothing to read along.
    async fn lane_refill(
        &mut self,
        lane: Lane,
        after: JobId,
        seen: &Cursor,
        limit: i64,
        bodies: bool,
    ) -> StoreResult<LaneJobs>;
    /// Jobs of a queue, or of one tenant's in it, without an outcome and with a `run_at`, keys above `after` and due at or
    /// before `until`, only what `seen` covers, in order.
    async fn delayed_refill(
        &mut self,
        queue: QueueNumber,
        tenant: Option<TenantId>,
        after: DueKey,
        until: Timestamp,
        seen: &Cursor,
        limit: i64,
    ) -> StoreResult<Vec<JobRef>>;
    /// Jobs of a queue, or of one tenant's in it, whose last attempt asks for another, keys above `after` and due at or
    /// before `until`, in order.
    async fn retry_refill(
        &mut self,
        queue: QueueNumber,
        tenant: Option<TenantId>,
        after: DueKey,
        until: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<JobRef>>;
    /// Attempts started at or after `since` that have neither an outcome nor a later attempt, of about the next `look_at`
    /// that were started, and from which time on to look for more, if there are more: however many attempts were started,
    /// a look costs the same.
    async fn attempt_unfinished(
        &mut self,
        since: Timestamp,
        look_at: i64,
    ) -> StoreResult<(Vec<AttemptStart>, Option<Timestamp>)>;
    /// Of these attempts, those that were started and have neither an outcome nor a later attempt.
    async fn attempt_unfinished_among(
        &mut self,
        attempts: &[(TenantId, JobId, i32)],
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

    /// Jobs that keep an order have ended, in this transaction: the next of each line gets its turn, or the line is
    /// parked, or there is no such line any more. Answers whose turn has come. System scope.
    async fn line_leave(&mut self, ends: &[LineEnd]) -> StoreResult<Vec<JobRef>>;
    /// Lines that have not come to their end, newest first.
    async fn line_list(&mut self, filter: &LineFilter, limit: i64) -> StoreResult<Vec<Line>>;
    /// One line.
    async fn line_get(&mut self, id: LineId) -> StoreResult<Option<Line>>;
    /// The line in which this job waits, or whose head it is.
    async fn line_of(&mut self, tenant: TenantId, job: JobId) -> StoreResult<Option<Line>>;
    /// The jobs that wait in a line, the next first.
    async fn line_jobs(&mut self, line: &Line, limit: i64) -> StoreResult<Vec<JobId>>;
    /// Lets a parked line go on with its next job; its dead letter stays one. False when it is not parked (any more).
    /// Leaves a signal.
    async fn line_release(&mut self, line: &Line, at: Timestamp) -> StoreResult<bool>;
    /// How many lines in the scope are parked.
    async fn line_parked(&mut self) -> StoreResult<ParkedCount>;

    /// The last checkpoint.
    async fn checkpoint_load(&mut self) -> StoreResult<Option<Checkpoint>>;
    /// Writes a checkpoint and drops the tally records that it includes. Conflict when a later epoch wrote one.
    async fn checkpoint_save(&mut self, checkpoint: &Checkpoint) -> StoreResult<()>;
    /// Tally records after `sequence`, in order.
    async fn tally_since(&mut self, sequence: i64) -> StoreResult<Vec<TallyRecord>>;

    /// Gives a key to a job if nobody has it; else answers who has, and nobody else is answered until this transaction ends.
    async fn unique_take(
        &mut self,
        key: UniqueKey<'_>,
        job: JobId,
        at: Timestamp,
    ) -> StoreResult<Option<UniqueHolder>>;
    /// Gives a key that this transaction was answered about to somebody else.
    async fn unique_give(&mut self, key: UniqueKey<'_>, holder: &UniqueHolder) -> StoreResult<()>;
    /// Forgets keys that were given before `until` and whose jobs have ended or are gone, at most `limit`. Answers how many.
    /// System scope.
    async fn unique_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64>;

    /// The breakers in the scope that are not as new.
    async fn breaker_list(&mut self) -> StoreResult<Vec<(Dependency, Breaker)>>;
    /// Writes a breaker down, or that it is as new. System scope.
    async fn breaker_save(&mut self, dependency: &Dependency, breaker: &Breaker)
    -> StoreResult<()>;
    /// What people said of breakers in the scope.
    async fn breaker_rules(&mut self) -> StoreResult<Vec<BreakerRule>>;
    /// Says it. Counts as a change of the configuration.
    async fn breaker_rule_set(&mut self, rule: &BreakerRule) -> StoreResult<()>;
    /// Takes it back. Counts as a change of the configuration. False when nothing was said.
    async fn breaker_rule_clear(&mut self, dependency: &Dependency) -> StoreResult<bool>;
    /// Keeps that a breaker changed.
    async fn breaker_change_insert(&mut self, change: &BreakerChange) -> StoreResult<()>;
    /// How a breaker changed, the last first, before this change.
    async fn breaker_change_list(
        &mut self,
        dependency: &Dependency,
        before: BreakerChangeId,
        limit: i64,
    ) -> StoreResult<Vec<BreakerChange>>;
    /// Forgets what changed before `until`, at most `limit`. Answers how many. System scope.
    async fn breaker_change_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64>;
}

/// The change of the counters that a batch of outcomes made. One row per batch, insert only, dropped by checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TallyRecord {
    /// One more than the last, over all epochs: a second fence against an owner that was replaced.
    pub sequence: i64,
    /// JSON: queue number to deltas.
    pub body: String,
}
