//! Replays: events that are kept are given to bindings, or to an endpoint, once more. First the plan, then the jobs, at
//! a rate, until all are made or somebody says stop.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::future::try_join_all;
use mainstay::{
    intake::replay::{self, DryJob, DryOutcome, DryRun, Prepared, Terms, Wish, Wished, dry_run},
    jobs::Effect,
};
use mainstay_domain::{
    BindingId, EndpointId, EventId, ReplayId, SourceId, StoreExt, StoreResult, TenantId,
    intake::{
        EventFilter,
        replay::{Replay, ReplayFilter, ReplayState, ReplayTarget},
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    events::{self, EventStatusName},
    page::{Cursor, Page, limit, page},
    resolve,
};
use crate::{
    access::{
        Caller,
        idempotency::{Done, write},
        reads::Look,
    },
    http::{
        Code, Problem,
        extract::{Checks, Id, Input, NoInput, Params},
        text::{EventIdText, Name, Text},
    },
    limits,
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(replay_list, replay_create))
        .routes(routes!(replay_get))
        .routes(routes!(replay_pause))
        .routes(routes!(replay_resume))
        .routes(routes!(replay_stop))
}

/// How often a change is tried again that the replay's own step was faster than.
const TRIES: usize = 5;

/// Which events.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReplaySelection {
    /// Exactly these; of the rest only what they match as well.
    #[schema(value_type = Option<Vec<EventIdText>>, min_items = 1, max_items = 1000)]
    event_ids: Option<Vec<EventId>>,
    /// A source's name or id.
    source: Option<Text<100>>,
    /// A type; with a trailing `*` all that begin so.
    #[serde(rename = "type")]
    #[schema(value_type = Option<Name<200>>)]
    kind: Option<String>,
    status: Option<EventStatusName>,
    /// Only those that violate the schema of their type.
    violates: bool,
    /// Only those that came again with other content.
    conflicts: bool,
    /// Received at or after.
    from: Option<Time>,
    /// Received before. What comes in after the replay was asked for is never replayed.
    to: Option<Time>,
    /// A tenant's id or slug.
    tenant: Option<Text<100>>,
    /// An event's id, or the provider's; or, where no event is called so, the id of an object that stands in events.
    q: Option<Text<300>>,
    /// The id of an object that stands in events.
    object: Option<Text<200>>,
}

/// A replay to plan or to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayRequest {
    selection: ReplaySelection,
    /// The one binding that the events go to, whatever its types and filter. Left out: every enabled one of their source
    /// that matches when their turn comes.
    #[schema(value_type = Option<String>, pattern = "^bnd_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    binding_id: Option<BindingId>,
    /// Instead of bindings: the one endpoint that the events are pushed to, a sandbox. It must belong to the tenant of
    /// the event, or of the event's source.
    #[schema(value_type = Option<String>, pattern = "^ep_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    endpoint_id: Option<EndpointId>,
    /// Jobs to make in a second.
    #[schema(minimum = 1, maximum = 500, default = 50)]
    rate_per_second: Option<i64>,
    /// Jobs of this replay that may be unfinished at once: beyond them it waits.
    #[schema(minimum = 1, maximum = 500, default = 200)]
    unfinished_max: Option<i64>,
    /// The share of its latest hundred jobs (and at least twenty) whose first try failed that stops it, in percent; 0: none
    /// does.
    #[schema(minimum = 0, maximum = 100, default = 50)]
    stop_on_failures_percent: Option<i64>,
    /// Leave out an event where a job of the same binding (or endpoint) is done already.
    #[serde(default)]
    skip_done: bool,
    /// Only say what would happen.
    plan: bool,
    /// In a plan: a dry run of the first 100 events, which says what built-in handlers would change.
    #[serde(default)]
    effects: bool,
}

/// What a replay would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayPlan {
    /// Events selected.
    events: i64,
    /// Jobs to make.
    jobs: i64,
    /// Jobs that are done already for these events; made once more unless `skip_done`.
    already_done: i64,
    /// Where the jobs go, by name.
    goals: Vec<ReplayPlanGoal>,
    /// Whether there are more events than a plan looks at (10,000): each number is at least so large.
    at_least: bool,
    rate_per_second: i64,
    /// How long the jobs take to be made, at this rate.
    duration_secs: i64,
    /// The dry run, where it was asked for.
    effects: Option<ReplayDryRun>,
}

