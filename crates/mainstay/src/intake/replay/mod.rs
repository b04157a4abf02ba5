//! Replay: events that are kept are given to bindings, or to an endpoint chosen for it, once more. First the plan, then
//! the jobs, step by step, at a rate.
//!
//! A step reads without a lock what comes next, and then writes, in one short commit, its jobs and how far it is. The
//! commit holds only when nobody else has written since (the revision): killed in between, paused meanwhile or run by two
//! nodes at once, nothing is made twice and nothing is left out. What a plan says is found by the same walk.

mod dry;
mod run;
mod step;
mod walk;

use mainstay_domain::{
    BindingId, Clock, EventId, JobId, Random, ReplayId, Scope, Store, StoreError, StoreExt,
    StoreResult, TenantId, Timestamp, Tx,
    intake::{
        EventFilter,
        replay::{Replay, ReplayCounts, ReplayState, ReplayTarget},
    },
    jobs::NewJob,
};
use serde::{Deserialize, Serialize};

use super::BuiltinQueues;
pub use dry::{DRY_MAX, DryJob, DryOutcome, DryRun, dry_run};
pub use run::Replays;
pub(crate) use run::run;
use walk::{Ground, Place};

/// The band that jobs of replays wait in: after everything that is live.
pub(crate) const BAND: i16 = 2;
/// Events that a plan looks at; beyond them it says "at least".
pub const PLANNED_MAX: i64 = 10_000;
/// Tenants that a plan looks at.
const PLANNED_TENANTS_MAX: usize = 1_000;
/// Events of a selection by id whose tenant is looked up first.
const FEW: usize = 20;
/// Jobs a second, unless asked otherwise.
pub const RATE: i64 = 50;
/// Jobs a second at the most.
pub const RATE_MAX: i64 = 500;
/// Jobs of one replay that may be unfinished at once, unless asked otherwise.
pub const UNFINISHED: i64 = 200;
/// The same at the most. Their ids are kept with the replay.
pub const UNFINISHED_MAX: i64 = 500;
/// The share of failures that stops a replay, unless asked otherwise.
pub const STOP_PERCENT: i64 = 50;
/// Replays of a tenant (or over every tenant) that may make jobs at the same time.
pub const OPEN_MAX: i64 = 20;

/// Why a replay was stopped: a person did.
pub const BY_PERSON: &str = "person";
/// Why a replay was stopped: too many of its jobs failed. It can be gone on with.
pub const BY_FAILURES: &str = "failures";
/// Why a replay was stopped: the binding that it goes to is gone.
pub const BINDING_GONE: &str = "binding_gone";
/// Why a replay was stopped: the endpoint that it goes to is gone.
pub const ENDPOINT_GONE: &str = "endpoint_gone";

/// What is asked of a replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Which events. Its tenant is the replay's; it has no cursor.
    pub filter: EventFilter,
    /// Jobs a second.
    pub rate: i64,
    /// Jobs that may be unfinished at once.
    pub unfinished_max: i64,
    /// The share of failures among its latest jobs that stops it, in percent; 0: none does.
    pub stop_percent: i64,
    /// Whether an event is left out where a job of the same binding (or endpoint) is done already.
    pub skip_done: bool,
    /// How many events were selected when it was asked for, as far as a plan looks. Not asked: found.
    pub selected: i64,
    /// Whether there were more.
    pub selected_more: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            filter: EventFilter::default(),
            rate: RATE,
            unfinished_max: UNFINISHED,
            stop_percent: STOP_PERCENT,
            skip_done: false,
            selected: 0,
            selected_more: false,
        }
    }
}

/// A replay as somebody asks for it.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked.
    pub terms: Terms,
    /// Where the events go.
    pub target: ReplayTarget,
    /// Who asks.
    pub by: String,
}

impl Request {
    /// A replay of these events to every binding that matches, on the usual terms.
    pub fn new(filter: EventFilter, by: &str) -> Self {
        Self {
            terms: Terms {
                filter,
                ..Terms::default()
            },
            target: ReplayTarget::Bindings,
            by: by.to_owned(),
        }
    }

    /// As it is asked in this scope at this time: of the scope's tenant, and about nothing that comes later.
    async fn in_scope(
        mut self,
        store: &dyn Store,
        scope: Scope,
        now: Timestamp,
    ) -> StoreResult<Self> {
        let filter = &mut self.terms.filter;
        filter.tenant = scope.tenant().or(filter.tenant);
        // A few events of one tenant are not looked for among all tenants.
        if filter.tenant.is_none() && !filter.ids.is_empty() && filter.ids.len() <= FEW {
            filter.tenant = tenant_of(store, scope, filter.ids.clone()).await?;
        }
        filter.before = None;
        // What came in this very moment is there already.
        let until = Timestamp::from_micros(now.micros() + 1_000);
        filter.to = Some(filter.to.map_or(until, |to| to.min(until)));
        Ok(self)
    }
}

