//! Events: what came in, and everything that came of it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use mainstay::intake::{Filter, Filtered, Kept, decompress};
use mainstay_domain::{
    EventId, ReceiptId, SchemaId, SecretId, SourceId, StoreExt, StoreResult, TenantId, Timestamp,
    Tx,
    intake::{
        Blob, Event, EventFilter, EventStatus, EventsFound, JobTally, Receipt, Source, Verdict,
        schemas::Violation,
    },
    jobs::JobFilter,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    conflicts::ConflictView,
    jobs::{JobWithAttempts, Policies},
    page::{Cursor, Page, limit, page},
    replays::ReplayView,
    resolve, sources,
    timeline::{ObjectIdView, objects_of_event},
};
use crate::{
    access::{Caller, reads::InTenant},
    http::{
        Problem,
        extract::{Id, Params},
        text::Text,
    },
    limits,
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(event_list))
        .routes(routes!(event_get))
        .routes(routes!(event_payload))
        .routes(routes!(event_filter))
        .routes(routes!(receipt_list))
}

/// Payloads above this are not shown inside an event; `/v1/events/{id}/payload` has every byte.
const PAYLOAD_SHOWN_MAX: usize = 256 * 1024;

/// How an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EventStatus)]
pub(crate) enum EventStatusName {
    /// No job has been tried yet.
    Pending,
    /// Some job is running or to be retried, or some are done and some wait.
    Processing,
    /// Every job is done.
    Success,
    /// Some job is a dead letter.
    Error,
    /// No binding made a job of it.
    Unhandled,
}

impl From<EventStatus> for EventStatusName {
    fn from(status: EventStatus) -> Self {
        match status {
            EventStatus::Pending => Self::Pending,
            EventStatus::Processing => Self::Processing,
            EventStatus::Success => Self::Success,
            EventStatus::Error => Self::Error,
            EventStatus::Unhandled => Self::Unhandled,
        }
    }
}

impl From<EventStatusName> for EventStatus {
    fn from(status: EventStatusName) -> Self {
        match status {
            EventStatusName::Pending => Self::Pending,
            EventStatusName::Processing => Self::Processing,
            EventStatusName::Success => Self::Success,
            EventStatusName::Error => Self::Error,
            EventStatusName::Unhandled => Self::Unhandled,
        }
    }
}

/// How many jobs of an event are in which state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobTally)]
pub(crate) struct TallyView {
    total: i64,
    waiting: i64,
    running: i64,
    retrying: i64,
    done: i64,
    dead: i64,
    cancelled: i64,
}

impl From<JobTally> for TallyView {
    fn from(tally: JobTally) -> Self {
        Self {
            total: tally.total,
            waiting: tally.waiting,
            running: tally.running,
            retrying: tally.retrying,
            done: tally.done,
            dead: tally.dead,
            cancelled: tally.cancelled,
        }
    }
}

/// An accepted, immutable fact.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventView {
    #[schema(value_type = String)]
    id: EventId,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    #[schema(value_type = String)]
    source_id: SourceId,
    source_name: String,
    /// The provider's own id.
    provider_id: String,
    /// The provider's type, e.g. `invoice.paid`.
    #[serde(rename = "type")]
    kind: String,
    received_at: Time,
    /// When the provider says that it happened.
    occurred_at: Option<Time>,
    payload_bytes: i64,
    /// How often the provider delivered it.
    deliveries: i64,
    status: EventStatusName,
    jobs: TallyView,
    /// What it had otherwise than the schema of its type says; null: nothing, or no schema is for its type.
    violation: Option<ViolationView>,
    /// How often it came again with other content.
    conflicts: i64,
}

/// What an event has otherwise than its schema says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Violation)]
pub(crate) struct ViolationView {
    #[schema(value_type = String)]
    schema_id: SchemaId,
    /// The version of the schema that it was checked against when it came in.
    version: i32,
    /// The first few problems.
    problems: Vec<ProblemView>,
}

/// One thing that an event has otherwise than its schema says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ViolationProblem)]
pub(crate) struct ProblemView {
    /// Where in the payload: a JSON pointer.
    pointer: String,
    /// The word of the schema that it breaks, such as `required`; empty where it cannot be said.
    keyword: String,
    /// What is wrong. No value of the event's is quoted.
    problem: String,
}

