//! Appending events: once for ever, whatever comes twice.

use std::{collections::HashSet, sync::Arc};

use mainstay_domain::{
    EventId, StoreError, StoreExt,
    intake::{Appended, Arrival, EventStatus, Verdict, scheme},
    jobs::Cursor,
};
use mainstay_testkit::{TestDatabase, on_both};

use crate::kit::{BEGIN, SYSTEM, World, blob, run};

async fn deliveries(world: &World, id: EventId) -> i64 {
    let event = run!(world.store, world.scope(), [], |tx| tx.event_get(id));
    event.expect("it answers").expect("it is there").deliveries
}

async fn verdicts(world: &World, id: EventId) -> Vec<Verdict> {
    let receipts = run!(world.store, world.scope(), [], |tx| tx
        .event_receipts(id, 100));
    receipts
        .expect("it answers")
        .iter()
        .map(|receipt| receipt.verdict)
        .collect()
}

on_both!(
    a_new_event_is_kept_with_its_receipt_and_its_jobs,
    |db| async {
        let world = World::new(db).await;
        let mut arrival = world.arrival("evt_1", 10);
        arrival.receipt.body = Some(blob(b"evt_1"));
        let event = arrival.events[0].clone();
        let appended = world.append(vec![arrival.clone()]).await;
        assert_eq!(appended, [[Appended::New(event.id)]]);

        let id = event.id;
        let found = run!(world.store, SYSTEM, [], |tx| tx.event_get(id));
        let found = found.expect("it answers").expect("it is there");
        assert_eq!(
            (found.tenant, found.source),
            (world.tenant, world.source.id)
        );
        assert_eq!(found.source_name, "acme-stripe");
        assert_eq!(
            (&*found.provider_id, &*found.kind),
            ("evt_1", "invoice.paid")
        );
        assert_eq!(
            (found.received_at, found.occurred_at),
            (world.at(10), Some(world.at(5)))
        );
        assert_eq!(
            (found.receipt, found.payload_bytes, found.deliveries),
            (arrival.receipt.id, 5, 1)
        );
        assert_eq!((found.jobs.total, found.jobs.waiting), (1, 1));
        assert_eq!(EventStatus::of(found.jobs), EventStatus::Pending);

        let payload = run!(world.store, world.scope(), [], |tx| tx.event_payload(id));
        assert_eq!(payload.expect("it answers"), Some(blob(b"evt_1")));
        let receipts = run!(world.store, world.scope(), [], |tx| tx
            .event_receipts(id, 10))
        .expect("it answers");
        assert_eq!(receipts.len(), 1);
        assert_eq!(
            (receipts[0].verdict, receipts[0].secret),
            (Verdict::Accepted, arrival.receipt.secret)
        );
        assert_eq!(
            (&receipts[0].headers, receipts[0].body_bytes),
            (&arrival.receipt.headers, 14)
        );
        let receipt = arrival.receipt.id;
        // The event holds the very same bytes.
        let body = run!(world.store, SYSTEM, [], |tx| tx.receipt_body(receipt));
        assert_eq!(body.expect("it answers"), None);

        let (jobs, _) = world.discover(Cursor::default(), 10).await;
        assert_eq!(crate::kit::ids(&jobs), [event.jobs[0].id]);
        let wanted = vec![(world.tenant, event.jobs[0].id)];
        let bodies = run!(world.store, SYSTEM, [wanted], |tx| tx
            .job_bodies(&wanted, true))
        .expect("it answers");
        let body = bodies[0].event.as_ref().expect("it has an event");
        assert_eq!(
            (body.id, &*body.source_name, &body.payload),
            (id, "acme-stripe", &event.payload)
        );
        assert_eq!(
            (body.received_at, body.headers.as_ref()),
            (world.at(10), Some(&arrival.receipt.headers))
        );
        let bodies = run!(world.store, SYSTEM, [wanted], |tx| tx
            .job_bodies(&wanted, false));
        let bodies = bodies.expect("it answers");
        let without = bodies[0].event.as_ref().expect("it has an event");
        assert_eq!(
            (without.headers.as_ref(), &without.payload),
            (None, &event.payload)
        );
    }
);

