//! What stands between queues and the dependency that their jobs go to: its breaker, the probes under way, and the budget
//! of its retries. Queues that name the same dependency share it.
//!
//! A probe has its place from the pick to the end of its attempt. What a predecessor has sent nobody knows: where it was not
//! stopped cleanly, no probe begins before everything that it had under way has ended for certain.

use std::collections::BTreeSet;

use mainstay_domain::{
    BreakerChangeId, JobId, Timestamp,
    jobs::{
        QueueNumber,
        breaker::{
            Breaker, BreakerPolicy, BreakerState, Call, Calls, Dependency, Forced, Turn, WhenOpen,
        },
    },
};

use super::{
    Machine,
    budget::Budget,
    held::Slot,
    planted::{Fault, planted},
    queue::Queue,
    words::{BreakerTurn, Guarded},
};

/// Of one dependency.
#[derive(Debug, Default)]
pub(super) struct Guard {
    pub(super) breaker: Breaker,
    pub(super) policy: BreakerPolicy,
    /// Of the retries of all its queues.
    pub(super) budget: Budget,
    calls: Calls,
    probing: BTreeSet<JobId>,
    /// Those whose jobs go there.
    queues: BTreeSet<QueueNumber>,
    /// Before this a predecessor's probes may be under way.
    quiet_until: Option<Timestamp>,
}

impl Guard {
    /// How many more attempts may begin, as far as it is concerned: `None` for no limit of its own.
    pub(super) fn allowance(&self, now: Timestamp) -> Option<u32> {
        let most = self.breaker.allowance(&self.policy, now)?;
        let most = match self.breaker.stands() {
            BreakerState::Open if planted(Fault::OpenLeaks) => most.max(1),
            _ if most > 0 => most + u32::from(planted(Fault::ProbeTooMany)),
            _ => most,
        };
        if self.is_quiet(now) {
            return Some(0);
        }
        Some(most.saturating_sub(self.probing.len() as u32))
    }

    /// Whether what waits behind it is to fail: it is open by its own rule, and no probe is due.
    pub(super) fn fails(&self, now: Timestamp) -> bool {
        let own = self.breaker.forced.is_none() && self.breaker.state == BreakerState::Open;
        let due = self.breaker.allowance(&self.policy, now) != Some(0);
        own && !due && self.policy.when_open == WhenOpen::Fail
    }

    fn is_quiet(&self, now: Timestamp) -> bool {
        self.quiet_until.is_some_and(|until| until > now) && !planted(Fault::ProbesForgotten)
    }

    /// When more may begin than now although nothing happens.
    pub(super) fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        if planted(Fault::ProbeOverslept) || self.breaker.stands() == BreakerState::Closed {
            return None;
        }
        let quiet = self.quiet_until.filter(|_| self.breaker.forced.is_none());
        let later = [self.breaker.next_at(), quiet].into_iter().flatten().max();
        later.filter(|at| *at > now)
    }

    /// When what a person said is over.
    pub(super) fn forced_until(&self) -> Option<Timestamp> {
        self.breaker.forced.and_then(|forced| forced.until)
    }

    /// Of how many probes it knows.
    #[cfg(test)]
    pub(super) fn probing(&self) -> usize {
        self.probing.len()
    }

    fn force(&mut self, forced: Option<Forced>, now: Timestamp) -> Option<Turn> {
        let forced = forced.filter(|forced| forced.holds(now));
        if forced == self.breaker.forced || planted(Fault::ForcedIgnored) {
            return None;
        }
        self.breaker.force(forced, &mut self.calls, now)
    }
}

impl Machine {
    /// A queue, and what stands before its dependency.
    pub(super) fn guarded(
        &mut self,
        number: QueueNumber,
    ) -> Option<(&mut Queue, Option<&mut Guard>)> {
        let queue = self.queues.get_mut(&number)?;
        let guard = match queue.dependency() {
            Some(dependency) => self.guards.get_mut(dependency),
            None => None,
        };
        Some((queue, guard))
    }

    /// What stands before a queue's dependency.
    pub(super) fn guard_of(&self, number: QueueNumber) -> Option<&Guard> {
        let dependency = self.queues.get(&number)?.dependency()?;
        self.guards.get(dependency)
    }

    fn dependency_of(&self, number: QueueNumber) -> Option<Dependency> {
        self.queues.get(&number)?.dependency().cloned()
    }

