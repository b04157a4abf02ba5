//! Schemas: events that are not as expected are kept, processed and flagged, and nothing is lost for it.

use mainstay_domain::{
    Clock, SchemaId, Scope, StoreExt, TenantId,
    intake::{Event, EventFilter, schemas::EventSchema},
};
use mainstay_testkit::on_both;
use serde_json::{Value, json};

use crate::world::{SECRET, START, World, insert_tenant, stripe_body};

const SYSTEM: Scope = Scope::System("tests");

/// Adds a version of a schema.
async fn expect(world: &World, id: SchemaId, types: &str, version: i32, schema: &str) {
    let schema = EventSchema {
        id,
        tenant: world.tenant,
        source: world.source,
        types: types.into(),
        version,
        schema: schema.into(),
        created_at: world.clock.now(),
    };
    let added = world.store.transact(SYSTEM, move |tx| {
        let schema = schema.clone();
        Box::pin(async move { tx.schema_insert(&schema).await })
    });
    added.await.expect("the schema is added");
}

async fn expected(world: &World, types: &str, schema: Value) -> SchemaId {
    let id = SchemaId::new(world.clock.now(), &*world.random);
    expect(world, id, types, 1, &schema.to_string()).await;
    id
}

/// An amount that can be paid.
fn positive() -> Value {
    json!({ "properties": { "data": { "properties": { "object": {
        "required": ["amount_paid"],
        "properties": { "amount_paid": { "type": "integer", "exclusiveMinimum": 0 } },
    } } } } })
}

async fn paid(world: &World, id: &str, amount: i64) {
    world.clock.advance_ms(1);
    let inbound = world.signed(&stripe_body(id, "invoice.paid", amount), SECRET);
    let answer = world.accept(inbound).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The events that violate, oldest first.
async fn violating(world: &World, scope: Scope) -> Vec<Event> {
    let filter = EventFilter {
        violates: true,
        ..EventFilter::default()
    };
    let events = world.store.read(scope, move |tx| {
        let filter = filter.clone();
        Box::pin(async move { tx.event_list(&filter, 1_000).await })
    });
    let mut events = events.await.expect("they are listed");
    events.reverse();
    events
}

fn ids(events: &[Event]) -> Vec<&str> {
    events.iter().map(|one| one.provider_id.as_str()).collect()
}

on_both!(
    an_event_that_violates_its_schema_is_kept_processed_and_flagged,
    |db| async {
        let world = World::new(db.store()).await;
        world.bind("money", "*").await;
        let schema = expected(&world, "invoice.*", positive()).await;
        paid(&world, "evt_good", 10).await;
        paid(&world, "evt_bad", -10).await;
        // Known already: nothing is said of it twice.
        paid(&world, "evt_bad", -10).await;
        assert_eq!(world.count("SELECT count(*) FROM event").await, 2);
        assert_eq!(world.count("SELECT count(*) FROM job").await, 2);
        let found = violating(&world, Scope::Tenant(world.tenant)).await;
        assert_eq!(ids(&found), ["evt_bad"]);
        let violation = found[0].violation.clone().expect("it is flagged");
        assert_eq!((violation.schema, violation.version), (schema, 1));
        let problem = &violation.problems[0];
        assert_eq!(problem.pointer, "/data/object/amount_paid");
        assert_eq!(problem.keyword, "exclusiveMinimum");
        let counted = world.intake.schema_violations();
        assert_eq!(counted, [("stripe".into(), "invoice.*".into(), 1)]);
    }
);

on_both!(
    the_most_exact_schema_counts_and_of_it_the_newest_version_on_every_node,
    |db| async {
        let world = World::new(db.store()).await;
        let other = world.another_intake(&db.second().await).await;
        expected(&world, "*", json!(false)).await;
        expected(&world, "invoice.*", json!(false)).await;
        let exact = expected(&world, "invoice.paid", json!(true)).await;
        paid(&world, "evt_1", 10).await;
        assert_eq!(ids(&violating(&world, SYSTEM).await), Vec::<&str>::new());
        expect(&world, exact, "invoice.paid", 2, "false").await;
        world.clock.advance_ms(1);
        let inbound = world.signed(&stripe_body("evt_2", "invoice.paid", 10), SECRET);
        assert_eq!(other.accept("stripe", inbound).await.status, 200);
        let found = violating(&world, SYSTEM).await;
        assert_eq!(ids(&found), ["evt_2"]);
        assert_eq!(found[0].violation.as_ref().map(|one| one.version), Some(2));
    }
);

on_both!(
    a_schema_that_this_program_cannot_use_checks_nothing_and_loses_nothing,
    |db| async {
        let world = World::new(db.store()).await;
        expected(&world, "*", json!({ "$ref": "https://example.com/later" })).await;
        paid(&world, "evt_1", 10).await;
        assert_eq!(world.count("SELECT count(*) FROM event").await, 1);
        assert_eq!(ids(&violating(&world, SYSTEM).await), Vec::<&str>::new());
    }
);

on_both!(
    what_was_found_of_a_waiting_event_is_its_tenants_once_it_is_known,
    |db| async {
        let world = World::new(db.store()).await;
        expected(&world, "*", json!({ "required": ["nothing"] })).await;
        let (id, settings) = (
            world.source,
            json!({ "tenant": { "find": [{ "pointer": "/account" }], "direct": true } }),
        );
        let changed = world.store.transact(SYSTEM, move |tx| {
            let settings = settings.to_string();
            Box::pin(async move {
                let mut source = tx.source_get(id).await?.expect("it is there");
                source.settings = settings;
                tx.source_update(&source).await
            })
        });
        assert!(changed.await.expect("the source is changed"));
        let body = json!({ "id": "evt_1", "object": "event", "type": "a.b", "created": START.secs(), "account": "anna" });
        let inbound = world.signed(&body.to_string(), SECRET);
        assert_eq!(world.accept(inbound).await.status, 200);
        assert_eq!(world.count("SELECT count(*) FROM event_violation").await, 1);
        let anna = TenantId::new(world.clock.now(), &*world.random);
        insert_tenant(&*world.store, anna, "anna").await;
        let assigned = world.intake.assign_due(|| true).await;
        assert_eq!(assigned.expect("it is assigned"), 1);
        let own = violating(&world, Scope::Tenant(anna)).await;
        assert_eq!(ids(&own), ["evt_1"]);
        assert!(own[0].violation.is_some());
        let others = violating(&world, Scope::Tenant(world.tenant)).await;
        assert_eq!(ids(&others), Vec::<&str>::new());
    }
);