on_both!(
    a_request_that_is_nothing_but_its_event_is_found_like_any_other,
    |db| async {
        let world = World::new(db).await;
        let (within, apart) = (
            world.arrival_within("evt_1", 10),
            world.arrival("evt_2", 20),
        );
        let again = world.arrival_within("evt_1", 30);
        for arrival in [&within, &apart, &again] {
            world.append(vec![arrival.clone()]).await;
        }
        let (receipt, event) = (&within.receipt, within.events[0].id);
        assert_eq!(receipt.id.uuid(), event.uuid());
        for scope in [SYSTEM, world.scope()] {
            let id = receipt.id;
            let found = run!(world.store, scope, [], |tx| tx.receipt_get(id));
            let found = found.expect("it answers").expect("it is there");
            assert_eq!(
                (found.id, found.source, &*found.source_name),
                (receipt.id, receipt.source, "acme-stripe")
            );
            assert_eq!(
                (found.received_at, &found.remote, &found.headers),
                (receipt.received_at, &receipt.remote, &receipt.headers)
            );
            assert_eq!(
                (found.verdict, found.refusal.as_deref(), found.secret),
                (Verdict::Accepted, None, receipt.secret)
            );
            assert_eq!(found.body_bytes, receipt.body_bytes);
            let of_event = run!(world.store, scope, [], |tx| tx.event_receipts(event, 10));
            let of_event = of_event.expect("it answers");
            assert_eq!(of_event[0], found);
            assert_eq!(of_event[1].id, again.receipt.id);

            let list = async |source, verdict, before, limit| {
                let listed = run!(world.store, scope, [], |tx| tx
                    .receipt_list(source, verdict, before, limit));
                let listed = listed.expect("it answers").into_iter();
                listed.map(|receipt| receipt.id).collect::<Vec<_>>()
            };
            let all = [again.receipt.id, apart.receipt.id, receipt.id];
            let source = Some(world.source.id);
            assert_eq!(list(None, None, None, 10).await, all);
            assert_eq!(list(source, None, None, 2).await, all[..2]);
            let accepted = Some(Verdict::Accepted);
            assert_eq!(list(source, accepted, None, 10).await, all[1..]);
            let before = Some((apart.receipt.received_at, apart.receipt.id));
            assert_eq!(list(None, accepted, before, 10).await, all[2..]);
            let duplicates = Some(Verdict::Duplicate);
            assert_eq!(list(None, duplicates, None, 10).await, all[..1]);
        }
        for wanted in [within, apart] {
            let (job, headers) = (wanted.events[0].jobs[0].id, wanted.receipt.headers);
            let wanted = vec![(world.tenant, job)];
            let bodies = run!(world.store, SYSTEM, [wanted], |tx| tx
                .job_bodies(&wanted, true))
            .expect("it answers");
            let event = bodies[0].event.as_ref().expect("it has an event");
            assert_eq!(event.headers.as_ref(), Some(&headers));
        }
    }
);

on_both!(
    a_request_whose_answer_was_lost_can_be_appended_once_more,
    |db| async {
        let world = World::new(db).await;
        let lost = world.arrival_within("evt_1", 10);
        let event = lost.events[0].id;
        let other = world.arrival_within("evt_2", 20);
        world.append(vec![lost.clone()]).await;
        let again = world.append(vec![lost.clone(), other.clone()]).await;
        let new = [
            vec![Appended::New(event)],
            vec![Appended::New(other.events[0].id)],
        ];
        assert_eq!(again, new);
        let again = world.append_within(vec![lost, other]).await;
        assert_eq!(again, new);
        assert_eq!(deliveries(&world, event).await, 1);
        assert_eq!(verdicts(&world, event).await, [Verdict::Accepted]);
        assert_eq!(world.discover(Cursor::default(), 10).await.0.len(), 2);
    }
);

on_both!(a_duplicate_is_counted_and_makes_nothing, |db| async {
    let world = World::new(db).await;
    let first = world.append(vec![world.arrival("evt_1", 10)]).await[0][0].id();
    for ms in [20, 30] {
        let again = world.append(vec![world.arrival("evt_1", ms)]).await;
        assert_eq!(again, [[Appended::Duplicate(first)]]);
    }
    assert_eq!(deliveries(&world, first).await, 3);
    let all = [Verdict::Accepted, Verdict::Duplicate, Verdict::Duplicate];
    assert_eq!(verdicts(&world, first).await, all);
    assert_eq!(world.discover(Cursor::default(), 10).await.0.len(), 1);
});

