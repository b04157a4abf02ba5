//! Rhythm: how many events of each type a source is expected to bring, and when it did not.

use std::sync::Arc;

use axum::{Json, extract::State};
use mainstay::intake::rhythm::rhythm_of;
use mainstay_domain::{
    RhythmSignalId, Scope, SourceId, StoreExt, Timestamp,
    intake::rhythm::{
        ALL_TYPES, Counted, RhythmKind, RhythmSignal, Series, WEEK_HOURS, hour_of, hour_start,
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access::Caller,
    api::page::{Cursor, Page, limit, page},
    http::{
        Problem,
        extract::{Id, Params},
        text::Text,
    },
    state::App,
    time::Time,
};

/// Up to when.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RhythmWindow {
    /// The last 24 hours.
    #[default]
    Day,
    /// The last 7 days.
    Week,
}

impl RhythmWindow {
    const fn hours(self) -> i64 {
        match self {
            Self::Day => 24,
            Self::Week => WEEK_HOURS,
        }
    }
}

/// What of a rhythm.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RhythmQuery {
    /// The type that the hours are of. Left out: of all types together.
    #[param(inline)]
    event_type: Option<Text<200>>,
    /// Up to when.
    #[param(inline)]
    window: RhythmWindow,
}

/// How many events of each type a source brought, and how many were expected.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rhythm)]
pub(crate) struct RhythmView {
    /// Up to when events are counted; null: nobody has begun.
    counted_to: Option<Time>,
    /// The types, all together first. At most 64 are counted for themselves; those that came later are counted with all.
    types: Vec<RhythmTypeView>,
    /// The type that the hours are of; null: all together.
    event_type: Option<String>,
    /// The hours of the window, oldest first, the last one under way; none where nothing is known of the type.
    hours: Vec<RhythmHourView>,
}

/// One type.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RhythmType)]
pub(crate) struct RhythmTypeView {
    /// The type; null: all together.
    event_type: Option<String>,
    /// Whether this hour of the week is still being learned: it must have been counted in two weeks.
    learning: bool,
    /// When the last one was received.
    last_event_at: Time,
    /// How many came in the window.
    actual: i64,
    /// How many were expected, in the hours that are learned; null where none is.
    expected: Option<f64>,
}

/// One hour.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RhythmHour)]
pub(crate) struct RhythmHourView {
    /// Its start.
    at: Time,
    /// Which part of it was counted, from 0 to 1: less than all where Mainstay was away, more came than it counts, or the
    /// hour is under way.
    counted: f64,
    /// How many came in that part.
    actual: i64,
    /// How many were expected in that part, of an hour under way in all of it; null: it is being learned.
    expected: Option<f64>,
    /// One in a hundred such hours has fewer.
    low: Option<i64>,
    /// One in a hundred such hours has more.
    high: Option<i64>,
}

fn shown(event_type: &str) -> Option<String> {
    (event_type != ALL_TYPES).then(|| event_type.to_owned())
}

fn type_view(event_type: &str, series: &Series, counted: &Counted, hours: i64) -> RhythmTypeView {
    let hour = series.hour();
    let window = hour - hours + 1..=hour;
    let expected = window.clone().filter_map(|hour| {
        let known = series.expected(hour)?;
        Some(known.rate * counted.share(hour))
    });
    let expected = expected.fold(None, |sum, one| Some(sum.unwrap_or(0.0) + one));
    RhythmTypeView {
        event_type: shown(event_type),
        learning: series.expected(hour).is_none(),
        last_event_at: series.last_at.into(),
        actual: window.map(|hour| series.count(hour)).sum(),
        expected: expected.map(rounded),
    }
}

fn hour_view(series: &Series, counted: &Counted, hour: i64) -> RhythmHourView {
    let band = series.band(hour, counted);
    RhythmHourView {
        at: hour_start(hour).into(),
        counted: rounded(counted.share(hour)),
        actual: series.count(hour),
        expected: band.map(|(mean, ..)| rounded(mean)),
        low: band.map(|(_, low, _)| low),
        high: band.map(|(.., high)| high),
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

/// Show the rhythm of a source
///
/// How many events of each type came, and how many were to be expected at these hours of the week.
#[utoipa::path(get, path = "/v1/sources/{id}/rhythm", tag = "intake",
    params(("id" = String, Path, description = "`src_…`"), RhythmQuery),
    responses((status = 200, body = RhythmView)))]
