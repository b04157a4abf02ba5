//! The engine's heart: a pure state machine that decides which job runs when. No clock, no I/O, no runtime; randomness
//! only from the generator handed in. The same inputs give the same actions.
//!
//! What it must never break (the simulator in `sim` checks these after every step):
//!
//! 1. *No job is out of sight.* Every job that discovery reported and that has not ended is in memory (`held`), or at or
//!    above the [`window`] bound of its stream, or listed to be looked up (`inspect`). A job leaves memory only when its
//!    end is committed or when a window's bound has sunk to it.
//! 2. *The store decides.* An attempt's row, key (tenant, job, attempt), is the fence: what we believe of a job is a
//!    guess until our row is in. A refused row means that the guess was old; then the job is looked up and the store's
//!    truth adopted, never the other way round.
//! 3. *One owner settles.* Outcomes commit together with a tally record whose number is used exactly once
//!    ([`sequence`]). An owner that was replaced has no number left to commit under.
//! 4. *Counters are exact.* Jobs made and wishes of people are counted when discovery reports them, outcomes when their
//!    transaction is known to be committed; a checkpoint names the cursor and the numbers that its counters include.
//! 5. *A place is held from the start to the end of an attempt*, of its queue's and of its tenant's ([`share`]). So limits
//!    hold, and a breaker that is not closed lets nothing through but its probes ([`guard`]).
//! 6. *No job kills for ever.* One that kills the process is isolated after a bounded number of deaths; those that were
//!    only there are not blamed for them ([`poison`]).
//! 7. *What keeps an order is never seen before its turn.* Jobs that wait behind another are not reported to the
//!    machine; their turn comes in the transaction of an outcome ([`lines`]), or with a signal.
//! 8. *No job begins at or after its deadline*, and each that has one ends by itself soon after it ([`deadline`]).
//! 9. *Everything is bounded* by [`Limits`], and what waits costs nothing: queues that may not run are not looked at
//!    until something happens to them or their timer comes.
//!
//! The clock may jump. Due times are compared with whatever the clock says; the machine's own pauses are cut when the
//! clock is set back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mainstay_domain::{
    JobId, Random, Timestamp,
    jobs::{QueueNumber, breaker::Dependency},
};

mod band;
mod budget;
mod checkpoint;
mod configure;
mod deadline;
mod discovery;
mod dispatch;
mod due;
mod fail_fast;
mod guard;
mod held;
mod id_hash;
mod inspect;
mod limits;
mod lines;
mod memory;
mod outage;
mod pace;
mod planted;
mod poison;
mod queue;
mod recovery;
mod refill;
mod sequence;
mod settle;
mod share;
mod snapshot;
mod window;
mod words;
mod workers;

#[cfg(test)]
mod sim;

pub use checkpoint::{CheckpointBody, Inherited, LeftMark, QueueMark, TallyBody};
pub use deadline::EXPIRED;
pub use limits::Limits;
pub use pace::PaceSnapshot;
pub use recovery::Legacy;
pub use sequence::IN_FLIGHT_MAX;
pub use snapshot::{EngineSnapshot, QueueSnapshot, TenantUse};
pub use window::Key;
pub use words::*;

use checkpoint::Checkpoints;
use configure::Configuring;
use deadline::Deadlines;
use discovery::News;
use dispatch::Dispatch;
use guard::Guard;
use held::Held;
use id_hash::IdMap;
use inspect::Inspections;
use outage::Outage;
use poison::Caution;
use queue::Queue;
use recovery::Lost;
use refill::Refills;
use sequence::Sequences;
use settle::Settling;
use workers::Workers;

type JobMap<T> = IdMap<JobId, T>;

/// Whether the machine acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It acts.
    Running,
    /// It starts nothing more and finishes what runs.
    Stopping,
    /// It has finished, or was replaced. It does nothing any more.
    Ended,
}

/// The state machine of one shard.
pub struct Machine {
    limits: Limits,
    random: Arc<dyn Random>,
    epoch: i64,
    phase: Phase,
    /// The time of the last step.
    now: Timestamp,
    /// When it took over, if there was an owner before it.
    since: Option<Timestamp>,
    held: JobMap<Held>,
    deadlines: Deadlines,
    queues: BTreeMap<QueueNumber, Queue>,
    /// What stands before the dependencies that jobs go to.
    guards: BTreeMap<Dependency, Guard>,
    /// When it took over from one that was not stopped cleanly, whose probes may be under way.
    probes_left_at: Option<Timestamp>,
    /// Queues that something has happened to in this step.
    touched: BTreeSet<QueueNumber>,
    /// When queues want to be looked at although nothing happens to them.
    timers: BTreeSet<(Timestamp, QueueNumber)>,
    configuring: Configuring,
    news: News,
    refills: Refills,
    dispatch: Dispatch,
    settling: Settling,
    sequences: Sequences,
    inspections: Inspections,
    checkpoints: Checkpoints,
    outage: Outage,
    lost: Lost,
    caution: Caution,
    workers: Workers,
}

impl Machine {
    /// Takes the inputs in, then decides what is to be done.
    pub fn step(
        &mut self,
        now: Timestamp,
        inputs: impl IntoIterator<Item = Input>,
        out: &mut Vec<Action>,
    ) {
        self.tell_time(now);
        for input in inputs {
            if self.phase == Phase::Ended {
                return;
            }
            self.take(input, out);
        }
        if self.phase != Phase::Ended {
            self.decide(out);
        }
    }

