//! Starts, outcomes, dead letters and cancellations: whoever comes second has lost.

use mainstay_domain::{
    JobId, StoreError, StoreExt,
    jobs::{
        Attempt, Checkpoint, Cursor, DeadLetterFilter, Job, JobState, NewJob, Outcome, SignalKind,
        TallyRecord, breaker::Breaker,
    },
};
use mainstay_testkit::on_both;

use crate::kit::{SYSTEM, World, attempt, letter, run, start};

async fn job(world: &World, id: JobId) -> Job {
    let found = run!(world.store, world.scope(), [], |tx| tx.job_get(id));
    found.expect("it answers").expect("it is there")
}

/// Jobs that have died, with their letters.
async fn died(world: &World, count: i64) -> Vec<NewJob> {
    let jobs: Vec<NewJob> = (0..count).map(|ms| world.job(ms)).collect();
    world.insert(jobs.clone()).await;
    let attempts: Vec<Attempt> = jobs
        .iter()
        .map(|job| attempt(job, 1, Outcome::Dead))
        .collect();
    let letters: Vec<_> = jobs
        .iter()
        .map(|job| letter(job, 1, job.created_at.plus_ms(20)))
        .collect();
    let work = run!(world.store, SYSTEM, [attempts, letters], |tx| async {
        tx.attempt_settle(&attempts, None).await?;
        for letter in &letters {
            tx.dead_letter_insert(letter).await?;
        }
        Ok(())
    });
    work.expect("they die");
    jobs
}

fn ended_by(job: &NewJob, outcome: Outcome) -> Attempt {
    Attempt {
        tries: 0,
        by: Some("user:anna".into()),
        ..attempt(job, 2, outcome)
    }
}

on_both!(
    an_attempt_starts_once_and_not_after_its_outcome,
    |db| async {
        let world = World::new(db).await;
        let jobs: Vec<NewJob> = (0..3).map(|ms| world.job(ms)).collect();
        world.insert(jobs.clone()).await;
        let starts: Vec<_> = jobs.iter().map(|job| start(job, 1, world.at(50))).collect();
        let some = vec![starts[0], starts[1], starts[0]];
        let go_on = run!(world.store, SYSTEM, [some], |tx| tx.attempt_start(&some));
        assert_eq!(go_on.expect("it answers"), [true, true, false]);
        world
            .settle(vec![
                attempt(&jobs[0], 1, Outcome::Failed),
                attempt(&jobs[2], 1, Outcome::Succeeded),
            ])
            .await;
        let again = vec![starts[1], starts[2], start(&jobs[0], 2, world.at(90))];
        let go_on = run!(world.store, SYSTEM, [again], |tx| tx.attempt_start(&again));
        assert_eq!(go_on.expect("it answers"), [false, false, true]);

        let unfinished = async |since| {
            run!(world.store, SYSTEM, [], |tx| tx
                .attempt_unfinished(since, 10))
            .expect("it answers")
        };
        let open = vec![starts[1], start(&jobs[0], 2, world.at(90))];
        assert_eq!(unfinished(world.at(0)).await, (open.clone(), None));
        assert_eq!(unfinished(world.at(51)).await, (vec![open[1]], None));
        let among: Vec<_> = [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1)]
            .map(|(job, attempt)| (jobs[job].tenant, jobs[job].id, attempt))
            .into();
        let found = run!(world.store, SYSTEM, [among], |tx| tx
            .attempt_unfinished_among(&among))
        .expect("it answers");
        assert_eq!(found, [open[1], open[0]]);
        assert_eq!(job(&world, jobs[1].id).await.state, JobState::Running);
        assert_eq!(job(&world, jobs[0].id).await.state, JobState::Running);
        assert_eq!(job(&world, jobs[2].id).await.state, JobState::Done);
        let id = jobs[0].id;
        let (attempts, last) =
            run!(world.store, world.scope(), [], |tx| tx.job_attempts(id)).expect("it answers");
        assert_eq!(attempts, [attempt(&jobs[0], 1, Outcome::Failed)]);
        assert_eq!(last, Some(start(&jobs[0], 2, world.at(90))));
    }
);

