//! Drift: what a provider begins to say is found once, told as an event of our own, and never before it was learned.

use mainstay_domain::{
    Clock, EventId, Scope, StoreExt, TenantId,
    intake::drift::{Drift, DriftKind, LEARN_MS, LEARN_SAMPLES},
};
use mainstay_testkit::on_both;
use serde_json::{Value, json};

use crate::world::{SECRET, World};

const SYSTEM: Scope = Scope::System("tests");

async fn send(world: &World, id: &str, kind: &str, data: Value) -> EventId {
    world.clock.advance_ms(1);
    let secs = world.clock.now().secs();
    let body = json!({ "id": id, "object": "event", "type": kind, "created": secs, "api_version": "1", "data": data });
    let answer = world.accept(world.signed(&body.to_string(), SECRET)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body: Value = serde_json::from_slice(&answer.body).expect("it is JSON");
    let id = body["event_ids"][0].as_str().expect("an id");
    id.parse().expect("an event's id")
}

/// A day after the first event, with a type that is known.
async fn learned(world: &World) {
    send(world, "evt_first", "a.known", json!({ "a": 1 })).await;
    let found = world.intake.drift_learn().await;
    assert_eq!(found.expect("it is learned"), 0);
    world.clock.advance_ms(LEARN_MS);
    for at in 1..LEARN_SAMPLES {
        send(world, &format!("evt_{at}"), "a.known", json!({ "a": 1 })).await;
    }
    let found = world.intake.drift_learn().await;
    assert_eq!(found.expect("it is learned"), 0);
}

async fn acknowledge(world: &World) {
    let (tenant, source, now) = (world.tenant, world.source, world.clock.now());
    let done = world.store.transact(SYSTEM, move |tx| {
        Box::pin(async move { tx.drift_acknowledge(tenant, source, &[], now, "ada").await })
    });
    done.await.expect("they are acknowledged");
}

async fn open(world: &World, scope: Scope, tenant: TenantId) -> Vec<Drift> {
    let source = world.source;
    let found = world.store.read(scope, move |tx| {
        Box::pin(async move { tx.drift_list(tenant, source, false, None, 100).await })
    });
    found.await.expect("they are listed")
}

async fn own_events(world: &World) -> i64 {
    world
        .count("SELECT count(*) FROM event WHERE kind = 'source.drift'")
        .await
}

on_both!(
    the_first_day_of_a_source_is_learned_from_and_nothing_is_found,
    |db| async {
        let world = World::new(db.store()).await;
        for at in 0..LEARN_SAMPLES + 5 {
            let data = json!({ format!("field_{at}"): at });
            send(&world, &format!("evt_{at}"), "a.b", data).await;
        }
        let found = world.intake.drift_learn().await;
        assert_eq!(found.expect("it is learned"), 0);
        assert_eq!(own_events(&world).await, 0);
    }
);

on_both!(
    a_new_field_another_type_and_a_new_type_are_found_once_and_told,
    |db| async {
        let world = World::new(db.store()).await;
        learned(&world).await;
        let event = send(
            &world,
            "evt_new",
            "a.known",
            json!({ "a": "1", "b": { "c": 1 } }),
        )
        .await;
        send(
            &world,
            "evt_again",
            "a.known",
            json!({ "a": "2", "b": { "c": 2 } }),
        )
        .await;
        let found = world.intake.drift_learn().await;
        assert_eq!(found.expect("it is learned"), 2);
        assert_eq!(own_events(&world).await, 1, "both in one event");
        let mut found = open(&world, Scope::Tenant(world.tenant), world.tenant).await;
        found.sort_by_key(|drift| drift.finding.kind);
        let kinds: Vec<_> = found.iter().map(|one| one.finding.kind).collect();
        assert_eq!(kinds, [DriftKind::NewField, DriftKind::FieldType]);
        assert_eq!(found[0].finding.path, "/data/b");
        assert_eq!(found[1].finding.path, "/data/a");
        assert!(found.iter().all(|one| one.event == event));
        send(&world, "evt_type", "a.new", json!({})).await;
        let found = world.intake.drift_learn().await;
        assert_eq!(found.expect("it is learned"), 1);
        let newest = open(&world, SYSTEM, world.tenant).await;
        assert_eq!(newest[0].finding.kind, DriftKind::NewType);
        assert_eq!(newest[0].event_type, "a.new");
        acknowledge(&world).await;
        assert_eq!(open(&world, SYSTEM, world.tenant).await, []);
    }
);

on_both!(
    what_one_node_has_found_another_does_not_find_again,
    |db| async {
        let world = World::new(db.store()).await;
        learned(&world).await;
        let other = world.another_intake(&db.second().await).await;
        send(&world, "evt_one", "a.known", json!({ "a": 1, "b": 1 })).await;
        assert_eq!(world.intake.drift_learn().await.expect("learned"), 1);
        world.clock.advance_ms(1);
        let body = json!({ "id": "evt_two", "object": "event", "type": "a.known", "created": world.clock.now().secs(), "api_version": "1", "data": { "a": 1, "b": 1 } });
        let inbound = world.signed(&body.to_string(), SECRET);
        assert_eq!(other.accept("stripe", inbound).await.status, 200);
        assert_eq!(other.drift_learn().await.expect("learned"), 0);
    }
);

on_both!(
    samples_without_room_are_counted_and_nobody_waits,
    |db| async {
        let world = World::new(db.store()).await;
        for at in 0..205 {
            send(&world, &format!("evt_{at}"), "a.b", json!({ "a": 1 })).await;
        }
        assert_eq!(world.intake.drift_unsampled(), 5);
        world.intake.drift_learn().await.expect("it is learned");
        send(&world, "evt_more", "a.b", json!({ "a": 1 })).await;
        assert_eq!(world.intake.drift_unsampled(), 5);
    }
);
