//! `mainstay bench fairness`: how long the jobs of 99 tenants take, ten each, in a queue in which one tenant has a million
//! waiting, against how long they take alone.
//!
//! Everything is real but the endpoint: jobs are deliveries, each start and each outcome is committed, and what answers them
//! is a function in this process that takes 20 ms. The queue has 50 places.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use mainstay::intake::DELIVER;
use mainstay_domain::{
    Clock, EndpointId, JobId, Scope, StoreExt, TenantId,
    jobs::{
        Endpoint, NewJob, QueueNumber,
        http_out::{HttpOut, OutAnswer, OutError, OutRequest},
    },
};
use tokio::{sync::Notify, time::sleep};

use super::{
    Bench,
    child::peak_rss_mib,
    line::{Line, Spread},
    node::Ground,
    note,
};
use crate::time::{SystemClock, SystemRandom};

/// What the small tenants' time beside the large one may be of their time alone.
const RATIO_BAR: f64 = 1.1;
const PLACES: u32 = 50;
const TAKES: Duration = Duration::from_millis(20);
const SMALL: usize = 99;
const EACH: usize = 10;
/// Jobs inserted in one transaction.
const INSERT_AT_ONCE: usize = 1_000;
/// Deliveries before it is measured.
const WARM: i64 = 2_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct FairnessArgs {
    /// Jobs of the large tenant
    #[arg(long, default_value_t = 1_000_000)]
    many: usize,
    /// How often the small ones come, alone and beside the large one
    #[arg(long, default_value_t = 7)]
    runs: usize,
}

/// An endpoint that answers after a while.
#[derive(Default)]
struct Slow {
    answered: AtomicI64,
    /// Jobs whose end is waited for.
    awaited: Mutex<HashSet<String>>,
    all_came: Notify,
}

impl Slow {
    fn awaited(&self) -> MutexGuard<'_, HashSet<String>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl HttpOut for Slow {
    async fn post(&self, request: OutRequest) -> Result<OutAnswer, OutError> {
        sleep(TAKES).await;
        self.answered.fetch_add(1, Ordering::Relaxed);
        let mut headers = request.headers.iter();
        if let Some((_, job)) = headers.find(|(name, _)| name == "mainstay-job-id") {
            let mut awaited = self.awaited();
            if awaited.remove(job) && awaited.is_empty() {
                self.all_came.notify_one();
            }
        }
        Ok(OutAnswer {
            status: 200,
            headers: Vec::new(),
            excerpt: Bytes::new(),
        })
    }
}

/// The endpoint's queue, and whose jobs are in it.
struct Field {
    ground: Ground,
    endpoint: EndpointId,
    queue: QueueNumber,
    large: TenantId,
    small: Vec<TenantId>,
}

/// Measures, tells people, and answers with the line.
pub(crate) async fn run(bench: &Bench, args: &FairnessArgs) -> anyhow::Result<Line> {
    ensure!(
        args.runs > 0 && args.many >= 10_000,
        "--many is at least 10000, --runs at least 1"
    );
    let field = Field::prepare(bench).await?;
    let alone = field.measure(args.runs, WARM as usize).await?;
    note(&format!("alone   {alone} ms, median of {} runs", args.runs));
    let beside = field.measure(args.runs, args.many).await?;
    let ratio = beside.median / alone.median;
    let line = Line {
        bench: "fairness",
        database: bench.database(),
        value: beside.median,
        unit: "ms",
        reference: Some(alone.median),
        ratio: Some(ratio),
        p50_ms: None,
        p99_ms: None,
        peak_rss_mib: Some(peak_rss_mib("self")?),
        bar: Some(RATIO_BAR),
        holds: Some(ratio <= RATIO_BAR),
    };
    note(&format!(
        "fairness on {}: {SMALL} tenants with {EACH} jobs each, {PLACES} places, a job takes {} ms\n\
         alone                          {alone} ms, median of {} runs\n\
         beside one with {:>9} jobs  {beside} ms: {:.0} % of that (bar {:.0} %)\n{}",
        bench.database(),
        TAKES.as_millis(),
        args.runs,
        args.many,
        ratio * 100.0,
        RATIO_BAR * 100.0,
        line.word()
    ));
    Ok(line)
}

