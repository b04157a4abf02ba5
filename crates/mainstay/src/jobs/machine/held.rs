//! What the machine holds of a job in memory.

use mainstay_domain::{
    JobId, Timestamp,
    jobs::{Attempt, DueKey, JobRef},
};

use super::words::Runs;

/// A job in memory. While it is here, it is nowhere else: admission is idempotent by its id.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) job: JobRef,
    pub(super) origin: Origin,
    pub(super) stage: Stage,
    /// A person has cancelled it: it must not start, and its outcome is written already.
    pub(super) cancelled: bool,
    /// A person has done something to it: how it stands must be looked up once it is no longer busy.
    pub(super) recheck: bool,
    /// It counts among the attempts whose start is recorded, of this kind.
    pub(super) open: Option<Runs>,
}

/// The stream of the store's that a job came from; a new owner finds it there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Never tried, no time of its own.
    Lane,
    /// Never tried, with a time of its own.
    Delayed,
    /// To be tried again.
    Retry,
}

/// Where a job in memory stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// In a timetable or among the ready ones.
    Waiting,
    /// Its start is being recorded.
    Starting(Slot),
    /// It is carried out, outside.
    Running(Slot),
    /// It is in a batch of built-in jobs, or about to be. When it began, if its start is recorded.
    Batched(Option<Timestamp>),
    /// Its attempt has ended; the outcome is being recorded.
    Settling(Slot),
    /// It must be looked up how it stands.
    Inspecting(Doubt),
}

/// An attempt that takes up a place of its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// When it began, as its start row says.
    pub(super) at: Timestamp,
    /// Whether it is a probe of the breaker before its dependency.
    pub(super) probe: bool,
}

/// Why it must be looked up how a job stands.
#[derive(Debug)]
pub(super) enum Doubt {
    /// Its start was refused. It keeps its place.
    Start(Slot),
    /// Its outcome was refused.
    Outcome(Slot, Box<Attempt>),
    /// Its batch was refused. It keeps its place if its start is recorded.
    Batch(Option<Timestamp>),
}

impl Origin {
    pub(super) fn of(job: &JobRef) -> Self {
        match (job.attempt, job.due) {
            (0, None) => Self::Lane,
            (0, Some(_)) => Self::Delayed,
            _ => Self::Retry,
        }
    }
}

impl Held {
    pub(super) fn waiting(job: JobRef) -> Self {
        Self {
            job,
            origin: Origin::of(&job),
            stage: Stage::Waiting,
            cancelled: false,
            recheck: false,
            open: None,
        }
    }

    /// The start row that stands or may stand in the store without an outcome.
    pub(super) fn open_start(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::Starting(slot)
            | Stage::Running(slot)
            | Stage::Settling(slot)
            | Stage::Inspecting(Doubt::Start(slot) | Doubt::Outcome(slot, _)) => Some(slot.at),
            Stage::Batched(at) | Stage::Inspecting(Doubt::Batch(at)) => *at,
            Stage::Waiting => None,
        }
    }
}

/// The key of a job in its queue's timetable.
pub(super) fn due_key(job: &JobRef) -> DueKey {
    DueKey {
        due: job.due.unwrap_or(Timestamp::from_micros(i64::MIN)),
        tenant: job.tenant,
        job: job.job,
    }
}

/// When a job was made, as its id says.
pub(super) fn made_at(job: JobId) -> Timestamp {
    let millis = (job.uuid().as_u128() >> 80) as i64;
    Timestamp::EPOCH.plus_ms(millis)
}
