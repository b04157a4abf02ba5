//! What goes into the machine and what comes out of it.

use std::sync::Arc;

use mainstay_domain::{
    Category, JobId, TenantId, Timestamp,
    jobs::{
        Attempt, AttemptStart, Checkpoint, Cursor, Discovery, DueKey, Flow, JobRef, Lane, LineEnd,
        Loss, QueueLimits, QueueNumber, QueueRules, TallyRecord,
        breaker::{Breaker, BreakerPolicy, Turn},
        retry::RetryPolicy,
    },
};

/// What the driver tells the machine.
#[derive(Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// Something may have been committed.
    Woken,
    /// The queues' settings, as they were after [`Action::Configure`] with this number was asked for.
    Configured {
        /// The number of the request.
        request: u64,
        /// The version of the configuration that they come from.
        version: i64,
        /// All queues that anybody has settings for.
        queues: Vec<(QueueNumber, QueueSettings)>,
    },
    /// [`Action::Configure`] could not be done.
    ConfigureFailed {
        /// The number of the request.
        request: u64,
    },
    /// The answer to [`Action::Discover`].
    Discovered(Result<Discovery, Failed>),
    /// The answer to [`Action::Refill`].
    Refilled {
        /// What was asked for.
        refill: Refill,
        /// The jobs read, in order.
        jobs: Result<Vec<JobRef>, Failed>,
    },
    /// The answer to [`Action::FindUnfinished`].
    Unfinished(Result<Vec<Unfinished>, Failed>),
    /// The answer to [`Action::Start`], one for each start. On failure it is not known whether they were recorded.
    Started {
        /// The version of the configuration by which they were decided on.
        version: i64,
        /// What was asked for.
        starts: Vec<AttemptStart>,
        /// The answers, in the same order.
        answers: Result<Vec<Started>, Failed>,
    },
    /// An attempt that [`Action::Run`] began has ended.
    Ended {
        /// Which job's.
        job: JobId,
        /// How.
        end: End,
        /// The policy to decide with if it failed; `None`: the queue's.
        policy: Option<Box<RetryPolicy>>,
    },
    /// The answer to [`Action::RunBatch`].
    BatchEnded {
        /// Its number.
        sequence: i64,
        /// How it went.
        result: BatchResult,
        /// Whose turn has come.
        turns: Turns,
    },
    /// The answer to [`Action::Settle`].
    Settled {
        /// Its number.
        sequence: i64,
        /// How it went.
        result: SettleResult,
        /// Whose turn has come.
        turns: Turns,
    },
    /// Somebody waits for jobs of these queues.
    Polled(Poll),
    /// Whoever waited waits no more: gone, or for too long. [`Action::Answer`] follows.
    PollClosed {
        /// Which poll.
        poll: PollId,
    },
    /// The answer to [`Action::Inspect`].
    Inspected(Result<Vec<Truth>, Failed>),
    /// The answer to [`Action::SaveCheckpoint`].
    CheckpointSaved(SettleResult),
    /// Start nothing more, finish what runs, write everything down.
    Stop,
}

/// The store did not answer as it should; the machine asks again after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

