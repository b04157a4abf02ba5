//! Owners come and go: after a clean stop, after a death, while both believe that they own.

use mainstay::jobs::dead_letter::{self, End};
use mainstay_domain::{
    Category, Scope,
    jobs::{DeadLetterFilter, NewJob, Outcome, QueueTally, settings::EndpointSettings},
};
use mainstay_testkit::{TestDatabase, on_both, run as runtime};

use super::works::{EFFECT, Order, Works, due, kill, until, until_done};

on_both!(
    after_a_clean_stop_the_next_engine_knows_everything,
    |db| async {
        let works = Works::mortal(db.store()).await;
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
        let works = Works::mortal(db.store()).await;
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
        kill(engine).await;
        // A start tells by its time whose it is.
        works.clock.advance_ms(1);
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

on_both!(two_engines_on_one_database_do_each_job_once, |db| async {
    let works = Works::mortal(db.store()).await;
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

/// Jobs whose time has not come.
fn later(works: &Works, count: usize) -> Vec<NewJob> {
    let mut jobs = works.jobs(EFFECT, works.effect, count);
    for job in &mut jobs {
        job.run_at = Some(job.created_at.plus_ms(60_000));
    }
    jobs
}

/// As a dump brings it from a cluster that had counted further.
async fn restore_from_afar(db: &TestDatabase) {
    let client = db.scratch().expect("it is PostgreSQL").client().await;
    let further = "SET ROLE mainstay_system;
        UPDATE job SET xid = (xid::text::bigint + 1000000000)::text::xid8;
        UPDATE signal SET xid = (xid::text::bigint + 1000000000)::text::xid8";
    client.batch_execute(further).await.expect("it is done");
}

#[test]
fn after_a_restore_into_another_cluster_nothing_is_counted_twice() {
    runtime(async {
        let db = TestDatabase::postgres().await;
        let works = Works::mortal(db.store()).await;
        let engine = works.engine();
        let scheduled = later(&works, 7);
        works.insert(&scheduled).await;
        works.insert(&works.jobs(EFFECT, works.effect, 20)).await;
        let dying = works.jobs(EFFECT, works.effect, 2);
        let wrong = Order::Fail(Category::Validation);
        works.orders.order(dying[0].id, &[wrong]);
        works.orders.order(dying[1].id, &[wrong, wrong]);
        works.insert(&dying).await;
        until(&engine, "two die", |seen| {
            seen.queue(works.effect)
                .is_some_and(|queue| queue.dead == 2)
        })
        .await;
        let again = dead_letter::end(
            &*works.store,
            &*works.clock,
            Scope::System("tests"),
            DeadLetterFilter::default(),
            End::Retry,
            "a test",
        );
        assert_eq!(again.await.expect("they are run again"), 2);
        assert!(works.cancel(&scheduled[0]).await);
        let counted = QueueTally {
            created: 29,
            done: 21,
            dead: 3,
            revived: 2,
            cancelled: 1,
            failed: 0,
        };
        until(&engine, "all is counted", |seen| {
            let queue = seen.queue(works.effect);
            queue.is_some_and(|queue| queue.tally == counted && queue.scheduled == 6)
        })
        .await;
        engine.stop().await;
        // After the engine wrote down where it is, and before the backup.
        works.insert(&later(&works, 3)).await;
        restore_from_afar(&db).await;
        let engine = works.engine();
        let seen = until(&engine, "all is found again", |seen| {
            seen.queue(works.effect)
                .is_some_and(|queue| queue.scheduled == 9)
        })
        .await;
        let queue = seen.queue(works.effect).expect("it is there");
        let counted = QueueTally {
            created: 32,
            ..counted
        };
        assert_eq!((queue.tally, queue.waiting, queue.dead), (counted, 0, 1));
        // A successor goes on from there.
        engine.stop().await;
        let engine = works.engine();
        works.clock.advance_ms(60_000);
        until_done(&engine, works.effect, 30).await;
        let seen = engine.snapshot();
        let queue = seen.queue(works.effect).expect("it is there");
        assert_eq!(
            queue.tally,
            QueueTally {
                done: 30,
                ..counted
            }
        );
        engine.stop().await;
        db.finish().await;
    });
}
