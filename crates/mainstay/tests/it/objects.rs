//! The index of objects: an id leads to every event that it stands in, whatever came in between.

use std::{sync::Arc, time::Duration};

use mainstay::intake::objects::{Objects, SETTLE_MS};
use mainstay_domain::{
    Clock, EventId, Scope, SourceId, StoreExt, TenantId, Timestamp,
    intake::{
        EventFilter,
        objects::{MentionFilter, OBJECTS_MAX, ObjectId},
    },
};
use mainstay_testkit::on_both;
use serde_json::{Value, json};

use crate::world::{SECRET, World, insert_tenant};

const SYSTEM: Scope = Scope::System("tests");

async fn send(world: &World, id: &str, kind: &str, object: Value) -> EventId {
    world.clock.advance_ms(1);
    send_at(world, id, kind, object, world.clock.now()).await
}

async fn send_at(world: &World, id: &str, kind: &str, object: Value, at: Timestamp) -> EventId {
    let secs = world.clock.now().secs();
    let body = json!({ "id": id, "object": "event", "type": kind, "created": secs, "data": { "object": object } });
    let mut inbound = world.signed(&body.to_string(), SECRET);
    inbound.received_at = at;
    let answer = world.accept(inbound).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body: Value = serde_json::from_slice(&answer.body).expect("it is JSON");
    let id = body["event_ids"][0].as_str().expect("an id");
    id.parse().expect("an event's id")
}

async fn round(objects: &Objects) {
    objects.round(|| true).await.expect("it is indexed");
}

async fn found(world: &World, scope: Scope, object: &str) -> Vec<EventId> {
    let filter = MentionFilter {
        object: object.into(),
        ..MentionFilter::default()
    };
    let found = world.store.read(scope, move |tx| {
        let filter = filter.clone();
        Box::pin(async move { tx.object_mentions(&filter, 100).await })
    });
    let found = found.await.expect("it answers").into_iter();
    found.map(|(_, event)| event).collect()
}

async fn objects_of(world: &World, event: EventId) -> Option<Vec<ObjectId>> {
    let tenant = world.tenant;
    let found = world.store.read(SYSTEM, move |tx| {
        Box::pin(async move { tx.object_of(tenant, &[event]).await })
    });
    found.await.expect("it answers").remove(&event)
}

async fn listed(world: &World, scope: Scope, filter: EventFilter) -> Vec<EventId> {
    let found = world.store.read(scope, move |tx| {
        let filter = filter.clone();
        Box::pin(async move { tx.event_list(&filter, 100).await })
    });
    let found = found.await.expect("it answers").into_iter();
    found.map(|event| event.id).collect()
}

async fn rules_set(world: &World, objects: Value) {
    let source = world.source;
    let changed = world.store.transact(SYSTEM, move |tx| {
        let objects = objects.clone();
        Box::pin(async move {
            let mut source = tx.source_get(source).await?.expect("the source");
            source.settings = json!({ "objects": objects }).to_string();
            tx.source_update(&source).await
        })
    });
    assert!(changed.await.expect("it is changed"));
}

on_both!(
    an_id_leads_to_its_events_newest_first_and_to_no_other_tenants,
    |db| async {
        let world = World::new(db.store()).await;
        let other = TenantId::new(world.clock.now(), &*world.random);
        insert_tenant(&*world.store, other, "other").await;
        let objects = Objects::new(&world.intake);
        let object = json!({ "id": "in_1", "customer": "cus_1" });
        let first = send(&world, "evt_1", "invoice.created", object).await;
        let object = json!({ "id": "ch_1", "customer": { "id": "cus_1" }, "invoice": "in_1" });
        let second = send(&world, "evt_2", "charge.succeeded", object).await;
        send(&world, "evt_3", "a.b", json!({ "id": "cus_2" })).await;
        assert_eq!(found(&world, SYSTEM, "cus_1").await, []);
        round(&objects).await;
        for scope in [SYSTEM, Scope::Tenant(world.tenant)] {
            assert_eq!(found(&world, scope, "cus_1").await, [second, first]);
            assert_eq!(found(&world, scope, "in_1").await, [second, first]);
            assert_eq!(found(&world, scope, "ch_1").await, [second]);
            assert_eq!(found(&world, scope, "cus").await, []);
        }
        assert_eq!(found(&world, Scope::Tenant(other), "cus_1").await, []);
        let names: Vec<_> = objects_of(&world, second)
            .await
            .expect("it is indexed")
            .into_iter()
            .map(|one| (one.name, one.id))
            .collect();
        let pair = |name: &str, id: &str| (name.to_owned(), id.to_owned());
        let all = [
            pair("object", "ch_1"),
            pair("customer", "cus_1"),
            pair("invoice", "in_1"),
        ];
        assert_eq!(names, all);
        // Nothing is written twice.
        let rows = "SELECT count(*) FROM object_mention";
        let before = world.count(rows).await;
        round(&objects).await;
        assert_eq!(world.count(rows).await, before);
        assert_eq!(objects.status().indexed, 3);
    }
);

