//! Runs of sagas on a real store: carried on whatever dies in between, by whichever node, each part by one job.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mainstay::{
    jobs::{Announcement, Announcer, dead_letter},
    sagas::{Bell, Sagas},
    watch::Samples,
};
use mainstay_domain::{
    Category, Clock, JobId, SagaId, SagaRunId, Scope, Store, StoreExt, StoreResult, Tx,
    intake::Arrival,
    jobs::{Attempt, DeadLetter, DeadLetterFilter, JobFilter, Outcome, QueueNumber},
    sagas::{
        Action, Definition, Does, Part, RunState, Saga, SagaRun, SagaTold, SagaVersion, Step,
        StepState, Task, Verdict,
    },
    store::BoxFuture,
};
use mainstay_testkit::{FailingStore, on_both};
use serde_json::json;

use crate::world::World;

const SYSTEM: Scope = Scope::System("tests");

/// Whoever is told.
#[derive(Default)]
struct Ears(Mutex<Vec<(RunState, String)>>);

#[async_trait]
impl Announcer for Ears {
    fn config_version(&self) -> Option<i64> {
        None
    }

    async fn refresh(&self) -> StoreResult<()> {
        Ok(())
    }

    fn announce(&self, what: &Announcement) -> Option<Arrival> {
        if let Announcement::Run { run, saga } = what {
            let mut heard = self.0.lock().expect("no panic");
            heard.push((run.state, saga.clone()));
        }
        None
    }
}

/// A tenant with a saga.
struct Story {
    world: World,
    queue: QueueNumber,
    ears: Arc<Ears>,
}

fn action(queue: QueueNumber, kind: &str) -> Action {
    Action {
        kind: kind.into(),
        endpoint: None,
        queue,
        input: None,
        retry: None,
    }
}

impl Story {
    async fn new(store: Arc<dyn Store>) -> Self {
        let world = World::new(store).await;
        let queue = world.store.transact(SYSTEM, |tx| {
            Box::pin(async move { tx.queue_ensure("orders").await })
        });
        Self {
            queue: queue.await.expect("there is one"),
            world,
            ears: Arc::default(),
        }
    }

    /// A node that looks, and knows nothing but what is written.
    fn node(&self, store: &Arc<dyn Store>) -> Sagas {
        Sagas::new(
            Arc::clone(store),
            Arc::clone(&self.world.clock) as Arc<dyn Clock>,
            Arc::clone(&self.world.random) as _,
            Arc::clone(&self.ears) as _,
            Arc::new(Samples::default()),
            Arc::new(Bell::default()),
        )
    }

    async fn round(&self) {
        let node = self.node(&self.world.store);
        node.round(|| true).await.expect("it looks");
    }

    fn task(&self, name: &str, timeout_ms: Option<i64>, lookup: bool) -> Step {
        Step {
            name: name.into(),
            does: Does::Task(Box::new(Task {
                action: action(self.queue, "do"),
                timeout_ms,
                compensation: Some(action(self.queue, "undo")),
                lookup: lookup.then(|| action(self.queue, "ask")),
            })),
        }
    }

