//! Dead letters: listed with their reasons, run again or given up, one by one or in bulk, and exported.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use mainstay::jobs::dead_letter::{self, End};
use mainstay_domain::{
    Category, EndpointId, EventId, JobId, Scope, StoreError, StoreExt, StoreResult, TenantId,
    jobs::{DeadLetter, DeadLetterFilter, DeadLetterGroup},
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
        idempotency::{Repeatable, converge},
        reads::InTenant,
    },
    http::{
        Problem,
        extract::{Checks, Input, Params},
        text::{JobIdText, Name, Text},
    },
    limits,
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(dead_letter_list))
        .routes(routes!(dead_letter_groups))
        .routes(routes!(dead_letter_retry))
        .routes(routes!(dead_letter_discard))
        .routes(routes!(dead_letter_export))
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Category)]
pub(crate) enum CategoryName {
    /// The other side could not be reached.
    Network,
    /// No answer within the time allowed.
    Timeout,
    /// The other side asked us to slow down.
    RateLimited,
    /// The input is wrong and will stay wrong.
    Validation,
    /// We are not allowed to.
    Auth,
    /// Somebody else was there first.
    Conflict,
    /// Our own database failed.
    Database,
    /// The other side failed.
    Provider,
    /// A defect of ours.
    Bug,
    /// None of these could be told.
    Unknown,
}

impl From<Category> for CategoryName {
    fn from(category: Category) -> Self {
        match category {
            Category::Network => Self::Network,
            Category::Timeout => Self::Timeout,
            Category::RateLimited => Self::RateLimited,
            Category::Validation => Self::Validation,
            Category::Auth => Self::Auth,
            Category::Conflict => Self::Conflict,
            Category::Database => Self::Database,
            Category::Provider => Self::Provider,
            Category::Bug => Self::Bug,
            Category::Unknown => Self::Unknown,
        }
    }
}

impl From<CategoryName> for Category {
    fn from(category: CategoryName) -> Self {
        match category {
            CategoryName::Network => Self::Network,
            CategoryName::Timeout => Self::Timeout,
            CategoryName::RateLimited => Self::RateLimited,
            CategoryName::Validation => Self::Validation,
            CategoryName::Auth => Self::Auth,
            CategoryName::Conflict => Self::Conflict,
            CategoryName::Database => Self::Database,
            CategoryName::Provider => Self::Provider,
            CategoryName::Bug => Self::Bug,
            CategoryName::Unknown => Self::Unknown,
        }
    }
}

/// A job that has used up its tries, or met an error that no retry can mend.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(crate) struct DeadLetterView {
    #[schema(value_type = String)]
    job_id: JobId,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    kind: String,
    queue: String,
    #[schema(value_type = Option<String>)]
    endpoint_id: Option<EndpointId>,
    endpoint_name: Option<String>,
    #[schema(value_type = Option<String>)]
    event_id: Option<EventId>,
    event_type: Option<String>,
    died_at: Time,
    /// Attempts recorded.
    attempts: i32,
    category: CategoryName,
    /// The stable code of the last failure.
    code: String,
    /// What the last failure said.
    error: String,
    /// The HTTP status of the last answer.
    status: Option<i32>,
}

/// Names that views show beside ids and numbers.
#[derive(Default)]
struct Names {
    queues: HashMap<i32, String>,
    endpoints: HashMap<EndpointId, String>,
}

impl Names {
    async fn load(app: &App, scope: Scope) -> StoreResult<Self> {
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
                .map(|one| (one.id, one.name))
                .collect(),
        })
    }

    fn view(&self, letter: DeadLetter) -> DeadLetterView {
        DeadLetterView {
            job_id: letter.job,
            tenant_id: letter.tenant,
            kind: letter.kind,
            queue: self.queues.get(&letter.queue).cloned().unwrap_or_default(),
            endpoint_id: letter.endpoint,
            endpoint_name: letter
                .endpoint
                .and_then(|id| self.endpoints.get(&id).cloned()),
            event_id: letter.event,
            event_type: letter.event_kind,
            died_at: letter.died_at.into(),
            attempts: letter.attempt,
            category: letter.category.into(),
            code: letter.code,
            error: letter.error,
            status: letter.status,
        }
    }

    fn group(&self, group: DeadLetterGroup) -> GroupView {
        GroupView {
            category: group.category.into(),
            code: group.code,
            kind: group.kind,
            endpoint_id: group.endpoint,
            endpoint_name: group
                .endpoint
                .and_then(|id| self.endpoints.get(&id).cloned()),
            count: group.count,
            oldest: group.oldest.into(),
            newest: group.newest.into(),
            sample_error: group.sample_error,
        }
    }
}

