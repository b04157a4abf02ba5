//! Jobs that kill the process are isolated; jobs that were only there are not.

use mainstay::jobs::EngineHandle;
use mainstay_domain::{
    JobId,
    jobs::{NewJob, Outcome, QueueNumber, settings::EndpointSettings},
};
use mainstay_testkit::on_both;

use super::works::{EFFECT, Works, kill, until, until_done};

/// More lives than a rule that works needs.
const LIVES_MAX: usize = 8;
/// How far the clock runs every few real milliseconds: a suspect's seconds pass soon, and the minutes after which a death
/// is forgotten do not pass while a busy machine stands still.
const STEP_MS: i64 = 250;

/// Runs one engine after the other, each until the job kills it, until the queue has a dead letter. Answers the engine that
/// lives and how many have died.
async fn outlive(works: &Works, queue: QueueNumber) -> (EngineHandle, usize) {
    let _ticking = works.let_time_pass(STEP_MS);
    for deaths in 0..LIVES_MAX {
        let engine = works.engine();
        tokio::select! {
            () = works.orders.death() => kill(engine).await,
            _ = until(&engine, "it is isolated", |seen| {
                seen.queue(queue).is_some_and(|queue| queue.dead == 1)
            }) => return (engine, deaths),
        }
    }
    panic!("{LIVES_MAX} processes died");
}

async fn codes(works: &Works, job: JobId) -> Vec<String> {
    let attempts = works.attempts(job).await;
    let codes = attempts.into_iter().filter_map(|attempt| attempt.code);
    codes.collect()
}

/// One of these kills, the others are there when it does.
fn deadly(works: &Works, jobs: &[NewJob]) -> JobId {
    let job = jobs[jobs.len() / 2].id;
    works.orders.kill_with(job);
    job
}

async fn is_isolated(works: &Works, job: JobId) {
    let letters = works.letters().await;
    let letters: Vec<_> = letters
        .iter()
        .map(|letter| (letter.job, letter.code.as_str()))
        .collect();
    assert_eq!(letters, [(job, "lost_repeatedly")]);
    assert_eq!(
        codes(works, job).await,
        ["lost", "lost_again", "lost_alone", "lost_repeatedly"]
    );
}

on_both!(
    a_push_that_kills_the_process_is_isolated_and_the_others_end,
    |db| async {
        let works = Works::mortal(db.store()).await;
        let endpoint = works.endpoint(EndpointSettings::default()).await;
        let jobs = works.pushes(&endpoint, 9);
        let deadly = deadly(&works, &jobs);
        works.insert(&jobs).await;
        let (engine, deaths) = outlive(&works, endpoint.queue).await;
        assert_eq!(deaths, 4, "two in company, two alone");
        is_isolated(&works, deadly).await;
        let _ticking = works.let_time_pass(STEP_MS);
        until_done(&engine, endpoint.queue, 8).await;
        engine.stop().await;
    }
);

on_both!(
    a_built_in_job_that_kills_the_process_is_isolated_and_the_others_end,
    |db| async {
        let works = Works::mortal(db.store()).await;
        let jobs = works.jobs(EFFECT, works.effect, 700);
        let deadly = deadly(&works, &jobs);
        works.insert(&jobs).await;
        let (engine, deaths) = outlive(&works, works.effect).await;
        assert_eq!(
            deaths, 5,
            "one that nobody recorded, two in company, two alone"
        );
        is_isolated(&works, deadly).await;
        let _ticking = works.let_time_pass(STEP_MS);
        until_done(&engine, works.effect, 699).await;
        assert_eq!(works.effects().await, 699);
        engine.stop().await;
    }
);

/// Two lives, each cut when all the pushes of these queues are under way: then they are suspects.
async fn lose_twice(works: &Works, queues: &[QueueNumber]) {
    for deaths in 0..2 {
        let engine = works.engine();
        until(&engine, "what was lost is recorded", |seen| {
            let mut queues = queues.iter().map(|queue| seen.queue(*queue));
            deaths == 0
                || queues.all(|queue| queue.is_some_and(|queue| queue.tally.failed == deaths))
        })
        .await;
        works.clock.advance_ms(10_000);
        works
            .orders
            .pushed((deaths as usize + 1) * queues.len())
            .await;
        kill(engine).await;
        // A start tells by its time whose it is.
        works.clock.advance_ms(1_000);
    }
}

on_both!(
    a_slow_suspect_holds_up_another_for_seconds_only,
    |db| async {
        let works = Works::mortal(db.store()).await;
        let one = works.endpoint(EndpointSettings::default()).await;
        let two = works.endpoint(EndpointSettings::default()).await;
        let gate = works.orders.hold();
        let jobs = [
            works.pushes(&one, 1).remove(0),
            works.pushes(&two, 1).remove(0),
        ];
        works.insert(&jobs).await;
        lose_twice(&works, &[one.queue, two.queue]).await;
        let engine = works.engine();
        let _ticking = works.let_time_pass(STEP_MS);
        works.orders.pushed(6).await;
        gate.add_permits(2);
        until_done(&engine, one.queue, 1).await;
        until_done(&engine, two.queue, 1).await;
        let mut began = Vec::new();
        for job in &jobs {
            let attempts = works.attempts(job.id).await;
            began.push(attempts.last().expect("it was tried").started_at);
        }
        let apart = began[0].ms_since(began[1]).abs();
        assert!(
            apart >= 5_000,
            "the second waited for the first: {apart} ms"
        );
        engine.stop().await;
    }
);

on_both!(deaths_soon_after_the_start_isolate_nobody, |db| async {
    let works = Works::mortal(db.store()).await;
    let endpoint = works.endpoint(EndpointSettings::default()).await;
    let gate = works.orders.hold();
    let job = works.pushes(&endpoint, 1).remove(0);
    works.insert(std::slice::from_ref(&job)).await;
    lose_twice(&works, &[endpoint.queue]).await;
    // From now on it is a suspect: it waits until its owner has lived for a while, and none does.
    for done in [0, 3, 6] {
        let engine = works.engine();
        works.insert(&works.jobs(EFFECT, works.effect, 3)).await;
        until_done(&engine, works.effect, done + 3).await;
        until(&engine, "it waits", |seen| {
            seen.queue(endpoint.queue)
                .is_some_and(|queue| (queue.tally.failed, queue.running) == (2, 0))
        })
        .await;
        kill(engine).await;
        works.clock.advance_ms(60_000);
    }
    assert_eq!(works.orders.pushes().len(), 2);
    gate.add_permits(1);
    let engine = works.engine();
    let _ticking = works.let_time_pass(STEP_MS);
    until_done(&engine, endpoint.queue, 1).await;
    assert_eq!(
        works.outcomes(job.id).await,
        [Outcome::Lost, Outcome::Lost, Outcome::Succeeded]
    );
    assert_eq!(works.orders.pushes().len(), 3);
    engine.stop().await;
});