on_both!(
    an_event_that_is_committed_late_is_not_passed_over,
    |db| async {
        let world = World::new(db.store()).await;
        let objects = Objects::new(&world.intake);
        send(&world, "evt_1", "a.b", json!({ "id": "obj_1" })).await;
        round(&objects).await;
        world.clock.advance_ms(60_000);
        send(&world, "evt_2", "a.b", json!({ "id": "obj_2" })).await;
        round(&objects).await;
        // Received long before what is indexed already, and committed only now.
        let at = world.clock.now().minus_ms(30_000);
        let late = send_at(&world, "evt_late", "a.b", json!({ "id": "late" }), at).await;
        let at = world.clock.now().minus_ms(2_000);
        let soon = send_at(&world, "evt_soon", "a.b", json!({ "id": "soon" }), at).await;
        round(&objects).await;
        assert_eq!(found(&world, SYSTEM, "late").await, []);
        assert_eq!(found(&world, SYSTEM, "soon").await, [soon]);
        // Somebody else takes over, and the time settles.
        let objects = Objects::new(&world.intake);
        world.clock.advance_ms(2 * SETTLE_MS);
        let settled = async {
            // On PostgreSQL not before the transactions of other tests have ended that are under way.
            while found(&world, SYSTEM, "late").await.is_empty() {
                world.clock.advance_ms(20_000);
                round(&objects).await;
            }
        };
        let settled = tokio::time::timeout(Duration::from_secs(60), settled).await;
        settled.expect("it settles");
        assert_eq!(found(&world, SYSTEM, "late").await, [late]);
    }
);

on_both!(an_event_that_is_noted_is_indexed_at_once, |db| async {
    let world = World::new(db.store()).await;
    let objects = Objects::new(&world.intake);
    send(&world, "evt_1", "a.b", json!({ "id": "obj_1" })).await;
    world.clock.advance_ms(600_000);
    round(&objects).await;
    let at = world.clock.now().minus_ms(60_000);
    let late = send_at(&world, "evt_late", "a.b", json!({ "id": "late" }), at).await;
    let gone = EventId::new(at, &*world.random);
    let tenant = world.tenant;
    let noted = world.store.transact(SYSTEM, move |tx| {
        Box::pin(async move { tx.object_note(&[(tenant, late), (tenant, gone)]).await })
    });
    noted.await.expect("they are noted");
    round(&objects).await;
    assert_eq!(found(&world, SYSTEM, "late").await, [late]);
    assert_eq!(world.count("SELECT count(*) FROM object_note").await, 0);
});

on_both!(
    other_rules_are_followed_for_events_that_were_indexed_before,
    |db| async {
        let world = World::new(db.store()).await;
        let objects = Objects::new(&world.intake);
        let object = json!({ "id": "in_1", "customer": "cus_1", "number": 7 });
        let event = send(&world, "evt_1", "invoice.paid", object.clone()).await;
        let other = send(&world, "evt_2", "charge.paid", object).await;
        round(&objects).await;
        assert_eq!(found(&world, SYSTEM, "in_1").await, [other, event]);
        let rules = json!([
            { "name": "number", "pointer": "/data/object/number", "types": "invoice.*" },
            { "name": "customer", "pointer": "/data/object/customer" },
        ]);
        rules_set(&world, rules).await;
        round(&objects).await;
        assert_eq!(found(&world, SYSTEM, "in_1").await, []);
        assert_eq!(found(&world, SYSTEM, "7").await, [event]);
        assert_eq!(found(&world, SYSTEM, "cus_1").await, [other, event]);
        let left = world.store.read(SYSTEM, |tx| {
            Box::pin(async move { tx.object_sources().await })
        });
        let left = left.await.expect("it answers");
        assert!(left.iter().all(|one| one.walk.is_none()), "{left:?}");
        rules_set(&world, json!([])).await;
        round(&objects).await;
        assert_eq!(world.count("SELECT count(*) FROM object_mention").await, 0);
        assert_eq!(objects_of(&world, event).await, Some(Vec::new()));
    }
);

