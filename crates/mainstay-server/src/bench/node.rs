//! A node inside this process, with a database of its own, for what cannot be measured through HTTP.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use mainstay::{
    Mainstay, Parts,
    clean::Retention,
    jobs::{NOOP, NOOP_QUEUE},
};
use mainstay_domain::{
    Clock, JobId, Scope, Store, StoreExt, TenantId, Timestamp,
    access::Tenant,
    jobs::{
        NewJob, QueueNumber,
        http_out::{HttpOut, OutAnswer, OutError, OutRequest},
    },
};
use mainstay_store::{
    DataDirectory, PostgresOptions, PostgresStore, PostgresUrl, SqliteOptions, SqliteStore,
    migrate::{Migrator, Mode, Place},
};
use tokio::time::sleep;

use super::{Bench, note};
use crate::time::{SystemClock, SystemRandom};

/// Jobs inserted in one transaction.
const INSERT_AT_ONCE: usize = 1_000;
/// The lane that the jobs wait in.
const BAND: i16 = 1;
const STEP: Duration = Duration::from_millis(1);

/// A database with one tenant, whose jobs do nothing.
pub(super) struct Ground {
    pub(super) store: Arc<dyn Store>,
    tenant: TenantId,
    queue: QueueNumber,
    inserted: AtomicI64,
    folder: tempfile::TempDir,
}

/// Nothing leaves the process in these benches.
struct NoWayOut;

#[async_trait::async_trait]
impl HttpOut for NoWayOut {
    async fn post(&self, request: OutRequest) -> Result<OutAnswer, OutError> {
        Err(OutError::Url(request.url))
    }
}

async fn open(bench: &Bench, folder: &Path) -> anyhow::Result<Arc<dyn Store>> {
    let now = SystemClock.now();
    let Some(url) = bench.place.url() else {
        let directory = Arc::new(DataDirectory::lock(folder)?);
        Migrator::embedded()
            .up(Place::Sqlite(&directory), Mode::Apply, now)
            .await?;
        return Ok(Arc::new(SqliteStore::open_locked(
            directory,
            SqliteOptions::default(),
        )?));
    };
    let url: PostgresUrl = url.parse().context("the URL of the database")?;
    Migrator::embedded()
        .up(Place::Postgres(&url), Mode::Apply, now)
        .await?;
    Ok(Arc::new(
        PostgresStore::connect(PostgresOptions::new(url)).await?,
    ))
}

impl Ground {
    /// A migrated database with a tenant and the queue of jobs that do nothing.
    pub(super) async fn prepare(bench: &Bench) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = open(bench, folder.path()).await?;
        let now = SystemClock.now();
        let tenant = TenantId::new(now, &SystemRandom);
        let row = Tenant {
            id: tenant,
            name: "Bench".into(),
            slug: "bench".into(),
            created_at: now,
        };
        let queue = store
            .transact(Scope::System("bench"), move |tx| {
                let row = row.clone();
                Box::pin(async move {
                    tx.tenant_insert(&row).await?;
                    tx.queue_ensure(NOOP_QUEUE).await
                })
            })
            .await?;
        Ok(Self {
            store,
            tenant,
            queue,
            inserted: AtomicI64::new(0),
            folder,
        })
    }

    /// A job that does nothing.
    pub(super) fn job(&self, now: Timestamp) -> NewJob {
        NewJob {
            id: JobId::new(now, &SystemRandom),
            tenant: self.tenant,
            queue: self.queue,
            band: BAND,
            kind: NOOP.to_owned(),
            event: None,
            binding: None,
            replay: None,
            endpoint: None,
            payload: None,
            run_at: None,
            retry: None,
            created_at: now,
        }
    }

    /// Inserts jobs, in one transaction.
    pub(super) async fn insert(&self, jobs: Vec<NewJob>) -> anyhow::Result<()> {
        let inserted = self
            .store
            .transact(Scope::System("bench"), move |tx| {
                let jobs = jobs.clone();
                Box::pin(async move { tx.job_insert(&jobs).await })
            })
            .await?;
        ensure!(inserted > 0, "no job was inserted");
        self.inserted.fetch_add(inserted, Ordering::Relaxed);
        Ok(())
    }

    /// Inserts this many jobs, many at a time; how many in a second.
    pub(super) async fn fill(&self, count: usize) -> anyhow::Result<f64> {
        let begin = Instant::now();
        let mut told = Instant::now();
        for done in (0..count).step_by(INSERT_AT_ONCE) {
            let some = INSERT_AT_ONCE.min(count - done);
            self.insert((0..some).map(|_| self.job(SystemClock.now())).collect())
                .await?;
            if told.elapsed() > Duration::from_secs(5) {
                told = Instant::now();
                note(&format!("inserted {done} of {count} jobs"));
            }
        }
        Ok(count as f64 / begin.elapsed().as_secs_f64())
    }

    /// Starts the engine.
    pub(super) async fn start(&self) -> anyhow::Result<Mainstay> {
        let parts = Parts {
            store: Arc::clone(&self.store),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            http_out: Arc::new(NoWayOut),
            retention: Retention::default(),
        };
        Ok(Mainstay::start(parts).await?)
    }

    /// Gives the database back: its folder, which goes when it is dropped.
    pub(super) async fn close(self) -> tempfile::TempDir {
        self.store.close().await;
        self.folder
    }

    /// How many jobs were inserted so far.
    pub(super) fn inserted(&self) -> i64 {
        self.inserted.load(Ordering::Relaxed)
    }

    /// Waits until the engine runs.
    pub(super) async fn running(&self, node: &Mainstay) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !node.engine.snapshot().running {
            ensure!(
                begin.elapsed() < Duration::from_secs(60),
                "the engine does not start"
            );
            sleep(STEP).await;
        }
        Ok(())
    }

    /// How many jobs that do nothing are done, by the engine's own count.
    pub(super) fn done(&self, node: &Mainstay) -> i64 {
        node.engine
            .snapshot()
            .queue(self.queue)
            .map_or(0, |queue| queue.tally.done)
    }

    /// Waits until this many are done; the moment and the count at which that was seen.
    pub(super) async fn done_reaches(
        &self,
        node: &Mainstay,
        wanted: i64,
    ) -> anyhow::Result<(Instant, i64)> {
        let (mut last, mut moved) = (self.done(node), Instant::now());
        loop {
            let done = self.done(node);
            if done >= wanted {
                return Ok((Instant::now(), done));
            }
            if done != last {
                (last, moved) = (done, Instant::now());
            }
            ensure!(
                moved.elapsed() < Duration::from_secs(60),
                "nothing was done for a minute, at {done} of {wanted}"
            );
            sleep(STEP).await;
        }
    }
}