/// What built-in handlers would change, as the database is now. Nothing is changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayDryRun {
    /// Events that were tried, oldest first.
    events: i64,
    /// Whether there are more.
    more: bool,
    jobs: Vec<ReplayDryJob>,
}

/// What one job would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayDryJob {
    #[schema(value_type = String)]
    event_id: EventId,
    /// The event's type.
    #[serde(rename = "type")]
    event_kind: String,
    /// The binding; null: the endpoint that was named.
    #[schema(value_type = Option<String>)]
    binding_id: Option<BindingId>,
    name: String,
    /// The job's kind.
    kind: String,
    /// The rows that it would touch; null where nobody can tell, as with a push to an endpoint.
    changes: Option<Vec<ReplayChange>>,
    /// Why it would fail.
    failure: Option<ReplayDryFailure>,
}

/// A row before and after. The same twice: it stays as it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayChange {
    /// What such a row is called.
    what: String,
    /// Null: it is not there.
    before: Option<serde_json::Value>,
    /// Null: it would be gone.
    after: Option<serde_json::Value>,
}

/// Why a job would fail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayDryFailure {
    code: String,
    error: String,
}

impl From<DryRun> for ReplayDryRun {
    fn from(dry: DryRun) -> Self {
        Self {
            events: dry.events,
            more: dry.more,
            jobs: dry.jobs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<DryJob> for ReplayDryJob {
    fn from(job: DryJob) -> Self {
        let (changes, failure) = match job.outcome {
            DryOutcome::Untold => (None, None),
            DryOutcome::Failure(code, error) => (None, Some(ReplayDryFailure { code, error })),
            DryOutcome::Effects(effects) => {
                let change = |effect: Effect| ReplayChange {
                    what: effect.what.to_owned(),
                    before: effect.before,
                    after: effect.after,
                };
                (Some(effects.into_iter().map(change).collect()), None)
            }
        };
        Self {
            event_id: job.event,
            event_kind: job.event_kind,
            binding_id: job.binding,
            name: job.name,
            kind: job.kind,
            changes,
            failure,
        }
    }
}

/// What a plan says of one binding, or of the endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayPlanGoal {
    /// The binding; null: the endpoint that was named.
    #[schema(value_type = Option<String>)]
    binding_id: Option<BindingId>,
    name: String,
    /// Jobs to make for it.
    jobs: i64,
    /// Events that have a job for it that is done already.
    already_done: i64,
}

impl ReplayPlan {
    fn of(plan: replay::Plan, rate: i64, effects: Option<DryRun>) -> Self {
        Self {
            events: plan.events,
            jobs: plan.jobs,
            already_done: plan.already_done,
            goals: plan
                .goals
                .into_iter()
                .map(|goal| ReplayPlanGoal {
                    binding_id: goal.binding,
                    name: goal.name,
                    jobs: goal.jobs,
                    already_done: goal.already_done,
                })
                .collect(),
            at_least: plan.at_least,
            rate_per_second: rate,
            duration_secs: plan.duration_secs,
            effects: effects.map(Into::into),
        }
    }
}

/// How a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ReplayState)]
pub(crate) enum ReplayStateName {
    /// Events are left to look at.
    Running,
    /// Held; what was made goes on.
    Paused,
    /// Every event was looked at; some of its jobs have not ended.
    Finishing,
    /// Every event was looked at, every job has ended.
    Done,
    /// Ended before its time; what was made goes on.
    Stopped,
}

impl From<ReplayState> for ReplayStateName {
    fn from(state: ReplayState) -> Self {
        match state {
            ReplayState::Running => Self::Running,
            ReplayState::Paused => Self::Paused,
            ReplayState::Finishing => Self::Finishing,
            ReplayState::Done => Self::Done,
            ReplayState::Stopped => Self::Stopped,
        }
    }
}

impl From<ReplayStateName> for ReplayState {
    fn from(state: ReplayStateName) -> Self {
        match state {
            ReplayStateName::Running => Self::Running,
            ReplayStateName::Paused => Self::Paused,
            ReplayStateName::Finishing => Self::Finishing,
            ReplayStateName::Done => Self::Done,
            ReplayStateName::Stopped => Self::Stopped,
        }
    }
}

/// Which events a replay is about, as it was asked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplaySelected {
    /// How many events were named by their ids.
    event_ids: i64,
    #[schema(value_type = Option<String>)]
    source_id: Option<SourceId>,
    #[serde(rename = "type")]
    kind: Option<String>,
    status: Option<EventStatusName>,
    violates: bool,
    conflicts: bool,
    from: Option<Time>,
    to: Option<Time>,
    provider_id: Option<String>,
    /// The id of an object that stands in them.
    object: Option<String>,
}

/// A replay.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Replay)]
pub(crate) struct ReplayView {
    #[schema(value_type = String)]
    id: ReplayId,
    /// The tenant whose events are replayed; null: those of every tenant.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    created_at: Time,
    /// Who asked for it.
    by: String,
    selection: ReplaySelected,
    /// The one binding that the events go to; null: every one that matches, or the endpoint.
    #[schema(value_type = Option<String>)]
    binding_id: Option<BindingId>,
    /// The endpoint that the events go to without any binding.
    #[schema(value_type = Option<String>)]
    endpoint_id: Option<EndpointId>,
    rate_per_second: i64,
    unfinished_max: i64,
    stop_on_failures_percent: i64,
    skip_done: bool,
    state: ReplayStateName,
    /// Why it was stopped: `person`, `failures` (it can be resumed), `binding_gone` or `endpoint_gone`.
    reason: Option<String>,
    ended_at: Option<Time>,
    /// Events that were selected when it was asked for.
    selected: i64,
    /// Whether there were more: no more than 10,000 are counted.
    selected_at_least: bool,
    /// Events that were looked at.
    events: i64,
    /// Jobs that were made.
    jobs: i64,
    /// Jobs that were left out, being done already.
    skipped: i64,
    /// Jobs that were done.
    done: i64,
    /// Jobs that became dead letters.
    dead: i64,
    /// Jobs that a person cancelled.
    cancelled: i64,
    /// Jobs that have not ended yet.
    unfinished: i64,
}

impl ReplayView {
    pub(super) fn of(replay: Replay) -> StoreResult<Self> {
        let terms = replay::terms(&replay)?;
        let (filter, counts) = (terms.filter, replay.counts);
        let (binding_id, endpoint_id) = match replay.target {
            ReplayTarget::Bindings => (None, None),
            ReplayTarget::Binding(id) => (Some(id), None),
            ReplayTarget::Endpoint(id) => (None, Some(id)),
        };
        Ok(Self {
            id: replay.id,
            tenant_id: replay.tenant,
            created_at: replay.created_at.into(),
            by: replay.by,
            selection: ReplaySelected {
                event_ids: filter.ids.len() as i64,
                source_id: filter.source,
                kind: filter.kind,
                status: filter.status.map(Into::into),
                violates: filter.violates,
                conflicts: filter.conflicts,
                from: filter.from.map(Into::into),
                to: filter.to.map(Into::into),
                provider_id: filter.provider_id,
                object: filter.object,
            },
            binding_id,
            endpoint_id,
            rate_per_second: terms.rate,
            unfinished_max: terms.unfinished_max,
            stop_on_failures_percent: terms.stop_percent,
            skip_done: terms.skip_done,
            state: replay.state.into(),
            reason: replay.reason,
            ended_at: replay.ended_at.map(Into::into),
            // A replay of a program before this one counted none.
            selected: terms.selected.max(counts.events),
            selected_at_least: terms.selected_more,
            events: counts.events,
            jobs: counts.jobs,
            skipped: counts.skipped,
            done: counts.done,
            dead: counts.dead,
            cancelled: counts.cancelled,
            unfinished: counts.unfinished,
        })
    }
}

/// Replay events, or plan it
///
/// A replay makes jobs of its own beside those that there were, at its rate and behind everything that is live. Its first
/// jobs are made at once; then it goes on by itself.
#[utoipa::path(post, path = "/v1/replays", tag = "intake", request_body = ReplayRequest, responses(
    (status = 200, description = "The plan", body = ReplayPlan),
    (status = 202, description = "It has begun", body = ReplayView),
))]
async fn replay_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<ReplayRequest>,
) -> Result<Response, Problem> {
    let (plan, effects) = (input.value.plan, input.value.effects);
    let request = request(&app, &caller, input.value).await?;
    let (store, clock) = (&*app.store, &*app.clock);
    let builtin = &*app.mainstay.builtin;
    if plan {
        let rate = request.terms.rate;
        let scope = caller.scope();
        let plan = replay::plan(store, clock, builtin, scope, request.clone()).await?;
        let dry = match effects {
            true => {
                let handlers = &app.mainstay.handlers;
                let dry = dry_run(store, clock, builtin, handlers, scope, request).await?;
                note_told(&app, &caller, &dry).await?;
                Some(dry)
            }
            false => None,
        };
        return Ok(Json(ReplayPlan::of(plan, rate, dry)).into_response());
    }
    let what = serde_json::json!({
        "target": match request.target {
            ReplayTarget::Bindings => None,
            ReplayTarget::Binding(id) => Some(id.to_string()),
            ReplayTarget::Endpoint(id) => Some(id.to_string()),
        },
        "skip_done": request.terms.skip_done,
    });
    let prepared =
        Prepared::new(store, clock, &*app.random, builtin, caller.scope(), request).await?;
    let tenant = prepared.replay.tenant;
    let told = caller.audit(&app, "event.replay", prepared.replay.id, Some(what), tenant);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (prepared, told) = (prepared.clone(), told.clone());
        Box::pin(async move {
            if prepared.insert(tx).await?.is_none() {
                return Ok(Err(too_many()));
            }
            tx.audit_insert(&told).await?;
            Done::json(StatusCode::ACCEPTED, &ReplayView::of(prepared.replay)?).map(Ok)
        })
    })
    .await?;
    app.store.wake();
    app.mainstay.replays.soon();
    Ok(done)
}

