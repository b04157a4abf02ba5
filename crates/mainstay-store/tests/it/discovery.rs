//! Discovery in the order of commits, and refills.

use std::{collections::HashSet, sync::Arc};

use mainstay_domain::{
    JobId, StoreExt, Timestamp,
    jobs::{Cursor, DueKey, JobRef, Lane, Loss, NewJob, Outcome, SignalKind, Standing},
};
use mainstay_testkit::{TestDatabase, on_both, run as runtime};
use tokio::sync::Notify;

use crate::kit::{SYSTEM, World, attempt, ids, run, start};

async fn lane(world: &World, after: JobId, seen: &Cursor, limit: i64) -> Vec<JobId> {
    let lane = Lane {
        queue: world.queue,
        band: 1,
        tenant: world.tenant,
    };
    let found = run!(world.store, SYSTEM, [seen], |tx| tx
        .lane_refill(lane, after, &seen, limit, false));
    ids(&found.expect("it answers").jobs)
}

on_both!(every_job_is_found_exactly_once, |db| async {
    let world = World::new(db).await;
    let mut cursor = Cursor::default();
    let mut wanted = HashSet::new();
    let mut found = Vec::new();
    for round in 0..4_i64 {
        let jobs: Vec<NewJob> = (0..25)
            .map(|index| world.job(round * 100 + index))
            .collect();
        wanted.extend(jobs.iter().map(|job| job.id));
        world.insert(jobs).await;
        let (jobs, next) = world.discover(cursor, 7).await;
        found.extend(ids(&jobs));
        cursor = next;
    }
    assert_eq!(found.len(), wanted.len());
    assert_eq!(found.into_iter().collect::<HashSet<_>>(), wanted);
    let (none, _) = world.discover(cursor, 7).await;
    assert_eq!(none, []);
});

on_both!(a_look_says_how_many_were_made_of_each_queue, |db| async {
    let world = World::new(db).await;
    let other = run!(world.store, SYSTEM, [], |tx| tx.queue_ensure("other")).expect("a queue");
    let mut jobs: Vec<NewJob> = (0..5).map(|ms| world.job(ms)).collect();
    jobs[1].queue = other;
    jobs[2].run_at = Some(world.at(9_000));
    world.insert(jobs.clone()).await;
    world
        .settle(vec![attempt(&jobs[0], 1, Outcome::Succeeded)])
        .await;
    let starts = vec![start(&jobs[3], 1, world.at(50))];
    let go_on = run!(world.store, SYSTEM, [starts], |tx| tx
        .attempt_start(&starts));
    assert_eq!(go_on.expect("it starts"), [true]);
    let cursor = Cursor::default();
    let found = run!(world.store, SYSTEM, [cursor], |tx| tx
        .job_discover(&cursor, true, 100))
    .expect("a look");
    let mut created = vec![(world.queue, 4), (other, 1)];
    created.sort_unstable();
    assert_eq!(found.created, created);
    assert_eq!(
        ids(&found.jobs).into_iter().collect::<HashSet<_>>(),
        // The fourth was started by an owner that is gone: it would never be seen again.
        HashSet::from([jobs[1].id, jobs[2].id, jobs[3].id, jobs[4].id])
    );
    let delayed = found
        .jobs
        .iter()
        .find(|job| job.job == jobs[2].id)
        .expect("it is there");
    assert_eq!(
        (delayed.due, delayed.band, delayed.attempt, delayed.tries),
        (jobs[2].run_at, 1, 0, 0)
    );
    let all = run!(world.store, SYSTEM, [cursor], |tx| tx
        .job_discover(&cursor, false, 100))
    .expect("a look");
    assert_eq!(all.jobs.len(), 5);
});

on_both!(refills_see_only_what_was_discovered, |db| async {
    let world = World::new(db).await;
    let jobs: Vec<NewJob> = (0..30).map(|ms| world.job(ms)).collect();
    world.insert(jobs.clone()).await;
    assert_eq!(
        lane(&world, JobId::NIL, &Cursor::default(), 100).await,
        [],
        "nothing was seen yet"
    );

    // The first look is smaller than what there is.
    let nothing = Cursor::default();
    let look = run!(world.store, SYSTEM, [nothing], |tx| tx
        .job_discover(&nothing, false, 12))
    .expect("a look");
    assert!(look.more);
    let mut seen = ids(&look.jobs);
    seen.sort();
    assert_eq!(lane(&world, JobId::NIL, &look.cursor, 100).await, seen);

    let (rest, cursor) = world.discover(look.cursor.clone(), 12).await;
    assert_eq!(seen.len() + rest.len(), 30);
    world.insert(vec![world.job(5)]).await;
    let all: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    assert_eq!(
        lane(&world, JobId::NIL, &cursor, 100).await,
        all,
        "the one after the look is not there"
    );
    assert_eq!(lane(&world, all[9], &cursor, 5).await, all[10..15]);
});

