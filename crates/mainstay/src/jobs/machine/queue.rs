//! A queue in memory: what is ready, by band and tenant, what is due later, and what may run.
//!
//! Order: bands strictly, lowest first; inside a band retries (while the budget lasts) before first tries, and of each the
//! tenant that had the least of the queue's time by its weight ([`Shares`]); inside a tenant what has a deadline, the earliest
//! first, then what had a time of its own, then the rest, each by job id, that is by age. Suspects stand apart: they are started one at a time, of all queues.
//!
//! Limits: a place is held from the pick to the end of an attempt, its own queue's and its tenant's; a pick takes from the
//! buckets of both. Where a team has limited the places, a new owner waits until it knows which attempts its predecessor
//! has left behind, and counts each as long as it may last.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_domain::{
    JobId, TenantId, Timestamp,
    jobs::{
        DueKey, Flow, JobRef, QueueTally,
        breaker::Dependency,
        pressure::Pressure,
        rate::{Bucket, Rate},
    },
};

use super::{
    band::{Band, Class, Lane, Rules},
    budget::Budget,
    checkpoint::Inherited,
    due::{Due, Places},
    fail_fast::fails,
    guard::Guard,
    held::{Origin, due_key, made_at},
    pace::Pace,
    planted::{Fault, planted},
    share::Shares,
    window::{Offer, Window},
    words::{Guarded, QueueSettings, Runs},
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
    /// What has been counted.
    pub(super) tally: QueueTally,
    /// When it wants to be looked at, as it stands in the machine's timers.
    pub(super) wake: Option<Timestamp>,
    /// How fast it fills and empties.
    pub(super) pace: Pace,
    /// What its tenants use.
    pub(super) shares: Shares,
    bands: BTreeMap<i16, Band>,
    budget: Budget,
    /// Of its rate, once anything was taken from it.
    bucket: Option<Bucket>,
    /// When this owner took over, if there was another before: what that has taken from buckets is not known.
    since: Option<Timestamp>,
    /// What a predecessor's attempts may still take up, by when they have ended for certain.
    inherited: BTreeMap<(Timestamp, JobId, i32), Inherited>,
    /// Whether it is still to be found out what a predecessor has left.
    pub(super) inheriting: bool,
    /// Jobs whose time has come, tenant by tenant.
    pub(super) due: Due,
}

/// Which of the ready jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// Those that run beside one another.
    Ordinary,
    /// Those that may be what kills the process.
    Suspect,
    /// The same as the ordinary ones, to end without having begun: they take nothing of a rate.
    Failing,
}

/// Which of a queue's two timetables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timetable {
    Delayed,
    Retries,
}

impl Timetable {
    /// Both of them.
    pub(super) const BOTH: [Self; 2] = [Self::Delayed, Self::Retries];

    /// The one that jobs of this origin come from.
    pub(super) const fn of(origin: Origin) -> Option<Self> {
        match origin {
            Origin::Lane => None,
            Origin::Delayed => Some(Self::Delayed),
            Origin::Retry => Some(Self::Retries),
        }
    }
}

impl Queue {
    /// A queue of which nothing is known until this request for settings is answered, of an owner that took over at this
    /// time, if there was another before.
    pub(super) fn unknown(
        settings_request: u64,
        since: Option<Timestamp>,
        inheriting: bool,
    ) -> Self {
        Self {
            settings_request,
            since: since.filter(|_| !planted(Fault::FullAfterRestart)),
            shares: Shares::since(since),
            inheriting,
            ..Self::default()
        }
    }

    /// Whether its jobs leave the process; unknown until it has settings.
    pub(super) fn runs(&self) -> Option<Runs> {
        self.settings.as_ref().map(|settings| settings.runs)
    }

    /// What stands before its dependency, if it has one.
    pub(super) fn guarded_by(&self) -> Option<&Guarded> {
        self.settings.as_ref()?.breaker.as_ref()
    }

    /// What its jobs go to, if a breaker stands before it.
    pub(super) fn dependency(&self) -> Option<&Dependency> {
        self.guarded_by().map(|guarded| &guarded.dependency)
    }

    /// For how long an attempt lasts at most, in milliseconds.
    pub(super) fn attempt_ms(&self) -> i64 {
        let settings = self.settings.as_ref();
        settings.map_or(0, |settings| settings.attempt_ms)
    }

