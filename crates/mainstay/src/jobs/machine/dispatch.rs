//! Scheduling: which jobs begin now. Queues take turns; each gives one job (or one batch of built-in jobs) at a time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

use mainstay_domain::{
    JobId, TenantId, Timestamp,
    jobs::{AttemptStart, JobRef, QueueNumber, retry::RetryPolicy},
};

use super::{
    Machine, Phase,
    held::{Doubt, Slot, Stage},
    memory::window_of,
    queue::Pick,
    words::{Action, Batch, BatchResult, End, Failed, Report, Runs, Started, Turns},
};

/// What runs, and who is next.
#[derive(Debug, Default)]
pub(super) struct Dispatch {
    outbound: Rotation,
    builtin: Rotation,
    pub(super) worker: Rotation,
    /// Queues whose jobs fail while the breaker is open.
    pub(super) failing: Rotation,
    /// Attempts that leave the process, from their start until their outcome is recorded.
    pub(super) outbound_open: usize,
    /// The same of workers.
    pub(super) worker_open: usize,
    /// The same of built-in jobs, where starts are recorded.
    pub(super) builtin_open: usize,
    /// Built-in jobs whose start is being recorded.
    recording: BTreeSet<JobId>,
    /// Built-in jobs whose start is recorded, to be run.
    recorded: VecDeque<JobRef>,
    /// Starts of which we do not know whether they were recorded, by the configuration they were decided by.
    starts_again: BTreeMap<i64, Vec<AttemptStart>>,
    /// Transactions of built-in jobs, by their number.
    batches: BTreeMap<i64, BatchFlight>,
    /// Parts of batches that failed, to be run again, and suspects, each alone.
    parts: VecDeque<Vec<JobRef>>,
}

#[derive(Debug)]
struct BatchFlight {
    batch: Arc<Batch>,
    /// Whether it is under way; else it must be sent again.
    sent: bool,
}

/// Queues that may run something, in turns.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    runnable: BTreeSet<QueueNumber>,
    last: Option<QueueNumber>,
}

impl Rotation {
    pub(super) fn next(&mut self) -> Option<QueueNumber> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self
            .runnable
            .range((after, Bound::Unbounded))
            .next()
            .or_else(|| self.runnable.first())
            .copied();
        self.last = next;
        next
    }

    pub(super) fn len(&self) -> usize {
        self.runnable.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runnable.is_empty()
    }

    pub(super) fn note(&mut self, queue: QueueNumber, runnable: bool) {
        if runnable {
            self.runnable.insert(queue);
        } else {
            self.runnable.remove(&queue);
        }
    }
}

impl Dispatch {
    /// Takes a queue into its rotation, or out of it.
    pub(super) fn note(&mut self, queue: QueueNumber, runs: Option<Runs>, runnable: bool) {
        self.outbound
            .note(queue, runnable && runs == Some(Runs::Outbound));
        self.builtin
            .note(queue, runnable && runs == Some(Runs::Builtin));
        self.worker
            .note(queue, runnable && runs == Some(Runs::Worker));
    }

    /// An attempt of this kind is no longer open.
    pub(super) fn closed(&mut self, runs: Option<Runs>) {
        match runs {
            None => {}
            Some(Runs::Outbound) => self.outbound_open -= 1,
            Some(Runs::Builtin) => self.builtin_open -= 1,
            Some(Runs::Worker) => self.worker_open -= 1,
        }
    }

    /// Whether nothing runs but what is in the hands of workers: that goes on under the next owner.
    pub(super) fn is_quiet(&self, in_hand: usize) -> bool {
        self.outbound_open == 0
            && self.worker_open <= in_hand
            && self.builtin_open == 0
            && self.batches.is_empty()
    }
}

impl Machine {
    pub(super) fn dispatch(&mut self, out: &mut Vec<Action>) {
        self.send_again(out);
        if self.phase == Phase::Running {
            self.dispatch_suspect(out);
            self.dispatch_outbound(out);
            self.dispatch_workers(out);
            self.record_builtin(out);
        }
        self.dispatch_builtin(out);
    }

