//! The store's news, in the order of commits: new jobs, and wishes of people.

use mainstay_domain::{
    Timestamp,
    jobs::{Cursor, Discovery, Signal, SignalKind, Standing},
};

use super::{
    Machine, Phase,
    held::{Doubt, Stage},
    limits::Limits,
    words::{Action, Failed, JobAt},
};

/// Where we are in the news, and when to look on.
#[derive(Debug)]
pub(super) struct News {
    cursor: Cursor,
    /// Whether a look is under way.
    looking: bool,
    /// Whether there may be news.
    woken: bool,
    /// When to look in any case.
    poll_at: Timestamp,
    /// Whether a predecessor may have ended what we are about to see.
    catching_up: bool,
    /// Whether it is known that it has not. The first look is on the safe side even so: only such a one can mend what a
    /// restore into another cluster left.
    stopped_cleanly: bool,
}

impl News {
    /// What comes after the cursor of the last checkpoint. An owner that stopped cleanly looked no further and tried
    /// nothing beyond it.
    pub(super) fn new(cursor: Cursor, now: Timestamp, stopped_cleanly: bool) -> Self {
        Self {
            cursor,
            looking: false,
            woken: true,
            poll_at: now,
            catching_up: true,
            stopped_cleanly,
        }
    }

    pub(super) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    pub(super) fn woken(&mut self) {
        self.woken = true;
    }

    pub(super) fn clock_set_back(&mut self, now: Timestamp, limits: &Limits) {
        self.poll_at = self.poll_at.min(now.plus_ms(limits.poll_ms));
    }

    fn wants_a_look(&self, now: Timestamp) -> bool {
        !self.looking && (self.woken || self.poll_at <= now)
    }
}

impl Machine {
    /// When to look for news, unless something wakes us before.
    pub(super) fn look_at(&self) -> Option<Timestamp> {
        (self.may_look() && !self.news.looking).then_some(self.news.poll_at)
    }

    fn may_look(&self) -> bool {
        self.phase == Phase::Running && !self.inspections_are_many()
    }

    pub(super) fn discover(&mut self, out: &mut Vec<Action>) {
        if !self.may_look() || !self.news.wants_a_look(self.now) {
            return;
        }
        self.news.looking = true;
        self.news.woken = false;
        self.news.poll_at = self.now.plus_ms(self.limits.poll_ms);
        out.push(Action::Discover {
            cursor: self.news.cursor.clone(),
            recovering: self.news.catching_up,
            limit: self.limits.discover_batch,
        });
    }

    pub(super) fn discovered(&mut self, answer: Result<Discovery, Failed>, out: &mut Vec<Action>) {
        self.news.looking = false;
        let Ok(discovery) = answer else {
            self.news.woken = true;
            self.outage.failed(self.now, &self.limits);
            return;
        };
        self.outage.answered();
        if !discovery.created.is_empty() || !discovery.signals.is_empty() {
            self.checkpoints.change();
        }
        if let Some(standing) = discovery.standing {
            self.count_anew(&standing);
        }
        for (queue, count) in discovery.created {
            self.queue(queue).tally.created += count;
        }
        for job in discovery.jobs {
            self.admit(job);
        }
        for signal in discovery.signals {
            if !discovery.again {
                self.count_wish(&signal);
            }
            self.heed(signal, out);
        }
        self.news.cursor = discovery.cursor;
        self.news.woken |= discovery.more;
        self.news.catching_up &= discovery.more && !self.news.stopped_cleanly;
    }

    /// After a restore into another cluster: outcomes are counted exactly, by their records. Jobs and wishes are
    /// counted as they are discovered, and those between the last checkpoint and the backup were not. So what was
    /// made is what has ended and what has not, and what was revived is what died and is no longer dead.
    fn count_anew(&mut self, standing: &[Standing]) {
        self.checkpoints.change();
        for one in standing {
            self.queue(one.queue);
        }
        for (number, queue) in &mut self.queues {
            let found = standing.iter().find(|one| one.queue == *number);
            let (unfinished, dead) = found.map_or((0, 0), |one| (one.unfinished, one.dead));
            let tally = &mut queue.tally;
            tally.dead = tally.dead.max(dead);
            tally.revived = tally.dead - dead;
            tally.created = tally.done + tally.cancelled + dead + unfinished;
        }
    }

    fn count_wish(&mut self, signal: &Signal) {
        let tally = &mut self.queue(signal.queue).tally;
        match signal.kind {
            SignalKind::Requeued => tally.revived += 1,
            SignalKind::Cancelled => tally.cancelled += 1,
            SignalKind::Discarded => {
                tally.dead -= 1;
                tally.cancelled += 1;
            }
            SignalKind::Turn => {}
        }
    }

    /// A person has done something to a job.
    fn heed(&mut self, signal: Signal, out: &mut Vec<Action>) {
        match signal.kind {
            SignalKind::Requeued | SignalKind::Turn => self.recheck(&signal),
            SignalKind::Cancelled => self.cancel(&signal, out),
            SignalKind::Discarded => {}
        }
    }

    fn recheck(&mut self, signal: &Signal) {
        match self.held.get_mut(&signal.job) {
            Some(held) if !matches!(held.stage, Stage::Waiting) => held.recheck = true,
            _ => self.inspect_later(JobAt {
                tenant: signal.tenant,
                job: signal.job,
                queue: signal.queue,
            }),
        }
    }

    fn cancel(&mut self, signal: &Signal, out: &mut Vec<Action>) {
        let Some(held) = self.held.get_mut(&signal.job) else {
            self.lost_ended(signal.job, None);
            return;
        };
        match held.stage {
            Stage::Waiting => self.drop_waiting(signal.job),
            Stage::Starting(_)
            | Stage::Batched(_)
            | Stage::Inspecting(Doubt::Start(_) | Doubt::Batch(Some(_))) => {
                held.cancelled = true;
            }
            Stage::Running(_) => {
                held.cancelled = true;
                out.push(Action::Abort(signal.job));
            }
            // The outcome being written either came first, or is refused and the job looked up.
            Stage::Settling(_) | Stage::Inspecting(_) => held.recheck = true,
        }
    }
}
