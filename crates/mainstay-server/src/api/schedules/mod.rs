//! Schedules: cron rules that make jobs. The routes stand here, what a person may ask for in `change`, what is shown in
//! `view`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay::schedules::{begin, rule, run_now};
use mainstay_domain::{
    ScheduleId, StoreExt, StoreResult, TenantId, Timestamp, Tx,
    schedules::{SCHEDULES_MAX, Schedule, ScheduleFilter},
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

mod change;
mod view;

use super::{
    page::{Cursor, Page, limit, page},
    resolve,
};
use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, write},
    },
    http::{
        Code, Problem,
        extract::{Checks, Id, Input, NoInput, Params},
        text::Text,
    },
    state::App,
};
pub(crate) use change::{Checked, NewSchedule, ScheduleChange, Target, Waits, fresh};
pub(crate) use view::Names;
use view::{PreviewRequest, SchedulePreview, ScheduleRun, ScheduleView, ScheduleWithRuns};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(schedule_list, schedule_create))
        .routes(routes!(schedule_preview))
        .routes(routes!(schedule_get, schedule_update, schedule_delete))
        .routes(routes!(schedule_runs))
        .routes(routes!(schedule_pause))
        .routes(routes!(schedule_resume))
        .routes(routes!(schedule_run))
}

/// How often a change is tried again that a tick was faster than.
const TRIES: usize = 5;

/// Which schedules.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScheduleQuery {
    /// A tenant's id or slug.
    #[param(inline)]
    tenant: Option<Text<100>>,
    /// Exactly this name.
    #[param(inline)]
    name: Option<Text<100>>,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// List schedules, newest first
#[utoipa::path(get, path = "/v1/schedules", tag = "jobs", params(ScheduleQuery),
    responses((status = 200, body = Page<ScheduleView>)))]
async fn schedule_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<ScheduleQuery>,
) -> Result<Json<Page<ScheduleView>>, Problem> {
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let filter = ScheduleFilter {
        tenant: resolve::tenant_filter(&app, &caller, query.tenant.as_deref()).await?,
        name: query.name.map(Into::into),
        before: cursor.map(|cursor| ScheduleId::from_uuid(cursor.id)),
    };
    let (rows, names) = app
        .store
        .read(caller.scope(), move |tx| {
            let filter = filter.clone();
            Box::pin(async move {
                let rows = tx.schedule_list(&filter, limit + 1).await?;
                let names = Names::load(tx, &rows).await?;
                Ok((rows, names))
            })
        })
        .await?;
    let position = |schedule: &Schedule| Cursor {
        at: schedule.created_at,
        id: schedule.id.uuid(),
    };
    Ok(Json(page(rows, limit, position, |schedule| {
        names.view(schedule)
    })))
}

/// Add a schedule
///
/// Its first job is made at the first tick from now on.
#[utoipa::path(post, path = "/v1/schedules", tag = "jobs", request_body = NewSchedule,
    responses((status = 201, body = ScheduleView)))]
async fn schedule_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<NewSchedule>,
) -> Result<Response, Problem> {
    let new = input.value.checked(&app)?;
    let tenant = resolve::tenant_for_new(&app, &caller, new.tenant).await?;
    let now = app.clock.now();
    let id = ScheduleId::new(now, &*app.random);
    let told = caller.audit(&app, "schedule.create", id, None, Some(tenant));
    let (new, own) = (Arc::new(new), caller.clone());
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (new, told, caller) = (Arc::clone(&new), told.clone(), own.clone());
        Box::pin(async move {
            if tx.schedule_count(tenant).await? >= SCHEDULES_MAX {
                let detail = format!("a tenant has at most {SCHEDULES_MAX} schedules");
                return Ok(Err(Problem::new(Code::StateConflict, detail)));
            }
            let mut schedule = new.fresh(id, tenant, now);
            let target = match target_of(tx, &caller, &new.change, tenant).await? {
                Ok(target) => target,
                Err(problem) => return Ok(Err(problem)),
            };
            if let Err(problem) = new.change.apply(&mut schedule, target, now) {
                return Ok(Err(problem));
            }
            tx.schedule_insert(&schedule).await?;
            tx.audit_insert(&told).await?;
            shown(tx, schedule, StatusCode::CREATED).await
        })
    })
    .await?;
    changed(&app, id).await;
    Ok(done)
}

