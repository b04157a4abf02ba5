//! Jobs that share an ordering key: one at a time, in their order, whatever becomes of the one before.

use mainstay::jobs::dead_letter::{self, End};
use mainstay_domain::{
    Category, Clock, JobId,
    jobs::{
        DeadLetterFilter, Endpoint, JobOrder, LineFilter, NewJob, OnDead, Outcome,
        retry::RetryPolicy, settings::EndpointSettings,
    },
};
use mainstay_testkit::on_both;

use super::works::{EFFECT, Order, Works, due, kill, until, until_done};

const WAIT_MS: i64 = 5_000;

fn settings() -> EndpointSettings {
    EndpointSettings {
        max_in_flight: 8,
        retry: RetryPolicy::Schedule {
            attempts_max: 5,
            delays_ms: vec![WAIT_MS],
        },
        ..EndpointSettings::default()
    }
}

fn keyed(mut jobs: Vec<NewJob>, key: &str) -> Vec<NewJob> {
    for job in &mut jobs {
        job.order = Some(JobOrder {
            key: key.into(),
            on_dead: OnDead::Park,
        });
    }
    jobs
}

fn ids(jobs: &[NewJob]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

/// The pushes of these jobs, in the order in which they began.
fn pushed(works: &Works, of: &[NewJob]) -> Vec<JobId> {
    let of = ids(of);
    let pushes = works.orders.pushes().into_iter().map(|(job, _)| job);
    pushes.filter(|job| of.contains(job)).collect()
}

/// Three jobs of a key, and three of another.
async fn two_keys(works: &Works, endpoint: &Endpoint) -> (Vec<NewJob>, Vec<NewJob>) {
    let one = keyed(works.pushes(endpoint, 3), "one");
    let other = keyed(works.pushes(endpoint, 3), "other");
    (one, other)
}

on_both!(
    a_job_that_is_retried_holds_up_its_key_and_no_other,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let endpoint = works.endpoint(settings()).await;
        let (one, other) = two_keys(&works, &endpoint).await;
        works
            .orders
            .order(one[0].id, &[Order::Fail(Category::Provider)]);
        works.insert(&[one.clone(), other.clone()].concat()).await;
        until(&engine, "the other key is done", |seen| {
            seen.queue(endpoint.queue)
                .is_some_and(|queue| (queue.tally.done, queue.retrying) == (3, 1))
        })
        .await;
        assert_eq!(pushed(&works, &other), ids(&other));
        assert_eq!(pushed(&works, &one), [one[0].id]);
        works.clock.set(due(&works.attempts(one[0].id).await));
        until_done(&engine, endpoint.queue, 6).await;
        let order = [one[0].id, one[0].id, one[1].id, one[2].id];
        assert_eq!(pushed(&works, &one), order);
        engine.stop().await;
    }
);

on_both!(
    a_dead_letter_parks_its_key_until_it_is_run_again,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let endpoint = works.endpoint(settings()).await;
        let (one, other) = two_keys(&works, &endpoint).await;
        works
            .orders
            .order(one[0].id, &[Order::Fail(Category::Validation)]);
        works.insert(&[one.clone(), other.clone()].concat()).await;
        until(&engine, "the other key is done", |seen| {
            seen.queue(endpoint.queue)
                .is_some_and(|queue| (queue.tally.done, queue.tally.dead) == (3, 1))
        })
        .await;
        let parked = works
            .write(|tx| Box::pin(async move { tx.line_parked().await }))
            .await;
        assert_eq!((parked.lines, parked.waiting), (1, 2));
        let now = works.clock.now();
        works
            .write(move |tx| {
                Box::pin(async move {
                    let letters = tx
                        .dead_letter_list(&DeadLetterFilter::default(), 10)
                        .await?;
                    let again = letters
                        .iter()
                        .map(|letter| dead_letter::attempt(letter, &End::Retry, "anna", now));
                    let again: Vec<_> = again.collect();
                    tx.dead_letter_end(&again).await
                })
            })
            .await;
        works.store.wake();
        until_done(&engine, endpoint.queue, 6).await;
        let order = [one[0].id, one[0].id, one[1].id, one[2].id];
        assert_eq!(pushed(&works, &one), order);
        assert_eq!(
            works.outcomes(one[1].id).await,
            [Outcome::Requeued, Outcome::Succeeded]
        );
        let lines = works
            .write(|tx| Box::pin(async move { tx.line_list(&LineFilter::default(), 10).await }))
            .await;
        assert_eq!(lines, []);
        engine.stop().await;
    }
);

on_both!(
    built_in_jobs_keep_their_order_and_each_has_its_effect_once,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let mut jobs = works.jobs(EFFECT, works.effect, 20);
        for key in 0..4 {
            let some = works.jobs(EFFECT, works.effect, 10);
            jobs.extend(keyed(some, &format!("key {key}")));
        }
        works.insert(&jobs).await;
        until_done(&engine, works.effect, 60).await;
        assert_eq!(works.effects().await, 60);
        for line in jobs[20..].chunks(10) {
            let mut ends = Vec::new();
            for job in line {
                let attempts = works.attempts(job.id).await;
                ends.push(attempts.last().map(|last| last.finished_at));
            }
            assert!(ends.is_sorted());
        }
        engine.stop().await;
    }
);

on_both!(
    whoever_takes_over_from_a_dead_owner_goes_on_in_order,
    |db| async {
        let works = Works::mortal(db.store()).await;
        let gate = works.orders.hold();
        let engine = works.engine();
        let endpoint = works.endpoint(settings()).await;
        let one = keyed(works.pushes(&endpoint, 4), "one");
        works.insert(&one).await;
        gate.add_permits(1);
        works.orders.pushed(2).await;
        kill(engine).await;
        // A start tells by its time whose it is.
        works.clock.advance_ms(1);
        gate.add_permits(100);
        let engine = works.engine_on(db.second().await);
        until(&engine, "what was lost is to be tried again", |seen| {
            seen.queue(endpoint.queue)
                .is_some_and(|queue| queue.tally.failed == 1)
        })
        .await;
        works.clock.set(due(&works.attempts(one[1].id).await));
        until_done(&engine, endpoint.queue, 4).await;
        let order = [one[0].id, one[1].id, one[1].id, one[2].id, one[3].id];
        assert_eq!(pushed(&works, &one), order);
        engine.stop().await;
    }
);
