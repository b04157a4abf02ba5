//! Refills: when a window runs low and the store has more, the next jobs are read.

use std::collections::BTreeSet;

use mainstay_domain::{
    TenantId,
    jobs::{DueKey, JobRef, QueueNumber},
};

use super::{
    Machine,
    held::due_key,
    queue::Timetable,
    window::Window,
    words::{Action, After, Failed, Refill, WindowId},
};

/// Windows that want a refill, and how many refills are under way.
#[derive(Debug, Default)]
pub(super) struct Refills {
    wanting: BTreeSet<WindowId>,
    /// Where to go on, so that every window has its turn.
    last: Option<WindowId>,
    flying: usize,
}

impl Refills {
    fn next(&mut self) -> Option<WindowId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.last.map_or(Unbounded, Excluded);
        let next = self
            .wanting
            .range((after, Unbounded))
            .next()
            .or_else(|| self.wanting.first())
            .copied()?;
        self.wanting.remove(&next);
        self.last = Some(next);
        Some(next)
    }
}

impl Machine {
    /// Notes it when this window has run low and the store has more.
    pub(super) fn want(&mut self, window: WindowId) {
        let low = self.window_capacity() / 2;
        let timed_low = self.timed_capacity() / 2;
        let wants = match window {
            WindowId::Lane(lane) => self
                .queues
                .get_mut(&lane.queue)
                .and_then(|queue| queue.lane(lane.band, lane.tenant))
                .is_some_and(|lane| {
                    lane.fresh.beyond().is_some()
                        && !lane.fresh.refilling()
                        && lane.fresh.len() <= low
                }),
            WindowId::Delayed(queue) => self.timetable_wants(queue, Timetable::Delayed, timed_low),
            WindowId::Retries(queue) => self.timetable_wants(queue, Timetable::Retries, timed_low),
            WindowId::DelayedOf(queue, tenant) => {
                self.tenant_wants(queue, tenant, Timetable::Delayed)
            }
            WindowId::RetriesOf(queue, tenant) => {
                self.tenant_wants(queue, tenant, Timetable::Retries)
            }
        };
        if wants {
            self.refills.wanting.insert(window);
        }
        if let WindowId::Lane(lane) = window
            && let Some(queue) = self.queues.get_mut(&lane.queue)
        {
            queue.lane_tidy(lane.band, lane.tenant, self.now);
        }
    }

    pub(super) fn want_timetables(&mut self, queue: QueueNumber) {
        self.want(WindowId::Delayed(queue));
        self.want(WindowId::Retries(queue));
        let wanting = self
            .queues
            .get_mut(&queue)
            .map(|queue| queue.due.take_wanting());
        for (tenant, timetable) in wanting.into_iter().flatten() {
            self.want(match timetable {
                Timetable::Delayed => WindowId::DelayedOf(queue, tenant),
                Timetable::Retries => WindowId::RetriesOf(queue, tenant),
            });
        }
    }

    fn tenant_wants(&self, queue: QueueNumber, tenant: TenantId, timetable: Timetable) -> bool {
        let places = self.due_places();
        let queue = self.queues.get(&queue);
        queue.is_some_and(|queue| queue.due.wants(tenant, timetable, places))
    }

    fn timetable_wants(&mut self, queue: QueueNumber, timetable: Timetable, low: usize) -> bool {
        self.queues.get_mut(&queue).is_some_and(|queue| {
            let room = queue.timed_len() <= low;
            let window = queue.timetable(timetable);
            room && window.beyond().is_some() && !window.refilling()
        })
    }

    pub(super) fn refill(&mut self, out: &mut Vec<Action>) {
        while self.refills.flying < self.limits.refills_max {
            let Some(window) = self.refills.next() else {
                return;
            };
            let Some(after) = self.refill_begin(window) else {
                continue;
            };
            self.refills.flying += 1;
            out.push(Action::Refill(Refill {
                window,
                after,
                seen: self.news.cursor().clone(),
                limit: self.limits.refill_batch.min(self.refill_room(window)),
            }));
        }
    }

    /// How many jobs there is room for.
    fn refill_room(&self, window: WindowId) -> usize {
        match window {
            WindowId::Lane(_) => self.window_capacity(),
            WindowId::Delayed(_) | WindowId::Retries(_) => self.timed_capacity(),
            WindowId::DelayedOf(queue, tenant) | WindowId::RetriesOf(queue, tenant) => {
                let due = self.queues.get(&queue).map(|queue| &queue.due);
                due.map_or(1, |due| due.room(tenant, self.due_places()))
            }
        }
    }