on_both!(what_is_indexed_of_an_event_goes_with_it, |db| async {
    let world = World::new(db.store()).await;
    let objects = Objects::new(&world.intake);
    let many: Vec<String> = (0..40).map(|n| format!("id_{n}")).collect();
    rules_set(
        &world,
        json!([{ "name": "a", "pointer": "/data/object/many" }]),
    )
    .await;
    world.intake.refresh().await.expect("it looks again");
    send(&world, "evt_1", "a.b", json!({ "many": many })).await;
    send(&world, "evt_2", "a.b", json!({ "many": ["id_1"] })).await;
    round(&objects).await;
    let rows = world.count("SELECT count(*) FROM object_mention").await;
    assert_eq!(rows, OBJECTS_MAX as i64 + 1);
    let until = world.clock.now().plus_ms(1_000);
    let gone = world.store.transact(SYSTEM, move |tx| {
        Box::pin(async move { tx.event_expire(until, 10).await })
    });
    assert_eq!(gone.await.expect("they go"), 2);
    for table in ["object_mention", "object_event"] {
        let left = world.count(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(left, 0, "{table}");
    }
});

on_both!(
    a_list_is_the_same_whether_its_events_are_indexed_or_not,
    |db| async {
        let world = World::new(db.store()).await;
        let objects = Arc::new(Objects::new(&world.intake));
        let begin = world.clock.now();
        let mut sent = Vec::new();
        for at in 0..30 {
            let kind = ["a.b", "a.c", "b.d"][at % 3];
            world.clock.advance_ms(1_000);
            let object = json!({ "id": format!("obj_{}", at % 5) });
            sent.push((kind, send(&world, &format!("evt_{at}"), kind, object).await));
            if at == 20 {
                round(&objects).await;
            }
        }
        let newest = |wanted: &dyn Fn(&str, usize) -> bool| -> Vec<EventId> {
            let sent = sent.iter().enumerate();
            let mut ids: Vec<EventId> = sent
                .filter(|(at, (kind, _))| wanted(kind, *at))
                .map(|(_, (_, id))| *id)
                .collect();
            ids.reverse();
            ids
        };
        let source = Some(world.source);
        let (from, to) = (begin.plus_ms(5_000), begin.plus_ms(25_000));
        for scope in [SYSTEM, Scope::Tenant(world.tenant)] {
            let of_source = EventFilter {
                source,
                ..EventFilter::default()
            };
            let all = listed(&world, scope, of_source.clone()).await;
            assert_eq!(all, newest(&|_, _| true));
            let alike = EventFilter {
                kind: Some("a.*".into()),
                ..of_source.clone()
            };
            let found = listed(&world, scope, alike.clone()).await;
            assert_eq!(found, newest(&|kind, _| kind.starts_with("a.")));
            let window = EventFilter {
                from: Some(from),
                to: Some(to),
                ..alike.clone()
            };
            let found = listed(&world, scope, window).await;
            let within = |at: usize| {
                let at = begin.plus_ms(at as i64 * 1_001 + 1_001);
                at >= from && at < to
            };
            assert_eq!(found, newest(&|kind, at| kind != "b.d" && within(at)));
            let any_source = EventFilter {
                source: None,
                ..alike
            };
            let found = listed(&world, scope, any_source).await;
            assert_eq!(found, newest(&|kind, _| kind.starts_with("a.")));
            let exactly = EventFilter {
                kind: Some("a.c".into()),
                ..EventFilter::default()
            };
            let found = listed(&world, scope, exactly).await;
            assert_eq!(found, newest(&|kind, _| kind == "a.c"));
            let strange = EventFilter {
                source: Some(SourceId::NIL),
                ..EventFilter::default()
            };
            assert_eq!(listed(&world, scope, strange).await, []);
            let one = EventFilter {
                object: Some("obj_1".into()),
                ..EventFilter::default()
            };
            let found = listed(&world, scope, one).await;
            // As far as they are indexed.
            assert_eq!(found, newest(&|_, at| at % 5 == 1 && at <= 20));
            let page = all[7];
            let before = EventFilter {
                before: Some((Timestamp::EPOCH, page)),
                ..of_source
            };
            assert_eq!(listed(&world, scope, before).await, all[8..]);
        }
    }
);
