//! Sagas and their runs: read as they were written, written only over what was read, woken by the ends of their jobs, and only
//! by and for whom they belong to.

use mainstay_domain::{
    JobId, SagaId, SagaRunId, Scope, StoreError, StoreExt, StoreResult, Timestamp,
    jobs::{Attempt, JobFilter, Outcome},
    sagas::{
        Action, Cancel, Definition, Does, DueRun, RunState, Saga, SagaFilter, SagaRun,
        SagaRunFilter, SagaVersion, Step, StepState, Task,
    },
};
use mainstay_testkit::on_both;
use serde_json::json;

use crate::kit::{BEGIN, SYSTEM, World, attempt, letter, run};

fn saga(world: &World, name: &str) -> (Saga, SagaVersion) {
    let id = SagaId::new(BEGIN, &*world.random);
    let action = |kind: &str| Action {
        kind: kind.into(),
        endpoint: None,
        queue: world.queue,
        input: Some(json!({ "amount": { "$": "/input/amount" } })),
        retry: None,
    };
    let charge = Step {
        name: "charge".into(),
        does: Does::Task(Box::new(Task {
            action: action("charge"),
            timeout_ms: Some(60_000),
            compensation: Some(action("refund")),
            lookup: None,
        })),
    };
    let saga = Saga {
        id,
        tenant: world.tenant,
        name: name.into(),
        version: 1,
        created_at: BEGIN,
        updated_at: BEGIN,
    };
    let version = SagaVersion {
        tenant: world.tenant,
        saga: id,
        version: 1,
        definition: Definition {
            steps: vec![charge],
        },
        created_at: BEGIN,
        by: "user:ben".into(),
    };
    (saga, version)
}

async fn added(world: &World, name: &str) -> (Saga, SagaVersion) {
    let (saga, version) = saga(world, name);
    run!(world.store, world.scope(), [saga, version], |tx| tx
        .saga_insert(&saga, &version))
    .expect("it is added");
    (saga, version)
}

async fn begun(world: &World, version: &SagaVersion, key: Option<&str>, ms: i64) -> SagaRun {
    let id = SagaRunId::new(world.at(ms), &*world.random);
    let input = json!({ "amount": 7 });
    let key = key.map(ToOwned::to_owned);
    let one = SagaRun::begin(id, version, input, key, "key:a".into(), world.at(ms));
    run!(world.store, world.scope(), [one], |tx| tx
        .saga_run_insert(&one))
    .expect("it begins");
    one
}

async fn get(world: &World, scope: Scope, id: SagaRunId) -> Option<SagaRun> {
    run!(world.store, scope, [], |tx| tx.saga_run_get(id)).expect("it answers")
}

/// The run waits for this job, which is made with it.
async fn step(world: &World, one: &SagaRun, ms: i64) -> StoreResult<JobId> {
    let job = world.job(ms);
    let mut one = one.clone();
    (one.job, one.due_at) = (Some(job.id), None);
    one.steps[0].state = StepState::Running;
    one.steps[0].job = Some(job.id);
    let (id, jobs) = (job.id, vec![job]);
    run!(world.store, SYSTEM, [one, jobs], |tx| tx
        .saga_run_step(&one, &jobs))
    .map(|()| id)
}

const FIRST: DueRun = (Timestamp::EPOCH, SagaRunId::NIL);

async fn due(world: &World, at: Timestamp) -> Vec<SagaRunId> {
    let (mut all, mut after) = (Vec::new(), FIRST);
    // Page by page: nobody who stays due keeps the others from being listed.
    loop {
        let page = run!(world.store, SYSTEM, [], |tx| tx.saga_run_due(at, after, 2));
        let page = page.expect("they are listed");
        let Some(last) = page.last() else { return all };
        after = *last;
        all.extend(page.iter().map(|(_, run)| *run));
    }
}