/// What the machine asks the driver to do. Every action but [`Action::Abort`] and the last two is answered by an input.
#[derive(Debug)]
pub enum Action {
    /// Load the queues' settings.
    Configure {
        /// To be repeated in the answer.
        request: u64,
    },
    /// Look for what was committed after the cursor.
    Discover {
        /// Where to look on from.
        cursor: Cursor,
        /// Whether jobs that were tried already are left out.
        recovering: bool,
        /// At most so many jobs.
        limit: usize,
    },
    /// Read the next jobs of a window.
    Refill(Refill),
    /// Find the attempts that were started and have no outcome.
    FindUnfinished {
        /// Started at or after.
        since: Timestamp,
        /// And these, if they were started: tenant, job and number.
        long: Vec<(TenantId, JobId, i32)>,
    },
    /// Record starts, and load the jobs' bodies; refuse all of them if the configuration is another by now. Then its
    /// settings are told first ([`Input::Configured`]).
    Start {
        /// The version of the configuration by which they were decided on.
        version: i64,
        /// What is to be recorded.
        starts: Vec<AttemptStart>,
    },
    /// Carry out an attempt whose start is recorded.
    Run(AttemptStart),
    /// Put an attempt whose start is recorded with what a poll is answered.
    Hand {
        /// For which poll.
        poll: PollId,
        /// The attempt. Whoever gets it holds it under a lease.
        start: AttemptStart,
    },
    /// Answer a poll with what was put there for it. It waits no more.
    Answer {
        /// Which poll.
        poll: PollId,
    },
    /// What a worker reported of this attempt is committed, or counts for nothing since the attempt has another outcome.
    Reported {
        /// Which job.
        job: JobId,
        /// Which attempt.
        attempt: i32,
        /// Whether it is committed.
        recorded: bool,
    },
    /// The lease of an attempt has run out: to be ended with [`End::LeaseEnded`].
    LeaseEnded(AttemptStart),
    /// A person has stopped this job: end its attempt early if that is possible.
    Abort(JobId),
    /// Carry out built-in jobs and record their success, all in one transaction.
    RunBatch {
        /// The number of its tally record.
        sequence: i64,
        /// Whether it was sent before, so that it may be committed already.
        again: bool,
        /// The jobs.
        batch: Arc<Batch>,
    },
    /// Record outcomes, all in one transaction.
    Settle {
        /// The number of its tally record.
        sequence: i64,
        /// What is recorded.
        settlement: Arc<Settlement>,
    },
    /// Look up how these jobs stand.
    Inspect(Vec<JobAt>),
    /// Write a checkpoint.
    SaveCheckpoint(Box<Checkpoint>),
    /// Everything is finished and written down, as asked by [`Input::Stop`].
    Stopped,
    /// Another owner has taken over: this machine does nothing any more.
    Replaced,
}

/// A refill of one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refill {
    /// Which window.
    pub window: WindowId,
    /// Where to read on from.
    pub after: After,
    /// Only what this position of the news covers.
    pub seen: Cursor,
    /// At most so many jobs.
    pub limit: usize,
}

/// A window of the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WindowId {
    /// Never-tried jobs of a lane, without a time of their own.
    Lane(Lane),
    /// Never-tried jobs of a queue that have a time of their own.
    Delayed(QueueNumber),
    /// Jobs of a queue that are to be tried again.
    Retries(QueueNumber),
    /// Never-tried jobs of one tenant whose own time has come.
    DelayedOf(QueueNumber, TenantId),
    /// Jobs of one tenant that are to be tried again now.
    RetriesOf(QueueNumber, TenantId),
}

/// The key that a refill reads after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Of a lane.
    Job(JobId),
    /// Of a queue's delayed jobs or retries.
    Due(DueKey),
}

/// What the engine must know of a queue.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSettings {
    /// What carries its jobs out.
    pub runs: Runs,
    /// Whether its jobs are carried out. While they are not, they wait.
    pub enabled: bool,
    /// How many may run at once.
    pub max_in_flight: u32,
    /// Whether its jobs are started.
    pub flow: Flow,
    /// Jobs from this one on wait, although others run.
    pub held_from: Option<JobId>,
    /// How much may run, and who has which share. Its `max_in_flight` is part of the one above.
    pub limits: QueueLimits,
    /// For how long an attempt lasts at most, in milliseconds, whoever began it.
    pub attempt_ms: i64,
    /// When its jobs are tried again, unless a report says otherwise.
    pub retry: RetryPolicy,
    /// When its breaker opens, if it has one.
    pub breaker: Option<BreakerPolicy>,
}

