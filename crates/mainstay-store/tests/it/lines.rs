//! Lines: of jobs that share an ordering key one may run, in the order of commits, whatever ends it.

use mainstay_domain::{
    JobId, StoreExt,
    intake::Arrival,
    jobs::{
        Attempt, Cursor, DeadLetterFilter, DueKey, JobOrder, JobRef, JobState, Line, LineEnd,
        LineFilter, NewJob, OnDead, Outcome, SignalKind, line::LAST,
    },
};
use mainstay_testkit::on_both;

use crate::kit::{SYSTEM, World, attempt, ids, letter, run};

fn keyed(world: &World, key: &str, ms: i64) -> NewJob {
    NewJob {
        order: Some(JobOrder {
            key: key.into(),
            on_dead: OnDead::Park,
        }),
        ..world.job(ms)
    }
}

/// What the engine's owner does when a job's attempt has ended.
async fn end(world: &World, job: &NewJob, number: i32, outcome: Outcome) -> Vec<JobRef> {
    let attempts = vec![attempt(job, number, outcome)];
    let letters: Vec<_> = (outcome == Outcome::Dead)
        .then(|| letter(job, number, attempts[0].finished_at))
        .into_iter()
        .collect();
    let ends = vec![LineEnd {
        tenant: job.tenant,
        job: job.id,
        dead: outcome == Outcome::Dead,
        at: attempts[0].finished_at,
    }];
    let turns = run!(world.store, SYSTEM, [attempts, letters, ends], |tx| async {
        tx.attempt_settle(&attempts, None).await?;
        for letter in &letters {
            tx.dead_letter_insert(letter).await?;
        }
        tx.line_leave(&ends).await
    });
    turns.expect("it is recorded")
}

async fn lines(world: &World) -> Vec<Line> {
    let filter = LineFilter::default();
    let found = run!(world.store, world.scope(), [filter], |tx| tx
        .line_list(&filter, 10));
    found.expect("it answers")
}

async fn state(world: &World, job: &NewJob) -> (JobState, bool) {
    let id = job.id;
    let found = run!(world.store, world.scope(), [], |tx| tx.job_get(id));
    let found = found.expect("it answers").expect("it is there");
    (found.state, found.order.expect("it keeps an order").waits)
}

/// A person deals with a dead letter.
async fn deal(world: &World, job: &NewJob, number: i32, outcome: Outcome) {
    let mut attempts = vec![Attempt {
        tries: 0,
        by: Some("user:anna".into()),
        ..attempt(job, number, outcome)
    }];
    if outcome == Outcome::Requeued {
        attempts[0].next_at = Some(attempts[0].finished_at);
    }
    let ended = run!(world.store, world.scope(), [attempts], |tx| tx
        .dead_letter_end(&attempts));
    assert_eq!(ended.expect("it is ended"), 1);
}

on_both!(
    of_jobs_that_share_a_key_the_engine_sees_the_first,
    |db| async {
        let world = World::new(db).await;
        let jobs = vec![
            keyed(&world, "a", 0),
            keyed(&world, "b", 1),
            world.job(2),
            keyed(&world, "a", 3),
            keyed(&world, "a", 4),
        ];
        assert_eq!(world.insert(jobs.clone()).await, 5);
        let discovery = run!(world.store, SYSTEM, [], |tx| tx.job_discover(
            &Cursor::default(),
            false,
            100
        ));
        let mut seen = discovery.expect("a look");
        // A database that was never looked at begins with one look that only finds out where it is.
        if seen.more {
            let (jobs, _) = world.discover(Cursor::default(), 100).await;
            seen.jobs = jobs;
        }
        let mut found = ids(&seen.jobs);
        found.sort();
        assert_eq!(found, [jobs[0].id, jobs[1].id, jobs[2].id]);
        let ordered = |job: &JobRef| (job.job, job.ordered);
        assert!(
            seen.jobs
                .iter()
                .map(ordered)
                .all(|(job, ordered)| ordered == (job != jobs[2].id))
        );
        let (_, cursor) = world.discover(Cursor::default(), 100).await;
        let queue = world.queue;
        let delayed = run!(world.store, SYSTEM, [cursor], |tx| tx.delayed_refill(
            queue,
            None,
            DueKey::MIN,
            LAST,
            &cursor,
            10
        ));
        assert_eq!(delayed.expect("it answers"), []);
        assert_eq!(state(&world, &jobs[0]).await, (JobState::Waiting, false));
        assert_eq!(state(&world, &jobs[3]).await, (JobState::Waiting, true));
        let all = lines(&world).await;
        let counts: Vec<_> = all.iter().map(|one| (&*one.key, one.waiting)).collect();
        assert_eq!(counts, [("b", 0), ("a", 2)]);
        let waiting = run!(world.store, world.scope(), [all], |tx| tx
            .line_jobs(&all[1], 10));
        assert_eq!(waiting.expect("it answers"), [jobs[3].id, jobs[4].id]);
    }
);