/// Dead letters that failed alike.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterGroup)]
pub(crate) struct GroupView {
    category: CategoryName,
    code: String,
    kind: String,
    #[schema(value_type = Option<String>)]
    endpoint_id: Option<EndpointId>,
    endpoint_name: Option<String>,
    count: i64,
    /// When the first died.
    oldest: Time,
    /// When the last died.
    newest: Time,
    /// The error of one of them.
    sample_error: String,
}

/// Groups of dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterGroups {
    items: Vec<GroupView>,
}

/// Which dead letters.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadLetterQuery {
    /// A tenant's id or slug.
    #[param(inline)]
    tenant: Option<Text<100>>,
    /// What was to be done.
    #[param(inline)]
    kind: Option<Text<100>>,
    /// An endpoint's name or id.
    #[param(inline)]
    endpoint: Option<Text<100>>,
    /// An event's id.
    #[param(inline)]
    event: Option<Text<100>>,
    category: Option<CategoryName>,
    /// The stable code of the last failure.
    #[param(inline)]
    code: Option<Text<100>>,
    /// Died at or after.
    from: Option<Time>,
    /// Died before.
    to: Option<Time>,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

impl DeadLetterQuery {
    async fn filter(self, app: &App, caller: &Caller) -> Result<DeadLetterFilter, Problem> {
        let cursor = Cursor::parse(self.cursor.as_deref())?;
        Ok(DeadLetterFilter {
            tenant: resolve::tenant_filter(app, caller, self.tenant.as_deref()).await?,
            jobs: Vec::new(),
            kind: self.kind.map(Into::into),
            endpoint: resolve::endpoint_filter(app, caller, self.endpoint).await?,
            // What is no id belongs to no dead letter.
            event: self.event.map(|text| text.parse().unwrap_or(EventId::NIL)),
            category: self.category.map(Into::into),
            code: self.code.map(Into::into),
            from: self.from.map(|time| time.0),
            to: self.to.map(|time| time.0),
            before: cursor.map(|cursor| (cursor.at, JobId::from_uuid(cursor.id))),
        })
    }
}

/// List dead letters, newest first
#[utoipa::path(get, path = "/v1/dead-letters", tag = "jobs", params(DeadLetterQuery),
    responses((status = 200, body = Page<DeadLetterView>)))]
async fn dead_letter_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<DeadLetterQuery>,
) -> Result<Json<Page<DeadLetterView>>, Problem> {
    let limit = limit(query.limit)?;
    let filter = query.filter(&app, &caller).await?;
    let rows = app
        .store
        .read(caller.scope(), move |tx| {
            let filter = filter.clone();
            Box::pin(async move { tx.dead_letter_list(&filter, limit + 1).await })
        })
        .await?;
    let names = Names::load(&app, caller.scope()).await?;
    let position = |letter: &DeadLetter| Cursor {
        at: letter.died_at,
        id: letter.job.uuid(),
    };
    Ok(Json(page(rows, limit, position, |letter| {
        names.view(letter)
    })))
}

/// Group dead letters by their reason
#[utoipa::path(get, path = "/v1/dead-letters/groups", tag = "jobs", params(DeadLetterQuery),
    responses((status = 200, body = DeadLetterGroups)))]
async fn dead_letter_groups(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<DeadLetterQuery>,
) -> Result<Json<DeadLetterGroups>, Problem> {
    limit(query.limit)?;
    let filter = query.filter(&app, &caller).await?;
    let plan = dead_letter::plan(&*app.store, caller.scope(), filter).await?;
    let names = Names::load(&app, caller.scope()).await?;
    Ok(Json(DeadLetterGroups {
        items: plan
            .groups
            .into_iter()
            .map(|group| names.group(group))
            .collect(),
    }))
}

/// Which dead letters.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DeadLetterSelection {
    /// Exactly these; of the rest only what they match as well.
    #[schema(value_type = Option<Vec<JobIdText>>, min_items = 1, max_items = 1000)]
    job_ids: Option<Vec<JobId>>,
    /// A tenant's id or slug.
    tenant: Option<Text<100>>,
    /// What was to be done.
    #[schema(value_type = Option<Name<100>>)]
    kind: Option<String>,
    /// An endpoint's name or id.
    endpoint: Option<Text<100>>,
    /// An event's id.
    #[schema(value_type = Option<String>, pattern = "^evt_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    event: Option<EventId>,
    category: Option<CategoryName>,
    /// The stable code of the last failure.
    #[schema(value_type = Option<Name<100>>)]
    code: Option<String>,
    /// Died at or after.
    from: Option<Time>,
    /// Died before.
    to: Option<Time>,
}