    /// Asks once more for what the store failed to answer.
    fn send_again(&mut self, out: &mut Vec<Action>) {
        let again = std::mem::take(&mut self.dispatch.starts_again);
        out.extend(
            again
                .into_iter()
                .map(|(version, starts)| Action::Start { version, starts }),
        );
        for (sequence, flight) in &mut self.dispatch.batches {
            if !flight.sent {
                flight.sent = true;
                out.push(Action::RunBatch {
                    sequence: *sequence,
                    again: true,
                    batch: Arc::clone(&flight.batch),
                });
            }
        }
    }

    fn dispatch_outbound(&mut self, out: &mut Vec<Action>) {
        let mut starts = Vec::new();
        while self.dispatch.outbound_open < self.limits.outbound_max
            && starts.len() < self.limits.starts_max
        {
            let Some(number) = self.dispatch.outbound.next() else {
                break;
            };
            if let Some(start) = self.start_next(number, Pick::Ordinary) {
                starts.push(start);
            }
            self.look_at_queue(number);
        }
        if !starts.is_empty() {
            let version = self.configuring.version;
            out.push(Action::Start { version, starts });
        }
    }

    /// Takes the next job of a queue and gives it a place.
    pub(super) fn start_next(&mut self, number: QueueNumber, pick: Pick) -> Option<AttemptStart> {
        let at = self.now;
        let job = self.pop(number, pick)?;
        let lease_ms = self.promise(number, job);
        let probe = self.guard_begins(number, job);
        let held = self.held.get_mut(&job)?;
        held.open = self.queues.get(&number)?.runs();
        match held.open {
            Some(Runs::Builtin) => {
                self.dispatch.builtin_open += 1;
                self.dispatch.recording.insert(job);
            }
            Some(Runs::Worker) => self.dispatch.worker_open += 1,
            Some(Runs::Outbound) | None => self.dispatch.outbound_open += 1,
        }
        held.stage = Stage::Starting(Slot { at, probe });
        let start = start_of(&held.job, at);
        if probe {
            // Other queues go there as well, and may have no place left.
            self.look_at_queues();
        }
        Some(AttemptStart { lease_ms, ..start })
    }

    /// Takes the next job of a queue. None as well where it has not begun in time: it ends, and is looked on afterwards.
    pub(super) fn pop(&mut self, number: QueueNumber, pick: Pick) -> Option<JobId> {
        let now = self.now;
        let (queue, guard) = self.guarded(number)?;
        let job = queue.pop(pick, guard, now)?;
        let deadline = self.held.get(&job).map(|held| held.job).and_then(|held| {
            self.want(window_of(&held));
            held.deadline
        });
        if deadline.is_some() && self.is_late(job) {
            self.begins_too_late(job);
            return None;
        }
        Some(job)
    }

    /// The starts are recorded, or refused.
    pub(super) fn started(
        &mut self,
        version: i64,
        starts: Vec<AttemptStart>,
        answers: Result<Vec<Started>, Failed>,
        out: &mut Vec<Action>,
    ) {
        let Ok(answers) = answers else {
            self.outage.failed(self.now, &self.limits);
            let again = self.dispatch.starts_again.entry(version).or_default();
            again.extend(starts);
            return;
        };
        self.outage.answered();
        for (start, answer) in starts.into_iter().zip(answers) {
            self.start_answered(start, answer, out);
        }
    }

    fn start_answered(&mut self, start: AttemptStart, answer: Started, out: &mut Vec<Action>) {
        self.dispatch.recording.remove(&start.job);
        let Some(held) = self.held.get_mut(&start.job) else {
            return;
        };
        let Stage::Starting(slot) = held.stage else {
            return;
        };
        if held.cancelled {
            self.vacate(start.job, slot);
            self.release(start.job);
            return;
        }
        match answer {
            Started::Go => self.go(start, slot, out),
            Started::Refused => {
                held.stage = Stage::Inspecting(Doubt::Start(slot));
                self.inspect_held(start.job);
            }
            Started::Gone => {
                self.vacate(start.job, slot);
                self.settle_gone(start.job, slot);
            }
        }
    }