impl From<Violation> for ViolationView {
    fn from(violation: Violation) -> Self {
        let problems = violation.problems.into_iter();
        Self {
            schema_id: violation.schema,
            version: violation.version,
            problems: problems
                .map(|one| ProblemView {
                    pointer: one.pointer,
                    keyword: one.keyword,
                    problem: one.problem,
                })
                .collect(),
        }
    }
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            tenant_id: event.tenant,
            source_id: event.source,
            source_name: event.source_name,
            provider_id: event.provider_id,
            kind: event.kind,
            received_at: event.received_at.into(),
            occurred_at: event.occurred_at.map(Into::into),
            payload_bytes: event.payload_bytes,
            deliveries: event.deliveries,
            status: EventStatus::of(event.jobs).into(),
            jobs: event.jobs.into(),
            violation: event.violation.map(Into::into),
            conflicts: event.conflicts,
        }
    }
}

/// A request that brought an event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventReceipt {
    #[schema(value_type = String)]
    id: ReceiptId,
    received_at: Time,
    verdict: VerdictName,
    /// The address it came from.
    remote: String,
    /// The end of the secret that matched; null when it is gone.
    secret_hint: Option<String>,
}

/// How a request was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Verdict)]
pub(crate) enum VerdictName {
    /// It brought something new.
    Accepted,
    /// Everything in it is known.
    Duplicate,
    /// Something in it is known with other content.
    Conflict,
    /// It was not verified.
    Refused,
}

impl From<Verdict> for VerdictName {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Accepted => Self::Accepted,
            Verdict::Duplicate => Self::Duplicate,
            Verdict::Conflict => Self::Conflict,
            Verdict::Refused => Self::Refused,
        }
    }
}

impl From<VerdictName> for Verdict {
    fn from(verdict: VerdictName) -> Self {
        match verdict {
            VerdictName::Accepted => Self::Accepted,
            VerdictName::Duplicate => Self::Duplicate,
            VerdictName::Conflict => Self::Conflict,
            VerdictName::Refused => Self::Refused,
        }
    }
}

/// An event with everything that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventDetail {
    #[serde(flatten)]
    event: EventView,
    /// The payload, where it is JSON and not too large to show; numbers exactly as they came.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// The payload, where it is text but no JSON and not too large to show.
    payload_text: Option<String>,
    /// Whether the payload was erased: nobody can read it any more.
    payload_erased: bool,
    /// The headers of the request that brought it first, without credentials.
    headers: BTreeMap<String, String>,
    /// The requests that brought it, oldest first.
    receipts: Vec<EventReceipt>,
    /// Its jobs, newest first.
    jobs_list: Vec<JobWithAttempts>,
    /// The replays that touched it, newest first.
    replays: Vec<ReplayView>,
    /// The ids of objects that stand in it, as far as it is indexed: each has a timeline.
    objects: Vec<ObjectIdView>,
    /// What came again under its id with other content, the first first. The event is what came first of all.
    conflicts_list: Vec<ConflictView>,
}

/// Which events.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// A source's name or id.
    #[param(inline)]
    source: Option<Text<100>>,
    /// A type; with a trailing `*` all that begin so.
    #[serde(rename = "type")]
    #[param(inline)]
    kind: Option<Text<200>>,
    status: Option<EventStatusName>,
    /// Only those that violate the schema of their type.
    violates: bool,
    /// Only those that came again with other content.
    conflicts: bool,
    /// A tenant's id or slug.
    #[param(inline)]
    tenant: Option<Text<100>>,
    /// An event's id, or the provider's; or, where no event is called so, the id of an object that stands in events.
    #[param(inline)]
    q: Option<Text<300>>,
    /// The id of an object that stands in events.
    #[param(inline)]
    object: Option<Text<200>>,
    /// Received at or after.
    from: Option<Time>,
    /// Received before.
    to: Option<Time>,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// One page of a list of events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventPage {
    /// What is on it. It may be less than was asked for, or nothing, and still not the last page.
    items: Vec<EventView>,
    /// What to pass as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
    /// Looking for few among very many ended before the page was full: everything that was received since then was looked
    /// at, and `next_cursor` goes on from there. Null: the page is full, or the last.
    looked_back_to: Option<Time>,
}

