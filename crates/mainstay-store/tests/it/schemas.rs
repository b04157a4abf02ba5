//! Schemas in versions, what violates them, and who sees either.

use mainstay_domain::{
    SchemaId, Scope, StoreError, StoreExt, StoreResult,
    intake::{
        EventFilter,
        schemas::{EventSchema, SchemaCheck, SchemaProblem, VERSIONS_MAX, Violation},
    },
    jobs::Outcome,
};
use mainstay_testkit::on_both;

use crate::kit::{SYSTEM, World, attempt, run};

fn schema(world: &World, types: &str, version: i32, seed: i64) -> EventSchema {
    EventSchema {
        id: SchemaId::new(world.at(seed), &mainstay_domain::time::SeededRandom::new(1)),
        tenant: world.tenant,
        source: world.source.id,
        types: types.into(),
        version,
        schema: format!("{{\"title\":\"{types} {version}\"}}"),
        created_at: world.at(i64::from(version)),
    }
}

async fn add(world: &World, scope: Scope, schema: &EventSchema) -> StoreResult<()> {
    run!(world.store, scope, [schema], |tx| tx.schema_insert(&schema))
}

fn check(schema: &EventSchema) -> SchemaCheck {
    SchemaCheck::Violates {
        violation: Box::new(Violation {
            schema: schema.id,
            version: schema.version,
            problems: vec![SchemaProblem {
                pointer: "/a".into(),
                keyword: "type".into(),
                problem: "is not of the type string".into(),
            }],
        }),
        incomplete: false,
    }
}

on_both!(
    the_newest_version_is_in_force_and_so_many_older_ones_are_kept,
    |db| async {
        let world = World::new(db).await;
        let before = run!(world.store, SYSTEM, [], |tx| tx.config_version()).expect("it answers");
        for version in 1..=VERSIONS_MAX + 3 {
            add(&world, world.scope(), &schema(&world, "a.*", version, 0))
                .await
                .expect("it is added");
        }
        add(&world, SYSTEM, &schema(&world, "a.b", 1, 1))
            .await
            .expect("it is added");
        let source = world.source.id;
        let newest = [
            schema(&world, "a.*", VERSIONS_MAX + 3, 0),
            schema(&world, "a.b", 1, 1),
        ];
        for scope in [SYSTEM, world.scope()] {
            for asked in [None, Some(source)] {
                let found = run!(world.store, scope, [asked], |tx| tx.schema_list(asked));
                assert_eq!(found.expect("it answers"), newest);
            }
        }
        let (tenant, id) = (world.tenant, newest[0].id);
        let kept = run!(world.store, world.scope(), [id], |tx| tx
            .schema_versions(tenant, id))
        .expect("it answers");
        let versions: Vec<i32> = kept.iter().map(|one| one.version).collect();
        assert_eq!(versions, (4..=VERSIONS_MAX + 3).rev().collect::<Vec<_>>());
        let config = run!(world.store, SYSTEM, [], |tx| tx.config_load()).expect("it loads");
        assert_eq!(config.schemas, newest);
        assert!(config.version > before);
        let again = add(&world, SYSTEM, &newest[1]).await;
        assert!(matches!(
            again,
            Err(StoreError::Conflict { what: "schema" })
        ));
        let gone = run!(world.store, SYSTEM, [id], |tx| tx.schema_delete(tenant, id));
        assert!(gone.expect("it answers"));
        let left = run!(world.store, SYSTEM, [], |tx| tx.schema_list(None));
        assert_eq!(left.expect("it answers"), newest[1..]);
    }
);

on_both!(
    a_schema_goes_with_its_source_and_is_its_tenants,
    |db| async {
        let world = World::new(db).await;
        let other = World::named(&db.store(), "other", 2).await;
        let made = schema(&world, "*", 1, 0);
        let strange = add(&world, other.scope(), &made).await;
        assert!(matches!(strange, Err(StoreError::OutOfScope)));
        add(&world, world.scope(), &made)
            .await
            .expect("it is added");
        let seen = run!(world.store, other.scope(), [], |tx| tx.schema_list(None));
        assert!(seen.expect("it answers").is_empty());
        let (tenant, id, source) = (world.tenant, made.id, world.source.id);
        let seen = run!(world.store, other.scope(), [source], |tx| tx
            .schema_list(Some(source)));
        assert!(seen.expect("it answers").is_empty());
        let strange = run!(world.store, other.scope(), [id], |tx| tx
            .schema_versions(tenant, id));
        assert!(matches!(strange, Err(StoreError::OutOfScope)));
        run!(world.store, SYSTEM, [source], |tx| tx
            .source_delete(tenant, source))
        .expect("it is removed");
        let left = run!(world.store, SYSTEM, [], |tx| tx.schema_list(None));
        assert!(left.expect("it answers").is_empty());
    }
);

on_both!(
    a_violation_is_committed_with_its_event_seen_by_its_tenant_and_goes_with_it,
    |db| async {
        let world = World::new(db).await;
        let other = World::named(&db.store(), "other", 2).await;
        let made = schema(&world, "*", 3, 0);
        let mut bad = world.arrival("evt_bad", 1);
        bad.events[0].check = check(&made);
        let good = world.arrival("evt_good", 2);
        let mut again = world.arrival("evt_bad", 3);
        again.events[0].check = check(&made);
        // Together, so that one takes another way than the other on its way in.
        let appended = world
            .append(vec![good.clone(), bad.clone(), again.clone()])
            .await;
        assert_eq!(appended.len(), 3);
        // And once more, the long way.
        let mut once_more = world.arrival("evt_bad", 4);
        once_more.events[0].check = check(&made);
        world.append_within(vec![once_more]).await;
        let filter = EventFilter {
            violates: true,
            ..EventFilter::default()
        };
        let found = run!(world.store, world.scope(), [filter], |tx| tx
            .event_list(&filter, 10))
        .expect("they are listed");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].id, bad.events[0].id);
        assert_eq!(found[0].violation.as_ref(), bad.events[0].check.violation());
        let id = good.events[0].id;
        let fine = run!(world.store, world.scope(), [id], |tx| tx.event_get(id));
        let fine = fine.expect("it answers").expect("it is there");
        assert_eq!(fine.violation, None);
        let seen = run!(world.store, other.scope(), [filter], |tx| tx
            .event_list(&filter, 10));
        assert!(seen.expect("it answers").is_empty());
        for arrival in [&bad, &good] {
            let job = &arrival.events[0].jobs[0];
            world
                .settle(vec![attempt(job, 1, Outcome::Succeeded)])
                .await;
        }
        let until = world.at(10_000);
        let gone = run!(world.store, SYSTEM, [], |tx| tx.event_expire(until, 10));
        assert_eq!(gone.expect("it answers"), 2);
        let counted = "SELECT count(*) FROM event_violation".to_owned();
        let left = world.store.query(SYSTEM, counted, 1).await;
        assert_eq!(left.expect("it answers").rows[0][0], 0);
    }
);
