//! Taking over: the state as the last checkpoint and the tally records after it say, then what a predecessor left.

use std::{collections::BTreeSet, sync::Arc};

use mainstay_domain::{
    Random, Timestamp,
    jobs::{DueKey, JobRef, QueueNumber, QueueTally, breaker::Breaker},
};

use super::{
    JobMap, Machine, Phase,
    checkpoint::{CheckpointBody, Checkpoints, TallyBody},
    discovery::News,
    held::{Held, Origin, Slot, Stage},
    limits::Limits,
    queue::Timetable,
    sequence::Sequences,
    words::{Action, Failed, JobAt, Unfinished, WindowId},
};

/// What a new owner reads before anything else, after it has fenced its predecessor off.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// The epoch of the new owner's lease.
    pub epoch: i64,
    /// The last checkpoint, if there is one.
    pub checkpoint: CheckpointBody,
    /// The tally records after it that it does not include.
    pub tallies: Vec<TallyBody>,
    /// The first number of a tally record that is unused; every one below is used.
    pub next_sequence: i64,
    /// The breakers that are not closed, or have failures counted.
    pub breakers: Vec<(QueueNumber, Breaker)>,
}

/// The search for attempts that were started and have no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    Wanted,
    UnderWay,
    Done,
}

impl Machine {
    /// A machine that begins where its predecessor stopped.
    pub fn new(
        limits: Limits,
        random: Arc<dyn Random>,
        now: Timestamp,
        recovered: Recovered,
    ) -> Self {
        let body = recovered.checkpoint;
        let mut machine = Self {
            limits,
            random,
            epoch: recovered.epoch,
            phase: Phase::Recovering,
            now,
            held: JobMap::default(),
            queues: Default::default(),
            touched: BTreeSet::new(),
            timers: BTreeSet::new(),
            configuring: Default::default(),
            news: News::new(body.cursor.clone(), now),
            refills: Default::default(),
            dispatch: Default::default(),
            settling: Default::default(),
            sequences: Sequences::new(recovered.next_sequence),
            inspections: Default::default(),
            checkpoints: Checkpoints::new(now, body.starts_since),
            outage: Default::default(),
            search: Search::Wanted,
        };
        machine.restore(body);
        for tally in recovered.tallies {
            machine.restore_tally(tally);
        }
        for (number, mut breaker) in recovered.breakers {
            breaker.abandoned(now);
            machine.queue(number).breaker = breaker;
        }
        machine
    }

    fn restore(&mut self, body: CheckpointBody) {
        for (number, mark) in body.queues {
            let queue = self.queue(number);
            queue.tally = mark.tally;
            if let Some(key) = mark.delayed {
                queue.delayed.leave(key);
            }
            if let Some(key) = mark.retries {
                queue.retries.leave(key);
            }
        }
        for (lane, lowest) in body.lanes {
            let queue = self.queue(lane.queue);
            queue.lane_make(lane.band, lane.tenant).fresh.leave(lowest);
            self.want(WindowId::Lane(lane));
        }
        for (tenant, job, queue) in body.inspect {
            self.inspect_later(JobAt { tenant, job, queue });
        }
    }

    fn restore_tally(&mut self, body: TallyBody) {
        for (number, delta) in body.queues {
            let tally = &mut self.queue(number).tally;
            *tally = sum(*tally, delta);
        }
        for (number, due) in body.retries {
            let key = DueKey { due, ..DueKey::MIN };
            self.queue(number).timetable(Timetable::Retries).leave(key);
        }
    }

    /// Searches once more: the news that were just read left started jobs out.
    pub(super) fn look_for_unfinished(&mut self) {
        self.search = Search::Wanted;
    }

    pub(super) fn find_unfinished(&mut self, out: &mut Vec<Action>) {
        let acts = matches!(self.phase, Phase::Recovering | Phase::Running);
        if self.search != Search::Wanted || !acts {
            return;
        }
        if let Some(since) = self.checkpoints.predecessor_since() {
            self.search = Search::UnderWay;
            out.push(Action::FindUnfinished { since });
        }
    }

    pub(super) fn unfinished_found(&mut self, answer: Result<Vec<Unfinished>, Failed>) {
        let Ok(found) = answer else {
            self.outage.failed(self.now, &self.limits);
            self.search = Search::Wanted;
            return;
        };
        self.outage.answered();
        for unfinished in found {
            self.bury(unfinished);
        }
        // A search that was asked for while this one was under way is still to come.
        if self.search == Search::UnderWay {
            self.search = Search::Done;
            if self.news.caught_up() {
                self.checkpoints.predecessor_found();
            }
        }
        if self.phase == Phase::Recovering {
            self.phase = Phase::Running;
        }
    }

    /// Records a predecessor's open attempt as lost, unless it is our own by now.
    fn bury(&mut self, unfinished: Unfinished) {
        let start = unfinished.start;
        match self.held.get(&start.job) {
            None => {}
            Some(held) if matches!(held.stage, Stage::Waiting) => self.drop_waiting(start.job),
            Some(_) => return,
        }
        let slot = Slot {
            at: start.at,
            probe: false,
        };
        let job = JobRef {
            tenant: start.tenant,
            job: start.job,
            queue: start.queue,
            band: 0,
            due: None,
            attempt: start.attempt - 1,
            tries: start.tries,
        };
        let held = Held {
            origin: Origin::Start,
            stage: Stage::Settling(slot),
            ..Held::waiting(job)
        };
        self.queue(start.queue);
        self.held.insert(start.job, held);
        self.settle_lost(start.job, slot, unfinished.lost);
    }
}

fn sum(a: QueueTally, b: QueueTally) -> QueueTally {
    QueueTally {
        created: a.created + b.created,
        done: a.done + b.done,
        dead: a.dead + b.dead,
        revived: a.revived + b.revived,
        cancelled: a.cancelled + b.cancelled,
        failed: a.failed + b.failed,
    }
}
