//! Looks for few events among many: bounded, and nothing is passed by.

use mainstay_domain::{
    EventId, Scope, StoreExt,
    intake::{
        Event, EventFilter, EventStatus, EventsFound,
        objects::{IndexCommit, Indexed, ObjectId},
    },
};
use mainstay_testkit::{TestDatabase, on_both};

use crate::{
    kit::{SYSTEM, World},
    lists::{Scene, scene},
};

/// Indexes these events and says that everything before this time is.
async fn index(world: &World, events: &[Event], until_ms: i64) {
    let until = world.at(until_ms);
    let events: Vec<Indexed> = events
        .iter()
        .map(|event| Indexed {
            tenant: event.tenant,
            id: event.id,
            source: event.source,
            kind: event.kind.clone(),
            objects: vec![ObjectId {
                name: "customer".into(),
                id: format!("cus_{}", event.payload_bytes % 2),
            }],
            before: None,
        })
        .collect();
    let commit = world.store.transact(SYSTEM, move |tx| {
        let events = events.clone();
        Box::pin(async move {
            let mut state = tx.object_state().await?;
            (state.until, state.settled) = (until, until);
            tx.object_commit(&IndexCommit {
                state,
                events,
                noted: Vec::new(),
                source: None,
            })
            .await
        })
    });
    commit.await.expect("indexed");
}

async fn look(
    world: &World,
    scope: Scope,
    filter: &EventFilter,
    limit: i64,
    most: i64,
) -> EventsFound {
    let filter = filter.clone();
    let found = world.store.read(scope, move |tx| {
        let filter = filter.clone();
        Box::pin(async move { tx.event_look(&filter, limit, most).await })
    });
    found.await.expect("it answers")
}

/// Look after look until there is no more.
async fn looked_for(
    scene: &Scene,
    scope: Scope,
    filter: &EventFilter,
    limit: i64,
    most: i64,
) -> Vec<EventId> {
    let (mut filter, mut all, mut last) = (filter.clone(), Vec::new(), EventId::MAX);
    loop {
        let found = look(&scene.one, scope, &filter, limit, most).await;
        assert!(found.events.len() as i64 <= limit);
        all.extend(found.events.iter().map(|event| event.id));
        let Some(to) = found.looked_to else {
            return all;
        };
        assert!(to < last, "each look comes further");
        assert!(found.events.iter().all(|event| event.id >= to));
        last = to;
        filter.before = Some((scene.one.at(0), to));
    }
}

/// Filters of all kinds, alone and together.
fn filters(scene: &Scene) -> Vec<EventFilter> {
    let all = |status, kind: Option<&str>, source: bool, object: bool| EventFilter {
        status,
        kind: kind.map(Into::into),
        source: source.then_some(scene.two.source.id),
        object: object.then(|| "cus_0".into()),
        ..EventFilter::default()
    };
    let (paid, alike) = (Some("invoice.paid"), Some("invoice.*"));
    let mut all = vec![
        all(None, None, false, false),
        all(None, paid, false, false),
        all(None, alike, true, false),
        all(None, Some("none"), false, false),
        all(None, None, false, true),
        all(None, alike, false, true),
        all(Some(EventStatus::Error), None, false, false),
        all(Some(EventStatus::Error), alike, false, true),
        all(Some(EventStatus::Error), paid, true, false),
        all(Some(EventStatus::Pending), None, false, false),
        all(Some(EventStatus::Success), alike, false, false),
        all(Some(EventStatus::Unhandled), None, true, false),
        all(Some(EventStatus::Processing), None, false, true),
    ];
    let within = EventFilter {
        from: Some(scene.one.at(50)),
        to: Some(scene.one.at(300)),
        status: Some(EventStatus::Success),
        ..EventFilter::default()
    };
    all.extend([
        EventFilter {
            kind: Some("invoice.paid".into()),
            ..within.clone()
        },
        EventFilter {
            violates: true,
            ..within.clone()
        },
        EventFilter {
            conflicts: true,
            ..EventFilter::default()
        },
        within,
    ]);
    all
}

on_both!(
    looks_of_any_length_find_together_what_one_finds,
    |db| async {
        let scene = scene(db).await;
        let events = scene.events(SYSTEM, EventFilter::default(), 1_000).await;
        let mut before = events.len();
        for (left, until_ms) in [(40, -10_000), (20, 5_000 + 200), (0, 5_000 + 400)] {
            // The oldest of them: events are listed newest first.
            index(&scene.one, &events[left..before], until_ms).await;
            before = left;
            for filter in filters(&scene) {
                let wanted: Vec<EventId> = events
                    .iter()
                    .filter(|event| wants(&filter, event, &events[left..]))
                    .map(|event| event.id)
                    .collect();
                for (limit, most) in [(1_000, 1_000), (3, 9)] {
                    let found = looked_for(&scene, SYSTEM, &filter, limit, most).await;
                    assert_eq!(found, wanted, "{limit} of {most}: {filter:?}");
                }
                let own = events
                    .iter()
                    .filter(|event| event.tenant == scene.one.tenant);
                let own: Vec<EventId> = own.map(|event| event.id).collect();
                let found = looked_for(&scene, scene.one.scope(), &filter, 4, 12).await;
                let wanted: Vec<_> = wanted.into_iter().filter(|id| own.contains(id)).collect();
                assert_eq!(found, wanted, "{filter:?}");
            }
        }
    }
);

