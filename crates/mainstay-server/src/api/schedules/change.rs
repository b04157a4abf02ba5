//! What a person may ask of a schedule, and what is made of it.

use std::sync::Arc;

use mainstay::{
    intake::DELIVER,
    schedules::{begin, rule, zone},
};
use mainstay_domain::{
    EndpointId, ScheduleId, TenantId, Timestamp,
    jobs::QueueNumber,
    schedules::{
        CATCH_UP_MAX, GRACE_MS, JITTER_MS_MAX, Misfire, Overlap, Policy, Schedule, due::due_at,
        rule::Rule,
    },
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    api::{jobs::is_kind, retry::Retry},
    http::{Problem, extract::Checks, text::Text},
    limits,
    state::App,
};

/// The zone of a schedule that names none.
const UTC: &str = "UTC";

/// What becomes of ticks that nobody was there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Misfire)]
pub(crate) enum MisfireName {
    /// Nothing: the next one comes in its time.
    Skip,
    /// One run for all of them, that of the latest.
    One,
    /// A run for each of the latest, up to `catch_up_max`, oldest first.
    All,
}

impl From<MisfireName> for Misfire {
    fn from(name: MisfireName) -> Self {
        match name {
            MisfireName::Skip => Self::Skip,
            MisfireName::One => Self::One,
            MisfireName::All => Self::All,
        }
    }
}

impl From<Misfire> for MisfireName {
    fn from(misfire: Misfire) -> Self {
        match misfire {
            Misfire::Skip => Self::Skip,
            Misfire::One => Self::One,
            Misfire::All => Self::All,
        }
    }
}

/// What becomes of a tick while the job of the last run has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Overlap)]
pub(crate) enum OverlapName {
    /// It runs beside it.
    Allow,
    /// It is left out.
    Skip,
    /// It waits for the end; of several that wait `misfire` says which run.
    Wait,
}

impl From<OverlapName> for Overlap {
    fn from(name: OverlapName) -> Self {
        match name {
            OverlapName::Allow => Self::Allow,
            OverlapName::Skip => Self::Skip,
            OverlapName::Wait => Self::Wait,
        }
    }
}

impl From<Overlap> for OverlapName {
    fn from(overlap: Overlap) -> Self {
        match overlap {
            Overlap::Allow => Self::Allow,
            Overlap::Skip => Self::Skip,
            Overlap::Wait => Self::Wait,
        }
    }
}

/// A schedule to add. Where its jobs go is named by `endpoint`, by a built-in `kind`, or by a `kind` of the team's own and
/// the `queue` that its workers ask.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSchedule {
    /// Unique in the tenant.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    name: String,
    /// Whose it is. Left out: the key's tenant, else the default one.
    #[schema(value_type = Option<String>, pattern = "^ten_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    tenant_id: Option<TenantId>,
    /// Five fields (minute hour day month weekday), six with seconds first, or `@hourly`, `@daily`, `@weekly`,
    /// `@monthly`, `@yearly`.
    #[schema(min_length = 1, max_length = 200)]
    cron: String,
    /// The IANA name of the time zone that it is read in. Left out: `UTC`.
    zone: Option<Text<64>>,
    /// Push to this endpoint, by its id or name.
    endpoint: Option<Text<100>>,
    /// Or run this built-in job kind, e.g. `noop`; or one of the team's own, for the workers of `queue`.
    kind: Option<Text<100>>,
    /// Where jobs of a kind of the team's own wait for a worker.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    queue: Option<String>,
    /// What its jobs are told beside their tick: at most 16 KiB.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// Left out: the endpoint's, else the handler's own.
    retry: Option<Retry>,
    /// Left out: `one`.
    misfire: Option<MisfireName>,
    /// How late a tick may be and not be missed, in milliseconds.
    #[schema(minimum = 1000, maximum = 86400000, default = 60000)]
    grace_ms: Option<i64>,
    /// How many missed ticks `misfire: all` makes up for.
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    catch_up_max: Option<i64>,
    /// Left out: `allow`.
    overlap: Option<OverlapName>,
    /// A run is put off by up to this, in milliseconds, always the same for a tick, never as far as the next one.
    #[schema(minimum = 0, maximum = 3600000, default = 0)]
    jitter_ms: Option<i64>,
    /// Whether it makes no jobs until it is resumed.
    #[serde(default)]
    paused: bool,
}

/// What is to change.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ScheduleChange {
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub(crate) name: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    cron: Option<String>,
    zone: Option<Text<64>>,
    /// Push to this endpoint from now on.
    endpoint: Option<Text<100>>,
    /// Run this built-in job kind from now on, or one of the team's own, for the workers of `queue`.
    kind: Option<Text<100>>,
    /// Where jobs of a kind of the team's own wait for a worker. Beside `kind`.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    queue: Option<String>,
    /// Null: none any more.
    #[serde(deserialize_with = "also_null")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    retry: Option<Retry>,
    misfire: Option<MisfireName>,
    #[schema(minimum = 1000, maximum = 86400000)]
    grace_ms: Option<i64>,
    #[schema(minimum = 1, maximum = 1000)]
    catch_up_max: Option<i64>,
    overlap: Option<OverlapName>,
    #[schema(minimum = 0, maximum = 3600000)]
    jitter_ms: Option<i64>,
}

