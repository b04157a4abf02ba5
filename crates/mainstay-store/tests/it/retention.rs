//! Retention: what is finished and old goes, step by step; what is not stays, and what was known stays known.

use mainstay_domain::{
    EventId, SourceId, StoreExt, Timestamp,
    intake::{Appended, Arrival, EventFilter, NewReceipt, quarantine::Kept},
    jobs::{Attempt, JobFilter, NewJob, Outcome},
};
use mainstay_testkit::on_both;

use crate::kit::{SYSTEM, World, attempt, letter, run, start};

async fn expire(world: &World, until: Timestamp, limit: i64) -> i64 {
    run!(world.store, SYSTEM, [], |tx| tx.event_expire(until, limit)).expect("it answers")
}

async fn left(world: &World) -> Vec<EventId> {
    let filter = EventFilter::default();
    let events = run!(world.store, SYSTEM, [filter], |tx| tx
        .event_list(&filter, 1_000))
    .expect("it answers");
    events.iter().rev().map(|event| event.id).collect()
}

async fn receipts(world: &World) -> usize {
    run!(world.store, SYSTEM, [], |tx| tx
        .receipt_list(None, None, None, 1_000))
    .expect("it answers")
    .len()
}

on_both!(
    finished_events_go_in_steps_and_unfinished_ones_stay,
    |db| async {
        let store = db.store();
        let worlds = [
            World::named(&store, "one", 1).await,
            World::named(&store, "two", 2).await,
        ];
        let mut unfinished = Vec::new();
        let mut jobs: Vec<NewJob> = Vec::new();
        for index in 0..60_i64 {
            let world = &worlds[index as usize % 2];
            let id = format!("evt_{index}");
            let arrival = match index % 4 {
                0 | 1 => world.arrival(&id, index),
                _ => world.arrival_within(&id, index),
            };
            let (event, job) = (arrival.events[0].id, arrival.events[0].jobs[0].clone());
            world
                .append(vec![arrival.clone(), world.arrival(&id, index)])
                .await;
            match index % 6 {
                0 => unfinished.push(event),
                1 => {
                    unfinished.push(event);
                    let letter = letter(&job, 1, world.at(index));
                    world.settle(vec![attempt(&job, 1, Outcome::Dead)]).await;
                    run!(world.store, SYSTEM, [letter], |tx| tx
                        .dead_letter_insert(&letter))
                    .expect("it is listed");
                }
                2 => {
                    unfinished.push(event);
                    world.settle(vec![attempt(&job, 1, Outcome::Failed)]).await;
                }
                _ => {
                    let starts = vec![start(&job, 1, world.at(index))];
                    run!(world.store, SYSTEM, [starts], |tx| tx
                        .attempt_start(&starts))
                    .expect("it starts");
                    world
                        .settle(vec![
                            attempt(&job, 1, Outcome::Failed),
                            attempt(&job, 2, Outcome::Succeeded),
                        ])
                        .await;
                    jobs.push(job);
                }
            }
        }
        let young = worlds[0].arrival("young", 500);
        let young_id = young.events[0].id;
        worlds[0].append(vec![young]).await;
        unfinished.push(young_id);

        let until = worlds[0].at(400);
        let (mut steps, mut gone) = (0, 0);
        loop {
            let some = expire(&worlds[0], until, 7).await;
            assert!(some <= 7);
            gone += some;
            steps += 1;
            if some < 7 {
                break;
            }
        }
        assert_eq!((gone, steps), (30, 5));
        let mut left = left(&worlds[0]).await;
        left.sort();
        unfinished.sort();
        assert_eq!(left, unfinished);
        assert_eq!(expire(&worlds[0], until, 7).await, 0);
        // Jobs with their attempts went, those of unfinished events did not.
        let filter = JobFilter::default();
        let all =
            run!(store, SYSTEM, [filter], |tx| tx.job_list(&filter, 1_000)).expect("it answers");
        assert_eq!(all.len(), 31);
        let (gone_job, tenant) = (jobs[0].id, jobs[0].tenant);
        let scope = mainstay_domain::Scope::Tenant(tenant);
        let (attempts, open) =
            run!(store, scope, [], |tx| tx.job_attempts(gone_job)).expect("it answers");
        assert_eq!((attempts.len(), open), (0, None));
        // Whatever was ended since is found when its turn comes again.
        let freed: Attempt = Attempt {
            by: None,
            ..attempt(&jobs_of(&all), 1, Outcome::Cancelled)
        };
        let cancelled =
            run!(store, SYSTEM, [freed], |tx| tx.job_cancel(&freed)).expect("it answers");
        assert!(cancelled);
        let freed = expire(&worlds[0], until, 7).await + expire(&worlds[0], until, 7).await;
        assert_eq!(freed, 1);
        // A late redelivery is still recognised.
        let again = worlds[1]
            .append(vec![worlds[1].arrival("evt_3", 600)])
            .await;
        assert!(matches!(again[0][0], Appended::Duplicate(_)), "{again:?}");
    }
);

/// A job that still waits, as it can be cancelled.
fn jobs_of(all: &[mainstay_domain::jobs::Job]) -> NewJob {
    let waiting = all.iter().find(|job| {
        job.state == mainstay_domain::jobs::JobState::Waiting
            && job.created_at < crate::kit::BEGIN.plus_ms(400)
    });
    let waiting = waiting.expect("one waits");
    NewJob {
        id: waiting.id,
        tenant: waiting.tenant,
        queue: 1,
        band: 0,
        kind: String::new(),
        event: None,
        binding: None,
        replay: None,
        endpoint: None,
        payload: None,
        run_at: None,
        deadline: None,
        retry: None,
        order: None,
        created_at: waiting.created_at,
    }
}