on_both!(
    an_outcome_is_recorded_once_and_the_second_keeps_nothing,
    |db| async {
        let world = World::new(db).await;
        let jobs: Vec<NewJob> = (0..4).map(|ms| world.job(ms)).collect();
        world.insert(jobs.clone()).await;
        world
            .settle(vec![attempt(&jobs[0], 1, Outcome::Succeeded)])
            .await;
        for first in [Outcome::Succeeded, Outcome::Failed] {
            let both = vec![attempt(&jobs[1], 1, first), attempt(&jobs[0], 1, first)];
            let tally = TallyRecord {
                sequence: 7,
                body: "{}".into(),
            };
            let lost = run!(world.store, SYSTEM, [both, tally], |tx| tx
                .attempt_settle(&both, Some(&tally)));
            assert!(
                matches!(lost, Err(StoreError::Conflict { what: "attempt" })),
                "{lost:?}"
            );
        }
        assert_eq!(job(&world, jobs[1].id).await.state, JobState::Waiting);
        let tallies = run!(world.store, SYSTEM, [], |tx| tx.tally_since(0)).expect("it answers");
        assert_eq!(tallies, []);

        let tally = TallyRecord {
            sequence: 7,
            body: "{}".into(),
        };
        let one = vec![attempt(&jobs[1], 1, Outcome::Succeeded)];
        run!(world.store, SYSTEM, [one, tally], |tx| tx
            .attempt_settle(&one, Some(&tally)))
        .expect("it is settled");
        let other = vec![attempt(&jobs[2], 1, Outcome::Succeeded)];
        let lost = run!(world.store, SYSTEM, [other, tally], |tx| tx
            .attempt_settle(&other, Some(&tally)));
        assert!(
            matches!(
                lost,
                Err(StoreError::Conflict {
                    what: "tally record"
                })
            ),
            "{lost:?}"
        );
        assert_eq!(job(&world, jobs[2].id).await.state, JobState::Waiting);
    }
);

on_both!(
    a_dead_letter_is_ended_once_whoever_asks_at_the_same_time,
    |db| async {
        let world = World::new(db).await;
        let jobs = died(&world, 30).await;
        let (_, cursor) = world.discover(Cursor::default(), 100).await;
        let mut tasks = Vec::new();
        for task in 0..6 {
            let store = db.second().await;
            let mut attempts: Vec<Attempt> = jobs
                .iter()
                .map(|job| ended_by(job, Outcome::Requeued))
                .collect();
            attempts.rotate_left(task * 5);
            tasks.push(tokio::spawn(async move {
                run!(store, SYSTEM, [attempts], |tx| tx
                    .dead_letter_end(&attempts))
                .expect("it answers")
            }));
        }
        let mut ended = 0;
        for task in tasks {
            ended += task.await.expect("it ends");
        }
        assert_eq!(ended, 30);
        let all = DeadLetterFilter::default();
        let left = run!(world.store, SYSTEM, [all], |tx| tx
            .dead_letter_list(&all, 100))
        .expect("it answers");
        assert_eq!(left, []);
        let found = run!(world.store, SYSTEM, [cursor], |tx| tx
            .job_discover(&cursor, false, 100))
        .expect("a look");
        assert_eq!(found.signals.len(), 30);
        assert!(
            found
                .signals
                .iter()
                .all(|signal| signal.kind == SignalKind::Requeued)
        );
        let again = job(&world, jobs[0].id).await;
        assert_eq!((again.state, again.attempts), (JobState::Retrying, 2));
    }
);

on_both!(a_discarded_letter_is_gone_and_its_job_ended, |db| async {
    let world = World::new(db).await;
    let jobs = died(&world, 2).await;
    assert_eq!(job(&world, jobs[0].id).await.state, JobState::Dead);
    let (_, cursor) = world.discover(Cursor::default(), 100).await;
    let discarded = vec![ended_by(&jobs[0], Outcome::Discarded)];
    let ended = run!(world.store, world.scope(), [discarded], |tx| tx
        .dead_letter_end(&discarded));
    assert_eq!(ended.expect("it answers"), 1);
    let ended = run!(world.store, world.scope(), [discarded], |tx| tx
        .dead_letter_end(&discarded));
    assert_eq!(ended.expect("it answers"), 0);
    assert_eq!(job(&world, jobs[0].id).await.state, JobState::Cancelled);
    let found = run!(world.store, SYSTEM, [cursor], |tx| tx
        .job_discover(&cursor, false, 100))
    .expect("a look");
    assert_eq!(
        found
            .signals
            .iter()
            .map(|signal| signal.kind)
            .collect::<Vec<_>>(),
        [SignalKind::Discarded]
    );
    // It cannot die a second time under the same number, and the list knows it once.
    let twice = letter(&jobs[1], 1, world.at(99));
    let taken = run!(world.store, SYSTEM, [twice], |tx| tx
        .dead_letter_insert(&twice));
    assert!(
        matches!(
            taken,
            Err(StoreError::Conflict {
                what: "dead letter"
            })
        ),
        "{taken:?}"
    );
});

