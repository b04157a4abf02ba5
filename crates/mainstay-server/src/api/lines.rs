//! Lines: jobs that share an ordering key. Listed with what holds them up, and let go on by a person.

use std::{collections::HashMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay_domain::{
    EndpointId, JobId, LineId, Scope, StoreExt, StoreResult, TenantId,
    intake::ordering::key_of,
    jobs::{Line, LineFilter, QueueNumber},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

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
        extract::{Id, NoInput, Params},
        text::Text,
    },
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(line_list))
        .routes(routes!(line_get))
        .routes(routes!(line_release))
}

/// Waiting jobs that are shown of one line.
const SHOWN_MAX: i64 = 100;

/// Whether a line moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LineState)]
pub(crate) enum LineStateName {
    /// Its head is a dead letter, and all others wait until somebody has dealt with it.
    Parked,
    /// Its jobs run, one after the other.
    Moving,
}

/// The jobs of one queue that share an ordering key, as long as one of them has not ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Line)]
pub(crate) struct LineView {
    #[schema(value_type = String)]
    id: LineId,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    queue: String,
    #[schema(value_type = Option<String>)]
    endpoint_id: Option<EndpointId>,
    endpoint_name: Option<String>,
    /// The ordering key.
    key: String,
    state: LineStateName,
    /// The job that all others wait for.
    #[schema(value_type = String)]
    head_job_id: JobId,
    /// How many wait behind it.
    waiting: i64,
    /// When the head's turn came.
    since: Time,
    /// When the head became a dead letter.
    parked_at: Option<Time>,
}

/// A line with the jobs that wait in it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LineWithJobs {
    #[serde(flatten)]
    line: LineView,
    /// The next first; the first hundred of them.
    #[schema(value_type = Vec<String>)]
    waiting_job_ids: Vec<JobId>,
}

/// Names that views show beside numbers.
#[derive(Default)]
pub(crate) struct Names {
    queues: HashMap<QueueNumber, String>,
    endpoints: HashMap<QueueNumber, (EndpointId, String)>,
}

impl Names {
    pub(crate) async fn load(app: &App, scope: Scope) -> StoreResult<Self> {
        let endpoints = app
            .store
            .read(scope, |tx| {
                Box::pin(async move { tx.endpoint_list().await })
            })
            .await?;
        let queues = app
            .store
            .read(Scope::System("queues"), |tx| {
                Box::pin(async move { tx.queue_list().await })
            })
            .await?;
        Ok(Self {
            queues: queues.into_iter().collect(),
            endpoints: endpoints
                .into_iter()
                .map(|one| (one.queue, (one.id, one.name)))
                .collect(),
        })
    }

    pub(crate) fn view(&self, line: Line) -> LineView {
        let endpoint = self.endpoints.get(&line.queue);
        LineView {
            id: line.id,
            tenant_id: line.tenant,
            queue: self.queues.get(&line.queue).cloned().unwrap_or_default(),
            endpoint_id: endpoint.map(|(id, _)| *id),
            endpoint_name: endpoint.map(|(_, name)| name.clone()),
            key: line.key,
            state: match line.parked_at {
                Some(_) => LineStateName::Parked,
                None => LineStateName::Moving,
            },
            head_job_id: line.head,
            waiting: line.waiting,
            since: line.since.into(),
            parked_at: line.parked_at.map(Into::into),
        }
    }
}

/// Which lines.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LineQuery {
    state: Option<LineStateName>,
    /// A queue's name.
    #[param(inline)]
    queue: Option<Text<100>>,
    /// An endpoint's id or name.
    #[param(inline)]
    endpoint: Option<Text<100>>,
    /// The ordering key.
    #[param(inline)]
    key: Option<Text<200>>,
    /// A tenant's id or slug.
    #[param(inline)]
    tenant: Option<Text<100>>,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// A queue that there is not: no line can be in it.
const NO_QUEUE: QueueNumber = -1;