impl EventPage {
    fn of(found: EventsFound, limit: i64) -> Self {
        let position = |event: &Event| Cursor {
            at: event.received_at,
            id: event.id.uuid(),
        };
        let page = page(found.events, limit, position, EventView::from);
        let looked_to = found.looked_to.filter(|_| page.next_cursor.is_none());
        let looked_to = looked_to.map(|id| Cursor {
            at: received_at(id),
            id: id.uuid(),
        });
        Self {
            items: page.items,
            next_cursor: page.next_cursor.or(looked_to.map(Cursor::encode)),
            looked_back_to: looked_to.map(|cursor| cursor.at.into()),
        }
    }
}

/// An id begins with the time that it was made at, in milliseconds.
fn received_at(id: EventId) -> Timestamp {
    let ms = (id.uuid().as_u128() >> 80) as i64;
    Timestamp::from_micros(ms * 1_000)
}

/// Looks for events, and says what was asked: what no event is called by may be an object that stands in events.
pub(super) async fn found(
    tx: &mut dyn Tx,
    mut filter: EventFilter,
    limit: i64,
) -> StoreResult<(EventFilter, EventsFound)> {
    let most = limits::EVENTS_LOOKED;
    let found = tx.event_look(&filter, limit, most).await?;
    if !found.events.is_empty() || filter.object.is_some() || filter.provider_id.is_none() {
        return Ok((filter, found));
    }
    filter.object = filter.provider_id.take();
    let found = tx.event_look(&filter, limit, most).await?;
    Ok((filter, found))
}

/// List events, newest first
///
/// Where few are asked for among very many, as by their status, one page looks at a part of them and says how far it came.
#[utoipa::path(get, path = "/v1/events", tag = "intake", params(EventQuery),
    responses((status = 200, body = EventPage)))]
async fn event_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<EventQuery>,
) -> Result<Json<EventPage>, Problem> {
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let id = query
        .q
        .as_deref()
        .and_then(|text| text.parse::<EventId>().ok());
    let filter = EventFilter {
        tenant: resolve::tenant_filter(&app, &caller, query.tenant.as_deref()).await?,
        source: resolve::source_filter(&app, &caller, query.source).await?,
        kind: query.kind.map(Into::into),
        status: query.status.map(Into::into),
        violates: query.violates,
        conflicts: query.conflicts,
        provider_id: query.q.filter(|_| id.is_none()).map(Into::into),
        ids: id.into_iter().collect(),
        object: query.object.map(Into::into),
        from: query.from.map(|time| time.0),
        to: query.to.map(|time| time.0),
        before: cursor.map(|cursor| (cursor.at, EventId::from_uuid(cursor.id))),
    };
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            let filter = filter.clone();
            Box::pin(async move { Ok(found(tx, filter, limit + 1).await?.1) })
        })
        .await?;
    Ok(Json(EventPage::of(found, limit)))
}

/// Show an event
#[utoipa::path(get, path = "/v1/events/{id}", tag = "intake", params(("id" = String, Path, description = "`evt_…`")),
    responses((status = 200, body = EventDetail)))]
async fn event_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<EventId>,
) -> Result<(Extension<InTenant>, Json<EventDetail>), Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move { detail(tx, id).await })
        })
        .await?;
    let found = found.ok_or_else(|| Problem::not_found("event"))?;
    Ok((Extension(InTenant(found.event.tenant_id)), Json(found)))
}

async fn detail(tx: &mut dyn Tx, id: EventId) -> StoreResult<Option<EventDetail>> {
    let Some(event) = tx.event_get(id).await? else {
        return Ok(None);
    };
    let payload = tx.event_payload(id).await?;
    let receipts = tx.event_receipts(id, limits::EVENT_RECEIPTS_MAX).await?;
    let source = tx.source_get(event.source).await?;
    let filter = JobFilter {
        event: Some(id),
        ..JobFilter::default()
    };
    let jobs = tx.job_list(&filter, limits::EVENT_JOBS_MAX).await?;
    let policies = Policies::load(tx).await?;
    let mut jobs_list = Vec::with_capacity(jobs.len());
    for job in jobs {
        let (attempts, running) = tx.job_attempts(job.id).await?;
        jobs_list.push(JobWithAttempts::of(job, attempts, running, &policies));
    }
    let replays = tx.event_replays(id).await?;
    let objects = objects_of_event(tx, &event).await?;
    let conflicts_list = match event.conflicts {
        0 => Vec::new(),
        _ => ConflictView::list(tx.event_conflicts(id).await?, payload.as_ref())?,
    };
    let arrived = Arrived::of(payload, receipts, source.as_ref())?;
    Ok(Some(EventDetail {
        event: event.into(),
        payload: arrived.payload,
        payload_text: arrived.payload_text,
        payload_erased: arrived.payload_erased,
        headers: arrived.headers,
        receipts: arrived.receipts,
        objects,
        conflicts_list,
        jobs_list,
        replays: replays
            .into_iter()
            .map(ReplayView::of)
            .collect::<StoreResult<_>>()?,
    }))
}

