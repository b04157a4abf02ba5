//! Rhythm: how many events of each type a source brings in each hour of the week, and whether what comes now fits.
//!
//! What is known are counts by the hour and for how much of each hour was counted. Everything else follows from them:
//! [`Series`] says what is to be expected, [`chance`] how likely it is that what came is only chance, [`judge`] what is
//! too little or too much. `docs/rhythm.md` has the formulas.

use async_trait::async_trait;

use crate::{
    error::StoreResult,
    id::{RhythmSignalId, SourceId, TenantId},
    time::Timestamp,
};

pub mod chance;
mod judge;
mod series;

pub use judge::{Judged, Open, judge};
pub use series::{Counted, Expected, Series};

/// An hour in microseconds.
pub const HOUR_MICROS: i64 = 3_600_000_000;
/// An hour in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;
/// The hours of a week.
pub const WEEK_HOURS: i64 = 168;
/// So many weeks are looked back.
pub const WEEKS: i64 = 8;
/// So many hours are kept: the weeks, and the hour beside the first one.
pub const HOURS_KEPT: i64 = WEEKS * WEEK_HOURS + 2;
/// So often the same hour of the week must have been counted before anything is expected of it.
pub const WEEKS_LEARNED: i64 = 2;
/// Types of one source that are counted for themselves; those that come later are counted with all.
pub const TYPES_MAX: usize = 64;
/// Types of all sources that are counted for themselves.
pub const SERIES_MAX: usize = 5_000;
/// Characters of a type that is counted for itself.
pub const TYPE_CHARS_MAX: usize = 200;
/// What stands for all types of a source together.
pub const ALL_TYPES: &str = "";

/// The number of the hour since 1970 that this is in.
pub const fn hour_of(at: Timestamp) -> i64 {
    at.micros().div_euclid(HOUR_MICROS)
}

/// The start of an hour.
pub const fn hour_start(hour: i64) -> Timestamp {
    Timestamp::from_micros(hour * HOUR_MICROS)
}

/// What does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RhythmKind {
    /// Fewer come than chance explains, or none.
    Silence,
    /// More come than chance explains.
    Surge,
}

impl RhythmKind {
    /// In the order in which the store numbers them.
    pub const ALL: [Self; 2] = [Self::Silence, Self::Surge];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Surge => "surge",
        }
    }
}

/// That a source is silent, or brings too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RhythmSignal {
    /// Its id.
    pub id: RhythmSignalId,
    /// The source's tenant.
    pub tenant: TenantId,
    /// Which source.
    pub source: SourceId,
    /// The type; [`ALL_TYPES`]: of all types together.
    pub event_type: String,
    /// What does not fit.
    pub kind: RhythmKind,
    /// The start of the time that was looked at.
    pub since: Timestamp,
    /// Thousandths of events that were expected in it.
    pub expected_milli: i64,
    /// Events that came in it.
    pub actual: i64,
    /// When it was found.
    pub opened_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

impl RhythmSignal {
    /// Whether nothing of the source comes: then nothing is to be said of each of its types.
    pub fn silences_all(&self) -> bool {
        self.kind == RhythmKind::Silence && self.event_type == ALL_TYPES
    }
}

/// How far counting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RhythmClock {
    /// Events that were received before this are counted.
    pub counted_to: Timestamp,
    /// When somebody last looked.
    pub seen_at: Timestamp,
    /// Since when somebody has looked without a break.
    pub resumed_at: Timestamp,
    /// Until when more may come than usual, since a break held it back.
    pub quiet_until: Timestamp,
}

/// Events of one type that a source brought in a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeCount {
    /// Which source.
    pub source: SourceId,
    /// The type.
    pub event_type: String,
    /// How many.
    pub count: i64,
    /// When the last of them was received.
    pub last_at: Timestamp,
}

/// A type that is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeKnown {
    /// The type; [`ALL_TYPES`]: all together.
    pub event_type: String,
    /// The first hour of which it is known.
    pub first_hour: i64,
    /// When the last one was received.
    pub last_at: Timestamp,
}

/// Events of one type in one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourCount {
    /// The type; [`ALL_TYPES`]: all together.
    pub event_type: String,
    /// Which hour.
    pub hour: i64,
    /// How many.
    pub count: i64,
}

/// What was counted of one source in a span of time that lies within one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceCounted {
    /// The source's tenant.
    pub tenant: TenantId,
    /// Which source.
    pub source: SourceId,
    /// The hour.
    pub hour: i64,
    /// How many milliseconds of it were counted.
    pub counted_ms: i64,
    /// The types with how many came and when the last.
    pub types: Vec<TypeCount>,
}

/// The store's verbs of rhythm.
#[async_trait]
pub trait RhythmTx: Send {
    /// How far counting is; none: nobody has begun.
    async fn rhythm_clock(&mut self) -> StoreResult<Option<RhythmClock>>;
    /// Notes how far counting is, if it still is where `known` says. False: somebody else was faster. System scope.
    async fn rhythm_clock_put(
        &mut self,
        known: Option<RhythmClock>,
        now: RhythmClock,
    ) -> StoreResult<bool>;
    /// Events of these tenants that were received from `from` until before `to`, by source and type, the most frequent
    /// first and at most `limit` of them. System scope.
    async fn rhythm_count(
        &mut self,
        tenants: &[TenantId],
        from: Timestamp,
        to: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<TypeCount>>;
    /// The same of events that wait for their tenant. System scope.
    async fn rhythm_count_waiting(
        &mut self,
        from: Timestamp,
        to: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<TypeCount>>;
    /// The tenants that events are linked to, in their order after this one, at most `limit`. System scope.
    async fn rhythm_tenants(&mut self, after: TenantId, limit: i64) -> StoreResult<Vec<TenantId>>;
    /// Adds what was counted. What is of a source that is gone is left out. System scope.
    async fn rhythm_add(&mut self, counted: &SourceCounted) -> StoreResult<()>;
    /// The types of a source that are counted.
    async fn rhythm_types(
        &mut self,
        tenant: TenantId,
        source: SourceId,
    ) -> StoreResult<Vec<TypeKnown>>;
    /// The counts of a source's hours from this one on; hours without events are left out.
    async fn rhythm_hours(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        from: i64,
    ) -> StoreResult<Vec<HourCount>>;
    /// For how many milliseconds of each hour from this one on was counted what a source brought.
    async fn rhythm_counted(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        from: i64,
    ) -> StoreResult<Vec<(i64, i64)>>;
    /// Keeps a signal; false where one like it is open. Fails as a reference when the source is gone.
    async fn rhythm_signal_insert(&mut self, signal: &RhythmSignal) -> StoreResult<bool>;
    /// Ends a signal; false where it is over.
    async fn rhythm_signal_end(
        &mut self,
        tenant: TenantId,
        id: RhythmSignalId,
        at: Timestamp,
    ) -> StoreResult<bool>;
    /// The signals of a source, newest first.
    async fn rhythm_signal_list(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        open: bool,
        before: Option<RhythmSignalId>,
        limit: i64,
    ) -> StoreResult<Vec<RhythmSignal>>;
    /// The open signals of all sources in the scope, at most `limit`.
    async fn rhythm_signals_open(&mut self, limit: i64) -> StoreResult<Vec<RhythmSignal>>;
    /// Removes hours before `hour`, types that brought nothing since, and signals that ended before it, at most `limit`
    /// of each. System scope.
    async fn rhythm_expire(&mut self, hour: i64, limit: i64) -> StoreResult<i64>;
}
