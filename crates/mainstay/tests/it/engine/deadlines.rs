//! A job with a deadline begins before it or ends without having been tried.

use mainstay::jobs::{
    EngineHandle,
    dead_letter::{self, End},
    machine::EXPIRED,
    workers::{How, Pull, Told, Worker, WorkerError, WorkerReport},
};
use mainstay_domain::{
    Category, Clock,
    jobs::{DeadLetterFilter, NewJob, Outcome, QueueNumber},
};
use mainstay_testkit::on_both;

use super::works::{EFFECT, Order, SYSTEM, Works, in_time, kill, until, until_done};

/// A job of workers that has so many milliseconds, if any.
async fn letters(works: &Works, left: &[Option<i64>]) -> (QueueNumber, Vec<NewJob>) {
    let queue = works
        .write(|tx| Box::pin(async move { tx.queue_ensure("letters").await }))
        .await;
    let mut jobs = works.jobs("letter.print", queue, left.len());
    for (job, left) in jobs.iter_mut().zip(left) {
        job.deadline = left.map(|ms| works.clock.now().plus_ms(ms));
    }
    works.insert(&jobs).await;
    (queue, jobs)
}

fn anna() -> Worker {
    Worker {
        name: "anna".into(),
        by: "key:test".into(),
    }
}

/// Takes one job of a queue.
async fn pulled(engine: &EngineHandle, queue: QueueNumber) -> mainstay::jobs::workers::Handed {
    let pull = Pull {
        worker: anna(),
        queues: vec![queue],
        places: 1,
        lease_ms: 60_000,
        at_once: false,
    };
    let wait = async {
        loop {
            let asked = engine.workers().pull(pull.clone(), std::future::pending());
            match asked.await {
                Ok(taken) => {
                    if let Some(job) = taken.take().pop() {
                        return job;
                    }
                }
                Err(WorkerError::NotTheOwner) => {
                    until(engine, "it owns", |seen| seen.owner).await;
                }
                Err(error) => panic!("a pull is answered: {error}"),
            }
        }
    };
    in_time(wait, "there is a job").await
}

async fn until_dead(engine: &EngineHandle, queue: QueueNumber, dead: i64) {
    until(engine, "they are dead letters", |seen| {
        let queue = seen.queue(queue);
        queue.is_some_and(|queue| queue.dead == dead && queue.running == 0)
    })
    .await;
}

on_both!(
    what_nobody_takes_by_its_deadline_is_a_dead_letter_that_nothing_was_tried_for,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let (queue, jobs) = letters(&works, &[None, Some(2_000), Some(60_000)]).await;
        until(&engine, "they wait", |seen| {
            seen.queue(queue).is_some_and(|queue| queue.waiting == 3)
        })
        .await;
        works.clock.advance_ms(2_000);
        until_dead(&engine, queue, 1).await;
        let dead = works.letters().await;
        assert_eq!((dead.len(), dead[0].job), (1, jobs[1].id));
        assert_eq!(
            (dead[0].category, &*dead[0].code),
            (Category::Timeout, EXPIRED)
        );
        let attempts = works.attempts(jobs[1].id).await;
        assert_eq!(
            (attempts.len(), attempts[0].tries, attempts[0].outcome),
            (1, 0, Outcome::Dead)
        );
        let starts = "SELECT count(*) FROM attempt_start";
        assert_eq!(works.count(starts).await, 0, "nobody was given it");
        engine.stop().await;
    }
);

on_both!(the_earliest_deadline_goes_first, |db| async {
    let works = Works::new(db.store()).await;
    let (queue, jobs) = letters(&works, &[None, Some(90_000), None, Some(60_000)]).await;
    let engine = works.engine();
    until(&engine, "they wait", |seen| {
        seen.queue(queue).is_some_and(|queue| queue.waiting == 4)
    })
    .await;
    for wanted in [3, 1, 0, 2] {
        let handed = pulled(&engine, queue).await;
        assert_eq!(handed.job, jobs[wanted].id);
        assert_eq!(handed.deadline, jobs[wanted].deadline);
    }
    kill(engine).await;
});

on_both!(
    a_worker_holds_a_job_no_longer_than_its_deadline,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let (queue, jobs) = letters(&works, &[Some(3_000)]).await;
        let handed = pulled(&engine, queue).await;
        works.clock.advance_ms(3_000);
        until_dead(&engine, queue, 1).await;
        let dead = works.letters().await;
        assert_eq!((dead[0].job, &*dead[0].code), (jobs[0].id, EXPIRED));
        let report = WorkerReport {
            worker: anna(),
            tenant: handed.tenant,
            job: handed.job,
            attempt: handed.attempt,
            how: How::Done { result: None },
        };
        let told = engine.workers().report(report).await;
        assert!(
            matches!(told, Ok(Told::Ended)),
            "what comes later counts for nothing: {told:?}"
        );
        assert_eq!(works.outcomes(jobs[0].id).await, [Outcome::Dead]);
        engine.stop().await;
    }
);

on_both!(
    a_next_try_that_comes_too_late_is_not_waited_for,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let mut job = works.job(EFFECT, works.effect);
        // The next try is a second later.
        job.deadline = Some(works.clock.now().plus_ms(500));
        works
            .orders
            .order(job.id, &[Order::Fail(Category::Network)]);
        works.insert(std::slice::from_ref(&job)).await;
        until_dead(&engine, works.effect, 1).await;
        let attempts = works.attempts(job.id).await;
        assert_eq!(
            (attempts.len(), attempts[0].tries, attempts[0].next_at),
            (1, 1, None)
        );
        assert_eq!(
            (attempts[0].outcome, attempts[0].code.as_deref()),
            (Outcome::Dead, Some("ordered")),
            "it says what failed"
        );
        engine.stop().await;
    }
);

on_both!(
    what_expired_while_nobody_owned_the_jobs_is_not_begun_and_can_be_run_again,
    |db| async {
        let works = Works::mortal(db.store()).await;
        let engine = works.engine();
        until(&engine, "it owns", |seen| seen.owner).await;
        engine.stop().await;
        let mut jobs = works.jobs(EFFECT, works.effect, 40);
        for job in &mut jobs {
            job.deadline = Some(works.clock.now().plus_ms(1_000));
        }
        works.insert(&jobs).await;
        works.clock.advance_ms(1_000);
        let engine = works.engine();
        until_dead(&engine, works.effect, 40).await;
        assert_eq!(works.effects().await, 0);

        let again = dead_letter::end(
            &*works.store,
            &*works.clock,
            SYSTEM,
            DeadLetterFilter::default(),
            End::Retry,
            "a test",
        );
        assert_eq!(again.await.expect("they are run again"), 40);
        until_done(&engine, works.effect, 40).await;
        assert_eq!(works.effects().await, 40);
        engine.stop().await;
    }
);
