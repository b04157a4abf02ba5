//! Following events: each comes once, however late it is committed and however often the follower comes back.

use std::sync::Arc;

use mainstay::intake::{
    follow::{Cursor, FollowFilter, Follower, Found, Start, Step},
    objects::Objects,
};
use mainstay_domain::{Clock, EventId, Scope, SourceId, Store, StoreExt, TenantId};
use mainstay_testkit::on_both;
use serde_json::{Value, json};

use crate::world::{SECRET, START, World, insert_tenant};

const SYSTEM: Scope = Scope::System("tests");
const MINUTE: i64 = 60_000;

async fn send(world: &World, id: &str, kind: &str) -> EventId {
    world.clock.advance_ms(1);
    let secs = world.clock.now().secs();
    let body = json!({ "id": id, "object": "event", "type": kind, "created": secs, "data": { "object": {} } });
    let mut inbound = world.signed(&body.to_string(), SECRET);
    inbound.received_at = world.clock.now();
    let answer = world.accept(inbound).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body: Value = serde_json::from_slice(&answer.body).expect("it is JSON");
    let id = body["event_ids"][0].as_str().expect("an id");
    id.parse().expect("an event's id")
}

async fn round(objects: &Objects) {
    objects.round(|| true).await.expect("it is indexed");
}

async fn begin(
    world: &World,
    scope: Scope,
    filter: FollowFilter,
    start: Start,
) -> Option<Follower> {
    let clock: Arc<dyn Clock> = Arc::clone(&world.clock) as Arc<dyn Clock>;
    let begun = Follower::begin(Arc::clone(&world.store), clock, scope, filter, start).await;
    begun.expect("it can be asked")
}

async fn follow(world: &World, start: Start) -> Follower {
    let follower = begin(world, SYSTEM, FollowFilter::default(), start).await;
    follower.expect("the place is known")
}

/// Everything that there is for now.
async fn all(follower: &mut Follower) -> Vec<Found> {
    let mut all = Vec::new();
    loop {
        match follower.step().await.expect("it can be asked") {
            Step::On { found, more, .. } => {
                all.extend(found);
                if !more {
                    return all;
                }
            }
            Step::Lost => panic!("the place is known"),
        }
    }
}

fn ids(found: &[Found]) -> Vec<EventId> {
    found.iter().map(|found| found.event).collect()
}

async fn listed(store: &Arc<dyn Store>) -> usize {
    let place = mainstay_domain::intake::follow::Place {
        revision: 0,
        event: EventId::NIL,
    };
    let read = store.read(SYSTEM, move |tx| {
        Box::pin(async move { tx.follow_new(None, place, 1_000).await })
    });
    read.await.expect("it answers").len()
}

on_both!(
    what_is_new_comes_once_and_a_cursor_goes_on_after_it,
    |db| async {
        let world = World::new(db.store()).await;
        let objects = Objects::new(&world.intake);
        send(&world, "evt_before", "a.b").await;
        round(&objects).await;
        let mut follower = follow(&world, Start::Now).await;
        let (one, two) = (
            send(&world, "evt_1", "a.b").await,
            send(&world, "evt_2", "a.b").await,
        );
        assert_eq!(all(&mut follower).await, []);
        round(&objects).await;
        let found = all(&mut follower).await;
        assert_eq!(ids(&found), [one, two]);
        assert_eq!(all(&mut follower).await, []);
        let cursor: Cursor = found[0].cursor.to_string().parse().expect("a cursor");
        let mut again = follow(&world, Start::After(cursor)).await;
        assert_eq!(ids(&all(&mut again).await), [two]);
        let mut end = follow(&world, Start::After(follower.cursor())).await;
        assert_eq!(all(&mut end).await, []);
    }
);

on_both!(
    the_past_and_what_is_new_meet_without_a_gap_or_a_repetition,
    |db| async {
        let world = World::new(db.store()).await;
        let objects = Objects::new(&world.intake);
        let mut sent = Vec::new();
        for number in 0..450 {
            sent.push(send(&world, &format!("evt_{number}"), "a.b").await);
        }
        round(&objects).await;
        let unindexed = send(&world, "evt_unindexed", "a.b").await;
        let mut follower = follow(&world, Start::From(START)).await;
        // Looked at by a commit that the past knows nothing of, and there before the past has been read.
        let between = send(&world, "evt_between", "a.b").await;
        round(&objects).await;
        let found = all(&mut follower).await;
        sent.extend([unindexed, between]);
        assert_eq!(ids(&found), sent);
        // From wherever it breaks off, the rest comes, and nothing twice.
        for at in [0, 1, 199, 200, 448, 449, 450] {
            let mut again = follow(&world, Start::After(found[at].cursor)).await;
            assert_eq!(ids(&all(&mut again).await), &sent[at + 1..], "after {at}");
        }
    }
);

on_both!(the_past_ends_when_all_that_was_there_has_come, |db| async {
    let world = World::new(db.store()).await;
    let objects = Objects::new(&world.intake);
    round(&objects).await;
    world.clock.advance_ms(MINUTE);
    let unindexed = send(&world, "evt_1", "a.b").await;
    let mut follower = follow(&world, Start::Last(5)).await;
    world.clock.advance_ms(1_000);
    let mut steps = Vec::new();
    for _ in 0..3 {
        steps.push(follower.step().await.expect("it can be asked"));
    }
    let waits = |step: &Step| matches!(step, Step::On { now: false, .. });
    assert!(steps.iter().all(waits), "{steps:?}");
    round(&objects).await;
    let Step::On {
        found, now: true, ..
    } = follower.step().await.expect("it can be asked")
    else {
        panic!("the past ends here");
    };
    assert_eq!(ids(&found), [unindexed]);
    assert!(
        waits(&follower.step().await.expect("it can be asked")),
        "once"
    );
});