/// What there is of an event, waiting or not, beside its row.
pub(super) struct Arrived {
    pub(super) payload: Option<Box<RawValue>>,
    pub(super) payload_text: Option<String>,
    pub(super) payload_erased: bool,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) receipts: Vec<EventReceipt>,
}

impl Arrived {
    /// Of this payload, where it is kept, and these requests, oldest first.
    pub(super) fn of(
        payload: Option<Blob>,
        receipts: Vec<Receipt>,
        source: Option<&Source>,
    ) -> StoreResult<Self> {
        let payload_erased = payload.as_ref().is_some_and(Blob::is_erased);
        let (payload, payload_text) = shown(payload.filter(|_| !payload_erased))?;
        let first = receipts.first();
        Ok(Self {
            payload,
            payload_text,
            payload_erased,
            headers: first
                .map(|receipt| headers(&receipt.headers))
                .transpose()?
                .unwrap_or_default(),
            receipts: receipts
                .into_iter()
                .map(|receipt| brought(receipt, source))
                .collect(),
        })
    }
}

/// A payload as JSON, else as text.
fn shown(payload: Option<Blob>) -> StoreResult<(Option<Box<RawValue>>, Option<String>)> {
    let Some(payload) = payload else {
        return Ok((None, None));
    };
    let bytes = decompress(&payload)?;
    if bytes.len() > PAYLOAD_SHOWN_MAX {
        return Ok((None, None));
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return Ok((None, None));
    };
    Ok(match serde_json::from_str::<Box<RawValue>>(text) {
        Ok(json) => (Some(json), None),
        Err(_) => (None, Some(text.to_owned())),
    })
}

/// Kept as an object of texts, or of lists of texts where a header came several times.
pub(super) fn headers(blob: &Blob) -> StoreResult<BTreeMap<String, String>> {
    if blob.is_erased() {
        return Ok(BTreeMap::new());
    }
    let bytes = decompress(blob)?;
    let map: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&bytes).unwrap_or_default();
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        serde_json::Value::Array(list) => list
            .iter()
            .map(|one| one.as_str().unwrap_or_default())
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    };
    Ok(map
        .into_iter()
        .map(|(name, value)| (name, text(value)))
        .collect())
}

fn brought(receipt: Receipt, source: Option<&Source>) -> EventReceipt {
    let secret = |id: SecretId| source?.secrets.iter().find(|secret| secret.id == id);
    EventReceipt {
        id: receipt.id,
        received_at: receipt.received_at.into(),
        verdict: receipt.verdict.into(),
        remote: receipt.remote,
        secret_hint: receipt
            .secret
            .and_then(secret)
            .map(|secret| sources::hint(&secret.secret)),
    }
}

/// The payload of an event, byte by byte as it came
#[utoipa::path(get, path = "/v1/events/{id}/payload", tag = "intake",
    params(("id" = String, Path, description = "`evt_…`")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
async fn event_payload(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<EventId>,
) -> Result<Response, Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                let payload = tx.event_payload(id).await?;
                Ok(payload.zip(tx.event_get(id).await?))
            })
        })
        .await?;
    let (payload, event) = found.ok_or_else(|| Problem::not_found("event"))?;
    let answer = as_attachment(&payload)?;
    Ok((Extension(InTenant(event.tenant)), answer).into_response())
}