/// What a dry run tells comes out of payloads: it is on record, for each event, before it is told.
async fn note_told(app: &Arc<App>, caller: &Caller, dry: &DryRun) -> Result<(), Problem> {
    let told = dry.jobs.iter().filter(|job| match &job.outcome {
        DryOutcome::Untold => false,
        DryOutcome::Failure(..) => true,
        DryOutcome::Effects(effects) => !effects.is_empty(),
    });
    let events: BTreeMap<EventId, TenantId> = told.map(|job| (job.event, job.tenant)).collect();
    let noted = events.into_iter().map(|(event, tenant)| {
        let look = Look::at(caller, "replay.dry_run", event.to_string());
        app.reads.note(app, look, Some(tenant))
    });
    try_join_all(noted).await.map(drop)
}

fn too_many() -> Problem {
    let detail = format!(
        "{} replays are running or paused, and there may be no more; stop one, or wait",
        replay::OPEN_MAX
    );
    Problem::new(Code::StateConflict, detail)
}

async fn request(
    app: &App,
    caller: &Caller,
    input: ReplayRequest,
) -> Result<replay::Request, Problem> {
    let mut checks = Checks::default();
    let usual = Terms::default();
    let mut number = |pointer: &str, asked: Option<i64>, usual: i64, least: i64, most: i64| {
        let number = asked.unwrap_or(usual);
        let fits = (least..=most).contains(&number);
        checks.ensure(
            fits,
            pointer,
            &format!("must be between {least} and {most}"),
        );
        number
    };
    let rate = number(
        "/rate_per_second",
        input.rate_per_second,
        usual.rate,
        1,
        replay::RATE_MAX,
    );
    let unfinished_max = number(
        "/unfinished_max",
        input.unfinished_max,
        usual.unfinished_max,
        1,
        replay::UNFINISHED_MAX,
    );
    let stop_percent = number(
        "/stop_on_failures_percent",
        input.stop_on_failures_percent,
        usual.stop_percent,
        0,
        100,
    );
    checks.ensure(
        input.plan || !input.effects,
        "/effects",
        "are for a plan only",
    );
    let both = input.binding_id.is_some() && input.endpoint_id.is_some();
    checks.ensure(!both, "/endpoint_id", "stands beside binding_id: name one");
    let filter = filter(app, caller, input.selection, checks).await?;
    let target = match (input.binding_id, input.endpoint_id) {
        (Some(id), _) => ReplayTarget::Binding(id),
        (None, Some(id)) => ReplayTarget::Endpoint(id),
        (None, None) => ReplayTarget::Bindings,
    };
    known(app, caller, target).await?;
    Ok(replay::Request {
        terms: Terms {
            filter,
            rate,
            unfinished_max,
            stop_percent,
            skip_done: input.skip_done,
            ..usual
        },
        target,
        by: caller.actor(),
    })
}

