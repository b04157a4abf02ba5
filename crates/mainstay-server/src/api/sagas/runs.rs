//! Runs of sagas: begun, looked at, approved, taken back, and helped on.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, http::StatusCode, response::Response};
use mainstay::jobs::dead_letter;
use mainstay_domain::{
    SagaId, SagaRunId, StoreExt, StoreResult, TenantId, Timestamp, Tx,
    jobs::{Attempt, DeadLetterFilter},
    sagas::{Cancel, RUN_INPUT_BYTES_MAX, RunState, SagaRun, SagaRunFilter, StepState, Verdict},
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    named,
    view::{RunStateName, RunView, SagaRunWithData},
};
use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, write},
        reads::InTenant,
    },
    api::{
        page::{Cursor, Page, limit, page},
        resolve,
    },
    http::{
        Code, Problem,
        extract::{Checks, Id, Input, NoInput, OptionalInput, Params},
        text::{Name, Text},
    },
    state::App,
};

/// A run to begin.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NewSagaRun {
    /// Whose it is, where the saga is given by name and several tenants have one of that name.
    #[schema(value_type = Option<String>, pattern = "^ten_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    tenant_id: Option<TenantId>,
    /// What it is begun with: JSON of at most 64 KiB.
    #[schema(value_type = Option<Value>)]
    input: Option<Value>,
    /// There is one run of the saga with this key: the one that is there already is the answer.
    #[schema(min_length = 1, max_length = 200)]
    key: Option<String>,
}

/// Begin a run of a saga
///
/// With its newest version.
#[utoipa::path(post, path = "/v1/sagas/{id}/runs", tag = "jobs",
    params(("id" = String, Path, description = "`sga_…`, or the saga's name")), request_body = NewSagaRun,
    responses((status = 201, body = RunView), (status = 200, description = "There is one with its key already", body = RunView)))]
pub(super) async fn saga_run_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(asked): Id<String>,
    input: OptionalInput<NewSagaRun>,
) -> Result<Response, Problem> {
    let new = input.value;
    let mut checks = Checks::default();
    let given = new.input.unwrap_or_default();
    let fits = given.to_string().len() <= RUN_INPUT_BYTES_MAX;
    checks.ensure(fits, "/input", "must have at most 65536 bytes");
    if let Some(key) = &new.key {
        checks.text("/key", key, 200);
    }
    checks.done()?;
    let tenant = caller.admit(new.tenant_id)?;
    // What can be neither an id nor a name is no saga's.
    let mut name = Checks::default();
    name.slug("", &asked);
    if asked.parse::<SagaId>().is_err() && name.done().is_err() {
        return Err(Problem::not_found("saga"));
    }
    let (now, by) = (app.clock.now(), caller.actor());
    let id = SagaRunId::new(now, &*app.random);
    let told = caller.audit(&app, "saga_run.create", id, None, None);
    let asked: Arc<str> = asked.into();
    let begun = Arc::new((given, new.key, by));
    // Of two with one key at the same time the second finds the first.
    again(&app, id, || {
        let (asked, begun, told) = (Arc::clone(&asked), Arc::clone(&begun), told.clone());
        write(&app, &caller, input.repeatable.clone(), move |tx| {
            let (asked, begun, told) = (Arc::clone(&asked), Arc::clone(&begun), told.clone());
            Box::pin(async move {
                let (given, key, by) = (*begun).clone();
                let Some(saga) = named(tx, &asked, tenant).await? else {
                    return Ok(Err(Problem::not_found("saga")));
                };
                if let Some(key) = &key
                    && let Some(there) = tx.saga_run_of_key(saga.tenant, saga.id, key).await?
                {
                    return Done::json(StatusCode::OK, &RunView::from(there)).map(Ok);
                }
                let version = tx.saga_version_get(saga.tenant, saga.id, saga.version);
                let Some(version) = version.await? else {
                    return Ok(Err(Problem::not_found("saga")));
                };
                let run = SagaRun::begin(id, &version, given, key, by, now);
                tx.saga_run_insert(&run).await?;
                tx.audit_insert(&in_tenant(told, saga.tenant)).await?;
                Done::json(StatusCode::CREATED, &RunView::from(run)).map(Ok)
            })
        })
    })
    .await
}

/// Which runs.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SagaRunQuery {
    /// A tenant's id or slug.
    #[param(inline)]
    tenant: Option<Text<100>>,
    /// A saga's id.
    #[param(inline)]
    saga: Option<Text<100>>,
    /// How they stand.
    state: Option<RunStateName>,
    /// Exactly this key.
    #[param(inline)]
    key: Option<Text<200>>,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// List runs of sagas, newest first