/// Show a schedule with its next ticks and its latest runs
#[utoipa::path(get, path = "/v1/schedules/{id}", tag = "jobs",
    params(("id" = String, Path, description = "`scd_…`")), responses((status = 200, body = ScheduleWithRuns)))]
async fn schedule_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<ScheduleId>,
) -> Result<Json<ScheduleWithRuns>, Problem> {
    let now = app.clock.now();
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                let Some(schedule) = tx.schedule_get(id).await? else {
                    return Ok(None);
                };
                let names = Names::load(tx, std::slice::from_ref(&schedule)).await?;
                let runs = view::runs(tx, &schedule, None, view::RUNS_SHOWN).await?;
                Ok(Some(ScheduleWithRuns::of(&names, schedule, runs, now)))
            })
        })
        .await?;
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found("schedule"))
}

/// Parameters of the list of a schedule's runs.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunQuery {
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// List what became of a schedule's ticks, newest first
#[utoipa::path(get, path = "/v1/schedules/{id}/runs", tag = "jobs",
    params(("id" = String, Path, description = "`scd_…`"), RunQuery),
    responses((status = 200, body = Page<ScheduleRun>)))]
async fn schedule_runs(
    State(app): State<Arc<App>>,
    caller: Caller,
    // Before the id: what is asked wrongly is said whatever it is asked of.
    Params(query): Params<RunQuery>,
    Id(id): Id<ScheduleId>,
) -> Result<Json<Page<ScheduleRun>>, Problem> {
    let limit = limit(query.limit)?;
    let before = Cursor::parse(query.cursor.as_deref())?.map(|cursor| cursor.at);
    let runs = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                match tx.schedule_get(id).await? {
                    Some(schedule) => view::runs(tx, &schedule, before, limit + 1).await.map(Some),
                    None => Ok(None),
                }
            })
        })
        .await?;
    let runs = runs.ok_or_else(|| Problem::not_found("schedule"))?;
    let position = |run: &ScheduleRun| Cursor {
        at: run.tick.0,
        id: id.uuid(),
    };
    Ok(Json(page(runs, limit, position, |run| run)))
}

/// Change a schedule
///
/// Another expression or zone begins with its first tick from now on.
#[utoipa::path(patch, path = "/v1/schedules/{id}", tag = "jobs",
    params(("id" = String, Path, description = "`scd_…`")), request_body = ScheduleChange,
    responses((status = 200, body = ScheduleView)))]
async fn schedule_update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<ScheduleId>,
    input: Input<ScheduleChange>,
) -> Result<Response, Problem> {
    let mut checks = Checks::default();
    let change = input.value.checked(&app, &mut checks);
    checks.done()?;
    let change = Arc::new(change);
    let told = caller.audit(&app, "schedule.update", id, None, None);
    let now = app.clock.now();
    again(&app, id, || {
        let (change, told, own) = (Arc::clone(&change), told.clone(), caller.clone());
        write(&app, &caller, input.repeatable.clone(), move |tx| {
            let (change, told, caller) = (Arc::clone(&change), told.clone(), own.clone());
            Box::pin(async move {
                let Some(mut schedule) = tx.schedule_get(id).await? else {
                    return Ok(Err(Problem::not_found("schedule")));
                };
                let target = match target_of(tx, &caller, &change, schedule.tenant).await? {
                    Ok(target) => target,
                    Err(problem) => return Ok(Err(problem)),
                };
                if let Err(problem) = change.apply(&mut schedule, target, now) {
                    return Ok(Err(problem));
                }
                tx.schedule_update(&schedule).await?;
                tx.audit_insert(&in_tenant(told, schedule.tenant)).await?;
                shown(tx, schedule, StatusCode::OK).await
            })
        })
    })
    .await
}