fn wants(filter: &EventFilter, event: &Event, indexed: &[Event]) -> bool {
    let object = filter.object.as_deref().is_none_or(|object| {
        indexed.contains(event) && object == format!("cus_{}", event.payload_bytes % 2)
    });
    let kind = filter.kind.as_deref().is_none_or(|kind| {
        let prefix = kind.strip_suffix('*');
        prefix.map_or(kind == event.kind, |prefix| event.kind.starts_with(prefix))
    });
    object
        && kind
        && !filter.violates
        && !filter.conflicts
        && filter.source.is_none_or(|source| source == event.source)
        && filter.from.is_none_or(|from| event.received_at >= from)
        && filter.to.is_none_or(|to| event.received_at < to)
        && filter
            .status
            .is_none_or(|status| EventStatus::of(event.jobs) == status)
}

on_both!(a_look_that_finds_nothing_says_how_far_it_came, |db| async {
    let world = World::new(db).await;
    let arrivals = (0..300).map(|ms| world.arrival_within(&format!("evt_{ms}"), ms));
    let arrivals: Vec<_> = arrivals.collect();
    let ids: Vec<EventId> = arrivals.iter().map(|one| one.events[0].id).collect();
    world.append(arrivals).await;
    let none = EventFilter {
        status: Some(EventStatus::Success),
        ..EventFilter::default()
    };
    let found = look(&world, world.scope(), &none, 10, 100).await;
    assert_eq!(found.events, []);
    let to = found.looked_to.expect("there are more");
    assert!(
        (ids[190]..=ids[210]).contains(&to),
        "a hundred are looked at"
    );
    let rest = EventFilter {
        before: Some((world.at(0), to)),
        ..none
    };
    let found = look(&world, world.scope(), &rest, 10, 1_000).await;
    assert_eq!((found.events.len(), found.looked_to), (0, None));
});

/// Entries of the indexes of events and jobs, and their rows, that were read until now, once every session has ended.
async fn read_until_now(db: &TestDatabase) -> i64 {
    let client = db.scratch().expect("it is on PostgreSQL").client().await;
    let count = async |text| {
        let row = client.query_one(text, &[]).await.expect("it answers");
        row.get::<_, i64>(0)
    };
    let sessions = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while count(sessions).await > 0 {}
    let read = "SELECT (
            (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname IN ('event', 'job'))
            + (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('event', 'job')))::int8";
    count(read).await
}

#[test]
fn a_page_of_named_rows_reads_no_others_whatever_was_read_before_it() {
    mainstay_testkit::run(async {
        let db = TestDatabase::postgres().await;
        let world = World::new(&db).await;
        for begin in (0..12_000).step_by(500) {
            let some = begin..begin + 500;
            let some = some.map(|ms| world.arrival_within(&format!("evt_{ms}"), ms));
            world.append(some.collect()).await;
        }
        let all = EventFilter::default();
        let all = look(&world, world.scope(), &all, 12_000, 20_000)
            .await
            .events;
        index(&world, &all, 10_000_000).await;
        db.store().close().await;
        let client = db.scratch().expect("it is on PostgreSQL").client().await;
        client.batch_execute("ANALYZE").await.expect("statistics");
        drop(client);
        let lists = [
            EventFilter {
                source: Some(world.source.id),
                ..EventFilter::default()
            },
            EventFilter {
                kind: Some("invoice.*".into()),
                ..EventFilter::default()
            },
            EventFilter {
                object: Some("cus_0".into()),
                kind: Some("invoice.paid".into()),
                ..EventFilter::default()
            },
            EventFilter {
                status: Some(EventStatus::Pending),
                ..EventFilter::default()
            },
        ];
        for filter in lists {
            let before = read_until_now(&db).await;
            let store = db.second().await;
            let other = World {
                store: store.clone(),
                ..world.clone()
            };
            let found = look(&other, world.scope(), &filter, 10, 1_000).await;
            assert_eq!(found.events.len(), 10);
            store.close().await;
            let read = read_until_now(&db).await - before;
            assert!(read < 3_000, "{read} rows for ten: {filter:?}");
        }
    });
}
