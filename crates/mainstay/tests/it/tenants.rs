//! Whose an event is: found by a rule of its source, or waited for, and never lost on the way.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mainstay::intake::{Answer, Inbound, Intake};
use mainstay_domain::{
    Clock, EventId, LinkId, Scope, Store, StoreError, StoreExt, StoreResult, TenantId,
    intake::{
        EventFilter,
        links::{LinkFilter, SourceLink, WaitingEvent, WaitingFilter},
    },
};
use mainstay_testkit::{FailingStore, on_both};
use serde_json::json;

use crate::world::{SECRET, START, World, insert_tenant};

const SYSTEM: Scope = Scope::System("tests");

/// A Stripe event of this connected account, signed now.
fn connected(world: &World, id: &str, account: &str) -> Inbound {
    // Ids are in the order of time, and time passes between two webhooks.
    world.clock.advance_ms(1);
    let mut body =
        json!({ "id": id, "object": "event", "type": "invoice.paid", "created": START.secs() });
    if !account.is_empty() {
        body["account"] = account.into();
    }
    world.signed(&body.to_string(), SECRET)
}

/// Gives the source a rule.
async fn rule(world: &World, rule: serde_json::Value) {
    let (id, settings) = (world.source, json!({ "tenant": rule }).to_string());
    let changed = world.store.transact(SYSTEM, move |tx| {
        let settings = settings.clone();
        Box::pin(async move {
            let mut source = tx.source_get(id).await?.expect("it is there");
            source.settings = settings;
            tx.source_update(&source).await
        })
    });
    assert!(changed.await.expect("the source is changed"));
}

async fn by_account(world: &World) {
    rule(world, json!({ "find": [{ "pointer": "/account" }] })).await;
}

async fn customer(world: &World, slug: &str) -> TenantId {
    let id = TenantId::new(world.clock.now(), &*world.random);
    insert_tenant(&*world.store, id, slug).await;
    id
}

async fn link(world: &World, value: &str, tenant: TenantId) -> StoreResult<Vec<bool>> {
    let link = SourceLink {
        id: LinkId::new(world.clock.now(), &*world.random),
        source: world.source,
        value: value.into(),
        tenant,
        created_at: world.clock.now(),
    };
    world
        .store
        .transact(SYSTEM, move |tx| {
            let link = link.clone();
            Box::pin(async move { tx.link_insert(&[link]).await })
        })
        .await
}

async fn waiting(world: &World) -> Vec<WaitingEvent> {
    let filter = WaitingFilter::default();
    world
        .store
        .read(SYSTEM, move |tx| {
            let filter = filter.clone();
            Box::pin(async move { tx.waiting_list(&filter, 1_000).await })
        })
        .await
        .expect("they are listed")
}

/// The events that a tenant sees itself, oldest first, with how often each was delivered.
async fn seen(world: &World, tenant: TenantId) -> Vec<(String, EventId, i64)> {
    let events = world.store.read(Scope::Tenant(tenant), |tx| {
        Box::pin(async move { tx.event_list(&EventFilter::default(), 1_000).await })
    });
    let events = events.await.expect("they are listed").into_iter().rev();
    events
        .map(|event| (event.provider_id, event.id, event.deliveries))
        .collect()
}

async fn assigned(intake: &Intake) -> i64 {
    intake.assign_due(|| true).await.expect("they are assigned")
}

fn ids(events: &[(String, EventId, i64)]) -> Vec<&str> {
    events.iter().map(|(id, _, _)| id.as_str()).collect()
}

fn ok(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
}

on_both!(without_a_rule_events_are_the_sources_own, |db| async {
    let world = World::new(db.store()).await;
    customer(&world, "acct_1").await;
    ok(&world.accept(connected(&world, "evt_1", "acct_1")).await);
    assert_eq!(ids(&seen(&world, world.tenant).await), ["evt_1"]);
});

on_both!(
    a_linked_value_gives_its_tenant_the_event_and_the_job,
    |db| async {
        let world = World::new(db.store()).await;
        world.bind("money", "*").await;
        by_account(&world).await;
        let anna = customer(&world, "anna").await;
        link(&world, "acct_1", anna).await.expect("it is linked");
        ok(&world.accept(connected(&world, "evt_1", "acct_1")).await);
        assert_eq!(ids(&seen(&world, anna).await), ["evt_1"]);
        assert_eq!(seen(&world, world.tenant).await, []);
        let whose = "SELECT count(*) FROM job AS j, event AS e WHERE j.tenant_id = e.tenant_id AND j.event_id = e.id";
        assert_eq!(world.count(whose).await, 1);
        assert_eq!(waiting(&world).await, []);
    }
);