impl DeadLetterSelection {
    async fn filter(self, app: &App, caller: &Caller) -> Result<DeadLetterFilter, Problem> {
        let jobs = self.job_ids.clone().unwrap_or_default();
        let mut checks = Checks::default();
        let few = jobs.len() <= limits::SELECTION_IDS_MAX;
        checks.ensure(
            few,
            "/selection/job_ids",
            &format!("has more than {} ids", limits::SELECTION_IDS_MAX),
        );
        // An empty list means none of them, and must not mean all.
        checks.ensure(
            self.job_ids.as_ref().is_none_or(|ids| !ids.is_empty()),
            "/selection/job_ids",
            "is empty",
        );
        for (pointer, text) in [
            ("/selection/kind", &self.kind),
            ("/selection/code", &self.code),
        ] {
            if let Some(text) = text {
                checks.text(pointer, text, 100);
            }
        }
        checks.done()?;
        Ok(DeadLetterFilter {
            tenant: resolve::tenant_filter(app, caller, self.tenant.as_deref()).await?,
            jobs,
            kind: self.kind,
            endpoint: resolve::endpoint_filter(app, caller, self.endpoint).await?,
            event: self.event,
            category: self.category.map(Into::into),
            code: self.code,
            from: self.from.map(|time| time.0),
            to: self.to.map(|time| time.0),
            before: None,
        })
    }
}

/// Dead letters to run again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLetterRetry {
    selection: DeadLetterSelection,
    /// Only say what would happen.
    plan: bool,
}

/// Dead letters to give up.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLetterDiscard {
    selection: DeadLetterSelection,
    /// Why: it stays in the jobs' histories.
    #[schema(value_type = Name<500>)]
    reason: String,
    /// Only say what would happen.
    plan: bool,
}

/// How many failed for one reason.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReasonCount {
    category: CategoryName,
    code: String,
    count: i64,
}

/// What would happen, or what happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RetryAnswer {
    /// How many the selection met.
    matched: i64,
    /// How many run again; 0 in a plan.
    retried: i64,
    by_reason: Vec<ReasonCount>,
}

/// What would happen, or what happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiscardAnswer {
    /// How many the selection met.
    matched: i64,
    /// How many were given up; 0 in a plan.
    discarded: i64,
    by_reason: Vec<ReasonCount>,
}

/// Run dead letters again, or plan it
///
/// Their tries start from the beginning. One call takes at most 50,000.
#[utoipa::path(post, path = "/v1/dead-letters/retry", tag = "jobs", request_body = DeadLetterRetry,
    responses((status = 200, body = RetryAnswer)))]
async fn dead_letter_retry(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<DeadLetterRetry>,
) -> Result<Response, Problem> {
    let DeadLetterRetry { selection, plan } = input.value;
    let bulk = Bulk {
        action: "dead_letter.retry",
        end: End::Retry,
        plan,
    };
    let answer = |met: Met| RetryAnswer {
        matched: met.matched,
        retried: met.ended,
        by_reason: met.by_reason,
    };
    bulk.run(&app, &caller, selection, input.repeatable, answer)
        .await
}

/// Give dead letters up, or plan it
///
/// They leave the list; their jobs stay with the reason in their history. One call takes at most 50,000.
#[utoipa::path(post, path = "/v1/dead-letters/discard", tag = "jobs", request_body = DeadLetterDiscard,
    responses((status = 200, body = DiscardAnswer)))]
async fn dead_letter_discard(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<DeadLetterDiscard>,
) -> Result<Response, Problem> {
    let DeadLetterDiscard {
        selection,
        reason,
        plan,
    } = input.value;
    let mut checks = Checks::default();
    checks.text("/reason", &reason, 500);
    checks.done()?;
    let bulk = Bulk {
        action: "dead_letter.discard",
        end: End::Discard(reason),
        plan,
    };
    let answer = |met: Met| DiscardAnswer {
        matched: met.matched,
        discarded: met.ended,
        by_reason: met.by_reason,
    };
    bulk.run(&app, &caller, selection, input.repeatable, answer)
        .await
}

struct Bulk {
    action: &'static str,
    end: End,
    plan: bool,
}

struct Met {
    matched: i64,
    ended: i64,
    by_reason: Vec<ReasonCount>,
}

