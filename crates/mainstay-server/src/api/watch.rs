//! Watch: the overview, the stream and health.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use mainstay::watch::overview::{self, Counts, Window};
use mainstay_domain::{
    SourceId, StoreExt, Timestamp,
    intake::{
        Source,
        rhythm::{RhythmKind, RhythmSignal},
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{endpoints::EndpointView, jobs::own_queues, sources::SourceView};
use crate::{
    access::{Caller, Shown},
    health,
    http::{Problem, extract::Params},
    state::App,
    stats::Queue,
    stream,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(overview_get))
        .routes(routes!(stream_get))
        .routes(routes!(storage_get))
        .routes(routes!(health_get))
}

/// How far back.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = Window)]
pub(crate) enum WindowName {
    /// The last hour, by the minute.
    #[default]
    #[serde(rename = "1h")]
    Hour,
    /// The last 24 hours, by 15 minutes.
    #[serde(rename = "24h")]
    Day,
    /// The last 7 days, by 2 hours.
    #[serde(rename = "7d")]
    Week,
}

impl From<WindowName> for Window {
    fn from(window: WindowName) -> Self {
        match window {
            WindowName::Hour => Self::Hour,
            WindowName::Day => Self::Day,
            WindowName::Week => Self::Week,
        }
    }
}

/// Signals, and sources with missing events, that the overview looks at.
const CONCERNS_MAX: i64 = 10_000;

/// Parameters of the overview.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OverviewQuery {
    /// How far back; an hour unless asked otherwise.
    window: Option<WindowName>,
}

/// Counts from one time to the next.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OverviewPoint {
    at: Time,
    received: i64,
    duplicates: i64,
    refused: i64,
    done: i64,
    failed: i64,
    dead: i64,
}

/// The counts behind the charts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Throughput {
    points: Vec<OverviewPoint>,
    /// How long one point is.
    step_secs: i64,
}

/// Counts of the whole window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OverviewTotals {
    received: i64,
    duplicates: i64,
    refused: i64,
    done: i64,
    failed: i64,
    dead: i64,
    /// The share of attempts that succeeded; null when there were none.
    success_rate: Option<f64>,
}

/// Jobs that have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub(crate) struct Backlog {
    pub(crate) waiting: i64,
    pub(crate) running: i64,
    pub(crate) retrying: i64,
    pub(crate) scheduled: i64,
}

impl Backlog {
    /// Of all these queues.
    pub(crate) fn of(queues: &[Queue]) -> Self {
        queues.iter().fold(Self::default(), |sum, queue| Self {
            waiting: sum.waiting + queue.waiting,
            running: sum.running + queue.running,
            retrying: sum.retrying + queue.retrying,
            scheduled: sum.scheduled + queue.scheduled,
        })
    }
}

/// How long the oldest job that could be started has been waiting.
pub(crate) fn oldest_waiting_secs(queues: &[Queue], now: Timestamp) -> Option<i64> {
    let oldest = queues
        .iter()
        .filter_map(|queue| queue.oldest_waiting)
        .min()?;
    Some((now.secs() - oldest.secs()).max(0))
}

/// A source that something is wrong with, by its rhythm or the events that must follow others.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OverviewConcern {
    #[schema(value_type = String)]
    source_id: SourceId,
    source: String,
    /// Types that are silent, or one for all together.
    silent: i64,
    /// Types that more come of than usual.
    surging: i64,
    /// Expected events that did not come and that nobody has acknowledged.
    missing: i64,
}

/// The sources that something is wrong with, by their names.
fn concerns(
    sources: &[Source],
    signals: &[RhythmSignal],
    missing: &[(SourceId, i64)],
) -> Vec<OverviewConcern> {
    let concerned = sources.iter().filter_map(|source| {
        let of = |kind| {
            let is = |one: &&RhythmSignal| one.source == source.id && one.kind == kind;
            signals.iter().filter(is).count() as i64
        };
        let missing = missing.iter().find(|(id, _)| *id == source.id);
        let concern = OverviewConcern {
            source_id: source.id,
            source: source.name.clone(),
            silent: of(RhythmKind::Silence),
            surging: of(RhythmKind::Surge),
            missing: missing.map_or(0, |(_, count)| *count),
        };
        (concern.silent + concern.surging + concern.missing > 0).then_some(concern)
    });
    let mut concerned: Vec<OverviewConcern> = concerned.collect();
    concerned.sort_by(|one, other| one.source.cmp(&other.source));
    concerned
}

/// Everything at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Overview {
    window: WindowName,
    now: Time,
    throughput: Throughput,
    totals: OverviewTotals,
    backlog: Backlog,
    oldest_waiting_secs: Option<i64>,
    dead_letters: i64,
    /// Ordering keys of which nothing runs until somebody has dealt with a dead letter.
    lines_parked: i64,
    /// Jobs that wait behind these dead letters.
    jobs_parked: i64,
    /// The sources that are silent, bring too much, or lack an expected event.
    concerns: Vec<OverviewConcern>,
    sources: Vec<SourceView>,
    endpoints: Vec<EndpointView>,
}

