//! Workers: who waits for jobs, and which attempts are in whose hands.
//!
//! - *Nothing is started that nobody waits for.* A poll has so many places; a job that is started takes one before its
//!   start is recorded (it is *promised*), and gives it back when it does not come to be handed out.
//! - *Nothing is handed out before its start is recorded.* A poll is answered once no promise to it is open.
//! - *What is handed out is under a lease.* Each sign of life renews it. Whoever speaks of an attempt that is under no
//!   lease any more is told that it has ended, and nothing changes.
//! - *An owner that takes over adopts what is in hand*, each for one lease more. So does one that was not there for a while
//!   (a clock that leapt, a process that stood still): nobody could have told it anything.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_domain::{
    Category, JobId, Timestamp,
    jobs::{
        Attempt, AttemptStart, JobRef, Outcome, QueueNumber,
        retry::{Next, RetryPolicy},
    },
};

use super::{
    JobMap, Machine, Phase,
    deadline::EXPIRED,
    dispatch::start_of,
    held::{Doubt, Held, Slot, Stage},
    planted::{Fault, planted},
    queue::{Pick, Queue},
    words::{Action, End, Poll, PollId, Returned, Runs, Standing, Truth},
};

/// The lease of an attempt whose start says none, in milliseconds.
const LEASE_MS: i32 = 30_000;
/// A machine that was not asked for so long was not there, in milliseconds: it wakes every second.
const LEAP_MS: i64 = 5_000;
/// A job that has been attempted so often is not given back any more.
const RETURNS_MAX: i32 = 1_000;

/// Polls, promises and leases.
#[derive(Debug, Default)]
pub(super) struct Workers {
    polls: BTreeMap<PollId, Open>,
    /// The polls with free places, by queue, the oldest first.
    free: BTreeMap<QueueNumber, BTreeSet<PollId>>,
    /// Jobs whose start is being recorded, and for whom.
    promised: JobMap<PollId>,
    leases: JobMap<Lease>,
    lease_ends: BTreeSet<(Timestamp, JobId)>,
    /// Attempts whose outcome a worker has told and that are not committed.
    reported: JobMap<i32>,
    /// What became of them, to be told.
    told: Vec<Action>,
    /// Queues whose free places have changed.
    changed: BTreeSet<QueueNumber>,
}

/// A poll.
#[derive(Debug)]
struct Open {
    queues: Vec<QueueNumber>,
    /// Places that nothing is promised for.
    places: u32,
    promised: u32,
    handed: u32,
    lease_ms: i32,
    /// It is closed once it was looked whether there is something.
    at_once: bool,
    /// It takes nothing more.
    closed: bool,
}

impl Open {
    /// One that is promised something is answered with that, and not kept waiting for more.
    fn takes(&self) -> bool {
        self.places > 0 && self.promised + self.handed == 0 && !self.closed
    }
}

/// An attempt in a worker's hands.
#[derive(Debug, Clone, Copy)]
struct Lease {
    attempt: i32,
    lease_ms: i32,
    until: Timestamp,
    /// It does not go on beyond it.
    deadline: Option<Timestamp>,
}

impl Workers {
    /// How many attempts are in hand.
    pub(super) fn in_hand(&self) -> usize {
        self.leases.len()
    }

    /// When the next lease runs out.
    pub(super) fn lease_ends_at(&self) -> Option<Timestamp> {
        self.lease_ends.first().map(|(at, _)| *at)
    }

    /// No lease is longer than it should be when the clock is set back, and none ends while nobody was there to hear of a
    /// sign of life.
    pub(super) fn tell_time(&mut self, before: Timestamp, now: Timestamp) {
        if now >= before && now.ms_since(before) <= LEAP_MS {
            return;
        }
        let set_back = now < before;
        let jobs: Vec<JobId> = self.leases.keys().copied().collect();
        for job in jobs {
            self.renew(job, |lease| {
                let whole = now.plus_ms(i64::from(lease.lease_ms));
                match set_back {
                    true => lease.until.min(whole),
                    false => lease.until.max(whole),
                }
            });
        }
    }

    fn lease(&mut self, start: &AttemptStart, deadline: Option<Timestamp>, now: Timestamp) {
        let lease_ms = start.lease_ms.unwrap_or(LEASE_MS);
        let deadline = deadline.filter(|_| !planted(Fault::DeadlineLeased));
        let until = now.plus_ms(i64::from(lease_ms));
        let until = until.min(deadline.unwrap_or(Timestamp::MAX));
        let lease = Lease {
            attempt: start.attempt,
            lease_ms,
            until,
            deadline,
        };
        self.leases.insert(start.job, lease);
        self.lease_ends.insert((until, start.job));
    }

