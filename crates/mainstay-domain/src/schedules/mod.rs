//! Schedules: cron rules that make jobs. A tick is a moment that a rule names; it makes one job, whoever looks and
//! however often, because its row (tenant, schedule, tick) and its job are one commit.
//!
//! What a rule names is [`rule`], what becomes of the ticks that are due is [`due`]; both are pure. What a job is
//! told of its tick is [`scheduled`].

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    error::StoreResult,
    id::{EndpointId, JobId, ScheduleId, TenantId},
    jobs::{NewJob, QueueNumber},
    time::Timestamp,
};

pub mod due;
pub mod rule;
pub mod scheduled;

/// Schedules that a tenant may have.
pub const SCHEDULES_MAX: i64 = 10_000;
/// The longest that a tick's job may be put off at random, in milliseconds: an hour.
pub const JITTER_MS_MAX: i64 = 3_600_000;
/// How late a tick may be and still count as on time, in milliseconds: at the least a second, at the most a day.
pub const GRACE_MS: std::ops::RangeInclusive<i64> = 1_000..=86_400_000;
/// Missed ticks that [`Misfire::All`] makes up for, at the most.
pub const CATCH_UP_MAX: i64 = 1_000;

/// What becomes of ticks that nobody was there for. Numbered in the store by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// Nothing: the next one comes in its time.
    Skip,
    /// One run for all of them, that of the latest.
    #[default]
    One,
    /// A run for each of the latest, up to a number, oldest first.
    All,
}

impl Misfire {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Skip, Self::One, Self::All];
}

/// What becomes of a tick while the job of the last run has not ended. Numbered in the store by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It runs beside it.
    #[default]
    Allow,
    /// It is left out.
    Skip,
    /// It waits for the end. Of several that wait the misfire policy says which run.
    Wait,
}

impl Overlap {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Skip, Self::Wait];
}

/// What becomes of ticks that are late, or come too early for the last run, and how they are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of missed ticks.
    pub misfire: Misfire,
    /// How late a tick may be and not be missed, in milliseconds.
    pub grace_ms: i64,
    /// How many missed ticks [`Misfire::All`] makes up for.
    pub catch_up_max: i64,
    /// What becomes of a tick while the last run goes on.
    pub overlap: Overlap,
    /// A run is put off by up to this, in milliseconds, and never as far as the next tick.
    pub jitter_ms: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            misfire: Misfire::One,
            grace_ms: 60_000,
            catch_up_max: 100,
            overlap: Overlap::Allow,
            jitter_ms: 0,
        }
    }
}

/// A cron rule that makes jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Whose it is.
    pub tenant: TenantId,
    /// A name, unique in the tenant.
    pub name: String,
    /// The cron expression.
    pub cron: String,
    /// The IANA name of the time zone that it is read in.
    pub zone: String,
    /// What its jobs do: their kind.
    pub kind: String,
    /// The endpoint that they are pushed to.
    pub endpoint: Option<EndpointId>,
    /// Where they wait.
    pub queue: QueueNumber,
    /// Their own payload: JSON.
    pub payload: Option<String>,
    /// Their own retry policy as JSON; `None`: the endpoint's, else the handler's.
    pub retry: Option<String>,
    /// What becomes of ticks that are late or come too early.
    pub policy: Policy,
    /// Whether it makes no jobs by itself.
    pub paused: bool,
    /// The next tick that nothing is decided about; `None` while it is paused, and when the rule names no more.
    pub next_tick: Option<Timestamp>,
    /// When to look at it: the next tick, put off by its jitter, or by a run that it waits for.
    pub next_at: Option<Timestamp>,
    /// The last run's tick.
    pub last_tick: Option<Timestamp>,
    /// The last run's job.
    pub last_job: Option<JobId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed by a person.
    pub updated_at: Timestamp,
    /// Grows with every change: whoever acts on an older one has lost.
    pub revision: i64,
}

/// What became of a tick. Numbered in the store by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TickOutcome {
    /// It made a job.
    Run,
    /// A person asked for it; it made a job.
    ByHand,
    /// It was left out, because the last run had not ended.
    Overlapped,
    /// It was missed, and with it those before it that the row counts.
    Missed,
}

