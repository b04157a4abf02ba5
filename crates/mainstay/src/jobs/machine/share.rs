//! Who of a queue's tenants is next, and who may not be: start-time fair queueing by worker time, and each tenant's limits.
//!
//! Every tenant has a *tag*: the time that its attempts took, divided by its weight, beginning where the queue stood when
//! it came. The lowest tag is next. What an attempt will take is not known when it begins, so the tenant is charged
//! what its attempts took of late, and once it has ended the tag is corrected by the difference. So between two tenants
//! that both have something to do the time that they got differs by no more than what can be under way at once, and
//! one that was away is owed nothing.
//!
//! A tenant at one of its limits leaves the turns until a place is free or its time comes: it costs nothing meanwhile.
//! What is kept of a tenant is forgotten once it says nothing any more.

use std::collections::BTreeSet;

use mainstay_domain::{
    TenantId, Timestamp,
    jobs::{
        QueueLimits,
        rate::{Bucket, Rate},
    },
};

use super::{
    id_hash::IdMap,
    planted::{Fault, planted},
};

/// The tag grows by so much for a microsecond of a tenant of weight 1; it is divided by the weight.
const SCALE: u64 = 1_000;
/// No attempt costs less, in microseconds: those who take turns with nothing to do take turns.
const COST_MIN: u64 = 100;
/// No attempt costs more, in microseconds: a clock that jumped is nobody's debt.
const COST_MAX: u64 = 600_000_000;
/// What an attempt took counts for so much of the estimate.
const ESTIMATE_SHARE: i64 = 8;
/// Tenants of which something is kept before it is looked who can be forgotten.
const SWEEP_MIN: usize = 64;
/// Idle tenants of a queue of which anything is kept.
const IDLE_MAX: usize = 20_000;
/// For so many minutes it is known who used how much.
pub(super) const USED_MINUTES: usize = 5;
/// Idle tenants that are kept for that alone.
const USED_MAX: usize = 256;

/// The tenants of one queue.
#[derive(Debug, Default)]
pub(super) struct Shares {
    of: IdMap<TenantId, Share>,
    /// The tag of the attempt that began last.
    tag: u64,
    /// The highest tag that anybody has had.
    highest: u64,
    /// What an attempt takes, whoever's.
    estimate: u64,
    /// What was taken before is not known: buckets begin as if all had been taken then.
    since: Option<Timestamp>,
    sweep_at: usize,
    /// Those who wait for their rate, by when they may go on.
    limited: BTreeSet<(Timestamp, TenantId)>,
}

/// What is known of one tenant.
#[derive(Debug, Default)]
struct Share {
    tag: u64,
    in_flight: u32,
    /// Places that attempts of a predecessor's may still take up.
    inherited: u32,
    /// What it was charged for attempts that have not ended, in microseconds.
    charged: u64,
    /// What its attempts take, in microseconds; 0: not known.
    estimate: u64,
    bucket: Option<Bucket>,
    /// It is at one of its limits.
    held: bool,
    /// Until when, if it is the rate.
    until: Option<Timestamp>,
    used: Used,
}

/// Where a tenant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whoever has the lowest is next.
    pub(super) tag: u64,
    /// Whether one of its jobs may begin.
    pub(super) may: bool,
}

/// Who uses how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) running: u32,
    /// Microseconds in the last minutes.
    pub(super) used: u64,
    pub(super) held: bool,
}

impl Shares {
    /// Of an owner that took over at this time, or of the first there ever was.
    pub(super) fn since(since: Option<Timestamp>) -> Self {
        Self {
            since: since.filter(|_| !planted(Fault::FullAfterRestart)),
            ..Self::default()
        }
    }

    /// Where a tenant stands.
    pub(super) fn standing(
        &mut self,
        tenant: TenantId,
        now: Timestamp,
        limits: Option<&QueueLimits>,
    ) -> Standing {
        if let Some(share) = self.of.get(&tenant) {
            return Standing {
                tag: share.tag,
                may: !share.held,
            };
        }
        // Of one of whom nothing is known, it is known since when.
        let rate = limits.and_then(|limits| limits.tenant_rate.as_ref());
        let held = rate.is_some_and(|rate| {
            let bucket = first_bucket(rate, self.since);
            bucket.next_at(rate, now).is_some()
        });
        if held {
            self.of.entry(tenant).or_default().tag = self.tag;
            self.review(tenant, now, limits);
        }
        Standing {
            tag: self.tag,
            may: !held,
        }
    }

    /// An attempt of a tenant begins.
    pub(super) fn start(&mut self, tenant: TenantId, now: Timestamp, limits: Option<&QueueLimits>) {
        self.begin(tenant, now, limits, true);
    }