    async fn write<T, F>(&self, work: F) -> T
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut dyn Tx) -> BoxFuture<'t, StoreResult<T>> + Send + Sync + 'static,
    {
        self.world
            .store
            .transact(SYSTEM, work)
            .await
            .expect("it commits")
    }

    async fn begin(&self, name: &str, steps: Vec<Step>) -> SagaRunId {
        let now = self.world.clock.now();
        let saga = Saga {
            id: SagaId::new(now, &*self.world.random),
            tenant: self.world.tenant,
            name: name.into(),
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let version = SagaVersion {
            tenant: saga.tenant,
            saga: saga.id,
            version: 1,
            definition: Definition { steps },
            created_at: now,
            by: "user:ben".into(),
        };
        let id = SagaRunId::new(now, &*self.world.random);
        let input = json!({ "amount": 7 });
        let run = SagaRun::begin(id, &version, input, None, "user:ben".into(), now);
        self.write(move |tx| {
            let (saga, version, run) = (saga.clone(), version.clone(), run.clone());
            Box::pin(async move {
                tx.saga_insert(&saga, &version).await?;
                tx.saga_run_insert(&run).await
            })
        })
        .await;
        id
    }

    async fn run(&self, id: SagaRunId) -> SagaRun {
        let found = self.world.store.read(SYSTEM, move |tx| {
            Box::pin(async move { tx.saga_run_get(id).await })
        });
        found.await.expect("it is read").expect("it is there")
    }

    /// What a job was told.
    async fn told(&self, job: JobId) -> SagaTold {
        let found = self.world.store.read(SYSTEM, move |tx| {
            Box::pin(async move { tx.job_get(job).await })
        });
        let job = found.await.expect("it is read").expect("it is there");
        SagaTold::read(&job.payload.expect("a payload")).expect("a saga's")
    }

    /// What the run waits for.
    async fn waits_for(&self, id: SagaRunId) -> Option<(JobId, SagaTold)> {
        let job = self.run(id).await.job?;
        Some((job, self.told(job).await))
    }

    /// A job ends, as the engine records it: with the mark on the run that waits for it in the same commit.
    async fn end(&self, job: JobId, outcome: Outcome, failure: Option<Category>) {
        let (now, tenant, queue) = (self.world.clock.now(), self.world.tenant, self.queue);
        self.write(move |tx| {
            Box::pin(async move {
                let (attempts, _) = tx.job_attempts(job).await?;
                let attempt = Attempt {
                    tenant,
                    job,
                    attempt: attempts.last().map_or(1, |last| last.attempt + 1),
                    tries: 1,
                    queue,
                    outcome,
                    started_at: now,
                    finished_at: now,
                    next_at: None,
                    category: failure,
                    code: failure.map(|_| "boom".to_owned()),
                    error: failure.map(|_| "it broke".to_owned()),
                    status: None,
                    exchange: (outcome == Outcome::Succeeded)
                        .then(|| json!({ "result": { "done": true, "output": 5 } }).to_string()),
                    by: None,
                };
                tx.attempt_settle(std::slice::from_ref(&attempt), None)
                    .await?;
                if outcome == Outcome::Dead {
                    tx.dead_letter_insert(&DeadLetter {
                        job,
                        tenant,
                        attempt: attempt.attempt,
                        queue,
                        kind: "do".into(),
                        endpoint: None,
                        event: None,
                        event_kind: None,
                        died_at: now,
                        category: Category::Unknown,
                        code: "boom".into(),
                        error: "it broke".into(),
                        status: None,
                    })
                    .await?;
                }
                tx.saga_run_wake(&[(tenant, job)], now).await
            })
        })
        .await;
    }

    /// A person runs a dead letter again.
    async fn retry(&self, job: JobId) {
        let filter = DeadLetterFilter {
            jobs: vec![job],
            ..DeadLetterFilter::default()
        };
        let end = dead_letter::End::Retry;
        let (store, clock) = (&*self.world.store, &*self.world.clock);
        let ended = dead_letter::end(store, clock, SYSTEM, filter, end, "user:ben").await;
        assert_eq!(ended.expect("it is ended"), 1);
    }

    /// What the jobs that this run made are for, oldest first.
    async fn parts(&self, id: SagaRunId) -> Vec<(String, Part)> {
        let listed = self.world.store.read(SYSTEM, |tx| {
            Box::pin(async move { tx.job_list(&JobFilter::default(), 1_000).await })
        });
        let mut parts = Vec::new();
        for job in listed.await.expect("they are listed").into_iter().rev() {
            let told = self.told(job.id).await;
            if told.saga_run_id == id {
                parts.push((told.step, told.part));
            }
        }
        parts
    }

    async fn letters(&self) -> usize {
        let listed = self.world.store.read(SYSTEM, |tx| {
            Box::pin(async move { tx.dead_letter_list(&DeadLetterFilter::default(), 100).await })
        });
        listed.await.expect("they are listed").len()
    }

    /// What is outside of the run does what it has to: the third step is refused, and what undoes the second dies once.
    async fn outside(&self, id: SagaRunId) {
        self.world.clock.advance_ms(1);
        let Some((job, told)) = self.waits_for(id).await else {
            return;
        };
        let state = self.run(id).await.state;
        let (attempts, died) = {
            let read = self.world.store.read(SYSTEM, move |tx| {
                Box::pin(async move { tx.job_attempts(job).await })
            });
            let (attempts, _) = read.await.expect("they are read");
            let died = attempts.iter().any(|one| one.outcome == Outcome::Dead);
            (attempts, died)
        };
        let last = attempts.last().map(|one| one.outcome);
        match (told.step.as_str(), told.part) {
            _ if last.is_some_and(|last| last.ends() && last != Outcome::Dead) => {}
            ("third", Part::Step) if last.is_none() => {
                self.end(job, Outcome::Dead, Some(Category::Validation))
                    .await;
            }
            ("second", Part::Compensation) if !died => {
                self.end(job, Outcome::Dead, Some(Category::Provider)).await;
            }
            _ if last == Some(Outcome::Dead) => {
                if state == RunState::Failed {
                    self.retry(job).await;
                }
            }
            _ => self.end(job, Outcome::Succeeded, None).await,
        }
    }
}

