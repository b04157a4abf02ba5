//! Outcomes: what an attempt's end means, and how it is written down.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use mainstay_domain::{
    Category, JobId,
    jobs::{
        Attempt, JobRef, LineEnd, Loss, Outcome, QueueNumber, TallyRecord,
        breaker::Dependency,
        loss::LOST_REPEATEDLY,
        retry::{Next, RetryPolicy, decide},
    },
};

use super::{
    Machine,
    checkpoint::TallyBody,
    held::{Doubt, Slot, Stage},
    poison::said_of,
    queue::Queue,
    words::{Action, BreakerTurn, End, Failure, Report, Runs, SettleResult, Settlement, Turns},
};

/// Lines that one settlement moves on at the most.
const LINE_ENDS_MAX: usize = 50;

/// Outcomes that are not committed yet.
#[derive(Debug, Default)]
pub(super) struct Settling {
    pending: VecDeque<Attempt>,
    flights: BTreeMap<i64, Flight>,
    /// Breakers that differ from what the store has of them.
    breakers: BTreeSet<Dependency>,
    /// Breakers' turns that nobody has been told of.
    turns: Vec<BreakerTurn>,
}

#[derive(Debug)]
struct Flight {
    settlement: Arc<Settlement>,
    /// Whether it is under way; else it must be sent again.
    sent: bool,
}

impl Settling {
    /// Whether everything is written down.
    pub(super) fn is_quiet(&self) -> bool {
        self.pending.is_empty() && self.flights.is_empty() && self.turns.is_empty()
    }

    /// How many outcomes are not under way to the store.
    pub(super) fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// A breaker differs from what the store has of it.
    pub(super) fn breaker_changed(&mut self, dependency: Dependency) {
        self.breakers.insert(dependency);
    }

    /// A breaker's turn is to be kept and told.
    pub(super) fn turned(&mut self, turn: BreakerTurn) {
        self.turns.push(turn);
    }

    /// Breakers to be written with the next settlement: one that is being written waits, so that the last one wins.
    fn breakers_free(&self) -> Vec<Dependency> {
        let flying = |dependency: &Dependency| {
            let mut breakers = self
                .flights
                .values()
                .flat_map(|flight| &flight.settlement.breakers);
            breakers.any(|(other, _)| other == dependency)
        };
        self.breakers
            .iter()
            .filter(|dependency| !flying(dependency))
            .cloned()
            .collect()
    }
}

impl Machine {
    /// An attempt has ended: gives its place back, tells the breaker, and decides what follows.
    pub(super) fn conclude(
        &mut self,
        job: JobId,
        slot: Slot,
        end: End,
        policy: Option<Box<RetryPolicy>>,
    ) {
        self.tell_breaker(job, slot, &end);
        self.vacate(job, slot);
        let Some(held) = self.held.get(&job) else {
            return;
        };
        let job = held.job;
        let attempt = match end {
            End::Reported(Report::Success { status, exchange }) => Attempt {
                status,
                exchange,
                ..self.attempt_of(&job, slot, Outcome::Succeeded)
            },
            End::Reported(Report::Failure(failure)) => {
                self.failed_attempt(&job, slot, failure, policy)
            }
            End::Interrupted => self.interrupted_attempt(&job, slot),
            End::Returned(returned) => self.returned_attempt(&job, slot, returned),
            End::LeaseEnded { exchange } => Attempt {
                exchange,
                ..self.lease_ended_attempt(&job, slot, policy)
            },
        };
        self.settle_later(attempt, slot);
    }

    /// The body of a job is gone: there is nothing to carry out, now or ever.
    pub(super) fn settle_gone(&mut self, job: JobId, slot: Slot) {
        let Some(held) = self.held.get(&job) else {
            return;
        };
        let job = held.job;
        let attempt = Attempt {
            code: Some("body_gone".into()),
            error: Some("the job's body is gone".into()),
            by: Some("system".into()),
            tries: job.tries,
            ..self.attempt_of(&job, slot, Outcome::Cancelled)
        };
        self.settle_later(attempt, slot);
    }