on_both!(
    the_end_of_a_job_is_the_turn_of_the_next_and_the_last_ends_the_line,
    |db| async {
        let world = World::new(db).await;
        let jobs: Vec<NewJob> = (0..3).map(|ms| keyed(&world, "a", ms)).collect();
        for job in &jobs {
            world.insert(vec![job.clone()]).await;
        }
        let turns = end(&world, &jobs[0], 1, Outcome::Succeeded).await;
        assert_eq!(ids(&turns), [jobs[1].id]);
        assert_eq!((turns[0].attempt, turns[0].tries), (1, 0));
        assert_eq!(state(&world, &jobs[1]).await, (JobState::Waiting, false));
        // Whoever missed the answer finds the turn among the retries.
        let queue = world.queue;
        let retries = run!(world.store, SYSTEM, [], |tx| tx.retry_refill(
            queue,
            None,
            DueKey::MIN,
            LAST,
            10
        ));
        assert_eq!(retries.expect("it answers"), turns);
        let turns = end(&world, &jobs[1], 2, Outcome::Cancelled).await;
        assert_eq!(ids(&turns), [jobs[2].id]);
        assert_eq!(end(&world, &jobs[2], 2, Outcome::Succeeded).await, []);
        assert_eq!(lines(&world).await, []);
    }
);

on_both!(a_dead_letter_parks_its_line_and_no_other, |db| async {
    let world = World::new(db).await;
    let jobs = vec![
        keyed(&world, "a", 0),
        keyed(&world, "a", 1),
        keyed(&world, "b", 2),
        keyed(&world, "b", 3),
    ];
    world.insert(jobs.clone()).await;
    assert_eq!(end(&world, &jobs[0], 1, Outcome::Dead).await, []);
    let turns = end(&world, &jobs[2], 1, Outcome::Succeeded).await;
    assert_eq!(ids(&turns), [jobs[3].id]);
    let parked = run!(world.store, world.scope(), [], |tx| tx.line_parked());
    let parked = parked.expect("it answers");
    assert_eq!((parked.lines, parked.waiting), (1, 1));
    let filter = LineFilter {
        parked: Some(true),
        ..LineFilter::default()
    };
    let found = run!(world.store, SYSTEM, [filter], |tx| tx
        .line_list(&filter, 10));
    let found = found.expect("it answers");
    assert_eq!(found.len(), 1);
    assert_eq!((&*found[0].key, found[0].head), ("a", jobs[0].id));
    let (tenant, waiter) = (world.tenant, jobs[1].id);
    let blocked = run!(world.store, world.scope(), [], |tx| tx
        .line_of(tenant, waiter));
    assert_eq!(blocked.expect("it answers").as_ref(), Some(&found[0]));
});

on_both!(
    a_dead_letter_that_is_run_again_goes_before_all_that_waited_for_it,
    |db| async {
        let world = World::new(db).await;
        let jobs: Vec<NewJob> = (0..2).map(|ms| keyed(&world, "a", ms)).collect();
        world.insert(jobs.clone()).await;
        end(&world, &jobs[0], 1, Outcome::Dead).await;
        deal(&world, &jobs[0], 2, Outcome::Requeued).await;
        let moving = lines(&world).await;
        assert_eq!(
            (moving[0].parked_at, moving[0].head),
            (None, jobs[0].id),
            "it is the head still"
        );
        assert_eq!(state(&world, &jobs[0]).await, (JobState::Retrying, false));
        let turns = end(&world, &jobs[0], 3, Outcome::Succeeded).await;
        assert_eq!(ids(&turns), [jobs[1].id]);
    }
);

on_both!(
    a_dead_letter_that_is_given_up_or_passed_by_lets_its_line_go_on,
    |db| async {
        let world = World::new(db).await;
        let jobs: Vec<NewJob> = (0..3).map(|ms| keyed(&world, "a", ms)).collect();
        world.insert(jobs.clone()).await;
        let (_, cursor) = world.discover(Cursor::default(), 100).await;
        end(&world, &jobs[0], 1, Outcome::Dead).await;
        deal(&world, &jobs[0], 2, Outcome::Discarded).await;
        assert_eq!(state(&world, &jobs[1]).await, (JobState::Waiting, false));
        end(&world, &jobs[1], 2, Outcome::Dead).await;
        let (line, at) = (lines(&world).await[0].clone(), world.at(500));
        let released = run!(world.store, world.scope(), [line], |tx| tx
            .line_release(&line, at));
        assert!(released.expect("it answers"));
        let again = run!(world.store, world.scope(), [line], |tx| tx
            .line_release(&line, at));
        assert!(!again.expect("it answers"), "it is not parked any more");
        assert_eq!(state(&world, &jobs[1]).await.0, JobState::Dead);
        let found = run!(world.store, SYSTEM, [cursor], |tx| tx
            .job_discover(&cursor, false, 100));
        let turns: Vec<JobId> = found
            .expect("a look")
            .signals
            .into_iter()
            .filter(|signal| signal.kind == SignalKind::Turn)
            .map(|signal| signal.job)
            .collect();
        assert_eq!(turns, [jobs[1].id, jobs[2].id]);
    }
);

