//! The ready jobs of one band of a queue, tenant by tenant, and whose turn it is.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_domain::{
    JobId, TenantId, Timestamp,
    jobs::{JobRef, QueueLimits},
};

use super::{
    planted::{Fault, planted},
    share::Standing,
    window::Window,
    words::QueueSettings,
};

/// The tenants of one band.
#[derive(Debug, Default)]
pub(super) struct Band {
    pub(super) lanes: BTreeMap<TenantId, Lane>,
    pub(super) first: Turns,
    pub(super) again: Turns,
    pub(super) suspects: Turns,
}

/// The ready jobs of a tenant in a band.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Never tried, without a time of their own.
    pub(super) fresh: Window<JobId>,
    /// Those whose own time has come.
    pub(super) timed: BTreeSet<JobId>,
    /// Those to be tried again now.
    pub(super) again: BTreeSet<JobId>,
    /// Those that may be what kills the process.
    pub(super) suspects: BTreeSet<JobId>,
    /// Those of the first two that have a deadline, the earliest first.
    urgent: Urgent,
    /// The same of those to be tried again.
    urgent_again: Urgent,
    /// The tags under which it takes part in the turns of first tries, retries and suspects.
    turns: [Option<u64>; 3],
}

/// Jobs with deadlines, the earliest first.
type Urgent = BTreeSet<(Timestamp, JobId)>;

/// Those who have something that may run, whoever had the least first.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeSet<(u64, TenantId)>);

impl Turns {
    fn next(&self) -> Option<TenantId> {
        self.0.first().map(|(_, tenant)| *tenant)
    }

    /// Moves a tenant from where it stands to where it should.
    fn set(&mut self, tenant: TenantId, stands: &mut Option<u64>, should: Option<u64>) {
        if *stands == should {
            return;
        }
        if let Some(tag) = *stands {
            self.0.remove(&(tag, tenant));
        }
        if let Some(tag) = should {
            self.0.insert((tag, tenant));
        }
        *stands = should;
    }

    /// Whether nobody's turn can come.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A queue's settings as far as limits go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'s> {
    pub(super) limits: Option<&'s QueueLimits>,
    /// Jobs from this one on wait.
    pub(super) held_from: Option<JobId>,
}

impl<'s> Rules<'s> {
    pub(super) fn of(settings: Option<&'s QueueSettings>) -> Self {
        let held_from = settings.and_then(|settings| settings.held_from);
        Self {
            limits: settings.map(|settings| &settings.limits),
            held_from: held_from.filter(|_| !planted(Fault::DrainIgnored)),
        }
    }

    pub(super) fn lets(&self, job: Option<JobId>) -> bool {
        job.is_some_and(|job| self.held_from.is_none_or(|from| job < from))
    }
}

/// Where a ready job stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Timed,
    Again,
    Suspect,
    Fresh,
}

impl Lane {
    /// Notes that a job has a deadline, if it has: it goes before those that have none. A suspect waits for its turn.
    pub(super) fn is_urgent(&mut self, job: &JobRef) {
        let Some(at) = job.deadline.filter(|_| !job.loss.is_suspect()) else {
            return;
        };
        let urgent = match job.tries > 0 {
            true => &mut self.urgent_again,
            false => &mut self.urgent,
        };
        urgent.insert((at, job.job));
    }

    /// The job is here no more.
    pub(super) fn not_urgent(&mut self, job: &JobRef) {
        if let Some(at) = job.deadline {
            self.urgent.remove(&(at, job.job));
            self.urgent_again.remove(&(at, job.job));
        }
    }

    /// Takes the due jobs out from this one on.
    pub(super) fn split_due(&mut self, from: JobId) -> Vec<JobId> {
        let mut out = self.timed.split_off(&from);
        out.append(&mut self.again.split_off(&from));
        for urgent in [&mut self.urgent, &mut self.urgent_again] {
            urgent.retain(|(_, job)| !out.contains(job));
        }
        out.into_iter().collect()
    }

    /// Takes the one to be tried again that has the earliest deadline, else the oldest.
    fn pop_again(&mut self, rules: Rules<'_>) -> Option<JobId> {
        let Some((at, job)) = first_let(&self.urgent_again, rules) else {
            return self.again.pop_first();
        };
        self.urgent_again.remove(&(at, job));
        self.again.remove(&job);
        Some(job)
    }

    /// The same of those to be tried for the first time.
    fn pop_first(&mut self, rules: Rules<'_>) -> (Option<JobId>, Class) {
        if let Some((at, job)) = first_let(&self.urgent, rules) {
            self.urgent.remove(&(at, job));
            if self.timed.remove(&job) {
                return (Some(job), Class::Timed);
            }
            self.fresh.remove(job);
            return (Some(job), Class::Fresh);
        }
        if rules.lets(self.timed.first().copied()) {
            return (self.timed.pop_first(), Class::Timed);
        }
        (self.fresh.pop(), Class::Fresh)
    }
}

/// The earliest that may run: while the queue is drained those that are held back are passed over.
fn first_let(urgent: &Urgent, rules: Rules<'_>) -> Option<(Timestamp, JobId)> {
    let mut urgent = urgent.iter().copied();
    urgent.find(|(_, job)| rules.lets(Some(*job)))
}