on_both!(an_event_that_is_committed_late_is_new, |db| async {
    let world = World::new(db.store()).await;
    let objects = Objects::new(&world.intake);
    let late = send(&world, "evt_late", "a.b").await;
    world.clock.advance_ms(30 * MINUTE);
    // The index has passed its time, and says nothing of it.
    for _ in 0..3 {
        send(
            &world,
            &format!("evt_{}", world.clock.now().micros()),
            "a.b",
        )
        .await;
        world.clock.advance_ms(MINUTE);
    }
    let mut follower = follow(&world, Start::Now).await;
    let tenant = world.tenant;
    let noted = world.store.transact(SYSTEM, move |tx| {
        Box::pin(async move { tx.object_note(&[(tenant, late)]).await })
    });
    noted.await.expect("noted");
    round(&objects).await;
    assert!(ids(&all(&mut follower).await).contains(&late));
    // Once.
    round(&objects).await;
    assert_eq!(all(&mut follower).await, []);
});

on_both!(while_nobody_follows_nothing_is_written, |db| async {
    let world = World::new(db.store()).await;
    let objects = Objects::new(&world.intake);
    send(&world, "evt_1", "a.b").await;
    round(&objects).await;
    assert_eq!(listed(&world.store).await, 0);
    let mut follower = follow(&world, Start::Now).await;
    send(&world, "evt_2", "a.b").await;
    round(&objects).await;
    assert_eq!(all(&mut follower).await.len(), 1);
    // Nobody came back in time: the list ends, and is forgotten.
    world.clock.advance_ms(16 * MINUTE);
    send(&world, "evt_3", "a.b").await;
    round(&objects).await;
    assert_eq!(listed(&world.store).await, 0);
    let away = Start::After(follower.cursor());
    assert!(
        begin(&world, SYSTEM, FollowFilter::default(), away)
            .await
            .is_none()
    );
});

on_both!(
    a_follower_that_stays_keeps_an_hour_and_whoever_is_further_behind_is_told,
    |db| async {
        let world = World::new(db.store()).await;
        let objects = Objects::new(&world.intake);
        round(&objects).await;
        let mut follower = follow(&world, Start::Now).await;
        let mut found = Vec::new();
        for number in 0..90 {
            send(&world, &format!("evt_{number}"), "a.b").await;
            world.clock.advance_ms(MINUTE);
            round(&objects).await;
            found.extend(all(&mut follower).await);
        }
        assert_eq!(found.len(), 90, "it was there all the time");
        let kept = listed(&world.store).await;
        assert!((55..=65).contains(&kept), "{kept} of 90 are kept");
        let behind = Start::After(found[5].cursor);
        assert!(
            begin(&world, SYSTEM, FollowFilter::default(), behind)
                .await
                .is_none()
        );
        let near = Start::After(found[60].cursor);
        assert!(
            begin(&world, SYSTEM, FollowFilter::default(), near)
                .await
                .is_some()
        );
        // One that was restored from before, or is another.
        let beyond = Cursor::New(mainstay_domain::intake::follow::Place::after(1 << 40));
        let beyond = begin(
            &world,
            SYSTEM,
            FollowFilter::default(),
            Start::After(beyond),
        )
        .await;
        assert!(beyond.is_none());
    }
);

on_both!(only_what_is_asked_for_and_ones_own_comes, |db| async {
    let world = World::new(db.store()).await;
    let objects = Objects::new(&world.intake);
    let other = TenantId::from_uuid(uuid::Uuid::from_u128(99));
    insert_tenant(&*world.store, other, "other").await;
    let by_type = FollowFilter {
        types: vec!["invoice.*, charge.refunded".into()],
        ..FollowFilter::default()
    };
    let by_source = |source| FollowFilter {
        sources: vec![source],
        ..FollowFilter::default()
    };
    let none = FollowFilter::default();
    let mut followers = Vec::new();
    for (scope, filter) in [
        (SYSTEM, by_type.clone()),
        (SYSTEM, by_source(world.source)),
        (SYSTEM, by_source(SourceId::NIL)),
        (Scope::Tenant(world.tenant), none.clone()),
        (Scope::Tenant(other), none),
    ] {
        followers.push(
            begin(&world, scope, filter, Start::Now)
                .await
                .expect("begun"),
        );
    }
    let paid = send(&world, "evt_1", "invoice.paid").await;
    let charged = send(&world, "evt_2", "charge.succeeded").await;
    let refunded = send(&world, "evt_3", "charge.refunded").await;
    round(&objects).await;
    let everything = vec![paid, charged, refunded];
    for (follower, expected) in followers.iter_mut().zip([
        vec![paid, refunded],
        everything.clone(),
        Vec::new(),
        everything,
        Vec::new(),
    ]) {
        assert_eq!(ids(&all(follower).await), expected);
    }
    // Whoever sees nothing is as far as whoever sees everything.
    assert_eq!(followers[4].cursor(), followers[3].cursor());
    let last = begin(&world, SYSTEM, by_type, Start::Last(1)).await;
    assert_eq!(ids(&all(&mut last.expect("begun")).await), [refunded]);
    let mut last = follow(&world, Start::Last(2)).await;
    assert_eq!(ids(&all(&mut last).await), [charged, refunded]);
});