on_both!(
    what_a_refill_reads_along_is_what_is_read_of_the_jobs_later,
    |db| async {
        let world = World::new(db).await;
        let mut jobs: Vec<NewJob> = (0..6).map(|ms| world.job(ms)).collect();
        jobs[1].payload = None;
        jobs[2].payload = Some(vec![b'1'; 512].into());
        jobs[3].payload = Some(vec![b'1'; 513].into());
        jobs[4].retry = Some("{}".into());
        world.insert(jobs.clone()).await;
        // An event with its job, whose payload is the event's.
        world.append(vec![world.arrival("evt_1", 7)]).await;
        let (_, cursor) = world.discover(Cursor::default(), 100).await;
        let of = Lane {
            queue: world.queue,
            band: 1,
            tenant: world.tenant,
        };
        let read = run!(world.store, SYSTEM, [cursor], |tx| tx.lane_refill(
            of,
            JobId::NIL,
            &cursor,
            100,
            true
        ))
        .expect("it answers");
        assert_eq!(
            ids(&read.jobs),
            lane(&world, JobId::NIL, &cursor, 100).await
        );
        assert_eq!(read.jobs.len(), 7);
        let small: Vec<JobId> = [0, 1, 2, 4, 5].map(|at: usize| jobs[at].id).into();
        let along: Vec<JobId> = read.bodies.iter().map(|body| body.job).collect();
        // Nothing has to come along: it is worth it on PostgreSQL only.
        assert!(along.is_empty() || along == small, "{along:?}");
        let keys: Vec<_> = along.iter().map(|job| (world.tenant, *job)).collect();
        let later = run!(world.store, SYSTEM, [keys], |tx| tx
            .job_bodies(&keys, false))
        .expect("bodies");
        assert_eq!(read.bodies, later);
    }
);

on_both!(
    refills_leave_out_what_has_an_outcome_and_other_lanes,
    |db| async {
        let world = World::new(db).await;
        let mut jobs: Vec<NewJob> = (0..6).map(|ms| world.job(ms)).collect();
        jobs[1].band = 0;
        jobs[2].run_at = Some(world.at(500));
        world.insert(jobs.clone()).await;
        world
            .settle(vec![
                attempt(&jobs[0], 1, Outcome::Succeeded),
                attempt(&jobs[3], 1, Outcome::Failed),
            ])
            .await;
        let (_, seen) = world.discover(Cursor::default(), 100).await;
        assert_eq!(
            lane(&world, JobId::NIL, &seen, 100).await,
            [jobs[4].id, jobs[5].id]
        );

        let queue = world.queue;
        let until = world.at(499);
        let delayed = run!(world.store, SYSTEM, [seen], |tx| tx.delayed_refill(
            queue,
            None,
            DueKey::MIN,
            until,
            &seen,
            10
        ));
        assert_eq!(delayed.expect("it answers"), [], "not due in this time");
        let until = world.at(500);
        let delayed = run!(world.store, SYSTEM, [seen], |tx| tx.delayed_refill(
            queue,
            None,
            DueKey::MIN,
            until,
            &seen,
            10
        ));
        let delayed = delayed.expect("it answers");
        assert_eq!(
            (ids(&delayed), delayed[0].due),
            (vec![jobs[2].id], Some(until))
        );
        let after = DueKey {
            due: until,
            tenant: world.tenant,
            job: jobs[2].id,
        };
        let none = run!(world.store, SYSTEM, [seen], |tx| tx
            .delayed_refill(queue, None, after, until, &seen, 10));
        assert_eq!(none.expect("it answers"), []);
    }
);

