//! The timeline of an object: everything about one customer, payment or repository, found by an id in the payloads.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use axum::{Json, extract::State};
use mainstay_domain::{
    EndpointId, EventId, SourceId, StoreExt, StoreResult, TenantId, Timestamp, Tx,
    intake::{
        Event, EventFilter, Receipt,
        drift::Drift,
        objects::{self, MentionFilter, ObjectId, ObjectRules},
        settings::SourceSettings,
    },
    jobs::{Attempt, DeadLetterFilter, Job, JobFilter, JobState, Outcome},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    events::EventView,
    page::{Cursor, Page, page},
    resolve,
    sources::ObjectRule,
};
use crate::{
    access::Caller,
    http::{
        Problem,
        extract::{Id, Params},
        text::Text,
    },
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(timeline_get))
        .routes(routes!(source_objects))
}

/// Events on a page unless asked otherwise, and at the most: each comes with all that followed.
const PAGE: i64 = 20;
const PAGE_MAX: i64 = 50;
/// Jobs of one event that are told of, newest first.
const JOBS_MAX: i64 = 20;
/// Requests of one event that are told of.
const RECEIPTS_MAX: i64 = 20;
/// Steps of one event.
const STEPS_MAX: usize = 200;
/// The newest events that are looked at for ids beside the one that was asked for.
const RELATED_EVENTS: i64 = 100;
/// Ids beside it that are shown.
const RELATED_MAX: usize = 30;

/// An id that stands in an event.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ObjectId)]
pub(crate) struct ObjectIdView {
    /// What it is the id of, e.g. `customer`: the name of the rule that found it.
    name: String,
    id: String,
}

impl From<ObjectId> for ObjectIdView {
    fn from(object: ObjectId) -> Self {
        Self {
            name: object.name,
            id: object.id,
        }
    }
}

/// What a step of a timeline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepName {
    /// A request that brought the event.
    Request,
    /// The event itself.
    Event,
    /// It is not as the schema of its type says.
    Violation,
    /// Its source began to say something with it.
    Finding,
    /// A replay that took it up once more.
    Replay,
    /// A job that was made of it.
    Job,
    /// A try of that job: a delivery, where it goes to an endpoint.
    Attempt,
    /// The job is a dead letter.
    DeadLetter,
}

/// One step of what happened around an event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimelineStep {
    at: Time,
    what: StepName,
    /// The id of what it tells of; of an attempt and a dead letter the job's.
    id: String,
    /// The id of what it follows from; null: it is the beginning.
    of: Option<String>,
    /// Verdict, state or outcome.
    state: String,
    /// The same in words.
    text: String,
}

/// An event with its ids and everything that happened around it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimelineItem {
    #[serde(flatten)]
    event: EventView,
    /// The ids that stand in it.
    objects: Vec<ObjectIdView>,
    /// In causal order: the request, the event, then what followed, each after what it follows from.
    steps: Vec<TimelineStep>,
    /// Whether there are more steps than are shown.
    steps_truncated: bool,
}

/// An id that stands in the same events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RelatedObject {
    name: String,
    id: String,
    /// In how many of the newest 100 events.
    events: i64,
}

/// How far a source's events are looked at once more, since its rules have changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reindexing {
    #[schema(value_type = String)]
    source_id: SourceId,
    done: i64,
    total: i64,
}

/// How far the index goes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IndexView {
    /// What was received before is indexed.
    until: Time,
    /// Whether everything there is was received before. If not, the newest events are still to come.
    complete: bool,
    /// Sources whose events are looked at once more.
    reindexing: Vec<Reindexing>,
}

/// Everything about one object.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Timeline {
    /// The id that was asked for.
    object: String,
    items: Vec<TimelineItem>,
    /// Other ids in the newest of its events, the most frequent first; on the first page alone.
    related: Vec<RelatedObject>,
    index: IndexView,
    /// What to pass as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which way a timeline goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TimelineOrder {
    /// The newest event first.
    #[default]
    Newest,
    /// The oldest event first.
    Oldest,
}

