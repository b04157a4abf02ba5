//! Taking over: the state as the last checkpoint and the tally records after it say, then what a predecessor left.

use std::{collections::BTreeSet, sync::Arc};

use mainstay_domain::{
    JobId, Random, TenantId, Timestamp,
    jobs::{
        AttemptStart, Checkpoint, DueKey, JobRef, QueueTally, TallyRecord,
        breaker::{Breaker, Dependency},
    },
};

use super::{
    JobMap, Machine, Phase,
    checkpoint::{CheckpointBody, Checkpoints, Inherited, TallyBody, encode},
    discovery::News,
    held::{Held, Slot, Stage},
    limits::Limits,
    poison::{Caution, last_suspect},
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
    /// The breakers that are not as new.
    pub breakers: Vec<(Dependency, Breaker)>,
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

    /// The checkpoint as the new owner's own, to be written in the same transaction: a predecessor's next one is
    /// refused, which would not know what the new owner has started.
    pub fn claim(&self, epoch: i64) -> Checkpoint {
        let empty = || Checkpoint {
            body: encode(&CheckpointBody::default()),
            ..Checkpoint::default()
        };
        let mut claimed = self.checkpoint.clone().unwrap_or_else(empty);
        claimed.epoch = epoch;
        // Should it die before it writes one of its own.
        if let Ok(mut body) = serde_json::from_str::<CheckpointBody>(&claimed.body) {
            body.deaths = body.deaths.saturating_add(1);
            claimed.body = encode(&body);
        }
        claimed
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

/// Attempts that a predecessor started and did not end. That they are found at once is a courtesy: each would be found
/// when its job's turn comes and its start is refused.
#[derive(Debug)]
pub(super) struct Lost {
    since: Timestamp,
    /// Those that began long before.
    long: Vec<(TenantId, JobId, i32)>,
    search: Search,
    /// Those whose jobs are not in memory yet.
    starts: JobMap<Unfinished>,
    /// The suspect that had begun last when the predecessor died.
    suspect: Option<JobId>,
}

#[derive(Debug, PartialEq, Eq)]
enum Search {
    Wanted,
    UnderWay,
    Found(Vec<Unfinished>),
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
        let existed = legacy.checkpoint.is_some();
        let body = recovered.checkpoint;
        let caution = Caution::new(body.deaths, now, &limits);
        let mut machine = Self {
            limits,
            random,
            epoch,
            phase: Phase::Running,
            now,
            since: existed.then_some(now),
            held: JobMap::default(),
            deadlines: Default::default(),
            queues: Default::default(),
            guards: Default::default(),
            probes_left_at: (existed && body.deaths > 0).then_some(now),
            touched: BTreeSet::new(),
            timers: BTreeSet::new(),
            configuring: Default::default(),
            news: News::new(body.cursor.clone(), now, body.deaths == 0),
            refills: Default::default(),
            dispatch: Default::default(),
            settling: Default::default(),
            sequences: Sequences::new(recovered.next_sequence),
            inspections: Default::default(),
            checkpoints: Checkpoints::new(now),
            outage: Default::default(),
            lost: Lost {
                since: body.starts_since,
                long: body.long.clone(),
                search: Search::Wanted,
                starts: JobMap::default(),
                suspect: None,
            },
            caution,
            workers: Default::default(),
        };
        machine.restore(body);
        for tally in recovered.tallies {
            machine.restore_tally(tally);
        }
        for (dependency, breaker) in legacy.breakers {
            machine.guards.entry(dependency).or_default().breaker = breaker;
        }
        Ok(machine)
    }

    fn restore(&mut self, body: CheckpointBody) {
        for (number, mark) in body.queues {
            let queue = self.queue(number);
            queue.tally = mark.tally;
            let (delayed, retries) = mark.beside_left.unwrap_or((mark.delayed, mark.retries));
            if let Some(key) = delayed {
                queue.delayed.leave(key);
            }
            if let Some(key) = retries {
                queue.retries.leave(key);
            }
        }
        for (lane, lowest) in body.lanes {
            let queue = self.queue(lane.queue);
            queue.lane_make(lane.band, lane.tenant).fresh.leave(lowest);
            self.want(WindowId::Lane(lane));
        }
        for mark in body.left {
            let timetable = match mark.tried {
                true => Timetable::Retries,
                false => Timetable::Delayed,
            };
            self.queue(mark.queue).due.leave(timetable, mark.from);
        }
        for (tenant, job, queue) in body.inspect {
            self.inspect_later(JobAt { tenant, job, queue });
        }
        self.restore_inherited(body.inherited);
    }

    fn restore_inherited(&mut self, inherited: Vec<Inherited>) {
        let now = self.now;
        for one in inherited.into_iter().filter(|one| one.until > now) {
            self.queue(one.queue).inherit(one, now);
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
        self.restore_inherited(body.inherited);
    }

    pub(super) fn find_unfinished(&mut self, out: &mut Vec<Action>) {
        if self.lost.search == Search::Wanted && self.phase == Phase::Running {
            self.lost.search = Search::UnderWay;
            out.push(Action::FindUnfinished {
                since: self.lost.since,
                long: self.lost.long.clone(),
            });
        }
    }

    pub(super) fn unfinished_found(&mut self, answer: Result<Vec<Unfinished>, Failed>) {
        let Ok(found) = answer else {
            self.outage.failed(self.now, &self.limits);
            self.lost.search = Search::Wanted;
            return;
        };
        self.outage.answered();
        self.lost.search = Search::Found(found);
    }

    /// Records what was found as lost, once it is known what carries the jobs out: a loss means something else to a
    /// built-in job.
    pub(super) fn bury_found(&mut self) {
        let able = self.configuring.known && matches!(self.lost.search, Search::Found(_));
        if !able {
            return;
        }
        let Search::Found(found) = std::mem::replace(&mut self.lost.search, Search::Done) else {
            return;
        };
        self.lost.suspect = last_suspect(&found, self.now);
        self.checkpoints.change();
        self.inherit_places(&found);
        for unfinished in found {
            let job = unfinished.start.job;
            match self.held.get(&job).map(|held| (&held.stage, held.job)) {
                None => self.await_lost(unfinished),
                Some((Stage::Waiting, of)) if of.attempt + 1 == unfinished.start.attempt => {
                    self.take_out(job);
                    self.bury(unfinished);
                }
                // By now it is our own, or was settled meanwhile.
                Some(_) => {}
            }
        }
    }

    /// What a predecessor has sent may still be worked on where it went: where a team has limited the places it counts for
    /// as long as an attempt may last, from now on, since nobody knows when it was sent.
    fn inherit_places(&mut self, found: &[Unfinished]) {
        let now = self.now;
        for start in found.iter().map(|unfinished| unfinished.start) {
            let queue = self.queue(start.queue);
            let settings = queue.settings.as_ref();
            let Some(settings) = settings.filter(|settings| settings.counts_over_restarts()) else {
                continue;
            };
            let place = Inherited {
                queue: start.queue,
                tenant: start.tenant,
                job: start.job,
                attempt: start.attempt,
                until: now.plus_ms(settings.attempt_ms),
            };
            if place.until > now {
                queue.inherit(place, now);
            }
        }
        for (number, queue) in &mut self.queues {
            queue.inheriting = false;
            self.touched.insert(*number);
        }
    }

    /// Records the open attempt of a job that comes into memory as lost, if it has one.
    pub(super) fn bury_known(&mut self, job: &JobRef) -> bool {
        let Some(unfinished) = self.lost.starts.remove(&job.job) else {
            return false;
        };
        self.free_reserved(&unfinished.start);
        if unfinished.start.attempt != job.attempt + 1 {
            return false;
        }
        self.queue(job.queue);
        self.held.insert(job.job, Held::waiting(*job));
        self.bury(unfinished);
        true
    }

    /// Its job is not in memory yet. What a worker has in hand takes up a place of its queue meanwhile, so that its limit
    /// holds under the new owner as well.
    fn await_lost(&mut self, unfinished: Unfinished) {
        let start = unfinished.start;
        if self.lost.starts.insert(start.job, unfinished).is_none() && self.is_workers(start.queue)
        {
            let now = self.now;
            self.queue(start.queue).adopt(start.tenant, now);
            // It may have ended since it was found, and whoever has it is to be known soon.
            self.inspect_later(JobAt {
                tenant: start.tenant,
                job: start.job,
                queue: start.queue,
            });
        }
    }

    fn free_reserved(&mut self, start: &AttemptStart) {
        if self.is_workers(start.queue) {
            let now = self.now;
            self.queue(start.queue).vacate(start.tenant, 1, None, now);
        }
    }

    /// How a job stands that is not in memory: nothing that it has left open but this.
    pub(super) fn lost_ended(&mut self, job: JobId, open: Option<i32>) {
        let left = self.lost.starts.get(&job);
        if left.is_some_and(|left| Some(left.start.attempt) != open)
            && let Some(unfinished) = self.lost.starts.remove(&job)
        {
            self.free_reserved(&unfinished.start);
        }
    }

    /// Whether a predecessor may have left this attempt open, and its job is not in memory yet.
    pub(super) fn may_be_left(&self, job: JobId, attempt: i32) -> bool {
        let left = self.lost.starts.get(&job);
        self.lost.search != Search::Done || left.is_some_and(|left| left.start.attempt == attempt)
    }

    /// Open attempts of a queue whose jobs are not in memory yet.
    #[cfg(test)]
    pub(super) fn left_in(&self, queue: mainstay_domain::jobs::QueueNumber) -> usize {
        let left = self.lost.starts.values();
        left.filter(|one| one.start.queue == queue).count()
    }

    fn bury(&mut self, unfinished: Unfinished) {
        if self.is_workers(unfinished.start.queue) {
            self.adopt(unfinished.start);
            return;
        }
        let slot = Slot {
            at: unfinished.start.at,
            probe: false,
        };
        let job = unfinished.start.job;
        let alone = self.lost.suspect == Some(job);
        self.settle_lost(job, slot, unfinished.before, alone);
    }

    /// Whether what a predecessor left was looked for.
    pub(super) fn all_lost_are_known(&self) -> bool {
        self.lost.search == Search::Done
    }

    /// From when on starts are still to be looked for that a predecessor left, and those that began long before.
    pub(super) fn lost_starts(&self) -> (Timestamp, Vec<(TenantId, JobId, i32)>) {
        match self.lost.search {
            Search::Done => (self.now, Vec::new()),
            _ => (self.lost.since.min(self.now), self.lost.long.clone()),
        }
    }

    /// The starts that are still to be recorded as lost.
    pub(super) fn lost_known(
        &self,
    ) -> impl Iterator<Item = (Timestamp, TenantId, JobId, i32)> + '_ {
        let starts = self.lost.starts.values().map(|one| one.start);
        starts.map(|start| (start.at, start.tenant, start.job, start.attempt))
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
