//! Rhythm: what a source brings is counted by one node, and silence and surge are found once, told, and ended.

use mainstay::intake::rhythm::Rhythms;
use mainstay_domain::{
    Clock, Scope, StoreExt, Timestamp,
    intake::rhythm::{
        ALL_TYPES, HOUR_MS, RhythmKind, RhythmSignal, SourceCounted, TypeCount, WEEK_HOURS,
        hour_of, hour_start,
    },
};
use mainstay_testkit::on_both;

use crate::world::World;

const SYSTEM: Scope = Scope::System("tests");
const KIND: &str = "order.paid";

/// Three weeks with so many events of one type in every hour, up to the hour of now.
async fn learned(world: &World, an_hour: i64) {
    let now = hour_of(world.clock.now());
    let (tenant, source) = (world.tenant, world.source);
    let written = world.store.transact(SYSTEM, move |tx| {
        Box::pin(async move {
            for hour in now - 3 * WEEK_HOURS..now {
                let last_at = Timestamp::from_micros(hour_start(hour + 1).micros() - 1);
                let counted = |event_type: &str| TypeCount {
                    source,
                    event_type: event_type.to_owned(),
                    count: an_hour,
                    last_at,
                };
                let counted = SourceCounted {
                    tenant,
                    source,
                    hour,
                    counted_ms: HOUR_MS,
                    types: vec![counted(ALL_TYPES), counted(KIND)],
                };
                tx.rhythm_add(&counted).await?;
            }
            Ok(())
        })
    });
    written.await.expect("it is written");
}

/// Goes on minute by minute, each with so many events.
async fn minutes(world: &World, rhythms: &mut Rhythms, minutes: i64, each: i64) {
    for _ in 0..minutes {
        for at in 0..each {
            let id = format!("evt_{}_{at}", world.clock.now().micros());
            let answer = world.accept(world.event(&id, KIND)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        world.clock.advance_ms(60_000);
        rhythms.look().await.expect("it is counted");
    }
}

/// A world at the start of an hour, with somebody who counts.
async fn counting(world: &World, an_hour: i64) -> Rhythms {
    let next = hour_start(hour_of(world.clock.now()) + 1);
    world.clock.advance_ms(next.ms_since(world.clock.now()));
    learned(world, an_hour).await;
    let mut rhythms = Rhythms::new(world.intake.clone());
    rhythms.look().await.expect("it begins");
    rhythms
}

async fn signals(world: &World) -> Vec<RhythmSignal> {
    let (tenant, source) = (world.tenant, world.source);
    let listed = world.store.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            tx.rhythm_signal_list(tenant, source, false, None, 100)
                .await
        })
    });
    listed.await.expect("they are listed")
}

async fn own_events(world: &World, kind: &str) -> i64 {
    world
        .count(&format!("SELECT count(*) FROM event WHERE kind = '{kind}'"))
        .await
}

on_both!(
    silence_is_found_once_for_all_types_told_and_over_when_events_come_again,
    |db| async {
        let world = World::new(db.store()).await;
        let mut rhythms = counting(&world, 120).await;
        minutes(&world, &mut rhythms, 10, 2).await;
        assert_eq!(signals(&world).await, []);
        minutes(&world, &mut rhythms, 30, 0).await;
        let found = signals(&world).await;
        let [signal] = &found[..] else {
            panic!("{found:?}");
        };
        assert!(signal.silences_all() && signal.ended_at.is_none());
        assert_eq!(signal.actual, 0);
        assert_eq!(own_events(&world, "source.silence_opened").await, 1);
        minutes(&world, &mut rhythms, 40, 2).await;
        let found = signals(&world).await;
        assert!(found.len() == 1 && found[0].ended_at.is_some(), "{found:?}");
        assert_eq!(own_events(&world, "source.silence_ended").await, 1);
        assert_eq!(own_events(&world, "source.silence_opened").await, 1);
    }
);

on_both!(
    a_surge_of_a_type_is_found_and_says_what_was_expected,
    |db| async {
        let world = World::new(db.store()).await;
        let mut rhythms = counting(&world, 10).await;
        minutes(&world, &mut rhythms, 5, 30).await;
        let found = signals(&world).await;
        let [signal] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(
            (signal.kind, &*signal.event_type),
            (RhythmKind::Surge, KIND)
        );
        assert!((9_000..=11_000).contains(&signal.expected_milli));
        assert!(signal.actual >= 30);
        assert_eq!(own_events(&world, "source.surge_opened").await, 1);
    }
);

on_both!(
    a_break_of_ours_is_neither_silence_nor_is_what_it_held_back_a_surge,
    |db| async {
        let world = World::new(db.store()).await;
        let mut rhythms = counting(&world, 120).await;
        minutes(&world, &mut rhythms, 5, 2).await;
        world.clock.advance_ms(3 * HOUR_MS);
        // Another process takes over, and everything that waited comes at once.
        let mut rhythms = Rhythms::new(world.intake.clone());
        rhythms.look().await.expect("it begins again");
        minutes(&world, &mut rhythms, 4, 90).await;
        minutes(&world, &mut rhythms, 60, 2).await;
        assert_eq!(signals(&world).await, []);
    }
);

on_both!(
    a_minute_is_counted_once_whoever_counts_it_and_rows_that_say_nothing_are_not_written,
    |db| async {
        let world = World::new(db.store()).await;
        let mut one = Rhythms::new(world.intake.clone());
        one.look().await.expect("it begins");
        minutes(&world, &mut one, 3, 0).await;
        let rows =
            "SELECT (SELECT count(*) FROM rhythm_hour) + (SELECT count(*) FROM rhythm_counted)";
        assert_eq!(world.count(rows).await, 0, "nothing ever came");
        let other_intake = world.another_intake(&db.second().await).await;
        let mut other = Rhythms::new(other_intake);
        minutes(&world, &mut one, 3, 5).await;
        other.look().await.expect("there is nothing to count");
        world.clock.advance_ms(60_000);
        other.look().await.expect("it counts");
        one.look().await.expect("there is nothing to count");
        minutes(&world, &mut one, 2, 5).await;
        let of_type = format!(
            "SELECT CAST(sum(count) AS bigint) FROM rhythm_hour WHERE event_type = '{KIND}'"
        );
        assert_eq!(world.count(&of_type).await, 25);
        let all = "SELECT CAST(sum(count) AS bigint) FROM rhythm_hour WHERE event_type = ''";
        assert_eq!(world.count(all).await, 25);
        let counted = "SELECT CAST(sum(counted_ms) AS bigint) FROM rhythm_counted";
        assert_eq!(world.count(counted).await, 6 * 60_000);
    }
);

on_both!(what_is_old_goes_by_and_by, |db| async {
    let world = World::new(db.store()).await;
    counting(&world, 10).await;
    let hour = hour_of(world.clock.now());
    let expired = world.store.transact(SYSTEM, move |tx| {
        Box::pin(async move { tx.rhythm_expire(hour - WEEK_HOURS, 100).await })
    });
    assert_eq!(expired.await.expect("they go"), 100);
    let gone = 2 * 3 * WEEK_HOURS - 100;
    assert_eq!(world.count("SELECT count(*) FROM rhythm_hour").await, gone);
});