on_both!(retries_are_found_by_their_last_attempt, |db| async {
    let world = World::new(db).await;
    let jobs: Vec<NewJob> = (0..20).map(|ms| world.job(ms)).collect();
    world.insert(jobs.clone()).await;
    world
        .settle(
            jobs.iter()
                .map(|job| attempt(job, 1, Outcome::Failed))
                .collect(),
        )
        .await;
    // Some went on: one is done, one failed again and is due later.
    let mut later = attempt(&jobs[1], 2, Outcome::Failed);
    later.next_at = Some(world.at(5_000));
    later.code = Some(Loss::Again.code().into());
    world
        .settle(vec![attempt(&jobs[0], 2, Outcome::Succeeded), later])
        .await;

    let queue = world.queue;
    let page = async |after: DueKey, until: Timestamp, limit: i64| {
        run!(world.store, SYSTEM, [], |tx| tx
            .retry_refill(queue, None, after, until, limit))
        .expect("it answers")
    };
    let all = page(DueKey::MIN, world.at(9_000), 100).await;
    let mut wanted: Vec<JobId> = jobs[2..].iter().map(|job| job.id).collect();
    wanted.push(jobs[1].id);
    assert_eq!(ids(&all), wanted);
    let last = all.last().expect("it is there");
    assert_eq!(
        (last.attempt, last.tries, last.due, last.band),
        (2, 2, Some(world.at(5_000)), 1)
    );
    assert_eq!((all[0].loss, last.loss), (Loss::None, Loss::Again));
    assert_eq!(
        page(DueKey::MIN, world.at(1_010), 100).await.len(),
        9,
        "those due in this time"
    );
    // Page by page.
    let (mut after, mut paged) = (DueKey::MIN, Vec::new());
    loop {
        let some = page(after, world.at(9_000), 4).await;
        let Some(last) = some.last() else { break };
        after = DueKey {
            due: last.due.expect("it is due"),
            tenant: last.tenant,
            job: last.job,
        };
        paged.extend(some);
    }
    assert_eq!(paged, all);
});

on_both!(wishes_are_found_in_the_order_of_commits, |db| async {
    let world = World::new(db).await;
    let jobs: Vec<NewJob> = (0..5).map(|ms| world.job(ms)).collect();
    world.insert(jobs.clone()).await;
    let (_, cursor) = world.discover(Cursor::default(), 100).await;
    for job in &jobs {
        let cancelled = attempt(job, 1, Outcome::Cancelled);
        let done = run!(world.store, world.scope(), [cancelled], |tx| tx
            .job_cancel(&cancelled));
        assert!(done.expect("it answers"));
    }
    let (mut found, mut cursor) = (Vec::new(), cursor);
    loop {
        let look = run!(world.store, SYSTEM, [cursor], |tx| tx
            .job_discover(&cursor, false, 2))
        .expect("a look");
        assert_eq!((look.jobs.len(), look.created.len()), (0, 0));
        found.extend(look.signals);
        cursor = look.cursor;
        if !look.more {
            break;
        }
    }
    assert!(
        found
            .iter()
            .all(|signal| signal.kind == SignalKind::Cancelled && signal.queue == world.queue)
    );
    let found: Vec<JobId> = found.iter().map(|signal| signal.job).collect();
    assert_eq!(found, jobs.iter().map(|job| job.id).collect::<Vec<_>>());
});

/// A transaction that has inserted its jobs and waits to be told to commit.
fn held(
    world: &World,
    jobs: Vec<NewJob>,
) -> (Arc<Notify>, Arc<Notify>, tokio::task::JoinHandle<()>) {
    let (inserted, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, wait, store) = (
        Arc::clone(&inserted),
        Arc::clone(&go),
        Arc::clone(&world.store),
    );
    let task = tokio::spawn(async move {
        let work = store.transact(SYSTEM, move |tx| {
            let (jobs, told, wait) = (jobs.clone(), Arc::clone(&told), Arc::clone(&wait));
            Box::pin(async move {
                tx.job_insert(&jobs).await?;
                told.notify_one();
                wait.notified().await;
                Ok(())
            })
        });
        work.await.expect("it commits");
    });
    (inserted, go, task)
}