on_both!(
    the_first_of_several_places_that_leads_to_a_tenant_wins,
    |db| async {
        let world = World::new(db.store()).await;
        let find =
            json!([{ "pointer": "/account" }, { "header": "X-Shop" }, { "pointer": "/type" }]);
        rule(&world, json!({ "find": find })).await;
        let (anna, ben) = (
            customer(&world, "anna").await,
            customer(&world, "ben").await,
        );
        link(&world, "shop_1", anna).await.expect("it is linked");
        link(&world, "acct_1", ben).await.expect("it is linked");
        let from = |id: &str, account: &str, shop: &str| {
            let mut inbound = connected(&world, id, account);
            inbound.headers.push(("x-shop".into(), shop.into()));
            inbound
        };
        ok(&world.accept(from("evt_1", "acct_1", "shop_1")).await);
        ok(&world.accept(from("evt_2", "acct_9", "shop_1")).await);
        ok(&world.accept(from("evt_3", "acct_9", "shop_9")).await);
        assert_eq!(ids(&seen(&world, ben).await), ["evt_1"]);
        assert_eq!(ids(&seen(&world, anna).await), ["evt_2"]);
        let values = &waiting(&world).await[0].values;
        assert_eq!(values[..], ["acct_9", "shop_9", "invoice.paid"]);
        // Whichever of them becomes known: the event is found by it.
        link(&world, "shop_9", ben).await.expect("it is linked");
        assert_eq!(assigned(&world.intake).await, 1);
        assert_eq!(ids(&seen(&world, ben).await), ["evt_1", "evt_3"]);
    }
);

on_both!(
    a_value_can_be_the_slug_or_the_id_of_a_tenant_where_the_rule_says_so,
    |db| async {
        let world = World::new(db.store()).await;
        let anna = customer(&world, "anna").await;
        by_account(&world).await;
        ok(&world.accept(connected(&world, "evt_1", "anna")).await);
        assert_eq!(seen(&world, anna).await, [], "the rule does not say so");
        rule(
            &world,
            json!({ "find": [{ "pointer": "/account" }], "direct": true }),
        )
        .await;
        ok(&world
            .accept(connected(&world, "evt_2", &anna.to_string()))
            .await);
        ok(&world.accept(connected(&world, "evt_3", "ben")).await);
        // The new rule finds what the old one could not.
        assert_eq!(assigned(&world.intake).await, 1);
        assert_eq!(ids(&seen(&world, anna).await), ["evt_1", "evt_2"]);
        let late = world.count("SELECT count(*) FROM object_note").await;
        assert!(late > 0, "they are noted for the index of objects");
        let ben = customer(&world, "ben").await;
        assert_eq!(assigned(&world.intake).await, 1);
        assert_eq!(ids(&seen(&world, ben).await), ["evt_3"]);
    }
);

on_both!(
    an_event_of_an_unknown_tenant_is_acknowledged_kept_and_runs_nothing,
    |db| async {
        let world = World::new(db.store()).await;
        world.bind("money", "*").await;
        by_account(&world).await;
        ok(&world.accept(connected(&world, "evt_1", "acct_1")).await);
        let again = world.accept(connected(&world, "evt_1", "acct_1")).await;
        ok(&again);
        assert!(String::from_utf8_lossy(&again.body).contains("duplicate"));
        ok(&world.accept(connected(&world, "evt_2", "")).await);
        assert_eq!(world.count("SELECT count(*) FROM event").await, 0);
        assert_eq!(world.count("SELECT count(*) FROM job").await, 0);
        let kept = waiting(&world).await;
        let kept: Vec<_> = kept
            .iter()
            .map(|one| (&*one.provider_id, one.deliveries, &*one.values[0]))
            .collect();
        assert_eq!(kept, [("evt_2", 1, ""), ("evt_1", 2, "acct_1")]);
        assert_eq!(assigned(&world.intake).await, 0);
        // The empty value stands for those that name nobody.
        link(&world, "", world.tenant).await.expect("it is linked");
        assert_eq!(assigned(&world.intake).await, 1);
        assert_eq!(ids(&seen(&world, world.tenant).await), ["evt_2"]);
    }
);

