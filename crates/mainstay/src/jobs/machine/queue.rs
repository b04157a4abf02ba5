//! A queue in memory: what is ready, by band and tenant, what is due later, and what may run.
//!
//! Order: bands strictly, lowest first; inside a band tenants take turns; inside a tenant what had a time of its own,
//! then retries (while the budget lasts), then the rest, each by job id, that is by age. Suspects stand apart: they are
//! started one at a time, of all queues.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use mainstay_domain::{
    JobId, TenantId, Timestamp,
    jobs::{
        DueKey, JobRef, QueueTally,
        breaker::{Breaker, BreakerState},
    },
};

use super::{
    budget::Budget,
    held::Origin,
    window::{Offer, Window},
    words::{QueueSettings, Runs},
};

/// One queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// `None` until the driver has said.
    pub(super) settings: Option<QueueSettings>,
    /// The first answer about settings that must know this queue, if it exists.
    pub(super) settings_request: u64,
    /// Never-tried jobs with a time of their own, until it comes.
    pub(super) delayed: Window<DueKey>,
    /// Jobs to be tried again, until it is time.
    pub(super) retries: Window<DueKey>,
    /// Attempts under way.
    pub(super) in_flight: u32,
    /// Jobs that somebody waits for, where workers take them.
    pub(super) wanted: u32,
    /// The breaker of what its jobs depend on.
    pub(super) breaker: Breaker,
    /// What has been counted.
    pub(super) tally: QueueTally,
    /// When it wants to be looked at, as it stands in the machine's timers.
    pub(super) wake: Option<Timestamp>,
    bands: BTreeMap<i16, Band>,
    budget: Budget,
    first_ready: usize,
    again_ready: usize,
    suspects_ready: usize,
    due_ready: usize,
}

/// The tenants of one band.
#[derive(Debug, Default)]
struct Band {
    lanes: BTreeMap<TenantId, Lane>,
    first: Turns,
    again: Turns,
    suspects: Turns,
}

/// The ready jobs of a tenant in a band.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Never tried, without a time of their own.
    pub(super) fresh: Window<JobId>,
    timed: BTreeSet<JobId>,
    again: BTreeSet<JobId>,
    suspects: BTreeSet<JobId>,
}

/// Those who have something take turns.
#[derive(Debug, Default)]
struct Turns {
    waiting: BTreeSet<TenantId>,
    last: Option<TenantId>,
}

impl Turns {
    fn next(&mut self) -> Option<TenantId> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self
            .waiting
            .range((after, Bound::Unbounded))
            .next()
            .or_else(|| self.waiting.first())
            .copied();
        self.last = next;
        next
    }
}

/// Which of the ready jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// Those that run beside one another.
    Ordinary,
    /// Those that may be what kills the process.
    Suspect,
}

/// Which of a queue's two timetables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timetable {
    Delayed,
    Retries,
}

impl Queue {
    /// A queue of which nothing is known until this request for settings is answered.
    pub(super) fn unknown(settings_request: u64) -> Self {
        Self {
            settings_request,
            ..Self::default()
        }
    }

    /// Whether its jobs leave the process; unknown until it has settings.
    pub(super) fn runs(&self) -> Option<Runs> {
        self.settings.as_ref().map(|settings| settings.runs)
    }

    /// Whether a breaker watches over it.
    pub(super) fn is_guarded(&self) -> bool {
        let settings = self.settings.as_ref();
        settings.is_some_and(|settings| settings.breaker.is_some())
    }

    /// How many more attempts may begin now.
    pub(super) fn allowance(&mut self, now: Timestamp) -> u32 {
        let Some(settings) = self.settings.as_ref().filter(|settings| settings.enabled) else {
            return 0;
        };
        let of_breaker = settings
            .breaker
            .and_then(|_| self.breaker.allowance(now))
            .unwrap_or(u32::MAX);
        let wanted = match settings.runs {
            Runs::Worker => self.wanted,
            Runs::Builtin | Runs::Outbound => u32::MAX,
        };
        settings
            .max_in_flight
            .min(of_breaker)
            .saturating_sub(self.in_flight)
            .min(wanted)
    }

    /// Whether an attempt could begin now.
    pub(super) fn runnable(&mut self, now: Timestamp) -> bool {
        let ready = self.first_ready > 0 || (self.again_ready > 0 && self.budget.allows(now));
        ready && self.allowance(now) > 0
    }

    /// Whether a suspect could begin now, as far as the queue is concerned. One at a time needs no budget.
    pub(super) fn suspect_runnable(&mut self, now: Timestamp) -> bool {
        self.suspects_ready > 0 && self.allowance(now) > 0
    }

