//! An engine with handlers that do what a test tells them, and a clock that stands still until it is told.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use mainstay::{
    jobs::{
        Announcement, Announcer, AttemptInfo, Engine, EngineHandle, EngineOptions, EngineSnapshot,
        Failure, Handler, HandlerError, NOOP, NOOP_QUEUE, Noop, Outbound, Registry, Report,
    },
    watch::Samples,
};
use mainstay_domain::{
    Category, Clock, EndpointId, EventId, JobId, NodeId, Random, Scope, Store, StoreError,
    StoreExt, StoreResult, TenantId, Timestamp, Tx,
    access::Tenant,
    billing::BillingEvent,
    intake::Arrival,
    jobs::{
        Attempt, DeadLetter, DeadLetterFilter, Endpoint, JobBody, NewJob, Outcome, QueueNumber,
        retry::RetryPolicy, secret::EndpointSecret, settings::EndpointSettings,
    },
    time::SeededRandom,
};
use mainstay_testkit::TestClock;
use tokio::sync::{Semaphore, watch};

pub(crate) const SYSTEM: Scope = Scope::System("tests");
/// Has an effect, and fails when told to.
pub(crate) const EFFECT: &str = "test.effect";
/// Leaves the process.
pub(crate) const PUSH: &str = "test.push";
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The policy of effects: three tries, a second between them.
pub(crate) fn three_tries() -> RetryPolicy {
    RetryPolicy::Schedule {
        attempts_max: 3,
        delays_ms: vec![1_000],
    }
}

/// What a test tells its handlers, and what they tell it.
#[derive(Default)]
pub(crate) struct Orders {
    /// How the next tries of a job go; without an order they succeed.
    effects: Mutex<HashMap<JobId, Vec<Order>>>,
    /// Pushes that began, in order.
    pushes: Mutex<Vec<(JobId, AttemptInfo)>>,
    pushed: watch::Sender<usize>,
    /// Whether the endpoints are there.
    pub(crate) down: Mutex<bool>,
    /// Pushes wait until they are let go, if any permit was ever taken away.
    gate: Mutex<Option<Arc<Semaphore>>>,
    told: Mutex<Vec<Announcement>>,
    /// Jobs that kill the process, as far as a test can.
    deadly: Mutex<HashSet<JobId>>,
    died: watch::Sender<usize>,
}

/// How a try goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Fail(Category),
    Panic,
}

impl Orders {
    pub(crate) fn order(&self, job: JobId, orders: &[Order]) {
        let mut reversed = orders.to_vec();
        reversed.reverse();
        lock(&self.effects).insert(job, reversed);
    }

    pub(crate) fn set_down(&self, down: bool) {
        *lock(&self.down) = down;
    }

    /// From now on pushes wait for permits of the answer.
    pub(crate) fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *lock(&self.gate) = Some(Arc::clone(&gate));
        gate
    }

    pub(crate) fn pushes(&self) -> Vec<(JobId, AttemptInfo)> {
        lock(&self.pushes).clone()
    }

    pub(crate) fn told(&self) -> Vec<Announcement> {
        lock(&self.told).clone()
    }

    /// Waits until so many pushes have begun.
    pub(crate) async fn pushed(&self, count: usize) {
        let mut pushed = self.pushed.subscribe();
        let wait = pushed.wait_for(|now| *now >= count);
        in_time(wait, "the pushes begin")
            .await
            .expect("orders live");
    }

    /// From now on this job kills the process that tries it: whoever waits in [`Self::death`] must drop the engine.
    pub(crate) fn kill_with(&self, job: JobId) {
        lock(&self.deadly).insert(job);
    }

    /// Waits until a job kills the process.
    pub(crate) async fn death(&self) {
        let mut died = self.died.subscribe();
        died.mark_unchanged();
        died.changed().await.expect("orders live");
    }

    fn kills(&self, job: JobId) -> bool {
        let kills = lock(&self.deadly).contains(&job);
        if kills {
            self.died.send_modify(|count| *count += 1);
        }
        kills
    }

    fn next(&self, job: JobId) -> Option<Order> {
        lock(&self.effects).get_mut(&job)?.pop()
    }
}

struct Effect(Arc<Orders>);