on_both!(
    duplicates_at_the_same_time_on_two_nodes_wait_as_one_event,
    |db| async {
        let world = World::new(db.store()).await;
        world.bind("money", "*").await;
        by_account(&world).await;
        let other = world.another_intake(&db.second().await).await;
        let mut running = tokio::task::JoinSet::new();
        for copy in 0..32 {
            let intake = Arc::clone(if copy % 2 == 0 { &world.intake } else { &other });
            let inbound = connected(&world, &format!("evt_{}", copy % 4), "acct_1");
            running.spawn(async move { intake.accept("stripe", inbound).await.status });
        }
        while let Some(status) = running.join_next().await {
            assert_eq!(status.expect("no panic"), 200);
        }
        let deliveries: i64 = waiting(&world).await.iter().map(|one| one.deliveries).sum();
        assert_eq!((waiting(&world).await.len(), deliveries), (4, 32));
        let anna = customer(&world, "anna").await;
        link(&world, "acct_1", anna).await.expect("it is linked");
        assert_eq!(assigned(&other).await, 4);
        let deliveries: i64 = seen(&world, anna).await.iter().map(|(_, _, n)| n).sum();
        assert_eq!(
            deliveries, 32,
            "the count goes to the tenant with the event"
        );
        ok(&world.accept(connected(&world, "evt_0", "acct_1")).await);
        assert_eq!(world.count("SELECT count(*) FROM job").await, 4);
        assert_eq!(world.count("SELECT sum(deliveries) FROM dedup").await, 33);
    }
);

on_both!(
    a_link_gives_what_waited_to_its_tenant_in_order_under_the_same_ids,
    |db| async {
        let world = World::new(db.store()).await;
        world.bind("money", "*").await;
        by_account(&world).await;
        let mut expected = Vec::new();
        for number in 0..7 {
            let (id, account) = (format!("evt_{number}"), format!("acct_{}", number % 2));
            ok(&world.accept(connected(&world, &id, &account)).await);
            if number % 2 == 0 {
                expected.push(id);
            }
        }
        let before: Vec<EventId> = waiting(&world)
            .await
            .iter()
            .rev()
            .step_by(2)
            .map(|one| one.id)
            .collect();
        let anna = customer(&world, "anna").await;
        assert_eq!(
            link(&world, "acct_0", anna).await.expect("it is linked"),
            [true]
        );
        assert_eq!(assigned(&world.intake).await, 4);
        let found = seen(&world, anna).await;
        assert_eq!(ids(&found), expected);
        let after: Vec<EventId> = found.iter().map(|(_, id, _)| *id).collect();
        assert_eq!(after, before);
        let order = world
            .store
            .query(SYSTEM, "SELECT event_id FROM job ORDER BY id".into(), 10)
            .await
            .expect("it answers");
        assert_eq!(order.rows.len(), 4);
        let jobs: Vec<String> = order.rows.iter().map(|row| row[0].to_string()).collect();
        let mut sorted = jobs.clone();
        sorted.sort();
        assert_eq!(jobs, sorted, "jobs are made in the order of their events");
        assert_eq!(
            waiting(&world).await.len(),
            3,
            "the other account's wait on"
        );
        assert_eq!(assigned(&world.intake).await, 0, "nothing is done twice");
        assert_eq!(
            world.count("SELECT count(*) FROM event_waiting_due").await,
            0
        );
    }
);

on_both!(
    a_value_is_linked_to_one_tenant_and_linking_it_again_changes_nothing,
    |db| async {
        let world = World::new(db.store()).await;
        by_account(&world).await;
        let (anna, ben) = (
            customer(&world, "anna").await,
            customer(&world, "ben").await,
        );
        assert_eq!(
            link(&world, "acct_1", anna).await.expect("it is linked"),
            [true]
        );
        assert_eq!(
            link(&world, "acct_1", anna).await.expect("it is there"),
            [false]
        );
        let taken = link(&world, "acct_1", ben).await;
        assert!(
            matches!(taken, Err(StoreError::Conflict { what: "link" })),
            "{taken:?}"
        );
        let removed = world.store.transact(SYSTEM, move |tx| {
            Box::pin(async move { tx.tenant_delete(anna).await })
        });
        assert!(
            removed.await.is_err(),
            "a tenant stays while a link names it"
        );
    }
);

