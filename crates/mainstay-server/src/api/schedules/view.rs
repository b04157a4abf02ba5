//! Schedules, their ticks and their runs as the API shows them.

use std::collections::HashMap;

use mainstay::schedules::{rule, zone};
use mainstay_domain::{
    EndpointId, JobId, ScheduleId, StoreResult, TenantId, Timestamp, Tx,
    jobs::{JobState, QueueNumber},
    schedules::{
        Schedule, ScheduleTick, TickOutcome,
        rule::{ClockChange, Effect, Rule, RuleError},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::change::{MisfireName, OverlapName};
use crate::{
    api::{jobs::JobStateName, retry::Retry},
    http::{Problem, text::Text},
    time::Time,
};

/// Runs shown with a schedule.
pub(super) const RUNS_SHOWN: i64 = 20;
/// Ticks shown with a schedule, and in a preview unless asked otherwise.
const TICKS_SHOWN: usize = 10;
/// Ticks in a preview at the most.
const TICKS_MAX: i64 = 100;
/// Clock changes that are told of.
const CHANGES_SHOWN: usize = 10;
/// How far ahead they are looked for: two years, in milliseconds.
const CHANGES_MS: i64 = 2 * 366 * 86_400_000;

/// A cron rule that makes jobs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(crate) struct ScheduleView {
    #[schema(value_type = String)]
    id: ScheduleId,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    name: String,
    cron: String,
    /// The time zone that it is read in.
    zone: String,
    /// What its jobs do: a built-in kind, one for the workers of `queue`, or `endpoint.deliver`.
    kind: String,
    #[schema(value_type = Option<String>)]
    endpoint_id: Option<EndpointId>,
    pub(crate) endpoint_name: Option<String>,
    queue: String,
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// Null: the endpoint's, else the handler's own.
    retry: Option<Retry>,
    misfire: MisfireName,
    grace_ms: i64,
    catch_up_max: i64,
    overlap: OverlapName,
    jitter_ms: i64,
    paused: bool,
    /// The next tick; null while it is paused.
    next_tick: Option<Time>,
    /// When its job is made: the tick put off by the jitter, or by a run that it waits for.
    next_run_at: Option<Time>,
    /// The last run, as long as it is known.
    last_run: Option<LastRun>,
    /// Why it cannot be used on this server.
    problem: Option<String>,
    created_at: Time,
    updated_at: Time,
}

/// The last run of a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LastRun {
    tick: Time,
    #[schema(value_type = String)]
    job_id: JobId,
    /// Null: the job is gone.
    job_state: Option<JobStateName>,
}

/// A moment that a rule names.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TickView {
    at: Time,
    /// What the schedule's clock shows then, with its offset.
    local: String,
    /// What a clock change makes of it.
    note: Option<String>,
}

/// What a rule makes of a clock change.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClockEffect {
    /// Times that do not exist run at the first moment after the gap, once for all of them.
    Moved,
    /// Times that come twice run the first time.
    FirstOfTwo,
    /// Times that do not exist are left out; the rhythm goes on.
    LeftOut,
    /// Times that come twice run twice.
    Twice,
}

/// A clock change that a rule has to do with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClockChangeView {
    at: Time,
    effect: ClockEffect,
    /// Named times that are concerned.
    count: i64,
    /// The same in a sentence.
    text: String,
}

impl From<ClockChange> for ClockChangeView {
    fn from(change: ClockChange) -> Self {
        Self {
            at: change.at.into(),
            effect: match change.effect {
                Effect::Moved => ClockEffect::Moved,
                Effect::FirstOfTwo => ClockEffect::FirstOfTwo,
                Effect::LeftOut => ClockEffect::LeftOut,
                Effect::Twice => ClockEffect::Twice,
            },
            count: change.count,
            text: change.to_string(),
        }
    }
}

/// What became of a tick.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TickOutcome)]
pub(crate) enum TickOutcomeName {
    /// It made a job.
    Run,
    /// A person asked for it; it made a job.
    ByHand,
    /// It was left out, because the last run had not ended.
    Overlapped,
    /// It was missed, and with it those before it since `since`.
    Missed,
}

/// What became of a tick, or of several that were missed together.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleRun {
    /// The tick; of several that were missed the last.
    pub(super) tick: Time,
    /// What the schedule's clock showed then, with its offset.
    local: Option<String>,
    outcome: TickOutcomeName,
    #[schema(value_type = Option<String>)]
    job_id: Option<JobId>,
    /// Null: it made no job, or the job is gone.
    job_state: Option<JobStateName>,
    /// The first of several that were missed.
    since: Option<Time>,
    /// How many ticks this stands for.
    count: i64,
    /// When it was decided.
    decided_at: Time,
}