on_both!(
    other_content_under_a_known_id_is_a_conflict_and_kept,
    |db| async {
        let world = World::new(db).await;
        let first = world.append(vec![world.arrival("evt_1", 10)]).await[0][0].id();
        let mut other = world.arrival("evt_1", 20);
        other.events[0].body_hash = *b"another!";
        let receipt = other.receipt.id;
        assert_eq!(
            world.append(vec![other]).await,
            [[Appended::Conflict(first)]]
        );
        assert_eq!(
            verdicts(&world, first).await,
            [Verdict::Accepted, Verdict::Conflict]
        );
        let body = run!(world.store, world.scope(), [], |tx| tx
            .receipt_body(receipt));
        assert_eq!(body.expect("it answers"), Some(blob(b"the whole body")));
        assert_eq!(deliveries(&world, first).await, 2);
    }
);

on_both!(
    either_of_two_keys_tells_a_duplicate_and_learns_the_other,
    |db| async {
        let world = World::new(db).await;
        let with = |id: &str, keys: [&str; 2], ms| {
            let mut arrival = world.arrival(id, ms);
            arrival.events[0].dedup_keys = keys.map(scheme::dedup_key).to_vec();
            arrival
        };
        let first = world.append(vec![with("a", ["a", "content"], 10)]).await[0][0].id();
        // The provider's id is another, what was signed is the same.
        let again = world.append(vec![with("b", ["b", "content"], 20)]).await;
        assert_eq!(again, [[Appended::Duplicate(first)]]);
        // Now the other id is known too, with any content.
        let again = world.append(vec![with("b", ["b", "more"], 30)]).await;
        assert_eq!(again, [[Appended::Duplicate(first)]]);
        let again = world.append(vec![with("c", ["c", "more"], 40)]).await;
        assert_eq!(again, [[Appended::Duplicate(first)]]);
        assert_eq!(deliveries(&world, first).await, 4);
    }
);

on_both!(duplicates_inside_one_batch_are_one_event, |db| async {
    let world = World::new(db).await;
    let mut arrivals: Vec<Arrival> = (0..6).map(|ms| world.arrival("evt_1", ms)).collect();
    arrivals[3].events[0].body_hash = *b"another!";
    // One with two keys between two others: the second and the third are the same because of it.
    let keys = |names: &[&str]| names.iter().map(|name| scheme::dedup_key(name)).collect();
    arrivals[4].events[0].dedup_keys = keys(&["x", "y"]);
    arrivals[5].events[0].dedup_keys = keys(&["z", "y"]);
    let first = arrivals[0].events[0].id;
    let second = arrivals[4].events[0].id;
    let appended = world.append(arrivals).await;
    let appended: Vec<Appended> = appended.into_iter().flatten().collect();
    assert_eq!(
        appended,
        [
            Appended::New(first),
            Appended::Duplicate(first),
            Appended::Duplicate(first),
            Appended::Conflict(first),
            Appended::New(second),
            Appended::Duplicate(second),
        ]
    );
    assert_eq!(
        (
            deliveries(&world, first).await,
            deliveries(&world, second).await
        ),
        (4, 2)
    );
    assert_eq!(world.discover(Cursor::default(), 10).await.0.len(), 2);
    // The third id is known from now on.
    assert_eq!(
        world.append(vec![world.arrival("z", 9)]).await,
        [[Appended::Duplicate(second)]]
    );
});

on_both!(
    a_batch_with_something_impossible_leaves_nothing_and_nothing_open,
    |db| async {
        let world = World::new(db).await;
        let mut arrivals: Vec<Arrival> = (0..3)
            .map(|ms| world.arrival(&format!("evt_{ms}"), ms))
            .collect();
        // The id of a receipt that is there already.
        let there = world.arrival("evt_there", 9);
        arrivals[1].receipt.id = there.receipt.id;
        world.append(vec![there]).await;
        let version = run!(world.store, SYSTEM, [], |tx| tx.config_version()).expect("it answers");
        for _ in 0..20 {
            let refused = world.store.append(version, arrivals.clone().into()).await;
            assert!(refused.iter().all(Result::is_err), "{refused:?}");
        }
        assert_eq!(world.discover(Cursor::default(), 10).await.0.len(), 1);
        arrivals.remove(1);
        for appended in world.append(arrivals).await {
            assert!(matches!(appended[0], Appended::New(_)), "{appended:?}");
        }
    }
);