    /// Takes other settings, and lets those who wait feel them. Answers the due jobs that have to wait from now on, since
    /// the queue is drained: their places are for others.
    pub(super) fn set(&mut self, settings: QueueSettings, now: Timestamp) -> Vec<JobId> {
        let before = self.settings.replace(settings);
        self.inherited_cut(now);
        let rules = Rules::of(self.settings.as_ref());
        let unchanged = before.as_ref().is_some_and(|before| {
            Some(&before.limits) == rules.limits
                && before.held_from == self.settings.as_ref().and_then(|new| new.held_from)
        });
        if unchanged || planted(Fault::SettingsUnheard) {
            return Vec::new();
        }
        let rate = rules.limits.and_then(|limits| limits.rate.as_ref());
        self.bucket = self
            .bucket
            .zip(rate)
            .map(|(bucket, rate)| bucket.adapted(rate, now));
        self.shares.limits_changed(now, rules.limits);
        self.due.end_aside();
        let held_back = self.hold_back();
        self.note_all(now);
        held_back
    }

    /// Takes the due jobs out that do not run while the queue is drained.
    fn hold_back(&mut self) -> Vec<JobId> {
        let Some(from) = Rules::of(self.settings.as_ref()).held_from else {
            return Vec::new();
        };
        let mut held_back = Vec::new();
        for (tenant, lane) in self.bands.values_mut().flat_map(|band| &mut band.lanes) {
            for job in lane.split_due(from) {
                self.due.exit(*tenant);
                held_back.push(job);
            }
        }
        held_back
    }

    /// How many more attempts may begin now.
    pub(super) fn allowance(&mut self, guard: Option<&Guard>, now: Timestamp) -> u32 {
        let Some(settings) = self.settings.as_ref().filter(|settings| settings.enabled) else {
            return 0;
        };
        if settings.flow == Flow::Paused && !planted(Fault::PauseIgnored) {
            return 0;
        }
        if self.inheriting && settings.counts_over_restarts() {
            return 0;
        }
        let of_breaker = guard.and_then(|guard| guard.allowance(now));
        let of_breaker = of_breaker.unwrap_or(u32::MAX);
        let wanted = match settings.runs {
            Runs::Worker => self.wanted,
            Runs::Builtin | Runs::Outbound => u32::MAX,
        };
        let most = settings.max_in_flight + u32::from(planted(Fault::PlaceTooMany));
        let taken = self.in_flight + self.inherited.len() as u32;
        let free = most.saturating_sub(taken).min(of_breaker).min(wanted);
        match &settings.limits.rate {
            Some(rate) if free > 0 => free.min(self.bucket(rate).available(rate, now)),
            _ => free,
        }
    }

    /// The bucket of its rate.
    fn bucket(&self, rate: &Rate) -> Bucket {
        let first = || {
            self.since
                .map_or(Bucket::FULL, |since| Bucket::spent(rate, since))
        };
        self.bucket.unwrap_or_else(first)
    }

    /// Whether an attempt could begin now.
    pub(super) fn runnable(&mut self, mut guard: Option<&mut Guard>, now: Timestamp) -> bool {
        let again = self.again_waits() && self.budget(guard.as_deref_mut()).allows(now);
        (again || self.first_waits()) && self.allowance(guard.as_deref(), now) > 0
    }

    /// Whether a job could begin now if its breaker were not open, and is to fail instead.
    pub(super) fn fails_fast(&mut self, guard: Option<&mut Guard>, now: Timestamp) -> bool {
        let runs = self.settings.as_ref().is_some_and(|settings| {
            settings.enabled && settings.flow != Flow::Paused && fails(guard.as_deref(), now)
        });
        runs && (self.first_waits() || (self.again_waits() && self.budget(guard).allows(now)))
    }

    /// The budget of its retries: its dependency's, else its own.
    fn budget<'a>(&'a mut self, guard: Option<&'a mut Guard>) -> &'a mut Budget {
        match guard {
            Some(guard) => &mut guard.budget,
            None => &mut self.budget,
        }
    }

    /// Whether a suspect could begin now, as far as the queue is concerned. One at a time needs no budget.
    pub(super) fn suspect_runnable(&mut self, guard: Option<&Guard>, now: Timestamp) -> bool {
        self.suspect_waits() && self.allowance(guard, now) > 0
    }

    fn first_waits(&self) -> bool {
        self.bands.values().any(|band| !band.first.is_empty())
    }

    fn again_waits(&self) -> bool {
        self.bands.values().any(|band| !band.again.is_empty())
    }

    fn suspect_waits(&self) -> bool {
        self.bands.values().any(|band| !band.suspects.is_empty())
    }