    /// An attempt of a tenant that a predecessor began goes on: what it took of its rate it took then.
    pub(super) fn adopt(&mut self, tenant: TenantId, now: Timestamp, limits: Option<&QueueLimits>) {
        self.begin(tenant, now, limits, false);
    }

    fn begin(
        &mut self,
        tenant: TenantId,
        now: Timestamp,
        limits: Option<&QueueLimits>,
        pays: bool,
    ) {
        self.sweep(now, limits);
        let begins = self.tag;
        let estimate = self.estimate;
        let share = self.of.entry(tenant).or_insert_with(|| Share {
            tag: begins,
            ..Share::default()
        });
        let cost = [share.estimate, estimate, COST_MIN]
            .into_iter()
            .find(|estimate| *estimate > 0)
            .unwrap_or(COST_MIN);
        let tag = match planted(Fault::IdleSaves) {
            true => share.tag,
            false => share.tag.max(begins),
        };
        share.in_flight += 1;
        share.charged += cost;
        share.tag = tag.saturating_add(charge(cost, weight(tenant, limits)));
        self.tag = begins.max(tag);
        self.highest = self.highest.max(share.tag);
        if let Some(rate) = limits.and_then(|limits| limits.tenant_rate.as_ref())
            && pays
            && !planted(Fault::TenantUnpaid)
        {
            share
                .bucket
                .get_or_insert_with(|| first_bucket(rate, self.since))
                .take(rate, now);
        }
        self.review(tenant, now, limits);
    }

    /// So many attempts of a tenant have ended. `spent` is what each took, in microseconds, where it is known.
    pub(super) fn end(
        &mut self,
        tenant: TenantId,
        count: u32,
        spent: Option<u64>,
        now: Timestamp,
        limits: Option<&QueueLimits>,
    ) {
        let Some(share) = self.of.get_mut(&tenant) else {
            return;
        };
        let count = count.min(share.in_flight);
        if count == 0 {
            return;
        }
        // Of several under way it is not known which was charged what; together it comes out right.
        let charged = match share.in_flight == count {
            true => share.charged,
            false => share.charged / u64::from(share.in_flight) * u64::from(count),
        };
        share.charged -= charged;
        if !planted(Fault::PlaceKept) {
            share.in_flight -= count;
        }
        if let Some(spent) = spent {
            let each = spent.clamp(COST_MIN, COST_MAX);
            let all = each * u64::from(count);
            share.estimate = estimated(share.estimate, each);
            self.estimate = estimated(self.estimate, each);
            share.used.add(now, all);
            if !planted(Fault::NeverCorrected) {
                let weight = weight(tenant, limits);
                let tag = share.tag.saturating_add(charge(all, weight));
                share.tag = tag.saturating_sub(charge(charged, weight));
                self.highest = self.highest.max(share.tag);
            }
        }
        self.review(tenant, now, limits);
    }

    /// Nobody has anything to do and nothing is under way: all are even.
    pub(super) fn idle(&mut self) {
        self.tag = self.highest;
    }

    /// An attempt that a predecessor began may still take up a place.
    pub(super) fn inherit(
        &mut self,
        tenant: TenantId,
        now: Timestamp,
        limits: Option<&QueueLimits>,
    ) {
        let tag = self.tag;
        let share = self.of.entry(tenant).or_insert_with(|| Share {
            tag,
            ..Share::default()
        });
        share.inherited += 1;
        self.review(tenant, now, limits);
    }

    /// It does no more.
    pub(super) fn disinherit(
        &mut self,
        tenant: TenantId,
        now: Timestamp,
        limits: Option<&QueueLimits>,
    ) {
        if let Some(share) = self.of.get_mut(&tenant) {
            share.inherited = share.inherited.saturating_sub(1);
            self.review(tenant, now, limits);
        }
    }

