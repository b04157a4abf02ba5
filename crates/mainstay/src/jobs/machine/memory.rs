//! Jobs come into memory and leave it.

use mainstay_domain::{
    JobId,
    jobs::{JobRef, Lane, QueueNumber},
};

use super::{
    Machine,
    deadline::let_go,
    due::Places,
    held::{Held, Origin, Stage, due_key},
    limits::Limits,
    queue::Timetable,
    window::Offer,
    words::{JobAt, WindowId},
};

impl Machine {
    /// Takes a known job in, unless it is here already or there is no room: then it is left in the store.
    pub(super) fn admit(&mut self, job: JobRef) {
        if self.held.contains_key(&job.job) || self.bury_known(&job) {
            return;
        }
        let (capacity, timed) = (self.window_capacity(), self.timed_capacity());
        let held = Held::waiting(job);
        let (kept, evicted) = match held.origin {
            Origin::Lane => {
                let now = self.now;
                let offer = self.queue(job.queue).offer_fresh(&job, capacity, now);
                (offer != Offer::Left, evicted(offer))
            }
            Origin::Delayed => self.admit_due(&job, Timetable::Delayed, timed),
            Origin::Retry => self.admit_due(&job, Timetable::Retries, timed),
        };
        if let Some(other) = evicted.and_then(|other| self.let_go(other))
            && other.job.deadline.is_some()
        {
            self.queue(other.job.queue).not_urgent(&other.job);
        }
        if kept {
            self.keep(held);
        }
        self.want(window_of(&job));
    }

    fn admit_due(
        &mut self,
        job: &JobRef,
        timetable: Timetable,
        capacity: usize,
    ) -> (bool, Option<JobId>) {
        let queue = self.queue(job.queue);
        match queue.offer_due(timetable, due_key(job), capacity) {
            Offer::Kept => (true, None),
            Offer::Swapped(other) => (true, Some(other.job)),
            Offer::Left => (false, None),
        }
    }

    /// Lets a job go that waits in memory: it has ended, or stands otherwise than we believed.
    pub(super) fn drop_waiting(&mut self, job: JobId) {
        self.take_out(job);
        self.let_go(job);
    }

    /// Takes a job out of the places where it waits. It stays in memory.
    pub(super) fn take_out(&mut self, job: JobId) {
        let Some(held) = self.held.get(&job) else {
            return;
        };
        let (job, origin) = (held.job, held.origin);
        let now = self.now;
        self.queue(job.queue)
            .remove(&job, origin, due_key(&job), now);
        self.want(window_of(&job));
    }

    /// Lets a job go that is not waiting. Looks it up when a person did something to it while it was busy.
    pub(super) fn release(&mut self, job: JobId) -> Option<JobRef> {
        let held = self.let_go(job)?;
        debug_assert!(!matches!(held.stage, Stage::Waiting));
        self.dispatch.closed(held.open);
        if held.open.is_some() {
            self.caution.released(job);
        }
        self.workers.released(job);
        if held.recheck {
            self.inspect_later(JobAt {
                tenant: held.job.tenant,
                job,
                queue: held.job.queue,
            });
        }
        Some(held.job)
    }

    /// Moves jobs whose time has come among the ready ones.
    pub(super) fn ready_what_is_due(&mut self, number: QueueNumber) {
        let Some(queue) = self.queues.get_mut(&number) else {
            return;
        };
        let places = places(&self.limits, self.held.len());
        for timetable in Timetable::BOTH {
            while let Some(key) = queue.pop_due(timetable, self.now) {
                if let Some(held) = self.held.get(&key.job)
                    && !queue.push_due(timetable, &held.job, places, self.now)
                {
                    let_go(&mut self.held, &mut self.deadlines, key.job);
                }
            }
        }
    }

    /// Takes a due job in that its tenant had left in the store.
    pub(super) fn admit_ready(&mut self, timetable: Timetable, job: JobRef) {
        if job.due.is_none_or(|due| due > self.now) {
            self.admit(job);
            return;
        }
        if self.held.contains_key(&job.job) || self.bury_known(&job) {
            return;
        }
        let (places, now) = (self.due_places(), self.now);
        if self.queue(job.queue).push_due(timetable, &job, places, now) {
            self.keep(Held::waiting(job));
        }
    }

    /// Lets due jobs go that have to wait since their queue is drained.
    pub(super) fn hold_back(&mut self, jobs: Vec<JobId>) {
        for job in jobs {
            if let Some(held) = self.let_go(job)
                && let Some(timetable) = Timetable::of(held.origin)
            {
                let queue = self.queue(held.job.queue);
                queue.due.leave_aside(timetable, due_key(&held.job));
            }
        }
    }

    /// How many due jobs a queue may keep.
    pub(super) fn due_places(&self) -> Places {
        places(&self.limits, self.held.len())
    }

    /// How many jobs a window may keep.
    pub(super) fn window_capacity(&self) -> usize {
        capacity(&self.limits, self.held.len())
    }

    /// How many jobs a queue may keep that have a time and are not ready.
    pub(super) fn timed_capacity(&self) -> usize {
        self.window_capacity().div_ceil(2)
    }
}

fn capacity(limits: &Limits, held: usize) -> usize {
    if held < limits.held_max {
        limits.window
    } else {
        limits.reserve
    }
}

/// Half of a window's places is for what is ready, half for what waits for its time.
fn places(limits: &Limits, held: usize) -> Places {
    Places {
        all: capacity(limits, held).div_ceil(2),
        reserve: limits.reserve,
    }
}

fn evicted(offer: Offer<JobId>) -> Option<JobId> {
    match offer {
        Offer::Swapped(other) => Some(other),
        Offer::Kept | Offer::Left => None,
    }
}

/// The window that a job belongs to.
pub(super) fn window_of(job: &JobRef) -> WindowId {
    match Origin::of(job) {
        Origin::Lane => WindowId::Lane(Lane {
            queue: job.queue,
            band: job.band,
            tenant: job.tenant,
        }),
        Origin::Delayed => WindowId::Delayed(job.queue),
        Origin::Retry => WindowId::Retries(job.queue),
    }
}