on_both!(a_job_is_cancelled_unless_it_has_ended, |db| async {
    let world = World::new(db).await;
    let jobs: Vec<NewJob> = (0..4).map(|ms| world.job(ms)).collect();
    world.insert(jobs.clone()).await;
    world
        .settle(vec![
            attempt(&jobs[0], 1, Outcome::Succeeded),
            attempt(&jobs[1], 1, Outcome::Failed),
        ])
        .await;
    let cancel = async |job: &NewJob, number: i32| {
        let cancelled = attempt(job, number, Outcome::Cancelled);
        run!(world.store, world.scope(), [cancelled], |tx| tx
            .job_cancel(&cancelled))
    };
    assert!(
        !cancel(&jobs[0], 2).await.expect("it answers"),
        "it is done"
    );
    let stale = cancel(&jobs[1], 1).await;
    assert!(
        matches!(stale, Err(StoreError::Conflict { what: "attempt" })),
        "{stale:?}"
    );
    assert!(cancel(&jobs[1], 2).await.expect("it answers"));
    assert!(cancel(&jobs[2], 1).await.expect("it answers"));
    assert!(
        !cancel(&jobs[2], 2).await.expect("it answers"),
        "it is cancelled"
    );
    let gone = world.job(9);
    assert!(
        !cancel(&gone, 1).await.expect("it answers"),
        "there is no such job"
    );
    assert_eq!(job(&world, jobs[2].id).await.state, JobState::Cancelled);
    // One that runs finds out when it wants to record its outcome.
    let late = vec![attempt(&jobs[2], 1, Outcome::Succeeded)];
    let lost = run!(world.store, SYSTEM, [late], |tx| tx
        .attempt_settle(&late, None));
    assert!(matches!(lost, Err(StoreError::Conflict { .. })), "{lost:?}");
});

on_both!(
    a_job_of_an_event_is_unique_by_binding_and_replay,
    |db| async {
        let world = World::new(db).await;
        let event = world.append(vec![world.arrival("evt_1", 1)]).await[0][0].id();
        let one = world.job_of(event, 5);
        let same = NewJob {
            id: world.job_id(6),
            ..one.clone()
        };
        let mut replay = NewJob {
            id: world.job_id(7),
            ..one.clone()
        };
        replay.replay = Some(mainstay_domain::ReplayId::new(world.at(7), &*world.random));
        assert_eq!(world.insert(vec![one.clone()]).await, 1);
        assert_eq!(
            world.insert(vec![same, replay.clone(), world.job(8)]).await,
            2
        );
        let id = event;
        let found =
            run!(world.store, world.scope(), [], |tx| tx.event_get(id)).expect("it answers");
        assert_eq!(found.expect("it is there").jobs.total, 3);
        let kept = job(&world, replay.id).await;
        assert_eq!(
            (kept.event, kept.binding, kept.replay),
            (Some(event), replay.binding, replay.replay)
        );
        let plain = job(&world, one.id).await;
        assert_eq!((plain.replay, plain.queue.as_str()), (None, "acme-queue"));
    }
);