/// Somebody else's bytes, as an answer that no browser shows.
pub(super) fn as_attachment(payload: &Blob) -> Result<Response, Problem> {
    let bytes = decompress(payload)?;
    let mut response = Body::from(bytes).into_response();
    let headers = response.headers_mut();
    // Somebody else's bytes: never to be shown as a page of ours.
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment"),
    );
    Ok(response)
}

/// An expression to try.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilterQuery {
    /// As a binding would have it.
    #[param(min_length = 1, max_length = 1000)]
    filter: String,
}

/// What a filter says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FilterOutcome {
    /// The event would make a job.
    Passed,
    /// It would not.
    Held,
    /// The expression cannot be evaluated over it; so it would not.
    Failed,
}

/// What a filter says of an event, and why where it fails.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FilterAnswer {
    outcome: FilterOutcome,
    /// Why it failed.
    reason: Option<String>,
}

impl From<Filtered> for FilterAnswer {
    fn from(said: Filtered) -> Self {
        let (outcome, reason) = match said {
            Filtered::Passed => (FilterOutcome::Passed, None),
            Filtered::Held => (FilterOutcome::Held, None),
            Filtered::Failed(reason) => (FilterOutcome::Failed, Some(reason)),
        };
        Self { outcome, reason }
    }
}

/// Try a binding's filter on an event that is kept
#[utoipa::path(get, path = "/v1/events/{id}/filter", tag = "intake",
    params(("id" = String, Path, description = "`evt_…`"), FilterQuery),
    responses((status = 200, body = FilterAnswer)))]
async fn event_filter(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<FilterQuery>,
    Id(id): Id<EventId>,
) -> Result<(Extension<InTenant>, Json<FilterAnswer>), Problem> {
    let filter = Filter::new(&query.filter)
        .map_err(|problem| Problem::field("?filter", problem.to_string()))?;
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                let Some(event) = tx.event_get(id).await? else {
                    return Ok(None);
                };
                Ok(Kept::load(tx, &event).await?.map(|kept| (event, kept)))
            })
        })
        .await?;
    let (event, kept) = found.ok_or_else(|| Problem::not_found("event"))?;
    let said = filter.evaluate(&kept.subject(&event));
    Ok((Extension(InTenant(event.tenant)), Json(said.into())))
}

/// A request as it arrived.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Receipt)]
pub(crate) struct ReceiptView {
    #[schema(value_type = String)]
    id: ReceiptId,
    #[schema(value_type = String)]
    source_id: SourceId,
    source_name: String,
    received_at: Time,
    verdict: VerdictName,
    /// For a refused request the code of the reason, e.g. `signature_wrong`.
    reason: Option<String>,
    /// The address it came from.
    remote: String,
    /// Bytes of its body.
    bytes: i64,
}

impl From<Receipt> for ReceiptView {
    fn from(receipt: Receipt) -> Self {
        Self {
            id: receipt.id,
            source_id: receipt.source,
            source_name: receipt.source_name,
            received_at: receipt.received_at.into(),
            verdict: receipt.verdict.into(),
            reason: receipt.refusal,
            remote: receipt.remote,
            bytes: receipt.body_bytes,
        }
    }
}

/// Which requests.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReceiptQuery {
    /// A source's name or id.
    #[param(inline)]
    source: Option<Text<100>>,
    /// Left out: those that were refused.
    verdict: Option<VerdictName>,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// List requests, newest first: those that were refused, unless asked otherwise
#[utoipa::path(get, path = "/v1/receipts", tag = "intake", params(ReceiptQuery),
    responses((status = 200, body = Page<ReceiptView>)))]
async fn receipt_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<ReceiptQuery>,
) -> Result<Json<Page<ReceiptView>>, Problem> {
    let limit = limit(query.limit)?;
    let before =
        Cursor::parse(query.cursor.as_deref())?.map(|one| (one.at, ReceiptId::from_uuid(one.id)));
    let source = resolve::source_filter(&app, &caller, query.source).await?;
    let verdict = query.verdict.map_or(Verdict::Refused, Into::into);
    let rows = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                tx.receipt_list(source, Some(verdict), before, limit + 1)
                    .await
            })
        })
        .await?;
    let position = |receipt: &Receipt| Cursor {
        at: receipt.received_at,
        id: receipt.id.uuid(),
    };
    Ok(Json(page(rows, limit, position, ReceiptView::from)))
}