#[utoipa::path(get, path = "/v1/saga-runs", tag = "jobs", params(SagaRunQuery),
    responses((status = 200, body = Page<RunView>)))]
pub(super) async fn saga_run_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<SagaRunQuery>,
) -> Result<Json<Page<RunView>>, Problem> {
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let filter = SagaRunFilter {
        tenant: resolve::tenant_filter(&app, &caller, query.tenant.as_deref()).await?,
        // What is no id is no saga's.
        saga: query.saga.map(|text| text.parse().unwrap_or(SagaId::NIL)),
        state: query.state.map(Into::into),
        key: query.key.map(Into::into),
        before: cursor.map(|cursor| SagaRunId::from_uuid(cursor.id)),
    };
    let rows = app
        .store
        .read(caller.scope(), move |tx| {
            let mut filter = filter.clone();
            Box::pin(async move {
                // The index of a saga's runs begins with its tenant.
                if let (None, Some(saga)) = (filter.tenant, filter.saga) {
                    let Some(saga) = tx.saga_get(saga).await? else {
                        return Ok(Vec::new());
                    };
                    filter.tenant = Some(saga.tenant);
                }
                tx.saga_run_list(&filter, limit + 1).await
            })
        })
        .await?;
    let position = |run: &SagaRun| Cursor {
        at: run.created_at,
        id: run.id.uuid(),
    };
    Ok(Json(page(rows, limit, position, RunView::from)))
}

/// Show a run with what it carries
#[utoipa::path(get, path = "/v1/saga-runs/{id}", tag = "jobs",
    params(("id" = String, Path, description = "`run_…`")), responses((status = 200, body = SagaRunWithData)))]
pub(super) async fn saga_run_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SagaRunId>,
) -> Result<(Extension<InTenant>, Json<SagaRunWithData>), Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                let Some(run) = tx.saga_run_get(id).await? else {
                    return Ok(None);
                };
                let saga = tx.saga_get(run.saga).await?;
                let version = tx.saga_version_get(run.tenant, run.saga, run.version);
                let version = version.await?;
                Ok(saga
                    .zip(version)
                    .map(|(saga, version)| (run.tenant, SagaRunWithData::of(run, saga, &version))))
            })
        })
        .await?;
    let (tenant, run) = found.ok_or_else(|| Problem::not_found("run"))?;
    Ok((Extension(InTenant(tenant)), Json(run)))
}

/// Why a run is taken back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CancelRunInput {
    #[schema(value_type = Option<Name<500>>)]
    reason: Option<String>,
}

/// Cancel a run
///
/// The job of its step is cancelled if it has not ended, and what was done is undone. A request of that step which is under
/// way may still take effect: it counts as a step whose outcome is not known.
#[utoipa::path(post, path = "/v1/saga-runs/{id}/cancel", tag = "jobs",
    params(("id" = String, Path, description = "`run_…`")), request_body = CancelRunInput,
    responses((status = 200, body = RunView)))]
pub(super) async fn saga_run_cancel(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SagaRunId>,
    input: OptionalInput<CancelRunInput>,
) -> Result<Response, Problem> {
    let reason = input.value.reason;
    if let Some(reason) = &reason {
        let mut checks = Checks::default();
        checks.text("/reason", reason, 500);
        checks.done()?;
    }
    let told = caller.audit(&app, "saga_run.cancel", id, None, None);
    let (by, now) = (caller.actor(), app.clock.now());
    let cancel = Cancel {
        by,
        reason,
        at: now,
    };
    again(&app, id, || {
        let (told, cancel) = (told.clone(), cancel.clone());
        write(&app, &caller, input.repeatable.clone(), move |tx| {
            let (told, cancel) = (told.clone(), cancel.clone());
            Box::pin(async move {
                let Some(mut run) = tx.saga_run_get(id).await? else {
                    return Ok(Err(Problem::not_found("run")));
                };
                if run.cancel.is_some() {
                    return Done::json(StatusCode::OK, &RunView::from(run)).map(Ok);
                }
                if !matches!(run.state, RunState::Running | RunState::Waiting) {
                    return Ok(Err(too_late(&run)));
                }
                run.cancel = Some(cancel);
                wished(tx, run, now, told).await
            })
        })
    })
    .await
}

/// What a person says to a step that waits for approval.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecideInput {
    /// The step that waits.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    step: String,
    /// Approved; or rejected: then what was done is undone.
    approved: bool,
    #[schema(value_type = Option<Name<500>>)]
    reason: Option<String>,
}

/// Approve or reject a step that waits for a person
#[utoipa::path(post, path = "/v1/saga-runs/{id}/decide", tag = "jobs",
    params(("id" = String, Path, description = "`run_…`")), request_body = DecideInput,
    responses((status = 200, body = RunView)))]