/// The tenant that all of these events belong to.
async fn tenant_of(
    store: &dyn Store,
    scope: Scope,
    ids: Vec<EventId>,
) -> StoreResult<Option<TenantId>> {
    store
        .read(scope, move |tx| {
            let ids = ids.clone();
            Box::pin(async move {
                let mut tenant = None;
                for id in ids {
                    let Some(event) = tx.event_get(id).await? else {
                        continue;
                    };
                    if tenant
                        .replace(event.tenant)
                        .is_some_and(|one| one != event.tenant)
                    {
                        return Ok(None);
                    }
                }
                Ok(tenant)
            })
        })
        .await
}

/// What a replay would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Events selected.
    pub events: i64,
    /// Jobs that would be made.
    pub jobs: i64,
    /// Jobs that are done already for these events: made once more, or left out where that is asked.
    pub already_done: i64,
    /// Where the jobs go, by name.
    pub goals: Vec<PlannedGoal>,
    /// Whether there are more events than a plan looks at: each number is then at least so large.
    pub at_least: bool,
    /// How long it takes to make the jobs, at the rate.
    pub duration_secs: i64,
}

/// What a plan says of one binding, or of the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedGoal {
    /// The binding; none: the endpoint that was chosen.
    pub binding: Option<BindingId>,
    /// Its name.
    pub name: String,
    /// Jobs that would be made for it.
    pub jobs: i64,
    /// Events that have a job for it that is done.
    pub already_done: i64,
}

/// How far a replay is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Progress {
    place: Place,
    /// Whether every event was looked at.
    looked: bool,
    /// Until when the jobs that were made have been paid for, at the rate.
    paid_until: Timestamp,
    /// Jobs that have not ended.
    open: Vec<Open>,
    /// How the latest jobs went the first time: `o`, or `x` where they failed.
    recent: String,
}

/// A job of a replay that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Open {
    #[serde(rename = "t")]
    tenant: TenantId,
    #[serde(rename = "j")]
    job: JobId,
    /// Whether it has failed before.
    #[serde(rename = "f", default, skip_serializing_if = "is_false")]
    failed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> StoreResult<T> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Corrupt(format!("a replay cannot be read: {error}")))
}

fn written<T: Serialize>(value: &T) -> StoreResult<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Bug(error.to_string()))
}

/// What was asked of a replay.
pub fn terms(replay: &Replay) -> StoreResult<Terms> {
    read(&replay.request)
}

/// What would happen.
pub async fn plan(
    store: &dyn Store,
    clock: &dyn Clock,
    builtin: &BuiltinQueues,
    scope: Scope,
    request: Request,
) -> StoreResult<Plan> {
    let request = request.in_scope(store, scope, clock.now()).await?;
    let builtin = builtin.clone();
    store
        .read(scope, move |tx| {
            let (request, builtin) = (request.clone(), builtin.clone());
            Box::pin(async move { plan_in(tx, &builtin, &request).await })
        })
        .await
}

async fn plan_in(tx: &mut dyn Tx, builtin: &BuiltinQueues, request: &Request) -> StoreResult<Plan> {
    let ground = Ground::load(tx, builtin, request.target).await?;
    let (mut plan, mut place) = (Plan::default(), Place::default());
    let (mut seen, mut tenants) = (0, 0);
    loop {
        if seen >= PLANNED_MAX || tenants >= PLANNED_TENANTS_MAX {
            plan.at_least = place.more(tx, &request.terms.filter).await?;
            break;
        }
        let limit = (PLANNED_MAX - seen).min(walk::PAGE);
        let Some(page) = place.next(tx, &request.terms.filter, limit).await? else {
            break;
        };
        seen += page.seen;
        tenants += usize::from(page.last);
        let found = ground.goals(tx, &page.events, true).await?;
        plan.events += page.events.len() as i64;
        for goal in found.iter().flatten() {
            plan.add(goal, request.terms.skip_done);
        }
        place.pass(&page);
    }
    plan.goals.sort_by(|a, b| a.name.cmp(&b.name));
    // A step is taken each second, and makes no more than may be unfinished.
    let a_second = request.terms.rate.min(request.terms.unfinished_max).max(1);
    plan.duration_secs = (plan.jobs + a_second - 1) / a_second;
    Ok(plan)
}

impl Plan {
    fn add(&mut self, goal: &walk::Goal<'_>, skip_done: bool) {
        let known = self
            .goals
            .iter()
            .position(|one| one.binding == goal.binding && one.name == goal.name);
        let at = known.unwrap_or_else(|| {
            self.goals.push(PlannedGoal {
                binding: goal.binding,
                name: goal.name.to_owned(),
                jobs: 0,
                already_done: 0,
            });
            self.goals.len() - 1
        });
        let (done, made) = (i64::from(goal.done), i64::from(!(goal.done && skip_done)));
        self.already_done += done;
        self.jobs += made;
        if let Some(one) = self.goals.get_mut(at) {
            one.already_done += done;
            one.jobs += made;
        }
    }
}