on_both!(
    what_was_remembered_on_another_node_is_not_believed_after_a_link,
    |db| async {
        let world = World::new(db.store()).await;
        by_account(&world).await;
        let other = world.another_intake(&db.second().await).await;
        let (anna, ben) = (
            customer(&world, "anna").await,
            customer(&world, "ben").await,
        );
        ok(&other
            .accept("stripe", connected(&world, "evt_1", "acct_1"))
            .await);
        link(&world, "acct_1", anna).await.expect("it is linked");
        ok(&other
            .accept("stripe", connected(&world, "evt_2", "acct_1"))
            .await);
        assert_eq!(
            ids(&seen(&world, anna).await),
            ["evt_2"],
            "no message was needed"
        );
        let source = world.source;
        let moved = world.store.transact(SYSTEM, move |tx| {
            Box::pin(async move {
                let filter = LinkFilter {
                    source,
                    tenant: Some(anna),
                    value: None,
                    prefix: None,
                    before: None,
                };
                for one in tx.link_list(&filter, 10).await? {
                    assert!(tx.link_delete(source, one.id).await?);
                }
                Ok(())
            })
        });
        moved.await.expect("it is unlinked");
        link(&world, "acct_1", ben).await.expect("it is linked");
        ok(&other
            .accept("stripe", connected(&world, "evt_3", "acct_1"))
            .await);
        assert_eq!(ids(&seen(&world, ben).await), ["evt_3"]);
    }
);

on_both!(
    who_is_killed_while_assigning_leaves_the_rest_to_the_next,
    |db| async {
        const EVENTS: usize = 230;
        let world = World::new(db.store()).await;
        world.bind("money", "*").await;
        by_account(&world).await;
        for number in 0..EVENTS {
            ok(&world
                .accept(connected(&world, &format!("evt_{number}"), "acct_1"))
                .await);
        }
        let anna = customer(&world, "anna").await;
        link(&world, "acct_1", anna).await.expect("it is linked");
        world.intake.refresh().await.expect("it looks again");
        // As long as for the list of what is due, its first page, and not the second.
        let asked = AtomicUsize::new(0);
        let first = world
            .intake
            .assign_due(|| asked.fetch_add(1, Ordering::Relaxed) < 2);
        let first = first.await.expect("one step is done");
        assert!((1..EVENTS as i64).contains(&first), "{first}");
        let jobs = world.count("SELECT count(*) FROM job").await;
        assert_eq!(
            (jobs, waiting(&world).await.len()),
            (first, EVENTS - first as usize)
        );
        let next = world.another_intake(&db.second().await).await;
        assert_eq!(assigned(&next).await, EVENTS as i64 - first);
        assert_eq!(seen(&world, anna).await.len(), EVENTS);
        assert_eq!(world.count("SELECT count(*) FROM job").await, EVENTS as i64);
    }
);

on_both!(
    links_and_webhooks_at_the_same_time_lose_nothing_and_run_nothing_twice,
    |db| async {
        const EVENTS: usize = 60;
        let world = World::new(db.store()).await;
        world.bind("money", "*").await;
        by_account(&world).await;
        let anna = customer(&world, "anna").await;
        let other = world.another_intake(&db.second().await).await;
        let mut running = tokio::task::JoinSet::new();
        for number in 0..2 * EVENTS {
            let intake = Arc::clone(if number % 2 == 0 {
                &world.intake
            } else {
                &other
            });
            let account = format!("acct_{}", number % 3);
            let inbound = connected(&world, &format!("evt_{}", number % EVENTS), &account);
            running.spawn(
                async move { assert_eq!(intake.accept("stripe", inbound).await.status, 200) },
            );
        }
        for account in 0..3 {
            link(&world, &format!("acct_{account}"), anna)
                .await
                .expect("it is linked");
            for intake in [&world.intake, &other] {
                let intake = Arc::clone(intake);
                running.spawn(async move { drop(intake.assign_due(|| true).await) });
            }
        }
        while let Some(done) = running.join_next().await {
            done.expect("no panic");
        }
        assigned(&world.intake).await;
        assert_eq!(waiting(&world).await, []);
        assert_eq!(seen(&world, anna).await.len(), EVENTS);
        assert_eq!(world.count("SELECT count(*) FROM job").await, EVENTS as i64);
        assert_eq!(
            world.count("SELECT sum(deliveries) FROM dedup").await,
            2 * EVENTS as i64
        );
        let own = "SELECT count(*) FROM dedup AS d, event AS e WHERE e.id = d.event_id";
        assert_eq!(world.count(own).await, EVENTS as i64);
    }
);

