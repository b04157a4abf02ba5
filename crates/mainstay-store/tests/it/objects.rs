//! The index of objects: what a hash leads to is what the events themselves say, and types come and go with their events.

use mainstay_domain::{
    EventId, Scope, StoreExt,
    intake::{
        EventFilter,
        objects::{IndexCommit, Indexed, MentionFilter, ObjectId, Walk, mention_hash},
    },
};
use mainstay_testkit::on_both;

use crate::{
    kit::{SYSTEM, World},
    ways_back::{execute, texts},
};

/// Appends an event of this type and, as the indexer does, says what it found there.
pub(crate) async fn indexed(
    kit: &World,
    name: &str,
    ms: i64,
    kind: &str,
    objects: &[&str],
) -> EventId {
    let mut arrival = kit.arrival_within(name, ms);
    arrival.events[0].kind = kind.to_owned();
    let object = |id: &&str| ObjectId {
        name: "object".to_owned(),
        id: (*id).to_owned(),
    };
    let event = Indexed {
        tenant: kit.tenant,
        id: arrival.events[0].id,
        source: kit.source.id,
        kind: kind.to_owned(),
        objects: objects.iter().map(object).collect(),
        before: None,
    };
    let id = event.id;
    kit.append(vec![arrival]).await;
    let commit = kit.store.transact(SYSTEM, move |tx| {
        let event = event.clone();
        Box::pin(async move {
            let state = tx.object_state().await?;
            let commit = IndexCommit {
                state,
                events: vec![event],
                noted: Vec::new(),
                source: None,
            };
            tx.object_commit(&commit).await
        })
    });
    commit.await.expect("indexed");
    id
}

async fn mentions(kit: &World, scope: Scope, oldest_first: bool, limit: i64) -> Vec<EventId> {
    let filter = MentionFilter {
        object: "cus_1".to_owned(),
        tenant: Some(kit.tenant),
        oldest_first,
        after: None,
    };
    let found = kit.store.read(scope, move |tx| {
        let filter = filter.clone();
        Box::pin(async move { tx.object_mentions(&filter, limit).await })
    });
    let found = found.await.expect("it answers").into_iter();
    found.map(|(_, event)| event).collect()
}

async fn listed(kit: &World, scope: Scope, filter: EventFilter) -> Vec<EventId> {
    let found = kit.store.read(scope, move |tx| {
        let filter = filter.clone();
        Box::pin(async move { tx.event_list(&filter, 10).await })
    });
    let found = found.await.expect("it answers").into_iter();
    found.map(|event| event.id).collect()
}

on_both!(
    what_only_has_the_same_hash_is_never_shown_nor_takes_the_place_of_what_is,
    |db| async {
        let (one, two) = (
            World::named(&db.store(), "one", 1).await,
            World::named(&db.store(), "two", 2).await,
        );
        let first = indexed(&one, "evt_1", 10, "a.b", &["cus_1", "in_1"]).await;
        for at in 2..5 {
            // An id that ends, or goes on, as the other does is another.
            let alike = ["x\",\"cus_1", "cus_1x", "a=cus_1", "CUS_1"];
            indexed(&one, &format!("evt_{at}"), at * 10, "a.b", &alike).await;
        }
        let last = indexed(&one, "evt_5", 50, "a.c", &["cus_1"]).await;
        indexed(&two, "evt_6", 60, "a.b", &["cus_1"]).await;
        let hash = mention_hash(one.tenant, "cus_1");
        let meet = format!(
            "INSERT INTO object_mention (hash, event_id)
            SELECT {hash}, id FROM event WHERE provider_id NOT IN ('evt_1', 'evt_5')"
        );
        execute(db, &meet).await;
        for scope in [SYSTEM, one.scope()] {
            assert_eq!(mentions(&one, scope, false, 10).await, [last, first]);
            assert_eq!(mentions(&one, scope, true, 10).await, [first, last]);
            assert_eq!(mentions(&one, scope, false, 1).await, [last]);
            assert_eq!(mentions(&one, scope, false, 2).await, [last, first]);
            let of = |kind: &str| EventFilter {
                tenant: Some(one.tenant),
                object: Some("cus_1".to_owned()),
                kind: Some(kind.to_owned()),
                ..EventFilter::default()
            };
            assert_eq!(listed(&one, scope, of("a.b")).await, [first]);
            assert_eq!(listed(&one, scope, of("a.*")).await, [last, first]);
        }
        assert_eq!(mentions(&two, one.scope(), false, 10).await, []);
    }
);

on_both!(a_type_has_one_number_as_long_as_it_has_events, |db| async {
    let kit = World::new(db).await;
    indexed(&kit, "evt_1", 10, "a.b", &["cus_1"]).await;
    indexed(&kit, "evt_2", 20, "a.c", &[]).await;
    // As if there had been as many types as there are numbers.
    execute(
        db,
        "UPDATE object_event SET kind_number = 2147483647 WHERE kind_number = 2;
            UPDATE object_kind SET number = 2147483647 WHERE number = 2;",
    )
    .await;
    indexed(&kit, "evt_3", 30, "a.d", &[]).await;
    indexed(&kit, "evt_4", 40, "a.b", &[]).await;
    let numbers = "SELECT kind || ' ' || CAST(number AS text) FROM object_kind ORDER BY kind";
    assert_eq!(
        texts(db, numbers).await,
        ["a.b 1", "a.c 2147483647", "a.d 2"]
    );
    let source = kit.source.id;
    let walked = kit.store.read(SYSTEM, move |tx| {
        Box::pin(async move {
            let mut walk = Walk::begin(4);
            let mut kinds = Vec::new();
            loop {
                let places = tx.object_walk(source, &walk, 3).await?;
                let Some((tenant, kind, event)) = places.last().cloned() else {
                    return Ok((tx.object_count(source).await?, kinds));
                };
                kinds.extend(places.into_iter().map(|(_, kind, _)| kind));
                walk = Walk {
                    tenant,
                    kind,
                    event,
                    ..walk
                };
            }
        })
    });
    let (count, kinds) = walked.await.expect("it walks");
    assert_eq!(count, 4);
    assert_eq!(kinds, ["a.b", "a.b", "a.c", "a.d"]);
    execute(db, "DELETE FROM job").await;
    let until = kit.at(25);
    let gone = kit.store.transact(SYSTEM, move |tx| {
        Box::pin(async move { tx.event_expire(until, 10).await })
    });
    assert_eq!(gone.await.expect("they go"), 2);
    assert_eq!(texts(db, numbers).await, ["a.b 1", "a.d 2"]);
});
