//! The list of what is new, and the past of several tenants in one order.

use mainstay_domain::{
    EventId, Scope, StoreExt, TenantId,
    intake::{
        follow::Place,
        objects::{IndexCommit, Indexed},
    },
};
use mainstay_testkit::on_both;

use crate::kit::{SYSTEM, World};

/// Appends an event and, as the indexer does, says that it was found.
async fn found(kit: &World, name: &str, ms: i64, index: bool) -> EventId {
    let arrival = kit.arrival_within(name, ms);
    let (tenant, id) = (kit.tenant, arrival.events[0].id);
    let (source, kind) = (kit.source.id, arrival.events[0].kind.clone());
    kit.append(vec![arrival]).await;
    if index {
        let commit = kit.store.transact(SYSTEM, move |tx| {
            let kind = kind.clone();
            Box::pin(async move {
                let state = tx.object_state().await?;
                let event = Indexed {
                    tenant,
                    id,
                    source,
                    kind,
                    objects: Vec::new(),
                    before: None,
                };
                tx.object_commit(&IndexCommit {
                    state,
                    events: vec![event],
                    noted: Vec::new(),
                    source: None,
                })
                .await
            })
        });
        commit.await.expect("indexed");
    }
    id
}

async fn past(
    kit: &World,
    scope: Scope,
    tenant: Option<TenantId>,
    revision: i64,
) -> Vec<(EventId, bool)> {
    let mut all = Vec::new();
    let mut after = EventId::NIL;
    loop {
        let page = kit.store.read(scope, move |tx| {
            Box::pin(async move { tx.follow_past(tenant, after, revision, 2).await })
        });
        let page = page.await.expect("it answers");
        let Some(last) = page.last() else { return all };
        after = last.event;
        all.extend(page.iter().map(|one| (one.event, one.before)));
    }
}

on_both!(
    the_past_of_all_tenants_is_in_the_order_of_time,
    |db| async {
        let (one, two) = (
            World::named(&db.store(), "one", 1).await,
            World::named(&db.store(), "two", 2).await,
        );
        let mut made = Vec::new();
        for at in 0..7 {
            let kit = if at % 3 == 0 { &two } else { &one };
            made.push(found(kit, &format!("evt_{at}"), at * 10, at != 4).await);
        }
        let until = mainstay_domain::Timestamp::MAX;
        let span = one.store.transact(SYSTEM, move |tx| {
            Box::pin(async move { tx.follow_keep(until).await })
        });
        let span = span.await.expect("kept");
        assert_eq!((span.from, span.revision), (6, 6));
        // New after it, though it is older than others.
        made.push(found(&one, "evt_late", 5, true).await);
        let mut expected: Vec<_> = made
            .iter()
            .enumerate()
            .map(|(at, id)| (*id, at != 4 && at != 7))
            .collect();
        expected.sort_unstable();
        assert_eq!(past(&one, SYSTEM, None, span.revision).await, expected);
        let own: Vec<_> = [&made[0], &made[3], &made[6]].map(|id| (*id, true)).into();
        assert_eq!(past(&two, two.scope(), None, span.revision).await, own);
        assert_eq!(
            past(&two, SYSTEM, Some(two.tenant), span.revision).await,
            own
        );
        let late = made[7];
        for (scope, seen) in [(SYSTEM, true), (one.scope(), true), (two.scope(), false)] {
            let new = one.store.read(scope, move |tx| {
                Box::pin(async move { tx.follow_new(None, Place::after(6), 10).await })
            });
            let new: Vec<EventId> = new
                .await
                .expect("it answers")
                .iter()
                .map(|one| one.place.event)
                .collect();
            assert_eq!(new, if seen { vec![late] } else { Vec::new() });
        }
    }
);

on_both!(a_tenant_neither_begins_nor_ends_the_list, |db| async {
    let kit = World::named(&db.store(), "one", 1).await;
    let now = kit.at(0);
    let kept = kit.store.transact(kit.scope(), move |tx| {
        Box::pin(async move { tx.follow_keep(now).await })
    });
    assert!(kept.await.is_err());
    let trimmed = kit.store.transact(kit.scope(), move |tx| {
        Box::pin(async move { tx.follow_trim(1, 10).await })
    });
    assert!(trimmed.await.is_err());
    let span = kit.store.read(kit.scope(), |tx| {
        Box::pin(async move { tx.follow_span().await })
    });
    assert_eq!(span.await.expect("it may look").until, None);
});