    /// When somebody's time comes.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let first = self.limited.first().map(|(at, _)| *at);
        first.filter(|_| !planted(Fault::TenantOverslept))
    }

    /// Takes one whose time has come.
    pub(super) fn pop_due(
        &mut self,
        now: Timestamp,
        limits: Option<&QueueLimits>,
    ) -> Option<TenantId> {
        let (at, tenant) = self.limited.first().copied()?;
        if at > now || planted(Fault::TenantOverslept) {
            return None;
        }
        self.review(tenant, now, limits);
        Some(tenant)
    }

    /// The limits are others.
    pub(super) fn limits_changed(&mut self, now: Timestamp, limits: Option<&QueueLimits>) {
        let rate = limits.and_then(|limits| limits.tenant_rate.as_ref());
        for share in self.of.values_mut() {
            share.bucket = share
                .bucket
                .zip(rate)
                .map(|(bucket, rate)| bucket.adapted(rate, now));
        }
        self.review_all(now, limits);
    }

    /// Nobody waits longer than what is owed.
    pub(super) fn clock_set_back(&mut self, now: Timestamp, limits: Option<&QueueLimits>) {
        self.since = self.since.map(|since| since.min(now));
        for bucket in self
            .of
            .values_mut()
            .filter_map(|share| share.bucket.as_mut())
        {
            bucket.clock_set_back(now);
        }
        self.review_all(now, limits);
    }

    fn review_all(&mut self, now: Timestamp, limits: Option<&QueueLimits>) {
        let tenants: Vec<TenantId> = self.of.keys().copied().collect();
        for tenant in tenants {
            self.review(tenant, now, limits);
        }
    }

    /// Brings it up to date whether a tenant is at one of its limits.
    fn review(&mut self, tenant: TenantId, now: Timestamp, limits: Option<&QueueLimits>) {
        let Some(share) = self.of.get_mut(&tenant) else {
            return;
        };
        let places = limits.and_then(|limits| limits.tenant_max_in_flight);
        let most = places.map(|most| most + u32::from(planted(Fault::TenantPlaceTooMany)));
        let full = most.is_some_and(|most| share.in_flight + share.inherited >= most);
        let rate = limits.and_then(|limits| limits.tenant_rate.as_ref());
        let since = self.since;
        let until = rate.and_then(|rate| {
            let bucket = share.bucket.unwrap_or_else(|| first_bucket(rate, since));
            bucket.next_at(rate, now)
        });
        share.held = full || until.is_some();
        if share.until != until {
            if let Some(at) = share.until {
                self.limited.remove(&(at, tenant));
            }
            if let Some(at) = until {
                self.limited.insert((at, tenant));
            }
            share.until = until;
        }
    }

    /// Forgets tenants of whom nothing is left to know, when there may be many.
    fn sweep(&mut self, now: Timestamp, limits: Option<&QueueLimits>) {
        if self.of.len() < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        let tag = self.tag;
        let rate = limits.and_then(|limits| limits.tenant_rate.as_ref());
        let (mut idle, mut remembered, mut forgot_debt) = (0, 0, false);
        self.of.retain(|_, share| {
            if share.in_flight + share.inherited > 0 {
                return true;
            }
            let owes = share.until.is_some()
                || rate.is_some() && share.bucket.is_some_and(|bucket| !bucket.is_full(now));
            if owes || share.tag > tag {
                let kept = idle < IDLE_MAX;
                idle += usize::from(kept);
                forgot_debt |= owes && !kept;
                return kept;
            }
            let used = share.used.sum(now) > 0 && remembered < USED_MAX;
            remembered += usize::from(used);
            used
        });
        if forgot_debt {
            // Of whom nothing is known may have taken everything just now.
            self.since = Some(now);
            let of = &self.of;
            self.limited.retain(|(_, tenant)| of.contains_key(tenant));
        }
        self.sweep_at = self.of.len() * 2;
    }

    /// Of how many something is kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// How many tenants are at one of their limits.
    pub(super) fn limited(&self) -> i64 {
        self.of.values().filter(|share| share.held).count() as i64
    }

    /// What everybody uses.
    pub(super) fn uses(&self, now: Timestamp) -> impl Iterator<Item = (TenantId, Use)> + '_ {
        self.of.iter().map(move |(tenant, share)| {
            let used = Use {
                running: share.in_flight,
                used: share.used.sum(now),
                held: share.held,
            };
            (*tenant, used)
        })
    }

    /// How many places attempts of a predecessor's may take up.
    #[cfg(test)]
    pub(super) fn inherited(&self, tenant: TenantId) -> u32 {
        self.of.get(&tenant).map_or(0, |share| share.inherited)
    }

    /// Whether a tenant's rate lets one begin.
    #[cfg(test)]
    pub(super) fn rate_lets(&self, tenant: TenantId, now: Timestamp, limits: &QueueLimits) -> bool {
        let bucket = self.of.get(&tenant).and_then(|share| share.bucket);
        limits.tenant_rate.is_none_or(|rate| {
            let bucket = bucket.unwrap_or_else(|| first_bucket(&rate, self.since));
            bucket.next_at(&rate, now).is_none()
        })
    }

    /// How many attempts of a tenant are under way.
    #[cfg(test)]
    pub(super) fn in_flight(&self, tenant: TenantId) -> u32 {
        self.of.get(&tenant).map_or(0, |share| share.in_flight)
    }
}