impl Band {
    /// Takes the job that is next.
    pub(super) fn pop(
        &mut self,
        again_allowed: bool,
        rules: Rules<'_>,
    ) -> Option<(TenantId, JobId, Class)> {
        let of_again = again_allowed && !self.again.is_empty();
        let turns = if of_again { &self.again } else { &self.first };
        let tenant = turns.next()?;
        let lane = self.lanes.get_mut(&tenant)?;
        let (job, class) = match of_again {
            true => (lane.pop_again(rules), Class::Again),
            false => lane.pop_first(rules),
        };
        Some((tenant, job?, class))
    }

    /// Takes the suspect that is next.
    pub(super) fn pop_suspect(&mut self) -> Option<(TenantId, JobId, Class)> {
        let tenant = self.suspects.next()?;
        let job = self.lanes.get_mut(&tenant)?.suspects.pop_first()?;
        Some((tenant, job, Class::Suspect))
    }

    /// Takes a job out.
    pub(super) fn remove(&mut self, job: &JobRef) -> Option<Class> {
        let lane = self.lanes.get_mut(&job.tenant)?;
        lane.not_urgent(job);
        if lane.timed.remove(&job.job) {
            Some(Class::Timed)
        } else if lane.again.remove(&job.job) {
            Some(Class::Again)
        } else if lane.suspects.remove(&job.job) {
            Some(Class::Suspect)
        } else if lane.fresh.remove(job.job) {
            Some(Class::Fresh)
        } else {
            None
        }
    }

    /// Brings the turns in line with what a tenant has and may, and forgets a lane that holds nothing.
    pub(super) fn note(&mut self, tenant: TenantId, standing: Standing, rules: Rules<'_>) {
        let Some(lane) = self.lanes.get_mut(&tenant) else {
            return;
        };
        let turn = |has: bool| (has && standing.may).then_some(standing.tag);
        let oldest = |jobs: &BTreeSet<JobId>| jobs.first().copied();
        let first = rules.lets(oldest(&lane.timed)) || rules.lets(lane.fresh.first());
        let again = rules.lets(oldest(&lane.again));
        let suspect = rules.lets(oldest(&lane.suspects));
        let [of_first, of_again, of_suspects] = &mut lane.turns;
        self.first.set(tenant, of_first, turn(first));
        self.again.set(tenant, of_again, turn(again));
        self.suspects.set(tenant, of_suspects, turn(suspect));
        let ready = [&lane.timed, &lane.again, &lane.suspects];
        if ready.iter().all(|jobs| jobs.is_empty()) && lane.fresh.is_idle() {
            self.lanes.remove(&tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_domain::jobs::Loss;
    use uuid::Uuid;

    use super::*;

    fn job(number: u128, deadline: Option<i64>, tries: i32) -> JobRef {
        JobRef {
            tenant: TenantId::NIL,
            job: JobId::from_uuid(Uuid::from_u128(number)),
            queue: 1,
            band: 0,
            due: None,
            deadline: deadline.map(Timestamp::from_secs),
            attempt: tries,
            tries,
            loss: Loss::None,
            ordered: false,
        }
    }

    /// A band in which one tenant has these ready, and may run them.
    fn band(jobs: &[JobRef]) -> Band {
        let mut band = Band::default();
        let lane = band.lanes.entry(TenantId::NIL).or_default();
        for job in jobs {
            match job.tries {
                0 => drop(lane.fresh.offer(job.job, true)),
                _ => drop(lane.again.insert(job.job)),
            }
            lane.is_urgent(job);
        }
        band
    }

    fn order(band: &mut Band, rules: Rules<'_>) -> Vec<u128> {
        let standing = Standing { may: true, tag: 0 };
        let mut order = Vec::new();
        loop {
            band.note(TenantId::NIL, standing, rules);
            match band.pop(true, rules) {
                Some((_, job, _)) => order.push(job.uuid().as_u128()),
                None => return order,
            }
        }
    }

    #[test]
    fn the_earliest_deadline_goes_first_and_then_the_oldest() {
        let jobs = [
            job(1, None, 0),
            job(2, Some(90), 0),
            job(3, Some(30), 0),
            job(4, None, 0),
            job(5, None, 1),
            job(6, Some(60), 1),
        ];
        let rules = Rules::of(None);
        assert_eq!(order(&mut band(&jobs), rules), [6, 5, 3, 2, 1, 4]);
        let mut band = band(&jobs);
        assert_eq!(band.remove(&jobs[2]), Some(Class::Fresh));
        assert_eq!(order(&mut band, rules), [6, 5, 2, 1, 4]);
    }

    #[test]
    fn while_a_queue_is_drained_no_deadline_lets_a_later_job_pass() {
        let jobs = [job(1, None, 0), job(2, Some(90), 0), job(3, Some(30), 0)];
        let rules = Rules {
            limits: None,
            held_from: Some(jobs[2].job),
        };
        assert_eq!(order(&mut band(&jobs), rules), [2, 1]);
    }
}
