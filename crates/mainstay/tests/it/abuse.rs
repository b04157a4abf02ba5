//! Floods: what they cost is bounded, and what is genuine comes in all the same.

use std::net::IpAddr;

use mainstay::intake::{FAILURES_PER_MINUTE, Knock};
use mainstay_domain::{Clock, Scope, StoreExt};
use mainstay_testkit::on_both;

use crate::world::{SECRET, World, stripe_body};

const SYSTEM: Scope = Scope::System("tests");
const STRANGER: &str = "192.0.2.66";
const PROVIDER: &str = "203.0.113.7";

/// The status of a request that comes to the door as the server lets it: knocked, then read.
async fn come(world: &World, id: &str, secret: &str, from: &str) -> u16 {
    let address: IpAddr = from.parse().expect("an address");
    if let Knock::TurnedAway(answer) = world.intake.knock("stripe", address).await {
        assert_eq!(answer.code, Some("address_distrusted"));
        assert!(answer.retry_after_secs.is_some());
        return answer.status;
    }
    let mut inbound = world.signed(&stripe_body(id, "invoice.paid", 1), secret);
    inbound.remote = from.into();
    world.accept(inbound).await.status
}

async fn forged(world: &World, from: &str) -> u16 {
    come(world, "evt_forged", "whsec_forged", from).await
}

/// Forgeries until one is turned away unread; how many were looked at before.
async fn flood(world: &World, from: &str) -> u32 {
    for looked_at in 0..10_000 {
        if forged(world, from).await == 429 {
            return looked_at;
        }
    }
    panic!("no forgery was turned away");
}

async fn settings(world: &World, settings: &'static str) {
    let id = world.source;
    let changed = world.store.transact(SYSTEM, move |tx| {
        Box::pin(async move {
            let mut source = tx.source_get(id).await?.expect("it is there");
            source.settings = settings.into();
            tx.source_update(&source).await
        })
    });
    changed.await.expect("it is changed");
    world.intake.refresh().await.expect("it looks again");
}

on_both!(
    an_address_whose_requests_fail_too_often_is_turned_away_unread_and_no_other_is,
    |db| async {
        let world = World::new(db.store()).await;
        let looked_at = flood(&world, STRANGER).await;
        assert!(looked_at > FAILURES_PER_MINUTE, "{looked_at}");
        // The neighbour is another address.
        assert_eq!(forged(&world, "192.0.2.67").await, 401);
        assert_eq!(come(&world, "evt_1", SECRET, "192.0.2.68").await, 200);
        // It is forgotten again.
        world.clock.advance_ms(120_000);
        assert_eq!(forged(&world, STRANGER).await, 401);
    }
);

on_both!(
    who_has_proved_genuine_is_never_turned_away_for_what_others_send_from_its_address,
    |db| async {
        let world = World::new(db.store()).await;
        assert_eq!(come(&world, "evt_0", SECRET, PROVIDER).await, 200);
        for number in 1..=1_000 {
            // Behind one proxy all of them have one address.
            assert_eq!(forged(&world, PROVIDER).await, 401);
            if number % 100 == 0 {
                let id = format!("evt_{number}");
                assert_eq!(come(&world, &id, SECRET, PROVIDER).await, 200, "{number}");
            }
        }
        let genuine = "SELECT count(*) FROM event WHERE kind = 'invoice.paid'";
        assert_eq!(world.count(genuine).await, 11);
    }
);

on_both!(
    a_provider_whose_secret_was_wrong_is_heard_again_once_it_is_right,
    |db| async {
        let world = World::new(db.store()).await;
        flood(&world, PROVIDER).await;
        // The secret is right from now on; the first one that is let in proves it.
        world.clock.advance_ms(1_000);
        assert_eq!(come(&world, "evt_1", SECRET, PROVIDER).await, 200);
        for number in 2..100 {
            let id = format!("evt_{number}");
            assert_eq!(come(&world, &id, SECRET, PROVIDER).await, 200, "{number}");
        }
    }
);

on_both!(
    a_source_over_its_rate_is_told_to_come_again_and_counted_and_told_of,
    |db| async {
        let world = World::new(db.store()).await;
        settings(&world, r#"{"rate":{"per_second":1,"burst":3}}"#).await;
        for number in 0..3 {
            let inbound = world.event(&format!("evt_{number}"), "invoice.paid");
            assert_eq!(world.accept(inbound).await.status, 200);
        }
        let over = world.accept(world.event("evt_over", "invoice.paid")).await;
        assert_eq!((over.status, over.code), (429, Some("rate_exceeded")));
        assert!(over.retry_after_secs.is_some_and(|secs| secs >= 1));
        // A forgery takes nothing from it, and is not what the source is told to slow down for.
        let forged = world.signed(&stripe_body("evt_f", "invoice.paid", 1), "whsec_forged");
        assert_eq!(world.accept(forged).await.status, 401);
        world.clock.advance_ms(1_000);
        let again = world.accept(world.event("evt_over", "invoice.paid")).await;
        assert_eq!(again.status, 200, "{again:?}");
        let told = "SELECT count(*) FROM event WHERE kind = 'intake.rate_exceeded'";
        world.until(told, 1).await;
        assert_eq!(
            world
                .count("SELECT count(*) FROM event WHERE kind = 'invoice.paid'")
                .await,
            4
        );
    }
);

on_both!(
    a_request_that_is_matched_once_more_is_counted_once,
    |db| async {
        let world = World::new(db.store()).await;
        settings(&world, r#"{"rate":{"per_second":1,"burst":1}}"#).await;
        // Intake does not know of it yet: the first append finds another configuration.
        world.bind("money", "*").await;
        let answer = world.accept(world.event("evt_1", "invoice.paid")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(world.clock.now() >= crate::world::START);
    }
);

on_both!(
    what_comes_again_with_other_content_is_told_of_once_and_kept_apart,
    |db| async {
        let world = World::new(db.store()).await;
        world.accept(world.event("evt_1", "invoice.paid")).await;
        for amount in [1, 2, 2, 2, 3] {
            let altered = world.signed(&stripe_body("evt_1", "invoice.paid", amount), SECRET);
            let answer = world.accept(altered).await;
            assert!(String::from_utf8_lossy(&answer.body).contains("conflict"));
        }
        world
            .until(
                "SELECT count(*) FROM event WHERE kind = 'intake.conflict'",
                1,
            )
            .await;
        let kept = "SELECT count(*) FROM event_conflict";
        assert_eq!(world.count(kept).await, 3);
        let times = "SELECT CAST(sum(times) AS bigint) FROM event_conflict";
        assert_eq!(world.count(times).await, 5);
        assert_eq!(world.intake.conflicts(), [("stripe".to_owned(), 5)]);
    }
);