/// The bucket of a tenant of whom nothing is known.
fn first_bucket(rate: &Rate, since: Option<Timestamp>) -> Bucket {
    since.map_or(Bucket::FULL, |since| Bucket::spent(rate, since))
}

fn weight(tenant: TenantId, limits: Option<&QueueLimits>) -> u64 {
    let weights = limits.filter(|limits| !limits.weights.is_empty());
    u64::from(weights.map_or(1, |limits| limits.weight(tenant).max(1)))
}

fn charge(micros: u64, weight: u64) -> u64 {
    if planted(Fault::Free) {
        return 0;
    }
    if planted(Fault::WeightUpsideDown) {
        return micros * SCALE * weight;
    }
    micros * SCALE / weight
}

/// The estimate after one more.
fn estimated(before: u64, spent: u64) -> u64 {
    if before == 0 {
        return spent;
    }
    let change = (spent as i64 - before as i64) / ESTIMATE_SHARE;
    before.saturating_add_signed(change).max(COST_MIN)
}

/// What was used in the last minutes.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    minute: i64,
    micros: [u64; USED_MINUTES],
}

impl Used {
    fn add(&mut self, now: Timestamp, micros: u64) {
        let minute = now.secs().div_euclid(60);
        if minute != self.minute {
            for at in 0..USED_MINUTES as i64 {
                // A clock that was set back begins anew.
                let kept = (0..USED_MINUTES as i64).contains(&(minute - self.minute));
                let passed = (self.minute + 1..=minute).contains(&(minute - at));
                if passed || !kept {
                    self.micros[slot(minute - at)] = 0;
                }
            }
            self.minute = minute;
        }
        self.micros[slot(minute)] += micros;
    }

    fn sum(&self, now: Timestamp) -> u64 {
        let oldest = now.secs().div_euclid(60) - USED_MINUTES as i64;
        let minutes = (self.minute - USED_MINUTES as i64 + 1)..=self.minute;
        minutes
            .filter(|minute| *minute > oldest)
            .map(|minute| self.micros[slot(minute)])
            .sum()
    }
}

fn slot(minute: i64) -> usize {
    minute.rem_euclid(USED_MINUTES as i64) as usize
}

#[cfg(test)]
mod tests {
    use mainstay_domain::time::SeededRandom;

    use super::*;

    #[test]
    fn what_was_used_is_known_for_five_minutes() {
        let mut used = Used::default();
        let minute = |minute: i64| Timestamp::from_secs(minute * 60 + 7);
        used.add(minute(100), 5);
        used.add(minute(102), 7);
        assert_eq!(used.sum(minute(102)), 12);
        assert_eq!(used.sum(minute(104)), 12);
        assert_eq!(used.sum(minute(105)), 7);
        used.add(minute(106), 1);
        assert_eq!(used.sum(minute(106)), 8);
        used.add(minute(300), 2);
        assert_eq!(used.sum(minute(300)), 2);
        used.add(minute(50), 3);
        assert_eq!(used.sum(minute(50)), 3);
    }

    #[test]
    fn tenants_that_come_and_go_are_forgotten() {
        let mut shares = Shares::default();
        let mut now = Timestamp::from_secs(1_000_000);
        let random = SeededRandom::new(1);
        for _ in 0..50_000 {
            let tenant = TenantId::new(now, &random);
            shares.start(tenant, now, None);
            shares.end(tenant, 1, Some(1_000), now.plus_ms(1), None);
            now = now.plus_ms(10);
            shares.idle();
            assert!(shares.len() <= 2 * (USED_MAX + SWEEP_MIN));
        }
    }

    #[test]
    fn whoever_is_forgotten_gets_no_more_than_its_rate() {
        let rate = Rate {
            count: 1,
            per_ms: 86_400_000,
            burst: 1,
        };
        let limits = QueueLimits {
            tenant_rate: Some(rate),
            ..QueueLimits::default()
        };
        let mut shares = Shares::default();
        let now = Timestamp::from_secs(1_000_000);
        let random = SeededRandom::new(1);
        let tenants: Vec<TenantId> = (0..3 * IDLE_MAX)
            .map(|_| TenantId::new(now, &random))
            .collect();
        assert!(shares.standing(tenants[0], now, Some(&limits)).may);
        for tenant in &tenants {
            shares.start(*tenant, now, Some(&limits));
            shares.end(*tenant, 1, Some(1_000), now, Some(&limits));
            assert!(shares.len() <= 2 * (IDLE_MAX + SWEEP_MIN) + 1);
        }
        for tenant in tenants {
            let standing = shares.standing(tenant, now.plus_ms(60_000), Some(&limits));
            assert!(!standing.may, "{tenant} was let in a second time");
        }
    }
}