on_both!(
    a_dead_letter_whose_line_went_on_comes_back_in_its_old_place,
    |db| async {
        let world = World::new(db).await;
        let mut jobs: Vec<NewJob> = (0..3).map(|ms| keyed(&world, "a", ms)).collect();
        jobs[0].order = jobs[0].order.clone().map(|order| JobOrder {
            on_dead: OnDead::Continue,
            ..order
        });
        world.insert(jobs.clone()).await;
        let turns = end(&world, &jobs[0], 1, Outcome::Dead).await;
        assert_eq!(ids(&turns), [jobs[1].id], "this one parks nothing");
        deal(&world, &jobs[0], 2, Outcome::Requeued).await;
        assert_eq!(state(&world, &jobs[0]).await, (JobState::Retrying, true));
        let letters = run!(world.store, SYSTEM, [], |tx| tx
            .dead_letter_list(&DeadLetterFilter::default(), 10));
        assert_eq!(letters.expect("it answers"), []);
        let turns = end(&world, &jobs[1], 2, Outcome::Succeeded).await;
        assert_eq!(ids(&turns), [jobs[0].id], "before what came later");
        assert_eq!(turns[0].attempt, 3);
        let turns = end(&world, &jobs[0], 4, Outcome::Succeeded).await;
        assert_eq!(ids(&turns), [jobs[2].id]);
        assert_eq!(end(&world, &jobs[2], 2, Outcome::Dead).await, []);
        let line = lines(&world).await[0].clone();
        let at = world.at(900);
        let released = run!(world.store, SYSTEM, [line], |tx| tx.line_release(&line, at));
        assert!(released.expect("it answers"));
        assert_eq!(lines(&world).await, []);
        // Nobody is before it, and it opens the line anew.
        deal(&world, &jobs[2], 3, Outcome::Requeued).await;
        assert_eq!(lines(&world).await[0].head, jobs[2].id);
    }
);

on_both!(
    a_job_that_is_cancelled_leaves_its_line_wherever_it_stands,
    |db| async {
        let world = World::new(db).await;
        let jobs: Vec<NewJob> = (0..3).map(|ms| keyed(&world, "a", ms)).collect();
        world.insert(jobs.clone()).await;
        for (job, left) in [(&jobs[1], 1), (&jobs[0], 0)] {
            let cancelled = attempt(job, 1, Outcome::Cancelled);
            let done = run!(world.store, world.scope(), [cancelled], |tx| tx
                .job_cancel(&cancelled));
            assert!(done.expect("it answers"));
            assert_eq!(lines(&world).await[0].waiting, left);
        }
        assert_eq!(lines(&world).await[0].head, jobs[2].id);
        assert_eq!(state(&world, &jobs[2]).await, (JobState::Waiting, false));
    }
);

on_both!(
    events_join_their_lines_in_the_order_in_which_they_are_appended,
    |db| async {
        let world = World::new(db).await;
        let arrival = |number: i64| -> Arrival {
            let mut arrival = world.arrival_within(&format!("evt_{number}"), number);
            for job in &mut arrival.events[0].jobs {
                job.order = keyed(&world, "cus_1", number).order;
            }
            arrival
        };
        let arrivals: Vec<Arrival> = (0..6).map(arrival).collect();
        let jobs: Vec<JobId> = arrivals
            .iter()
            .map(|one| one.events[0].jobs[0].id)
            .collect();
        world.append(arrivals[..3].to_vec()).await;
        world.append_within(arrivals[3..].to_vec()).await;
        // The same once more, as after an answer that was lost: nobody stands in line twice.
        world.append(arrivals).await;
        let line = lines(&world).await[0].clone();
        assert_eq!((line.head, line.waiting), (jobs[0], 5));
        let waiting = run!(world.store, SYSTEM, [line], |tx| tx.line_jobs(&line, 10));
        assert_eq!(waiting.expect("it answers"), jobs[1..]);
    }
);

on_both!(
    however_many_join_at_once_each_line_has_one_head,
    |db| async {
        let world = World::new(db).await;
        let insert = |number: i64| {
            let world = &world;
            async move {
                let jobs: Vec<NewJob> = (0..5)
                    .map(|key| keyed(world, &format!("key {key}"), number * 10 + key))
                    .collect();
                world.insert(jobs).await
            }
        };
        let inserted = futures_util::future::join_all((0..8).map(insert)).await;
        assert_eq!(inserted, [5; 8]);
        let (seen, _) = world.discover(Cursor::default(), 100).await;
        assert_eq!(seen.len(), 5, "one of each line");
        let all = lines(&world).await;
        assert!(all.iter().all(|line| line.waiting == 7), "{all:?}");
        assert!(
            all.iter()
                .all(|line| seen.iter().any(|job| job.job == line.head))
        );
    }
);
