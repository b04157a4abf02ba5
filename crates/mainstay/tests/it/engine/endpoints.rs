//! What leaves the process: started durably, limited, guarded by a breaker.

use mainstay::jobs::Announcement;
use mainstay_domain::{
    Category,
    jobs::{
        Outcome,
        breaker::{BreakerPolicy, BreakerState, Told},
        retry::RetryPolicy,
        settings::EndpointSettings,
    },
};
use mainstay_testkit::on_both;

use super::works::{Order, Works, due, until, until_done};

fn settings() -> EndpointSettings {
    EndpointSettings {
        max_in_flight: 4,
        retry: RetryPolicy::Schedule {
            attempts_max: 5,
            delays_ms: vec![5_000],
        },
        breaker: BreakerPolicy {
            failures_to_open: 3,
            pause_ms: 10_000,
            pause_max_ms: 60_000,
            probes: 1,
            ..BreakerPolicy::default()
        },
        ..EndpointSettings::default()
    }
}

on_both!(
    pushes_are_started_durably_and_their_answers_kept,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let endpoint = works.endpoint(settings()).await;
        let jobs = works.pushes(&endpoint, 40);
        works
            .orders
            .order(jobs[3].id, &[Order::Fail(Category::Provider)]);
        works.orders.order(jobs[5].id, &[Order::Panic]);
        works.insert(&jobs).await;
        until(&engine, "one waits for its next try", |seen| {
            let queue = seen.queue(endpoint.queue);
            queue.is_some_and(|queue| queue.retrying == 1 && queue.tally.done == 38)
        })
        .await;
        works.clock.set(due(&works.attempts(jobs[3].id).await));
        until_done(&engine, endpoint.queue, 39).await;
        let pushes = works.orders.pushes();
        assert_eq!(pushes.len(), 41);
        let again: Vec<_> = pushes
            .iter()
            .filter(|(job, _)| *job == jobs[3].id)
            .collect();
        assert_eq!((again[1].1.attempt, again[1].1.tries), (2, 2));
        assert_eq!(works.count("SELECT count(*) FROM attempt_start").await, 41);
        let letter = &works.letters().await[0];
        assert_eq!(
            (letter.job, letter.endpoint, letter.category),
            (jobs[5].id, Some(endpoint.id), Category::Bug)
        );
        engine.stop().await;
    }
);

on_both!(no_more_run_at_once_than_the_endpoint_takes, |db| async {
    let works = Works::new(db.store()).await;
    let gate = works.orders.hold();
    let engine = works.engine();
    let endpoint = works.endpoint(settings()).await;
    works.insert(&works.pushes(&endpoint, 9)).await;
    works.orders.pushed(4).await;
    let seen = until(&engine, "four run", |seen| {
        seen.queue(endpoint.queue)
            .is_some_and(|queue| queue.running == 4)
    })
    .await;
    assert_eq!(
        seen.queue(endpoint.queue).map(|queue| queue.waiting),
        Some(5)
    );
    gate.add_permits(9);
    until_done(&engine, endpoint.queue, 9).await;
    engine.stop().await;
});

on_both!(
    behind_an_open_breaker_jobs_wait_without_using_attempts,
    |db| async {
        let works = Works::new(db.store()).await;
        works.orders.set_down(true);
        let engine = works.engine();
        let endpoint = works
            .endpoint(EndpointSettings {
                max_in_flight: 1,
                ..settings()
            })
            .await;
        works.insert(&works.pushes(&endpoint, 20)).await;
        until(&engine, "the breaker opens", |seen| {
            let breaker = seen
                .queue(endpoint.queue)
                .and_then(|queue| queue.breaker.clone());
            breaker.is_some_and(|breaker| breaker.state == BreakerState::Open)
        })
        .await;
        assert_eq!(works.orders.pushes().len(), 3);

        // The probe fails: one attempt more, and the pause is longer.
        works.clock.advance_ms(10_000);
        works.orders.pushed(4).await;
        until(&engine, "it stays open", |seen| {
            let breaker = seen
                .queue(endpoint.queue)
                .and_then(|queue| queue.breaker.clone());
            breaker.is_some_and(|breaker| breaker.probes_failed == 1)
        })
        .await;
        assert_eq!(works.orders.pushes().len(), 4);

        works.orders.set_down(false);
        works.clock.advance_ms(20_000);
        until_done(&engine, endpoint.queue, 20).await;
        let told: Vec<Told> = works
            .orders
            .told()
            .iter()
            .filter_map(|what| match what {
                Announcement::Breaker {
                    endpoint: of, told, ..
                } if *of == endpoint.id => Some(*told),
                _ => None,
            })
            .collect();
        assert_eq!(told, [Told::Down, Told::Up]);
        engine.stop().await;
    }
);

on_both!(a_breaker_is_still_open_after_a_restart, |db| async {
    let works = Works::new(db.store()).await;
    works.orders.set_down(true);
    let engine = works.engine();
    let endpoint = works
        .endpoint(EndpointSettings {
            max_in_flight: 1,
            ..settings()
        })
        .await;
    works.insert(&works.pushes(&endpoint, 6)).await;
    let open = |seen: &std::sync::Arc<mainstay::jobs::EngineSnapshot>| {
        let breaker = seen
            .queue(endpoint.queue)
            .and_then(|queue| queue.breaker.clone());
        breaker.is_some_and(|breaker| breaker.state == BreakerState::Open)
    };
    until(&engine, "the breaker opens", open).await;
    engine.stop().await;
    let engine = works.engine();
    until(&engine, "it is open", open).await;
    assert_eq!(works.orders.pushes().len(), 3);
    works.orders.set_down(false);
    works.clock.advance_ms(20_000);
    until_done(&engine, endpoint.queue, 6).await;
    engine.stop().await;
});

on_both!(
    jobs_of_a_disabled_endpoint_wait_until_it_is_enabled,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        let mut endpoint = works.endpoint(settings()).await;
        works.insert(&works.pushes(&endpoint, 1)).await;
        until_done(&engine, endpoint.queue, 1).await;
        // The engine has seen it enabled, and has not been told.
        endpoint.enabled = false;
        works.endpoint_update(&endpoint).await;
        works.insert(&works.pushes(&endpoint, 3)).await;
        until(&engine, "they wait", |seen| {
            seen.queue(endpoint.queue)
                .is_some_and(|queue| queue.waiting == 3)
        })
        .await;
        assert_eq!(works.orders.pushes().len(), 1);
        endpoint.enabled = true;
        works.endpoint_update(&endpoint).await;
        until_done(&engine, endpoint.queue, 4).await;
        engine.stop().await;
    }
);

on_both!(
    a_push_that_is_cancelled_while_it_runs_is_stopped,
    |db| async {
        let works = Works::new(db.store()).await;
        let _gate = works.orders.hold();
        let engine = works.engine();
        let endpoint = works.endpoint(settings()).await;
        let jobs = works.pushes(&endpoint, 1);
        works.insert(&jobs).await;
        works.orders.pushed(1).await;
        assert!(works.cancel(&jobs[0]).await);
        until(&engine, "its place is free", |seen| {
            let queue = seen.queue(endpoint.queue);
            queue.is_some_and(|queue| queue.tally.cancelled == 1 && queue.running == 0)
        })
        .await;
        assert_eq!(works.outcomes(jobs[0].id).await, [Outcome::Cancelled]);
        engine.stop().await;
    }
);