on_both!(
    without_its_rule_a_source_takes_what_waited_for_itself,
    |db| async {
        let world = World::new(db.store()).await;
        world.bind("money", "*").await;
        by_account(&world).await;
        ok(&world.accept(connected(&world, "evt_1", "acct_1")).await);
        let source = world.source;
        let removed = world.store.transact(SYSTEM, move |tx| {
            let tenant = world.tenant;
            Box::pin(async move { tx.source_delete(tenant, source).await })
        });
        assert!(
            removed.await.is_err(),
            "a source stays while events wait at it"
        );
        rule(&world, serde_json::Value::Null).await;
        assert_eq!(assigned(&world.intake).await, 1);
        assert_eq!(ids(&seen(&world, world.tenant).await), ["evt_1"]);
        assert_eq!(world.count("SELECT count(*) FROM job").await, 1);
    }
);

on_both!(
    when_nobody_can_say_whose_it_is_the_provider_is_told_to_send_again,
    |db| async {
        let failing = Arc::new(FailingStore::new(db.store()));
        let world = World::new(Arc::clone(&failing) as Arc<dyn Store>).await;
        by_account(&world).await;
        world.intake.refresh().await.expect("it looks again");
        failing.set_down(true);
        let answer = world.accept(connected(&world, "evt_1", "acct_1")).await;
        assert_eq!(
            (answer.status, answer.code),
            (503, Some("store_unavailable"))
        );
        failing.set_down(false);
        ok(&world.accept(connected(&world, "evt_1", "acct_1")).await);
        assert_eq!(waiting(&world).await.len(), 1);
    }
);

on_both!(
    what_waits_too_long_goes_with_its_receipts_and_is_still_recognised,
    |db| async {
        let world = World::new(db.store()).await;
        by_account(&world).await;
        for _ in 0..2 {
            ok(&world.accept(connected(&world, "evt_1", "acct_1")).await);
        }
        world.clock.advance_ms(1_000);
        ok(&world.accept(connected(&world, "evt_2", "acct_1")).await);
        let until = world.clock.now();
        let gone = world.store.transact(SYSTEM, move |tx| {
            Box::pin(async move { tx.waiting_expire(until, 100).await })
        });
        assert_eq!(gone.await.expect("it is removed"), 1);
        assert_eq!(waiting(&world).await[0].provider_id, "evt_2");
        assert_eq!(world.count("SELECT count(*) FROM receipt").await, 1);
        assert_eq!(
            world
                .count("SELECT count(*) FROM event_waiting_value")
                .await,
            1
        );
        let late = world.accept(connected(&world, "evt_1", "acct_1")).await;
        assert!(String::from_utf8_lossy(&late.body).contains("duplicate"));
    }
);

on_both!(a_tenant_reaches_neither_links_nor_what_waits, |db| async {
    let world = World::new(db.store()).await;
    let (own, source) = (world.tenant, world.source);
    let refused = world.store.read(Scope::Tenant(own), move |tx| {
        Box::pin(async move {
            let filter = LinkFilter {
                source,
                tenant: None,
                value: None,
                prefix: None,
                before: None,
            };
            Ok([
                tx.link_list(&filter, 10).await.is_err(),
                tx.tenant_find(source, "a", true).await.is_err(),
                tx.waiting_list(&WaitingFilter::default(), 10)
                    .await
                    .is_err(),
                tx.waiting_values(source, None, 10).await.is_err(),
                tx.waiting_counts().await.is_err(),
                tx.waiting_get(EventId::NIL).await.is_err(),
                tx.waiting_payload(EventId::NIL).await.is_err(),
                tx.waiting_receipts(EventId::NIL, 10).await.is_err(),
            ])
        })
    });
    assert_eq!(refused.await.expect("it answers"), [true; 8]);
});