    /// Takes the job that is next and gives it its place.
    pub(super) fn pop(
        &mut self,
        pick: Pick,
        mut guard: Option<&mut Guard>,
        now: Timestamp,
    ) -> Option<JobId> {
        let again_allowed = pick != Pick::Suspect
            && self.again_waits()
            && self.budget(guard.as_deref_mut()).allows(now);
        let rules = Rules::of(self.settings.as_ref());
        let mut bands = self.bands.values_mut();
        let (tenant, job, class) = bands.find_map(|band| match pick {
            Pick::Ordinary | Pick::Failing => band.pop(again_allowed, rules),
            Pick::Suspect => band.pop_suspect(),
        })?;
        if class != Class::Fresh {
            self.due.exit(tenant);
        }
        if pick == Pick::Ordinary {
            self.budget(guard).spend(now, class == Class::Again);
        }
        match pick {
            Pick::Failing => self.adopt(tenant, now),
            Pick::Ordinary | Pick::Suspect => self.occupy(tenant, now),
        }
        Some(job)
    }

    /// An attempt of a tenant takes a place.
    fn occupy(&mut self, tenant: TenantId, now: Timestamp) {
        let rules = Rules::of(self.settings.as_ref());
        let builtin = self.runs() == Some(Runs::Builtin);
        self.in_flight += 1;
        let rate = rules.limits.and_then(|limits| limits.rate.as_ref());
        if let Some(rate) = rate.filter(|_| !(builtin && planted(Fault::BatchUnpaid))) {
            let mut bucket = self.bucket(rate);
            bucket.take(rate, now);
            self.bucket = Some(bucket);
        }
        if !(builtin && planted(Fault::BatchUncounted)) {
            self.shares.start(tenant, now, rules.limits);
        }
        self.note(tenant, now);
    }

    /// So many attempts of a tenant give their places back. `spent` is how long each took one, in microseconds, where it
    /// is known.
    pub(super) fn vacate(
        &mut self,
        tenant: TenantId,
        count: u32,
        spent: Option<u64>,
        now: Timestamp,
    ) {
        self.in_flight = self.in_flight.saturating_sub(count);
        let limits = Rules::of(self.settings.as_ref()).limits;
        self.shares.end(tenant, count, spent, now, limits);
        if !planted(Fault::TurnForgotten) {
            self.note(tenant, now);
        }
        let waits = self.bands.values().any(|band| !band.lanes.is_empty());
        if self.in_flight == 0 && !waits {
            self.shares.idle();
        }
    }

    /// An attempt that a predecessor began goes on, and takes a place. What it took of the rate it took then.
    pub(super) fn adopt(&mut self, tenant: TenantId, now: Timestamp) {
        let limits = Rules::of(self.settings.as_ref()).limits;
        self.in_flight += 1;
        self.shares.adopt(tenant, now, limits);
        self.note(tenant, now);
    }

    /// An attempt that a predecessor began takes up a place until it has ended for certain.
    pub(super) fn inherit(&mut self, place: Inherited, now: Timestamp) {
        if planted(Fault::HeirForgets) {
            return;
        }
        let same = |one: &&Inherited| (one.job, one.attempt) == (place.job, place.attempt);
        if let Some(known) = self.inherited.values().find(same).copied() {
            let until = known.until.max(place.until);
            self.inherited.remove(&key(&known));
            let place = Inherited { until, ..known };
            self.inherited.insert(key(&place), place);
            return;
        }
        self.inherited.insert(key(&place), place);
        let limits = Rules::of(self.settings.as_ref()).limits;
        self.shares.inherit(place.tenant, now, limits);
        self.note(place.tenant, now);
    }

