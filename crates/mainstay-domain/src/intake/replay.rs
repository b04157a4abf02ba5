//! Replays: events that are kept are given to bindings, or to an endpoint, once more; step by step, until all are.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Event, EventFilter};
use crate::{
    error::StoreResult,
    id::{BindingId, EndpointId, EventId, JobId, ReplayId, TenantId},
    jobs::{JobState, NewJob},
    time::Timestamp,
};

/// How a replay stands. The store numbers them by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// Events are left to look at.
    Running,
    /// Held by a person; what was made goes on.
    Paused,
    /// Every event was looked at; some of its jobs have not ended.
    Finishing,
    /// Every event was looked at, every job has ended.
    Done,
    /// Ended before its time, by a person or by itself; what was made goes on.
    Stopped,
}

impl ReplayState {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Paused,
        Self::Finishing,
        Self::Done,
        Self::Stopped,
    ];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Finishing => "finishing",
            Self::Done => "done",
            Self::Stopped => "stopped",
        }
    }

    /// Whether it may still make jobs.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// Where the events of a replay go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayTarget {
    /// Every enabled binding of their source that matches, as bindings are when an event's turn comes.
    Bindings,
    /// This binding, whatever its types and its filter.
    Binding(BindingId),
    /// This endpoint, without any binding: a sandbox.
    Endpoint(EndpointId),
}

/// How many of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayCounts {
    /// Events that were looked at.
    pub events: i64,
    /// Jobs that were made.
    pub jobs: i64,
    /// Jobs that were not made, because the event has one that is done already.
    pub skipped: i64,
    /// Jobs that were done.
    pub done: i64,
    /// Jobs that became dead letters.
    pub dead: i64,
    /// Jobs that a person cancelled.
    pub cancelled: i64,
    /// Jobs that have not ended, or that nobody has looked at since.
    pub unfinished: i64,
}

/// A replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// The tenant whose events are replayed; none: those of every tenant.
    pub tenant: Option<TenantId>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Who asked.
    pub by: String,
    /// Whether it was asked for by somebody who sees this tenant alone.
    pub own: bool,
    /// Where the events go.
    pub target: ReplayTarget,
    /// What is asked of it, as the engine writes it: JSON.
    pub request: String,
    /// How it stands.
    pub state: ReplayState,
    /// Why it was stopped: a code.
    pub reason: Option<String>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How many of what.
    pub counts: ReplayCounts,
    /// How far it is, as the engine writes it: JSON.
    pub progress: String,
    /// Grows with every change.
    pub revision: i64,
}

/// Which replays to list, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayFilter {
    /// Only this tenant's. Lists in a tenant's scope are restricted to it anyway.
    pub tenant: Option<TenantId>,
    /// Only in this state.
    pub state: Option<ReplayState>,
    /// Only older than this one: the cursor.
    pub before: Option<ReplayId>,
}

/// A job of an event that is done: what a replay need not do again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DoneJob {
    /// The event.
    pub event: EventId,
    /// The binding that made it.
    pub binding: Option<BindingId>,
    /// The endpoint that it was pushed to.
    pub endpoint: Option<EndpointId>,
}

/// The store's verbs of replays.
#[async_trait]
pub trait ReplayTx: Send {
    /// Records a replay; its first jobs are inserted with it.
    async fn replay_insert(&mut self, replay: &Replay, jobs: &[NewJob]) -> StoreResult<()>;
    /// Writes how a replay stands, and inserts jobs with it. Conflict when it is no longer the one of this `revision`,
    /// which is then one more; nothing is inserted twice, for whoever is second has lost.
    async fn replay_update(&mut self, replay: &Replay, jobs: &[NewJob]) -> StoreResult<()>;
    /// One replay.
    async fn replay_get(&mut self, id: ReplayId) -> StoreResult<Option<Replay>>;
    /// Replays, newest first.
    async fn replay_list(&mut self, filter: &ReplayFilter, limit: i64) -> StoreResult<Vec<Replay>>;
    /// Replays that there is something to do about, oldest first, after this one. System scope.
    async fn replay_busy(&mut self, after: ReplayId, limit: i64) -> StoreResult<Vec<Replay>>;
    /// How many replays of this tenant (none: of those over every tenant) may still make jobs.
    async fn replay_open(&mut self, tenant: Option<TenantId>) -> StoreResult<i64>;
    /// Removes, oldest first, at most `limit` replays asked for before `until` that are over, their jobs too. Answers how
    /// many. System scope.
    async fn replay_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64>;
    /// The replays that touched an event, newest first.
    async fn event_replays(&mut self, id: EventId) -> StoreResult<Vec<Replay>>;

    /// The first tenant after this one. System scope.
    async fn tenant_after(&mut self, after: TenantId) -> StoreResult<Option<TenantId>>;
    /// A tenant's events after this one, oldest first. The status of the filter is not asked, except that events
    /// without a dead letter are left out where it is an error: how few are wanted must not say how many are read.
    async fn event_after(
        &mut self,
        tenant: TenantId,
        filter: &EventFilter,
        after: EventId,
        limit: i64,
    ) -> StoreResult<Vec<Event>>;
    /// The jobs of these events that are done.
    async fn event_done(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<Vec<DoneJob>>;
    /// How these jobs stand; those that are gone are missing.
    async fn job_states(
        &mut self,
        jobs: &[(TenantId, JobId)],
    ) -> StoreResult<Vec<(JobId, JobState)>>;
}