/// The whole of a run, with the nth commit of those who carry it on failing before or after it is made.
async fn played(story: &Story, nth: u64, after: bool) -> u64 {
    let steps = ["first", "second", "third"];
    let steps = steps.map(|name| story.task(name, None, false)).to_vec();
    let name = format!("order-{nth}-{after}");
    let id = story.begin(&name, steps).await;
    let failing = Arc::new(FailingStore::new(Arc::clone(&story.world.store)));
    match after {
        true => failing.fail_after(nth),
        false => failing.fail_before(nth),
    }
    let through = Arc::clone(&failing) as Arc<dyn Store>;
    for _ in 0..60 {
        // Each time another node, which knows nothing but what is written; what fails is what dies.
        let _ = story.node(&through).round(|| true).await;
        if story.run(id).await.state.ends() {
            break;
        }
        story.outside(id).await;
    }
    let run = story.run(id).await;
    assert_eq!(run.state, RunState::Compensated, "{nth} {after}: {run:?}");
    let states: Vec<StepState> = run.steps.iter().map(|step| step.state).collect();
    let undone = StepState::Compensated;
    assert_eq!(states, [undone, undone, StepState::Failed]);
    let (step, undo) = (Part::Step, Part::Compensation);
    let expected = [
        ("first", step),
        ("second", step),
        ("third", step),
        ("second", undo),
        ("first", undo),
    ];
    let expected = expected.map(|(name, part)| (name.to_owned(), part));
    assert_eq!(story.parts(id).await, expected, "{nth} {after}");
    assert_eq!(
        story.letters().await,
        0,
        "nobody is asked to run again what is taken back"
    );
    let heard = story.ears.0.lock().expect("no panic").clone();
    assert!(heard.contains(&(RunState::Failed, name)));
    failing.count()
}

on_both!(
    a_run_survives_a_crash_at_every_write_and_does_each_part_once,
    |db| async {
        let story = Story::new(db.store()).await;
        let writes = played(&story, 1_000, false).await;
        assert!(writes >= 7, "{writes} writes");
        for nth in 1..=writes {
            for after in [false, true] {
                played(&story, nth, after).await;
            }
        }
    }
);

on_both!(two_nodes_at_once_make_one_job_for_a_step, |db| async {
    let story = Story::new(db.store()).await;
    let steps = vec![story.task("first", None, false)];
    let id = story.begin("order", steps).await;
    let nodes: Vec<Sagas> = (0..4).map(|_| story.node(&story.world.store)).collect();
    let looks = nodes.iter().map(|node| node.round(|| true));
    for looked in futures_util::future::join_all(looks).await {
        looked.expect("it looks");
    }
    assert_eq!(story.parts(id).await.len(), 1);
    assert_eq!(story.run(id).await.state, RunState::Running);
});

on_both!(
    a_step_whose_outcome_is_unknown_is_looked_up_and_goes_on,
    |db| async {
        let story = Story::new(db.store()).await;
        let steps = vec![
            story.task("first", None, true),
            story.task("second", None, false),
        ];
        let id = story.begin("order", steps).await;
        story.round().await;
        let (job, told) = story.waits_for(id).await.expect("its first step");
        assert_eq!(told.input, json!({ "amount": 7 }));
        story.end(job, Outcome::Dead, Some(Category::Timeout)).await;
        story.round().await;
        let run = story.run(id).await;
        assert_eq!(run.steps[0].state, StepState::Unknown);
        assert_eq!(story.letters().await, 0, "the look-up has taken its place");
        let (job, asked) = story.waits_for(id).await.expect("it is looked up");
        assert_eq!(
            (asked.part, asked.step_key),
            (Part::Lookup, told.idempotency_key)
        );
        story.end(job, Outcome::Succeeded, None).await;
        story.round().await;
        let run = story.run(id).await;
        assert_eq!(run.steps[0].state, StepState::Done);
        assert_eq!(run.steps[1].state, StepState::Running);
        assert_eq!(run.data.expect("its data").outputs["first"], json!(5));
    }
);