    /// Takes the job that is next.
    pub(super) fn pop(&mut self, pick: Pick, now: Timestamp) -> Option<JobId> {
        if pick == Pick::Suspect {
            let job = self.bands.values_mut().find_map(Band::pop_suspect)?;
            self.count(Class::Suspect, -1);
            return Some(job);
        }
        let again_allowed = self.again_ready > 0 && self.budget.allows(now);
        let bands = self.bands.values_mut();
        let (job, class) = bands.filter_map(|band| band.pop(again_allowed)).next()?;
        self.count(class, -1);
        self.budget.spend(now, class == Class::Again);
        Some(job)
    }

    /// When it should be looked at again although nothing happens to it.
    pub(super) fn wake_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let due = [self.delayed.first(), self.retries.first()]
            .into_iter()
            .flatten()
            .map(|key| key.due);
        let probe = (self.breaker.state == BreakerState::Open
            && self.first_ready + self.again_ready + self.suspects_ready > 0)
            .then_some(self.breaker.probe_at)
            .flatten()
            .filter(|at| *at > now);
        let budget =
            (self.again_ready > 0 && !self.budget.allows(now)).then(|| self.budget.next_at());
        due.chain(probe).chain(budget).min()
    }

    /// Offers a never-tried job without a time of its own to its lane.
    pub(super) fn offer_fresh(&mut self, job: &JobRef, capacity: usize) -> Offer<JobId> {
        let band = self.bands.entry(job.band).or_default();
        let lane = band.lanes.entry(job.tenant).or_default();
        let room = lane.fresh.len() < capacity;
        let offer = lane.fresh.offer(job.job, room);
        if offer == Offer::Kept {
            self.first_ready += 1;
        }
        band.note(job.tenant);
        offer
    }

    /// Offers a job that has a time to one of the timetables.
    pub(super) fn offer_due(
        &mut self,
        timetable: Timetable,
        key: DueKey,
        capacity: usize,
    ) -> Offer<DueKey> {
        let room = self.due_len() < capacity;
        self.timetable(timetable).offer(key, room)
    }

    /// Takes the next key that is due from a timetable.
    pub(super) fn pop_due(&mut self, timetable: Timetable, now: Timestamp) -> Option<DueKey> {
        let window = self.timetable(timetable);
        if window.first()?.due > now {
            return None;
        }
        window.pop()
    }

    /// Puts a job whose time has come among the ready ones.
    pub(super) fn push_due(&mut self, job: &JobRef) {
        let band = self.bands.entry(job.band).or_default();
        let lane = band.lanes.entry(job.tenant).or_default();
        let class = if job.loss.is_suspect() {
            lane.suspects.insert(job.job);
            Class::Suspect
        } else if job.tries > 0 {
            lane.again.insert(job.job);
            Class::Again
        } else {
            lane.timed.insert(job.job);
            Class::Timed
        };
        band.note(job.tenant);
        self.count(class, 1);
    }

    /// Takes a waiting job out.
    pub(super) fn remove(&mut self, job: &JobRef, origin: Origin, key: DueKey) {
        let waited_for_its_time = match origin {
            Origin::Delayed => self.delayed.remove(key),
            Origin::Retry => self.retries.remove(key),
            Origin::Lane => false,
        };
        if waited_for_its_time {
            return;
        }
        let Some(band) = self.bands.get_mut(&job.band) else {
            return;
        };
        if let Some(class) = band.remove(job) {
            self.count(class, -1);
        }
    }

    /// One of the timetables.
    pub(super) fn timetable(&mut self, timetable: Timetable) -> &mut Window<DueKey> {
        match timetable {
            Timetable::Delayed => &mut self.delayed,
            Timetable::Retries => &mut self.retries,
        }
    }

    /// Jobs with a time in memory: not yet due, or due and ready.
    pub(super) fn due_len(&self) -> usize {
        self.delayed.len() + self.retries.len() + self.due_ready
    }

    /// The lowest id among the ready ones.
    pub(super) fn oldest_ready(&self) -> Option<JobId> {
        let lanes = self.bands.values().flat_map(|band| band.lanes.values());
        lanes
            .flat_map(|lane| {
                [
                    lane.fresh.first(),
                    lane.timed.first().copied(),
                    lane.again.first().copied(),
                    lane.suspects.first().copied(),
                ]
            })
            .flatten()
            .min()
    }

    /// The window of a lane, if there is anything in it.
    pub(super) fn lane(&mut self, band: i16, tenant: TenantId) -> Option<&mut Lane> {
        self.bands.get_mut(&band)?.lanes.get_mut(&tenant)
    }

    /// The window of a lane, made when there is none.
    pub(super) fn lane_make(&mut self, band: i16, tenant: TenantId) -> &mut Lane {
        let band = self.bands.entry(band).or_default();
        band.lanes.entry(tenant).or_default()
    }

    /// Forgets a lane that holds nothing.
    pub(super) fn lane_tidy(&mut self, band_number: i16, tenant: TenantId) {
        let Some(band) = self.bands.get_mut(&band_number) else {
            return;
        };
        band.note(tenant);
        if band.lanes.is_empty() {
            self.bands.remove(&band_number);
        }
    }

    /// Where the jobs of a lane that are only in the store begin.
    #[cfg(test)]
    pub(super) fn lane_beyond(&self, band: i16, tenant: TenantId) -> Option<JobId> {
        self.bands.get(&band)?.lanes.get(&tenant)?.fresh.beyond()
    }

    /// All lanes that hold something, with where their jobs in the store begin.
    pub(super) fn lanes_beyond(&self) -> impl Iterator<Item = (i16, TenantId, JobId)> + '_ {
        self.bands.iter().flat_map(|(number, band)| {
            band.lanes.iter().filter_map(|(tenant, lane)| {
                lane.fresh.beyond().map(|beyond| (*number, *tenant, beyond))
            })
        })
    }

    fn count(&mut self, class: Class, by: isize) {
        let ready = match class {
            Class::Timed | Class::Fresh => &mut self.first_ready,
            Class::Again => &mut self.again_ready,
            Class::Suspect => &mut self.suspects_ready,
        };
        *ready = ready.saturating_add_signed(by);
        if class != Class::Fresh {
            self.due_ready = self.due_ready.saturating_add_signed(by);
        }
    }
}

