//! Where a team would rather have its jobs fail than wait, those that could begin are dead letters as soon as the breaker opens by
//! its own rule. While a person holds it open they wait.

use mainstay_domain::{
    Category, JobId, Timestamp,
    jobs::{Attempt, Outcome, QueueNumber},
};

use super::{
    Machine, Phase,
    guard::Guard,
    held::Slot,
    planted::{Fault, planted},
    queue::Pick,
};

/// The code of the attempt that was none: nothing was sent.
pub(super) const BREAKER_OPEN: &str = "breaker_open";

impl Machine {
    /// Ends what would have to wait, as much as is written down at once.
    pub(super) fn fail_fast(&mut self) {
        let most = self.limits.settle_batch * self.limits.settles_max;
        let mut none = 0;
        // Where a tenant is at its limit there may be nothing in a whole turn.
        while self.phase == Phase::Running
            && self.settling.pending_len() < most
            && none <= self.dispatch.failing.len()
        {
            let Some(number) = self.dispatch.failing.next() else {
                return;
            };
            none += 1;
            if let Some(job) = self.pop(number, Pick::Failing) {
                self.fail_job(number, job);
                none = 0;
            }
            self.look_at_queue(number);
        }
    }

    fn fail_job(&mut self, number: QueueNumber, job: JobId) {
        let slot = Slot {
            at: self.now,
            probe: false,
        };
        self.vacate(job, slot);
        let Some(held) = self.held.get(&job) else {
            return;
        };
        let job = held.job;
        let guard = self.guard_of(number);
        let said = guard.and_then(|guard| guard.breaker.last_error.as_deref());
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        let attempt = Attempt {
            // Nothing was tried.
            tries: job.tries,
            category: Some(Category::Provider),
            code: Some(BREAKER_OPEN.into()),
            error: Some(format!("nothing was sent, the breaker is open{said}")),
            ..self.attempt_of(&job, slot, Outcome::Dead)
        };
        self.settle_again(attempt, slot);
    }
}

/// Whether what waits behind it is to fail.
pub(super) fn fails(guard: Option<&Guard>, now: Timestamp) -> bool {
    guard.is_some_and(|guard| guard.fails(now)) && !planted(Fault::FailsNever)
}
