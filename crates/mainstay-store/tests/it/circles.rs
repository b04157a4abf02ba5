//! Two transactions that meet wait for each other, and never in a circle: none is broken off and begun again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mainstay_domain::{
    StoreExt,
    jobs::{Attempt, JobOrder, LineEnd, LineFilter, NewJob, OnDead, Outcome},
};
use mainstay_testkit::on_both;

use crate::kit::{SYSTEM, World, attempt, letter, run};

/// Things that are locked one after the other: so many that two who begin at opposite ends meet in the middle.
const MANY: i64 = 40;
/// How often they try to.
const ROUNDS: i64 = 3;

fn keyed(world: &World, key: String, ms: i64) -> NewJob {
    NewJob {
        order: Some(JobOrder {
            key,
            on_dead: OnDead::Park,
        }),
        ..world.job(ms)
    }
}

/// The job's attempt is its last one, and its line is parked.
async fn die(world: &World, jobs: &[NewJob], number: i32) {
    let attempts: Vec<Attempt> = jobs
        .iter()
        .map(|job| attempt(job, number, Outcome::Dead))
        .collect();
    let letters: Vec<_> = jobs
        .iter()
        .zip(&attempts)
        .map(|(job, attempt)| letter(job, number, attempt.finished_at))
        .collect();
    let ends: Vec<LineEnd> = attempts
        .iter()
        .map(|attempt| LineEnd {
            tenant: attempt.tenant,
            job: attempt.job,
            dead: true,
            at: attempt.finished_at,
        })
        .collect();
    let died = run!(world.store, SYSTEM, [attempts, letters, ends], |tx| async {
        tx.attempt_settle(&attempts, None).await?;
        for letter in &letters {
            tx.dead_letter_insert(letter).await?;
        }
        tx.line_leave(&ends).await
    });
    died.expect("they die");
}

/// Two dead letters in each of many lines: of the one kind the older ones stand in the first lines, of the other in the last.
async fn letters(world: &World, round: i64) -> [Vec<NewJob>; 2] {
    let from = round * 10_000;
    let key = |line: i64| format!("{round} {line:03}");
    let up: Vec<NewJob> = (0..MANY)
        .map(|line| keyed(world, key(line), from + line))
        .collect();
    let down: Vec<NewJob> = (0..MANY)
        .map(|line| keyed(world, key(line), from + 2 * MANY - line))
        .collect();
    world.insert(up.clone()).await;
    world.insert(down.clone()).await;
    die(world, &up, 1).await;
    let filter = LineFilter {
        parked: Some(true),
        ..LineFilter::default()
    };
    let parked = run!(world.store, SYSTEM, [filter], |tx| tx
        .line_list(&filter, 1_000));
    let at = world.at(from + 500);
    for line in parked.expect("they are listed") {
        run!(world.store, SYSTEM, [line], |tx| tx.line_release(&line, at)).expect("it goes on");
    }
    die(world, &down, 2).await;
    [up, down]
}

on_both!(
    bulk_actions_that_meet_in_many_lines_wait_for_each_other_once,
    |db| async {
        let world = World::new(db).await;
        for round in 0..ROUNDS {
            let [up, down] = letters(&world, round).await;
            let runs = Arc::new(AtomicUsize::new(0));
            let end = |jobs: Vec<NewJob>, number, outcome| {
                let attempts: Vec<Attempt> = jobs
                    .iter()
                    .map(|job| {
                        let made = attempt(job, number, outcome);
                        Attempt {
                            tries: 0,
                            by: Some("user:anna".into()),
                            next_at: (outcome == Outcome::Requeued).then_some(made.finished_at),
                            ..made
                        }
                    })
                    .collect();
                let (store, runs) = (Arc::clone(&world.store), Arc::clone(&runs));
                async move {
                    run!(store, SYSTEM, [attempts, runs], |tx| {
                        runs.fetch_add(1, Ordering::Relaxed);
                        tx.dead_letter_end(&attempts)
                    })
                }
            };
            let (again, given_up) = futures_util::future::join(
                end(up, 2, Outcome::Requeued),
                end(down, 3, Outcome::Discarded),
            )
            .await;
            assert_eq!((again.ok(), given_up.ok()), (Some(MANY), Some(MANY)));
            assert_eq!(runs.load(Ordering::Relaxed), 2, "round {round}");
        }
    }
);

on_both!(
    nodes_that_count_expected_events_the_other_way_round_wait_for_each_other_once,
    |db| async {
        let world = World::new(db).await;
        let of = (world.tenant, world.source.id);
        for round in 0..ROUNDS {
            let runs = Arc::new(AtomicUsize::new(0));
            let at = world.at(round);
            let count = |rules: Vec<String>| {
                let (store, runs) = (Arc::clone(&world.store), Arc::clone(&runs));
                async move {
                    run!(store, SYSTEM, [rules, runs], |tx| async {
                        runs.fetch_add(1, Ordering::Relaxed);
                        for rule in &rules {
                            tx.expect_meet(of, rule, "cus_1", at, at, at).await?;
                        }
                        Ok(())
                    })
                }
            };
            let up: Vec<String> = (0..MANY).map(|rule| format!("rule {rule}")).collect();
            let down = up.iter().rev().cloned().collect();
            let (one, other) = futures_util::future::join(count(up), count(down)).await;
            assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
            assert_eq!(runs.load(Ordering::Relaxed), 2, "round {round}");
        }
    }
);
