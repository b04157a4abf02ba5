//! Taking over: the state as the last checkpoint and the tally records after it say, then what a predecessor left.

use std::{collections::BTreeSet, sync::Arc};

use mainstay_domain::{
    Random, Timestamp,
    jobs::{Checkpoint, DueKey, JobRef, QueueNumber, QueueTally, TallyRecord, breaker::Breaker},
};

use super::{
    JobMap, Machine, Phase,
    checkpoint::{CheckpointBody, Checkpoints, TallyBody},
    discovery::News,
    held::{Held, Origin, Slot, Stage},
    limits::Limits,
    queue::Timetable,
    sequence::{IN_FLIGHT_MAX, Sequences},
    words::{Action, Failed, JobAt, Unfinished, WindowId},
};

/// What a predecessor has written down, as a new owner reads it before anything else.
#[derive(Debug, Clone, Default)]
pub struct Legacy {
    /// The last checkpoint, if there is one.
    pub checkpoint: Option<Checkpoint>,
    /// The tally records after it, in order.
    pub tallies: Vec<TallyRecord>,
    /// The breakers that are not closed, or have failures counted.
    pub breakers: Vec<(QueueNumber, Breaker)>,
}

impl Legacy {
    /// The numbers that the new owner must use up, in the transaction that reads this, so that the predecessor has none
    /// left to commit under: the gaps, and as many beyond the last one as a predecessor can have out.
    pub fn fence(&self) -> Vec<i64> {
        let base = self.base();
        let used: BTreeSet<i64> = self.tallies.iter().map(|tally| tally.sequence).collect();
        let last = used.last().copied().unwrap_or(base).max(base);
        (base + 1..=last + IN_FLIGHT_MAX as i64)
            .filter(|number| !used.contains(number))
            .collect()
    }

    /// The record that takes a number of the fence.
    pub fn fence_record(sequence: i64, epoch: i64) -> TallyRecord {
        TallyRecord {
            sequence,
            body: TallyBody::new(epoch).encode(),
        }
    }

    fn base(&self) -> i64 {
        self.checkpoint
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.sequence)
    }
}

/// What a new owner begins with.
#[derive(Debug, Clone, Default)]
struct Recovered {
    checkpoint: CheckpointBody,
    tallies: Vec<TallyBody>,
    next_sequence: i64,
}

impl Recovered {
    fn read(legacy: &Legacy) -> Result<Self, serde_json::Error> {
        let checkpoint: CheckpointBody = match &legacy.checkpoint {
            Some(checkpoint) => serde_json::from_str(&checkpoint.body)?,
            None => CheckpointBody::default(),
        };
        let last = legacy.tallies.last().map(|tally| tally.sequence);
        let last = last.unwrap_or_default().max(legacy.base());
        let tallies = legacy
            .tallies
            .iter()
            .filter(|tally| !checkpoint.included.contains(&tally.sequence))
            .map(|tally| serde_json::from_str(&tally.body))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            checkpoint,
            tallies,
            next_sequence: last + IN_FLIGHT_MAX as i64 + 1,
        })
    }
}

/// The search for attempts that were started and have no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    Wanted,
    UnderWay,
    Done,
}

impl Machine {
    /// A machine that begins where its predecessor stopped. The [`Legacy::fence`] is in place. Fails when what the
    /// predecessor wrote cannot be read.
    pub fn new(
        limits: Limits,
        random: Arc<dyn Random>,
        now: Timestamp,
        epoch: i64,
        legacy: Legacy,
    ) -> Result<Self, serde_json::Error> {
        let recovered = Recovered::read(&legacy)?;
        let body = recovered.checkpoint;
        let mut machine = Self {
            limits,
            random,
            epoch,
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
        for (number, mut breaker) in legacy.breakers {
            breaker.abandoned(now);
            machine.queue(number).breaker = breaker;
        }
        Ok(machine)
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