    /// An attempt whose process died. `before` says how the ones right before it went, `alone` whether it was the suspect
    /// that had begun last.
    pub(super) fn settle_lost(&mut self, job: JobId, slot: Slot, before: Loss, alone: bool) {
        let Some(held) = self.held.get(&job) else {
            return;
        };
        let job = held.job;
        let loss = before.and_again(alone);
        let mut attempt = Attempt {
            category: Some(Category::Unknown),
            code: Some(loss.map_or(LOST_REPEATEDLY, Loss::code).into()),
            error: Some(said_of(loss).into()),
            ..self.attempt_of(&job, slot, Outcome::Dead)
        };
        if loss.is_some() && self.is_builtin(job.queue) {
            // All that it did was undone with its process: that is no try of the job's.
            attempt.tries = job.tries;
            attempt.outcome = Outcome::Lost;
            attempt.next_at = Some(self.now);
        } else if loss.is_some()
            && let Next::Retry(at) = self.decide_next(&self.policy_of(job.queue), &attempt, None)
        {
            attempt.outcome = Outcome::Lost;
            attempt.next_at = Some(at);
        }
        self.settle_later(attempt, slot);
    }

    fn is_builtin(&self, queue: QueueNumber) -> bool {
        let queue = self.queues.get(&queue);
        queue.and_then(Queue::runs) == Some(Runs::Builtin)
    }

    fn failed_attempt(
        &self,
        job: &JobRef,
        slot: Slot,
        failure: Failure,
        policy: Option<Box<RetryPolicy>>,
    ) -> Attempt {
        let mut attempt = Attempt {
            category: Some(failure.category),
            code: Some(failure.code),
            error: Some(failure.error),
            status: failure.status,
            exchange: failure.exchange,
            ..self.attempt_of(job, slot, Outcome::Dead)
        };
        let policy = policy.map_or_else(|| self.policy_of(job.queue), |policy| *policy);
        if let Next::Retry(at) = self.decide_next(&policy, &attempt, failure.retry_after_ms) {
            attempt.outcome = Outcome::Failed;
            attempt.next_at = Some(at);
        }
        attempt
    }

    /// We stopped it ourselves: that is no try of the job's.
    fn interrupted_attempt(&self, job: &JobRef, slot: Slot) -> Attempt {
        Attempt {
            tries: job.tries,
            next_at: Some(self.now),
            category: Some(Category::Unknown),
            code: Some("interrupted".into()),
            error: Some("stopped together with the process that ran it".into()),
            ..self.attempt_of(job, slot, Outcome::Lost)
        }
    }

    pub(super) fn attempt_of(&self, job: &JobRef, slot: Slot, outcome: Outcome) -> Attempt {
        Attempt {
            tenant: job.tenant,
            job: job.job,
            attempt: job.attempt + 1,
            tries: job.tries + 1,
            queue: job.queue,
            outcome,
            started_at: slot.at,
            finished_at: self.now,
            next_at: None,
            category: None,
            code: None,
            error: None,
            status: None,
            exchange: None,
            by: None,
        }
    }

    pub(super) fn policy_of(&self, queue: QueueNumber) -> RetryPolicy {
        let queue = self.queues.get(&queue);
        let settings = queue.and_then(|queue| queue.settings.as_ref());
        settings
            .map(|settings| settings.retry.clone())
            .unwrap_or_default()
    }

    pub(super) fn decide_next(
        &self,
        policy: &RetryPolicy,
        attempt: &Attempt,
        retry_after_ms: Option<i64>,
    ) -> Next {
        let category = attempt.category.unwrap_or(Category::Unknown);
        decide(
            policy,
            category,
            attempt.tries,
            retry_after_ms,
            self.now,
            &*self.random,
        )
    }

    /// What the end of an attempt says about the dependency behind its queue.
    fn tell_breaker(&mut self, job: JobId, slot: Slot, end: &End) {
        let Some(number) = self.held.get(&job).map(|held| held.job.queue) else {
            return;
        };
        let error = match end {
            End::Reported(Report::Success { .. }) => None,
            End::Reported(Report::Failure(failure)) if blames_dependency(failure) => {
                Some(failure.error.as_str())
            }
            // Whatever it answered, it is there.
            End::Reported(Report::Failure(failure)) if failure.status.is_some() => None,
            End::Reported(Report::Failure(_))
            | End::Interrupted
            | End::Returned(_)
            | End::LeaseEnded { .. } => return,
        };
        self.guard_told(number, job, slot, error);
    }

    fn settle_later(&mut self, attempt: Attempt, slot: Slot) {
        let attempt = self.in_time(attempt);
        if let Some(held) = self.held.get_mut(&attempt.job) {
            held.stage = Stage::Settling(slot);
            self.settling.pending.push_back(attempt);
        }
    }

    /// An outcome that nothing was begun for, or that was refused together with others, is written.
    pub(super) fn settle_again(&mut self, attempt: Attempt, slot: Slot) {
        self.settle_later(attempt, slot);
    }