    fn renew(&mut self, job: JobId, until: impl FnOnce(&Lease) -> Timestamp) {
        if let Some(lease) = self.leases.get_mut(&job) {
            self.lease_ends.remove(&(lease.until, job));
            lease.until = until(lease).min(lease.deadline.unwrap_or(Timestamp::MAX));
            self.lease_ends.insert((lease.until, job));
        }
    }

    fn lease_over(&mut self, job: JobId) {
        if let Some(lease) = self.leases.remove(&job) {
            self.lease_ends.remove(&(lease.until, job));
        }
    }

    /// The outcome that a worker told is committed.
    pub(super) fn recorded(&mut self, job: JobId) {
        self.conclude(job, true);
    }

    /// The job is let go: whatever a worker told of it and is not committed counts for nothing.
    pub(super) fn released(&mut self, job: JobId) {
        self.lease_over(job);
        self.conclude(job, false);
    }

    fn conclude(&mut self, job: JobId, recorded: bool) {
        if let Some(attempt) = self.reported.remove(&job) {
            self.told.push(Action::Reported {
                job,
                attempt,
                recorded,
            });
        }
    }

    /// Brings the index in line with what a poll takes.
    fn note(&mut self, poll: PollId) {
        let Some(open) = self.polls.get(&poll) else {
            return;
        };
        for queue in &open.queues {
            let free = self.free.entry(*queue).or_default();
            if open.takes() {
                free.insert(poll);
            } else {
                free.remove(&poll);
            }
            if free.is_empty() {
                self.free.remove(queue);
            }
            self.changed.insert(*queue);
        }
    }

    fn places(&self, queue: QueueNumber) -> u32 {
        let polls = self.free.get(&queue).into_iter().flatten();
        let open = polls.filter_map(|poll| self.polls.get(poll));
        open.fold(0, |sum, open| sum.saturating_add(open.places))
    }

    fn change(&mut self, poll: PollId, change: impl FnOnce(&mut Open)) {
        if let Some(open) = self.polls.get_mut(&poll) {
            change(open);
        }
    }

    /// Polls that are to be answered now.
    fn answerable(&self) -> Vec<PollId> {
        let polls = self.polls.iter();
        let settled = polls.filter(|(_, open)| {
            open.promised == 0 && (open.handed > 0 || open.closed || open.at_once)
        });
        settled.map(|(poll, _)| *poll).collect()
    }

    fn forget(&mut self, poll: PollId) {
        self.change(poll, |open| open.closed = true);
        self.note(poll);
        self.polls.remove(&poll);
    }

    /// For checks: the promises that polls and jobs know of are the same.
    #[cfg(test)]
    pub(super) fn promises(&self) -> (usize, usize) {
        let by_poll = self.polls.values().map(|open| open.promised as usize);
        (by_poll.sum(), self.promised.len())
    }

    /// For checks: the attempt of a job that is under a lease.
    #[cfg(test)]
    pub(super) fn leased(&self, job: JobId) -> Option<i32> {
        self.leases.get(&job).map(|lease| lease.attempt)
    }
}

impl Machine {
    /// Whether workers take the jobs of a queue.
    pub(super) fn is_workers(&self, queue: QueueNumber) -> bool {
        let queue = self.queues.get(&queue);
        queue.and_then(Queue::runs) == Some(Runs::Worker)
    }

    pub(super) fn polled(&mut self, poll: Poll) {
        for queue in &poll.queues {
            self.queue(*queue);
        }
        let open = Open {
            queues: poll.queues,
            places: poll.places,
            promised: 0,
            handed: 0,
            lease_ms: poll.lease_ms,
            at_once: poll.at_once,
            closed: self.phase != Phase::Running,
        };
        self.workers.polls.insert(poll.poll, open);
        self.workers.note(poll.poll);
        self.tell_wanted();
    }

    pub(super) fn poll_closed(&mut self, poll: PollId) {
        self.workers.change(poll, |open| open.closed = true);
        self.workers.note(poll);
        self.tell_wanted();
    }

    pub(super) fn close_polls(&mut self) {
        let polls: Vec<PollId> = self.workers.polls.keys().copied().collect();
        for poll in polls {
            self.poll_closed(poll);
        }
    }

    /// Tells queues how many jobs are wanted of them.
    fn tell_wanted(&mut self) {
        while let Some(number) = self.workers.changed.pop_first() {
            let wanted = self.workers.places(number);
            self.queue(number).wanted = wanted;
        }
    }