/// Which object.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TimelineQuery {
    /// An id as it stands in payloads, e.g. `cus_NffrFeUfNV2Hib` or `octocat/hello-world`; also an event's own id, or the
    /// provider's.
    #[param(inline)]
    object: Text<200>,
    /// A tenant's id or slug.
    #[param(inline)]
    tenant: Option<Text<100>>,
    #[serde(default)]
    #[param(inline)]
    order: TimelineOrder,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many events at the most.
    #[param(minimum = 1, maximum = 50, default = 20)]
    limit: Option<i64>,
}

/// Show everything about one object: a customer, a payment, a repository
///
/// Every event that the id stands in, each with its requests, findings, replays, jobs, attempts and dead letters. Where ids
/// stand is said by the rules of the events' sources (`settings.objects`); events are indexed in the background, within
/// about a second.
#[utoipa::path(get, path = "/v1/timeline", tag = "intake", params(TimelineQuery),
    responses((status = 200, body = Timeline)))]
async fn timeline_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<TimelineQuery>,
) -> Result<Json<Timeline>, Problem> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        let words = format!("must be between 1 and {PAGE_MAX}");
        return Err(Problem::field("?limit", words));
    }
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let object: String = query.object.into();
    if !objects::is_id(&object) {
        return Err(Problem::field("?object", "is not an id"));
    }
    let asked = MentionFilter {
        object,
        tenant: resolve::tenant_filter(&app, &caller, query.tenant.as_deref()).await?,
        oldest_first: query.order == TimelineOrder::Oldest,
        after: cursor.map(|cursor| EventId::from_uuid(cursor.id)),
    };
    let timeline = app
        .store
        .read(caller.scope(), move |tx| {
            let asked = asked.clone();
            Box::pin(async move { timeline(tx, asked, limit).await })
        })
        .await?;
    Ok(Json(timeline))
}

/// How many events the first page tells of. For benches: all that an answer costs but its JSON.
pub(crate) async fn events_told(tx: &mut dyn Tx, asked: MentionFilter) -> StoreResult<usize> {
    Ok(timeline(tx, asked, PAGE).await?.items.len())
}

async fn timeline(tx: &mut dyn Tx, asked: MentionFilter, limit: i64) -> StoreResult<Timeline> {
    let mentions = tx.object_mentions(&asked, limit + 1).await?;
    let mut by_tenant: BTreeMap<TenantId, Vec<EventId>> = BTreeMap::new();
    for (tenant, event) in &mentions {
        by_tenant.entry(*tenant).or_default().push(*event);
    }
    let mut events = Vec::with_capacity(mentions.len());
    for (tenant, ids) in by_tenant {
        let these = EventFilter {
            tenant: Some(tenant),
            ids,
            ..EventFilter::default()
        };
        events.extend(tx.event_list(&these, limit + 1).await?);
    }
    if mentions.is_empty() && asked.after.is_none() {
        events = by_own_id(tx, &asked, limit + 1).await?;
    }
    events.sort_by(|a, b| match asked.oldest_first {
        true => a.id.cmp(&b.id),
        false => b.id.cmp(&a.id),
    });
    let position = |event: &Event| Cursor {
        at: event.received_at,
        id: event.id.uuid(),
    };
    let Page { items, next_cursor } = page(events, limit, position, |event| event);
    let mut beside = Beside::load(tx, &items).await?;
    let mut told = Vec::with_capacity(items.len());
    for event in items {
        told.push(item(tx, event, &mut beside).await?);
    }
    let related = match asked.after {
        None => related(tx, &asked).await?,
        Some(_) => Vec::new(),
    };
    Ok(Timeline {
        index: index(tx).await?,
        object: asked.object,
        items: told,
        related,
        next_cursor,
    })
}

/// What there is beside the events of a page, read for all of them at once.
struct Beside {
    objects: HashMap<EventId, Vec<ObjectId>>,
    findings: HashMap<EventId, Vec<Drift>>,
    /// Requests that are kept within their events.
    requests: HashMap<EventId, Receipt>,
    /// The names of endpoints.
    endpoints: HashMap<EndpointId, String>,
}