    /// The places that attempts of predecessors may still take up.
    pub(super) fn inherited(&self) -> impl Iterator<Item = Inherited> + '_ {
        self.inherited.values().copied()
    }

    /// Lets those go on whose time has come.
    pub(super) fn time_comes(&mut self, now: Timestamp) {
        while let Some(place) = self.inherited.first_entry() {
            let Inherited { tenant, until, .. } = *place.get();
            if until > now || planted(Fault::HeirKeeps) {
                break;
            }
            place.remove();
            let limits = Rules::of(self.settings.as_ref()).limits;
            self.shares.disinherit(tenant, now, limits);
            self.note(tenant, now);
        }
        loop {
            let limits = Rules::of(self.settings.as_ref()).limits;
            let Some(tenant) = self.shares.pop_due(now, limits) else {
                break;
            };
            self.note(tenant, now);
        }
    }

    /// No pause is longer than it should be.
    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        self.since = self.since.map(|since| since.min(now));
        if let Some(bucket) = &mut self.bucket {
            bucket.clock_set_back(now);
        }
        self.inherited_cut(now);
        self.shares
            .clock_set_back(now, Rules::of(self.settings.as_ref()).limits);
        self.note_all(now);
    }

    /// No attempt lasts longer than it may, whatever the clock said when it was written down.
    fn inherited_cut(&mut self, now: Timestamp) {
        let Some(settings) = self.settings.as_ref() else {
            return;
        };
        let latest = now.plus_ms(settings.attempt_ms);
        let last = self.inherited.last_key_value();
        if last.is_some_and(|(_, place)| place.until > latest) {
            let places = std::mem::take(&mut self.inherited).into_values();
            let places = places.map(|place| Inherited {
                until: place.until.min(latest),
                ..place
            });
            self.inherited = places.map(|place| (key(&place), place)).collect();
        }
    }

    /// Brings the turns in line with where a tenant stands.
    fn note(&mut self, tenant: TenantId, now: Timestamp) {
        let rules = Rules::of(self.settings.as_ref());
        let standing = self.shares.standing(tenant, now, rules.limits);
        for band in self.bands.values_mut() {
            band.note(tenant, standing, rules);
        }
    }

    fn note_in(&mut self, band: i16, tenant: TenantId, now: Timestamp) {
        let rules = Rules::of(self.settings.as_ref());
        let standing = self.shares.standing(tenant, now, rules.limits);
        if let Some(band) = self.bands.get_mut(&band) {
            band.note(tenant, standing, rules);
        }
    }

    fn note_all(&mut self, now: Timestamp) {
        let tenants = self.bands.values().flat_map(|band| band.lanes.keys());
        let tenants: BTreeSet<TenantId> = tenants.copied().collect();
        for tenant in tenants {
            self.note(tenant, now);
        }
    }

    /// When it should be looked at again although nothing happens to it.
    pub(super) fn wake_at(
        &mut self,
        guard: Option<&mut Guard>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let due = [self.delayed.first(), self.retries.first()]
            .into_iter()
            .flatten()
            .map(|key| key.due);
        let (again, waits) = (
            self.again_waits(),
            self.first_waits() || self.suspect_waits(),
        );
        let probe = guard.as_deref().filter(|_| again || waits);
        let probe = probe.and_then(|guard| guard.next_at(now));
        let forced = guard.as_deref().and_then(Guard::forced_until);
        let budget = self.budget(guard);
        let budget = (again && !budget.allows(now)).then(|| budget.next_at());
        let limits = Rules::of(self.settings.as_ref()).limits;
        let rate = limits.and_then(|limits| limits.rate.as_ref());
        let rate = rate
            .filter(|_| (again || waits) && !planted(Fault::QueueOverslept))
            .and_then(|rate| self.bucket(rate).next_at(rate, now));
        let first = self.inherited.first_key_value();
        let inherited = first.map(|(_, place)| place.until);
        let inherited = inherited.filter(|_| !planted(Fault::HeirKeeps));
        let times = [
            probe,
            forced,
            budget,
            rate,
            self.shares.next_at(),
            inherited,
        ];
        due.chain(times.into_iter().flatten()).min()
    }

    /// Offers a never-tried job without a time of its own to its lane.
    pub(super) fn offer_fresh(
        &mut self,
        job: &JobRef,
        capacity: usize,
        now: Timestamp,
    ) -> Offer<JobId> {
        let band = self.bands.entry(job.band).or_default();
        let lane = band.lanes.entry(job.tenant).or_default();
        let room = lane.fresh.len() < capacity;
        let offer = lane.fresh.offer(job.job, room);
        if offer != Offer::Left {
            lane.is_urgent(job);
        }
        self.note_in(job.band, job.tenant, now);
        offer
    }

    /// Offers a job that has a time to one of the timetables.
    pub(super) fn offer_due(
        &mut self,
        timetable: Timetable,
        key: DueKey,
        capacity: usize,
    ) -> Offer<DueKey> {
        let room = self.timed_len() < capacity;
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

    /// Puts a job whose time has come among the ready ones. Where its tenant has its part of the places, or the queue is
    /// drained up to a job before it, it is left in the store: then false. A suspect never is, of which there are few.
    pub(super) fn push_due(
        &mut self,
        timetable: Timetable,
        job: &JobRef,
        places: Places,
        now: Timestamp,
    ) -> bool {
        let key = due_key(job);
        if !job.loss.is_suspect() {
            if !Rules::of(self.settings.as_ref()).lets(Some(job.job)) {
                self.due.leave_aside(timetable, key);
                return false;
            }
            if !self.due.takes(timetable, key, places) {
                self.due.leave(timetable, key);
                return false;
            }
        }
        let band = self.bands.entry(job.band).or_default();
        let lane = band.lanes.entry(job.tenant).or_default();
        let ready = if job.loss.is_suspect() {
            &mut lane.suspects
        } else if job.tries > 0 {
            &mut lane.again
        } else {
            &mut lane.timed
        };
        if ready.insert(job.job) {
            self.due.enter(job.tenant);
        }
        lane.is_urgent(job);
        self.note_in(job.band, job.tenant, now);
        true
    }

    /// Takes a waiting job out.
    pub(super) fn remove(&mut self, job: &JobRef, origin: Origin, key: DueKey, now: Timestamp) {
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
        if band.remove(job).is_some_and(|class| class != Class::Fresh) {
            self.due.exit(job.tenant);
        }
        self.note_in(job.band, job.tenant, now);
    }

    /// A job is left in the store.
    pub(super) fn not_urgent(&mut self, job: &JobRef) {
        if let Some(lane) = self.lane(job.band, job.tenant) {
            lane.not_urgent(job);
        }
    }

    /// One of the timetables.
    pub(super) fn timetable(&mut self, timetable: Timetable) -> &mut Window<DueKey> {
        match timetable {
            Timetable::Delayed => &mut self.delayed,
            Timetable::Retries => &mut self.retries,
        }
    }

    /// Jobs with a time in memory that are not among the ready ones.
    pub(super) fn timed_len(&self) -> usize {
        self.delayed.len() + self.retries.len()
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

    /// Jobs that could be started as far as their own time is concerned, by the counters.
    pub(super) fn waiting_count(&self) -> i64 {
        let tally = &self.tally;
        let dead = tally.dead - tally.revived;
        let unfinished = tally.created - tally.done - tally.cancelled - dead;
        (unfinished - i64::from(self.in_flight) - self.timed_len() as i64).max(0)
    }

    /// How it stands beside its limits on what may wait, if it has any.
    pub(super) fn pressure(&self, now: Timestamp) -> Option<Pressure> {
        let limits = &self.settings.as_ref()?.limits;
        let known = Pressure::of(limits, self.waiting_count(), None)?;
        let lanes = self.bands.values().flat_map(|band| band.lanes.values());
        let pace = self.pace.shown(now);
        Some(Pressure {
            oldest: lanes
                .filter_map(|lane| lane.fresh.first())
                .min()
                .map(made_at),
            ended: pace.ended,
            over_ms: pace.over_ms,
            ..known
        })
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
    pub(super) fn lane_tidy(&mut self, band_number: i16, tenant: TenantId, now: Timestamp) {
        self.note_in(band_number, tenant, now);
        if self
            .bands
            .get(&band_number)
            .is_some_and(|band| band.lanes.is_empty())
        {
            self.bands.remove(&band_number);
        }
    }

    /// How many ready jobs of each tenant are in memory, band by band, and whether there are more.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (TenantId, usize, bool)> + '_ {
        let lanes = self.bands.values().flat_map(|band| &band.lanes);
        lanes.map(|(tenant, lane)| {
            let due = lane.timed.len() + lane.again.len() + lane.suspects.len();
            let more = lane.fresh.beyond().is_some();
            (*tenant, lane.fresh.len() + due, more)
        })
    }

    /// While it is drained: whether everything that was made before is done.
    pub(super) fn drained(&self) -> Option<bool> {
        let from = self.settings.as_ref()?.held_from?;
        let before = |job: Option<JobId>| job.is_some_and(|job| job < from);
        let mut lanes = self.bands.values().flat_map(|band| band.lanes.values());
        let left = lanes.any(|lane| {
            let due = [&lane.timed, &lane.again, &lane.suspects];
            due.iter().any(|jobs| before(jobs.first().copied()))
                || before(lane.fresh.first())
                || before(lane.fresh.beyond())
        });
        // Of what is due later and stands in the store only it is not known when it was made.
        let later = [&self.delayed, &self.retries]
            .into_iter()
            .any(|window| window.any(|key| key.job < from) || window.beyond().is_some());
        Some(!(left || later || self.due.any_left() || self.in_flight > 0))
    }

    /// How many places attempts of a predecessor's may take up.
    #[cfg(test)]
    pub(super) fn inherited_len(&self) -> u32 {
        self.inherited.len() as u32
    }

    /// Whether its rate lets one begin.
    #[cfg(test)]
    pub(super) fn rate_lets(&self, now: Timestamp) -> bool {
        let limits = Rules::of(self.settings.as_ref()).limits;
        let rate = limits.and_then(|limits| limits.rate.as_ref());
        rate.is_none_or(|rate| self.bucket(rate).next_at(rate, now).is_none())
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
}

fn key(place: &Inherited) -> (Timestamp, JobId, i32) {
    (place.until, place.job, place.attempt)
}