    /// A recorded start is carried out.
    pub(super) fn go(&mut self, start: AttemptStart, slot: Slot, out: &mut Vec<Action>) {
        // It took so long to record.
        if self.is_late(start.job) {
            self.vacate(start.job, slot);
            self.end_expired(start.job, slot.at);
            return;
        }
        let Some(held) = self.held.get_mut(&start.job) else {
            return;
        };
        match held.open {
            Some(Runs::Builtin) => {}
            Some(Runs::Worker) => return self.hand(start, slot, out),
            Some(Runs::Outbound) | None => {
                held.stage = Stage::Running(slot);
                out.push(Action::Run(start));
                return;
            }
        }
        held.stage = Stage::Batched(Some(slot.at));
        if held.job.loss.is_suspect() {
            self.dispatch.parts.push_back(vec![held.job]);
        } else {
            self.dispatch.recorded.push_back(held.job);
        }
    }

    /// An attempt outside has ended.
    pub(super) fn ended(&mut self, job: JobId, end: End, policy: Option<Box<RetryPolicy>>) {
        let Some(held) = self.held.get(&job) else {
            return;
        };
        let Stage::Running(slot) = held.stage else {
            return;
        };
        if held.cancelled {
            self.vacate(job, slot);
            self.release(job);
            return;
        }
        self.conclude(job, slot, end, policy);
    }

    /// The attempt gives its place back, a probe both of its places.
    pub(super) fn vacate(&mut self, job: JobId, slot: Slot) {
        let now = self.now;
        let Some(JobRef { queue, tenant, .. }) = self.held.get(&job).map(|held| held.job) else {
            return;
        };
        self.promise_void(job);
        let queue = self.queue(queue);
        let spent = now.micros().saturating_sub(slot.at.micros()).max(0);
        queue.vacate(tenant, 1, Some(spent.unsigned_abs()), now);
        self.guard_vacated(job, slot);
    }

    /// Records the starts of the next built-in jobs, when it must be known which were under way. One batch ahead of what
    /// runs.
    fn record_builtin(&mut self, out: &mut Vec<Action>) {
        let ahead = !self.dispatch.recording.is_empty() || !self.dispatch.recorded.is_empty();
        if !self.caution.records() || ahead {
            return;
        }
        let Some(number) = self.dispatch.builtin.next() else {
            return;
        };
        let most = self.next_batch_max(number);
        let mut starts = Vec::with_capacity(most);
        while starts.len() < most
            && let Some(start) = self.start_next(number, Pick::Ordinary)
        {
            starts.push(start);
        }
        self.look_at_queue(number);
        if !starts.is_empty() {
            let version = self.configuring.version;
            out.push(Action::Start { version, starts });
        }
    }

    /// How many jobs the next batch of a queue may have.
    fn next_batch_max(&mut self, number: QueueNumber) -> usize {
        let now = self.now;
        let allowed = self.guarded(number);
        let allowed = allowed.map_or(0, |(queue, guard)| queue.allowance(guard.as_deref(), now));
        (allowed as usize).min(self.limits.batch_max)
    }

    fn dispatch_builtin(&mut self, out: &mut Vec<Action>) {
        while self.dispatch.batches.len() < self.limits.batches_max {
            let Some(jobs) = self.next_batch() else {
                return;
            };
            let Some(sequence) = self.sequences.take() else {
                self.dispatch.parts.push_front(jobs);
                return;
            };
            let batch = Arc::new(Batch {
                tally: self.tally_of_success(sequence, &jobs),
                started_at: self.now,
                jobs,
            });
            let flight = BatchFlight {
                batch: Arc::clone(&batch),
                sent: true,
            };
            self.dispatch.batches.insert(sequence, flight);
            out.push(Action::RunBatch {
                sequence,
                again: false,
                batch,
            });
        }
    }

