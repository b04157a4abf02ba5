//! Expected events: what must come after something is waited for, in whatever order it comes, and found missing once.

use std::sync::Arc;

use bytes::Bytes;
use mainstay::{
    Mainstay, Parts,
    clean::Retention,
    intake::{Intake, expect::MISSING},
};
use mainstay_domain::{
    Clock, EventId, ExpectationId, Scope, StoreExt,
    intake::{
        EventFilter, EventStatus, JobTally,
        expect::{ExpectState, ExpectTally, Expectation},
        quarantine::Bounds,
        rhythm::RhythmClock,
    },
    jobs::http_out::{HttpOut, OutAnswer, OutError, OutRequest},
};
use mainstay_testkit::on_both;
use serde_json::json;

use crate::world::{SECRET, START, World};

const SYSTEM: Scope = Scope::System("tests");
const MINUTE_MS: i64 = 60_000;

/// Nothing is sent in these tests.
struct Nowhere;

#[async_trait::async_trait]
impl HttpOut for Nowhere {
    async fn post(&self, _: OutRequest) -> Result<OutAnswer, OutError> {
        Ok(OutAnswer {
            status: 200,
            headers: Vec::new(),
            excerpt: Bytes::new(),
        })
    }
}

/// After `checkout.completed` an `invoice.paid` of the same customer must come within half an hour.
async fn rule(world: &World) {
    let settings = json!({ "expect": [{
        "name": "paid",
        "after": { "type": "checkout.completed", "key": "/data/customer" },
        "expect": { "type": "invoice.*", "key": "/data/payer" },
        "within_secs": 1_800,
        "before_secs": 300,
    }]});
    set(world, settings).await;
}

async fn set(world: &World, settings: serde_json::Value) {
    let id = world.source;
    let changed = world.store.transact(SYSTEM, move |tx| {
        let settings = settings.clone();
        Box::pin(async move {
            let mut source = tx.source_get(id).await?.expect("it is there");
            source.settings = settings.to_string();
            tx.source_update(&source).await
        })
    });
    changed.await.expect("it is changed");
    world.intake.refresh().await.expect("it looks again");
}

pub(crate) async fn node(world: &World) -> Mainstay {
    let node = Mainstay::start(Parts {
        store: Arc::clone(&world.store),
        clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
        random: Arc::clone(&world.random) as Arc<_>,
        http_out: Arc::new(Nowhere),
        certificates: Arc::clone(&world.certificates) as Arc<_>,
        retention: Retention::default(),
        quarantine: Bounds::default(),
        spool: None,
        failures_per_minute: mainstay::intake::FAILURES_PER_MINUTE,
        joining: None,
    });
    node.await.expect("it starts")
}

