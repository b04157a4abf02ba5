//! Sagas: several durable steps, each with what undoes it. The routes of sagas stand here, those of their runs in `runs`,
//! what a definition may say in `define`, what is shown in `view`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay_domain::{
    SagaId, StoreError, StoreExt, StoreResult, TenantId, Tx,
    sagas::{SAGAS_MAX, Saga, SagaFilter, SagaVersion, VERSIONS_MAX},
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

mod define;
mod runs;
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
use define::{Names, StepInput, definition};
use view::{SagaView, SagaWithVersions};

/// Versions shown with a saga.
const VERSIONS_SHOWN: i64 = 20;
/// Runs that are removed in one transaction.
const RUNS_AT_ONCE: i64 = 200;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(saga_list, saga_create))
        .routes(routes!(saga_get, saga_delete))
        .routes(routes!(saga_version_create))
        .routes(routes!(runs::saga_run_create))
        .routes(routes!(runs::saga_run_list))
        .routes(routes!(runs::saga_run_get))
        .routes(routes!(runs::saga_run_cancel))
        .routes(routes!(runs::saga_run_decide))
        .routes(routes!(runs::saga_run_retry))
}

/// Which sagas.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SagaQuery {
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

/// List sagas, newest first
#[utoipa::path(get, path = "/v1/sagas", tag = "jobs", params(SagaQuery),
    responses((status = 200, body = Page<SagaView>)))]
async fn saga_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<SagaQuery>,
) -> Result<Json<Page<SagaView>>, Problem> {
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let filter = SagaFilter {
        tenant: resolve::tenant_filter(&app, &caller, query.tenant.as_deref()).await?,
        name: query.name.map(Into::into),
        before: cursor.map(|cursor| SagaId::from_uuid(cursor.id)),
    };
    let rows = app
        .store
        .read(caller.scope(), move |tx| {
            let filter = filter.clone();
            Box::pin(async move { tx.saga_list(&filter, limit + 1).await })
        })
        .await?;
    let position = |saga: &Saga| Cursor {
        at: saga.created_at,
        id: saga.id.uuid(),
    };
    Ok(Json(page(rows, limit, position, SagaView::from)))
}

/// A saga to add, with the steps of its first version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSaga {
    /// Unique in the tenant.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    name: String,
    /// Whose it is. Left out: the key's tenant, else the default one.
    #[schema(value_type = Option<String>, pattern = "^ten_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    tenant_id: Option<TenantId>,
    /// One after the other.
    #[schema(min_items = 1, max_items = 20)]
    steps: Vec<StepInput>,
}

/// Add a saga
///
/// The steps are its version 1.
#[utoipa::path(post, path = "/v1/sagas", tag = "jobs", request_body = NewSaga,
    responses((status = 201, body = SagaWithVersions)))]
async fn saga_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<NewSaga>,
) -> Result<Response, Problem> {
    let new = input.value;
    let mut checks = Checks::default();
    checks.slug("/name", &new.name);
    checks.done()?;
    let tenant = resolve::tenant_for_new(&app, &caller, new.tenant_id).await?;
    let definition = definition(&app, &caller, tenant, new.steps).await?;
    let now = app.clock.now();
    let id = SagaId::new(now, &*app.random);
    let told = caller.audit(&app, "saga.create", id, None, Some(tenant));
    let saga = Saga {
        id,
        tenant,
        name: new.name,
        version: 1,
        created_at: now,
        updated_at: now,
    };
    let first = SagaVersion {
        tenant,
        saga: id,
        version: 1,
        definition,
        created_at: now,
        by: caller.actor(),
    };
    let made = Arc::new((saga, first));
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (made, told) = (Arc::clone(&made), told.clone());
        Box::pin(async move {
            let (saga, first) = &*made;
            if tx.saga_count(tenant).await? >= SAGAS_MAX {
                let detail = format!("a tenant has at most {SAGAS_MAX} sagas");
                return Ok(Err(Problem::new(Code::StateConflict, detail)));
            }
            tx.saga_insert(saga, first).await?;
            tx.audit_insert(&told).await?;
            shown(tx, saga.clone(), StatusCode::CREATED).await
        })
    })
    .await?;
    app.mainstay.samples.changed("saga", &[id]);
    Ok(done)
}

/// Show a saga with its latest versions
#[utoipa::path(get, path = "/v1/sagas/{id}", tag = "jobs",
    params(("id" = String, Path, description = "`sga_…`")), responses((status = 200, body = SagaWithVersions)))]
async fn saga_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SagaId>,
) -> Result<Json<SagaWithVersions>, Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                match tx.saga_get(id).await? {
                    Some(saga) => with_versions(tx, saga).await.map(Some),
                    None => Ok(None),
                }
            })
        })
        .await?;
    found.map(Json).ok_or_else(|| Problem::not_found("saga"))
}

/// Another version of a saga.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSagaVersion {
    /// One after the other.
    #[schema(min_items = 1, max_items = 20)]
    steps: Vec<StepInput>,
}

/// Give a saga a new version
///
/// Runs begin with it from now on; those that have begun end with the version that they began with. Steps that are those of
/// the newest version make none.
#[utoipa::path(post, path = "/v1/sagas/{id}/versions", tag = "jobs",
    params(("id" = String, Path, description = "`sga_…`")), request_body = NewSagaVersion,
    responses((status = 200, description = "It is what the newest version says", body = SagaWithVersions),
        (status = 201, body = SagaWithVersions)))]