    /// Built-in jobs that are run together: a part of a batch that failed, else those whose start is recorded, else the
    /// next of a queue, while no starts need to be recorded.
    fn next_batch(&mut self) -> Option<Vec<JobRef>> {
        while let Some(part) = self.dispatch.parts.pop_front() {
            let part = self.that_may_run(part);
            if !part.is_empty() {
                return Some(part);
            }
        }
        if let Some(jobs) = self.next_recorded() {
            return Some(jobs);
        }
        if self.caution.records() || self.phase != Phase::Running {
            return None;
        }
        let number = self.dispatch.builtin.next()?;
        let most = self.next_batch_max(number);
        let mut jobs = Vec::with_capacity(most);
        while jobs.len() < most {
            let Some(job) = self.pop(number, Pick::Ordinary) else {
                break;
            };
            if let Some(held) = self.held.get_mut(&job) {
                held.stage = Stage::Batched(None);
                jobs.push(held.job);
            }
        }
        self.look_at_queue(number);
        (!jobs.is_empty()).then_some(jobs)
    }

    /// The next jobs of one queue whose start is recorded.
    fn next_recorded(&mut self) -> Option<Vec<JobRef>> {
        loop {
            let queue = self.dispatch.recorded.front()?.queue;
            let recorded = &self.dispatch.recorded;
            let same = recorded.iter().take_while(|job| job.queue == queue);
            let count = same.take(self.limits.batch_max).count();
            let jobs = self.dispatch.recorded.drain(..count).collect();
            let jobs = self.that_may_run(jobs);
            if !jobs.is_empty() {
                return Some(jobs);
            }
        }
    }

    /// A job whose batch was refused, and whose start is recorded, is run again where it was.
    pub(super) fn batch_again(&mut self, job: JobId, at: Timestamp) {
        if let Some(held) = self.held.get_mut(&job) {
            held.stage = Stage::Batched(Some(at));
            self.dispatch.parts.push_back(vec![held.job]);
        }
    }

    /// Without those that were cancelled, or whose deadline has passed, while they waited for their batch.
    fn that_may_run(&mut self, mut jobs: Vec<JobRef>) -> Vec<JobRef> {
        jobs.retain(|job| {
            if self.is_late(job.job) && self.ends_late(job.job) {
                return false;
            }
            let cancelled = self.held.get(&job.job).is_none_or(|held| held.cancelled);
            if cancelled {
                self.unbatch(job.job);
                self.release(job.job);
            }
            !cancelled
        });
        jobs
    }

    /// Ends a job that waits for its batch, unless somebody has cancelled it.
    fn ends_late(&mut self, job: JobId) -> bool {
        let began = match self.held.get(&job) {
            Some(held) if !held.cancelled => match held.stage {
                Stage::Batched(at) => at,
                _ => return false,
            },
            _ => return false,
        };
        self.unbatch(job);
        self.end_expired(job, began.unwrap_or(self.now));
        true
    }

    /// The job's place in its queue is free again.
    pub(super) fn unbatch(&mut self, job: JobId) {
        let now = self.now;
        if let Some(JobRef { queue, tenant, .. }) = self.held.get(&job).map(|held| held.job) {
            self.queue(queue).vacate(tenant, 1, None, now);
        }
    }

    /// The place of a job that is in a batch.
    fn slot_in(&self, batch: &Batch, job: JobId) -> Slot {
        let at = match self.held.get(&job).map(|held| &held.stage) {
            Some(Stage::Batched(Some(at))) => *at,
            _ => batch.started_at,
        };
        Slot { at, probe: false }
    }

