//! Owners come and go: after a clean stop, after a death, while both believe that they own.

use mainstay_domain::jobs::{Outcome, settings::EndpointSettings};
use mainstay_testkit::on_both;

use super::works::{EFFECT, Works, due, until, until_done};

on_both!(
    after_a_clean_stop_the_next_engine_knows_everything,
    |db| async {
        let works = Works::new(db.store()).await;
        let engine = works.engine();
        works.insert(&works.jobs(EFFECT, works.effect, 30)).await;
        until_done(&engine, works.effect, 30).await;
        engine.stop().await;
        let before = engine.snapshot();
        assert!(!before.owner, "a stopped engine owns nothing");
        works.insert(&works.jobs(EFFECT, works.effect, 5)).await;
        let engine = works.engine();
        until_done(&engine, works.effect, 35).await;
        assert_eq!(works.effects().await, 35);
        engine.stop().await;
    }
);

on_both!(
    after_a_death_the_next_owner_goes_on_and_counts_right,
    |db| async {
        let works = Works::new(db.store()).await;
        let endpoint = works
            .endpoint(EndpointSettings {
                max_in_flight: 4,
                ..EndpointSettings::default()
            })
            .await;
        let gate = works.orders.hold();
        let engine = works.engine();
        works.insert(&works.jobs(EFFECT, works.effect, 700)).await;
        let pushes = works.pushes(&endpoint, 6);
        works.insert(&pushes).await;
        works.orders.pushed(4).await;
        // Killed: nothing is written down, the lease runs out by itself.
        drop(engine);
        gate.add_permits(100);
        let engine = works.engine_on(db.second().await);
        until_done(&engine, works.effect, 700).await;
        until(
            &engine,
            "the four that died with their process wait for their next try",
            |seen| {
                let queue = seen.queue(endpoint.queue);
                queue.is_some_and(|queue| (queue.tally.done, queue.tally.failed) == (2, 4))
            },
        )
        .await;
        let (lost, _) = works.orders.pushes()[0];
        let attempts = works.attempts(lost).await;
        assert_eq!(
            (attempts[0].outcome, attempts[0].code.as_deref()),
            (Outcome::Lost, Some("lost"))
        );
        works.clock.set(due(&attempts).plus_ms(2_000));
        until_done(&engine, endpoint.queue, 6).await;
        assert_eq!(works.effects().await, 700);
        assert_eq!(
            works.outcomes(lost).await,
            [Outcome::Lost, Outcome::Succeeded]
        );
        engine.stop().await;
    }
);

on_both!(
    a_job_that_dies_with_its_process_each_time_is_not_tried_for_ever,
    |db| async {
        let works = Works::new(db.store()).await;
        let endpoint = works.endpoint(EndpointSettings::default()).await;
        let _gate = works.orders.hold();
        let _ticking = works.let_time_pass(1_000);
        let job = works.pushes(&endpoint, 1).remove(0);
        works.insert(std::slice::from_ref(&job)).await;
        for death in 1..=3 {
            let engine = works.engine();
            works.orders.pushed(death).await;
            drop(engine);
            works.clock.advance_ms(120_000);
        }
        let engine = works.engine();
        until(&engine, "it dies", |seen| {
            seen.queue(endpoint.queue)
                .is_some_and(|queue| queue.dead == 1)
        })
        .await;
        assert_eq!(works.letters().await[0].code, "lost_repeatedly");
        engine.stop().await;
    }
);

on_both!(two_engines_on_one_database_do_each_job_once, |db| async {
    let works = Works::new(db.store()).await;
    let (one, two) = (works.engine(), works.engine_on(db.second().await));
    for _ in 0..5 {
        works.insert(&works.jobs(EFFECT, works.effect, 100)).await;
    }
    let owner = tokio::select! {
        () = until_done(&one, works.effect, 500) => (&one, &two),
        () = until_done(&two, works.effect, 500) => (&two, &one),
    };
    assert_eq!(works.effects().await, 500);
    // The one that stands by takes over.
    owner.0.stop().await;
    works.insert(&works.jobs(EFFECT, works.effect, 50)).await;
    until(owner.1, "it owns", |seen| seen.owner).await;
    until_done(owner.1, works.effect, 550).await;
    assert_eq!(works.effects().await, 550);
    owner.1.stop().await;
});