pub(super) async fn source_rhythm_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    Params(query): Params<RhythmQuery>,
) -> Result<Json<RhythmView>, Problem> {
    let now = app.clock.now();
    let scope = caller.scope();
    let read = app.store.read(scope, move |tx| {
        Box::pin(async move {
            let Some(source) = tx.source_get(id).await? else {
                return Ok(None);
            };
            let hour = hour_of(now);
            let known = rhythm_of(tx, source.tenant, id, hour).await?;
            Ok(Some(known))
        })
    });
    let known = read.await?.ok_or_else(|| Problem::not_found("source"))?;
    let clock = app.store.read(Scope::System("rhythm"), |tx| {
        Box::pin(async move { tx.rhythm_clock().await })
    });
    let counted_to: Option<Timestamp> = clock.await?.map(|clock| clock.counted_to);
    let (counted, types) = known;
    let hours = query.window.hours();
    let wanted = query.event_type.as_deref().unwrap_or(ALL_TYPES);
    let points = types.get(wanted).map(|series| {
        let hour = series.hour();
        let window = hour - hours + 1..=hour;
        window
            .map(|hour| hour_view(series, &counted, hour))
            .collect()
    });
    Ok(Json(RhythmView {
        counted_to: counted_to.map(Into::into),
        types: types
            .iter()
            .map(|(event_type, series)| type_view(event_type, series, &counted, hours))
            .collect(),
        event_type: query.event_type.map(Into::into),
        hours: points.unwrap_or_default(),
    }))
}

/// What does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RhythmKind)]
pub(crate) enum RhythmKindName {
    /// Fewer came than chance explains, or none.
    Silence,
    /// More came than chance explains.
    Surge,
}

/// That a source was silent, or brought too much.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RhythmSignal)]
pub(crate) struct RhythmSignalView {
    #[schema(value_type = String)]
    id: RhythmSignalId,
    kind: RhythmKindName,
    /// The type; null: all types together.
    event_type: Option<String>,
    /// The start of the time that was looked at.
    since: Time,
    /// How many were expected in it until the signal opened.
    expected: f64,
    /// How many came.
    actual: i64,
    opened_at: Time,
    /// Null: it goes on.
    ended_at: Option<Time>,
}

impl From<RhythmSignal> for RhythmSignalView {
    fn from(signal: RhythmSignal) -> Self {
        Self {
            id: signal.id,
            kind: match signal.kind {
                RhythmKind::Silence => RhythmKindName::Silence,
                RhythmKind::Surge => RhythmKindName::Surge,
            },
            event_type: shown(&signal.event_type),
            since: signal.since.into(),
            expected: signal.expected_milli as f64 / 1_000.0,
            actual: signal.actual,
            opened_at: signal.opened_at.into(),
            ended_at: signal.ended_at.map(Into::into),
        }
    }
}

/// Which signals.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SignalQuery {
    /// Only those that go on.
    open: bool,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// List when a source was silent or brought too much, newest first
#[utoipa::path(get, path = "/v1/sources/{id}/rhythm/signals", tag = "intake",
    params(("id" = String, Path, description = "`src_…`"), SignalQuery),
    responses((status = 200, body = Page<RhythmSignalView>)))]
pub(super) async fn source_rhythm_signals(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    Params(query): Params<SignalQuery>,
) -> Result<Json<Page<RhythmSignalView>>, Problem> {
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let before = cursor.map(|cursor| RhythmSignalId::from_uuid(cursor.id));
    let open = query.open;
    let rows = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                let Some(source) = tx.source_get(id).await? else {
                    return Ok(None);
                };
                let rows = tx.rhythm_signal_list(source.tenant, id, open, before, limit + 1);
                rows.await.map(Some)
            })
        })
        .await?;
    let rows = rows.ok_or_else(|| Problem::not_found("source"))?;
    let position = |signal: &RhythmSignal| Cursor {
        at: signal.opened_at,
        id: signal.id.uuid(),
    };
    Ok(Json(page(rows, limit, position, RhythmSignalView::from)))
}
