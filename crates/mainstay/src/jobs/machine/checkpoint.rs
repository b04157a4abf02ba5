//! What the owner writes down: every few seconds where everything stands, and with every batch of outcomes what it
//! changed. A new owner begins from the last checkpoint and the tally records after it, and reads nothing else.

use std::collections::BTreeMap;

use mainstay_domain::{
    JobId, TenantId, Timestamp,
    jobs::{
        Attempt, Checkpoint, Cursor, DueKey, Lane, Outcome, QueueNumber, QueueTally, TallyRecord,
        pressure::Pressure,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    Machine, Phase,
    held::{Origin, due_key},
    limits::Limits,
    queue::{Queue, Timetable},
    window::lower,
    words::{Action, SettleResult},
};

/// The engine's part of a checkpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CheckpointBody {
    /// Where to look on for news.
    pub cursor: Cursor,
    /// Numbers of tally records above the checkpoint's own that are included as well.
    pub included: Vec<i64>,
    /// What is known of each queue.
    pub queues: BTreeMap<QueueNumber, QueueMark>,
    /// For each lane with unsettled jobs, the lowest of them.
    pub lanes: Vec<(Lane, JobId)>,
    /// Due jobs that are left in the store since their tenants have many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftMark>,
    /// Jobs that were to be looked up.
    pub inspect: Vec<(TenantId, JobId, QueueNumber)>,
    /// No attempt without an outcome began before, but for those in `long` and unless the clock was set back: then it is
    /// found when its job's turn comes.
    pub starts_since: Timestamp,
    /// Attempts without an outcome that began long before: were they not named, a successor would look through all that
    /// began after them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub long: Vec<(TenantId, JobId, i32)>,
    /// The deaths of owners in a row that a successor must reckon with.
    #[serde(default)]
    pub deaths: u32,
    /// Places that attempts of predecessors may still take up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited: Vec<Inherited>,
}

/// A place that an attempt of a predecessor may still take up, although it is recorded as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inherited {
    /// The queue.
    pub queue: QueueNumber,
    /// Whose job.
    pub tenant: TenantId,
    /// Which job.
    pub job: JobId,
    /// Which attempt.
    pub attempt: i32,
    /// When it has ended for certain.
    pub until: Timestamp,
}

/// Due jobs of a tenant in a queue that are only in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftMark {
    /// The queue.
    pub queue: QueueNumber,
    /// Whether they were tried before.
    pub tried: bool,
    /// The lowest of them.
    pub from: DueKey,
}

/// A queue in a checkpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct QueueMark {
    /// What has been counted.
    pub tally: QueueTally,
    /// The lowest unsettled job among those with a time of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delayed: Option<DueKey>,
    /// The lowest unsettled job among those to be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<DueKey>,
    /// The same two without what `left` names. A version that does not know of that goes by the ones above, which
    /// include it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside_left: Option<(Option<DueKey>, Option<DueKey>)>,
    /// How it stands beside its limits on what may wait: for nodes that take jobs and do not own the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// The change that a batch of outcomes made: the body of a tally record.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TallyBody {
    /// The owner that wrote it.
    pub epoch: i64,
    /// What was counted, by queue.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub queues: BTreeMap<QueueNumber, QueueTally>,
    /// The earliest time of a next try or a turn that was given, by queue.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub retries: BTreeMap<QueueNumber, Timestamp>,
    /// Places that attempts of predecessors may still take up, of the queues that are counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited: Vec<Inherited>,
}

impl TallyBody {
    /// Nothing yet.
    pub fn new(epoch: i64) -> Self {
        Self {
            epoch,
            ..Self::default()
        }
    }

    pub(super) fn count(&mut self, attempt: &Attempt) {
        Self::add(
            self.queues.entry(attempt.queue).or_default(),
            attempt.outcome,
            1,
        );
        if let Some(at) = attempt.next_at {
            self.retry_at(attempt.queue, at);
        }
    }

    /// From this time on there may be something to be tried in a queue, which the record's writer may never have seen.
    pub(super) fn retry_at(&mut self, queue: QueueNumber, at: Timestamp) {
        let earliest = self.retries.entry(queue).or_insert(at);
        *earliest = at.min(*earliest);
    }

    pub(super) fn count_done(&mut self, queue: QueueNumber, count: i64) {
        Self::add(
            self.queues.entry(queue).or_default(),
            Outcome::Succeeded,
            count,
        );
    }

    pub(super) fn add(tally: &mut QueueTally, outcome: Outcome, count: i64) {
        match outcome {
            Outcome::Succeeded => tally.done += count,
            Outcome::Failed | Outcome::Lost => tally.failed += count,
            Outcome::Dead => tally.dead += count,
            Outcome::Cancelled => tally.cancelled += count,
            // Counted from signals, or not ours to write.
            Outcome::Unknown | Outcome::Requeued | Outcome::Discarded => {}
        }
    }

    /// Who wrote a record.
    pub fn epoch_of(record: &TallyRecord) -> Option<i64> {
        let body: Self = serde_json::from_str(&record.body).ok()?;
        Some(body.epoch)
    }

    /// As the record holds it.
    pub fn encode(&self) -> String {
        encode(self)
    }
}

/// Numbers, texts and maps keyed by integers always have a JSON form.
pub(super) fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// When to write the next checkpoint.
#[derive(Debug)]
pub(super) struct Checkpoints {
    changed: bool,
    flying: bool,
    due_at: Timestamp,
}