impl ScheduleRun {
    fn of(tick: ScheduleTick, rule: Option<&Rule>, state: Option<JobState>) -> Self {
        Self {
            local: rule.map(|rule| rule.local(tick.tick)),
            tick: tick.tick.into(),
            outcome: match tick.outcome {
                TickOutcome::Run => TickOutcomeName::Run,
                TickOutcome::ByHand => TickOutcomeName::ByHand,
                TickOutcome::Overlapped => TickOutcomeName::Overlapped,
                TickOutcome::Missed => TickOutcomeName::Missed,
            },
            job_id: tick.job,
            job_state: state.map(Into::into),
            since: tick.since.map(Into::into),
            count: tick.count,
            decided_at: tick.decided_at.into(),
        }
    }
}

/// What became of a schedule's ticks before this one, with the states of their jobs.
pub(super) async fn runs(
    tx: &mut dyn Tx,
    schedule: &Schedule,
    before: Option<Timestamp>,
    limit: i64,
) -> StoreResult<Vec<ScheduleRun>> {
    let ticks = tx
        .tick_list(schedule.tenant, schedule.id, before, limit)
        .await?;
    let asked: Vec<_> = ticks
        .iter()
        .filter_map(|tick| Some((tick.tenant, tick.job?)))
        .collect();
    let states: HashMap<JobId, JobState> = tx.job_states(&asked).await?.into_iter().collect();
    let rule = rule(schedule).ok();
    let shown = ticks.into_iter().map(|tick| {
        let state = tick.job.and_then(|job| states.get(&job).copied());
        ScheduleRun::of(tick, rule.as_ref(), state)
    });
    Ok(shown.collect())
}

/// A run that has just been made.
pub(super) async fn run(
    tx: &mut dyn Tx,
    rule: &Rule,
    tick: ScheduleTick,
) -> StoreResult<ScheduleRun> {
    let asked: Vec<_> = tick.job.map(|job| (tick.tenant, job)).into_iter().collect();
    let state = tx
        .job_states(&asked)
        .await?
        .first()
        .map(|(_, state)| *state);
    Ok(ScheduleRun::of(tick, Some(rule), state))
}

/// A schedule with its next ticks and its latest runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleWithRuns {
    #[serde(flatten)]
    schedule: ScheduleView,
    /// Whether it follows the clock hour by hour, rather than naming times of a day.
    follows_clock: bool,
    /// The next ten ticks of its rule, also while it is paused.
    next_ticks: Vec<TickView>,
    /// The clock changes of the next two years that it has to do with.
    clock_changes: Vec<ClockChangeView>,
    /// What became of its latest ticks, newest first.
    runs: Vec<ScheduleRun>,
}

impl ScheduleWithRuns {
    pub(super) fn of(
        names: &Names,
        schedule: Schedule,
        runs: Vec<ScheduleRun>,
        now: Timestamp,
    ) -> Self {
        let rule = rule(&schedule).ok();
        let from = schedule.next_tick.filter(|tick| *tick <= now);
        let after = from.map_or(now, |tick| Timestamp::from_micros(tick.micros() - 1));
        let of = |rule: &Rule| (ticks(rule, after, TICKS_SHOWN), changes(rule, now));
        let (next_ticks, clock_changes) = rule.as_ref().map(of).unwrap_or_default();
        Self {
            follows_clock: rule.is_some_and(|rule| rule.follows_clock()),
            schedule: names.view(schedule),
            next_ticks,
            clock_changes,
            runs,
        }
    }
}

fn ticks(rule: &Rule, after: Timestamp, count: usize) -> Vec<TickView> {
    let first = rule.next(after);
    std::iter::successors(first, |tick| rule.next(tick.at))
        .take(count)
        .map(|tick| TickView {
            at: tick.at.into(),
            local: rule.local(tick.at),
            note: tick.oddity.map(|oddity| oddity.to_string()),
        })
        .collect()
}

fn changes(rule: &Rule, now: Timestamp) -> Vec<ClockChangeView> {
    let found = rule.changes(now, now.plus_ms(CHANGES_MS), CHANGES_SHOWN);
    found.into_iter().map(Into::into).collect()
}

/// An expression to look at.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewRequest {
    /// As in a schedule.
    #[schema(min_length = 1, max_length = 200)]
    cron: String,
    /// Left out: `UTC`.
    zone: Option<Text<64>>,
    /// Ticks after this time. Left out: from now on.
    after: Option<Time>,
    /// How many ticks.
    #[schema(minimum = 1, maximum = 100, default = 10)]
    count: Option<i64>,
}