/// Refuses a binding or an endpoint that the caller cannot see.
async fn known(app: &App, caller: &Caller, target: ReplayTarget) -> Result<(), Problem> {
    let known = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                Ok(match target {
                    ReplayTarget::Bindings => true,
                    ReplayTarget::Binding(id) => {
                        tx.binding_list().await?.iter().any(|one| one.id == id)
                    }
                    ReplayTarget::Endpoint(id) => tx.endpoint_get(id).await?.is_some(),
                })
            })
        })
        .await?;
    match target {
        ReplayTarget::Binding(_) if !known => Err(Problem::not_found("binding")),
        ReplayTarget::Endpoint(_) if !known => Err(Problem::not_found("endpoint")),
        _ => Ok(()),
    }
}

async fn filter(
    app: &App,
    caller: &Caller,
    selection: ReplaySelection,
    mut checks: Checks,
) -> Result<EventFilter, Problem> {
    // An empty list means none of them, and must not mean all.
    checks.ensure(
        selection
            .event_ids
            .as_ref()
            .is_none_or(|ids| !ids.is_empty()),
        "/selection/event_ids",
        "is empty",
    );
    let mut ids = selection.event_ids.unwrap_or_default();
    let few = ids.len() <= limits::SELECTION_IDS_MAX;
    checks.ensure(
        few,
        "/selection/event_ids",
        &format!("has more than {} ids", limits::SELECTION_IDS_MAX),
    );
    if let Some(kind) = &selection.kind {
        checks.text("/selection/type", kind, 200);
    }
    let asked = selection.q.as_deref().map(str::parse::<EventId>);
    if let Some(Ok(id)) = asked {
        checks.ensure(
            ids.is_empty(),
            "/selection/q",
            "is an event's id, beside event_ids",
        );
        ids = vec![id];
    }
    let tenant: Option<TenantId> =
        resolve::tenant_filter(app, caller, selection.tenant.as_deref()).await?;
    checks.done()?;
    let filter = EventFilter {
        tenant,
        source: resolve::source_filter(app, caller, selection.source).await?,
        kind: selection.kind,
        status: selection.status.map(Into::into),
        violates: selection.violates,
        conflicts: selection.conflicts,
        provider_id: selection
            .q
            .filter(|_| matches!(asked, Some(Err(_))))
            .map(Into::into),
        ids,
        object: selection.object.map(Into::into),
        from: selection.from.map(|time| time.0),
        to: selection.to.map(|time| time.0),
        before: None,
    };
    let meant = app.store.read(caller.scope(), move |tx| {
        let filter = filter.clone();
        Box::pin(async move { Ok(events::found(tx, filter, 1).await?.0) })
    });
    Ok(meant.await?)
}

