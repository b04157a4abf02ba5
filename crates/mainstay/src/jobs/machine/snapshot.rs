//! How everything stands, for pages and metrics. Never from a query.

use std::{cmp::Reverse, collections::BTreeMap};

use mainstay_domain::{
    TenantId, Timestamp,
    jobs::{Flow, QueueNumber, QueueTally, breaker::Breaker, pressure::Pressure},
};
use serde::Serialize;

use super::{Machine, Phase, guard::Guard, held::made_at, pace::PaceSnapshot, queue::Queue};

/// So many tenants are shown of those that use the most of a queue, and so many of those of whom the most waits.
const SHOWN_MAX: usize = 10;

/// How the engine stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct EngineSnapshot {
    /// Whether this node owns the engine. If not, the rest is empty.
    pub owner: bool,
    /// Whether jobs are started: not while it takes over, and not while it stops.
    pub running: bool,
    /// When this was true.
    pub at: Timestamp,
    /// Jobs in memory.
    pub held: usize,
    /// The queues that ever had a job, by number.
    pub queues: Vec<QueueSnapshot>,
}

/// How a queue stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueueSnapshot {
    /// The queue.
    pub queue: QueueNumber,
    /// Jobs that could be started, as far as their own time is concerned.
    pub waiting: i64,
    /// Attempts under way.
    pub running: i64,
    /// Jobs to be tried again, not due yet. More than a window of them count as waiting.
    pub retrying: i64,
    /// Never-tried jobs with a time of their own that has not come. More than a window of them count as waiting.
    pub scheduled: i64,
    /// Dead letters that nobody has dealt with.
    pub dead: i64,
    /// When the oldest waiting job was made.
    pub oldest_waiting: Option<Timestamp>,
    /// What has been counted since the beginning.
    pub tally: QueueTally,
    /// Its breaker; `None` when it has none.
    pub breaker: Option<Breaker>,
    /// How fast it fills and empties.
    pub pace: PaceSnapshot,
    /// How it stands beside its limits on what may wait, if it has any.
    pub pressure: Option<Pressure>,
    /// Whether its jobs are started.
    pub flow: Flow,
    /// Tenants that one of its limits holds back.
    pub limited: i64,
    /// While it is drained: whether nothing is left of what was made before.
    pub drained: Option<bool>,
    /// Who uses it, and who waits: those with the most of either.
    pub tenants: Vec<TenantUse>,
}

/// What a tenant uses of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TenantUse {
    /// The tenant.
    pub tenant: TenantId,
    /// Its attempts under way.
    pub running: u32,
    /// Worker time that its attempts took in the last five minutes, in milliseconds: of those that have ended.
    pub used_ms: i64,
    /// Jobs of its that are ready.
    pub waiting: i64,
    /// Whether there are more of them than that, in the store.
    pub more: bool,
    /// Whether one of its own limits holds it back.
    pub limited: bool,
}

impl EngineSnapshot {
    /// Whether nothing but the time is different.
    pub fn shows_the_same(&self, other: &Self) -> bool {
        (self.owner, self.running, self.held) == (other.owner, other.running, other.held)
            && self.queues == other.queues
    }

    /// The queue of this number.
    pub fn queue(&self, number: QueueNumber) -> Option<&QueueSnapshot> {
        let index = self
            .queues
            .binary_search_by_key(&number, |queue| queue.queue);
        index.ok().map(|index| &self.queues[index])
    }
}

impl Machine {
    /// How everything stands now.
    pub fn snapshot(&self) -> EngineSnapshot {
        EngineSnapshot {
            owner: self.phase != Phase::Ended,
            running: self.phase == Phase::Running,
            at: self.now,
            held: self.held.len(),
            queues: self
                .queues
                .iter()
                .map(|(number, queue)| shown(*number, queue, self.guard_of(*number), self.now))
                .collect(),
        }
    }
}

fn shown(
    number: QueueNumber,
    queue: &Queue,
    guard: Option<&Guard>,
    now: Timestamp,
) -> QueueSnapshot {
    let tally = queue.tally;
    let pace = queue.pace.shown(now);
    QueueSnapshot {
        queue: number,
        waiting: queue.waiting_count(),
        running: i64::from(queue.in_flight),
        retrying: queue.retries.len() as i64,
        scheduled: queue.delayed.len() as i64,
        dead: tally.dead - tally.revived,
        oldest_waiting: queue.oldest_ready().map(made_at),
        tally,
        breaker: guard.map(|guard| guard.breaker.clone()),
        pace,
        pressure: queue.pressure(now),
        flow: queue
            .settings
            .as_ref()
            .map(|settings| settings.flow)
            .unwrap_or_default(),
        limited: queue.shares.limited(),
        drained: queue.drained(),
        tenants: tenants(queue, now),
    }
}

/// Those that use the most and those of whom the most waits.
fn tenants(queue: &Queue, now: Timestamp) -> Vec<TenantUse> {
    let mut all: BTreeMap<TenantId, TenantUse> = BTreeMap::new();
    let none = |tenant| TenantUse {
        tenant,
        running: 0,
        used_ms: 0,
        waiting: 0,
        more: false,
        limited: false,
    };
    for (tenant, used) in queue.shares.uses(now) {
        let one = all.entry(tenant).or_insert_with(|| none(tenant));
        one.running = used.running;
        one.used_ms = (used.used / 1_000) as i64;
        one.limited = used.held;
    }
    for (tenant, waiting, more) in queue.waiting() {
        let one = all.entry(tenant).or_insert_with(|| none(tenant));
        one.waiting += waiting as i64;
        one.more |= more;
    }
    let mut all: Vec<TenantUse> = all.into_values().collect();
    all.retain(|one| one.running > 0 || one.used_ms > 0 || one.waiting > 0);
    all.sort_by_key(|one| (Reverse((one.used_ms, one.running)), one.tenant));
    let waiting = all.split_off(all.len().min(SHOWN_MAX));
    let mut most = waiting;
    most.sort_by_key(|one| (Reverse((one.more, one.waiting)), one.tenant));
    most.truncate(SHOWN_MAX);
    all.extend(most);
    all
}