/// Where a ready job stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Timed,
    Again,
    Suspect,
    Fresh,
}

impl Band {
    fn pop(&mut self, again_allowed: bool) -> Option<(JobId, Class)> {
        let of_again = again_allowed && !self.again.waiting.is_empty();
        let turns = if of_again {
            &mut self.again
        } else {
            &mut self.first
        };
        let tenant = turns.next()?;
        let lane = self.lanes.get_mut(&tenant)?;
        let popped = if of_again {
            lane.again.pop_first().map(|job| (job, Class::Again))
        } else {
            let timed = lane.timed.pop_first().map(|job| (job, Class::Timed));
            timed.or_else(|| lane.fresh.pop().map(|job| (job, Class::Fresh)))
        };
        // The lane stays until its owner has looked whether it wants a refill.
        if lane.timed.is_empty() && lane.fresh.is_empty() {
            self.first.waiting.remove(&tenant);
        }
        if lane.again.is_empty() {
            self.again.waiting.remove(&tenant);
        }
        popped
    }

    fn pop_suspect(&mut self) -> Option<JobId> {
        let tenant = self.suspects.next()?;
        let lane = self.lanes.get_mut(&tenant)?;
        let job = lane.suspects.pop_first();
        // As above, the lane stays.
        if lane.suspects.is_empty() {
            self.suspects.waiting.remove(&tenant);
        }
        job
    }

    fn remove(&mut self, job: &JobRef) -> Option<Class> {
        let lane = self.lanes.get_mut(&job.tenant)?;
        let class = if lane.timed.remove(&job.job) {
            Some(Class::Timed)
        } else if lane.again.remove(&job.job) {
            Some(Class::Again)
        } else if lane.suspects.remove(&job.job) {
            Some(Class::Suspect)
        } else if lane.fresh.remove(job.job) {
            Some(Class::Fresh)
        } else {
            None
        };
        self.note(job.tenant);
        class
    }

    /// Brings the turns in line with what a tenant has, and forgets a lane that holds nothing.
    fn note(&mut self, tenant: TenantId) {
        let Some(lane) = self.lanes.get(&tenant) else {
            return;
        };
        if lane.timed.is_empty() && lane.fresh.is_empty() {
            self.first.waiting.remove(&tenant);
        } else {
            self.first.waiting.insert(tenant);
        }
        if lane.again.is_empty() {
            self.again.waiting.remove(&tenant);
        } else {
            self.again.waiting.insert(tenant);
        }
        if lane.suspects.is_empty() {
            self.suspects.waiting.remove(&tenant);
        } else {
            self.suspects.waiting.insert(tenant);
        }
        let ready = [&lane.timed, &lane.again, &lane.suspects];
        let idle = ready.iter().all(|jobs| jobs.is_empty()) && lane.fresh.is_idle();
        if idle {
            self.lanes.remove(&tenant);
        }
    }
}