    pub(super) fn settle(&mut self, out: &mut Vec<Action>) {
        for (sequence, flight) in &mut self.settling.flights {
            if !flight.sent {
                flight.sent = true;
                out.push(Action::Settle {
                    sequence: *sequence,
                    settlement: Arc::clone(&flight.settlement),
                });
            }
        }
        while self.settling.flights.len() < self.limits.settles_max {
            let breakers = self.settling.breakers_free();
            let idle = self.settling.pending.is_empty() && self.settling.turns.is_empty();
            if idle && breakers.is_empty() {
                return;
            }
            let Some(sequence) = self.sequences.take() else {
                return;
            };
            let settlement = Arc::new(self.settlement(sequence, &breakers));
            let flight = Flight {
                settlement: Arc::clone(&settlement),
                sent: true,
            };
            self.settling.flights.insert(sequence, flight);
            out.push(Action::Settle {
                sequence,
                settlement,
            });
        }
    }

    fn settlement(&mut self, sequence: i64, breakers: &[Dependency]) -> Settlement {
        // Lines stay locked until the commit, and webhooks for them wait: it holds only so many.
        let mut ordered = 0;
        let few = |attempt: &&Attempt| {
            ordered += usize::from(self.line_end(attempt).is_some());
            ordered <= LINE_ENDS_MAX
        };
        let pending = self.settling.pending.iter();
        let count = pending
            .take(self.limits.settle_batch)
            .take_while(few)
            .count();
        let attempts: Vec<Attempt> = self.settling.pending.drain(..count).collect();
        let mut body = TallyBody::new(self.epoch);
        for attempt in &attempts {
            body.count(attempt);
        }
        let ends: Vec<LineEnd> = attempts
            .iter()
            .filter_map(|one| self.line_end(one))
            .collect();
        for attempt in attempts
            .iter()
            .filter(|one| ends.iter().any(|end| end.job == one.job))
        {
            body.retry_at(attempt.queue, attempt.finished_at);
        }
        // Who takes over finds no start without an outcome any more.
        let queues: Vec<QueueNumber> = body.queues.keys().copied().collect();
        for number in queues {
            let queue = self.queues.get(&number);
            body.inherited
                .extend(queue.into_iter().flat_map(Queue::inherited));
        }
        let breakers = breakers.iter().map(|dependency| {
            self.settling.breakers.remove(dependency);
            // One that nothing goes to any more is as new.
            let guard = self.guards.get(dependency);
            let breaker = guard.map(|guard| guard.breaker.clone());
            (dependency.clone(), breaker.unwrap_or_default())
        });
        Settlement {
            tally: TallyRecord {
                sequence,
                body: body.encode(),
            },
            breakers: breakers.collect(),
            turns: std::mem::take(&mut self.settling.turns),
            ends,
            attempts,
        }
    }

    /// The tally record of a batch in which all succeed.
    pub(super) fn tally_of_success(&self, sequence: i64, jobs: &[JobRef]) -> TallyRecord {
        let mut body = TallyBody::new(self.epoch);
        if let Some(job) = jobs.first() {
            body.count_done(job.queue, jobs.len() as i64);
            if jobs.iter().any(|job| job.ordered) {
                body.retry_at(job.queue, self.now);
            }
        }
        TallyRecord {
            sequence,
            body: body.encode(),
        }
    }

    pub(super) fn settled(
        &mut self,
        sequence: i64,
        result: SettleResult,
        turns: Turns,
        out: &mut Vec<Action>,
    ) {
        match result {
            SettleResult::Committed => {
                self.outage.answered();
                self.sequences.used(sequence);
                if let Some(flight) = self.settling.flights.remove(&sequence) {
                    self.settlement_committed(&flight.settlement, turns);
                }
            }
            SettleResult::Conflict => {
                self.sequences.give_back(sequence);
                if let Some(flight) = self.settling.flights.remove(&sequence) {
                    self.settlement_refused(flight.settlement);
                }
            }
            SettleResult::Unavailable => {
                self.outage.failed(self.now, &self.limits);
                if let Some(flight) = self.settling.flights.get_mut(&sequence) {
                    flight.sent = false;
                }
            }
            SettleResult::Replaced => self.replaced(out),
        }
    }