async fn saga_version_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SagaId>,
    input: Input<NewSagaVersion>,
) -> Result<Response, Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move { tx.saga_get(id).await })
        })
        .await?;
    let saga = found.ok_or_else(|| Problem::not_found("saga"))?;
    let tenant = saga.tenant;
    let definition = definition(&app, &caller, tenant, input.value.steps).await?;
    let (now, by) = (app.clock.now(), caller.actor());
    let told = caller.audit(&app, "saga.version", id, None, Some(tenant));
    let definition = Arc::new(definition);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (definition, told, by) = (Arc::clone(&definition), told.clone(), by.clone());
        Box::pin(async move {
            let Some(mut saga) = tx.saga_get(id).await? else {
                return Ok(Err(Problem::not_found("saga")));
            };
            let newest = tx.saga_version_get(tenant, id, saga.version).await?;
            if newest.is_some_and(|newest| newest.definition == *definition) {
                return shown(tx, saga, StatusCode::OK).await;
            }
            if saga.version >= VERSIONS_MAX {
                let detail = format!("a saga has at most {VERSIONS_MAX} versions");
                return Ok(Err(Problem::new(Code::StateConflict, detail)));
            }
            (saga.version, saga.updated_at) = (saga.version + 1, now);
            tx.saga_version_add(&SagaVersion {
                tenant,
                saga: id,
                version: saga.version,
                definition: (*definition).clone(),
                created_at: now,
                by,
            })
            .await?;
            tx.audit_insert(&told).await?;
            shown(tx, saga, StatusCode::CREATED).await
        })
    })
    .await?;
    app.mainstay.samples.changed("saga", &[id]);
    Ok(done)
}

/// Remove a saga
///
/// With its versions and its runs that have ended. Refused while one has not.
#[utoipa::path(delete, path = "/v1/sagas/{id}", tag = "jobs",
    params(("id" = String, Path, description = "`sga_…`")), responses((status = 204, description = "Removed")))]
async fn saga_delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SagaId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let told = caller.audit(&app, "saga.delete", id, None, None);
    // What has ended goes step by step before, so that nothing waits for long.
    while runs_removed(&app, &caller, id).await? == RUNS_AT_ONCE {}
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let told = told.clone();
        Box::pin(async move {
            let Some(saga) = tx.saga_get(id).await? else {
                return Ok(Err(Problem::not_found("saga")));
            };
            let open = tx.saga_open_runs(saga.tenant, id).await?;
            if !open.is_empty() {
                let detail = "it has runs that have not ended: cancel them, or let them end";
                return Ok(Err(Problem::new(Code::StateConflict, detail)));
            }
            // One that began meanwhile refuses it.
            tx.saga_runs_delete(saga.tenant, id, RUNS_AT_ONCE).await?;
            tx.saga_delete(saga.tenant, id).await?;
            tx.audit_insert(&in_tenant(told, saga.tenant)).await?;
            Ok(Ok(Done::nothing()))
        })
    })
    .await?;
    app.mainstay.samples.changed("saga", &[id]);
    Ok(done)
}

/// Removes some of a saga's runs, if all of them have ended. Answers how many.
async fn runs_removed(app: &App, caller: &Caller, id: SagaId) -> Result<i64, Problem> {
    let removed = app.store.transact(caller.scope(), move |tx| {
        Box::pin(async move {
            let Some(saga) = tx.saga_get(id).await? else {
                return Ok(0);
            };
            match tx.saga_open_runs(saga.tenant, id).await?.is_empty() {
                true => tx.saga_runs_delete(saga.tenant, id, RUNS_AT_ONCE).await,
                false => Ok(0),
            }
        })
    });
    Ok(removed.await?)
}

async fn with_versions(tx: &mut dyn Tx, saga: Saga) -> StoreResult<SagaWithVersions> {
    let versions = tx
        .saga_version_list(saga.tenant, saga.id, VERSIONS_SHOWN)
        .await?;
    let open = tx.saga_open_runs(saga.tenant, saga.id).await?;
    let names = Names::load(tx).await?;
    Ok(SagaWithVersions::of(saga, versions, open, &names))
}

async fn shown(
    tx: &mut dyn Tx,
    saga: Saga,
    status: StatusCode,
) -> StoreResult<Result<Done, Problem>> {
    let shown = with_versions(tx, saga).await?;
    Done::json(status, &shown).map(Ok)
}

/// The saga of this id, or of this name in a tenant.
async fn named(
    tx: &mut dyn Tx,
    asked: &str,
    tenant: Option<TenantId>,
) -> Result<Option<Saga>, StoreError> {
    if let Ok(id) = asked.parse::<SagaId>() {
        let found = tx.saga_get(id).await?;
        return Ok(found.filter(|saga| tenant.is_none_or(|tenant| saga.tenant == tenant)));
    }
    let filter = SagaFilter {
        tenant,
        name: Some(asked.to_owned()),
        before: None,
    };
    // A name that several tenants use names none.
    let mut found = tx.saga_list(&filter, 2).await?;
    Ok(match found.len() {
        1 => found.pop(),
        _ => None,
    })
}