#[test]
fn a_transaction_that_commits_late_is_found_exactly_once() {
    runtime(async {
        let db = TestDatabase::postgres().await;
        let world = World::new(&db).await;
        let late: Vec<NewJob> = (0..20).map(|ms| world.job(ms)).collect();
        let (inserted, go, task) = held(&world, late.clone());
        inserted.notified().await;
        // Others begin later and commit earlier, and are looked for in between, also in looks that are too small.
        let mut cursor = Cursor::default();
        let mut found = Vec::new();
        let mut wanted: Vec<JobId> = late.iter().map(|job| job.id).collect();
        for round in 1..6_i64 {
            let jobs: Vec<NewJob> = (0..10).map(|ms| world.job(round * 100 + ms)).collect();
            wanted.extend(jobs.iter().map(|job| job.id));
            world.insert(jobs).await;
            let (jobs, next) = world.discover(cursor, 3).await;
            found.extend(ids(&jobs));
            cursor = next;
        }
        assert_eq!(found.len(), 50, "the late ones are not there yet");
        assert_eq!(lane(&world, JobId::NIL, &cursor, 100).await.len(), 50);
        go.notify_one();
        task.await.expect("it ends");
        // Committed, and still not covered by the last look.
        assert_eq!(lane(&world, JobId::NIL, &cursor, 100).await.len(), 50);
        let (jobs, next) = world.discover(cursor, 3).await;
        assert_eq!(
            ids(&jobs).into_iter().collect::<HashSet<_>>(),
            late.iter().map(|job| job.id).collect()
        );
        found.extend(ids(&jobs));
        assert_eq!(lane(&world, JobId::NIL, &next, 100).await.len(), 70);
        assert_eq!(world.discover(next, 3).await.0, []);
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);
        db.finish().await;
    });
}

#[test]
fn two_late_transactions_that_commit_in_the_other_order_are_found_once_each() {
    runtime(async {
        let db = TestDatabase::postgres().await;
        let world = World::new(&db).await;
        let (one, two) = (vec![world.job(1)], vec![world.job(2)]);
        let (first_in, first_go, first) = held(&world, one.clone());
        first_in.notified().await;
        let (second_in, second_go, second) = held(&world, two.clone());
        second_in.notified().await;
        let (none, cursor) = world.discover(Cursor::default(), 10).await;
        assert_eq!(none, []);
        second_go.notify_one();
        second.await.expect("it ends");
        let (found, cursor) = world.discover(cursor, 10).await;
        assert_eq!(ids(&found), [two[0].id]);
        first_go.notify_one();
        first.await.expect("it ends");
        let (found, cursor) = world.discover(cursor, 10).await;
        assert_eq!(ids(&found), [one[0].id]);
        assert_eq!(world.discover(cursor, 10).await.0, []);
        db.finish().await;
    });
}

#[test]
fn after_a_restore_into_another_cluster_everything_unfinished_is_found_again() {
    runtime(async {
        let db = TestDatabase::postgres().await;
        let world = World::new(&db).await;
        let jobs: Vec<NewJob> = (0..10).map(|ms| world.job(ms)).collect();
        world.insert(jobs.clone()).await;
        world
            .settle(vec![attempt(&jobs[0], 1, Outcome::Succeeded)])
            .await;
        let (_, cursor) = world.discover(Cursor::default(), 100).await;
        // What a dump brings from a cluster that had counted further.
        let client = db.scratch().expect("it is PostgreSQL").client().await;
        let further = "SET ROLE mainstay_system; UPDATE job SET xid = (xid::text::bigint + 1000000000)::text::xid8";
        client.batch_execute(further).await.expect("it is done");
        let foreign = Cursor(cursor.0.replacen("p1|", "p1|9", 1));
        let look = run!(world.store, SYSTEM, [foreign], |tx| tx
            .job_discover(&foreign, false, 4))
        .expect("a look");
        assert!(look.again && look.more && look.standing.is_none());
        // The first look makes the rows this cluster's own, the second begins to read them.
        let begun = look.cursor;
        let look = run!(world.store, SYSTEM, [begun], |tx| tx
            .job_discover(&begun, false, 4))
        .expect("a look");
        let standing = Standing {
            queue: world.queue,
            unfinished: 9,
            dead: 0,
        };
        assert_eq!((look.again, look.standing), (true, Some(vec![standing])));
        assert_eq!(look.created, [], "they were counted before");
        let going = look.cursor.clone();
        let more = run!(world.store, SYSTEM, [going], |tx| tx
            .job_discover(&going, false, 4))
        .expect("a look");
        assert_eq!((more.again, more.standing), (true, None));
        let (found, next) = world.discover(look.cursor, 4).await;
        let all: HashSet<JobId> = ids(&look.jobs).into_iter().chain(ids(&found)).collect();
        assert_eq!(
            all,
            jobs[1..].iter().map(|job| job.id).collect(),
            "but those that have ended"
        );
        world.insert(vec![world.job(99)]).await;
        let look = run!(world.store, SYSTEM, [next], |tx| tx
            .job_discover(&next, false, 4))
        .expect("a look");
        assert_eq!((look.again, look.created), (false, vec![(world.queue, 1)]));
        assert_eq!(world.discover(next, 4).await.0.len(), 1);
        db.finish().await;
    });
}