on_both!(a_request_can_bring_several_events_or_none, |db| async {
    let world = World::new(db).await;
    let mut several = world.arrival("evt_1", 10);
    several.events.push(world.event("evt_2", 10));
    let none = Arrival {
        receipt: world.receipt(20),
        events: Vec::new(),
    };
    let (kept, empty) = (several.receipt.id, none.receipt.id);
    let second = several.events[1].id;
    let appended = world.append(vec![several, none]).await;
    assert_eq!((appended[0].len(), appended[1].len()), (2, 0));
    // No single event holds what was sent.
    for receipt in [kept, empty] {
        let body = run!(world.store, SYSTEM, [], |tx| tx.receipt_body(receipt));
        assert_eq!(body.expect("it answers"), Some(blob(b"the whole body")));
    }
    let mut mixed = world.arrival("evt_3", 30);
    mixed.events.push(world.event("evt_2", 30));
    let appended = world.append(vec![mixed]).await;
    assert_eq!(appended[0][1], Appended::Duplicate(second));
    assert_eq!(
        verdicts(&world, second).await,
        [Verdict::Accepted, Verdict::Accepted]
    );
});

on_both!(
    appends_of_the_same_keys_at_once_end_in_one_event_each,
    |db| async {
        const EVENTS: usize = 40;
        let world = World::new(db).await;
        let mut tasks = Vec::new();
        for task in 0..8_i64 {
            let world = World {
                store: if task % 2 == 0 {
                    db.store()
                } else {
                    db.second().await
                },
                ..world.clone()
            };
            tasks.push(tokio::spawn(async move {
                // Each in an order of its own, in batches that overlap.
                let order = (0..EVENTS).map(|index| (index * 7 + task as usize * 11) % EVENTS);
                let arrivals: Vec<Arrival> = order
                    .map(|index| world.arrival(&format!("evt_{index}"), task))
                    .collect();
                let mut appended = Vec::new();
                for (number, batch) in arrivals.chunks(13).enumerate() {
                    let batch = batch.to_vec();
                    // By both ways, in each other's way.
                    let batch = match (number + task as usize / 2) % 2 {
                        0 => world.append(batch).await,
                        _ => world.append_within(batch).await,
                    };
                    appended.extend(batch.into_iter().flatten());
                }
                appended
            }));
        }
        let mut new = Vec::new();
        let mut all = HashSet::new();
        for task in tasks {
            for appended in task.await.expect("it ends") {
                all.insert(appended.id());
                if let Appended::New(id) = appended {
                    new.push(id);
                }
            }
        }
        assert_eq!((new.len(), all.len()), (EVENTS, EVENTS));
        for id in &new {
            assert_eq!(deliveries(&world, *id).await, 8);
        }
        assert_eq!(world.discover(Cursor::default(), 7).await.0.len(), EVENTS);
    }
);

on_both!(
    an_older_configuration_is_refused_with_nothing_written,
    |db| async {
        let world = World::new(db).await;
        let version = run!(world.store, SYSTEM, [], |tx| tx.config_version()).expect("it answers");
        let mut source = world.source.clone();
        source.enabled = false;
        assert!(
            run!(world.store, world.scope(), [source], |tx| tx
                .source_update(&source))
            .expect("it changes")
        );
        let arrivals = vec![world.arrival("evt_1", 10)];
        let refused = run!(world.store, SYSTEM, [arrivals], |tx| tx
            .event_append(version, &arrivals));
        let mut alone = world.store.append(version, arrivals.clone().into()).await;
        let alone = alone.remove(0).map(|one| vec![one]);
        for refused in [refused, alone] {
            assert!(
                matches!(refused, Err(StoreError::ConfigChanged)),
                "{refused:?}"
            );
        }
        let receipts = run!(world.store, SYSTEM, [], |tx| tx
            .receipt_list(None, None, None, 10));
        assert_eq!(receipts.expect("it answers"), []);
        assert!(matches!(
            world.append(arrivals.clone()).await[0][0],
            Appended::New(_)
        ));
    }
);