/// Which replays.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReplayQuery {
    /// A tenant's id or slug.
    #[param(inline)]
    tenant: Option<Text<100>>,
    state: Option<ReplayStateName>,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// List replays, newest first
#[utoipa::path(get, path = "/v1/replays", tag = "intake", params(ReplayQuery),
    responses((status = 200, body = Page<ReplayView>)))]
async fn replay_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<ReplayQuery>,
) -> Result<Json<Page<ReplayView>>, Problem> {
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let filter = ReplayFilter {
        tenant: resolve::tenant_filter(&app, &caller, query.tenant.as_deref()).await?,
        state: query.state.map(Into::into),
        before: cursor.map(|cursor| ReplayId::from_uuid(cursor.id)),
    };
    let rows = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move { tx.replay_list(&filter, limit + 1).await })
        })
        .await?;
    let views: StoreResult<Vec<ReplayView>> = rows.into_iter().map(ReplayView::of).collect();
    let position = |view: &ReplayView| Cursor {
        at: view.created_at.0,
        id: view.id.uuid(),
    };
    Ok(Json(page(views?, limit, position, |view| view)))
}

/// Show a replay
#[utoipa::path(get, path = "/v1/replays/{id}", tag = "intake", params(("id" = String, Path, description = "`rpl_…`")),
    responses((status = 200, body = ReplayView)))]
