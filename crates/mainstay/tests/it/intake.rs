//! The door: what is acknowledged is kept once and for ever, and what is not is sent again.

use std::sync::Arc;

use mainstay_domain::{Clock, Scope, Store, StoreExt, intake::Verdict};
use mainstay_testkit::{FailingStore, on_both};

use crate::world::{SECRET, World, stripe_body};

on_both!(an_acknowledged_event_is_kept_with_its_jobs, |db| async {
    let world = World::new(db.store()).await;
    world.bind("money", "invoice.*").await;
    let answer = world.accept(world.event("evt_1", "invoice.paid")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(world.count("SELECT count(*) FROM event").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM job").await, 1);
    let receipts = world.store.read(Scope::System("tests"), |tx| {
        Box::pin(async move { tx.receipt_list(None, None, None, 10).await })
    });
    let receipts = receipts.await.expect("they are listed");
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0].verdict, Verdict::Accepted);
    assert_eq!(
        world.count("SELECT count(*) FROM receipt").await,
        0,
        "the event's row holds it"
    );
});

on_both!(
    an_event_that_nobody_listens_to_is_kept_all_the_same,
    |db| async {
        let world = World::new(db.store()).await;
        world.bind("money", "invoice.*").await;
        assert_eq!(
            world
                .accept(world.event("evt_1", "rocket.launched"))
                .await
                .status,
            200
        );
        assert_eq!(world.count("SELECT count(*) FROM event").await, 1);
        assert_eq!(world.count("SELECT count(*) FROM job").await, 0);
    }
);

on_both!(
    duplicates_at_the_same_time_on_two_nodes_make_one_event,
    |db| async {
        let world = World::new(db.store()).await;
        world.bind("money", "*").await;
        let other = world.another_intake(&db.second().await).await;
        let mut running = tokio::task::JoinSet::new();
        for copy in 0..32 {
            let intake = if copy % 2 == 0 {
                Arc::clone(&world.intake)
            } else {
                Arc::clone(&other)
            };
            let inbound = world.event(&format!("evt_{}", copy % 4), "invoice.paid");
            running.spawn(async move { intake.accept("stripe", inbound).await.status });
        }
        while let Some(status) = running.join_next().await {
            assert_eq!(status.expect("no panic"), 200);
        }
        assert_eq!(world.count("SELECT count(*) FROM event").await, 4);
        assert_eq!(world.count("SELECT count(*) FROM job").await, 4);
        assert_eq!(world.count("SELECT sum(deliveries) FROM dedup").await, 32);
    }
);

on_both!(
    the_same_id_with_another_body_is_a_conflict_that_is_shown,
    |db| async {
        let world = World::new(db.store()).await;
        world.accept(world.event("evt_1", "invoice.paid")).await;
        let altered = world.signed(&stripe_body("evt_1", "invoice.paid", 999), SECRET);
        let answer = world.accept(altered).await;
        assert_eq!(answer.status, 200, "the provider has done its part");
        assert!(String::from_utf8_lossy(&answer.body).contains("conflict"));
        // Beside it there may be one of our own, which tells of the conflict.
        let events = "SELECT count(*) FROM event WHERE kind = 'invoice.paid'";
        assert_eq!(world.count(events).await, 1);
        assert_eq!(
            world
                .count("SELECT count(*) FROM receipt WHERE body IS NOT NULL")
                .await,
            1
        );
    }
);

on_both!(
    a_binding_made_while_requests_wait_is_never_missed,
    |db| async {
        let world = World::new(db.store()).await;
        // Intake has loaded a configuration without it; no message tells it of the change.
        world.bind("money", "*").await;
        assert_eq!(
            world
                .accept(world.event("evt_1", "invoice.paid"))
                .await
                .status,
            200
        );
        assert_eq!(world.count("SELECT count(*) FROM job").await, 1);
    }
);

on_both!(
    what_is_not_verified_is_refused_and_leaves_no_event,
    |db| async {
        let world = World::new(db.store()).await;
        let forged = world.signed(
            &stripe_body("evt_1", "invoice.paid", 1),
            "whsec_somebody_else",
        );
        assert_eq!(world.accept(forged).await.status, 401);
        let mut unsigned = world.event("evt_1", "invoice.paid");
        unsigned.headers.clear();
        assert_eq!(world.accept(unsigned).await.status, 400);
        let late = world.event("evt_1", "invoice.paid");
        world.clock.advance_ms(301_000);
        assert_eq!(world.accept(late).await.status, 401);
        assert_eq!(
            world
                .intake
                .accept("nobody", world.event("evt_1", "invoice.paid"))
                .await
                .status,
            404
        );
        assert_eq!(world.count("SELECT count(*) FROM event").await, 0);
    }
);

on_both!(
    without_a_database_the_provider_is_told_to_send_again,
    |db| async {
        let failing = Arc::new(FailingStore::new(db.store()));
        let world = World::new(Arc::clone(&failing) as Arc<dyn Store>).await;
        failing.set_down(true);
        let answer = world.accept(world.event("evt_1", "invoice.paid")).await;
        assert_eq!(
            (answer.status, answer.code),
            (503, Some("store_unavailable"))
        );
        assert!(answer.retry_after_secs.is_some());
        failing.set_down(false);
        assert_eq!(
            world
                .accept(world.event("evt_1", "invoice.paid"))
                .await
                .status,
            200
        );
        assert_eq!(
            world
                .count("SELECT count(*) FROM event WHERE kind = 'invoice.paid'")
                .await,
            1
        );
    }
);

on_both!(
    a_commit_whose_answer_is_lost_ends_in_one_event,
    |db| async {
        let failing = Arc::new(FailingStore::new(db.store()));
        let world = World::new(Arc::clone(&failing) as Arc<dyn Store>).await;
        world.bind("money", "*").await;
        world
            .intake
            .refresh()
            .await
            .expect("the configuration is read");
        failing.fail_after(1);
        let inbound = world.event("evt_1", "invoice.paid");
        assert_eq!(
            world.accept(inbound.clone()).await.status,
            503,
            "nobody may claim what is not known"
        );
        assert_eq!(world.accept(inbound).await.status, 200);
        assert_eq!(
            world
                .count("SELECT count(*) FROM event WHERE kind = 'invoice.paid'")
                .await,
            1
        );
        assert_eq!(world.count("SELECT count(*) FROM job").await, 1);
    }
);

on_both!(a_body_that_is_kept_is_the_body_that_came, |db| async {
    let world = World::new(db.store()).await;
    let body = stripe_body("evt_1", &"é\\u0000".repeat(40), 1);
    let inbound = world.signed(&body.replace("\\\\u0000", "x"), SECRET);
    let sent = inbound.body.clone();
    assert_eq!(world.accept(inbound).await.status, 200);
    let kept = StoreExt::read(&*world.store, Scope::System("tests"), |tx| {
        Box::pin(async move {
            let events = tx
                .event_list(&mainstay_domain::intake::EventFilter::default(), 10)
                .await?;
            tx.event_payload(events[0].id).await
        })
    })
    .await
    .expect("the event is read")
    .expect("it has a payload");
    assert_eq!(
        mainstay::intake::decompress(&kept).expect("it is readable"),
        sent
    );
    assert!(world.clock.now() >= crate::world::START);
});
