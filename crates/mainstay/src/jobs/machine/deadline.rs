//! Deadlines: a job that has not begun by then ends as a dead letter that nothing was tried for, wherever it waits.
//!
//! Each job in memory that has a deadline and waits stands in one order of all; so nothing is ever looked through, and a job
//! without one costs a look at a null. A job that is only in the store meets its deadline when it is read.
//!
//! An attempt never begins at or after the deadline, and there is no waiting for a next one that would.

use std::collections::BTreeSet;

use mainstay_domain::{
    Category, JobId, Timestamp,
    jobs::{Attempt, Outcome},
};

use super::{
    JobMap, Machine, Phase,
    held::{Doubt, Held, Slot, Stage},
    planted::{Fault, planted},
};

/// The code of the end of a job that was not carried out in time.
pub const EXPIRED: &str = "expired";

/// The deadlines of jobs in memory that wait, the earliest first.
pub(super) type Deadlines = BTreeSet<(Timestamp, JobId)>;

impl Machine {
    /// Takes a job in that waits.
    pub(super) fn keep(&mut self, held: Held) {
        if let Some(at) = held.job.deadline
            && !planted(Fault::DeadlineUnnoticed)
        {
            self.deadlines.insert((at, held.job.job));
        }
        self.held.insert(held.job.job, held);
    }

    /// Lets a job go.
    pub(super) fn let_go(&mut self, job: JobId) -> Option<Held> {
        let_go(&mut self.held, &mut self.deadlines, job)
    }

    /// When the next deadline is. None while outcomes are written: their answer makes it look again.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        let able = self.may_expire() && self.settling.is_quiet();
        let first = self.deadlines.first().filter(|_| able);
        first.map(|(at, _)| *at)
    }

    /// Ends what has not begun in time, as much as is written down at once.
    pub(super) fn expire(&mut self) {
        let most = self.limits.settle_batch * self.limits.settles_max;
        while self.may_expire()
            && self.settling.pending_len() < most
            && let Some((at, job)) = self.deadlines.first().copied()
            && at <= self.now
        {
            self.deadlines.pop_first();
            let held = self.held.get(&job);
            // What is under way meets it at its end.
            if held.is_some_and(|held| matches!(held.stage, Stage::Waiting)) {
                self.take_out(job);
                self.end_expired(job, self.now);
            }
        }
    }

    /// Not before it is known what a predecessor has begun.
    fn may_expire(&self) -> bool {
        self.phase == Phase::Running && self.all_lost_are_known()
    }

    /// By when a job in memory must have begun.
    pub(super) fn deadline_of(&self, job: JobId) -> Option<Timestamp> {
        self.held.get(&job).and_then(|held| held.job.deadline)
    }

    /// Whether a job must not begin any more.
    pub(super) fn is_late(&self, job: JobId) -> bool {
        let deadline = self.deadline_of(job);
        deadline.is_some_and(|at| at <= self.now) && !planted(Fault::DeadlineUnchecked)
    }

    /// A job that has just got its place must not begin any more.
    pub(super) fn begins_too_late(&mut self, job: JobId) {
        let slot = Slot {
            at: self.now,
            probe: false,
        };
        if self.all_lost_are_known() {
            self.vacate(job, slot);
            self.end_expired(job, slot.at);
        } else if let Some(held) = self.held.get_mut(&job) {
            // A predecessor may have begun it: the store knows.
            held.stage = Stage::Inspecting(Doubt::Start(slot));
            self.inspect_held(job);
        }
    }

    /// Ends a job that has no place and has not begun in time. `at` is when its start was recorded, if it was, else now.
    pub(super) fn end_expired(&mut self, job: JobId, at: Timestamp) {
        let Some(job) = self.held.get(&job).map(|held| held.job) else {
            return;
        };
        let slot = Slot { at, probe: false };
        let attempt = Attempt {
            // Nothing was tried.
            tries: job.tries,
            category: Some(Category::Timeout),
            code: Some(EXPIRED.into()),
            error: Some("it had not begun by its deadline".into()),
            ..self.attempt_of(&job, slot, Outcome::Dead)
        };
        self.settle_again(attempt, slot);
    }

    /// The attempt as it is written: where the deadline comes first, there is no next one.
    pub(super) fn in_time(&self, attempt: Attempt) -> Attempt {
        let Some(next) = attempt.next_at else {
            return attempt;
        };
        let deadline = self.deadline_of(attempt.job);
        if deadline.is_none_or(|at| next < at) || planted(Fault::DeadlineOutwaited) {
            return attempt;
        }
        let said = attempt.error.as_deref().unwrap_or("it was given back");
        Attempt {
            error: Some(format!("{said}; its deadline comes before the next try")),
            // What failed says what of. What was lost or given back failed of nothing but the time.
            code: match attempt.outcome {
                Outcome::Failed => attempt.code,
                _ => Some(EXPIRED.into()),
            },
            category: attempt.category.or(Some(Category::Timeout)),
            outcome: Outcome::Dead,
            next_at: None,
            ..attempt
        }
    }
}

/// Lets a job go where the whole machine is not at hand.
pub(super) fn let_go(
    held: &mut JobMap<Held>,
    deadlines: &mut Deadlines,
    job: JobId,
) -> Option<Held> {
    let gone = held.remove(&job)?;
    if let Some(at) = gone.job.deadline {
        deadlines.remove(&(at, job));
    }
    Some(gone)
}