on_both!(a_run_is_found_as_it_was_written, |db| async {
    let world = World::new(db).await;
    let (saga, version) = added(&world, "order").await;
    let mut one = begun(&world, &version, Some("order-1"), 5).await;
    assert_eq!(
        get(&world, world.scope(), one.id).await.as_ref(),
        Some(&one)
    );
    let id = saga.id;
    let found = run!(world.store, world.scope(), [], |tx| tx.saga_get(id));
    assert_eq!(found.expect("it answers").as_ref(), Some(&saga));
    let tenant = world.tenant;
    let found = run!(world.store, world.scope(), [], |tx| tx
        .saga_version_get(tenant, id, 1));
    assert_eq!(found.expect("it answers").as_ref(), Some(&version));

    one.state = RunState::Waiting;
    one.cancel = Some(Cancel {
        by: "user:ben".into(),
        reason: Some("no".into()),
        at: BEGIN,
    });
    one.error = Some("no".into());
    one.steps[0].state = StepState::Unknown;
    let data = one.data.as_mut().expect("its data");
    data.outputs.insert("charge".into(), json!({ "id": 1 }));
    run!(world.store, SYSTEM, [one], |tx| tx.saga_run_step(&one, &[])).expect("it is written");
    one.revision += 1;
    assert_eq!(get(&world, SYSTEM, one.id).await.as_ref(), Some(&one));
    let listed = run!(world.store, world.scope(), [], |tx| async {
        let filter = SagaRunFilter {
            saga: Some(id),
            state: Some(RunState::Waiting),
            key: Some("order-1".into()),
            ..SagaRunFilter::default()
        };
        tx.saga_run_list(&filter, 10).await
    });
    let listed = listed.expect("they are listed");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].data, None, "lists do not show what runs carry");
});

on_both!(
    a_saga_has_one_run_of_a_key_and_one_version_of_a_number,
    |db| async {
        let world = World::new(db).await;
        let (saga, version) = added(&world, "order").await;
        let first = begun(&world, &version, Some("order-1"), 5).await;
        let twice = SagaRun {
            id: SagaRunId::new(world.at(6), &*world.random),
            ..first.clone()
        };
        let refused = run!(world.store, world.scope(), [twice], |tx| tx
            .saga_run_insert(&twice));
        assert!(
            matches!(refused, Err(StoreError::Conflict { .. })),
            "{refused:?}"
        );
        let (tenant, id) = (world.tenant, saga.id);
        let found = run!(world.store, world.scope(), [], |tx| tx
            .saga_run_of_key(tenant, id, "order-1"));
        assert_eq!(found.expect("it answers").map(|run| run.id), Some(first.id));

        let second = SagaVersion {
            version: 2,
            ..version.clone()
        };
        let add = |version: SagaVersion| {
            let store = std::sync::Arc::clone(&world.store);
            async move { run!(store, SYSTEM, [version], |tx| tx.saga_version_add(&version)) }
        };
        add(second.clone()).await.expect("it is the next");
        let again = add(second).await;
        assert!(
            matches!(again, Err(StoreError::Conflict { .. })),
            "{again:?}"
        );
        let versions = run!(world.store, world.scope(), [], |tx| tx
            .saga_version_list(tenant, id, 10));
        let numbers: Vec<i32> = versions
            .expect("listed")
            .iter()
            .map(|one| one.version)
            .collect();
        assert_eq!(numbers, [2, 1]);
    }
);

on_both!(
    whoever_acts_on_an_older_revision_has_lost_with_the_job_it_makes,
    |db| async {
        let world = World::new(db).await;
        let (_, version) = added(&world, "order").await;
        let one = begun(&world, &version, None, 5).await;
        step(&world, &one, 10).await.expect("it was first");
        let second = step(&world, &one, 11).await;
        assert!(
            matches!(second, Err(StoreError::Conflict { .. })),
            "{second:?}"
        );
        let jobs = run!(world.store, SYSTEM, [], |tx| async {
            tx.job_list(&JobFilter::default(), 10).await
        });
        assert_eq!(jobs.expect("they are listed").len(), 1);
    }
);