    fn refill_begin(&mut self, window: WindowId) -> Option<After> {
        match window {
            WindowId::Lane(lane) => {
                let queue = self.queues.get_mut(&lane.queue)?;
                let fresh = &mut queue.lane(lane.band, lane.tenant)?.fresh;
                fresh.refill_begin().map(After::Job)
            }
            WindowId::Delayed(queue) => self.timetable_refill_begin(queue, Timetable::Delayed),
            WindowId::Retries(queue) => self.timetable_refill_begin(queue, Timetable::Retries),
            WindowId::DelayedOf(queue, tenant) => {
                let left = self.left(queue, tenant, Timetable::Delayed)?;
                left.refill_begin().map(After::Due)
            }
            WindowId::RetriesOf(queue, tenant) => {
                let left = self.left(queue, tenant, Timetable::Retries)?;
                left.refill_begin().map(After::Due)
            }
        }
    }

    fn left(
        &mut self,
        queue: QueueNumber,
        tenant: TenantId,
        timetable: Timetable,
    ) -> Option<&mut Window<DueKey>> {
        self.queues.get_mut(&queue)?.due.left(tenant, timetable)
    }

    fn timetable_refill_begin(
        &mut self,
        queue: QueueNumber,
        timetable: Timetable,
    ) -> Option<After> {
        let window = self.queues.get_mut(&queue)?.timetable(timetable);
        window.refill_begin().map(After::Due)
    }

    pub(super) fn refilled(&mut self, refill: &Refill, jobs: Result<Vec<JobRef>, Failed>) {
        self.refills.flying -= 1;
        let jobs = match jobs {
            Ok(jobs) => jobs,
            Err(Failed) => {
                self.outage.failed(self.now, &self.limits);
                self.refill_abort(refill.window);
                return;
            }
        };
        self.outage.answered();
        // An answer that is not full has reached the end.
        let full = jobs.len() >= refill.limit;
        let more_after = jobs.last().filter(|_| full).copied();
        self.refill_end(refill.window, more_after);
        for job in jobs {
            match refill.window {
                WindowId::DelayedOf(..) => self.admit_ready(Timetable::Delayed, job),
                WindowId::RetriesOf(..) => self.admit_ready(Timetable::Retries, job),
                WindowId::Lane(_) | WindowId::Delayed(_) | WindowId::Retries(_) => self.admit(job),
            }
        }
        self.want(refill.window);
    }

    fn refill_end(&mut self, window: WindowId, last: Option<JobRef>) {
        match window {
            WindowId::Lane(lane) => {
                let Some(lane) = self
                    .queues
                    .get_mut(&lane.queue)
                    .and_then(|queue| queue.lane(lane.band, lane.tenant))
                else {
                    return;
                };
                lane.fresh.refill_end(last.map(|job| job.job));
            }
            WindowId::Delayed(queue) => {
                let window = self.queue(queue).timetable(Timetable::Delayed);
                window.refill_end(last.as_ref().map(due_key));
            }
            WindowId::Retries(queue) => {
                let window = self.queue(queue).timetable(Timetable::Retries);
                window.refill_end(last.as_ref().map(due_key));
            }
            WindowId::DelayedOf(queue, tenant) => {
                self.left_refill_end(queue, tenant, Timetable::Delayed, last.as_ref());
            }
            WindowId::RetriesOf(queue, tenant) => {
                self.left_refill_end(queue, tenant, Timetable::Retries, last.as_ref());
            }
        }
    }

    fn refill_abort(&mut self, window: WindowId) {
        match window {
            WindowId::Lane(lane) => {
                if let Some(queue) = self.queues.get_mut(&lane.queue)
                    && let Some(lane) = queue.lane(lane.band, lane.tenant)
                {
                    lane.fresh.refill_abort();
                }
            }
            WindowId::Delayed(queue) => {
                self.queue(queue)
                    .timetable(Timetable::Delayed)
                    .refill_abort();
            }
            WindowId::Retries(queue) => {
                self.queue(queue)
                    .timetable(Timetable::Retries)
                    .refill_abort();
            }
            WindowId::DelayedOf(queue, tenant) => {
                if let Some(left) = self.left(queue, tenant, Timetable::Delayed) {
                    left.refill_abort();
                }
            }
            WindowId::RetriesOf(queue, tenant) => {
                if let Some(left) = self.left(queue, tenant, Timetable::Retries) {
                    left.refill_abort();
                }
            }
        }
        self.want(window);
    }

    fn left_refill_end(
        &mut self,
        queue: QueueNumber,
        tenant: TenantId,
        timetable: Timetable,
        last: Option<&JobRef>,
    ) {
        if let Some(left) = self.left(queue, tenant, timetable) {
            left.refill_end(last.map(due_key));
        }
        self.queue(queue).due.tidy(tenant, timetable);
    }
}