    /// The settings are others: which queues go where, by whose policy, and what people say. Of several queues the first's
    /// policy counts. What nothing goes to any more is forgotten.
    pub(super) fn guards_configured(&mut self) {
        let now = self.now;
        for guard in self.guards.values_mut() {
            guard.queues.clear();
            guard.quiet_until = None;
        }
        let mut forced = Vec::new();
        for (number, queue) in &self.queues {
            let Some(Guarded {
                dependency,
                policy,
                forced: said,
            }) = queue.guarded_by()
            else {
                continue;
            };
            let guard = self.guards.entry(dependency.clone()).or_default();
            if guard.queues.is_empty() {
                guard.policy = *policy;
                forced.push((dependency.clone(), *said));
            }
            guard.queues.insert(*number);
            let quiet = self.probes_left_at.map(|at| at.plus_ms(queue.attempt_ms()));
            guard.quiet_until = guard.quiet_until.max(quiet);
        }
        let gone = |guard: &Guard| guard.queues.is_empty();
        let (dropped, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.guards)
            .into_iter()
            .partition(|(_, guard)| gone(guard));
        self.guards.extend(kept);
        for (dependency, _) in dropped {
            self.settling.breaker_changed(dependency);
        }
        for (dependency, said) in forced {
            let Some(guard) = self.guards.get_mut(&dependency) else {
                continue;
            };
            let before = guard.breaker.clone();
            let turn = guard.force(said, now);
            self.guard_changed(&dependency, &before, turn);
        }
    }

    /// A person's word ends with its time.
    pub(super) fn forced_time_comes(&mut self, number: QueueNumber) {
        let now = self.now;
        let over = |guard: &Guard| {
            guard
                .breaker
                .forced
                .is_some_and(|forced| !forced.holds(now))
        };
        if !self.guard_of(number).is_some_and(over) {
            return;
        }
        let Some(dependency) = self.dependency_of(number) else {
            return;
        };
        if let Some(guard) = self.guards.get_mut(&dependency) {
            let before = guard.breaker.clone();
            let turn = guard.force(None, now);
            self.guard_changed(&dependency, &before, turn);
        }
    }

    /// An attempt begins: whether it is a probe.
    pub(super) fn guard_begins(&mut self, number: QueueNumber, job: JobId) -> bool {
        let Some((_, Some(guard))) = self.guarded(number) else {
            return false;
        };
        if guard.breaker.stands() == BreakerState::Closed {
            return false;
        }
        guard.probing.insert(job);
        let before = guard.breaker.clone();
        let turn = guard.breaker.probed();
        let queues = guard.queues.clone();
        // One place less, for all of them.
        self.touched.extend(queues);
        if let Some(dependency) = self.dependency_of(number) {
            self.guard_changed(&dependency, &before, turn);
        }
        true
    }

    /// A probe gives its place back, wherever its queue's jobs go by now.
    pub(super) fn guard_vacated(&mut self, job: JobId, slot: Slot) {
        if !slot.probe || planted(Fault::ProbeKept) {
            return;
        }
        for guard in self.guards.values_mut() {
            if guard.probing.remove(&job) {
                self.touched.extend(&guard.queues);
            }
        }
    }

    /// What the end of an attempt says of the dependency: how long it took, and what went wrong.
    pub(super) fn guard_told(
        &mut self,
        number: QueueNumber,
        job: JobId,
        slot: Slot,
        error: Option<&str>,
    ) {
        let now = self.now;
        let Some((_, Some(guard))) = self.guarded(number) else {
            return;
        };
        let call = Call {
            probe: slot.probe && guard.probing.contains(&job),
            took_ms: now.ms_since(slot.at).max(0),
            error,
        };
        let before = guard.breaker.clone();
        let policy = guard.policy;
        let turn = guard.breaker.ended(&policy, &mut guard.calls, call, now);
        if let Some(dependency) = self.dependency_of(number) {
            self.guard_changed(&dependency, &before, turn);
        }
    }

    /// Takes note of what is to be written, and lets those who wait know.
    fn guard_changed(&mut self, dependency: &Dependency, before: &Breaker, turn: Option<Turn>) {
        let Some(guard) = self.guards.get(dependency) else {
            return;
        };
        if guard.breaker == *before {
            return;
        }
        self.touched.extend(&guard.queues);
        self.settling.breaker_changed(dependency.clone());
        if let Some(turn) = turn {
            let error = guard.breaker.last_error.clone();
            self.settling.turned(BreakerTurn {
                id: BreakerChangeId::new(self.now, &*self.random),
                dependency: dependency.clone(),
                queues: guard.queues.iter().copied().collect(),
                turn,
                at: self.now,
                error: error.or_else(|| before.last_error.clone()),
            });
        }
    }

    /// The clock was set back: nobody waits longer than a pause.
    pub(super) fn guards_set_back(&mut self, now: Timestamp) {
        let left_at = self.probes_left_at.map(|at| at.min(now));
        for (dependency, guard) in &mut self.guards {
            let before = guard.breaker.probe_at;
            guard.breaker.clock_set_back(&guard.policy, now);
            if guard.breaker.probe_at != before {
                self.settling.breaker_changed(dependency.clone());
            }
            if let (Some(was), Some(is)) = (self.probes_left_at, left_at) {
                let cut = was.ms_since(is);
                guard.quiet_until = guard.quiet_until.map(|until| until.minus_ms(cut));
            }
        }
        self.probes_left_at = left_at;
    }
}
