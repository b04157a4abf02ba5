//! Deadlines are told with a job wherever it is read, and end when somebody runs it again.

use mainstay_domain::{
    JobId, StoreExt, Timestamp,
    jobs::{Attempt, Cursor, DueKey, JobOrder, JobRef, Lane, LineEnd, NewJob, OnDead, Outcome},
};
use mainstay_testkit::on_both;

use crate::kit::{SYSTEM, World, attempt, letter, run};

fn with_deadline(world: &World, ms: i64, deadline: i64) -> NewJob {
    NewJob {
        deadline: Some(world.at(deadline)),
        ..world.job(ms)
    }
}

fn deadlines(jobs: &[JobRef]) -> Vec<(JobId, Option<Timestamp>)> {
    let mut all: Vec<_> = jobs.iter().map(|job| (job.job, job.deadline)).collect();
    all.sort_unstable();
    all
}

fn of(jobs: &[&NewJob]) -> Vec<(JobId, Option<Timestamp>)> {
    let mut all: Vec<_> = jobs.iter().map(|job| (job.id, job.deadline)).collect();
    all.sort_unstable();
    all
}

on_both!(a_deadline_is_read_with_its_job_everywhere, |db| async {
    let world = World::new(db).await;
    let (plain, urgent) = (world.job(1), with_deadline(&world, 2, 5_000));
    let mut later = with_deadline(&world, 3, 9_000);
    later.run_at = Some(world.at(8_000));
    let failed = with_deadline(&world, 4, 7_000);
    let all = [&plain, &urgent, &later, &failed];
    world.insert(all.map(Clone::clone).to_vec()).await;

    let nothing = Cursor::default();
    for recovering in [false, true] {
        let found = run!(world.store, SYSTEM, [nothing], |tx| tx
            .job_discover(&nothing, recovering, 100));
        let found = found.expect("a look");
        assert_eq!(deadlines(&found.jobs), of(&all), "{recovering}");
    }
    world
        .settle(vec![Attempt {
            next_at: Some(world.at(6_000)),
            ..attempt(&failed, 1, Outcome::Failed)
        }])
        .await;
    let (_, cursor) = world.discover(Cursor::default(), 100).await;
    let (queue, tenant, until) = (world.queue, world.tenant, Timestamp::MAX.minus_ms(1));
    let lane = Lane {
        queue,
        band: 1,
        tenant,
    };
    let found = run!(world.store, SYSTEM, [cursor], |tx| tx.lane_refill(
        lane,
        JobId::NIL,
        &cursor,
        100,
        true
    ));
    let found = found.expect("a refill");
    assert_eq!(deadlines(&found.jobs), of(&[&plain, &urgent]));
    for body in &found.bodies {
        let mut jobs = [&plain, &urgent].into_iter();
        let of = jobs.find(|job| job.id == body.job).expect("one of them");
        assert_eq!(body.deadline, of.deadline, "read along");
    }
    for one in [None, Some(tenant)] {
        let found = run!(world.store, SYSTEM, [cursor], |tx| tx.delayed_refill(
            queue,
            one,
            DueKey::MIN,
            until,
            &cursor,
            100
        ));
        assert_eq!(deadlines(&found.expect("a refill")), of(&[&later]));
        let found = run!(world.store, SYSTEM, [], |tx| tx.retry_refill(
            queue,
            one,
            DueKey::MIN,
            until,
            100
        ));
        assert_eq!(deadlines(&found.expect("a refill")), of(&[&failed]));
    }
    let keys = vec![(tenant, plain.id), (tenant, urgent.id)];
    let bodies = run!(world.store, SYSTEM, [keys], |tx| tx
        .job_bodies(&keys, false));
    let mut bodies: Vec<_> = bodies
        .expect("bodies")
        .iter()
        .map(|body| (body.job, body.deadline))
        .collect();
    bodies.sort_unstable();
    assert_eq!(bodies, of(&[&plain, &urgent]));
    let id = urgent.id;
    let shown = run!(world.store, world.scope(), [], |tx| tx.job_get(id));
    let shown = shown.expect("it answers").expect("it is there");
    assert_eq!(shown.deadline, urgent.deadline);
});

on_both!(the_next_of_a_line_comes_with_its_deadline, |db| async {
    let world = World::new(db).await;
    let keyed = |ms| NewJob {
        order: Some(JobOrder {
            key: "one".into(),
            on_dead: OnDead::Park,
        }),
        ..with_deadline(&world, ms, 5_000)
    };
    let (head, next) = (keyed(1), keyed(2));
    world.insert(vec![head.clone(), next.clone()]).await;
    let attempts = vec![attempt(&head, 1, Outcome::Succeeded)];
    let ends = vec![LineEnd {
        tenant: head.tenant,
        job: head.id,
        dead: false,
        at: attempts[0].finished_at,
    }];
    let turns = run!(world.store, SYSTEM, [attempts, ends], |tx| async {
        tx.attempt_settle(&attempts, None).await?;
        tx.line_leave(&ends).await
    });
    assert_eq!(deadlines(&turns.expect("it is recorded")), of(&[&next]));
});

on_both!(
    who_runs_a_dead_letter_again_takes_its_deadline_away_and_nobody_elses,
    |db| async {
        let world = World::new(db).await;
        let (job, other) = (with_deadline(&world, 1, 50), with_deadline(&world, 2, 50));
        world.insert(vec![job.clone(), other.clone()]).await;
        let dead = vec![attempt(&job, 1, Outcome::Dead)];
        let letters = vec![letter(&job, 1, dead[0].finished_at)];
        let died = run!(world.store, SYSTEM, [dead, letters], |tx| async {
            tx.attempt_settle(&dead, None).await?;
            tx.dead_letter_insert(&letters[0]).await
        });
        died.expect("it dies");
        let again = attempt(&job, 2, Outcome::Requeued);
        let again = vec![Attempt {
            tries: 0,
            next_at: Some(again.finished_at),
            by: Some("user:anna".into()),
            ..again
        }];
        // In the tenant's own scope: that is whose it is to do so.
        let ended = run!(world.store, world.scope(), [again], |tx| tx
            .dead_letter_end(&again));
        assert_eq!(ended.expect("it is run again"), 1);
        for (one, wanted) in [(&job, None), (&other, other.deadline)] {
            let id = one.id;
            let shown = run!(world.store, world.scope(), [], |tx| tx.job_get(id));
            let shown = shown.expect("it answers").expect("it is there");
            assert_eq!(shown.deadline, wanted);
        }
    }
);
