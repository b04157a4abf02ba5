//! Links from values to tenants, many at a time.

use mainstay_domain::{
    LinkId, SourceId, StoreError, StoreExt, StoreResult, TenantId, intake::links::SourceLink,
};
use mainstay_testkit::on_both;

use crate::kit::{BEGIN, SYSTEM, World, run};

/// More than one statement adds.
const MANY: usize = 1_203;

fn link(world: &World, value: &str) -> SourceLink {
    SourceLink {
        id: LinkId::new(BEGIN, &*world.random),
        source: world.source.id,
        value: value.to_owned(),
        tenant: world.tenant,
        created_at: BEGIN,
    }
}

fn many(world: &World) -> Vec<SourceLink> {
    // In no order at all.
    let numbers = (0..MANY).map(|number| number * 7 % MANY);
    numbers
        .map(|number| link(world, &format!("acct_{number}")))
        .collect()
}

async fn insert(world: &World, links: Vec<SourceLink>) -> StoreResult<Vec<bool>> {
    run!(world.store, SYSTEM, [links], |tx| tx.link_insert(&links))
}

async fn found(world: &World, value: &str) -> Option<TenantId> {
    let (source, value) = (world.source.id, value.to_owned());
    let found = run!(world.store, SYSTEM, [value], |tx| tx
        .tenant_find(source, &value, false));
    found.expect("it answers")
}

async fn version(world: &World) -> i64 {
    run!(world.store, SYSTEM, [], |tx| tx.config_version()).expect("it answers")
}

on_both!(many_links_are_added_at_once_as_one_change, |db| async {
    let world = World::new(db).await;
    let before = version(&world).await;
    let mut links = many(&world);
    // The same once more in the same call.
    links.push(link(&world, "acct_0"));
    let mut new = insert(&world, links).await.expect("they are added");
    assert_eq!(version(&world).await, before + 1);
    assert_eq!(new.len(), MANY + 1);
    let twice = [new.remove(0), new.pop().expect("the last")];
    assert!(twice[0] != twice[1], "one of the two is new: {twice:?}");
    assert!(new.iter().all(|new| *new));
    for value in ["acct_0", "acct_600", "acct_1202"] {
        assert_eq!(found(&world, value).await, Some(world.tenant), "{value}");
    }

    let mut again = many(&world);
    again.truncate(700);
    again.push(link(&world, "acct_new"));
    let new = insert(&world, again).await.expect("they are known");
    assert_eq!(new.iter().filter(|new| **new).count(), 1);
    assert_eq!(new.last(), Some(&true));
});

on_both!(
    a_value_of_another_tenants_keeps_all_links_of_the_call_out,
    |db| async {
        let world = World::new(db).await;
        let ben = World::named(&world.store, "ben", 2).await;
        let theirs = SourceLink {
            tenant: ben.tenant,
            ..link(&world, "acct_77")
        };
        insert(&world, vec![theirs]).await.expect("it is added");
        let refused = insert(&world, many(&world)).await;
        assert!(
            matches!(refused, Err(StoreError::Conflict { what: "link" })),
            "{refused:?}"
        );
        assert_eq!(found(&world, "acct_77").await, Some(ben.tenant));
        for value in ["acct_0", "acct_1202"] {
            assert_eq!(found(&world, value).await, None, "{value}");
        }
        // Two tenants for one value in the same call, and a source or a tenant that is nobody's.
        let two = vec![
            link(&world, "acct_1"),
            SourceLink {
                tenant: ben.tenant,
                ..link(&world, "acct_1")
            },
        ];
        let refused = insert(&world, two).await;
        assert!(
            matches!(refused, Err(StoreError::Conflict { what: "link" })),
            "{refused:?}"
        );
        let nowhere = SourceLink {
            source: SourceId::NIL,
            ..link(&world, "acct_1")
        };
        let refused = insert(&world, vec![link(&world, "acct_1"), nowhere]).await;
        assert!(
            matches!(refused, Err(StoreError::Reference { .. })),
            "{refused:?}"
        );
        assert_eq!(found(&world, "acct_1").await, None);
    }
);

on_both!(
    events_that_wait_for_the_values_of_many_links_are_due,
    |db| async {
        let world = World::new(db).await;
        let waits = |provider: &str, value: &str| {
            let mut arrival = world.arrival(provider, 10);
            let event = &mut arrival.events[0];
            (event.tenant, event.jobs) = (TenantId::NIL, Vec::new());
            event.waits_for = vec![value.to_owned()];
            arrival
        };
        let waiting = vec![
            waits("evt_1", "acct_7"),
            waits("evt_2", "acct_7"),
            waits("evt_3", "acct_1100"),
            waits("evt_4", "acct_of_nobody"),
        ];
        world.append(waiting).await;
        insert(&world, many(&world)).await.expect("they are added");
        let due = run!(world.store, SYSTEM, [], |tx| tx.waiting_due(
            SourceId::NIL,
            "",
            10
        ))
        .expect("it answers");
        let source = world.source.id;
        let wanted = ["acct_1100", "acct_7"].map(|value| (source, value.to_owned()));
        assert_eq!(due, wanted);
    }
);