/// A null that is written is more than nothing.
fn also_null<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// Where jobs are to go.
pub(crate) enum Target {
    /// Pushed to an endpoint.
    Endpoint { id: EndpointId, queue: QueueNumber },
    /// A built-in kind, or one for workers.
    Kind { kind: String, queue: QueueNumber },
}

/// Where jobs that are for no endpoint wait.
#[derive(Clone)]
pub(crate) enum Waits {
    /// In the queue of a built-in kind.
    Builtin(QueueNumber),
    /// In a queue that workers ask, by its name.
    Worker(String),
}

/// A new schedule, checked.
pub(super) struct CheckedNew {
    name: String,
    pub(super) tenant: Option<TenantId>,
    paused: bool,
    pub(super) change: Checked,
}

/// A change, checked.
pub(crate) struct Checked {
    name: Option<String>,
    cron: Option<String>,
    zone: Option<String>,
    pub(crate) endpoint: Option<Text<100>>,
    pub(crate) kind: Option<(String, Waits)>,
    /// Inside: none any more.
    payload: Option<Option<String>>,
    retry: Option<String>,
    misfire: Option<Misfire>,
    grace_ms: Option<i64>,
    catch_up_max: Option<i64>,
    overlap: Option<Overlap>,
    jitter_ms: Option<i64>,
}

impl NewSchedule {
    pub(super) fn checked(self, app: &App) -> Result<CheckedNew, Problem> {
        let mut checks = Checks::default();
        let named = usize::from(self.endpoint.is_some()) + usize::from(self.kind.is_some());
        checks.ensure(named == 1, "/endpoint", "give one of endpoint and kind");
        checks.slug("/name", &self.name);
        let change = ScheduleChange {
            name: None,
            cron: Some(self.cron),
            zone: self.zone,
            endpoint: self.endpoint,
            kind: self.kind,
            queue: self.queue,
            payload: self.payload,
            retry: self.retry,
            misfire: self.misfire,
            grace_ms: self.grace_ms,
            catch_up_max: self.catch_up_max,
            overlap: self.overlap,
            jitter_ms: self.jitter_ms,
        };
        let change = change.checked(app, &mut checks);
        checks.done()?;
        Ok(CheckedNew {
            name: self.name,
            tenant: self.tenant_id,
            paused: self.paused,
            change,
        })
    }
}

impl CheckedNew {
    /// Still without a rule and without a place where its jobs go.
    pub(super) fn fresh(&self, id: ScheduleId, tenant: TenantId, now: Timestamp) -> Schedule {
        Schedule {
            name: self.name.clone(),
            paused: self.paused,
            ..fresh(id, tenant, now)
        }
    }
}

/// A schedule that says nothing yet, with every default.
pub(crate) fn fresh(id: ScheduleId, tenant: TenantId, now: Timestamp) -> Schedule {
    Schedule {
        id,
        tenant,
        name: String::new(),
        cron: String::new(),
        zone: UTC.into(),
        kind: String::new(),
        endpoint: None,
        queue: 0,
        payload: None,
        retry: None,
        policy: Policy::default(),
        paused: false,
        next_tick: None,
        next_at: None,
        last_tick: None,
        last_job: None,
        created_at: now,
        updated_at: now,
        revision: 0,
    }
}

impl ScheduleChange {
    /// Whether it says where jobs go, in one way.
    pub(crate) const fn names_target(&self) -> bool {
        self.endpoint.is_some() != self.kind.is_some()
    }

    pub(crate) fn checked(&self, app: &App, checks: &mut Checks) -> Checked {
        if let Some(name) = &self.name {
            checks.slug("/name", name);
        }
        let zone = self.zone.as_deref().map(zone);
        checks.ensure(
            !matches!(zone, Some(None)),
            "/zone",
            "is no time zone such as Europe/Berlin or UTC",
        );
        let both = self.endpoint.is_some() && self.kind.is_some();
        checks.ensure(
            !both,
            "/endpoint",
            "stands beside kind: give one of the two",
        );
        let mut number = |pointer: &str, asked: Option<i64>, least: i64, most: i64| {
            let fits = asked.is_none_or(|number| (least..=most).contains(&number));
            checks.ensure(
                fits,
                pointer,
                &format!("must be between {least} and {most}"),
            );
        };
        number(
            "/grace_ms",
            self.grace_ms,
            *GRACE_MS.start(),
            *GRACE_MS.end(),
        );
        number("/catch_up_max", self.catch_up_max, 1, CATCH_UP_MAX);
        number("/jitter_ms", self.jitter_ms, 0, JITTER_MS_MAX);
        let payload = self
            .payload
            .as_ref()
            .map(|payload| payload.get().to_owned());
        let most = limits::SCHEDULE_PAYLOAD_BYTES_MAX;
        checks.ensure(
            payload.as_ref().is_none_or(|text| text.len() <= most),
            "/payload",
            &format!("must have at most {most} bytes"),
        );
        let kind = self
            .kind
            .as_deref()
            .and_then(|kind| own_kind(app, kind, self.queue.as_deref(), checks));
        checks.ensure(
            self.queue.is_none() || self.kind.is_some(),
            "/queue",
            "stands beside kind: workers ask a queue for jobs of kinds",
        );
        Checked {
            name: self.name.clone(),
            cron: self.cron.clone(),
            zone: zone.flatten().map(|(_, name)| name),
            endpoint: self.endpoint.clone(),
            kind,
            payload: payload.map(|text| (text != "null").then_some(text)),
            retry: self
                .retry
                .as_ref()
                .and_then(|retry| own_retry(retry, checks)),
            misfire: self.misfire.map(Into::into),
            grace_ms: self.grace_ms,
            catch_up_max: self.catch_up_max,
            overlap: self.overlap.map(Into::into),
            jitter_ms: self.jitter_ms,
        }
    }
}