pub(super) async fn saga_run_decide(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SagaRunId>,
    input: Input<DecideInput>,
) -> Result<Response, Problem> {
    let said = input.value;
    let mut checks = Checks::default();
    checks.slug("/step", &said.step);
    if let Some(reason) = &said.reason {
        checks.text("/reason", reason, 500);
    }
    checks.done()?;
    let action = match said.approved {
        true => "saga_run.approve",
        false => "saga_run.reject",
    };
    let told = caller.audit(&app, action, id, None, None);
    let now = app.clock.now();
    let verdict = Verdict {
        approved: said.approved,
        by: caller.actor(),
        reason: said.reason,
        at: now,
    };
    let said = Arc::new((said.step, verdict));
    again(&app, id, || {
        let (told, said) = (told.clone(), Arc::clone(&said));
        write(&app, &caller, input.repeatable.clone(), move |tx| {
            let (told, said) = (told.clone(), Arc::clone(&said));
            Box::pin(async move {
                let Some(mut run) = tx.saga_run_get(id).await? else {
                    return Ok(Err(Problem::not_found("run")));
                };
                let waits = run.state == RunState::Waiting && run.cancel.is_none();
                let mut steps = run.steps.iter_mut();
                let step = steps.find(|step| {
                    step.name == said.0
                        && step.state == StepState::Running
                        && step.verdict.is_none()
                });
                match step.filter(|_| waits) {
                    Some(step) => step.verdict = Some(said.1.clone()),
                    None => return Ok(Err(too_late(&run))),
                }
                wished(tx, run, now, told).await
            })
        })
    })
    .await
}

/// Help a run on that failed
///
/// What undoes its step is run again: its tries start from the beginning.
#[utoipa::path(post, path = "/v1/saga-runs/{id}/retry", tag = "jobs",
    params(("id" = String, Path, description = "`run_…`")), responses((status = 200, body = RunView)))]
pub(super) async fn saga_run_retry(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SagaRunId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let told = caller.audit(&app, "saga_run.retry", id, None, None);
    let (by, now) = (caller.actor(), app.clock.now());
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (told, by) = (told.clone(), by.clone());
        Box::pin(async move {
            let Some(run) = tx.saga_run_get(id).await? else {
                return Ok(Err(Problem::not_found("run")));
            };
            let Some(job) = run.job.filter(|_| run.state == RunState::Failed) else {
                return Ok(Err(too_late(&run)));
            };
            let filter = DeadLetterFilter {
                jobs: vec![job],
                ..DeadLetterFilter::default()
            };
            let letters = tx.dead_letter_list(&filter, 1).await?;
            let retry = |letter| dead_letter::attempt(letter, &dead_letter::End::Retry, &by, now);
            let attempts: Vec<Attempt> = letters.iter().map(retry).collect();
            if attempts.is_empty() || tx.dead_letter_end(&attempts).await? == 0 {
                return Ok(Err(too_late(&run)));
            }
            tx.audit_insert(&in_tenant(told, run.tenant)).await?;
            Done::json(StatusCode::OK, &RunView::from(run)).map(Ok)
        })
    })
    .await?;
    changed(&app, id);
    app.store.wake();
    Ok(done)
}

/// Writes what a person wishes of a run, and has it looked at.
async fn wished(
    tx: &mut dyn Tx,
    mut run: SagaRun,
    now: Timestamp,
    told: mainstay_domain::access::AuditEntry,
) -> StoreResult<Result<Done, Problem>> {
    run.due_at = Some(now);
    tx.saga_run_step(&run, &[]).await?;
    tx.audit_insert(&in_tenant(told, run.tenant)).await?;
    Done::json(StatusCode::OK, &RunView::from(run)).map(Ok)
}

fn too_late(run: &SagaRun) -> Problem {
    let detail = format!("this run cannot take that: it is {}", run.state.as_str());
    Problem::new(Code::StateConflict, detail)
}

/// How often a wish is tried again that a step was faster than.
const TRIES: usize = 5;

async fn again<F>(app: &App, id: SagaRunId, wish: impl Fn() -> F) -> Result<Response, Problem>
where
    F: Future<Output = Result<Response, Problem>>,
{
    let mut tries = 1;
    loop {
        match wish().await {
            Err(problem) if problem.code() == Code::AlreadyExists && tries < TRIES => tries += 1,
            done => {
                changed(app, id);
                return done;
            }
        }
    }
}

fn changed(app: &App, id: SagaRunId) {
    app.mainstay.samples.changed("saga_run", &[id]);
    app.mainstay.sagas.soon();
}
