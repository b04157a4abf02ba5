//! Fairness in simulated time: a queue with so many places, tenants with so much to do, nothing that goes wrong.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use mainstay_domain::{
    JobId, Random, Timestamp,
    jobs::{JobRef, Loss, QueueLimits},
    time::SeededRandom,
};

use super::{
    super::{
        QueueSettings,
        due::Places,
        queue::{Pick, Queue, Timetable},
    },
    model::tenant,
};

/// No attempt of these worlds takes longer, in microseconds.
const COST_MAX: u64 = 60_000;

/// A queue, and what runs of it.
struct Bench {
    queue: Queue,
    now: i64,
    number: u128,
    whose: BTreeMap<JobId, u64>,
    running: BinaryHeap<Reverse<(i64, u64, i64)>>,
    /// Worker time by tenant, in microseconds, of attempts that have ended.
    worked: BTreeMap<u64, u64>,
    ended: BTreeMap<u64, usize>,
}

impl Bench {
    fn new(places: u32, weights: &[(u64, u32)]) -> Self {
        let limits = QueueLimits {
            weights: weights
                .iter()
                .map(|(number, weight)| (tenant(*number), *weight))
                .collect(),
            ..QueueLimits::default()
        };
        let mut bench = Self {
            queue: Queue::default(),
            now: 1_800_000_000_000_000,
            number: 0,
            whose: BTreeMap::new(),
            running: BinaryHeap::new(),
            worked: BTreeMap::new(),
            ended: BTreeMap::new(),
        };
        let settings = QueueSettings {
            max_in_flight: places,
            limits,
            ..QueueSettings::orphaned()
        };
        bench.queue.set(settings, bench.time());
        bench
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    fn job(&mut self, of: u64) {
        let job = self.made(of);
        self.queue.offer_fresh(&job, usize::MAX, self.time());
    }

    fn made(&mut self, of: u64) -> JobRef {
        self.number += 1;
        let job = JobRef {
            tenant: tenant(of),
            job: JobId::from_uuid(uuid::Uuid::from_u128(self.number)),
            queue: 1,
            band: 0,
            due: None,
            deadline: None,
            attempt: 0,
            tries: 0,
            loss: Loss::None,
            ordered: false,
        };
        self.whose.insert(job.job, of);
        job
    }

    /// Starts what may start.
    fn start(&mut self, cost: &mut impl FnMut(u64, i64) -> u64) {
        while self.queue.runnable(None, self.time()) {
            let job = self.queue.pop(Pick::Ordinary, None, self.time());
            let job = job.expect("what is runnable has a job");
            let of = self.whose.remove(&job).expect("it was offered");
            let takes = cost(of, self.now) as i64;
            self.running.push(Reverse((self.now + takes, of, takes)));
        }
    }

    /// Ends the attempt that ends next, if there is one.
    fn end(&mut self) -> Option<u64> {
        let Reverse((at, of, took)) = self.running.pop()?;
        self.now = at;
        self.queue
            .vacate(tenant(of), 1, Some(took.unsigned_abs()), self.time());
        *self.worked.entry(of).or_default() += took.unsigned_abs();
        *self.ended.entry(of).or_default() += 1;
        Some(of)
    }
}

/// Tenants that always have something to do, each with attempts of its own length, by chance: what they got differs by no
/// more than what can be under way at once.
pub(super) fn of_backlogged(seed: u64) {
    let random = SeededRandom::new(seed);
    let places = 1 + random.below(20) as u32;
    let tenants = 2 + random.below(5);
    let weights: Vec<(u64, u32)> = (0..tenants)
        .map(|of| (of, 1 + random.below(4) as u32))
        .collect();
    let means: Vec<u64> = (0..tenants)
        .map(|_| 1_000 + random.below(COST_MAX / 2))
        .collect();
    let mut bench = Bench::new(places, &weights);
    let in_phases = random.below(2) == 0;
    let mut cost = |of: u64, now: i64| {
        if in_phases {
            // Now short ones, now long ones, and no two tenants alike.
            let long = (now / 4_000_000 + of as i64) % 2 == 0;
            return if long { COST_MAX } else { 1_000 };
        }
        let mean = means[of as usize];
        (mean / 2 + random.below(mean)).min(COST_MAX)
    };
    for of in 0..tenants {
        for _ in 0..=places {
            bench.job(of);
        }
    }
    for step in 0..6_000 {
        bench.start(&mut cost);
        let of = bench.end().expect("somebody always runs");
        bench.job(of);
        if step > 200 {
            assert_fair(&bench, &weights, places, &BTreeMap::new(), seed);
        }
    }
}

/// One that was there for a while, was away and comes back gets its share from then on, and no more.
pub(super) fn of_returning(seed: u64) {
    let random = SeededRandom::new(seed);
    let places = 1 + random.below(8) as u32;
    let weights = [(0, 1), (1, 1)];
    let mut bench = Bench::new(places, &weights);
    let mut cost = |_, _| 1_000 + random.below(20_000);
    for _ in 0..=places {
        bench.job(0);
    }
    bench.job(1);
    for _ in 0..2_000 {
        bench.start(&mut cost);
        if bench.end() == Some(0) {
            bench.job(0);
        }
    }
    let before = bench.worked.clone();
    for _ in 0..=places {
        bench.job(1);
    }
    for _ in 0..2_000 {
        bench.start(&mut cost);
        let of = bench.end().expect("somebody always runs");
        bench.job(of);
        assert_fair(&bench, &weights, places, &before, seed);
    }
}

fn assert_fair(
    bench: &Bench,
    weights: &[(u64, u32)],
    places: u32,
    before: &BTreeMap<u64, u64>,
    seed: u64,
) {
    let got = |(of, weight): &(u64, u32)| {
        let since = before.get(of).copied().unwrap_or_default();
        let worked = bench.worked.get(of).copied().unwrap_or_default() - since;
        worked as f64 / f64::from(*weight)
    };
    // One attempt for each place was charged before its length was known, and as many have not ended.
    let most = 2.0 * f64::from(places + 1) * COST_MAX as f64;
    for one in weights {
        for other in weights {
            let bound = most * (1.0 / f64::from(one.1) + 1.0 / f64::from(other.1));
            let apart = (got(one) - got(other)).abs();
            assert!(
                apart <= bound,
                "seed {seed}: {one:?} and {other:?} are {apart} µs apart, {bound} are allowed"
            );
        }
    }
}

/// When the last of the small ones' jobs has ended, after they came, in microseconds.
fn small_ones_take(big: usize) -> i64 {
    let mut bench = Bench::new(50, &[]);
    let mut cost = |_, _| 20_000;
    for _ in 0..big {
        bench.job(0);
    }
    // The big one has all the places when the others come.
    for _ in 0..500.min(big) {
        bench.start(&mut cost);
        bench.end();
    }
    let begin = bench.now;
    for _ in 0..10 {
        for of in 1..100 {
            bench.job(of);
        }
    }
    let mut left = 990;
    while left > 0 {
        bench.start(&mut cost);
        let of = bench.end().expect("somebody runs");
        left -= usize::from(of > 0);
    }
    bench.now - begin
}

#[test]
fn ninety_nine_tenants_finish_as_if_the_one_with_a_million_jobs_were_not_there() {
    let alone = small_ones_take(0);
    let beside = small_ones_take(20_000);
    assert!(
        beside as f64 <= alone as f64 * 1.1,
        "{beside} µs beside it, {alone} µs alone"
    );
}

#[test]
fn whoever_has_something_to_do_gets_its_share_of_worker_time() {
    for seed in 0..60 {
        of_backlogged(seed);
        of_returning(seed);
    }
}

#[test]
fn a_tenant_that_takes_turns_with_none_keeps_nothing_in_memory() {
    let mut bench = Bench::new(4, &[]);
    for number in 0..5_000 {
        bench.job(number);
        bench.start(&mut |_, _| 1_000);
        bench.end();
    }
    assert!(bench.queue.shares.len() < 1_000);
    assert_eq!(bench.ended.len(), 5_000);
}

/// A tenant at its limit has as many due jobs as it likes: another's, due later, begins as soon as it is due.
#[test]
fn whoever_may_not_start_leaves_the_places_of_due_jobs_to_others() {
    let places = Places {
        all: 100,
        reserve: 4,
    };
    let mut bench = Bench::new(10, &[]);
    let settings = QueueSettings {
        limits: QueueLimits {
            tenant_max_in_flight: Some(1),
            ..QueueLimits::default()
        },
        ..bench.queue.settings.clone().expect("it has settings")
    };
    bench.queue.set(settings, bench.time());
    let mut begun = Vec::new();
    for (of, count) in [(1, 5_000), (2, 5_000), (3, 1)] {
        for _ in 0..count {
            let job = JobRef {
                due: Some(bench.time()),
                ..bench.made(of)
            };
            bench
                .queue
                .push_due(Timetable::Delayed, &job, places, bench.time());
        }
        while bench.queue.runnable(None, bench.time()) {
            let job = bench.queue.pop(Pick::Ordinary, None, bench.time());
            begun.extend(job.and_then(|job| bench.whose.remove(&job)));
        }
    }
    assert_eq!(begun, [1, 2, 3]);
    let left = |of| {
        let due = &bench.queue.due;
        due.left_from(tenant(of), Timetable::Delayed).is_some()
    };
    assert_eq!([1, 2, 3].map(left), [true, true, false]);
}
