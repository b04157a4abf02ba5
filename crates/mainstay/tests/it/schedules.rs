//! Schedules: one job for each tick, whoever looks, whatever dies, and whatever the clock does.

use std::sync::Arc;

use mainstay::{
    jobs,
    schedules::{self, Schedules},
};
use mainstay_domain::{
    Clock, JobId, ScheduleId, Scope, Store, StoreExt, Timestamp,
    jobs::{Attempt, Job, JobFilter, Outcome, QueueNumber},
    schedules::{
        Misfire, Overlap, Policy, Schedule, ScheduleStep, ScheduleTick, TickOutcome,
        scheduled::Scheduled,
    },
};
use mainstay_testkit::{FailingStore, on_both};

use crate::world::{START, World};

const SYSTEM: Scope = Scope::System("tests");
const JOBS: &str = "SELECT count(*) FROM job";
/// Ticks that made a job, and how many jobs there are of them: the same unless one was made twice.
const RUNS: &str = "SELECT count(*) FROM schedule_tick WHERE outcome = 0";
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// A world with schedules in it.
struct Ticking {
    world: World,
    queue: QueueNumber,
    schedules: Schedules,
}

impl Ticking {
    async fn new(store: Arc<dyn Store>) -> Self {
        let world = World::new(store).await;
        let queue = world.store.transact(SYSTEM, |tx| {
            Box::pin(async move { tx.queue_ensure(jobs::NOOP_QUEUE).await })
        });
        let queue = queue.await.expect("there is one");
        let schedules = Self::another(&world, &world.store);
        Self {
            world,
            queue,
            schedules,
        }
    }

    /// Another node that looks.
    fn another(world: &World, store: &Arc<dyn Store>) -> Schedules {
        let (store, clock) = (Arc::clone(store), Arc::clone(&world.clock));
        Schedules::new(store, clock, Arc::clone(&world.random) as _)
    }