/// Everything at a glance
///
/// A key of one tenant sees what its own sources and endpoints counted.
#[utoipa::path(get, path = "/v1/overview", tag = "watch", params(OverviewQuery),
    responses((status = 200, body = Overview)))]
async fn overview_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<OverviewQuery>,
) -> Result<Json<Overview>, Problem> {
    let window = query.window.unwrap_or_default();
    let now = app.clock.now();
    let (sources, endpoints, parked, signals, missing) = app
        .store
        .read(caller.scope(), |tx| {
            Box::pin(async move {
                let (sources, endpoints) = (tx.source_list().await?, tx.endpoint_list().await?);
                let parked = tx.line_parked().await?;
                let signals = tx.rhythm_signals_open(CONCERNS_MAX).await?;
                let missing = tx.expect_missing_counts(CONCERNS_MAX).await?;
                Ok((sources, endpoints, parked, signals, missing))
            })
        })
        .await?;
    let own: Option<Vec<Uuid>> = caller.tenant.map(|_| {
        let sources = sources.iter().map(|source| source.id.uuid());
        sources
            .chain(endpoints.iter().map(|endpoint| endpoint.id.uuid()))
            .collect()
    });
    let counted = overview::overview(&*app.store, now, window.into(), own.as_deref()).await?;
    let figures = app.stats.figures(&app).await?;
    let visible = own_queues(&app, &caller).await?;
    let queues: Vec<Queue> = figures
        .queues
        .iter()
        .filter(|queue| {
            visible
                .as_ref()
                .is_none_or(|own| own.contains(&queue.number))
        })
        .cloned()
        .collect();
    Ok(Json(Overview {
        window,
        now: now.into(),
        throughput: Throughput {
            points: counted
                .points
                .iter()
                .map(|point| at(point.at, &point.counts))
                .collect(),
            step_secs: Window::from(window).step_secs(),
        },
        totals: totals(&counted.totals),
        backlog: Backlog::of(&queues),
        oldest_waiting_secs: oldest_waiting_secs(&queues, now),
        dead_letters: queues.iter().map(|queue| queue.dead).sum(),
        lines_parked: parked.lines,
        jobs_parked: parked.waiting,
        concerns: concerns(&sources, &signals, &missing),
        sources: sources
            .into_iter()
            .map(|source| SourceView::of(source, &figures))
            .collect(),
        endpoints: endpoints
            .into_iter()
            .map(|endpoint| EndpointView::of(endpoint, &figures))
            .collect(),
    }))
}

fn at(at: Timestamp, counts: &Counts) -> OverviewPoint {
    OverviewPoint {
        at: at.into(),
        received: counts.received,
        duplicates: counts.duplicates,
        refused: counts.refused,
        done: counts.done,
        failed: counts.failed,
        dead: counts.dead,
    }
}

fn totals(counts: &Counts) -> OverviewTotals {
    OverviewTotals {
        received: counts.received,
        duplicates: counts.duplicates,
        refused: counts.refused,
        done: counts.done,
        failed: counts.failed,
        dead: counts.dead,
        success_rate: counts.success_rate(),
    }
}

/// What is live, as server-sent events
///
/// `event: tick` every second, with a `Tick` as its data; `event: change` when something changed, with a `Change`. Not
/// for keys of one tenant.
#[utoipa::path(get, path = "/v1/stream", tag = "watch",
    responses((status = 200, body = stream::StreamMessage, content_type = "text/event-stream")))]
async fn stream_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    stream::open(&app, caller, Shown::of(&headers))
}

/// How much room a table takes.
#[derive(Serialize, ToSchema)]
pub(crate) struct TableSize {
    name: String,
    /// With its indexes.
    bytes: i64,
}

/// How much room the database takes.
#[derive(Serialize, ToSchema)]
pub(crate) struct StorageView {
    measured_at: Time,
    /// All tables together.
    bytes: i64,
    /// The largest first.
    tables: Vec<TableSize>,
}

/// How much room the database takes, table by table
///
/// Measured once an hour at the most. Not for keys of one tenant. Metrics have the same as `mainstay_table_bytes`.
#[utoipa::path(get, path = "/v1/storage", tag = "watch", responses((status = 200, body = StorageView)))]
async fn storage_get(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<StorageView>, Problem> {
    caller.everywhere()?;
    let measured = app.sizes.now(&app).await?;
    let tables = measured.tables.iter();
    Ok(Json(StorageView {
        measured_at: measured.at.into(),
        bytes: measured.bytes(),
        tables: tables
            .map(|(name, bytes)| TableSize {
                name: name.clone(),
                bytes: *bytes,
            })
            .collect(),
    }))
}

/// How the installation is (HLT-01)
///
/// 200 only when everything is healthy, else 503 with the same body.
#[utoipa::path(get, path = "/v1/health", tag = "watch", responses(
    (status = 200, description = "Everything is healthy", body = health::Health),
    (status = 503, description = "Something is degraded or unhealthy; the body says what", body = health::Health),
))]
async fn health_get(State(app): State<Arc<App>>) -> Response {
    let health = health::check(&app).await;
    let status = match health.is_healthy() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(health)).into_response()
}