on_both!(jobs_without_an_event_go_when_they_have_ended, |db| async {
    let world = World::new(db).await;
    let jobs: Vec<NewJob> = (0..30).map(|ms| world.job(ms)).collect();
    world.insert(jobs.clone()).await;
    let ended = jobs
        .iter()
        .filter(|job| job.created_at.micros() % 2_000 == 0);
    let ended: Vec<Attempt> = ended
        .map(|job| attempt(job, 1, Outcome::Succeeded))
        .collect();
    let dead = attempt(&jobs[1], 1, Outcome::Dead);
    world
        .settle(ended.iter().cloned().chain([dead]).collect())
        .await;
    let until = world.at(20);
    assert_eq!(expire(&world, until, 6).await, 6);
    assert_eq!(expire(&world, until, 6).await, 4);
    assert_eq!(expire(&world, until, 6).await, 0);
    let filter = JobFilter::default();
    let left = run!(world.store, SYSTEM, [filter], |tx| tx
        .job_list(&filter, 1_000))
    .expect("it answers");
    assert_eq!(left.len(), 20);
});

on_both!(receipts_go_with_the_last_of_their_events, |db| async {
    let world = World::new(db).await;
    let mut both = world.arrival("evt_1", 1);
    both.events.push(world.event("evt_2", 1));
    let stays = both.events[1].jobs[0].clone();
    both.events[0].jobs.clear();
    let empty = Arrival {
        receipt: world.receipt(2),
        events: Vec::new(),
    };
    world
        .append(vec![both, world.arrival("evt_1", 3), empty])
        .await;
    assert_eq!(receipts(&world).await, 3);
    let until = world.at(100);
    assert_eq!(expire(&world, until, 10).await, 1);
    assert_eq!(
        receipts(&world).await,
        1,
        "the one that the second event came with"
    );
    world
        .settle(vec![attempt(&stays, 1, Outcome::Succeeded)])
        .await;
    assert_eq!(expire(&world, until, 10).await, 1);
    assert_eq!(receipts(&world).await, 0);
});

/// Twenty, a millisecond apart.
fn twenty_refused(world: &World) -> Vec<NewReceipt> {
    (0..20)
        .map(|ms| {
            let mut receipt = world.receipt(ms);
            receipt.refusal = Some("signature_wrong".into());
            receipt
        })
        .collect()
}

on_both!(refused_receipts_go_by_age, |db| async {
    let world = World::new(db).await;
    let refused = twenty_refused(&world);
    run!(world.store, SYSTEM, [refused], |tx| tx
        .receipt_append(&refused))
    .expect("they are kept");
    world.append(vec![world.arrival("evt_1", 0)]).await;
    let expire = async |until: i64, limit: i64| {
        let until = world.at(until);
        run!(world.store, SYSTEM, [], |tx| tx
            .receipt_expire(until, limit))
        .expect("it answers")
    };
    assert_eq!(expire(5, 3).await, 3);
    assert_eq!(expire(5, 3).await, 2);
    assert_eq!(expire(5, 3).await, 0);
    assert_eq!(receipts(&world).await, 16);
});

on_both!(
    the_quarantine_is_listed_by_source_and_only_refused_ones_can_be_dropped,
    |db| async {
        let store = db.store();
        let (one, two) = (
            World::named(&store, "one", 1).await,
            World::named(&store, "two", 2).await,
        );
        let mut refused = twenty_refused(&one);
        refused[19].remote = "192.0.2.9".into();
        refused[19].body = None;
        refused.extend(twenty_refused(&two).into_iter().take(2));
        let (bare, whole) = (refused[19].clone(), refused[18].clone());
        run!(store, SYSTEM, [refused], |tx| tx.receipt_append(&refused)).expect("they are kept");
        one.append(vec![one.arrival("evt_1", 50)]).await;

        let mut found = Vec::new();
        let mut after = SourceId::NIL;
        while let Some(source) =
            run!(store, SYSTEM, [], |tx| tx.quarantine_source(after)).expect("it answers")
        {
            found.push(source);
            after = source;
        }
        let mut sources = vec![one.source.id, two.source.id];
        sources.sort_unstable();
        assert_eq!(found, sources);

        let (of_one, of_two) = (one.source.id, two.source.id);
        let list = async |source: SourceId, limit: i64| {
            run!(store, SYSTEM, [], |tx| tx.quarantine_list(source, limit)).expect("it answers")
        };
        assert_eq!(list(of_two, 100).await.len(), 2);
        let newest = list(of_one, 2).await;
        assert_eq!(
            newest[0],
            Kept {
                id: bare.id,
                kind: "192.0.2.9 signature_wrong".into(),
                bytes: bare.headers.bytes.len() as i64,
            }
        );
        let body = whole.body.map_or(0, |body| body.bytes.len());
        assert!(body > 0);
        assert_eq!(
            newest[1].bytes,
            (whole.headers.bytes.len() + body) as i64,
            "as they are stored"
        );

        let all = run!(store, SYSTEM, [], |tx| tx
            .receipt_list(None, None, None, 1_000))
        .expect("it answers");
        let all: Vec<_> = all.iter().map(|receipt| receipt.id).collect();
        let gone = run!(store, SYSTEM, [all], |tx| tx.quarantine_drop(&all)).expect("they go");
        assert_eq!(gone, 22);
        assert_eq!(receipts(&one).await, 1, "the one that was accepted");
    }
);