impl Beside {
    async fn load(tx: &mut dyn Tx, events: &[Event]) -> StoreResult<Self> {
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let mut findings: HashMap<EventId, Vec<Drift>> = HashMap::new();
        for drift in tx.object_findings(&ids).await? {
            findings.entry(drift.event).or_default().push(drift);
        }
        let mut by_tenant: BTreeMap<TenantId, Vec<EventId>> = BTreeMap::new();
        for event in events {
            by_tenant.entry(event.tenant).or_default().push(event.id);
        }
        let mut requests = HashMap::new();
        for (tenant, ids) in by_tenant {
            for request in tx.object_requests(tenant, &ids).await? {
                requests.insert(EventId::from_uuid(request.id.uuid()), request);
            }
        }
        let endpoints = tx.endpoint_list().await?;
        Ok(Self {
            objects: objects_of(tx, events.iter().map(|one| (one.tenant, one.id))).await?,
            findings,
            requests,
            endpoints: endpoints
                .into_iter()
                .map(|endpoint| (endpoint.id, endpoint.name))
                .collect(),
        })
    }
}

/// The event that is called so itself: by its id, or by the provider's.
async fn by_own_id(tx: &mut dyn Tx, asked: &MentionFilter, limit: i64) -> StoreResult<Vec<Event>> {
    let own = asked.object.parse::<EventId>().ok();
    let filter = EventFilter {
        tenant: asked.tenant,
        provider_id: own.is_none().then(|| asked.object.clone()),
        ids: own.into_iter().collect(),
        ..EventFilter::default()
    };
    tx.event_list(&filter, limit).await
}

async fn objects_of(
    tx: &mut dyn Tx,
    events: impl Iterator<Item = (TenantId, EventId)>,
) -> StoreResult<HashMap<EventId, Vec<ObjectId>>> {
    let mut by_tenant: BTreeMap<TenantId, Vec<EventId>> = BTreeMap::new();
    for (tenant, event) in events {
        by_tenant.entry(tenant).or_default().push(event);
    }
    let mut objects = HashMap::new();
    for (tenant, events) in by_tenant {
        objects.extend(tx.object_of(tenant, &events).await?);
    }
    Ok(objects)
}

/// The ids that stand in this event, as far as it is indexed.
pub(super) async fn objects_of_event(
    tx: &mut dyn Tx,
    event: &Event,
) -> StoreResult<Vec<ObjectIdView>> {
    let mut objects = tx.object_of(event.tenant, &[event.id]).await?;
    let objects = objects.remove(&event.id).unwrap_or_default();
    Ok(objects.into_iter().map(Into::into).collect())
}

async fn related(tx: &mut dyn Tx, asked: &MentionFilter) -> StoreResult<Vec<RelatedObject>> {
    let newest = MentionFilter {
        oldest_first: false,
        ..asked.clone()
    };
    let events = tx.object_mentions(&newest, RELATED_EVENTS).await?;
    let mut counts: HashMap<ObjectId, i64> = HashMap::new();
    for object in objects_of(tx, events.into_iter())
        .await?
        .into_values()
        .flatten()
        .filter(|object| object.id != asked.object)
    {
        *counts.entry(object).or_default() += 1;
    }
    let mut related: Vec<(ObjectId, i64)> = counts.into_iter().collect();
    related.sort_by(|(a, some), (b, others)| others.cmp(some).then_with(|| a.cmp(b)));
    related.truncate(RELATED_MAX);
    Ok(related
        .into_iter()
        .map(|(ObjectId { name, id }, events)| RelatedObject { name, id, events })
        .collect())
}

async fn index(tx: &mut dyn Tx) -> StoreResult<IndexView> {
    let state = tx.object_state().await?;
    let sources = tx.object_sources().await?.into_iter();
    Ok(IndexView {
        until: state.until.into(),
        complete: !tx.object_behind(state.until).await?,
        reindexing: sources
            .filter_map(|one| {
                let walk = one.walk?;
                Some(Reindexing {
                    source_id: one.source,
                    done: walk.done,
                    total: walk.total,
                })
            })
            .collect(),
    })
}