impl LineQuery {
    /// The one queue that is asked for.
    async fn queue(
        &self,
        app: &App,
        caller: &Caller,
        names: &Names,
    ) -> Result<Option<QueueNumber>, Problem> {
        let queue = self.queue.as_ref().map(|name| {
            let found = names.queues.iter().find(|(_, own)| **own == **name);
            found.map_or(NO_QUEUE, |(number, _)| *number)
        });
        let asked = resolve::endpoint_filter(app, caller, self.endpoint.clone()).await?;
        let of_endpoint = asked.map(|asked| {
            let found = names.endpoints.iter().find(|(_, (id, _))| *id == asked);
            found.map_or(NO_QUEUE, |(number, _)| *number)
        });
        Ok(match (queue, of_endpoint) {
            (Some(one), Some(other)) if one != other => Some(NO_QUEUE),
            (one, other) => one.or(other),
        })
    }
}

/// List lines, newest first
///
/// A line is there as long as one of its jobs has not ended, or parks it.
#[utoipa::path(get, path = "/v1/lines", tag = "jobs", params(LineQuery),
    responses((status = 200, body = Page<LineView>)))]
async fn line_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<LineQuery>,
) -> Result<Json<Page<LineView>>, Problem> {
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let names = Names::load(&app, caller.scope()).await?;
    let filter = LineFilter {
        tenant: resolve::tenant_filter(&app, &caller, query.tenant.as_deref()).await?,
        queue: query.queue(&app, &caller, &names).await?,
        parked: query.state.map(|state| state == LineStateName::Parked),
        key: query.key.map(|key| key_of(&key)),
        before: cursor.map(|cursor| LineId::from_uuid(cursor.id)),
    };
    let rows = app
        .store
        .read(caller.scope(), move |tx| {
            let filter = filter.clone();
            Box::pin(async move { tx.line_list(&filter, limit + 1).await })
        })
        .await?;
    let position = |line: &Line| Cursor {
        at: line.since,
        id: line.id.uuid(),
    };
    Ok(Json(page(rows, limit, position, |line| names.view(line))))
}

/// Show a line with the jobs that wait in it
#[utoipa::path(get, path = "/v1/lines/{id}", tag = "jobs", params(("id" = String, Path, description = "`lin_…`")),
    responses((status = 200, body = LineWithJobs)))]
async fn line_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<LineId>,
) -> Result<Json<LineWithJobs>, Problem> {
    let names = Names::load(&app, caller.scope()).await?;
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                let Some(line) = tx.line_get(id).await? else {
                    return Ok(None);
                };
                let waiting = tx.line_jobs(&line, SHOWN_MAX).await?;
                Ok(Some((line, waiting)))
            })
        })
        .await?;
    let (line, waiting_job_ids) = found.ok_or_else(|| Problem::not_found("line"))?;
    Ok(Json(LineWithJobs {
        line: names.view(line),
        waiting_job_ids,
    }))
}

/// A line that goes on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LineReleased {
    #[schema(value_type = String)]
    id: LineId,
    /// The dead letter that was passed by. It stays one, and can still be run again.
    #[schema(value_type = String)]
    passed_job_id: JobId,
}

/// Let a parked line go on
///
/// Its next job runs; the dead letter that parked it stays one.
#[utoipa::path(post, path = "/v1/lines/{id}/release", tag = "jobs",
    params(("id" = String, Path, description = "`lin_…`")), responses((status = 200, body = LineReleased)))]
async fn line_release(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<LineId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let told = caller.audit(&app, "line.release", id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let told = told.clone();
        Box::pin(async move {
            let Some(line) = tx.line_get(id).await? else {
                return Ok(Err(Problem::not_found("line")));
            };
            if !tx.line_release(&line, now).await? {
                let detail = "this line is not parked: it goes on by itself";
                return Ok(Err(Problem::new(Code::StateConflict, detail)));
            }
            tx.audit_insert(&in_tenant(told, line.tenant)).await?;
            let released = LineReleased {
                id,
                passed_job_id: line.head,
            };
            Done::json(StatusCode::OK, &released).map(Ok)
        })
    })
    .await?;
    app.store.wake();
    Ok(done)
}
