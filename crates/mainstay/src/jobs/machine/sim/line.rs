//! Lines in the model of the store: what the port promises of jobs that keep an order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mainstay_domain::{
    JobId, TenantId, Timestamp,
    jobs::{JobRef, LineEnd, Outcome, QueueNumber, Signal, SignalKind},
};

use super::model::{Model, News, blank};

/// What the jobs of a line share.
pub(super) type Key = (TenantId, QueueNumber, u8);

/// The order that a job of the model keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) key: u8,
    pub(super) parks: bool,
}

/// A line that has not come to its end.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) head: JobId,
    /// By position.
    waiting: VecDeque<(usize, JobId)>,
    pub(super) parked: bool,
}

/// Deliberate faults, to see that they are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Planted {
    #[default]
    None,
    /// What waits behind another is discovered like any other job.
    SeenTooEarly,
    /// The end of a head is not the next one's turn.
    TurnForgotten,
    /// The next has its turn when the head is to be tried again.
    TurnAtRetry,
    /// A line goes on behind a dead letter.
    NotParked,
    /// The last of a line has its turn first.
    LastFirst,
}

/// All lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    orders: BTreeMap<JobId, (Key, usize, bool)>,
    pub(super) open: BTreeMap<Key, Line>,
    position: usize,
    /// Whose end gave a job its turn.
    pub(super) turned_by: BTreeMap<JobId, JobId>,
    /// The jobs of each line that have ended for good or as dead letters, in the order in which they did.
    ended: BTreeMap<Key, Vec<JobId>>,
    /// Those that came back, or that a person ended: they keep no order with others any more.
    excused: BTreeSet<JobId>,
    /// The lines in which a dead letter stands that nobody has dealt with.
    dead: BTreeSet<Key>,
    pub(super) planted: Planted,
}

impl Lines {
    /// Takes a new job in; whether it waits.
    pub(super) fn join(&mut self, job: &JobRef, order: Order) -> bool {
        let key = (job.tenant, job.queue, order.key);
        self.position += 1;
        self.orders
            .insert(job.job, (key, self.position, order.parks));
        match self.open.get_mut(&key) {
            Some(line) => line.waiting.push_back((self.position, job.job)),
            None => {
                let line = Line {
                    head: job.job,
                    waiting: VecDeque::new(),
                    parked: false,
                };
                self.open.insert(key, line);
            }
        }
        self.waits(job.job)
    }

    pub(super) fn waits(&self, job: JobId) -> bool {
        let line = self.line_of(job);
        line.is_some_and(|line| line.waiting.iter().any(|(_, one)| *one == job))
    }

    fn line_of(&self, job: JobId) -> Option<&Line> {
        let (key, ..) = self.orders.get(&job)?;
        self.open.get(key)
    }

    /// Nothing of a line runs but its head, and nothing of one that is parked.
    pub(super) fn check_runs(&self, job: JobId) {
        let Some((key, ..)) = self.orders.get(&job) else {
            return;
        };
        let line = self.open.get(key);
        let runs = line.is_some_and(|line| line.head == job && !line.parked);
        let dead = self.dead.contains(key);
        assert!(
            runs && !dead,
            "{job} runs, and its line is {line:?}, {dead}"
        );
    }

    /// The first end of each job, by the line's order, whoever came back later.
    pub(super) fn check_order(&self) {
        for (key, ended) in &self.ended {
            let mut ended: Vec<JobId> = ended.clone();
            ended.retain(|job| !self.excused.contains(job));
            let positions: Vec<usize> = ended.iter().map(|job| self.orders[job].1).collect();
            assert!(
                positions.is_sorted(),
                "the line {key:?} went out of order: {positions:?}"
            );
        }
        assert!(self.open.is_empty(), "every line ends: {:?}", self.open);
    }

    pub(super) fn parked(&self) -> Vec<Key> {
        let parked = self.open.iter().filter(|(_, line)| line.parked);
        parked.map(|(key, _)| *key).collect()
    }