on_both!(
    every_change_of_the_configuration_is_a_new_version,
    |db| async {
        let world = World::new(db).await;
        let version = Arc::new(std::sync::Mutex::new(0_i64));
        let newer = async |what: &str| {
            let found =
                run!(world.store, SYSTEM, [], |tx| tx.config_version()).expect("it answers");
            let mut known = version.lock().expect("nobody panicked");
            assert!(found > *known, "{what}");
            *known = found;
        };
        newer("a source was added").await;
        let endpoint = world.endpoint("app");
        run!(world.store, world.scope(), [endpoint], |tx| tx
            .endpoint_insert(&endpoint))
        .expect("an endpoint");
        newer("an endpoint was added").await;
        let binding = world.binding(
            "all",
            mainstay_domain::intake::HandlerRef::Endpoint(endpoint.id),
        );
        run!(world.store, world.scope(), [binding], |tx| tx
            .binding_insert(&binding))
        .expect("a binding");
        newer("a binding was added").await;
        run!(world.store, world.scope(), [binding], |tx| tx
            .binding_update(&binding))
        .expect("it changes");
        newer("a binding was changed").await;
        let (tenant, id) = (world.tenant, binding.id);
        run!(world.store, world.scope(), [], |tx| tx
            .binding_delete(tenant, id))
        .expect("it goes");
        newer("a binding was removed").await;
        run!(world.store, world.scope(), [endpoint], |tx| tx
            .endpoint_update(&endpoint))
        .expect("it changes");
        newer("an endpoint was changed").await;
        let (source, secret) = (world.source.id, world.source.secrets[0].id);
        let used = vec![(secret, BEGIN)];
        run!(world.store, SYSTEM, [used], |tx| tx
            .source_secret_touch(&used))
        .expect("it is noted");
        let same = run!(world.store, SYSTEM, [], |tx| tx.config_version()).expect("it answers");
        assert_eq!(
            same,
            *version.lock().expect("nobody panicked"),
            "a secret that was used changes nothing"
        );
        run!(world.store, world.scope(), [], |tx| tx
            .source_secret_delete(source, secret))
        .expect("it goes");
        newer("a secret was removed").await;
        let config = run!(world.store, SYSTEM, [], |tx| tx.config_load()).expect("it loads");
        assert_eq!(
            (
                config.sources.len(),
                config.endpoints.len(),
                config.bindings.len()
            ),
            (1, 1, 0)
        );
        assert_eq!(config.sources[0].secrets, []);
    }
);

on_both!(
    whoever_holds_the_configuration_is_the_next_to_change_it,
    |db| async {
        const WRITERS: usize = 8;
        const CHANGES: usize = 5;
        let world = World::new(db).await;
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            let (store, scope, source) = (db.second().await, world.scope(), world.source.clone());
            tasks.push(tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..CHANGES {
                    let found = run!(store, scope, [source], |tx| async {
                        // Every other one asks for nothing and only changes it.
                        if writer % 2 == 1 {
                            return tx.source_update(&source).await.map(|_| None);
                        }
                        tx.config_hold().await?;
                        let before = tx.config_version().await?;
                        tx.source_update(&source).await?;
                        Ok(Some((before, tx.config_version().await?)))
                    });
                    seen.extend(found.expect("it changes"));
                }
                seen
            }));
        }
        let mut held = Vec::new();
        for task in tasks {
            held.extend(task.await.expect("it ends"));
        }
        assert_eq!(held.len(), WRITERS / 2 * CHANGES);
        for (before, after) in held {
            assert_eq!(after, before + 1, "somebody else was in between");
        }
    }
);

/// On SQLite all of a batch is one transaction, and there are no two ways.
#[test]
fn an_error_of_the_long_way_leaves_the_answers_of_the_short_way_alone() {
    mainstay_testkit::run(async {
        let db = TestDatabase::postgres().await;
        let world = World::new(&db).await;
        let there = world.arrival("evt_there", 9);
        let taken = there.receipt.id;
        world.append(vec![there]).await;
        let two = |first: &str, second: &str| {
            let mut arrival = world.arrival(first, 10);
            arrival.events.push(world.event(second, 10));
            arrival
        };
        // Requests with one event and one key, between requests with two events.
        let sent = || {
            vec![
                two("evt_a", "evt_b"),
                world.arrival("evt_1", 10),
                two("evt_c", "evt_d"),
                world.arrival("evt_2", 10),
            ]
        };
        let mut arrivals = sent();
        arrivals[2].receipt.id = taken;
        let short = [arrivals[1].events[0].id, arrivals[3].events[0].id];
        let version = run!(world.store, SYSTEM, [], |tx| tx.config_version()).expect("it answers");
        let answers = world.store.append(version, arrivals.into()).await;
        assert!(
            answers[0].is_err() && answers[2].is_err() && answers.len() == 4,
            "{answers:?}"
        );
        for (at, id) in [(1, short[0]), (3, short[1])] {
            assert_eq!(answers[at].clone().ok(), Some(vec![Appended::New(id)]));
            assert_eq!(deliveries(&world, id).await, 1);
        }
        // Nothing of the others is there: they come again and are new.
        let again = world.append(sent()).await;
        let new = |appended: &Vec<Appended>| {
            let mut all = appended.iter();
            appended.len() == 2 && all.all(|one| matches!(one, Appended::New(_)))
        };
        assert!(new(&again[0]) && new(&again[2]), "{again:?}");
        assert_eq!(again[1], [Appended::Duplicate(short[0])]);
        assert_eq!(again[3], [Appended::Duplicate(short[1])]);
        db.finish().await;
    });
}