impl QueueSettings {
    /// For a queue that nobody has settings for (its endpoint was removed): its jobs are run, so that they end.
    pub fn orphaned() -> Self {
        Self {
            runs: Runs::Outbound,
            enabled: true,
            max_in_flight: 4,
            flow: Flow::Running,
            held_from: None,
            limits: QueueLimits::default(),
            attempt_ms: 0,
            retry: RetryPolicy::default(),
            breaker: None,
        }
    }

    /// The same, as a team wishes it.
    #[must_use]
    pub fn with(self, rules: &QueueRules) -> Self {
        let most = rules.limits.max_in_flight.unwrap_or(u32::MAX);
        Self {
            max_in_flight: self.max_in_flight.min(most),
            flow: rules.flow,
            held_from: rules.held_from(),
            limits: rules.limits.clone(),
            ..self
        }
    }

    /// Whether a team has limited its places, so that attempts of a predecessor's count. What is built in is undone
    /// together with its process.
    pub(super) fn counts_over_restarts(&self) -> bool {
        let limits = &self.limits;
        let places = limits.max_in_flight.or(limits.tenant_max_in_flight);
        places.is_some() && self.runs == Runs::Outbound
    }
}

/// What carries the jobs of a queue out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// Handlers in this process; their effects commit with the job's completion.
    Builtin,
    /// Something outside of this process; every start is recorded before anything is sent.
    Outbound,
    /// Workers that ask for jobs: a start is recorded only for somebody who waits, before the job is handed out.
    Worker,
}

/// The number of a poll, unique in its process.
pub type PollId = u64;

/// Somebody waits for jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// Its number.
    pub poll: PollId,
    /// The queues whose jobs it takes.
    pub queues: Vec<QueueNumber>,
    /// How many jobs it takes.
    pub places: u32,
    /// For how long a job is in hand without a sign of life, in milliseconds.
    pub lease_ms: i32,
    /// Whether it is answered at once where there is nothing.
    pub at_once: bool,
}

/// How an attempt that a worker speaks of stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In the worker's hands.
    InHand,
    /// In its hands, and a person has cancelled the job.
    Cancelled,
    /// It cannot be told yet: the owner has just taken over, or an outcome is being recorded. To be asked again.
    NotYet,
    /// Not in anybody's hands: it has an outcome, or its lease ran out.
    Ended,
}

/// Whether a recorded start may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It may.
    Go,
    /// That attempt has a start or an outcome already, or the configuration has changed.
    Refused,
    /// The job's body is gone.
    Gone,
}

/// How an attempt came to its end.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// What carried it out says how it went.
    Reported(Report),
    /// This process stopped it, on purpose.
    Interrupted,
    /// The worker gave the job back: no try of the job's.
    Returned(Returned),
    /// The worker that had it gave no sign of life for as long as its lease.
    LeaseEnded {
        /// What is known of it, as [`Attempt::exchange`] has it.
        exchange: Option<String>,
    },
}

/// A job that a worker gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// Who gave it back.
    pub by: String,
    /// Why, if it said.
    pub reason: Option<String>,
    /// How long it is to wait, in milliseconds; `None`: for nothing.
    pub delay_ms: Option<i64>,
}

/// What a handler says of its attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// It did what it should.
    Success {
        /// The HTTP status of the answer.
        status: Option<i32>,
        /// What was sent and answered, as [`Attempt::exchange`] has it.
        exchange: Option<String>,
    },
    /// It did not.
    Failure(Failure),
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What kind of failure. It decides whether another try can help.
    pub category: Category,
    /// The stable code.
    pub code: String,
    /// What went wrong, in a sentence.
    pub error: String,
    /// The HTTP status of the answer.
    pub status: Option<i32>,
    /// How long the other side asked us to wait, in milliseconds.
    pub retry_after_ms: Option<i64>,
    /// What was sent and answered, as [`Attempt::exchange`] has it.
    pub exchange: Option<String>,
}