    fn settlement_committed(&mut self, settlement: &Settlement, turns: Turns) {
        self.checkpoints.change();
        // An announcement may have made jobs.
        if !settlement.turns.is_empty() {
            self.news.woken();
        }
        for attempt in &settlement.attempts {
            if attempt.outcome == Outcome::Dead {
                self.news.woken();
            }
            self.attempt_committed(attempt);
        }
        self.turns_came(&settlement.ends, turns, |end| {
            let mut attempts = settlement.attempts.iter();
            let of_end = attempts.find(|attempt| attempt.job == end.job);
            of_end.map(|attempt| attempt.queue)
        });
    }

    fn attempt_committed(&mut self, attempt: &Attempt) {
        self.queue_tally(attempt);
        self.workers.recorded(attempt.job);
        let Some(job) = self.release(attempt.job) else {
            return;
        };
        let Some(next_at) = attempt.next_at else {
            return;
        };
        let next = JobRef {
            due: Some(next_at),
            attempt: attempt.attempt,
            tries: attempt.tries,
            loss: Loss::of(attempt.code.as_deref()),
            ..job
        };
        self.admit(next);
    }

    fn queue_tally(&mut self, attempt: &Attempt) {
        let tally = &mut self.queue(attempt.queue).tally;
        TallyBody::add(tally, attempt.outcome, 1);
    }

    /// One of the outcomes was refused, so none is written. All are looked up; those that still hold are written again.
    fn settlement_refused(&mut self, settlement: Arc<Settlement>) {
        let again = settlement.breakers.iter().map(|(one, _)| one.clone());
        self.settling.breakers.extend(again);
        self.settling.turns.extend(settlement.turns.iter().cloned());
        for attempt in &settlement.attempts {
            let Some(held) = self.held.get_mut(&attempt.job) else {
                continue;
            };
            if let Stage::Settling(slot) = held.stage {
                held.stage = Stage::Inspecting(Doubt::Outcome(slot, Box::new(attempt.clone())));
                self.inspect_held(attempt.job);
            }
        }
    }
}

/// Whether a failure says that the dependency is in trouble.
fn blames_dependency(failure: &Failure) -> bool {
    matches!(
        failure.category,
        Category::Network | Category::Timeout | Category::RateLimited | Category::Provider
    )
}

#[cfg(test)]
mod tests {
    use mainstay_domain::{TenantId, Timestamp, time::SeededRandom};

    use super::{
        super::{Legacy, Limits},
        *,
    };

    fn job(number: u128, ordered: bool) -> JobRef {
        JobRef {
            tenant: TenantId::NIL,
            job: JobId::from_uuid(uuid::Uuid::from_u128(number)),
            queue: 1,
            band: 0,
            due: None,
            deadline: None,
            attempt: 0,
            tries: 0,
            loss: Loss::None,
            ordered,
        }
    }

    fn succeeded(job: &JobRef) -> Attempt {
        Attempt {
            tenant: job.tenant,
            job: job.job,
            attempt: 1,
            tries: 1,
            queue: job.queue,
            outcome: Outcome::Succeeded,
            started_at: Timestamp::EPOCH,
            finished_at: Timestamp::EPOCH,
            next_at: None,
            category: None,
            code: None,
            error: None,
            status: None,
            exchange: None,
            by: None,
        }
    }

    #[test]
    fn a_settlement_moves_on_so_many_lines_and_leaves_the_rest_to_the_next_ones() {
        let legacy = Legacy {
            checkpoint: None,
            tallies: Vec::new(),
            breakers: Vec::new(),
        };
        let random = Arc::new(SeededRandom::new(1));
        let mut machine = Machine::new(Limits::default(), random, Timestamp::EPOCH, 1, legacy)
            .expect("an engine that begins");
        // Every second one keeps an order.
        let jobs: Vec<JobRef> = (1..=240).map(|at| job(at, at % 2 == 0)).collect();
        for job in &jobs {
            machine.admit(*job);
            machine.settling.pending.push_back(succeeded(job));
        }
        let mut settled = Vec::new();
        let mut sizes = Vec::new();
        while !machine.settling.pending.is_empty() {
            let settlement = machine.settlement(sizes.len() as i64 + 1, &[]);
            assert!(settlement.ends.len() <= LINE_ENDS_MAX);
            sizes.push((settlement.attempts.len(), settlement.ends.len()));
            settled.extend(settlement.attempts.iter().map(|attempt| attempt.job));
        }
        assert_eq!(sizes, [(101, 50), (100, 50), (39, 20)]);
        assert!(
            settled.iter().eq(jobs.iter().map(|job| &job.job)),
            "all of them, in their order"
        );
    }
}