    /// The head of a line has ended. Whose turn it is.
    fn leave(&mut self, job: JobId, dead: bool) -> Option<JobId> {
        let (key, _, parks) = *self.orders.get(&job)?;
        let line = self.open.get_mut(&key).filter(|line| line.head == job)?;
        self.ended.entry(key).or_default().push(job);
        if dead && parks {
            self.dead.insert(key);
            if self.planted != Planted::NotParked {
                line.parked = true;
                return None;
            }
        }
        self.move_on(key)
    }

    fn move_on(&mut self, key: Key) -> Option<JobId> {
        let line = self.open.get_mut(&key)?;
        let before = line.head;
        line.parked = false;
        let next = match self.planted {
            Planted::TurnForgotten => return None,
            Planted::LastFirst => line.waiting.pop_back(),
            _ => line.waiting.pop_front(),
        };
        let Some((_, next)) = next else {
            self.open.remove(&key);
            return None;
        };
        line.head = next;
        self.turned_by.insert(next, before);
        Some(next)
    }

    /// A dead letter comes back. Whether its turn is now.
    fn come_back(&mut self, job: JobId) -> bool {
        self.excused.insert(job);
        let Some((key, position, _)) = self.orders.get(&job).copied() else {
            return true;
        };
        let line = self.open.entry(key).or_insert(Line {
            head: job,
            waiting: VecDeque::new(),
            parked: false,
        });
        if line.head == job {
            line.parked = false;
            self.dead.remove(&key);
            return true;
        }
        let at = line.waiting.partition_point(|(one, _)| *one < position);
        line.waiting.insert(at, (position, job));
        false
    }

    fn withdraw(&mut self, job: JobId) -> bool {
        self.excused.insert(job);
        let Some((key, ..)) = self.orders.get(&job) else {
            return false;
        };
        let Some(line) = self.open.get_mut(key) else {
            return false;
        };
        let before = line.waiting.len();
        line.waiting.retain(|(_, one)| *one != job);
        line.waiting.len() < before
    }
}

impl Model {
    /// What the driver does with the ends of a transaction.
    pub(super) fn line_leave(&mut self, ends: &[LineEnd]) -> Vec<JobRef> {
        let turns = ends.iter().filter_map(|end| {
            let next = self.lines.leave(end.job, end.dead)?;
            Some((next, end.at))
        });
        let turns: Vec<(JobId, Timestamp)> = turns.collect();
        turns
            .into_iter()
            .map(|(job, at)| self.turn(job, at))
            .collect()
    }

    /// Writes down that a job's turn has come.
    pub(super) fn turn(&mut self, job: JobId, at: Timestamp) -> JobRef {
        let of = self.jobs[&job].job;
        let attempt = self.jobs[&job].last().map_or(0, |last| last.attempt) + 1;
        self.record(mainstay_domain::jobs::Attempt {
            attempt,
            tries: 0,
            outcome: Outcome::Requeued,
            next_at: Some(at),
            code: Some("turn_came".into()),
            ..blank(&of, at)
        });
        self.jobs[&job].next().expect("its turn has come")
    }

    /// A person has ended a job.
    pub(super) fn line_left(&mut self, job: JobId, now: Timestamp) {
        if self.lines.withdraw(job) {
            return;
        }
        let Some((key, ..)) = self.lines.orders.get(&job).copied() else {
            return;
        };
        if self
            .lines
            .open
            .get(&key)
            .is_some_and(|line| line.head == job)
        {
            self.line_release(key, now);
        }
    }

    /// A line goes on, whatever became of its head.
    pub(super) fn line_release(&mut self, key: Key, now: Timestamp) {
        self.lines.dead.remove(&key);
        let Some(next) = self.lines.move_on(key) else {
            return;
        };
        let of = self.turn(next, now);
        self.signal(Signal {
            tenant: of.tenant,
            job: next,
            queue: of.queue,
            kind: SignalKind::Turn,
        });
    }

    /// A dead letter is run again: when it is tried next.
    pub(super) fn line_return(&mut self, job: JobId, now: Timestamp) -> Option<Timestamp> {
        self.lines.come_back(job).then_some(now)
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        self.row(signal.job).found_at = self.news.len();
        self.news.push(News::Wish(signal));
    }
}