on_both!(
    a_step_that_takes_too_long_is_cancelled_and_taken_back,
    |db| async {
        let story = Story::new(db.store()).await;
        let steps = vec![
            story.task("first", None, false),
            story.task("second", Some(5_000), false),
        ];
        let id = story.begin("order", steps).await;
        story.round().await;
        let (job, _) = story.waits_for(id).await.expect("its first step");
        story.end(job, Outcome::Succeeded, None).await;
        story.round().await;
        let (second, _) = story.waits_for(id).await.expect("its second step");
        story.world.clock.advance_ms(4_999);
        story.round().await;
        assert_eq!(story.run(id).await.state, RunState::Running);
        story.world.clock.advance_ms(1);
        story.round().await;
        let run = story.run(id).await;
        assert_eq!(run.state, RunState::Compensating);
        assert_eq!(run.steps[1].code.as_deref(), Some("timed_out"));
        assert_eq!(
            run.steps[1].state,
            StepState::Failed,
            "it was never started"
        );
        let found = story.world.store.read(SYSTEM, move |tx| {
            Box::pin(async move { tx.job_attempts(second).await })
        });
        let (attempts, _) = found.await.expect("they are read");
        assert_eq!(
            attempts.last().map(|one| one.outcome),
            Some(Outcome::Cancelled)
        );
        let (_, told) = story.waits_for(id).await.expect("it is undone");
        assert_eq!(
            (told.step.as_str(), told.part),
            ("first", Part::Compensation)
        );
    }
);

on_both!(
    a_person_is_told_of_what_waits_and_their_verdict_decides,
    |db| async {
        let story = Story::new(db.store()).await;
        for (name, approved) in [("one", true), ("other", false)] {
            let approval = Step {
                name: "look".into(),
                does: Does::Approval {
                    deadline_ms: Some(60_000),
                },
            };
            let steps = vec![story.task("first", None, false), approval];
            let id = story.begin(name, steps).await;
            story.round().await;
            let (job, _) = story.waits_for(id).await.expect("its first step");
            story.end(job, Outcome::Succeeded, None).await;
            story.round().await;
            let mut run = story.run(id).await;
            assert_eq!((run.state, run.job), (RunState::Waiting, None));
            let heard = story.ears.0.lock().expect("no panic").clone();
            assert_eq!(heard.last(), Some(&(RunState::Waiting, name.to_owned())));
            run.steps[1].verdict = Some(Verdict {
                approved,
                by: "user:ben".into(),
                reason: Some("I looked".into()),
                at: story.world.clock.now(),
            });
            run.due_at = Some(story.world.clock.now());
            story
                .write(move |tx| {
                    let run = run.clone();
                    Box::pin(async move { tx.saga_run_step(&run, &[]).await })
                })
                .await;
            story.round().await;
            let run = story.run(id).await;
            match approved {
                true => assert_eq!(run.state, RunState::Done),
                false => {
                    assert_eq!(run.state, RunState::Compensating);
                    assert_eq!(
                        run.error.as_deref(),
                        Some("look: user:ben rejected it: I looked")
                    );
                }
            }
        }
    }
);

on_both!(
    a_node_that_begins_to_look_looks_at_every_run_once_and_then_at_those_that_are_due,
    |db| async {
        let story = Story::new(db.store()).await;
        for name in ["a", "b", "c"] {
            story
                .begin(name, vec![story.task("first", None, false)])
                .await;
        }
        story.round().await;
        let node = story.node(&story.world.store);
        node.round(|| true).await.expect("it looks");
        assert_eq!(
            node.looks(),
            3,
            "each, since it knows nothing of their jobs"
        );
        for _ in 0..5 {
            node.round(|| true).await.expect("it looks");
        }
        assert_eq!(node.looks(), 3, "none of them is due");
    }
);