async fn item(tx: &mut dyn Tx, event: Event, beside: &mut Beside) -> StoreResult<TimelineItem> {
    let id = event.id.to_string();
    let receipts = match beside.requests.remove(&event.id) {
        // Nearly all of them: one request that brought this event and nothing else, once.
        Some(request) if event.deliveries <= 1 => vec![request],
        _ => tx.event_receipts(event.id, RECEIPTS_MAX).await?,
    };
    let mut receipts = receipts.into_iter();
    let mut steps: Vec<TimelineStep> = Vec::new();
    let first = receipts.next();
    steps.extend(first.as_ref().map(|receipt| request(receipt, None)));
    steps.push(TimelineStep {
        at: event.received_at.into(),
        what: StepName::Event,
        id: id.clone(),
        of: first.map(|receipt| receipt.id.to_string()),
        state: mainstay_domain::intake::EventStatus::of(event.jobs)
            .as_str()
            .to_owned(),
        text: format!("{} {}", event.kind, event.provider_id),
    });
    if let Some(violation) = &event.violation {
        steps.push(TimelineStep {
            at: event.received_at.into(),
            what: StepName::Violation,
            id: violation.schema.to_string(),
            of: Some(id.clone()),
            state: "violates".to_owned(),
            text: format!(
                "{} problems by version {} of its schema",
                violation.problems.len(),
                violation.version
            ),
        });
    }
    // What followed, each with what followed from it in turn.
    let mut groups: Vec<(Timestamp, Vec<TimelineStep>)> = Vec::new();
    for receipt in receipts {
        groups.push((receipt.received_at, vec![request(&receipt, Some(&id))]));
    }
    for drift in beside.findings.remove(&event.id).unwrap_or_default() {
        groups.push((
            drift.found_at,
            vec![TimelineStep {
                at: drift.found_at.into(),
                what: StepName::Finding,
                id: drift.id.to_string(),
                of: Some(id.clone()),
                state: drift.finding.kind.as_str().to_owned(),
                text: format!("{} {}", drift.finding.path, drift.finding.after)
                    .trim()
                    .to_owned(),
            }],
        ));
    }
    if event.jobs.total > 0 {
        for replay in tx.event_replays(event.id).await? {
            groups.push((
                replay.created_at,
                vec![TimelineStep {
                    at: replay.created_at.into(),
                    what: StepName::Replay,
                    id: replay.id.to_string(),
                    of: Some(id.clone()),
                    state: replay.state.as_str().to_owned(),
                    text: format!("asked for by {}", replay.by),
                }],
            ));
        }
        groups.extend(jobs(tx, &event, &id, &beside.endpoints).await?);
    }
    groups.sort_by_key(|(at, _)| *at);
    steps.extend(groups.into_iter().flat_map(|(_, steps)| steps));
    let steps_truncated = steps.len() > STEPS_MAX || event.jobs.total > JOBS_MAX;
    steps.truncate(STEPS_MAX);
    let objects = beside.objects.remove(&event.id).unwrap_or_default();
    Ok(TimelineItem {
        event: event.into(),
        objects: objects.into_iter().map(Into::into).collect(),
        steps,
        steps_truncated,
    })
}

fn request(receipt: &Receipt, of: Option<&str>) -> TimelineStep {
    TimelineStep {
        at: receipt.received_at.into(),
        what: StepName::Request,
        id: receipt.id.to_string(),
        of: of.map(ToOwned::to_owned),
        state: receipt.verdict.as_str().to_owned(),
        text: match receipt.remote.as_str() {
            "" => format!("{} bytes", receipt.body_bytes),
            remote => format!("{} bytes from {remote}", receipt.body_bytes),
        },
    }
}