impl TickOutcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Run, Self::ByHand, Self::Overlapped, Self::Missed];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::ByHand => "by_hand",
            Self::Overlapped => "overlapped",
            Self::Missed => "missed",
        }
    }
}

/// What became of one tick, or of several that were missed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleTick {
    /// Whose.
    pub tenant: TenantId,
    /// Which schedule's.
    pub schedule: ScheduleId,
    /// The tick: the fence. Of several that were missed the last; of a run by hand when it was asked for.
    pub tick: Timestamp,
    /// What became of it.
    pub outcome: TickOutcome,
    /// The job that it made.
    pub job: Option<JobId>,
    /// The first of several that were missed.
    pub since: Option<Timestamp>,
    /// How many ticks the row stands for.
    pub count: i64,
    /// When it was decided.
    pub decided_at: Timestamp,
}

/// What one look at a schedule changes, all of it in one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleStep {
    /// The schedule as it is to be, under the revision that was read.
    pub schedule: Schedule,
    /// What became of its ticks.
    pub ticks: Vec<ScheduleTick>,
}

/// Which schedules to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScheduleFilter {
    /// Only this tenant's. Lists in a tenant's scope are restricted to it anyway.
    pub tenant: Option<TenantId>,
    /// Only of this name.
    pub name: Option<String>,
    /// Only older than this one: the cursor.
    pub before: Option<ScheduleId>,
}

/// The store's verbs of schedules.
#[async_trait]
pub trait SchedulesTx: Send {
    /// Adds a schedule. Conflict when the tenant has one of that name.
    async fn schedule_insert(&mut self, schedule: &Schedule) -> StoreResult<()>;
    /// Writes all of a schedule but its id and tenant. Conflict when it is no longer the one of this `revision`, which is
    /// then one more.
    async fn schedule_update(&mut self, schedule: &Schedule) -> StoreResult<()>;
    /// Removes a schedule and what is known of its ticks; its jobs stay.
    async fn schedule_delete(&mut self, tenant: TenantId, id: ScheduleId) -> StoreResult<bool>;
    /// One schedule.
    async fn schedule_get(&mut self, id: ScheduleId) -> StoreResult<Option<Schedule>>;
    /// Schedules, newest first.
    async fn schedule_list(
        &mut self,
        filter: &ScheduleFilter,
        limit: i64,
    ) -> StoreResult<Vec<Schedule>>;
    /// How many schedules a tenant has.
    async fn schedule_count(&mut self, tenant: TenantId) -> StoreResult<i64>;
    /// All schedules after this one, by id. System scope.
    async fn schedule_after(&mut self, after: ScheduleId, limit: i64)
    -> StoreResult<Vec<Schedule>>;
    /// Schedules to look at by now, the longest due first. System scope.
    async fn schedule_due(&mut self, now: Timestamp, limit: i64) -> StoreResult<Vec<Schedule>>;
    /// When the next schedule is to be looked at. System scope.
    async fn schedule_next_at(&mut self) -> StoreResult<Option<Timestamp>>;
    /// Writes steps and inserts these jobs with them: those of a schedule that is no longer the one that was read are
    /// left out, its ticks and jobs too. Answers, per step, whether it was taken. Conflict when a tick has a row
    /// already: then nothing of the transaction may stay. System scope.
    async fn schedule_step(
        &mut self,
        steps: &[ScheduleStep],
        jobs: &[NewJob],
    ) -> StoreResult<Vec<bool>>;
    /// Records a run that a person asked for, with its job. Conflict when that moment has a row already.
    async fn schedule_run(&mut self, tick: &ScheduleTick, job: &NewJob) -> StoreResult<()>;
    /// The ticks in this time that have a row.
    async fn tick_known(
        &mut self,
        tenant: TenantId,
        schedule: ScheduleId,
        from: Timestamp,
        to: Timestamp,
    ) -> StoreResult<Vec<Timestamp>>;
    /// What became of a schedule's ticks, newest first, before this one.
    async fn tick_list(
        &mut self,
        tenant: TenantId,
        schedule: ScheduleId,
        before: Option<Timestamp>,
        limit: i64,
    ) -> StoreResult<Vec<ScheduleTick>>;
    /// Removes rows of ticks before `until`, at most `limit`. Answers how many. System scope.
    async fn tick_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64>;
}
