//! Every job ends: done, or as a dead letter that can be run again.

use mainstay::jobs::{
    Announcement,
    dead_letter::{self, End},
};
use mainstay_domain::{
    Category, Clock,
    jobs::{DeadLetterFilter, Outcome},
};
use mainstay_testkit::on_both;

use super::works::{EFFECT, Order, SYSTEM, Works, due, until, until_done};

on_both!(many_jobs_are_done_and_counted, |db| async {
    let works = Works::new(db.store()).await;
    let engine = works.engine();
    let jobs = works.jobs("noop", works.noop, 1_700);
    for part in jobs.chunks(400) {
        works.insert(part).await;
    }
    until_done(&engine, works.noop, 1_700).await;
    assert_eq!(works.count("SELECT count(*) FROM attempt").await, 1_700);
    engine.stop().await;
});

on_both!(
    an_effect_happens_once_and_a_failed_one_leaves_nothing,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let jobs = works.jobs(EFFECT, works.effect, 60);
        for job in &jobs[20..25] {
            works
                .orders
                .order(job.id, &[Order::Fail(Category::Validation)]);
        }
        works.orders.order(jobs[40].id, &[Order::Panic]);
        works.insert(&jobs).await;
        until_done(&engine, works.effect, 54).await;
        assert_eq!(works.effects().await, 54);
        let letters = works.letters().await;
        assert_eq!(letters.len(), 6);
        let panicked = letters.iter().find(|letter| letter.job == jobs[40].id);
        let panicked = panicked.expect("the one that panicked is among them");
        assert_eq!(
            (panicked.category, &*panicked.code),
            (Category::Bug, "handler_panicked")
        );
        engine.stop().await;
    }
);

on_both!(
    a_failed_job_is_tried_again_when_its_time_has_come,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let job = works.job(EFFECT, works.effect);
        works.orders.order(
            job.id,
            &[
                Order::Fail(Category::Network),
                Order::Fail(Category::Network),
            ],
        );
        works.insert(std::slice::from_ref(&job)).await;
        for tries in 1..=2 {
            until(&engine, "it waits for its next try", |seen| {
                let queue = seen.queue(works.effect);
                queue.is_some_and(|queue| queue.tally.failed == tries && queue.retrying == 1)
            })
            .await;
            let due = due(&works.attempts(job.id).await);
            let wait = due.ms_since(works.clock.now());
            assert!(
                (900..=1_100).contains(&wait),
                "a second, more or less: {wait} ms"
            );
            works.clock.set(due);
        }
        until_done(&engine, works.effect, 1).await;
        let outcomes = works.outcomes(job.id).await;
        assert_eq!(
            outcomes,
            [Outcome::Failed, Outcome::Failed, Outcome::Succeeded]
        );
        assert_eq!(works.effects().await, 1);
        engine.stop().await;
    }
);

on_both!(
    a_job_that_uses_up_its_tries_is_a_dead_letter_and_can_be_run_again,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let job = works.job(EFFECT, works.effect);
        works
            .orders
            .order(job.id, &[Order::Fail(Category::Timeout); 3]);
        works.insert(std::slice::from_ref(&job)).await;
        for tries in 1..=3 {
            until(&engine, "it is tried", |seen| {
                let tally = seen.queue(works.effect).map(|queue| queue.tally);
                tally.is_some_and(|tally| tally.failed + tally.dead == tries)
            })
            .await;
            works.clock.advance_ms(2_000);
        }
        let letters = works.letters().await;
        assert_eq!(letters.len(), 1);
        assert_eq!((letters[0].job, letters[0].attempt), (job.id, 3));
        assert_eq!(
            (letters[0].category, &*letters[0].code),
            (Category::Timeout, "ordered")
        );
        assert!(
            works
                .orders
                .told()
                .contains(&Announcement::Dead(letters[0].clone()))
        );

        let filter = DeadLetterFilter::default();
        let ended = dead_letter::end(
            &*works.store,
            &*works.clock,
            SYSTEM,
            filter,
            End::Retry,
            "a test",
        );
        assert_eq!(ended.await.expect("it is run again"), 1);
        until_done(&engine, works.effect, 1).await;
        assert_eq!(
            works.outcomes(job.id).await[3..],
            [Outcome::Requeued, Outcome::Succeeded]
        );
        assert_eq!(works.letters().await, []);
        let seen = engine.snapshot();
        let queue = seen.queue(works.effect).expect("the queue is known");
        assert_eq!(
            (queue.dead, queue.tally.dead, queue.tally.revived),
            (0, 1, 1)
        );
        engine.stop().await;
    }
);

on_both!(a_discarded_letter_is_no_dead_letter_any_more, |db| async {
    let works = Works::new(db.store()).await;
    let engine = works.engine();
    let job = works.job(EFFECT, works.effect);
    works
        .orders
        .order(job.id, &[Order::Fail(Category::Validation)]);
    works.insert(std::slice::from_ref(&job)).await;
    until(&engine, "it dies", |seen| {
        seen.queue(works.effect)
            .is_some_and(|queue| queue.dead == 1)
    })
    .await;
    let reason = End::Discard("not worth it".into());
    let filter = DeadLetterFilter::default();
    let ended = dead_letter::end(
        &*works.store,
        &*works.clock,
        SYSTEM,
        filter,
        reason,
        "a test",
    );
    assert_eq!(ended.await.expect("it is discarded"), 1);
    let seen = until(&engine, "it is counted", |seen| {
        seen.queue(works.effect)
            .is_some_and(|queue| queue.tally.cancelled == 1)
    })
    .await;
    let queue = seen.queue(works.effect).expect("the queue is known");
    assert_eq!((queue.dead, queue.waiting), (0, 0));
    engine.stop().await;
});

on_both!(
    a_job_with_a_time_of_its_own_waits_for_it_and_a_cancelled_one_never_runs,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let mut jobs = works.jobs(EFFECT, works.effect, 3);
        for job in &mut jobs {
            job.run_at = Some(works.clock.now().plus_ms(60_000));
        }
        works.insert(&jobs).await;
        until(&engine, "they are scheduled", |seen| {
            seen.queue(works.effect)
                .is_some_and(|queue| queue.scheduled == 3)
        })
        .await;
        assert!(works.cancel(&jobs[1]).await);
        until(&engine, "one is cancelled", |seen| {
            seen.queue(works.effect)
                .is_some_and(|queue| queue.scheduled == 2 && queue.tally.cancelled == 1)
        })
        .await;
        works.clock.advance_ms(60_000);
        until_done(&engine, works.effect, 2).await;
        assert_eq!(works.outcomes(jobs[1].id).await, [Outcome::Cancelled]);
        assert_eq!(works.effects().await, 2);
        engine.stop().await;
    }
);

on_both!(
    a_kind_that_nobody_knows_is_a_dead_letter_at_once,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        works
            .insert(&works.jobs("test.unheard_of", works.effect, 1))
            .await;
        until(&engine, "it dies", |seen| {
            seen.queue(works.effect)
                .is_some_and(|queue| queue.dead == 1)
        })
        .await;
        assert_eq!(works.letters().await[0].code, "kind_unknown");
        engine.stop().await;
    }
);