impl Checkpoints {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            changed: true,
            flying: false,
            due_at: now,
        }
    }

    pub(super) fn change(&mut self) {
        self.changed = true;
    }

    pub(super) fn is_quiet(&self) -> bool {
        !self.changed && !self.flying
    }

    pub(super) fn clock_set_back(&mut self, now: Timestamp, limits: &Limits) {
        self.due_at = self.due_at.min(now.plus_ms(limits.checkpoint_ms));
    }
}

impl Machine {
    /// When the next checkpoint is due.
    pub(super) fn checkpoint_at(&self) -> Option<Timestamp> {
        let wanted = self.checkpoints.changed && !self.checkpoints.flying;
        (wanted && self.phase == Phase::Running).then_some(self.checkpoints.due_at)
    }

    pub(super) fn checkpoint(&mut self, out: &mut Vec<Action>) {
        let last = self.phase == Phase::Stopping
            && self.dispatch.is_quiet(self.workers.in_hand())
            && self.settling.is_quiet();
        let wanted = self.checkpoints.changed && !self.checkpoints.flying;
        let due = self.checkpoint_at().is_some_and(|at| at <= self.now);
        if !(due || last && wanted) {
            return;
        }
        let body = self.checkpoint_body();
        self.checkpoints.changed = false;
        self.checkpoints.flying = true;
        self.checkpoints.due_at = self.now.plus_ms(self.limits.checkpoint_ms);
        out.push(Action::SaveCheckpoint(Box::new(Checkpoint {
            sequence: self.sequences.used_to(),
            epoch: self.epoch,
            at: self.now,
            body: encode(&body),
        })));
    }

    pub(super) fn checkpoint_saved(&mut self, result: SettleResult, out: &mut Vec<Action>) {
        self.checkpoints.flying = false;
        match result {
            SettleResult::Committed => self.outage.answered(),
            SettleResult::Unavailable => {
                self.checkpoints.changed = true;
                self.outage.failed(self.now, &self.limits);
            }
            SettleResult::Conflict | SettleResult::Replaced => self.replaced(out),
        }
    }

    fn checkpoint_body(&self) -> CheckpointBody {
        let mut queues = BTreeMap::new();
        let mut lanes = BTreeMap::new();
        for (number, queue) in &self.queues {
            let mark = QueueMark {
                tally: queue.tally,
                delayed: queue.delayed.beyond(),
                retries: queue.retries.beyond(),
                beside_left: None,
                pressure: queue.pressure(self.now),
            };
            queues.insert(*number, mark);
            lanes.extend(queue.lanes_beyond().map(|(band, tenant, beyond)| {
                let lane = Lane {
                    queue: *number,
                    band,
                    tenant,
                };
                (lane, beyond)
            }));
        }
        let mut left = self.left_marks();
        for held in self.held.values() {
            let job = &held.job;
            if let Some(timetable) = Timetable::of(held.origin)
                && let Some(from) = left.get_mut(&(job.queue, job.tenant, timetable))
            {
                *from = due_key(job).min(*from);
                continue;
            }
            let mark = queues.entry(job.queue).or_default();
            match held.origin {
                Origin::Lane => {
                    let lane = Lane {
                        queue: job.queue,
                        band: job.band,
                        tenant: job.tenant,
                    };
                    let lowest = lanes.entry(lane).or_insert(job.job);
                    *lowest = job.job.min(*lowest);
                }
                Origin::Delayed => mark.delayed = lower(mark.delayed, due_key(job)),
                Origin::Retry => mark.retries = lower(mark.retries, due_key(job)),
            }
        }
        for ((queue, _, timetable), from) in &left {
            let mark = queues.entry(*queue).or_default();
            mark.beside_left.get_or_insert((mark.delayed, mark.retries));
            match timetable {
                Timetable::Delayed => mark.delayed = lower(mark.delayed, *from),
                Timetable::Retries => mark.retries = lower(mark.retries, *from),
            }
        }
        let (starts_since, long) = self.open_starts();
        let inspect = self.inspections.all();
        CheckpointBody {
            cursor: self.news.cursor().clone(),
            included: self.sequences.used_above(),
            queues,
            lanes: lanes.into_iter().collect(),
            inspect: inspect.map(|at| (at.tenant, at.job, at.queue)).collect(),
            left: left
                .into_iter()
                .map(|((queue, _, timetable), from)| LeftMark {
                    queue,
                    tried: timetable == Timetable::Retries,
                    from,
                })
                .collect(),
            starts_since,
            long,
            deaths: self
                .caution
                .deaths_for_successor(self.phase == Phase::Stopping),
            inherited: self.queues.values().flat_map(Queue::inherited).collect(),
        }
    }

    /// Where what tenants have left in the store begins.
    fn left_marks(&self) -> BTreeMap<(QueueNumber, TenantId, Timetable), DueKey> {
        let queues = self.queues.iter();
        let left = queues.flat_map(|(number, queue)| {
            let left = queue.due.all_left();
            left.map(|(tenant, timetable, from)| ((*number, tenant, timetable), from))
        });
        left.collect()
    }

    /// From when on attempts without an outcome began, and those few that began long before the others.
    fn open_starts(&self) -> (Timestamp, Vec<(TenantId, JobId, i32)>) {
        let long_ago = self.now.plus_ms(-self.limits.long_ms);
        let (mut since, mut long) = self.lost_starts();
        let mut starts = Vec::new();
        for held in self.held.values() {
            if let Some(at) = held.open_start() {
                starts.push((at, held.job.tenant, held.job.job, held.job.attempt + 1));
            }
        }
        starts.extend(self.lost_known());
        starts.sort_unstable();
        for (at, tenant, job, attempt) in starts {
            if at < long_ago && long.len() < self.limits.long_max {
                long.push((tenant, job, attempt));
            } else {
                since = since.min(at);
                break;
            }
        }
        (since, long)
    }
}