impl Batch {
    /// Those of its jobs that keep an order, all of them done at this time, which is no earlier than they began.
    pub fn ends(&self, at: Timestamp) -> Vec<LineEnd> {
        let ordered = self.jobs.iter().filter(|job| job.ordered);
        ordered
            .map(|job| LineEnd {
                tenant: job.tenant,
                job: job.job,
                dead: false,
                at: at.max(self.started_at),
            })
            .collect()
    }
}

impl Failure {
    /// A failure without an answer.
    pub fn new(category: Category, code: impl Into<String>, error: impl Into<String>) -> Self {
        Self {
            category,
            code: code.into(),
            error: error.into(),
            status: None,
            retry_after_ms: None,
            exchange: None,
        }
    }
}

/// Built-in jobs that are carried out in one transaction.
#[derive(Debug)]
pub struct Batch {
    /// The jobs, all of one queue, in order.
    pub jobs: Vec<JobRef>,
    /// When they began.
    pub started_at: Timestamp,
    /// The tally record of their success.
    pub tally: TallyRecord,
}

/// How a batch went.
#[derive(Debug)]
pub enum BatchResult {
    /// All succeeded, and it is committed.
    Committed,
    /// The handler of one job failed: nothing is committed.
    Failed {
        /// Which job's.
        job: JobId,
        /// Why.
        failure: Box<Failure>,
        /// The policy to decide with; `None`: the queue's.
        policy: Option<Box<RetryPolicy>>,
    },
    /// The bodies of these jobs are gone: nothing is committed.
    Gone(Vec<JobId>),
    /// An attempt of one of them has an outcome already: nothing is committed.
    Conflict,
    /// It is not known whether it is committed.
    Unavailable,
    /// A later owner has taken the number: nothing is committed.
    Replaced,
}

/// The jobs whose turn came in a transaction in which jobs that keep an order have ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Turns {
    /// These.
    Known(Vec<JobRef>),
    /// It is known that the transaction is committed, and not what it answered.
    #[default]
    Unknown,
}

/// Outcomes that are recorded in one transaction.
#[derive(Debug)]
pub struct Settlement {
    /// The attempt rows.
    pub attempts: Vec<Attempt>,
    /// Those of the jobs ended by them that keep an order: with it comes the turn of the next.
    pub ends: Vec<LineEnd>,
    /// Their tally record.
    pub tally: TallyRecord,
    /// The breakers as they are now, where they have changed.
    pub breakers: Vec<(QueueNumber, Breaker)>,
    /// The breakers that opened or closed.
    pub turns: Vec<BreakerTurn>,
}

/// A breaker opened or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerTurn {
    /// Whose.
    pub queue: QueueNumber,
    /// Which way.
    pub turn: Turn,
    /// When.
    pub at: Timestamp,
    /// What the last failure said.
    pub error: Option<String>,
}

/// How the recording of outcomes, or of a checkpoint, went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleResult {
    /// It is committed.
    Committed,
    /// One of the attempts has an outcome already: nothing is committed.
    Conflict,
    /// It is not known whether it is committed.
    Unavailable,
    /// A later owner has taken over: nothing is committed.
    Replaced,
}

/// A job and where it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobAt {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub job: JobId,
    /// Its queue.
    pub queue: QueueNumber,
}

/// How a job stands in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    /// Which job.
    pub at: JobAt,
    /// The last attempt that has an outcome; 0 when there is none.
    pub attempt: i32,
    /// The job as it is to be tried next; `None` when it has ended, is gone, or has never been tried.
    pub next: Option<JobRef>,
    /// A start without an outcome.
    pub start: Option<AttemptStart>,
    /// Whether its last attempts were lost.
    pub loss: Loss,
}

/// An attempt that was started and has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// Its start.
    pub start: AttemptStart,
    /// Whether those right before it were lost as well.
    pub before: Loss,
}