#[async_trait]
impl Handler for Effect {
    async fn run(&self, tx: &mut dyn Tx, job: &JobBody) -> Result<(), HandlerError> {
        // The effect comes first, so that a failure proves that it is undone.
        tx.billing_event_insert(&effect_of(job)).await?;
        if self.0.kills(job.job) {
            // What the store does when the process is gone: it undoes everything.
            let gone = StoreError::Unavailable("the process died".into());
            return Err(HandlerError::Store(gone));
        }
        match self.0.next(job.job) {
            None => Ok(()),
            Some(Order::Fail(category)) => {
                Err(HandlerError::new(category, "ordered", "as ordered"))
            }
            Some(Order::Panic) => panic!("as ordered"),
        }
    }
}

fn effect_of(job: &JobBody) -> BillingEvent {
    BillingEvent {
        tenant: job.tenant,
        event: EventId::from_uuid(job.job.uuid()),
        kind: "effect".into(),
        amount_minor: None,
        currency: None,
        occurred_at: job.created_at,
        created_at: job.created_at,
    }
}

struct Push(Arc<Orders>);

#[async_trait]
impl Outbound for Push {
    async fn run(&self, job: JobBody, attempt: AttemptInfo) -> Report {
        lock(&self.0.pushes).push((job.job, attempt));
        self.0.pushed.send_modify(|count| *count += 1);
        if self.0.kills(job.job) {
            std::future::pending::<()>().await;
        }
        let gate = lock(&self.0.gate).clone();
        if let Some(gate) = gate {
            gate.acquire().await.expect("the gate stays").forget();
        }
        if *lock(&self.0.down) {
            let error = "nobody is there";
            return Report::Failure(Failure::new(Category::Network, "connect_failed", error));
        }
        match self.0.next(job.job) {
            Some(Order::Fail(category)) => {
                Report::Failure(Failure::new(category, "ordered", "as ordered"))
            }
            Some(Order::Panic) => panic!("as ordered"),
            None => Report::Success {
                status: Some(200),
                exchange: None,
            },
        }
    }
}

#[async_trait]
impl Announcer for Orders {
    fn config_version(&self) -> Option<i64> {
        None
    }

    async fn refresh(&self) -> StoreResult<()> {
        Ok(())
    }

    fn announce(&self, what: &Announcement) -> Option<Arrival> {
        lock(&self.told).push(what.clone());
        None
    }
}

/// A clock that runs.
pub(crate) struct Ticking(tokio::task::JoinHandle<()>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A tenant on a database, and what engines on it share.
pub(crate) struct Works {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) random: Arc<SeededRandom>,
    pub(crate) tenant: TenantId,
    pub(crate) orders: Arc<Orders>,
    pub(crate) noop: QueueNumber,
    pub(crate) effect: QueueNumber,
    /// How long a dead engine keeps the jobs.
    lease_ttl: Duration,
}

impl Works {
    pub(crate) async fn new(store: Arc<dyn Store>) -> Self {
        let clock = Arc::new(TestClock::default());
        let random = Arc::new(SeededRandom::new(11));
        let tenant = TenantId::new(clock.now(), &*random);
        let named = Tenant {
            id: tenant,
            name: "acme".into(),
            slug: "acme".into(),
            created_at: clock.now(),
        };
        let (noop, effect) = store
            .transact(SYSTEM, move |tx| {
                let named = named.clone();
                Box::pin(async move {
                    tx.tenant_insert(&named).await?;
                    let noop = tx.queue_ensure(NOOP_QUEUE).await?;
                    Ok((noop, tx.queue_ensure("effects").await?))
                })
            })
            .await
            .expect("a tenant and queues");
        Self {
            store,
            clock,
            random,
            tenant,
            orders: Arc::default(),
            noop,
            effect,
            lease_ttl: Duration::from_secs(15),
        }
    }

    /// Engines will die here: their successors do not wait for long. A machine that stands still for longer than this
    /// lets an engine lose what it owns, which is another story.
    pub(crate) async fn mortal(store: Arc<dyn Store>) -> Self {
        Self {
            lease_ttl: Duration::from_secs(3),
            ..Self::new(store).await
        }
    }