    fn schedule(&self, name: &str, cron: &str, policy: Policy) -> Schedule {
        let now = self.world.clock.now();
        let mut schedule = Schedule {
            id: ScheduleId::new(now, &*self.world.random),
            tenant: self.world.tenant,
            name: name.into(),
            cron: cron.into(),
            zone: "UTC".into(),
            kind: jobs::NOOP.into(),
            endpoint: None,
            queue: self.queue,
            payload: Some(r#"{"what":"analytics"}"#.into()),
            retry: None,
            policy,
            paused: false,
            next_tick: None,
            next_at: None,
            last_tick: None,
            last_job: None,
            created_at: now,
            updated_at: now,
            revision: 0,
        };
        let rule = schedules::rule(&schedule).expect("an expression");
        schedules::begin(&mut schedule, &rule, now);
        schedule
    }

    async fn add(&self, cron: &str, policy: Policy) -> ScheduleId {
        let schedule = self.schedule("one", cron, policy);
        let id = schedule.id;
        self.insert(vec![schedule]).await;
        id
    }

    async fn insert(&self, schedules: Vec<Schedule>) {
        let inserted = self.world.store.transact(SYSTEM, move |tx| {
            let schedules = schedules.clone();
            Box::pin(async move {
                for one in &schedules {
                    tx.schedule_insert(one).await?;
                }
                Ok(())
            })
        });
        inserted.await.expect("they are added");
    }

    /// Time goes by, and what is due is done.
    async fn after(&self, ms: i64) {
        self.world.clock.advance_ms(ms);
        self.round().await;
    }

    async fn round(&self) {
        self.schedules.round(|| true).await.expect("it looks");
    }

    async fn get(&self, id: ScheduleId) -> Schedule {
        let found = self.world.store.read(SYSTEM, move |tx| {
            Box::pin(async move { tx.schedule_get(id).await })
        });
        found.await.expect("it is read").expect("it is there")
    }

    /// Newest first.
    async fn ticks(&self, id: ScheduleId) -> Vec<ScheduleTick> {
        let tenant = self.world.tenant;
        let found = self.world.store.read(SYSTEM, move |tx| {
            Box::pin(async move { tx.tick_list(tenant, id, None, 10_000).await })
        });
        found.await.expect("they are read")
    }

    /// The ticks that ran, oldest first, in minutes since the start.
    async fn ran(&self, id: ScheduleId) -> Vec<i64> {
        let ticks = self.ticks(id).await;
        let ran = ticks.iter().filter(|one| one.outcome == TickOutcome::Run);
        let mut ran: Vec<i64> = ran
            .map(|one| one.tick.ms_since(START) / MINUTE_MS)
            .collect();
        ran.reverse();
        ran
    }

    async fn jobs(&self) -> Vec<Job> {
        let found = self.world.store.read(SYSTEM, |tx| {
            Box::pin(async move { tx.job_list(&JobFilter::default(), 10_000).await })
        });
        found.await.expect("they are listed")
    }

    /// Each tick that ran has one job, and each job its tick.
    async fn exactly_once(&self) {
        assert_eq!(self.world.count(JOBS).await, self.world.count(RUNS).await);
    }

    async fn end(&self, job: JobId) {
        let (tenant, queue, now) = (self.world.tenant, self.queue, self.world.clock.now());
        let attempt = Attempt {
            tenant,
            job,
            attempt: 1,
            tries: 1,
            queue,
            outcome: Outcome::Succeeded,
            started_at: now,
            finished_at: now,
            next_at: None,
            category: None,
            code: None,
            error: None,
            status: None,
            exchange: None,
            by: None,
        };
        let settled = self.world.store.transact(SYSTEM, move |tx| {
            let attempt = attempt.clone();
            Box::pin(async move { tx.attempt_settle(&[attempt], None).await })
        });
        settled.await.expect("it ends");
    }
}

/// The tests begin at 17:46:40: seconds to the next minute that is full.
const TO_MINUTE_MS: i64 = 20_000;

fn policy(misfire: Misfire, overlap: Overlap) -> Policy {
    Policy {
        misfire,
        overlap,
        ..Policy::default()
    }
}

on_both!(
    a_job_is_made_when_its_tick_comes_and_is_told_of_it,
    |db| async {
        let all = Ticking::new(db.store()).await;
        let id = all.add("* * * * *", Policy::default()).await;
        all.after(TO_MINUTE_MS - 1).await;
        assert_eq!(all.jobs().await.len(), 0);
        let pause = all.schedules.round(|| true).await.expect("it looks");
        assert!(pause.as_millis() <= 10, "it wakes for the tick: {pause:?}");
        all.after(1).await;
        all.round().await;
        let jobs = all.jobs().await;
        assert_eq!(jobs.len(), 1);
        assert_eq!(
            (&*jobs[0].kind, &*jobs[0].queue),
            (jobs::NOOP, jobs::NOOP_QUEUE)
        );
        let told = jobs[0].payload.clone().expect("it is told");
        let told = Scheduled::read(&told).expect("of its tick");
        let tick = START.plus_ms(TO_MINUTE_MS);
        assert_eq!((told.schedule_id, told.tick()), (id, Some(tick)));
        assert_eq!(told.scheduled_for, "2030-03-17T17:47:00Z");
        assert_eq!(told.local, "2030-03-17T17:47:00+00:00");
        assert!(!told.by_hand);
        let own = told.payload.expect("its own payload");
        assert_eq!(own.get(), r#"{"what":"analytics"}"#);
        let schedule = all.get(id).await;
        assert_eq!(schedule.next_tick, Some(tick.plus_ms(MINUTE_MS)));
        assert_eq!(schedule.last_job, Some(jobs[0].id));
        all.after(MINUTE_MS).await;
        assert_eq!(all.jobs().await.len(), 2);
        all.exactly_once().await;
    }
);

on_both!(
    killed_anywhere_each_tick_has_one_job_in_the_end,
    |db| async {
        let all = Ticking::new(db.store()).await;
        let id = all
            .add("* * * * *", policy(Misfire::All, Overlap::Allow))
            .await;
        let failing = Arc::new(FailingStore::new(Arc::clone(&all.world.store)));
        let through = Arc::clone(&failing) as Arc<dyn Store>;
        for round in 0..8 {
            all.world.clock.advance_ms(MINUTE_MS);
            // By turns the commit does not happen, and its answer is lost.
            match round % 2 {
                0 => failing.fail_before(1),
                _ => failing.fail_after(1),
            }
            // A process that knows only what is written, and dies.
            let node = Ticking::another(&all.world, &through);
            assert!(node.round(|| true).await.is_err());
            if round % 3 == 0 {
                all.round().await;
                all.exactly_once().await;
            }
        }
        all.round().await;
        all.exactly_once().await;
        assert_eq!(all.ran(id).await.len(), 8);
    }
);

on_both!(two_nodes_at_once_make_one_job_for_a_tick, |db| async {
    let all = Ticking::new(db.store()).await;
    let many =
        (0..30).map(|number| all.schedule(&format!("s{number}"), "* * * * *", Policy::default()));
    all.insert(many.collect()).await;
    let second = db.second().await;
    let other = Ticking::another(&all.world, &second);
    for _ in 0..4 {
        all.world.clock.advance_ms(MINUTE_MS);
        let (one, two) = tokio::join!(all.schedules.round(|| true), other.round(|| true));
        one.expect("it looks");
        two.expect("it looks");
    }
    all.exactly_once().await;
    assert_eq!(all.world.count(JOBS).await, 120);
});

on_both!(
    a_clock_that_jumps_makes_no_tick_run_twice_and_stops_no_schedule,
    |db| async {
        let all = Ticking::new(db.store()).await;
        let id = all
            .add("*/10 * * * *", policy(Misfire::All, Overlap::Allow))
            .await;
        // 17:50 comes; then the clock is two hours ahead, and everything in between is made up for.
        all.after(200_000).await;
        all.after(2 * HOUR_MS).await;
        assert_eq!(all.ran(id).await.len(), 13);
        // Put right again: those ticks have run, and those after them come in their time.
        all.after(-2 * HOUR_MS).await;
        for _ in 0..24 {
            all.after(10 * MINUTE_MS).await;
        }
        all.exactly_once().await;
        let ran = all.ran(id).await;
        let expected: Vec<i64> = (0..25).map(|tick| 3 + 10 * tick).collect();
        assert_eq!(ran, expected);
        // Ahead by a year while nobody looked, and put right before somebody begins to: the schedule is not asleep.
        let mut asleep = all.get(id).await;
        let year = Timestamp::from_secs(START.secs() + 365 * 86_400);
        (asleep.next_tick, asleep.next_at) = (Some(year), Some(year));
        let step = ScheduleStep {
            schedule: asleep,
            ticks: Vec::new(),
        };
        let stepped = all.world.store.transact(SYSTEM, move |tx| {
            let step = step.clone();
            Box::pin(async move { tx.schedule_step(&[step], &[]).await })
        });
        stepped.await.expect("it is written");
        let begins = Ticking::another(&all.world, &all.world.store);
        begins.round(|| true).await.expect("it looks");
        all.world.clock.advance_ms(10 * MINUTE_MS);
        begins.round(|| true).await.expect("it looks");
        assert_eq!(all.ran(id).await.len(), 26);
    }
);

on_both!(
    after_an_outage_of_days_the_misfire_policy_decides,
    |db| async {
        let all = Ticking::new(db.store()).await;
        let named = |name: &str, misfire: Misfire| {
            let policy = Policy {
                catch_up_max: 5,
                ..policy(misfire, Overlap::Allow)
            };
            all.schedule(name, "0 */6 * * *", policy)
        };
        let three = [
            named("skip", Misfire::Skip),
            named("one", Misfire::One),
            named("all", Misfire::All),
        ];
        let ids = three.clone().map(|one| one.id);
        all.insert(three.to_vec()).await;
        // Three days and a bit: twelve ticks, the last at 12:00, nearly six hours ago.
        all.after(3 * 24 * HOUR_MS).await;
        let mut made = Vec::new();
        for id in ids {
            let ticks = all.ticks(id).await;
            let missed: i64 = ticks
                .iter()
                .filter(|one| one.outcome == TickOutcome::Missed)
                .map(|one| one.count)
                .sum();
            made.push((all.ran(id).await.len(), missed));
        }
        assert_eq!(made, [(0, 12), (1, 11), (5, 7)]);
        let newest = all.ticks(ids[1]).await[0].clone();
        assert_eq!(newest.outcome, TickOutcome::Run, "the latest of them");
        all.exactly_once().await;
    }
);

on_both!(
    while_the_last_run_goes_on_the_overlap_policy_decides,
    |db| async {
        let all = Ticking::new(db.store()).await;
        let skips = all.schedule("skips", "* * * * *", policy(Misfire::One, Overlap::Skip));
        let waits = all.schedule("waits", "* * * * *", policy(Misfire::One, Overlap::Wait));
        let (skips_id, waits_id) = (skips.id, waits.id);
        all.insert(vec![skips, waits]).await;
        for _ in 0..4 {
            all.after(MINUTE_MS).await;
        }
        assert_eq!(all.jobs().await.len(), 2, "of each the first");
        let outcomes: Vec<_> = all
            .ticks(skips_id)
            .await
            .iter()
            .map(|one| one.outcome)
            .collect();
        let left_out = TickOutcome::Overlapped;
        assert_eq!(outcomes, [left_out, left_out, left_out, TickOutcome::Run]);
        for job in all.jobs().await {
            all.end(job.id).await;
        }
        // What waited runs soon, not a minute later.
        all.after(15_000).await;
        assert_eq!(all.ran(waits_id).await, [0, 3]);
        assert_eq!(all.ran(skips_id).await, [0]);
        all.after(40_000).await;
        assert_eq!(all.ran(skips_id).await, [0, 4]);
        all.exactly_once().await;
    }
);

on_both!(
    jitter_puts_a_run_off_and_its_tick_stays_what_it_is,
    |db| async {
        let all = Ticking::new(db.store()).await;
        let jitter = Policy {
            jitter_ms: 50_000,
            ..Policy::default()
        };
        let many = (0..40).map(|number| all.schedule(&format!("s{number}"), "* * * * *", jitter));
        all.insert(many.collect()).await;
        all.after(TO_MINUTE_MS).await;
        let at_once = all.world.count(JOBS).await;
        all.after(25_000).await;
        let then = all.world.count(JOBS).await;
        all.after(25_000).await;
        assert_eq!(all.world.count(JOBS).await, 40);
        assert!(
            at_once < 10 && (10..=30).contains(&then),
            "{at_once}, {then}"
        );
        let tick = START.plus_ms(TO_MINUTE_MS).micros();
        let of_it = format!("SELECT count(*) FROM schedule_tick WHERE tick = {tick}");
        assert_eq!(all.world.count(&of_it).await, 40);
    }
);

on_both!(a_person_runs_one_now_whatever_its_rule_says, |db| async {
    let all = Ticking::new(db.store()).await;
    let id = all
        .add("0 3 1 1 *", policy(Misfire::One, Overlap::Skip))
        .await;
    let schedule = all.get(id).await;
    let rule = schedules::rule(&schedule).expect("a rule");
    let now = all.world.clock.now();
    let run = schedules::run_now(&schedule, &rule, now, &*all.world.random);
    let (tick, job) = run.expect("a run");
    let ran = all.world.store.transact(SYSTEM, move |tx| {
        let (tick, job) = (tick.clone(), job.clone());
        Box::pin(async move { tx.schedule_run(&tick, &job).await })
    });
    ran.await.expect("it runs");
    let after = all.get(id).await;
    assert_eq!(after.next_tick, schedule.next_tick, "the rule goes on");
    let told = all.jobs().await[0].payload.clone().expect("it is told");
    assert!(Scheduled::read(&told).expect("of its tick").by_hand);
    assert_eq!(all.ticks(id).await[0].outcome, TickOutcome::ByHand);
});

on_both!(
    a_schedule_whose_zone_nobody_knows_holds_up_no_other,
    |db| async {
        let all = Ticking::new(db.store()).await;
        let mut lost = all.schedule("lost", "* * * * *", Policy::default());
        lost.zone = "Mars/Olympus".into();
        let well = all.schedule("well", "* * * * *", Policy::default());
        let (lost_id, well_id) = (lost.id, well.id);
        all.insert(vec![lost, well]).await;
        all.after(TO_MINUTE_MS).await;
        assert_eq!(all.ran(well_id).await.len(), 1);
        let later = all
            .get(lost_id)
            .await
            .next_at
            .expect("it is looked at again");
        assert!(later > all.world.clock.now());
    }
);

on_both!(
    ten_thousand_schedules_cost_what_is_due_and_no_more,
    |db| async {
        let all = Ticking::new(db.store()).await;
        for thousand in 0..10 {
            // Three of a hundred come every minute, the others in the night.
            let of = (0..1_000).map(|number| {
                let cron = if number % 100 < 3 {
                    "* * * * *"
                } else {
                    "0 3 * * *"
                };
                all.schedule(&format!("s{thousand}-{number}"), cron, Policy::default())
            });
            all.insert(of.collect()).await;
        }
        all.round().await;
        let counting = Arc::new(FailingStore::new(Arc::clone(&all.world.store)));
        let node = Ticking::another(&all.world, &(Arc::clone(&counting) as _));
        all.world.clock.advance_ms(TO_MINUTE_MS);
        node.round(|| true).await.expect("it looks");
        assert_eq!(all.world.count(JOBS).await, 300);
        assert_eq!(counting.count(), 3, "a commit for a hundred that are due");
        node.round(|| true).await.expect("it looks");
        assert_eq!(counting.count(), 3, "none for those that are not");
    }
);
