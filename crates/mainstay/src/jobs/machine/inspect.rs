//! When our picture of a job proved old, the store is asked how it stands, and what it says is adopted.

use std::collections::BTreeMap;

use mainstay_domain::{JobId, jobs::JobRef};

use super::{
    Machine,
    held::{Doubt, Slot, Stage},
    words::{Action, Failed, JobAt, Truth},
};

/// Jobs to be looked up.
#[derive(Debug, Default)]
pub(super) struct Inspections {
    waiting: BTreeMap<JobId, JobAt>,
    flying: BTreeMap<JobId, JobAt>,
}

impl Inspections {
    /// All that are to be looked up and are not in memory otherwise: a checkpoint must name them.
    pub(super) fn all(&self) -> impl Iterator<Item = JobAt> + '_ {
        self.waiting.values().chain(self.flying.values()).copied()
    }
}

impl Machine {
    pub(super) fn inspect_later(&mut self, at: JobAt) {
        self.inspections.waiting.insert(at.job, at);
    }

    pub(super) fn inspect_held(&mut self, job: JobId) {
        if let Some(held) = self.held.get(&job) {
            self.inspect_later(JobAt {
                tenant: held.job.tenant,
                job,
                queue: held.job.queue,
            });
        }
    }

    /// Whether so many wait that no more news should be taken in.
    pub(super) fn inspections_are_many(&self) -> bool {
        self.inspections.waiting.len() > self.limits.inspect_max
    }

    pub(super) fn inspect(&mut self, out: &mut Vec<Action>) {
        if !self.inspections.flying.is_empty() {
            return;
        }
        while self.inspections.flying.len() < self.limits.inspect_batch {
            let Some((job, at)) = self.inspections.waiting.pop_first() else {
                break;
            };
            self.inspections.flying.insert(job, at);
        }
        if !self.inspections.flying.is_empty() {
            let jobs = self.inspections.flying.values().copied().collect();
            out.push(Action::Inspect(jobs));
        }
    }

    pub(super) fn inspected(&mut self, answer: Result<Vec<Truth>, Failed>, out: &mut Vec<Action>) {
        let asked = std::mem::take(&mut self.inspections.flying);
        match answer {
            Ok(truths) => {
                self.outage.answered();
                for truth in truths {
                    self.believe(truth, out);
                }
            }
            Err(Failed) => {
                self.outage.failed(self.now, &self.limits);
                self.inspections.waiting.extend(asked);
            }
        }
    }

    fn believe(&mut self, truth: Truth, out: &mut Vec<Action>) {
        let job = truth.at.job;
        let Some(held) = self.held.get_mut(&job) else {
            self.lost_ended(job, truth.start.map(|start| start.attempt));
            self.admit_truth(&truth);
            return;
        };
        let asked_again = self.inspections.waiting.contains_key(&job);
        let overtaken = match &held.stage {
            Stage::Waiting => truth.attempt < held.job.attempt,
            // The question was asked before the doubt arose; the one that it gave rise to is still to come.
            Stage::Inspecting(_) => asked_again,
            _ => false,
        };
        if overtaken {
            return;
        }
        let unchanged = held.job.attempt == truth.attempt;
        match std::mem::replace(&mut held.stage, Stage::Waiting) {
            Stage::Waiting if unchanged => self.adopt_found(&truth),
            Stage::Waiting => {
                self.drop_waiting(job);
                self.admit_truth(&truth);
            }
            Stage::Inspecting(doubt) if unchanged => self.resume(&truth, doubt, out),
            Stage::Inspecting(doubt) => {
                self.abandon(job, doubt);
                self.admit_truth(&truth);
            }
            // Busy again: its next outcome is checked by the store anyway.
            busy => held.stage = busy,
        }
    }

    /// Our picture is right: the job goes on where it was.
    fn resume(&mut self, truth: &Truth, doubt: Doubt, out: &mut Vec<Action>) {
        let job = truth.at.job;
        match doubt {
            Doubt::Start(slot) => self.resume_start(truth, slot, out),
            Doubt::Outcome(slot, attempt) => self.settle_again(*attempt, slot),
            Doubt::Batch(None) => self.back_to_waiting(job, doubt),
            // It has its place, and its start is recorded already.
            Doubt::Batch(Some(at)) => self.batch_again(job, at),
        }
    }

    fn resume_start(&mut self, truth: &Truth, slot: Slot, out: &mut Vec<Action>) {
        let job = truth.at.job;
        let cancelled = self.held.get(&job).is_some_and(|held| held.cancelled);
        match truth.start {
            _ if cancelled => drop(self.abandon(job, Doubt::Start(slot))),
            // Whoever recorded it, it may be in a worker's hands: that it is ours is believed by its time alone, and a job
            // that nobody has goes on after one lease.
            Some(start) if self.is_workers(start.queue) => {
                self.vacate(job, slot);
                self.adopt_started(start);
            }
            // Ours: it was recorded although we were not told. Nothing has been sent yet.
            Some(start) if start.at == slot.at => self.go(start, slot, out),
            // A predecessor's, made while it was being replaced.
            Some(start) => {
                self.vacate(job, slot);
                let slot = Slot {
                    at: start.at,
                    probe: false,
                };
                self.settle_lost(job, slot, truth.loss, false);
            }
            None => self.back_to_waiting(job, Doubt::Start(slot)),
        }
    }

    fn back_to_waiting(&mut self, job: JobId, doubt: Doubt) {
        if let Some(job) = self.abandon(job, doubt) {
            self.admit(job);
        }
    }

    /// The job leaves memory; what it took up is free.
    fn abandon(&mut self, job: JobId, doubt: Doubt) -> Option<JobRef> {
        match &doubt {
            Doubt::Start(slot) => self.vacate(job, *slot),
            Doubt::Batch(Some(_)) => self.unbatch(job),
            Doubt::Batch(None) | Doubt::Outcome(..) => {}
        }
        if let Some(held) = self.held.get_mut(&job) {
            held.stage = Stage::Inspecting(doubt);
        }
        self.release(job)
    }

    fn admit_truth(&mut self, truth: &Truth) {
        if let Some(next) = truth.next {
            self.admit(next);
        }
    }
}