impl Bulk {
    async fn run<T: Serialize>(
        self,
        app: &App,
        caller: &Caller,
        selection: DeadLetterSelection,
        repeatable: Repeatable,
        answer: impl FnOnce(Met) -> T,
    ) -> Result<Response, Problem> {
        let filter = selection.filter(app, caller).await?;
        if self.plan {
            let met = plan(app, caller, filter).await?;
            return Ok(Json(answer(met)).into_response());
        }
        let ended = async {
            let met = plan(app, caller, filter.clone()).await?;
            self.tell(app, caller, &filter, met.matched).await?;
            let by = caller.actor();
            let ended = dead_letter::end(
                &*app.store,
                &*app.clock,
                caller.scope(),
                filter,
                self.end,
                &by,
            )
            .await?;
            app.mainstay.samples.changed("dead_letter", &[] as &[JobId]);
            Ok(answer(Met { ended, ..met }))
        };
        converge(app, caller, repeatable, ended).await
    }

    /// Written before the first step: what is begun is on record even if the process dies on the way.
    async fn tell(
        &self,
        app: &App,
        caller: &Caller,
        filter: &DeadLetterFilter,
        matched: i64,
    ) -> StoreResult<()> {
        let what = serde_json::json!({
            "matched": matched,
            "jobs": filter.jobs.len(),
            "kind": filter.kind,
            "endpoint": filter.endpoint,
            "category": filter.category,
            "code": filter.code,
        });
        let told = caller.audit(app, self.action, "", Some(what), filter.tenant);
        app.store
            .transact(caller.scope(), move |tx| {
                let told = told.clone();
                Box::pin(async move { tx.audit_insert(&told).await })
            })
            .await
    }
}

async fn plan(app: &App, caller: &Caller, filter: DeadLetterFilter) -> StoreResult<Met> {
    let plan = dead_letter::plan(&*app.store, caller.scope(), filter).await?;
    let mut by_reason: Vec<ReasonCount> = Vec::new();
    for group in plan.groups {
        let category = group.category.into();
        match by_reason
            .iter_mut()
            .find(|one| one.category == category && one.code == group.code)
        {
            Some(known) => known.count += group.count,
            None => by_reason.push(ReasonCount {
                category,
                code: group.code,
                count: group.count,
            }),
        }
    }
    Ok(Met {
        matched: plan.matched,
        ended: 0,
        by_reason,
    })
}

/// Export dead letters, one JSON object a line
#[utoipa::path(get, path = "/v1/dead-letters/export", tag = "jobs", params(DeadLetterQuery),
    responses((status = 200, body = String, content_type = "application/x-ndjson")))]
async fn dead_letter_export(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<DeadLetterQuery>,
) -> Result<Response, Problem> {
    limit(query.limit)?;
    let filter = query.filter(&app, &caller).await?;
    // Of all tenants there is no one to name.
    let tenant = filter.tenant.map(|tenant| Extension(InTenant(tenant)));
    let scope = caller.scope();
    let names = Arc::new(Names::load(&app, scope).await?);
    let first = step(&app, scope, filter.clone()).await?;
    // The first step has been read before the status goes out: a failure until here is still a problem.
    let begun = Some((Some(first), filter));
    let lines = stream::unfold(begun, move |state| {
        let (app, names) = (Arc::clone(&app), Arc::clone(&names));
        async move {
            let (read, mut filter) = state?;
            let letters = match read {
                Some(letters) => letters,
                None => match step(&app, scope, filter.clone()).await {
                    Ok(letters) => letters,
                    // Cut, so that the reader sees that the export is not whole.
                    Err(error) => return Some((Err(error), None)),
                },
            };
            let last = letters.last()?;
            filter.before = Some((last.died_at, last.job));
            let whole = letters.len() as i64 == limits::EXPORT_STEP;
            Some((ndjson(&names, letters), whole.then_some((None, filter))))
        }
    });
    let mut response = Body::from_stream(lines).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    let name = HeaderValue::from_static("attachment; filename=\"dead-letters.ndjson\"");
    headers.insert(header::CONTENT_DISPOSITION, name);
    Ok((tenant, response).into_response())
}

async fn step(app: &App, scope: Scope, filter: DeadLetterFilter) -> StoreResult<Vec<DeadLetter>> {
    app.store
        .read(scope, move |tx| {
            let filter = filter.clone();
            Box::pin(async move { tx.dead_letter_list(&filter, limits::EXPORT_STEP).await })
        })
        .await
}

fn ndjson(names: &Names, letters: Vec<DeadLetter>) -> Result<Bytes, StoreError> {
    let mut lines = Vec::new();
    for letter in letters {
        serde_json::to_writer(&mut lines, &names.view(letter))
            .map_err(|error| StoreError::Bug(error.to_string()))?;
        lines.push(b'\n');
    }
    Ok(lines.into())
}