    pub(super) fn dispatch_workers(&mut self, out: &mut Vec<Action>) {
        // Until it is known what a predecessor left in hand, nobody knows how much more may begin.
        if !self.all_lost_are_known() {
            return;
        }
        self.look_at_queues();
        let mut starts = Vec::new();
        while self.dispatch.worker_open < self.limits.workers_max
            && starts.len() < self.limits.starts_max
        {
            let Some(number) = self.dispatch.worker.next() else {
                break;
            };
            starts.extend(self.start_next(number, Pick::Ordinary));
            self.look_at_queue(number);
            self.look_at_queues();
        }
        if !starts.is_empty() {
            let version = self.configuring.version;
            out.push(Action::Start { version, starts });
        }
        self.seal_promised();
    }

    /// A job that is about to start takes a place of the poll that waits longest. Answers for how long it will be in hand.
    pub(super) fn promise(&mut self, number: QueueNumber, job: JobId) -> Option<i32> {
        if !self.is_workers(number) {
            return None;
        }
        let poll = *self.workers.free.get(&number)?.first()?;
        let open = self.workers.polls.get_mut(&poll)?;
        // The rest of its places are for others of this same step, until it is sealed.
        open.places -= 1;
        let lease_ms = open.lease_ms;
        self.workers.promised.insert(job, poll);
        self.workers.note(poll);
        self.tell_wanted();
        Some(lease_ms)
    }

    /// Polls that were promised something in this step take nothing more.
    fn seal_promised(&mut self) {
        let mut counts: BTreeMap<PollId, u32> = BTreeMap::new();
        for poll in self.workers.promised.values() {
            *counts.entry(*poll).or_default() += 1;
        }
        for (poll, promised) in counts {
            self.workers.change(poll, |open| open.promised = promised);
            self.workers.note(poll);
        }
        self.tell_wanted();
    }

    /// A job that was promised does not come. Whom it was promised may have another.
    pub(super) fn promise_void(&mut self, job: JobId) {
        let Some(poll) = self.workers.promised.remove(&job) else {
            return;
        };
        self.workers.change(poll, |open| {
            open.promised = open.promised.saturating_sub(1);
            open.places += 1;
        });
        self.workers.note(poll);
        self.tell_wanted();
    }

    /// A recorded start is handed out.
    pub(super) fn hand(&mut self, start: AttemptStart, slot: Slot, out: &mut Vec<Action>) {
        if let Some(held) = self.held.get_mut(&start.job) {
            held.stage = Stage::Running(slot);
        }
        let Some(poll) = self.workers.promised.remove(&start.job) else {
            self.conclude(start.job, slot, End::Interrupted, None);
            return;
        };
        self.workers.change(poll, |open| {
            open.promised = open.promised.saturating_sub(1);
            open.handed += 1;
        });
        self.workers
            .lease(&start, self.deadline_of(start.job), self.now);
        out.push(Action::Hand { poll, start });
    }

    /// Answers the polls that have got something, or wait no more, and whoever reported an outcome.
    pub(super) fn answer_workers(&mut self, out: &mut Vec<Action>) {
        for poll in self.workers.answerable() {
            self.workers.forget(poll);
            out.push(Action::Answer { poll });
        }
        self.tell_wanted();
        out.append(&mut self.workers.told);
    }

    /// Whether this attempt is in somebody's hands.
    pub fn is_in_hand(&self, job: JobId, attempt: i32) -> bool {
        let lease = self.workers.leases.get(&job);
        lease.is_some_and(|lease| lease.attempt == attempt)
    }

    /// A worker gives a sign of life.
    pub fn beat(&mut self, now: Timestamp, job: JobId, attempt: i32) -> Standing {
        self.tell_time(now);
        let standing = self.standing(job, attempt);
        if standing == Standing::InHand {
            let whole = |lease: &Lease| now.plus_ms(i64::from(lease.lease_ms));
            self.workers.renew(job, whole);
        }
        standing
    }

    /// A worker says how an attempt went. Where it is in hand, [`Action::Reported`] follows once that is recorded or refused;
    /// where the job was cancelled, its place is free. The machine is to be stepped afterwards.
    pub fn report(
        &mut self,
        now: Timestamp,
        job: JobId,
        attempt: i32,
        end: End,
        policy: Option<Box<RetryPolicy>>,
    ) -> Standing {
        self.tell_time(now);
        let standing = self.standing(job, attempt);
        match standing {
            Standing::InHand => {
                self.workers.lease_over(job);
                self.workers.reported.insert(job, attempt);
                self.ended(job, end, policy);
            }
            Standing::Cancelled => self.ended(job, end, policy),
            Standing::NotYet | Standing::Ended => {}
        }
        standing
    }