/// A built-in kind that does without an event, or one for workers, and where its jobs wait.
fn own_kind(
    app: &App,
    kind: &str,
    queue: Option<&str>,
    checks: &mut Checks,
) -> Option<(String, Waits)> {
    if let Some(own) = app.mainstay.builtin.get(kind).copied() {
        let handler = app.mainstay.handlers.get(kind).map(Arc::as_ref);
        if handler.is_none_or(mainstay::jobs::Handler::needs_event) {
            checks.fail("/kind", "works on events: a binding makes its jobs");
        }
        checks.ensure(
            queue.is_none(),
            "/queue",
            "cannot be given: this kind is built in and has a queue of its own",
        );
        return Some((kind.to_owned(), Waits::Builtin(own)));
    }
    checks.ensure(
        is_kind(kind) && kind != DELIVER,
        "/kind",
        "is no built-in kind, and none for workers: 1 to 100 lower-case letters, digits, '.', '-' or '_'",
    );
    let Some(queue) = queue else {
        checks.fail(
            "/kind",
            "is no built-in kind; for one of your own give the queue that its workers ask as well",
        );
        return None;
    };
    checks.slug("/queue", queue);
    checks.ensure(
        !app.mainstay.builtin_queues.contains(queue),
        "/queue",
        "is a queue of built-in jobs: no worker takes what waits there",
    );
    Some((kind.to_owned(), Waits::Worker(queue.to_owned())))
}

fn own_retry(retry: &Retry, checks: &mut Checks) -> Option<String> {
    match retry.policy("/retry") {
        Ok(policy) => serde_json::to_string(&policy).ok(),
        Err(problem) => {
            checks.below("", problem);
            None
        }
    }
}

impl Checked {
    /// The same as a declaration: what it leaves out is the default also of a schedule that had another.
    pub(crate) fn declared(mut self) -> Self {
        self.zone.get_or_insert_with(|| UTC.into());
        self.jitter_ms.get_or_insert(0);
        self
    }

    /// Makes the change, and reckons the next tick anew where that is another one now.
    pub(crate) fn apply(
        &self,
        schedule: &mut Schedule,
        target: Option<Target>,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let before = (schedule.cron.clone(), schedule.zone.clone());
        set(&mut schedule.name, self.name.clone());
        set(&mut schedule.cron, self.cron.clone());
        set(&mut schedule.zone, self.zone.clone());
        set(&mut schedule.payload, self.payload.clone());
        if self.retry.is_some() {
            schedule.retry.clone_from(&self.retry);
        }
        let policy = &mut schedule.policy;
        set(&mut policy.misfire, self.misfire);
        set(&mut policy.grace_ms, self.grace_ms);
        set(&mut policy.catch_up_max, self.catch_up_max);
        set(&mut policy.overlap, self.overlap);
        set(&mut policy.jitter_ms, self.jitter_ms);
        match target {
            None => {}
            Some(Target::Endpoint { id, queue }) => {
                (schedule.kind, schedule.endpoint) = (DELIVER.into(), Some(id));
                schedule.queue = queue;
            }
            Some(Target::Kind { kind, queue }) => {
                (schedule.kind, schedule.endpoint) = (kind, None);
                schedule.queue = queue;
            }
        }
        schedule.updated_at = now;
        let anew = before != (schedule.cron.clone(), schedule.zone.clone());
        let rule = checked_rule(schedule, now)?;
        if anew {
            begin(schedule, &rule, now);
        } else if self.jitter_ms.is_some() {
            let jitter_ms = schedule.policy.jitter_ms;
            let tick = schedule.next_tick;
            schedule.next_at = tick.map(|tick| due_at(&rule, jitter_ms, schedule.id, tick));
        }
        Ok(())
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// A rule that still names a time.
fn checked_rule(schedule: &Schedule, now: Timestamp) -> Result<Rule, Problem> {
    let read = rule(schedule).map_err(|error| match error {
        mainstay::schedules::Unusable::Zone => Problem::field("/zone", error.to_string()),
        mainstay::schedules::Unusable::Rule(_) => Problem::field("/cron", error.to_string()),
    })?;
    match read.next(now) {
        Some(_) => Ok(read),
        None => Err(Problem::field("/cron", "names a time that never comes")),
    }
}