on_both!(
    a_cursor_of_another_kind_of_database_begins_again,
    |db| async {
        let world = World::new(db).await;
        world.insert(vec![world.job(1)]).await;
        let (_, own) = world.discover(Cursor::default(), 10).await;
        let other = if own.0.starts_with('s') {
            "p1|7|5:5:|00000000-0000-0000-0000-000000000001"
        } else {
            "s1|9|9"
        };
        let (found, _) = world.discover(Cursor(other.into()), 10).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].tenant, world.tenant);
    }
);

/// How many entries of an index were read in all, once the store's sessions have ended: then they say so.
async fn entries_read(db: &TestDatabase, index: &str) -> i64 {
    db.store().close().await;
    let client = db.scratch().expect("it is on PostgreSQL").client().await;
    let sessions = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let read =
        format!("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = '{index}'");
    let count = async |text| {
        let row = client.query_one(text, &[]).await.expect("it answers");
        row.get::<_, i64>(0)
    };
    while count(sessions).await > 0 {}
    count(&read).await
}

#[test]
fn looks_read_every_job_once_however_many_there_are() {
    runtime(async {
        let db = TestDatabase::postgres().await;
        let world = World::new(&db).await;
        world
            .insert((0..2_000).map(|ms| world.job(ms)).collect())
            .await;
        let (_, mut cursor) = world.discover(Cursor::default(), 64).await;
        for look in 0..20 {
            world.insert(vec![world.job(2_000 + look)]).await;
            let (found, next) = world.discover(cursor, 64).await;
            assert_eq!(found.len(), 1);
            cursor = next;
        }
        let read = entries_read(&db, "job_commit").await;
        assert!(
            (2_020..2_200).contains(&read),
            "{read} entries for 2,020 jobs"
        );
    });
}

#[test]
fn a_refill_reads_no_further_than_what_was_discovered() {
    runtime(async {
        let db = TestDatabase::postgres().await;
        let world = World::new(&db).await;
        world
            .insert((0..2_000).map(|ms| world.job(ms)).collect())
            .await;
        let begin = Cursor::default();
        let look = run!(world.store, SYSTEM, [begin], |tx| tx
            .job_discover(&begin, false, 64))
        .expect("a look");
        assert!(look.more);
        let found = lane(&world, JobId::NIL, &look.cursor, 512).await;
        assert_eq!(found, ids(&look.jobs));
        let read = entries_read(&db, "job_lane").await;
        assert!((64..200).contains(&read), "{read} entries for 64 jobs");
    });
}

on_both!(
    what_is_due_of_one_tenant_is_read_without_what_others_have,
    |db| async {
        let world = World::new(db).await;
        let other = World::named(&world.store, "other", 2).await.tenant;
        let mut jobs: Vec<NewJob> = (0..12).map(|ms| world.job(ms)).collect();
        for (number, job) in jobs.iter_mut().enumerate() {
            if number % 3 != 0 {
                job.tenant = other;
            }
            if number >= 6 {
                job.run_at = Some(world.at(500 - number as i64));
            }
        }
        world.insert(jobs.clone()).await;
        let failed = jobs[..6].iter().map(|job| attempt(job, 1, Outcome::Failed));
        world.settle(failed.collect()).await;
        let (_, seen) = world.discover(Cursor::default(), 100).await;
        let queue = world.queue;
        let tenant = Some(world.tenant);
        let until = world.at(9_000);
        let delayed = async |after| {
            let found = run!(world.store, SYSTEM, [seen], |tx| tx
                .delayed_refill(queue, tenant, after, until, &seen, 10));
            found.expect("it answers")
        };
        let retries = async |after| {
            let found = run!(world.store, SYSTEM, [], |tx| tx
                .retry_refill(queue, tenant, after, until, 10));
            found.expect("it answers")
        };
        let first = delayed(DueKey::MIN).await;
        assert_eq!(ids(&first), [jobs[9].id, jobs[6].id]);
        let key = |job: &JobRef| DueKey {
            due: job.due.expect("it has a time"),
            tenant: job.tenant,
            job: job.job,
        };
        assert_eq!(ids(&delayed(key(&first[0])).await), [jobs[6].id]);
        let first = retries(DueKey::MIN).await;
        assert_eq!(ids(&first), [jobs[0].id, jobs[3].id]);
        assert_eq!(ids(&retries(key(&first[0])).await), [jobs[3].id]);
    }
);