    fn standing(&mut self, job: JobId, attempt: i32) -> Standing {
        if self.phase == Phase::Ended {
            return Standing::NotYet;
        }
        if self
            .workers
            .leases
            .get(&job)
            .is_some_and(|lease| lease.attempt == attempt)
        {
            let cancelled = self.held.get(&job).is_some_and(|held| held.cancelled);
            return match cancelled {
                true => Standing::Cancelled,
                false => Standing::InHand,
            };
        }
        if self.workers.reported.get(&job) == Some(&attempt) || self.may_be_left(job, attempt) {
            return Standing::NotYet;
        }
        let Some(held) = self
            .held
            .get(&job)
            .filter(|held| held.job.attempt + 1 == attempt)
        else {
            return Standing::Ended;
        };
        match held.stage {
            // A predecessor handed it out while it was being replaced: the store knows.
            Stage::Waiting => {
                self.inspect_held(job);
                Standing::NotYet
            }
            Stage::Starting(_) | Stage::Inspecting(Doubt::Start(_)) => Standing::NotYet,
            _ => Standing::Ended,
        }
    }

    /// Ends the leases whose time has come.
    pub(super) fn end_leases(&mut self, out: &mut Vec<Action>) {
        while let Some((at, job)) = self.workers.lease_ends.first().copied() {
            if at > self.now {
                return;
            }
            self.workers.lease_over(job);
            let Some((held, slot)) = self.held.get(&job).and_then(running) else {
                continue;
            };
            if held.cancelled {
                self.ended(job, End::Interrupted, None);
            } else {
                out.push(Action::LeaseEnded(start_of(&held.job, slot.at)));
            }
        }
    }

    /// An attempt that a predecessor left in a worker's hands stays there for one lease more. Its job waits in memory, and
    /// in no queue's order any more.
    pub(super) fn adopt(&mut self, start: AttemptStart) {
        let Some(held) = self.held.get_mut(&start.job) else {
            return;
        };
        let at = start.at;
        held.stage = Stage::Running(Slot { at, probe: false });
        held.open = Some(Runs::Worker);
        self.dispatch.worker_open += 1;
        let now = self.now;
        self.queue(start.queue).adopt(start.tenant, now);
        self.workers
            .lease(&start, self.deadline_of(start.job), self.now);
        self.checkpoints.change();
    }

    /// The same where our own start was refused because of the predecessor's.
    pub(super) fn adopt_started(&mut self, start: AttemptStart) {
        let open = self
            .held
            .get_mut(&start.job)
            .and_then(|held| held.open.take());
        self.dispatch.closed(open);
        self.adopt(start);
    }

    /// The same where the store was asked about a job that waits.
    pub(super) fn adopt_found(&mut self, truth: &Truth) {
        let waits = |held: &Held| matches!(held.stage, Stage::Waiting);
        let Some(start) = truth.start.filter(|start| self.is_workers(start.queue)) else {
            return;
        };
        if start.attempt == truth.attempt + 1 && self.held.get(&start.job).is_some_and(waits) {
            self.take_out(start.job);
            self.adopt(start);
        }
    }

    /// The worker gave it back: that is no try of the job's.
    pub(super) fn returned_attempt(&self, job: &JobRef, slot: Slot, returned: Returned) -> Attempt {
        if job.attempt >= RETURNS_MAX {
            return Attempt {
                category: Some(Category::Bug),
                code: Some("returned_too_often".into()),
                error: Some(format!("workers gave it back until attempt {RETURNS_MAX}")),
                ..self.attempt_of(job, slot, Outcome::Dead)
            };
        }
        let code = match returned.delay_ms {
            None => "released",
            Some(_) => "snoozed",
        };
        Attempt {
            tries: job.tries,
            next_at: Some(self.now.plus_ms(returned.delay_ms.unwrap_or(0))),
            code: Some(code.into()),
            error: returned.reason,
            by: Some(returned.by),
            ..self.attempt_of(job, slot, Outcome::Requeued)
        }
    }

    pub(super) fn lease_ended_attempt(
        &self,
        job: &JobRef,
        slot: Slot,
        policy: Option<Box<RetryPolicy>>,
    ) -> Attempt {
        if job.deadline.is_some_and(|at| at <= self.now) {
            return Attempt {
                category: Some(Category::Timeout),
                code: Some(EXPIRED.into()),
                error: Some("its deadline came while a worker had it".into()),
                ..self.attempt_of(job, slot, Outcome::Dead)
            };
        }
        let mut attempt = Attempt {
            category: Some(Category::Timeout),
            code: Some("lease_ended".into()),
            error: Some("the worker that had it gave no sign of life".into()),
            ..self.attempt_of(job, slot, Outcome::Dead)
        };
        let policy = policy.map_or_else(|| self.policy_of(job.queue), |policy| *policy);
        if let Next::Retry(at) = self.decide_next(&policy, &attempt, None) {
            attempt.outcome = Outcome::Lost;
            attempt.next_at = Some(at);
        }
        attempt
    }
}

fn running(held: &Held) -> Option<(&Held, Slot)> {
    match held.stage {
        Stage::Running(slot) => Some((held, slot)),
        _ => None,
    }
}