on_both!(a_checkpoint_of_an_earlier_epoch_is_refused, |db| async {
    let world = World::new(db).await;
    for sequence in 1..=5 {
        let tally = TallyRecord {
            sequence,
            body: format!("{{\"n\":{sequence}}}"),
        };
        run!(world.store, SYSTEM, [tally], |tx| tx
            .attempt_settle(&[], Some(&tally)))
        .expect("it is written");
    }
    let save = async |epoch: i64, sequence: i64| {
        let checkpoint = Checkpoint {
            sequence,
            epoch,
            at: world.at(sequence),
            body: "{}".into(),
        };
        run!(world.store, SYSTEM, [checkpoint], |tx| tx
            .checkpoint_save(&checkpoint))
    };
    save(2, 3).await.expect("the first");
    let left = run!(world.store, SYSTEM, [], |tx| tx.tally_since(0)).expect("it answers");
    assert_eq!(
        left.iter().map(|one| one.sequence).collect::<Vec<_>>(),
        [4, 5]
    );
    save(3, 4).await.expect("a later owner");
    let refused = save(2, 5).await;
    assert!(
        matches!(refused, Err(StoreError::Conflict { what: "checkpoint" })),
        "{refused:?}"
    );
    let loaded = run!(world.store, SYSTEM, [], |tx| tx.checkpoint_load())
        .expect("it answers")
        .expect("it is there");
    assert_eq!(
        (loaded.epoch, loaded.sequence, loaded.at),
        (3, 4, world.at(4))
    );
    let left = run!(world.store, SYSTEM, [], |tx| tx.tally_since(4)).expect("it answers");
    assert_eq!(left.len(), 1);
});

on_both!(breakers_are_kept_until_they_are_as_new, |db| async {
    let world = World::new(db).await;
    let queue = world.queue;
    let open = Breaker {
        failures: 3,
        last_error: Some("refused".into()),
        ..Breaker::default()
    };
    run!(world.store, SYSTEM, [open], |tx| tx
        .breaker_save(queue, &open))
    .expect("it is kept");
    let all = run!(world.store, SYSTEM, [], |tx| tx.breaker_list()).expect("it answers");
    assert_eq!(all, [(queue, open)]);
    let closed = Breaker::default();
    run!(world.store, SYSTEM, [closed], |tx| tx
        .breaker_save(queue, &closed))
    .expect("it is kept");
    assert_eq!(
        run!(world.store, SYSTEM, [], |tx| tx.breaker_list()).expect("it answers"),
        []
    );
});

on_both!(
    queues_get_one_number_each_whoever_asks_at_the_same_time,
    |db| async {
        let mut tasks = Vec::new();
        for task in 0..6_usize {
            let store = db.second().await;
            tasks.push(tokio::spawn(async move {
                let mut numbers = Vec::new();
                for index in 0..10 {
                    let name = format!("queue-{}", (index + task) % 10);
                    numbers.push((
                        name.clone(),
                        run!(store, SYSTEM, [name], |tx| tx.queue_ensure(&name)).expect("a queue"),
                    ));
                }
                numbers.sort();
                numbers
            }));
        }
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await.expect("it ends"));
        }
        all.dedup();
        assert_eq!(all.len(), 1);
        let mut numbers: Vec<i32> = all[0].iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 10);
        let store = db.store();
        assert_eq!(
            run!(store, SYSTEM, [], |tx| tx.queue_list())
                .expect("it answers")
                .len(),
            10
        );
    }
);

on_both!(
    what_has_no_outcome_is_looked_for_in_steps_however_much_was_started,
    |db| async {
        let world = World::new(db).await;
        let jobs: Vec<NewJob> = (0..30).map(|ms| world.job(ms)).collect();
        world.insert(jobs.clone()).await;
        // Ten at once, then one after the other.
        let at = |number: usize| world.at(50 + number.saturating_sub(9) as i64);
        let starts = jobs.iter().enumerate();
        let starts: Vec<_> = starts
            .map(|(number, job)| start(job, 1, at(number)))
            .collect();
        run!(world.store, SYSTEM, [starts], |tx| tx
            .attempt_start(&starts))
        .expect("it answers");
        let ended = jobs.iter().skip(1).step_by(2);
        world
            .settle(
                ended
                    .map(|job| attempt(job, 1, Outcome::Succeeded))
                    .collect(),
            )
            .await;
        let (mut found, mut since, mut looks) = (Vec::new(), world.at(0), 0);
        loop {
            let (some, next) = run!(world.store, SYSTEM, [], |tx| tx
                .attempt_unfinished(since, 4))
            .expect("it answers");
            found.extend(some);
            looks += 1;
            let Some(next) = next else { break };
            assert!(next > since, "each look goes on");
            since = next;
        }
        let open: Vec<_> = starts.iter().copied().step_by(2).collect();
        let mut by_job = found.clone();
        by_job.sort_by_key(|start| start.job);
        assert_eq!(by_job, open, "each once");
        assert!(found.is_sorted_by_key(|start| start.at));
        assert!(looks > 3, "{looks} looks");
    }
);