/// A replay that is about to begin, with its first jobs.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The replay.
    pub replay: Replay,
    jobs: Vec<NewJob>,
}

impl Prepared {
    /// Looks at the first events. Nothing is written yet.
    pub async fn new(
        store: &dyn Store,
        clock: &dyn Clock,
        random: &dyn Random,
        builtin: &BuiltinQueues,
        scope: Scope,
        request: Request,
    ) -> StoreResult<Self> {
        let now = clock.now();
        let mut request = request.in_scope(store, scope, now).await?;
        let terms = &mut request.terms;
        (terms.selected, terms.selected_more) = selected(store, scope, &terms.filter).await?;
        let replay = Replay {
            id: ReplayId::new(now, random),
            tenant: request.terms.filter.tenant,
            created_at: now,
            by: request.by,
            own: scope.tenant().is_some(),
            target: request.target,
            request: written(&request.terms)?,
            state: ReplayState::Running,
            reason: None,
            ended_at: None,
            counts: ReplayCounts::default(),
            progress: written(&Progress::default())?,
            revision: 0,
        };
        let (replay, jobs) = step::next(store, now, random, builtin, scope, replay).await?;
        Ok(Self { replay, jobs })
    }

    /// Writes it, in a transaction of the caller's, who wakes the engine afterwards. `None`: as many as may be open are.
    pub async fn insert(&self, tx: &mut dyn Tx) -> StoreResult<Option<()>> {
        if tx.replay_open(self.replay.tenant).await? >= OPEN_MAX {
            return Ok(None);
        }
        tx.replay_insert(&self.replay, &self.jobs).await.map(Some)
    }
}

/// What a person wishes about a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Make no more jobs for now.
    Pause,
    /// Go on.
    Resume,
    /// Make no more jobs.
    Stop,
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wished {
    /// There is no such replay.
    Missing,
    /// It is as it was wished already.
    Already(Replay),
    /// It was changed.
    Changed(Replay),
    /// It cannot be done in the state that it is in.
    Refused(Replay),
    /// As many as may be open are.
    TooMany,
}

/// Does what a person wishes, in a transaction of the caller's. What was made goes on.
pub async fn wish(
    tx: &mut dyn Tx,
    id: ReplayId,
    wish: Wish,
    now: Timestamp,
) -> StoreResult<Wished> {
    use ReplayState::{Finishing, Paused, Running, Stopped};
    let Some(mut replay) = tx.replay_get(id).await? else {
        return Ok(Wished::Missing);
    };
    let by_failures = replay.reason.as_deref() == Some(BY_FAILURES);
    match (wish, replay.state) {
        (Wish::Pause, Paused) | (Wish::Stop, Stopped) => return Ok(Wished::Already(replay)),
        (Wish::Resume, Running | Finishing) => return Ok(Wished::Already(replay)),
        (Wish::Pause, Running) => replay.state = Paused,
        (Wish::Stop, Running | Paused) => {
            replay.state = Stopped;
            replay.reason = Some(BY_PERSON.to_owned());
            replay.ended_at = Some(now);
        }
        (Wish::Resume, Paused) => replay.state = Running,
        (Wish::Resume, Stopped) if by_failures => {
            if tx.replay_open(replay.tenant).await? >= OPEN_MAX {
                return Ok(Wished::TooMany);
            }
            replay.state = Running;
            replay.reason = None;
            replay.ended_at = None;
            // What failed before does not stop it again.
            let mut progress: Progress = read(&replay.progress)?;
            progress.recent.clear();
            replay.progress = written(&progress)?;
        }
        _ => return Ok(Wished::Refused(replay)),
    }
    tx.replay_update(&replay, &[]).await?;
    replay.revision += 1;
    Ok(Wished::Changed(replay))
}

/// How many events are selected, as far as a plan looks, and whether there are more.
async fn selected(
    store: &dyn Store,
    scope: Scope,
    filter: &EventFilter,
) -> StoreResult<(i64, bool)> {
    let filter = filter.clone();
    store
        .read(scope, move |tx| {
            let filter = filter.clone();
            Box::pin(async move {
                let (mut place, mut events) = (Place::default(), 0);
                let (mut seen, mut tenants) = (0, 0);
                while seen < PLANNED_MAX && tenants < PLANNED_TENANTS_MAX {
                    let Some(page) = place.next(tx, &filter, walk::PAGE).await? else {
                        return Ok((events, false));
                    };
                    seen += page.seen;
                    tenants += usize::from(page.last);
                    events += page.events.len() as i64;
                    place.pass(&page);
                }
                Ok((events, place.more(tx, &filter).await?))
            })
        })
        .await
}