async fn replay_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<ReplayId>,
) -> Result<Json<ReplayView>, Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move { tx.replay_get(id).await })
        })
        .await?;
    let found = found.ok_or_else(|| Problem::not_found("replay"))?;
    Ok(Json(ReplayView::of(found)?))
}

/// Pause a replay
///
/// It makes no more jobs until it is resumed. What was made goes on.
#[utoipa::path(post, path = "/v1/replays/{id}/pause", tag = "intake",
    params(("id" = String, Path, description = "`rpl_…`")), responses((status = 200, body = ReplayView)))]
async fn replay_pause(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<ReplayId>,
    input: NoInput,
) -> Result<Response, Problem> {
    wish(&app, &caller, id, input, Wish::Pause).await
}

/// Resume a replay
///
/// One that was paused, or that stopped because too many of its jobs failed.
#[utoipa::path(post, path = "/v1/replays/{id}/resume", tag = "intake",
    params(("id" = String, Path, description = "`rpl_…`")), responses((status = 200, body = ReplayView)))]
async fn replay_resume(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<ReplayId>,
    input: NoInput,
) -> Result<Response, Problem> {
    wish(&app, &caller, id, input, Wish::Resume).await
}

/// Stop a replay
///
/// It makes no more jobs, ever. What was made goes on.
#[utoipa::path(post, path = "/v1/replays/{id}/stop", tag = "intake",
    params(("id" = String, Path, description = "`rpl_…`")), responses((status = 200, body = ReplayView)))]
async fn replay_stop(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<ReplayId>,
    input: NoInput,
) -> Result<Response, Problem> {
    wish(&app, &caller, id, input, Wish::Stop).await
}

async fn wish(
    app: &App,
    caller: &Caller,
    id: ReplayId,
    input: NoInput,
    wish: Wish,
) -> Result<Response, Problem> {
    let (action, word) = match wish {
        Wish::Pause => ("replay.pause", "paused"),
        Wish::Resume => ("replay.resume", "resumed"),
        Wish::Stop => ("replay.stop", "stopped"),
    };
    let told = caller.audit(app, action, id, None, None);
    let now = app.clock.now();
    // On PostgreSQL the replay's own step can come between the look and the change.
    for _ in 1..TRIES {
        let told = told.clone();
        let done = write(app, caller, input.repeatable.clone(), move |tx| {
            let told = told.clone();
            Box::pin(async move {
                let replay = match replay::wish(tx, id, wish, now).await? {
                    Wished::Changed(replay) => replay,
                    Wished::Already(replay) => {
                        return Done::json(StatusCode::OK, &ReplayView::of(replay)?).map(Ok);
                    }
                    Wished::Missing => return Ok(Err(Problem::not_found("replay"))),
                    Wished::TooMany => return Ok(Err(too_many())),
                    Wished::Refused(replay) => {
                        let state = replay.state.as_str();
                        let detail = format!("this replay is {state} and cannot be {word}");
                        return Ok(Err(Problem::new(Code::StateConflict, detail)));
                    }
                };
                let tenant = replay.tenant.or(told.tenant);
                tx.audit_insert(&mainstay_domain::access::AuditEntry { tenant, ..told })
                    .await?;
                Done::json(StatusCode::OK, &ReplayView::of(replay)?).map(Ok)
            })
        })
        .await;
        match done {
            Ok(done) => {
                app.mainstay.replays.soon();
                return Ok(done);
            }
            Err(problem) if problem.code() == Code::AlreadyExists => {}
            Err(problem) => return Err(problem),
        }
    }
    let detail = "the replay changed meanwhile; try again";
    Err(Problem::new(Code::StateConflict, detail).retry_after(1))
}
