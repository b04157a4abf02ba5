//! Filters of bindings: only events that say what is asked make jobs, and none is lost for it.

use std::collections::HashMap;

use mainstay::{
    billing,
    intake::replay::{Prepared, Request, plan},
};
use mainstay_domain::{
    BindingId, Scope, StoreExt,
    intake::{EventFilter, replay::ReplayTarget},
};
use mainstay_testkit::on_both;

use crate::world::{SECRET, World, stripe_body};

const SYSTEM: Scope = Scope::System("tests");
const LARGE: &str = "body.data.object.amount_paid > 1000 && body.data.object.currency == 'eur'";

async fn paid(world: &World, id: &str, amount: i64) {
    let inbound = world.signed(&stripe_body(id, "invoice.paid", amount), SECRET);
    let answer = world.accept(inbound).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn jobs(world: &World) -> i64 {
    world.count("SELECT count(*) FROM job").await
}

on_both!(
    only_events_that_say_what_a_filter_asks_make_jobs,
    |db| async {
        let world = World::new(db.store()).await;
        world.bind_filtered("large", "invoice.*", Some(LARGE)).await;
        paid(&world, "evt_small", 10).await;
        assert_eq!(jobs(&world).await, 0);
        paid(&world, "evt_large", 5_000).await;
        assert_eq!(jobs(&world).await, 1);
        assert_eq!(world.count("SELECT count(*) FROM event").await, 2);
    }
);

on_both!(
    a_filter_sees_the_type_the_source_the_id_and_the_headers,
    |db| async {
        let world = World::new(db.store()).await;
        let all = "type == 'invoice.paid' && source == 'stripe' && id.startsWith('evt_') \
            && headers['stripe-signature'].contains('v1=')";
        world.bind_filtered("all", "*", Some(all)).await;
        paid(&world, "evt_1", 10).await;
        assert_eq!(jobs(&world).await, 1);
    }
);

on_both!(
    an_event_that_a_filter_cannot_be_evaluated_for_is_kept_without_a_job,
    |db| async {
        let world = World::new(db.store()).await;
        world
            .bind_filtered("wrong", "*", Some("body.data.refund.amount > 1"))
            .await;
        world.bind("money", "*").await;
        paid(&world, "evt_1", 10).await;
        assert_eq!(world.count("SELECT count(*) FROM event").await, 1);
        assert_eq!(jobs(&world).await, 1, "the other binding's");
    }
);

on_both!(
    a_filter_that_this_program_cannot_read_holds_everything_and_loses_nothing,
    |db| async {
        let world = World::new(db.store()).await;
        world
            .bind_filtered("later", "*", Some("body.a.someday(x)"))
            .await;
        paid(&world, "evt_1", 10).await;
        assert_eq!(jobs(&world).await, 0);
        assert_eq!(world.count("SELECT count(*) FROM event").await, 1);
    }
);

on_both!(
    a_filter_that_was_changed_holds_for_the_next_event_on_every_node,
    |db| async {
        let world = World::new(db.store()).await;
        let id = world.bind_filtered("money", "*", Some("false")).await;
        let other = world.another_intake(&db.second().await).await;
        paid(&world, "evt_1", 10).await;
        assert_eq!(jobs(&world).await, 0);
        change(&world, id, Some(LARGE)).await;
        let inbound = world.signed(&stripe_body("evt_2", "invoice.paid", 5_000), SECRET);
        assert_eq!(other.accept("stripe", inbound).await.status, 200);
        assert_eq!(jobs(&world).await, 1);
        change(&world, id, None).await;
        paid(&world, "evt_3", 10).await;
        assert_eq!(jobs(&world).await, 2);
    }
);

async fn change(world: &World, id: BindingId, filter: Option<&str>) {
    let filter = filter.map(ToOwned::to_owned);
    let changed = world.store.transact(SYSTEM, move |tx| {
        let filter = filter.clone();
        Box::pin(async move {
            let all = tx.binding_list().await?;
            let mut binding = all
                .into_iter()
                .find(|one| one.id == id)
                .expect("it is there");
            binding.filter = filter;
            tx.binding_update(&binding).await
        })
    });
    assert!(changed.await.expect("it is changed"));
}

on_both!(
    a_replay_asks_the_filters_unless_it_names_a_binding,
    |db| async {
        let world = World::new(db.store()).await;
        paid(&world, "evt_small", 10).await;
        paid(&world, "evt_large", 5_000).await;
        let id = world.bind_filtered("large", "*", Some(LARGE)).await;
        let queue = world.store.transact(SYSTEM, |tx| {
            Box::pin(async move { tx.queue_ensure(billing::QUEUE).await })
        });
        let queue = queue.await.expect("there is one");
        let builtin = HashMap::from([(billing::RECORD.to_owned(), queue)]);
        let wanted = |target| Request {
            target,
            ..Request::new(EventFilter::default(), "a test")
        };
        let (store, clock) = (&*world.store, &*world.clock);
        let request = wanted(ReplayTarget::Bindings);
        let planned = plan(store, clock, &builtin, SYSTEM, request.clone()).await;
        let planned = planned.expect("a plan");
        assert_eq!((planned.events, planned.jobs), (2, 1));
        let one = wanted(ReplayTarget::Binding(id));
        let planned = plan(store, clock, &builtin, SYSTEM, one).await;
        assert_eq!(planned.expect("a plan").jobs, 2);
        let random = &*world.random;
        let replay = Prepared::new(store, clock, random, &builtin, SYSTEM, request);
        let replay = replay.await.expect("it is prepared");
        let begun = world.store.transact(SYSTEM, move |tx| {
            let replay = replay.clone();
            Box::pin(async move { replay.insert(tx).await })
        });
        assert_eq!(begun.await.expect("a replay"), Some(()));
        assert_eq!(jobs(&world).await, 1);
    }
);