/// What an expression names.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SchedulePreview {
    /// The time zone as it is usually written.
    zone: String,
    /// Whether the expression follows the clock hour by hour, rather than naming times of a day.
    follows_clock: bool,
    ticks: Vec<TickView>,
    /// The clock changes of the two years after that it has to do with.
    clock_changes: Vec<ClockChangeView>,
}

impl PreviewRequest {
    pub(super) fn preview(self, now: Timestamp) -> Result<SchedulePreview, Problem> {
        let count = self.count.unwrap_or(TICKS_SHOWN as i64);
        if !(1..=TICKS_MAX).contains(&count) {
            let detail = format!("must be between 1 and {TICKS_MAX}");
            return Err(Problem::field("/count", detail));
        }
        let Some((zone, name)) = zone(self.zone.as_deref().unwrap_or("UTC")) else {
            let detail = "is no time zone such as Europe/Berlin or UTC";
            return Err(Problem::field("/zone", detail));
        };
        let after = self.after.map_or(now, |time| time.0);
        let rule = Rule::new(&self.cron, zone, after)
            .map_err(|error: RuleError| Problem::field("/cron", error.to_string()))?;
        Ok(SchedulePreview {
            zone: name,
            follows_clock: rule.follows_clock(),
            ticks: ticks(&rule, after, usize::try_from(count).unwrap_or(TICKS_SHOWN)),
            clock_changes: changes(&rule, after),
        })
    }
}

/// What views show beside what a schedule says of itself.
pub(crate) struct Names {
    queues: HashMap<QueueNumber, String>,
    endpoints: HashMap<EndpointId, String>,
    states: HashMap<JobId, JobState>,
}

impl Names {
    /// For these schedules.
    pub(super) async fn load(tx: &mut dyn Tx, schedules: &[Schedule]) -> StoreResult<Self> {
        let asked: Vec<_> = schedules
            .iter()
            .filter_map(|one| Some((one.tenant, one.last_job?)))
            .collect();
        let endpoints = tx.endpoint_list().await?;
        Ok(Self {
            queues: tx.queue_list().await?.into_iter().collect(),
            endpoints: endpoints
                .into_iter()
                .map(|one| (one.id, one.name))
                .collect(),
            states: tx.job_states(&asked).await?.into_iter().collect(),
        })
    }

    /// Of these alone: without how runs went.
    pub(crate) fn of(
        queues: impl Iterator<Item = (QueueNumber, String)>,
        endpoints: impl Iterator<Item = (EndpointId, String)>,
    ) -> Self {
        Self {
            queues: queues.collect(),
            endpoints: endpoints.collect(),
            states: HashMap::new(),
        }
    }

    /// One more endpoint.
    pub(crate) fn endpoint_add(&mut self, id: EndpointId, name: String) {
        self.endpoints.insert(id, name);
    }

    /// One more queue.
    pub(crate) fn queue_add(&mut self, number: QueueNumber, name: String) {
        self.queues.insert(number, name);
    }

    /// The schedule with its names.
    pub(crate) fn view(&self, schedule: Schedule) -> ScheduleView {
        let problem = rule(&schedule).err().map(|error| error.to_string());
        let last_run = schedule.last_tick.zip(schedule.last_job);
        let policy = schedule.policy;
        ScheduleView {
            id: schedule.id,
            tenant_id: schedule.tenant,
            name: schedule.name,
            cron: schedule.cron,
            zone: schedule.zone,
            kind: schedule.kind,
            endpoint_name: schedule
                .endpoint
                .and_then(|id| self.endpoints.get(&id).cloned()),
            endpoint_id: schedule.endpoint,
            queue: self
                .queues
                .get(&schedule.queue)
                .cloned()
                .unwrap_or_default(),
            payload: schedule
                .payload
                .and_then(|text| RawValue::from_string(text).ok()),
            retry: schedule
                .retry
                .and_then(|text| serde_json::from_str(&text).ok()),
            misfire: policy.misfire.into(),
            grace_ms: policy.grace_ms,
            catch_up_max: policy.catch_up_max,
            overlap: policy.overlap.into(),
            jitter_ms: policy.jitter_ms,
            paused: schedule.paused,
            next_tick: schedule.next_tick.map(Into::into),
            next_run_at: schedule.next_at.map(Into::into),
            last_run: last_run.map(|(tick, job)| LastRun {
                tick: tick.into(),
                job_id: job,
                job_state: self.states.get(&job).copied().map(Into::into),
            }),
            problem,
            created_at: schedule.created_at.into(),
            updated_at: schedule.updated_at.into(),
        }
    }
}