    pub(super) fn batch_ended(
        &mut self,
        sequence: i64,
        result: BatchResult,
        turns: Turns,
        out: &mut Vec<Action>,
    ) {
        if matches!(result, BatchResult::Unavailable) {
            self.outage.failed(self.now, &self.limits);
            if let Some(flight) = self.dispatch.batches.get_mut(&sequence) {
                flight.sent = false;
            }
            return;
        }
        let Some(flight) = self.dispatch.batches.remove(&sequence) else {
            return;
        };
        self.outage.answered();
        let jobs = &flight.batch.jobs;
        match result {
            BatchResult::Committed => self.batch_committed(sequence, &flight.batch, turns),
            BatchResult::Failed {
                job,
                failure,
                policy,
            } => {
                self.sequences.give_back(sequence);
                self.split(jobs, |other| other == job);
                self.caution.builtin_ended(1);
                let slot = self.slot_in(&flight.batch, job);
                let end = End::Reported(Report::Failure(*failure));
                self.conclude(job, slot, end, policy);
            }
            BatchResult::Gone(gone) => {
                self.sequences.give_back(sequence);
                self.split(jobs, |other| gone.contains(&other));
                for job in jobs.iter().filter(|job| gone.contains(&job.job)) {
                    self.unbatch(job.job);
                    let slot = self.slot_in(&flight.batch, job.job);
                    self.settle_gone(job.job, slot);
                }
            }
            BatchResult::Conflict => {
                self.sequences.give_back(sequence);
                for job in jobs {
                    self.doubt_batched(job.job);
                }
            }
            BatchResult::Replaced => self.replaced(out),
            BatchResult::Unavailable => {}
        }
    }

    fn batch_committed(&mut self, sequence: i64, batch: &Batch, turns: Turns) {
        self.sequences.used(sequence);
        self.checkpoints.change();
        self.caution.builtin_ended(batch.jobs.len());
        self.batch_vacated(batch);
        for job in &batch.jobs {
            self.release(job.job);
        }
        self.turns_came(&batch.ends(batch.started_at), turns, |_| {
            batch.jobs.first().map(|job| job.queue)
        });
    }

    /// All jobs of a batch give their places back: each has taken its part of the time.
    fn batch_vacated(&mut self, batch: &Batch) {
        let now = self.now;
        let Some(JobRef { queue, .. }) = batch.jobs.first() else {
            return;
        };
        let took = now
            .micros()
            .saturating_sub(batch.started_at.micros())
            .max(0);
        let spent = took.unsigned_abs() / batch.jobs.len() as u64;
        let mut counts: BTreeMap<TenantId, u32> = BTreeMap::new();
        // Jobs of one tenant mostly stand together.
        for jobs in batch.jobs.chunk_by(|one, next| one.tenant == next.tenant) {
            *counts.entry(jobs[0].tenant).or_default() += jobs.len() as u32;
        }
        let queue = self.queue(*queue);
        queue.tally.done += batch.jobs.len() as i64;
        for (tenant, count) in counts {
            queue.vacate(tenant, count, Some(spent), now);
        }
    }

    /// Runs the jobs before and after the ones that are picked out as batches of their own. So a batch in which many
    /// fail costs two transactions for each failure, and runs no handler more than twice.
    fn split(&mut self, jobs: &[JobRef], picked: impl Fn(JobId) -> bool) {
        let parts = jobs.split(|job| picked(job.job));
        let parts = parts.filter(|part| !part.is_empty());
        self.dispatch.parts.extend(parts.map(<[JobRef]>::to_vec));
    }

    fn doubt_batched(&mut self, job: JobId) {
        let Some(held) = self.held.get_mut(&job) else {
            return;
        };
        let at = match held.stage {
            Stage::Batched(at) => at,
            _ => None,
        };
        held.stage = Stage::Inspecting(Doubt::Batch(at));
        if at.is_none() {
            self.unbatch(job);
        }
        self.inspect_held(job);
    }
}

/// The start row of a job's next attempt.
pub(super) fn start_of(job: &JobRef, at: Timestamp) -> AttemptStart {
    AttemptStart {
        tenant: job.tenant,
        job: job.job,
        queue: job.queue,
        attempt: job.attempt + 1,
        tries: job.tries,
        at,
        lease_ms: None,
    }
}