    /// When to step again although nothing happens.
    pub fn wake_at(&self) -> Option<Timestamp> {
        if self.phase == Phase::Ended {
            return None;
        }
        // All that there is to do needs the store.
        if let Some(until) = self.outage.until() {
            return Some(until);
        }
        let timers = [
            self.timers.first().map(|(at, _)| *at),
            self.look_at(),
            self.checkpoint_at(),
            self.caution_at(),
            self.workers.lease_ends_at(),
            self.expires_at(),
        ];
        timers.into_iter().flatten().min()
    }

    /// Whether the machine has nothing more to do, for good.
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    fn take(&mut self, input: Input, out: &mut Vec<Action>) {
        match input {
            Input::Tick => {}
            Input::Woken => self.news.woken(),
            Input::Configured {
                request,
                version,
                queues,
            } => self.configured(request, version, queues),
            Input::ConfigureFailed { request } => self.configure_failed(request),
            Input::Discovered(answer) => self.discovered(answer, out),
            Input::Refilled { refill, jobs } => self.refilled(&refill, jobs),
            Input::Unfinished(answer) => self.unfinished_found(answer),
            Input::Started {
                version,
                starts,
                answers,
            } => self.started(version, starts, answers, out),
            Input::Ended { job, end, policy } => self.ended(job, end, policy),
            Input::BatchEnded {
                sequence,
                result,
                turns,
            } => self.batch_ended(sequence, result, turns, out),
            Input::Settled {
                sequence,
                result,
                turns,
            } => self.settled(sequence, result, turns, out),
            Input::Polled(poll) => self.polled(poll),
            Input::PollClosed { poll } => self.poll_closed(poll),
            Input::Inspected(answer) => self.inspected(answer, out),
            Input::CheckpointSaved(result) => self.checkpoint_saved(result, out),
            Input::Stop => self.stop(),
        }
    }

    fn decide(&mut self, out: &mut Vec<Action>) {
        self.bury_found();
        self.end_leases(out);
        self.look_at_queues();
        if !self.outage.holds(self.now) {
            self.configure(out);
            self.find_unfinished(out);
            self.expire();
            self.dispatch(out);
            self.fail_fast();
            self.settle(out);
            self.look_at_queues();
            self.refill(out);
            self.inspect(out);
            self.discover(out);
            self.checkpoint(out);
        }
        self.answer_workers(out);
        self.finish(out);
    }

    fn tell_time(&mut self, now: Timestamp) {
        if now < self.now {
            self.outage.clock_set_back(now, &self.limits);
            self.news.clock_set_back(now, &self.limits);
            self.checkpoints.clock_set_back(now, &self.limits);
            self.queues_set_back(now);
            self.caution.clock_set_back(now, &self.limits);
        }
        self.workers.tell_time(self.now, now);
        self.now = now;
        self.calm_down();
    }

    /// Looks at every queue that something has happened to or whose time has come.
    pub(super) fn look_at_queues(&mut self) {
        while let Some((at, number)) = self.timers.first().copied() {
            if at > self.now {
                break;
            }
            self.timers.pop_first();
            if let Some(queue) = self.queues.get_mut(&number) {
                queue.wake = None;
            }
            self.touched.insert(number);
        }
        while let Some(number) = self.touched.pop_first() {
            self.look_at_queue(number);
        }
    }

    fn look_at_queue(&mut self, number: QueueNumber) {
        self.ready_what_is_due(number);
        self.want_timetables(number);
        self.forced_time_comes(number);
        let now = self.now;
        let Some((queue, mut guard)) = self.guarded(number) else {
            return;
        };
        queue.time_comes(now);
        queue.pace.note(now, &queue.tally);
        let runnable = queue.runnable(guard.as_deref_mut(), now);
        let wake = queue.wake_at(guard.as_deref_mut(), now);
        let suspect = queue.suspect_runnable(guard.as_deref(), now);
        let failing = queue.fails_fast(guard, now);
        let (runs, before) = (queue.runs(), std::mem::replace(&mut queue.wake, wake));
        if let Some(old) = before {
            self.timers.remove(&(old, number));
        }
        if let Some(at) = wake {
            self.timers.insert((at, number));
        }
        self.dispatch.note(number, runs, runnable);
        self.dispatch.failing.note(number, failing);
        self.caution.note(number, suspect);
    }

    fn stop(&mut self) {
        if self.phase == Phase::Running {
            self.phase = Phase::Stopping;
            self.close_polls();
            // The last checkpoint says that this owner did not die, also when nothing else has changed.
            self.checkpoints.change();
        }
    }

    fn finish(&mut self, out: &mut Vec<Action>) {
        let quiet = self.phase == Phase::Stopping
            && self.dispatch.is_quiet(self.workers.in_hand())
            && self.settling.is_quiet()
            && self.sequences.is_quiet()
            && self.checkpoints.is_quiet();
        if quiet {
            self.phase = Phase::Ended;
            out.push(Action::Stopped);
        }
    }

    fn replaced(&mut self, out: &mut Vec<Action>) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Ended;
            out.push(Action::Replaced);
        }
    }

    /// Neither probes that were to come after a pause nor what waits for its rate must wait for a clock that was set back
    /// to catch up.
    fn queues_set_back(&mut self, now: Timestamp) {
        self.since = self.since.map(|since| since.min(now));
        for (number, queue) in &mut self.queues {
            queue.clock_set_back(now);
            self.touched.insert(*number);
        }
        self.guards_set_back(now);
    }
}