/// Remove a schedule
///
/// Its jobs go on.
#[utoipa::path(delete, path = "/v1/schedules/{id}", tag = "jobs",
    params(("id" = String, Path, description = "`scd_…`")), responses((status = 204, description = "Removed")))]
async fn schedule_delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<ScheduleId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let told = caller.audit(&app, "schedule.delete", id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let told = told.clone();
        Box::pin(async move {
            let Some(schedule) = tx.schedule_get(id).await? else {
                return Ok(Err(Problem::not_found("schedule")));
            };
            tx.schedule_delete(schedule.tenant, id).await?;
            tx.audit_insert(&in_tenant(told, schedule.tenant)).await?;
            Ok(Ok(Done::nothing()))
        })
    })
    .await?;
    changed(&app, id).await;
    Ok(done)
}

/// Pause a schedule
///
/// It makes no jobs until it is resumed. Ticks in between are not missed: there are none.
#[utoipa::path(post, path = "/v1/schedules/{id}/pause", tag = "jobs",
    params(("id" = String, Path, description = "`scd_…`")), responses((status = 200, body = ScheduleView)))]
async fn schedule_pause(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<ScheduleId>,
    input: NoInput,
) -> Result<Response, Problem> {
    hold(&app, &caller, id, input, true).await
}

/// Resume a schedule
///
/// It goes on with its first tick from now on.
#[utoipa::path(post, path = "/v1/schedules/{id}/resume", tag = "jobs",
    params(("id" = String, Path, description = "`scd_…`")), responses((status = 200, body = ScheduleView)))]
async fn schedule_resume(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<ScheduleId>,
    input: NoInput,
) -> Result<Response, Problem> {
    hold(&app, &caller, id, input, false).await
}

async fn hold(
    app: &App,
    caller: &Caller,
    id: ScheduleId,
    input: NoInput,
    paused: bool,
) -> Result<Response, Problem> {
    let action = if paused {
        "schedule.pause"
    } else {
        "schedule.resume"
    };
    let told = caller.audit(app, action, id, None, None);
    let now = app.clock.now();
    again(app, id, || {
        let told = told.clone();
        write(app, caller, input.repeatable.clone(), move |tx| {
            let told = told.clone();
            Box::pin(async move {
                let Some(mut schedule) = tx.schedule_get(id).await? else {
                    return Ok(Err(Problem::not_found("schedule")));
                };
                if schedule.paused != paused {
                    if let Err(problem) = hold_one(&mut schedule, paused, now) {
                        return Ok(Err(problem));
                    }
                    tx.schedule_update(&schedule).await?;
                    tx.audit_insert(&in_tenant(told, schedule.tenant)).await?;
                }
                shown(tx, schedule, StatusCode::OK).await
            })
        })
    })
    .await
}

/// Pauses or resumes it.
pub(crate) fn hold_one(
    schedule: &mut Schedule,
    paused: bool,
    now: Timestamp,
) -> Result<(), Problem> {
    (schedule.paused, schedule.updated_at) = (paused, now);
    if paused {
        // Also one whose rule cannot be used.
        (schedule.next_tick, schedule.next_at) = (None, None);
        return Ok(());
    }
    let rule = usable(schedule)?;
    begin(schedule, &rule, now);
    Ok(())
}

/// Run a schedule now
///
/// Beside its rule, whatever runs already, and also while it is paused.
#[utoipa::path(post, path = "/v1/schedules/{id}/run", tag = "jobs",
    params(("id" = String, Path, description = "`scd_…`")), responses((status = 201, body = ScheduleRun)))]