impl Field {
    async fn prepare(bench: &Bench) -> anyhow::Result<Self> {
        let ground = Ground::prepare(bench).await?;
        let now = SystemClock.now();
        let id = EndpointId::new(now, &SystemRandom);
        let tenant = ground.tenant();
        let queue = ground
            .store
            .transact(Scope::System("bench"), move |tx| {
                Box::pin(async move {
                    let queue = tx.queue_ensure("bench").await?;
                    let endpoint = Endpoint {
                        id,
                        tenant,
                        name: "slow".to_owned(),
                        url: "http://localhost/slow".to_owned(),
                        queue,
                        enabled: true,
                        secrets: Vec::new(),
                        headers: Default::default(),
                        settings: format!(r#"{{"signing":"original","max_in_flight":{PLACES}}}"#),
                        created_at: now,
                        updated_at: now,
                    };
                    tx.endpoint_insert(&endpoint).await?;
                    Ok(queue)
                })
            })
            .await?;
        let tenants = || TenantId::new(SystemClock.now(), &SystemRandom);
        Ok(Self {
            ground,
            endpoint: id,
            queue,
            large: tenants(),
            small: (0..SMALL).map(|_| tenants()).collect(),
        })
    }

    fn job(&self, tenant: TenantId) -> NewJob {
        let now = SystemClock.now();
        NewJob {
            id: JobId::new(now, &SystemRandom),
            tenant,
            queue: self.queue,
            kind: DELIVER.to_owned(),
            endpoint: Some(self.endpoint),
            ..self.ground.job(now)
        }
    }

    /// How long the small ones' jobs take, in milliseconds, while the large one has this many.
    async fn measure(&self, runs: usize, many: usize) -> anyhow::Result<Spread> {
        note(&format!("inserting {many} jobs of the large tenant"));
        for done in (0..many).step_by(INSERT_AT_ONCE) {
            let some = INSERT_AT_ONCE.min(many - done);
            let jobs = (0..some).map(|_| self.job(self.large)).collect();
            self.ground.insert(jobs).await?;
        }
        let slow = Arc::new(Slow::default());
        let node = self.ground.start_with(Arc::clone(&slow) as _).await?;
        // What a new engine has not found yet, it does not know to be waiting.
        let found = |created: i64| created >= self.ground.inserted();
        self.until(|| {
            let snapshot = node.engine.snapshot();
            let queue = snapshot.queue(self.queue);
            let all = queue.is_some_and(|queue| found(queue.tally.created));
            all && slow.answered.load(Ordering::Relaxed) >= WARM
        })
        .await
        .context("the large tenant's jobs are found and carried out")?;
        let mut times = Vec::with_capacity(runs);
        for _ in 0..runs {
            times.push(self.once(&slow).await?);
        }
        node.stop().await;
        Spread::of(&times).context("at least one run")
    }

    /// From the commit of the small ones' jobs until the last of them was answered, in milliseconds.
    async fn once(&self, slow: &Slow) -> anyhow::Result<f64> {
        let mut jobs = Vec::with_capacity(SMALL * EACH);
        for _ in 0..EACH {
            jobs.extend(self.small.iter().map(|tenant| self.job(*tenant)));
        }
        slow.awaited()
            .extend(jobs.iter().map(|job| job.id.to_string()));
        self.ground.insert(jobs).await?;
        let begin = Instant::now();
        self.ground.store.wake();
        tokio::time::timeout(PATIENCE, slow.all_came.notified())
            .await
            .with_context(|| format!("{} small jobs were not done", slow.awaited().len()))?;
        Ok(begin.elapsed().as_secs_f64() * 1_000.0)
    }

    async fn until(&self, holds: impl Fn() -> bool) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !holds() {
            ensure!(begin.elapsed() < PATIENCE, "not within {PATIENCE:?}");
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}
