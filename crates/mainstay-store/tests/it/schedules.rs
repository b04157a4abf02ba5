//! Schedules and their ticks: one row and one job for a tick, whoever comes second, and only to whom they belong.

use bytes::Bytes;
use mainstay_domain::{
    JobId, ScheduleId, StoreError, StoreExt, StoreResult, Timestamp,
    jobs::{JobFilter, NewJob},
    schedules::{
        Misfire, Overlap, Policy, Schedule, ScheduleFilter, ScheduleStep, ScheduleTick, TickOutcome,
    },
};
use mainstay_testkit::on_both;

use crate::kit::{BEGIN, SYSTEM, World, run};

impl World {
    pub(crate) fn schedule(&self, name: &str) -> Schedule {
        Schedule {
            id: ScheduleId::new(BEGIN, &*self.random),
            tenant: self.tenant,
            name: name.to_owned(),
            cron: "0 2 * * *".into(),
            zone: "Europe/Berlin".into(),
            kind: "noop".into(),
            endpoint: None,
            queue: self.queue,
            payload: Some(r#"{"config":"a"}"#.into()),
            retry: None,
            policy: Policy {
                misfire: Misfire::All,
                overlap: Overlap::Wait,
                jitter_ms: 7,
                ..Policy::default()
            },
            paused: false,
            next_tick: Some(self.at(1_000)),
            next_at: Some(self.at(1_007)),
            last_tick: None,
            last_job: None,
            created_at: BEGIN,
            updated_at: BEGIN,
            revision: 0,
        }
    }

    async fn add(&self, schedule: &Schedule) -> StoreResult<()> {
        run!(self.store, self.scope(), [schedule], |tx| tx
            .schedule_insert(&schedule))
    }

    async fn get(&self, id: ScheduleId) -> Option<Schedule> {
        run!(self.store, self.scope(), [], |tx| tx.schedule_get(id)).expect("it answers")
    }

    async fn ticks(&self, id: ScheduleId) -> Vec<ScheduleTick> {
        let tenant = self.tenant;
        let listed = run!(self.store, self.scope(), [], |tx| tx
            .tick_list(tenant, id, None, 100));
        listed.expect("they are listed")
    }

    async fn jobs_made(&self) -> usize {
        let listed = run!(self.store, SYSTEM, [], |tx| async {
            tx.job_list(&JobFilter::default(), 1_000).await
        });
        listed.expect("they are listed").len()
    }
}

/// A step that runs this tick.
fn step(world: &World, schedule: &Schedule, tick: Timestamp) -> (ScheduleStep, NewJob) {
    let job = NewJob {
        id: JobId::new(tick, &*world.random),
        payload: Some(Bytes::from_static(b"{}")),
        ..world.job(0)
    };
    let step = ScheduleStep {
        schedule: Schedule {
            next_tick: Some(tick.plus_ms(60_000)),
            next_at: Some(tick.plus_ms(60_000)),
            last_tick: Some(tick),
            last_job: Some(job.id),
            ..schedule.clone()
        },
        ticks: vec![ScheduleTick {
            tenant: schedule.tenant,
            schedule: schedule.id,
            tick,
            outcome: TickOutcome::Run,
            job: Some(job.id),
            since: None,
            count: 1,
            decided_at: tick,
        }],
    };
    (step, job)
}

async fn take(world: &World, steps: Vec<(ScheduleStep, NewJob)>) -> StoreResult<Vec<bool>> {
    let (steps, jobs): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
    run!(world.store, SYSTEM, [steps, jobs], |tx| tx
        .schedule_step(&steps, &jobs))
}

on_both!(a_schedule_is_found_as_it_was_written, |db| async {
    let world = World::new(db).await;
    let mut schedule = world.schedule("daily");
    world.add(&schedule).await.expect("it is added");
    assert_eq!(world.get(schedule.id).await.as_ref(), Some(&schedule));
    let twice = Schedule {
        id: ScheduleId::new(BEGIN, &*world.random),
        ..schedule.clone()
    };
    let refused = world.add(&twice).await;
    assert!(
        matches!(refused, Err(StoreError::Conflict { .. })),
        "{refused:?}"
    );
    schedule.cron = "@hourly".into();
    schedule.paused = true;
    (schedule.next_tick, schedule.next_at) = (None, None);
    let change = schedule.clone();
    run!(world.store, world.scope(), [change], |tx| tx
        .schedule_update(&change))
    .expect("it changes");
    schedule.revision += 1;
    assert_eq!(world.get(schedule.id).await.as_ref(), Some(&schedule));
    // From what was read before the change nothing is changed.
    let late = run!(world.store, world.scope(), [change], |tx| tx
        .schedule_update(&change));
    assert!(matches!(late, Err(StoreError::Conflict { .. })), "{late:?}");
    let (tenant, id) = (world.tenant, schedule.id);
    let gone = run!(world.store, world.scope(), [], |tx| tx
        .schedule_delete(tenant, id));
    assert!(gone.expect("it answers"));
    assert_eq!(world.get(id).await, None);
});

on_both!(lists_are_the_newest_first_and_go_on_by_id, |db| async {
    let world = World::new(db).await;
    for name in ["a", "b", "c"] {
        world.add(&world.schedule(name)).await.expect("it is added");
    }
    let list = |filter: ScheduleFilter, limit: i64| {
        let (store, scope) = (world.store.clone(), world.scope());
        async move {
            let listed = run!(store, scope, [filter], |tx| tx
                .schedule_list(&filter, limit));
            listed.expect("they are listed")
        }
    };
    let first = list(ScheduleFilter::default(), 2).await;
    let rest = list(
        ScheduleFilter {
            before: first.last().map(|one| one.id),
            ..ScheduleFilter::default()
        },
        2,
    )
    .await;
    assert_eq!((first.len(), rest.len()), (2, 1));
    assert!(first[0].id > first[1].id && first[1].id > rest[0].id);
    let named = ScheduleFilter {
        name: Some("b".into()),
        ..ScheduleFilter::default()
    };
    assert_eq!(list(named, 10).await[0].name, "b");
    let tenant = world.tenant;
    let count = run!(world.store, world.scope(), [], |tx| tx
        .schedule_count(tenant));
    assert_eq!(count.expect("it answers"), 3);
});

on_both!(
    what_is_due_comes_first_and_the_rest_not_at_all,
    |db| async {
        let world = World::new(db).await;
        let late = world.schedule("late");
        let mut later = world.schedule("later");
        (later.next_tick, later.next_at) = (Some(world.at(500)), Some(world.at(600)));
        let mut paused = world.schedule("paused");
        (paused.next_tick, paused.next_at) = (None, None);
        for one in [&late, &later, &paused] {
            world.add(one).await.expect("it is added");
        }
        let due = |ms: i64, limit: i64| {
            let (store, now) = (world.store.clone(), world.at(ms));
            async move {
                let due = run!(store, SYSTEM, [], |tx| tx.schedule_due(now, limit));
                let due = due.expect("it answers");
                due.into_iter().map(|one| one.name).collect::<Vec<_>>()
            }
        };
        assert!(due(599, 10).await.is_empty());
        assert_eq!(due(600, 10).await, ["later"]);
        assert_eq!(due(5_000, 10).await, ["later", "late"]);
        assert_eq!(due(5_000, 1).await, ["later"]);
        let next = run!(world.store, SYSTEM, [], |tx| tx.schedule_next_at());
        assert_eq!(next.expect("it answers"), Some(world.at(600)));
    }
);

on_both!(
    of_two_that_step_from_the_same_schedule_one_makes_the_job,
    |db| async {
        let world = World::new(db).await;
        let schedule = world.schedule("daily");
        world.add(&schedule).await.expect("it is added");
        let tick = world.at(1_000);
        let (one, two) = (step(&world, &schedule, tick), step(&world, &schedule, tick));
        let taken = take(&world, vec![one.clone()]).await;
        assert_eq!(taken.expect("it is taken"), [true]);
        assert_eq!(take(&world, vec![two]).await.expect("it answers"), [false]);
        assert_eq!(world.jobs_made().await, 1);
        assert_eq!(world.ticks(schedule.id).await, one.0.ticks);
        let after = world.get(schedule.id).await.expect("it is there");
        assert_eq!((after.last_job, after.revision), (Some(one.1.id), 1));
    }
);

on_both!(
    a_tick_that_has_a_row_takes_the_whole_commit_back,
    |db| async {
        let world = World::new(db).await;
        let (first, second) = (world.schedule("first"), world.schedule("second"));
        for one in [&first, &second] {
            world.add(one).await.expect("it is added");
        }
        let tick = world.at(1_000);
        take(&world, vec![step(&world, &first, tick)])
            .await
            .expect("it is taken");
        // The clock was put back: the schedule's revision is the right one, its tick is not new.
        let again = world.get(first.id).await.expect("it is there");
        let both = vec![step(&world, &second, tick), step(&world, &again, tick)];
        let refused = take(&world, both).await;
        assert!(
            matches!(refused, Err(StoreError::Conflict { .. })),
            "{refused:?}"
        );
        assert_eq!(world.jobs_made().await, 1);
        assert!(world.ticks(second.id).await.is_empty());
        let (tenant, id) = (world.tenant, first.id);
        let known = run!(world.store, world.scope(), [], |tx| tx
            .tick_known(tenant, id, tick, tick));
        assert_eq!(known.expect("it answers"), [tick]);
    }
);

on_both!(
    a_run_by_hand_is_a_row_of_its_own_and_comes_before_no_tick,
    |db| async {
        let world = World::new(db).await;
        let schedule = world.schedule("daily");
        world.add(&schedule).await.expect("it is added");
        let (step, job) = step(&world, &schedule, world.at(70));
        let tick = ScheduleTick {
            outcome: TickOutcome::ByHand,
            ..step.ticks[0].clone()
        };
        run!(world.store, world.scope(), [tick, job], |tx| tx
            .schedule_run(&tick, &job))
        .expect("it runs");
        assert_eq!(world.ticks(schedule.id).await, std::slice::from_ref(&tick));
        let after = world.get(schedule.id).await.expect("it is there");
        assert_eq!(after.next_tick, schedule.next_tick);
        assert_eq!(after.last_job, Some(job.id));
        let twice = run!(world.store, world.scope(), [tick, job], |tx| tx
            .schedule_run(&tick, &job));
        assert!(
            matches!(twice, Err(StoreError::Conflict { .. })),
            "{twice:?}"
        );
    }
);

on_both!(ticks_go_with_time_and_with_their_schedule, |db| async {
    let world = World::new(db).await;
    let schedule = world.schedule("daily");
    world.add(&schedule).await.expect("it is added");
    for second in 1..=5 {
        let now = world.get(schedule.id).await.expect("it is there");
        take(&world, vec![step(&world, &now, world.at(second * 1_000))])
            .await
            .expect("it is taken");
    }
    let until = world.at(3_000);
    let expire = |limit: i64| {
        let store = world.store.clone();
        async move { run!(store, SYSTEM, [], |tx| tx.tick_expire(until, limit)).expect("they go") }
    };
    assert_eq!(
        (expire(1).await, expire(10).await, expire(10).await),
        (1, 1, 0)
    );
    let left = world.ticks(schedule.id).await;
    let times: Vec<_> = left.iter().map(|one| one.tick).collect();
    assert_eq!(times, [world.at(5_000), world.at(4_000), world.at(3_000)]);
    let (tenant, id) = (world.tenant, schedule.id);
    run!(world.store, world.scope(), [], |tx| tx
        .schedule_delete(tenant, id))
    .expect("it goes");
    assert!(world.ticks(id).await.is_empty());
    assert_eq!(world.jobs_made().await, 5, "its jobs stay");
});

on_both!(a_neighbour_has_nothing_to_do_with_a_schedule, |db| async {
    let store = db.store();
    let anna = World::named(&store, "anna", 1).await;
    let ben = World::named(&store, "ben", 2).await;
    let schedule = anna.schedule("daily");
    anna.add(&schedule).await.expect("it is added");
    let (step, job) = step(&anna, &schedule, anna.at(1_000));
    take(&anna, vec![(step.clone(), job.clone())])
        .await
        .expect("it is taken");
    let (scope, tenant, id) = (ben.scope(), anna.tenant, schedule.id);
    assert_eq!(ben.get(id).await, None);
    let listed = run!(store, scope, [], |tx| async {
        tx.schedule_list(&ScheduleFilter::default(), 10).await
    });
    assert!(listed.expect("it answers").is_empty());
    let refused = |result: StoreResult<()>, verb: &str| {
        assert!(
            matches!(result, Err(StoreError::OutOfScope)),
            "{verb}: {result:?}"
        );
    };
    let mut tick = step.ticks[0].clone();
    refused(
        run!(store, scope, [schedule], |tx| tx.schedule_insert(&schedule)),
        "schedule_insert",
    );
    refused(
        run!(store, scope, [schedule], |tx| tx.schedule_update(&schedule)),
        "schedule_update",
    );
    refused(
        run!(store, scope, [], |tx| async {
            tx.schedule_delete(tenant, id).await.map(|_| ())
        }),
        "schedule_delete",
    );
    refused(
        run!(store, scope, [tick, job], |tx| tx.schedule_run(&tick, &job)),
        "schedule_run",
    );
    refused(
        run!(store, scope, [], |tx| async {
            tx.tick_list(tenant, id, None, 10).await.map(|_| ())
        }),
        "tick_list",
    );
    refused(
        run!(store, scope, [], |tx| async {
            tx.schedule_due(BEGIN, 10).await.map(|_| ())
        }),
        "schedule_due",
    );
    refused(
        run!(store, scope, [step], |tx| async {
            tx.schedule_step(std::slice::from_ref(&step), &[])
                .await
                .map(|_| ())
        }),
        "schedule_step",
    );
    // What pretends to be their own finds nothing.
    tick.tenant = ben.tenant;
    let mut job = job.clone();
    job.tenant = ben.tenant;
    let stolen = run!(store, scope, [tick, job], |tx| tx.schedule_run(&tick, &job));
    assert!(
        matches!(stolen, Err(StoreError::Conflict { .. })),
        "{stolen:?}"
    );
    assert_eq!(anna.ticks(id).await.len(), 1);
});