on_both!(
    the_end_of_its_job_wakes_a_run_whatever_ends_it,
    |db| async {
        let world = World::new(db).await;
        let (_, version) = added(&world, "order").await;
        for (ms, how) in [(10, "woken"), (20, "cancelled"), (30, "discarded")] {
            let one = begun(&world, &version, None, ms).await;
            let job = step(&world, &one, ms + 1).await.expect("it steps");
            assert!(due(&world, world.at(9_000)).await.is_empty(), "{how}");
            let before = get(&world, SYSTEM, one.id).await.expect("there").revision;
            let made = mainstay_domain::jobs::NewJob {
                id: job,
                ..world.job(ms + 1)
            };
            let ended = Attempt {
                finished_at: world.at(5_000),
                ..attempt(&made, 1, Outcome::Cancelled)
            };
            match how {
                "woken" => {
                    let (tenant, at) = (world.tenant, world.at(5_000));
                    let other = world.job_id(999);
                    let woken = run!(world.store, SYSTEM, [], |tx| async {
                        tx.saga_run_wake(&[(tenant, job), (tenant, other)], at)
                            .await
                    });
                    assert_eq!(woken.expect("it answers"), 1);
                }
                "cancelled" => {
                    let cancelled = run!(world.store, world.scope(), [ended], |tx| tx
                        .job_cancel(&ended));
                    assert!(cancelled.expect("it answers"));
                }
                _ => {
                    world.settle(vec![attempt(&made, 1, Outcome::Dead)]).await;
                    let dead = letter(&made, 1, world.at(100));
                    let ended = Attempt {
                        attempt: 2,
                        outcome: Outcome::Discarded,
                        ..ended
                    };
                    run!(world.store, SYSTEM, [dead], |tx| tx
                        .dead_letter_insert(&dead))
                    .expect("it is listed");
                    let count = run!(world.store, world.scope(), [ended], |tx| async {
                        tx.dead_letter_end(std::slice::from_ref(&ended)).await
                    });
                    assert_eq!(count.expect("it answers"), 1);
                }
            }
            let after = get(&world, SYSTEM, one.id).await.expect("there");
            assert_eq!(after.due_at, Some(world.at(5_000)), "{how}");
            assert!(
                after.revision > before,
                "who read it before has lost: {how}"
            );
            assert_eq!(due(&world, world.at(5_000)).await, [one.id], "{how}");
            let over = SagaRun {
                state: RunState::Done,
                job: None,
                due_at: None,
                finished_at: Some(world.at(6_000)),
                ..after
            };
            run!(world.store, SYSTEM, [over], |tx| tx
                .saga_run_step(&over, &[]))
            .expect("it ends");
        }
        let left = run!(world.store, SYSTEM, [], |tx| tx
            .saga_run_unfinished(SagaRunId::NIL, 10));
        assert!(left.expect("they are listed").is_empty());
    }
);

on_both!(
    a_saga_goes_when_its_runs_have_ended_and_runs_go_by_their_end,
    |db| async {
        let world = World::new(db).await;
        let (saga, version) = added(&world, "order").await;
        let one = begun(&world, &version, None, 5).await;
        let (tenant, id) = (world.tenant, saga.id);
        let refused = run!(world.store, world.scope(), [], |tx| tx
            .saga_delete(tenant, id));
        assert!(
            matches!(refused, Err(StoreError::Reference { .. })),
            "{refused:?}"
        );
        let over = SagaRun {
            state: RunState::Compensated,
            due_at: None,
            finished_at: Some(world.at(50)),
            ..one.clone()
        };
        run!(world.store, SYSTEM, [over], |tx| tx
            .saga_run_step(&over, &[]))
        .expect("it ends");
        let (before, after) = (world.at(50), world.at(51));
        for (until, gone) in [(before, 0), (after, 1)] {
            let removed = run!(world.store, SYSTEM, [], |tx| tx.saga_run_expire(until, 10));
            assert_eq!(removed.expect("it answers"), gone);
        }
        for key in ["a", "b", "c"] {
            let one = begun(&world, &version, Some(key), 60).await;
            let over = SagaRun {
                state: RunState::Compensated,
                due_at: None,
                finished_at: Some(world.at(70)),
                ..one
            };
            run!(world.store, SYSTEM, [over], |tx| tx
                .saga_run_step(&over, &[]))
            .expect("it ends");
        }
        for gone in [2, 1, 0] {
            let removed = run!(world.store, world.scope(), [], |tx| tx
                .saga_runs_delete(tenant, id, 2));
            assert_eq!(removed.expect("it answers"), gone);
        }
        let removed = run!(world.store, world.scope(), [], |tx| tx
            .saga_delete(tenant, id));
        assert!(removed.expect("nothing is left"));
    }
);

on_both!(
    runs_are_seen_and_changed_only_by_their_own_tenant,
    |db| async {
        let world = World::new(db).await;
        let (saga, version) = added(&world, "order").await;
        let one = begun(&world, &version, None, 5).await;
        let other = World::named(&world.store, "other", 2).await;
        assert_eq!(get(&world, other.scope(), one.id).await, None);
        let id = saga.id;
        let listed = run!(world.store, other.scope(), [], |tx| async {
            let sagas = tx.saga_list(&SagaFilter::default(), 10).await?;
            let runs = tx.saga_run_list(&SagaRunFilter::default(), 10).await?;
            Ok((sagas, runs, tx.saga_get(id).await?))
        });
        assert_eq!(listed.expect("it answers"), (Vec::new(), Vec::new(), None));
        let stolen = run!(world.store, other.scope(), [one], |tx| tx
            .saga_run_step(&one, &[]));
        assert!(matches!(stolen, Err(StoreError::OutOfScope)), "{stolen:?}");
        let looked = run!(world.store, other.scope(), [], |tx| tx.saga_run_due(
            Timestamp::MAX,
            FIRST,
            10
        ));
        assert!(matches!(looked, Err(StoreError::OutOfScope)), "{looked:?}");
    }
);
