//! How everything stands, for pages and metrics. Never from a query.

use mainstay_domain::{
    Timestamp,
    jobs::{QueueNumber, QueueTally, breaker::Breaker},
};
use serde::Serialize;

use super::{Machine, Phase, held::made_at, queue::Queue};

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
                .map(|(number, queue)| shown(*number, queue))
                .collect(),
        }
    }
}

fn shown(number: QueueNumber, queue: &Queue) -> QueueSnapshot {
    let tally = queue.tally;
    let dead = tally.dead - tally.revived;
    let unfinished = tally.created - tally.done - tally.cancelled - dead;
    let running = i64::from(queue.in_flight);
    let retrying = queue.retries.len() as i64;
    let scheduled = queue.delayed.len() as i64;
    QueueSnapshot {
        queue: number,
        waiting: (unfinished - running - retrying - scheduled).max(0),
        running,
        retrying,
        scheduled,
        dead,
        oldest_waiting: queue.oldest_ready().map(made_at),
        tally,
        breaker: queue.is_guarded().then(|| queue.breaker.clone()),
    }
}