async fn jobs(
    tx: &mut dyn Tx,
    event: &Event,
    id: &str,
    endpoints: &HashMap<EndpointId, String>,
) -> StoreResult<Vec<(Timestamp, Vec<TimelineStep>)>> {
    let filter = JobFilter {
        tenant: Some(event.tenant),
        event: Some(event.id),
        ..JobFilter::default()
    };
    let mut groups = Vec::new();
    for job in tx.job_list(&filter, JOBS_MAX).await? {
        let (attempts, running) = tx.job_attempts(job.id).await?;
        let own = job.id.to_string();
        // The queue of an endpoint is called by its id; people know it by its name.
        let endpoint = job.endpoint.and_then(|endpoint| endpoints.get(&endpoint));
        let queue = endpoint.unwrap_or(&job.queue);
        let mut steps = vec![TimelineStep {
            at: job.created_at.into(),
            what: StepName::Job,
            id: own.clone(),
            of: Some(
                job.replay
                    .map_or_else(|| id.to_owned(), |replay| replay.to_string()),
            ),
            state: job.state.as_str().to_owned(),
            text: format!("{} in {queue}", job.kind),
        }];
        steps.extend(attempts.iter().map(|attempt| tried(attempt, &own)));
        steps.extend(running.map(|start| TimelineStep {
            at: start.at.into(),
            what: StepName::Attempt,
            id: own.clone(),
            of: Some(own.clone()),
            state: "running".to_owned(),
            text: format!("attempt {}", start.attempt),
        }));
        steps.extend(letter(tx, &job, &own).await?);
        groups.push((job.created_at, steps));
    }
    Ok(groups)
}

fn tried(attempt: &Attempt, job: &str) -> TimelineStep {
    let parts = [
        Some(format!("attempt {}", attempt.attempt)),
        attempt.status.map(|status| format!(", HTTP {status}")),
        attempt.error.as_ref().map(|error| format!(": {error}")),
        attempt.by.as_ref().map(|by| format!(", by {by}")),
    ];
    let text: String = parts.into_iter().flatten().collect();
    TimelineStep {
        at: attempt.started_at.into(),
        what: StepName::Attempt,
        id: job.to_owned(),
        of: Some(job.to_owned()),
        state: outcome(attempt.outcome).to_owned(),
        text,
    }
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Dead => "dead",
        Outcome::Lost => "lost",
        Outcome::Unknown => "unknown",
        Outcome::Cancelled => "cancelled",
        Outcome::Requeued => "requeued",
        Outcome::Discarded => "discarded",
    }
}

async fn letter(tx: &mut dyn Tx, job: &Job, own: &str) -> StoreResult<Option<TimelineStep>> {
    if job.state != JobState::Dead {
        return Ok(None);
    }
    let filter = DeadLetterFilter {
        tenant: Some(job.tenant),
        jobs: vec![job.id],
        ..DeadLetterFilter::default()
    };
    let letter = tx.dead_letter_list(&filter, 1).await?.into_iter().next();
    Ok(letter.map(|letter| TimelineStep {
        at: letter.died_at.into(),
        what: StepName::DeadLetter,
        id: own.to_owned(),
        of: Some(own.to_owned()),
        state: letter.category.as_str().to_owned(),
        text: letter.error,
    }))
}

/// Where the ids of objects stand in the events of a source.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SourceObjects {
    /// The rules in force, in the order in which ids are taken.
    rules: Vec<ObjectRule>,
    /// Whether they are the source's own; else they are those of its scheme.
    own: bool,
    /// How far its events are looked at once more, since the rules have changed; null: they are all indexed by them.
    reindexing: Option<Reindexing>,
}

/// Show where the ids of objects stand in a source's events
#[utoipa::path(get, path = "/v1/sources/{id}/objects", tag = "intake",
    params(("id" = String, Path, description = "`src_…`")),
    responses((status = 200, body = SourceObjects)))]
async fn source_objects(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
) -> Result<Json<SourceObjects>, Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                let Some(source) = tx.source_get(id).await? else {
                    return Ok(None);
                };
                Ok(Some((source, tx.object_sources().await?)))
            })
        })
        .await?;
    let (source, indexed) = found.ok_or_else(|| Problem::not_found("source"))?;
    let settings: SourceSettings = serde_json::from_str(&source.settings).unwrap_or_default();
    let rules = ObjectRules::of(&source.scheme, settings.objects.as_ref());
    let rules = rules.map_err(|problem| Problem::field("/settings/objects", problem.problem))?;
    let walk = indexed.into_iter().find(|one| one.source == id);
    Ok(Json(SourceObjects {
        rules: rules.rules().iter().map(ObjectRule::of).collect(),
        own: settings.objects.is_some(),
        reindexing: walk.and_then(|one| one.walk).map(|walk| Reindexing {
            source_id: id,
            done: walk.done,
            total: walk.total,
        }),
    }))
}