    /// Lets the clock run by so many milliseconds every few real ones, until the answer is dropped.
    pub(crate) fn let_time_pass(&self, step_ms: i64) -> Ticking {
        let clock = Arc::clone(&self.clock);
        let mut every = tokio::time::interval(Duration::from_millis(20));
        Ticking(tokio::spawn(async move {
            loop {
                every.tick().await;
                clock.advance_ms(step_ms);
            }
        }))
    }

    /// An engine of a node of its own.
    pub(crate) fn engine(&self) -> EngineHandle {
        self.engine_on(Arc::clone(&self.store))
    }

    pub(crate) fn engine_on(&self, store: Arc<dyn Store>) -> EngineHandle {
        let mut options = EngineOptions::new(NodeId::new(self.clock.now(), &*self.random));
        options.lease_ttl = self.lease_ttl;
        let mut registry = Registry::default();
        registry.builtin(NOOP, NOOP_QUEUE, RetryPolicy::default(), Arc::new(Noop));
        let effect = Arc::new(Effect(Arc::clone(&self.orders)));
        registry.builtin(EFFECT, "effects", three_tries(), effect);
        registry.outbound(PUSH, Arc::new(Push(Arc::clone(&self.orders))));
        Engine::start(
            store,
            Arc::clone(&self.clock) as Arc<dyn Clock>,
            Arc::clone(&self.random) as Arc<dyn Random>,
            registry,
            Arc::clone(&self.orders) as Arc<dyn Announcer>,
            Arc::new(Samples::default()),
            options,
        )
    }

    pub(crate) fn job(&self, kind: &str, queue: QueueNumber) -> NewJob {
        let now = self.clock.now();
        NewJob {
            id: JobId::new(now, &*self.random),
            tenant: self.tenant,
            queue,
            band: 1,
            kind: kind.into(),
            event: None,
            binding: None,
            replay: None,
            endpoint: None,
            payload: None,
            run_at: None,
            deadline: None,
            retry: None,
            order: None,
            created_at: now,
        }
    }

    pub(crate) fn jobs(&self, kind: &str, queue: QueueNumber, count: usize) -> Vec<NewJob> {
        (0..count).map(|_| self.job(kind, queue)).collect()
    }

    /// Commits jobs and wakes whoever waits for them.
    pub(crate) async fn insert(&self, jobs: &[NewJob]) {
        let jobs = jobs.to_vec();
        self.write(move |tx| {
            let jobs = jobs.clone();
            Box::pin(async move { tx.job_insert(&jobs).await })
        })
        .await;
        self.store.wake();
    }