async fn schedule_run(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<ScheduleId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let told = caller.audit(&app, "schedule.run", id, None, None);
    let made = again(&app, id, || {
        let (told, now, random) = (told.clone(), app.clock.now(), Arc::clone(&app.random));
        write(&app, &caller, input.repeatable.clone(), move |tx| {
            let (told, random) = (told.clone(), Arc::clone(&random));
            Box::pin(async move {
                let Some(schedule) = tx.schedule_get(id).await? else {
                    return Ok(Err(Problem::not_found("schedule")));
                };
                let rule = match usable(&schedule) {
                    Ok(rule) => rule,
                    Err(problem) => return Ok(Err(problem)),
                };
                let (tick, job) = run_now(&schedule, &rule, now, &*random)?;
                tx.schedule_run(&tick, &job).await?;
                tx.audit_insert(&in_tenant(told, schedule.tenant)).await?;
                let run = view::run(tx, &rule, tick).await?;
                Done::json(StatusCode::CREATED, &run).map(Ok)
            })
        })
    })
    .await?;
    app.store.wake();
    Ok(made)
}

/// Say what an expression names
///
/// Its next ticks, and every clock change of the next two years that it has to do with.
#[utoipa::path(post, path = "/v1/schedules/preview", tag = "jobs", request_body = PreviewRequest,
    responses((status = 200, body = SchedulePreview)))]
async fn schedule_preview(
    State(app): State<Arc<App>>,
    _caller: Caller,
    input: Input<PreviewRequest>,
) -> Result<Json<SchedulePreview>, Problem> {
    input.value.preview(app.clock.now()).map(Json)
}

/// A change that is tried again where a tick of the schedule came between the look and the change.
async fn again<F>(app: &App, id: ScheduleId, change: impl Fn() -> F) -> Result<Response, Problem>
where
    F: Future<Output = Result<Response, Problem>>,
{
    let mut tries = 1;
    loop {
        match change().await {
            Err(problem) if problem.code() == Code::AlreadyExists && tries < TRIES => tries += 1,
            done => {
                changed(app, id).await;
                return done;
            }
        }
    }
}

async fn changed(app: &App, id: ScheduleId) {
    app.configured("schedule", id).await;
    app.mainstay.schedules.soon();
}

async fn shown(
    tx: &mut dyn Tx,
    schedule: Schedule,
    status: StatusCode,
) -> StoreResult<Result<Done, Problem>> {
    let names = Names::load(tx, std::slice::from_ref(&schedule)).await?;
    Done::json(status, &names.view(schedule)).map(Ok)
}

fn usable(schedule: &Schedule) -> Result<mainstay_domain::schedules::rule::Rule, Problem> {
    rule(schedule).map_err(|error| {
        let detail = format!("this schedule cannot be used: its expression or zone {error}");
        Problem::new(Code::StateConflict, detail)
    })
}

/// Where the jobs are to go, if the change says so: the endpoint must be the same tenant's.
async fn target_of(
    tx: &mut dyn Tx,
    caller: &Caller,
    change: &Checked,
    tenant: TenantId,
) -> StoreResult<Result<Option<Target>, Problem>> {
    if let Some(asked) = &change.endpoint {
        let found = resolve::endpoint(tx, asked, Some(tenant)).await?;
        return Ok(match found {
            Some(endpoint) if endpoint.tenant == tenant => Ok(Some(Target::Endpoint {
                id: endpoint.id,
                queue: endpoint.queue,
            })),
            _ => Err(Problem::not_found("endpoint in the schedule's tenant")),
        });
    }
    let Some((kind, waits)) = change.kind.clone() else {
        return Ok(Ok(None));
    };
    let queue = match waits {
        Waits::Builtin(queue) => queue,
        Waits::Worker(name) => {
            match resolve::queue_for_workers(tx, caller, &name, "/queue").await? {
                Ok(queue) => queue,
                Err(problem) => return Ok(Err(problem)),
            }
        }
    };
    Ok(Ok(Some(Target::Kind { kind, queue })))
}