async fn send(world: &World, id: &str, kind: &str, data: serde_json::Value) {
    world.clock.advance_ms(1);
    let body = json!({ "id": id, "object": "event", "type": kind, "created": world.clock.now().secs(), "data": data });
    let answer = world.accept(world.signed(&body.to_string(), SECRET)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn begun(world: &World, id: &str, customer: &str) {
    send(
        world,
        id,
        "checkout.completed",
        json!({ "customer": customer }),
    )
    .await;
}

async fn paid(world: &World, id: &str, customer: &str) {
    send(world, id, "invoice.paid", json!({ "payer": customer })).await;
}

/// Waits until every job has ended: what runs them tells when something changes.
pub(crate) async fn done(world: &World, node: &Mainstay) {
    let mut live = node.samples.subscribe();
    let open = "SELECT count(*) FROM job AS j WHERE NOT EXISTS (
        SELECT 1 FROM attempt AS a WHERE a.job_id = j.id)";
    while world.count(open).await > 0 {
        let _ = live.recv().await;
    }
}

async fn list(world: &World, state: ExpectState) -> Vec<Expectation> {
    let source = world.source;
    let listed = world.store.read(Scope::Tenant(world.tenant), move |tx| {
        Box::pin(async move { tx.expect_list(source, state, None, 100).await })
    });
    listed.await.expect("they are listed")
}

async fn tally(world: &World) -> ExpectTally {
    let source = world.source;
    let read = world.store.read(SYSTEM, move |tx| {
        Box::pin(async move { tx.expect_tallies(source).await })
    });
    let mut tallies = read.await.expect("they are read");
    tallies.pop().unwrap_or_default()
}

async fn look(intake: &Arc<Intake>) -> usize {
    intake.expect_look(true).await.expect("it looks")
}

async fn told(world: &World) -> i64 {
    world
        .count(&format!(
            "SELECT count(*) FROM event WHERE kind = '{MISSING}'"
        ))
        .await
}

on_both!(
    what_comes_in_time_is_counted_and_what_does_not_is_listed_and_told_once,
    |db| async {
        let world = World::new(db.store()).await;
        rule(&world).await;
        let node = node(&world).await;
        begun(&world, "evt_1", "ada").await;
        begun(&world, "evt_2", "bob").await;
        world.clock.advance_ms(10 * MINUTE_MS);
        paid(&world, "evt_3", "ada").await;
        done(&world, &node).await;
        assert_eq!(list(&world, ExpectState::Waiting).await.len(), 1);
        // As another node would look at the same time: nobody finds it twice.
        node.stop().await;
        assert_eq!(look(&world.intake).await, 0, "there is time yet");
        world.clock.advance_ms(21 * MINUTE_MS);
        let other = world.another_intake(&db.second().await).await;
        assert_eq!(look(&world.intake).await + look(&other).await, 1);
        let missing = list(&world, ExpectState::Missing).await;
        let [one] = &missing[..] else {
            panic!("{missing:?}");
        };
        assert_eq!((&*one.object, &*one.wanted), ("bob", "invoice.*"));
        assert_eq!(look(&world.intake).await, 0);
        assert_eq!(told(&world).await, 1);
        let tally = tally(&world).await;
        assert_eq!((tally.fulfilled, tally.missed, tally.pending), (1, 1, 1));
    }
);

on_both!(
    what_a_rule_does_with_an_event_is_nothing_that_became_of_it,
    |db| async {
        let world = World::new(db.store()).await;
        rule(&world).await;
        let node = node(&world).await;
        begun(&world, "evt_1", "ada").await;
        done(&world, &node).await;
        node.stop().await;
        let observed =
            "SELECT count(*) FROM job_state WHERE kind = 'expect.observe' AND state = 'done'";
        assert_eq!(world.count(observed).await, 1);
        // Nobody has asked for the event: neither its status nor the count of its jobs says otherwise.
        let status = "SELECT count(*) FROM event_status WHERE status = 'unhandled'";
        assert_eq!(world.count(status).await, 1);
        for status in [None, Some(EventStatus::Unhandled)] {
            let filter = EventFilter {
                source: Some(world.source),
                status,
                ..EventFilter::default()
            };
            let listed = world.store.read(Scope::Tenant(world.tenant), move |tx| {
                let filter = filter.clone();
                Box::pin(async move { tx.event_list(&filter, 10).await })
            });
            let events = listed.await.expect("they are listed");
            assert_eq!(events.len(), 1, "{status:?}");
            assert_eq!(events[0].jobs, JobTally::default());
        }
    }
);

on_both!(
    what_overtakes_what_it_must_follow_counts_as_far_as_the_rule_looks_back,
    |db| async {
        let world = World::new(db.store()).await;
        rule(&world).await;
        let node = node(&world).await;
        paid(&world, "evt_1", "ada").await;
        paid(&world, "evt_2", "bob").await;
        done(&world, &node).await;
        world.clock.advance_ms(2 * MINUTE_MS);
        begun(&world, "evt_3", "ada").await;
        done(&world, &node).await;
        world.clock.advance_ms(10 * MINUTE_MS);
        begun(&world, "evt_4", "bob").await;
        done(&world, &node).await;
        let waiting = list(&world, ExpectState::Waiting).await;
        let objects: Vec<&str> = waiting.iter().map(|one| one.object.as_str()).collect();
        assert_eq!(objects, ["bob"]);
        node.stop().await;
    }
);

on_both!(
    what_is_missing_and_comes_late_is_missing_no_more,
    |db| async {
        let world = World::new(db.store()).await;
        rule(&world).await;
        begun(&world, "evt_1", "ada").await;
        let node = node(&world).await;
        done(&world, &node).await;
        world.clock.advance_ms(31 * MINUTE_MS);
        // The node looks as well: whoever it is, it is found.
        look(&world.intake).await;
        assert_eq!(list(&world, ExpectState::Missing).await.len(), 1);
        paid(&world, "evt_2", "ada").await;
        done(&world, &node).await;
        assert_eq!(list(&world, ExpectState::MissingAll).await, []);
        let tally = tally(&world).await;
        assert_eq!((tally.late, tally.missed, tally.pending), (1, 1, 0));
        node.stop().await;
    }
);

on_both!(
    what_is_received_after_its_time_is_late_though_nobody_has_looked,
    |db| async {
        let world = World::new(db.store()).await;
        rule(&world).await;
        begun(&world, "evt_1", "ada").await;
        world.clock.advance_ms(31 * MINUTE_MS);
        paid(&world, "evt_2", "ada").await;
        let node = node(&world).await;
        done(&world, &node).await;
        node.stop().await;
        let tally = tally(&world).await;
        assert_eq!((tally.fulfilled, tally.late, tally.pending), (0, 1, 0));
    }
);

on_both!(
    what_is_received_in_time_counts_as_in_time_whenever_it_is_looked_at,
    |db| async {
        let world = World::new(db.store()).await;
        rule(&world).await;
        begun(&world, "evt_1", "ada").await;
        let node = node(&world).await;
        done(&world, &node).await;
        node.stop().await;
        world.clock.advance_ms(10 * MINUTE_MS);
        paid(&world, "evt_2", "ada").await;
        world.clock.advance_ms(25 * MINUTE_MS);
        assert_eq!(look(&world.intake).await, 1);
        let node = self::node(&world).await;
        done(&world, &node).await;
        node.stop().await;
        let tally = tally(&world).await;
        assert_eq!((tally.fulfilled, tally.late, tally.pending), (1, 0, 0));
        assert_eq!(list(&world, ExpectState::MissingAll).await, []);
    }
);

/// An event of this object that began in this minute and has half an hour, without a job that says so.
fn expectation(world: &World, minute: i64, object: &str) -> Expectation {
    let began_at = START.plus_ms(minute * MINUTE_MS);
    Expectation {
        id: ExpectationId::new(began_at, &*world.random),
        tenant: world.tenant,
        source: world.source,
        rule: "paid".into(),
        object: object.into(),
        event: EventId::new(began_at, &*world.random),
        wanted: "invoice.*".into(),
        began_at,
        due_at: began_at.plus_ms(30 * MINUTE_MS),
        missing: false,
        acknowledged_at: None,
        acknowledged_by: None,
    }
}

async fn wait_for(world: &World, all: Vec<Expectation>) {
    let begun = world.store.transact(SYSTEM, move |tx| {
        let all = all.clone();
        Box::pin(async move {
            for one in &all {
                tx.expect_begin(one, one.began_at).await?;
            }
            Ok(())
        })
    });
    begun.await.expect("they are begun");
}

on_both!(
    of_several_that_came_before_it_was_looked_one_in_time_is_enough,
    |db| async {
        let world = World::new(db.store()).await;
        rule(&world).await;
        let of = (world.tenant, world.source);
        // In the other order than they were received in.
        for minute in [90, 60, 10] {
            let at = START.plus_ms(minute * MINUTE_MS);
            let met = world.store.transact(SYSTEM, move |tx| {
                Box::pin(async move {
                    tx.expect_meet(of, "paid", "ada", at, at, at.plus_ms(MINUTE_MS))
                        .await
                })
            });
            met.await.expect("it is noted");
        }
        // In time, in time, late, and none that came after.
        let all = [0, 40, 20, 100].map(|minute| expectation(&world, minute, "ada"));
        wait_for(&world, all.to_vec()).await;
        let tally = tally(&world).await;
        assert_eq!((tally.fulfilled, tally.late, tally.pending), (2, 1, 1));
    }
);

on_both!(what_must_wait_holds_up_nothing_behind_it, |db| async {
    let world = World::new(db.store()).await;
    let short = |name: &str, within_secs: i64| {
        json!({
            "name": name,
            "after": { "type": "checkout.completed", "key": "/data/customer" },
            "expect": { "type": "invoice.*", "key": "/data/payer" },
            "within_secs": within_secs,
        })
    };
    let rules = [short("paid", 1_800), short("short", 1)];
    set(&world, json!({ "expect": rules })).await;
    let mut all: Vec<_> = (0..250)
        .map(|number| expectation(&world, 0, &format!("cus_{number}")))
        .collect();
    let began_at = START.plus_ms(40 * MINUTE_MS);
    all.push(Expectation {
        rule: "short".into(),
        began_at,
        due_at: began_at.plus_ms(1_000),
        ..expectation(&world, 40, "ada")
    });
    wait_for(&world, all).await;
    world.clock.advance_ms(41 * MINUTE_MS);
    // A break of ours is over since a moment: those with half an hour get some more, the short one does not.
    let now = world.clock.now();
    let clock = RhythmClock {
        counted_to: now,
        seen_at: now,
        resumed_at: now.minus_ms(5_000),
        quiet_until: START,
    };
    let put = world.store.transact(SYSTEM, move |tx| {
        Box::pin(async move { tx.rhythm_clock_put(None, clock).await })
    });
    assert!(put.await.expect("it is put"));
    assert_eq!(look(&world.intake).await, 1);
    let missing = list(&world, ExpectState::Missing).await;
    assert_eq!((missing.len(), &*missing[0].object), (1, "ada"));
    world.clock.advance_ms(16 * MINUTE_MS);
    assert_eq!(look(&world.intake).await, 250);
});

on_both!(
    what_is_missing_can_be_acknowledged_and_a_rule_that_is_gone_waits_for_nothing,
    |db| async {
        let world = World::new(db.store()).await;
        rule(&world).await;
        begun(&world, "evt_1", "ada").await;
        let node = node(&world).await;
        done(&world, &node).await;
        node.stop().await;
        world.clock.advance_ms(31 * MINUTE_MS);
        assert_eq!(look(&world.intake).await, 1);
        let (source, now) = (world.source, world.clock.now());
        let seen = world
            .store
            .transact(Scope::Tenant(world.tenant), move |tx| {
                Box::pin(async move { tx.expect_acknowledge(source, &[], now, "ada").await })
            });
        assert_eq!(seen.await.expect("it is seen"), 1);
        assert_eq!(list(&world, ExpectState::Missing).await, []);
        assert_eq!(list(&world, ExpectState::MissingAll).await.len(), 1);
        begun(&world, "evt_2", "bob").await;
        let node = self::node(&world).await;
        done(&world, &node).await;
        node.stop().await;
        set(&world, json!({})).await;
        world.clock.advance_ms(31 * MINUTE_MS);
        assert_eq!(look(&world.intake).await, 0);
        assert_eq!(list(&world, ExpectState::Waiting).await, []);
        assert_eq!(told(&world).await, 1);
    }
);

on_both!(
    events_that_no_rule_is_about_make_no_job_and_an_event_without_the_key_begins_nothing,
    |db| async {
        let world = World::new(db.store()).await;
        paid(&world, "evt_1", "ada").await;
        assert_eq!(world.count("SELECT count(*) FROM job").await, 0);
        rule(&world).await;
        send(&world, "evt_2", "other.type", json!({ "customer": "ada" })).await;
        assert_eq!(world.count("SELECT count(*) FROM job").await, 0);
        send(
            &world,
            "evt_3",
            "checkout.completed",
            json!({ "customer": null }),
        )
        .await;
        let node = node(&world).await;
        done(&world, &node).await;
        assert_eq!(list(&world, ExpectState::Waiting).await, []);
        node.stop().await;
    }
);

on_both!(
    what_was_kept_in_case_it_came_first_goes_when_its_time_is_over,
    |db| async {
        let world = World::new(db.store()).await;
        rule(&world).await;
        let node = node(&world).await;
        paid(&world, "evt_1", "ada").await;
        done(&world, &node).await;
        node.stop().await;
        let marks = "SELECT count(*) FROM expectation_met";
        assert_eq!(world.count(marks).await, 1);
        world.clock.advance_ms(2 * 60 * MINUTE_MS);
        let now = world.clock.now();
        let expired = world.store.transact(SYSTEM, move |tx| {
            Box::pin(async move { tx.expect_expire(now, now, 100).await })
        });
        assert_eq!(expired.await.expect("they go"), 1);
        assert_eq!(world.count(marks).await, 0);
        assert_eq!(world.count("SELECT marks FROM expectation_tally").await, 0);
    }
);