    pub(crate) async fn write<T, F>(&self, work: F) -> T
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut dyn Tx) -> mainstay_domain::store::BoxFuture<'t, StoreResult<T>>
            + Send
            + Sync
            + 'static,
    {
        self.store.transact(SYSTEM, work).await.expect("it commits")
    }

    /// An endpoint with a queue of its own.
    pub(crate) async fn endpoint(&self, settings: EndpointSettings) -> Endpoint {
        let now = self.clock.now();
        let id = EndpointId::new(now, &*self.random);
        let name = format!("endpoint:{id}");
        let queue = self
            .write(move |tx| {
                let name = name.clone();
                Box::pin(async move { tx.queue_ensure(&name).await })
            })
            .await;
        let endpoint = Endpoint {
            id,
            tenant: self.tenant,
            name: id.to_string(),
            url: "https://example.com/hook".into(),
            queue,
            enabled: true,
            secrets: vec![EndpointSecret::new(
                "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0",
            )],
            headers: Default::default(),
            settings: serde_json::to_string(&settings).expect("settings are plain"),
            created_at: now,
            updated_at: now,
        };
        let inserted = endpoint.clone();
        self.write(move |tx| {
            let inserted = inserted.clone();
            Box::pin(async move { tx.endpoint_insert(&inserted).await })
        })
        .await;
        endpoint
    }

    pub(crate) async fn endpoint_update(&self, endpoint: &Endpoint) {
        let endpoint = endpoint.clone();
        let updated = self
            .write(move |tx| {
                let endpoint = endpoint.clone();
                Box::pin(async move { tx.endpoint_update(&endpoint).await })
            })
            .await;
        assert!(updated, "the endpoint is there");
    }

    /// Jobs to be pushed to an endpoint.
    pub(crate) fn pushes(&self, endpoint: &Endpoint, count: usize) -> Vec<NewJob> {
        let mut jobs = self.jobs(PUSH, endpoint.queue, count);
        for job in &mut jobs {
            job.endpoint = Some(endpoint.id);
        }
        jobs
    }

    pub(crate) async fn attempts(&self, job: JobId) -> Vec<Attempt> {
        let read = self.store.read(SYSTEM, move |tx| {
            Box::pin(async move { tx.job_attempts(job).await })
        });
        read.await.expect("attempts are read").0
    }

    pub(crate) async fn outcomes(&self, job: JobId) -> Vec<Outcome> {
        let attempts = self.attempts(job).await;
        attempts.iter().map(|attempt| attempt.outcome).collect()
    }

    pub(crate) async fn letters(&self) -> Vec<DeadLetter> {
        let read = self.store.read(SYSTEM, move |tx| {
            Box::pin(async move {
                tx.dead_letter_list(&DeadLetterFilter::default(), 1_000)
                    .await
            })
        });
        read.await.expect("dead letters are read")
    }

    /// A person cancels a job.
    pub(crate) async fn cancel(&self, job: &NewJob) -> bool {
        let now = self.clock.now();
        let last = self
            .attempts(job.id)
            .await
            .last()
            .map_or(0, |last| last.attempt);
        let attempt = Attempt {
            tenant: job.tenant,
            job: job.id,
            attempt: last + 1,
            tries: 0,
            queue: job.queue,
            outcome: Outcome::Cancelled,
            started_at: now,
            finished_at: now,
            next_at: None,
            category: None,
            code: None,
            error: None,
            status: None,
            exchange: None,
            by: Some("a test".into()),
        };
        let cancelled = self.store.transact(SYSTEM, move |tx| {
            let attempt = attempt.clone();
            Box::pin(async move { tx.job_cancel(&attempt).await })
        });
        let cancelled = match cancelled.await {
            Ok(cancelled) => cancelled,
            Err(StoreError::Conflict { .. }) => false,
            Err(error) => panic!("a job is cancelled: {error}"),
        };
        self.store.wake();
        cancelled
    }

    /// One number that the store's rows answer.
    pub(crate) async fn count(&self, statement: &str) -> i64 {
        let answer = self.store.query(SYSTEM, statement.into(), 1).await;
        let table = answer.expect("a read-only statement runs");
        table.rows[0][0].as_i64().expect("a number")
    }

    /// How often an effect was committed.
    pub(crate) async fn effects(&self) -> i64 {
        self.count("SELECT count(*) FROM billing_event").await
    }
}

/// Waits until the engine's picture is as wanted.
pub(crate) async fn until(
    engine: &EngineHandle,
    what: &str,
    wanted: impl FnMut(&Arc<EngineSnapshot>) -> bool,
) -> Arc<EngineSnapshot> {
    let mut changed = engine.changed();
    let wait = changed.wait_for(wanted);
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(seen) => Arc::clone(&seen.expect("the engine lives")),
        Err(_) => panic!("{what}, but the engine stands at {:?}", engine.snapshot()),
    }
}

/// Ends an engine like a process that is killed, and waits until nothing of it is left: what a test does to the clock
/// next is not for it.
pub(crate) async fn kill(engine: EngineHandle) {
    let mut left = engine.changed();
    drop(engine);
    in_time(
        async { while left.changed().await.is_ok() {} },
        "it is gone",
    )
    .await;
}

/// Waits until a queue has so many done, and nothing else to do.
pub(crate) async fn until_done(engine: &EngineHandle, queue: QueueNumber, done: i64) {
    until(engine, "all are done", |snapshot| {
        let queue = snapshot.queue(queue);
        queue.is_some_and(|queue| {
            (
                queue.tally.done,
                queue.waiting,
                queue.running,
                queue.retrying,
            ) == (done, 0, 0, 0)
        })
    })
    .await;
}

pub(crate) async fn in_time<T>(wait: impl Future<Output = T>, what: &str) -> T {
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("{what} in time"))
}

/// The moment that the next try of a job is due.
pub(crate) fn due(attempts: &[Attempt]) -> Timestamp {
    let last = attempts.last().expect("it was tried");
    last.next_at.expect("it is to be tried again")
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
